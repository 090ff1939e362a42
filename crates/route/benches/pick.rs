//! What picking a deployment costs.
//!
//! ```text
//! cargo bench -p ziggurat-route --bench pick
//! ```
//!
//! Each round picks a deployment of a group, and gives the permit back as a caller does that leaves. All deployments have been used, so
//! that every strategy has figures to look at. Times on a shared machine vary: the best of many rounds is printed.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant as Wall},
};

use tokio::time::Instant;
use ziggurat_core::{Dialect, Target, Usd};
use ziggurat_route::{
    Affinity, Ask, Deployment, Group, LeastBusy, LowestCost, LowestLatency, LowestUsage, Ordered, Picked,
    Sample, Shuffle, Strategy, TagRules,
};

const ROUNDS: usize = 300;
const PICKS: u64 = 1000;

fn main() {
    let off = TagRules::Ignore;
    println!("{:<24} {:>7} {:>9} {:>12}", "strategy", "of", "ns/pick", "allocs/pick");
    for members in [2, 64, 1000] {
        measure("shuffle", &group(members, Shuffle, off), &[], None);
        measure("least busy", &group(members, LeastBusy, off), &[], None);
        measure("lowest latency", &group(members, LowestLatency::new(), off), &[], None);
        measure("lowest cost", &group(members, LowestCost, off), &[], None);
        measure("lowest usage", &group(members, LowestUsage, off), &[], None);
        measure("ordered", &group(members, Ordered, off), &[], None);
    }
    succeeded(&group(1000, Shuffle, off));
    measure("affinity", &group(1000, Shuffle, off), &[], Some(Affinity(7)));
    measure("shuffle, tagged", &group(1000, Shuffle, TagRules::Any), &["paid".into()], None);
    measure("least busy, tagged", &group(1000, LeastBusy, TagRules::Any), &["paid".into()], None);
    let group = group(1000, Shuffle, off);
    let (now, hour) = (Instant::now(), Duration::from_secs(3600));
    group.deployments().iter().skip(1).for_each(|deployment| deployment.cool_until(now + hour, now));
    measure("shuffle, one is well", &group, &[], None);
    group.deployments().iter().for_each(|deployment| deployment.cool_until(now + hour, now));
    measure("shuffle, none is", &group, &[], None);
}

fn group(members: usize, strategy: impl Strategy, tags: TagRules) -> Arc<Group> {
    let deployments = (0..members).map(|at| {
        let target = Target::new("openai", Dialect::OpenAi, &format!("m{at}"), "https://localhost/v1");
        Deployment::new(target.expect("is a target"))
            .weight(1.0 + (at % 7) as f64)
            .requests_per_minute(1_000_000)
            .tokens_per_minute(100_000_000)
            .tags(if at % 2 == 0 { ["paid"] } else { ["default"] })
            .price(Usd::cents((at % 50) as u64))
    });
    let group = Group::new("g").deployments(deployments).strategy(strategy).tags(tags);
    let group = group.build().expect("is a group");
    // Each is used, by being the only one that is left.
    let now = Instant::now();
    let all: Vec<usize> = (0..members).collect();
    for at in 0..members {
        let tried: Vec<usize> = all.iter().copied().filter(|other| *other != at).collect();
        let ask = Ask::new(now, 0).tried(&tried);
        let tags = [["paid".into()], ["default".into()]];
        if let Picked::One { permit, .. } = group.pick(&ask.tags(&tags[at % 2])) {
            let time = Duration::from_millis(200 + (at * 7919 % 1000) as u64);
            permit.succeeded(&Sample::new(time * 2).first_token(time).tokens(Some(20), Some(100)), now);
        }
    }
    group
}

/// A call from its pick to its success, but for the call.
fn succeeded(group: &Group) {
    let (now, mut best) = (Instant::now(), Duration::MAX);
    let call = |seed| {
        let Picked::One { mut permit, .. } = group.pick(&Ask::new(now, seed)) else { panic!("all are well") };
        permit.answered(now);
        permit.succeeded(&Sample::new(Duration::from_secs(1)).tokens(Some(10), Some(20)), now);
        group.retry_budget().deposit(now);
    };
    for _ in 0..ROUNDS {
        let start = Wall::now();
        (0..PICKS).for_each(call);
        best = best.min(start.elapsed());
    }
    let counted = allocation_counter::measure(|| (0..PICKS).for_each(call));
    print(("shuffle, to its success", group), best, counted.count_total);
}

fn print((name, group): (&str, &Group), best: Duration, allocations: u64) {
    let per = |total: u64| total as f64 / PICKS as f64;
    let (members, best) = (group.deployments().len(), best.as_nanos() as f64 / PICKS as f64);
    println!("{name:<24} {members:>7} {best:>9.0} {:>12.1}", per(allocations));
}

fn measure(name: &str, group: &Group, tags: &[Arc<str>], affinity: Option<Affinity>) {
    let now = Instant::now();
    let pick = |seed| {
        let picked = group.pick(&Ask::new(now, seed).tags(tags).affinity(affinity));
        assert!(matches!(black_box(picked), Picked::One { .. }));
    };
    let mut best = Duration::MAX;
    for round in 0..ROUNDS as u64 {
        let start = Wall::now();
        (0..PICKS).for_each(|at| pick(round * PICKS + at));
        best = best.min(start.elapsed());
    }
    let counted = allocation_counter::measure(|| (0..PICKS).for_each(pick));
    print((name, group), best, counted.count_total);
}
