//! Limits of requests, tokens, and calls at a time.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::{
    harness::{Gateway, soon, until},
    paid::{Gate, Paid, body, call, calls, statuses},
};

#[tokio::test(flavor = "multi_thread")]
async fn thirty_requests_a_minute_are_thirty() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&[], "ziggurat_settings: {rpm: 30}\n"), &[], &[]).await;
    let (addr, clients) = (gateway.addr, Arc::new(Semaphore::new(64)));
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let clients = Arc::clone(&clients);
            tokio::spawn(async move {
                let _client = clients.acquire().await.unwrap();
                call(addr, &body("paid", false, Some(100))).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(soon(call).await.unwrap());
    }
    assert_eq!(statuses(&answers), [(200, 30), (429, 170)]);
    until(|| upstream.served() == 30).await;
    let mut remaining: Vec<u64> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| {
            assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("30"));
            answer.header("x-ratelimit-remaining-requests").unwrap().parse().unwrap()
        })
        .collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..30).collect::<Vec<_>>());
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // A slice of the window may be counted a little longer than a minute.
    assert!((1..=62).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_a_minute_are_counted_by_what_answers_come_to() {
    for (info, sections, told) in [
        (&["tpm: 600"][..], "", None),
        (&[], "ziggurat_settings: {tpm: 600}\n", Some("600")),
        (&["otpm: 599"], "", None),
    ] {
        let upstream = Paid::start(Gate::Open).await;
        let gateway = Gateway::start(&upstream.config(info, sections), &[], &[]).await;
        let answers = calls(gateway.addr, 40, &body("paid", false, Some(100))).await;
        // 110 each, 100 of them output.
        assert_eq!(statuses(&answers), [(200, 5), (429, 35)], "{info:?} {sections}");
        assert_eq!(answers.iter().find_map(|it| it.header("x-ratelimit-limit-tokens")), told);
        assert!(answers.iter().all(|it| it.status == 200 || it.header("retry-after").is_some()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_at_a_time_are_five_upstream() {
    for (info, sections) in [
        (&["max_parallel_requests: 5"][..], ""),
        (&[], "router_settings: {default_max_parallel_requests: 5}\n"),
    ] {
        for stream in [false, true] {
            let upstream = Paid::start(Gate::Shut).await;
            let gateway = Gateway::start(&upstream.config(info, sections), &[], &[]).await;
            let addr = gateway.addr;
            let waiting =
                tokio::spawn(async move { calls(addr, 64, &body("paid", stream, Some(100))).await });
            until(|| upstream.now() == 5).await;
            // The others are refused while these five wait.
            tokio::time::sleep(Duration::from_millis(200)).await;
            upstream.open(Gate::Open);
            let answers = soon(waiting).await.unwrap();
            let passed = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(statuses(&answers), [(200, passed), (429, 64 - passed)]);
            until(|| upstream.served() == passed).await;
            assert_eq!(upstream.most_at_once(), 5);
            // Each place is free again.
            assert_eq!(call(addr, &body("paid", stream, Some(100))).await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_calls_together_are_bounded() {
    let upstream = Paid::start(Gate::Shut).await;
    let config = upstream.config(&[], "").replace(
        "general_settings:\n",
        "general_settings:\n  global_max_parallel_requests: 7\n  max_parallel_requests: 3\n",
    );
    let gateway = Gateway::start(&config, &[], &[]).await;
    let addr = gateway.addr;
    let waiting = tokio::spawn(async move { calls(addr, 20, &body("paid", false, Some(100))).await });
    until(|| upstream.now() == 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    upstream.open(Gate::Open);
    soon(waiting).await.unwrap();
    assert_eq!(upstream.most_at_once(), 3);
}
