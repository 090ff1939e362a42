//! One budget, several gateways. The deadline of the stores is wide: these are of sums, on machines that do much else.

use std::time::Duration;

use ziggurat_testkit::{postgres::Postgres, redis::RedisServer};

use super::gateways;
use crate::{
    harness::{Gateway, until},
    paid::{Gate, Paid, body, calls, spent, statuses},
};

/// 100 calls of $0.02 at each of two gateways, at once, against $1.00.
async fn two_hundred(sections: &str) {
    let upstream = Paid::start(Gate::Open).await;
    let both = gateways(2, &upstream, sections).await;
    let body = body("paid", false, Some(100));
    let (one, other) = tokio::join!(calls(both[0].addr, 100, &body), calls(both[1].addr, 100, &body));
    let all: Vec<_> = one.into_iter().chain(other).collect();
    assert_eq!(statuses(&all), [(200, 50), (429, 150)]);
    until(|| upstream.served() == 50).await;
    for gateway in &both {
        spends(gateway, "1").await;
    }
}

/// What is told of the spending becomes this: settlements take a moment to arrive.
async fn spends(gateway: &Gateway, expected: &str) {
    let mut told = String::new();
    for _ in 0..400 {
        told = spent(gateway).await;
        if told == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{told} is told as spent, not {expected}");
}

/// What a gateway that was killed held is posted as unreconciled when its time is over: no more, no less.
async fn killed(sections: &str) {
    let upstream = Paid::start(Gate::Open).await;
    let both = gateways(2, &upstream, &format!("{sections}  hold_ttl: 2\n")).await;
    let body = body("paid", false, Some(100));
    assert_eq!(statuses(&calls(both[0].addr, 5, &body).await), [(200, 5)]);
    upstream.open(Gate::Shut);
    let [one, other] = [0, 1].map(|at| {
        let (addr, body) = (both[at].addr, body.clone());
        let count = [20, 10][at];
        tokio::spawn(async move {
            let calls = (0..count).map(|_| {
                let body = body.clone();
                tokio::spawn(async move {
                    // The one who is killed answers nothing.
                    let mut raw = crate::client::Raw::connect(addr).await;
                    raw.post(crate::samples::CHAT, &[&crate::paid::key()], &body).await;
                    raw.rest().await.contains("200 OK")
                })
            });
            let mut passed = 0;
            for call in calls.collect::<Vec<_>>() {
                passed += usize::from(call.await.is_ok_and(|passed| passed));
            }
            passed
        })
    });
    until(|| upstream.now() == 30).await;
    let mut both = both.into_iter();
    let (first, second) = (both.next().unwrap(), both.next().unwrap());
    first.signal("KILL");
    first.ended().await;
    until(|| upstream.now() == 10).await;
    upstream.open(Gate::Open);
    drop(one);
    // These are held open by the client until the gateway closes them.
    second.signal("TERM");
    assert_eq!(other.await.unwrap(), 10);
    second.ended().await;
    // 5 + 10 were served, and 20 may have been: all 35 are spent in the end.
    let third = gateways(1, &upstream, &format!("{sections}  hold_ttl: 2\n")).await.remove(0);
    spends(&third, "0.70").await;
    let rest = calls(third.addr, 20, &body).await;
    assert_eq!(statuses(&rest), [(200, 15), (429, 5)]);
    assert_eq!(upstream.served(), 5 + 10 + 15 + spent_calls(&upstream));
}

/// Calls that cost nothing, made to be told what is spent.
fn spent_calls(upstream: &Paid) -> usize {
    upstream.bodies().iter().filter(|body| body.contains("my-free")).count()
}

fn on_redis(server: &RedisServer) -> String {
    format!(
        "litellm_settings: {{max_budget: 1.00}}\nziggurat_settings:\n  store_deadline: 10\n  redis: {}\n",
        server.url()
    )
}

fn on_postgres(server: &Postgres) -> String {
    // In a section of its own, as the master key's is there already.
    format!(
        "litellm_settings: {{max_budget: 1.00}}\nenvironment_variables: {{DATABASE_URL: '{}'}}\nziggurat_settings:\n  store_deadline: 10\n",
        server.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_over_redis() {
    let Some(server) = RedisServer::start() else { return };
    two_hundred(&on_redis(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_over_postgres() {
    let Some(server) = Postgres::start() else { return };
    two_hundred(&on_postgres(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_held_on_redis_is_posted() {
    let Some(server) = RedisServer::start() else { return };
    killed(&on_redis(&server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_held_in_postgres_is_posted() {
    let Some(server) = Postgres::start() else { return };
    killed(&on_postgres(&server)).await;
}
