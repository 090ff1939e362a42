//! Hours of calls on paused time, to providers that fail, slow down and come back; the same ones each time.

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use ziggurat_route::{
    Deployment, Group, GroupBuilder, LeastBusy, LowestCost, LowestLatency, LowestUsage, Random, RouteLayer,
    Routes,
};

use crate::support::*;

type With = fn(GroupBuilder) -> GroupBuilder;

const MILLI: Duration = Duration::from_millis(1);

/// A group under a steady load.
struct Run {
    service: Service,
    upstream: Upstream,
    group: Arc<Group>,
}

fn run(group: GroupBuilder) -> Run {
    let group = group.build().expect("is a group");
    let routes = Routes::builder().group(Arc::clone(&group)).build().expect("are routes");
    let random = Mutex::new(Random::new(7));
    let layer = RouteLayer::new(routes).random(move || random.lock().expect("is sound").draw());
    let upstream = Upstream::default();
    Run { service: around(&layer, &upstream), upstream, group }
}

impl Run {
    /// So many calls, one each so often; gives how many were answered.
    async fn calls(&self, count: u32, each: Duration) -> u32 {
        let mut calls = Vec::new();
        for _ in 0..count {
            let service = self.service.clone();
            calls.push(tokio::spawn(async move { call(&service, request("g", false)).await.status }));
            sleep(each).await;
        }
        let mut answered = 0;
        for call in calls {
            answered += u32::from(call.await.expect("ends") == 200);
        }
        answered
    }

    /// How often each was asked since the last time.
    fn asked(&self, before: &mut usize) -> HashMap<String, u32> {
        let called = self.upstream.called();
        let mut asked = HashMap::new();
        for id in &called[std::mem::replace(before, called.len())..] {
            *asked.entry(id.clone()).or_default() += 1;
        }
        asked
    }

    fn is_idle(&self) {
        for deployment in self.group.deployments() {
            assert_eq!(deployment.figures(Instant::now()).in_flight, 0);
        }
    }
}

fn after(millis: u32, act: Act) -> Act {
    Act::After(millis * MILLI, Box::new(act))
}

fn of(deployments: impl IntoIterator<Item = Deployment>) -> GroupBuilder {
    Group::new("g").deployments(deployments)
}

fn share(asked: &HashMap<String, u32>, id: &str) -> f64 {
    let all: u32 = asked.values().sum();
    f64::from(asked.get(id).copied().unwrap_or_default()) / f64::from(all)
}

