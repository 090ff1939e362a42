//! One limit, several gateways.

use ziggurat_testkit::redis::RedisServer;

use super::gateways;
use crate::{
    harness::until,
    paid::{Gate, Paid, body, calls, statuses},
};

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_share_a_limit_under_uneven_load() {
    let Some(server) = RedisServer::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections =
        format!("ziggurat_settings:\n  store_deadline: 10\n  rpm: 300\n  redis: {}\n", server.url());
    let all = gateways(3, &upstream, &sections).await;
    let body = body("paid", false, Some(1));
    let (most, some, few) = tokio::join!(
        calls(all[0].addr, 360, &body),
        calls(all[1].addr, 20, &body),
        calls(all[2].addr, 20, &body)
    );
    let answers: Vec<_> = most.into_iter().chain(some).chain(few).collect();
    // All within one minute: as many as the limit says, wherever they were asked.
    assert_eq!(statuses(&answers), [(200, 300), (429, 100)]);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=62).contains(&retry), "{retry}");
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("300"));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_shared_and_those_of_a_killed_gateway_come_back() {
    let Some(server) = RedisServer::start() else { return };
    let upstream = Paid::start(Gate::Shut).await;
    let redis = server.url();
    let sections = format!("ziggurat_settings: {{store_deadline: 10, redis: '{redis}'}}\n");
    let config = upstream.config(&[], &sections);
    let config =
        config.replace("general_settings:\n", "general_settings:\n  global_max_parallel_requests: 5\n");
    let mut all = Vec::new();
    for _ in 0..2 {
        all.push(crate::harness::Gateway::start(&config, &[], &[]).await);
    }
    let hanging = {
        let (addr, body) = (all[0].addr, body("paid", false, Some(1)));
        tokio::spawn(async move { calls(addr, 5, &body).await })
    };
    until(|| upstream.now() == 5).await;
    let body = body("paid", false, Some(1));
    assert_eq!(statuses(&calls(all[1].addr, 3, &body).await), [(429, 3)]);
    assert_eq!(upstream.most_at_once(), 5);
    upstream.open(Gate::Open);
    assert_eq!(statuses(&hanging.await.unwrap()), [(200, 5)]);
    // Places are given back a moment after the last byte.
    let mut passed = 0;
    for _ in 0..100 {
        let answers = calls(all[1].addr, 1, &body).await;
        if answers[0].status == 200 {
            passed += 1;
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(passed, 1);
}