#[tokio::test(start_paused = true)]
async fn weights_are_shares_and_a_failing_one_gets_its_own_back() {
    let run = run(of([deployment("a").weight(3.0), deployment("b").weight(1.0)]));
    run.upstream.does("a", [after(100, ok("1"))]).does("b", [after(100, ok("2"))]);
    let mut before = 0;
    assert_eq!(run.calls(3000, 10 * MILLI).await, 3000);
    let well = share(&run.asked(&mut before), "a");
    assert!((0.73..0.77).contains(&well), "{well}");
    // Down for a minute: nobody feels it, and it is asked but by those who find out, and by trials.
    run.upstream.does("a", [after(100, fails(500))]);
    assert_eq!(run.calls(6000, 10 * MILLI).await, 6000);
    let asked = run.asked(&mut before);
    assert!(asked["a"] <= 30 && asked["b"] == 6000, "{asked:?}");
    // Back: found out after its cooling down, and then as before.
    run.upstream.does("a", [after(100, ok("1"))]);
    assert_eq!(run.calls(9000, 10 * MILLI).await, 9000);
    run.asked(&mut before);
    assert_eq!(run.calls(3000, 10 * MILLI).await, 3000);
    let back = share(&run.asked(&mut before), "a");
    assert!((0.73..0.77).contains(&back), "{back}");
    run.is_idle();
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_now_and_then_is_made_up_for() {
    let run = run(of([deployment("a"), deployment("b")]));
    let mut random = Random::new(1);
    let mut sometimes = || if random.draw() % 10 < 3 { fails(500) } else { ok("1") };
    let acts: Vec<_> = (0..6000).map(|_| after(100, sometimes())).collect();
    run.upstream.does("a", acts).does("b", [after(100, ok("2"))]);
    assert_eq!(run.calls(6000, 10 * MILLI).await, 6000);
    let mut before = 0;
    let asked = run.asked(&mut before);
    let attempts: u32 = asked.values().sum();
    // A third of half of the calls is tried again, and no more.
    assert!((6000..=7200).contains(&attempts), "{asked:?}");
    run.is_idle();
}

#[tokio::test(start_paused = true)]
async fn the_latency_of_a_provider_that_slows_down_sends_its_calls_elsewhere() {
    let run = run(of([deployment("a"), deployment("b")]).strategy(LowestLatency::default()));
    run.upstream.does("a", [after(100, ok("1"))]).does("b", [after(300, ok("2"))]);
    let mut before = 0;
    assert_eq!(run.calls(2000, 20 * MILLI).await, 2000);
    let fast = share(&run.asked(&mut before), "a");
    assert!(fast > 0.9, "{fast}");
    run.upstream.does("a", [after(900, ok("1"))]);
    assert_eq!(run.calls(6000, 20 * MILLI).await, 6000);
    run.asked(&mut before);
    assert_eq!(run.calls(2000, 20 * MILLI).await, 2000);
    let slow = share(&run.asked(&mut before), "a");
    assert!(slow < 0.1, "{slow}");
    run.is_idle();
}

#[tokio::test(start_paused = true)]
async fn each_strategy_shares_as_it_says() {
    let strategies: [(&str, With, [f64; 2]); 4] = [
        // The slower by three is given a third.
        ("least busy", |group| group.strategy(LeastBusy), [0.70, 0.80]),
        ("lowest cost", |group| group.strategy(LowestCost), [1.0, 1.0]),
        ("lowest usage", |group| group.strategy(LowestUsage), [0.62, 0.72]),
        ("ordered", |group| group.strategy(ziggurat_route::Ordered), [1.0, 1.0]),
    ];
    for (name, with, [least, most]) in strategies {
        let cheap = deployment("a").price(ziggurat_core::Usd::cents(1)).requests_per_minute(2000);
        let dear = deployment("b").price(ziggurat_core::Usd::cents(2)).requests_per_minute(1000);
        let run = run(with(of([cheap, dear])));
        run.upstream.does("a", [after(200, ok("1"))]).does("b", [after(600, ok("2"))]);
        assert_eq!(run.calls(3000, 20 * MILLI).await, 3000);
        let share = share(&run.asked(&mut 0), "a");
        assert!((least..=most).contains(&share), "{name}: {share}");
        run.is_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_when_to_come_back_is_left_alone_until_then() {
    for (header, value, seconds) in
        [("retry-after", "20", 20), ("retry-after-ms", "20000", 20), ("retry-after", "3600", 60)]
    {
        let run = run(of([deployment("a"), deployment("b")]));
        run.upstream.does("a", [fails_with(429, (header, value))]).does("b", [ok("2")]);
        let start = Instant::now();
        assert_eq!(run.calls(12_000, 10 * MILLI).await, 12_000);
        let called = run.upstream.called();
        let times = run.upstream.times();
        let asked: Vec<_> =
            called.iter().zip(times).filter(|(id, _)| *id == "a").map(|(_, at)| at - start).collect();
        for pair in asked.windows(2) {
            let pause = pair[1] - pair[0];
            let hint = Duration::from_secs(seconds);
            assert!((hint..hint + 200 * MILLI).contains(&pause), "{header}: {value} {asked:?}");
        }
        assert_eq!(asked.len() as u64, 120 / seconds, "{header}: {value} {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_failing_provider_is_left_alone_by_its_rate_within_ten_seconds() {
    let run = run(of([deployment("a"), deployment("b")]));
    let acts: Vec<_> = (0..10_000).map(|at| if at % 2 == 0 { fails(500) } else { ok("1") }).collect();
    run.upstream.does("a", acts).does("b", [ok("2")]);
    let begun = Instant::now();
    assert_eq!(run.calls(500, 20 * MILLI).await, 500);
    assert_eq!(begun.elapsed(), 10_000 * MILLI);
    let state = run.group.deployments()[0].figures(Instant::now()).state;
    assert!(matches!(state, ziggurat_route::State::Cooling(_)), "{state:?}");
}
