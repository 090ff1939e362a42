//! Callers that leave.

use std::time::Duration;

use super::DOLLAR;
use crate::{
    harness::{Gateway, until},
    paid::{Gate, Paid, begin, body, call, calls, finish, key, spent, statuses},
    samples::CHAT,
};

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_callers_leave_are_read_on_where_policy_says_so() {
    let upstream = Paid::start(Gate::HALF).await;
    let drain = format!("{DOLLAR}ziggurat_settings: {{on_disconnect: drain:20}}\n");
    let gateway = Gateway::start(&upstream.config(&[], &drain), &[], &[]).await;
    let mut begun = begin(gateway.addr, 40, 5, &body("paid", true, Some(100))).await;
    let stayed = begun.split_off(20);
    drop(begun);
    upstream.open(Gate::Open);
    for raw in stayed {
        assert!(finish(raw).await.ends_with("data: [DONE]\n\n"));
    }
    until(|| upstream.served() == 40).await;
    // What was spent is what was served; nothing else is held.
    assert_eq!(spent(&gateway).await, "0.80");
    let answers = calls(gateway.addr, 30, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 10), (429, 20)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_callers_leave_cost_what_was_produced() {
    let upstream = Paid::start(Gate::HALF).await;
    let gateway = Gateway::start(&upstream.config(&[], DOLLAR), &[], &[]).await;
    let mut begun = begin(gateway.addr, 50, 5, &body("paid", true, Some(100))).await;
    let refused = call(gateway.addr, &body("paid", true, Some(100))).await;
    assert_eq!(refused.status, 429);
    let stayed = begun.split_off(25);
    drop(begun);
    until(|| upstream.now() == 25).await;
    upstream.open(Gate::Open);
    for raw in stayed {
        assert!(finish(raw).await.ends_with("data: [DONE]\n\n"));
    }
    until(|| upstream.served() == 25).await;
    // 25 whole ones, and half of each of the others.
    assert_eq!((upstream.pieces(), spent(&gateway).await.as_str()), (375, "0.75"));
    // Nothing is held any more: all that is left can be spent.
    let answers = calls(gateway.addr, 50, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 12), (429, 38)]);
}

/// 25 calls whose callers leave before there is an answer, and 60 after it: how many of these pass.
async fn passed_after_leaving(policy: &str) -> (Gateway, usize) {
    let upstream = Paid::start(Gate::Shut).await;
    let sections = format!("{DOLLAR}ziggurat_settings: {{on_disconnect: {policy}}}\n");
    let gateway = Gateway::start(&upstream.config(&[], &sections), &[], &[]).await;
    let mut left = Vec::new();
    for _ in 0..25 {
        let mut raw = gateway.connect().await;
        raw.post(CHAT, &[&key()], &body("paid", false, Some(100))).await;
        left.push(raw);
    }
    until(|| upstream.begun() == 25).await;
    drop(left);
    if policy == "cancel" {
        until(|| upstream.now() == 0).await;
    } else {
        // Nothing tells when the gateway has seen that they have left.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(upstream.now(), 25);
    }
    upstream.open(Gate::Open);
    until(|| upstream.now() == 0).await;
    let served = upstream.served();
    assert_eq!(served, if policy == "cancel" { 0 } else { 25 });
    let answers = calls(gateway.addr, 60, &body("paid", false, Some(100))).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(statuses(&answers), [(200, passed), (429, 60 - passed)]);
    (gateway, passed)
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_answers_whose_callers_leave_are_read_where_policy_says_so() {
    let (gateway, passed) = passed_after_leaving("drain").await;
    assert_eq!((passed, spent(&gateway).await.as_str()), (25, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_answers_whose_callers_leave_cost_what_they_can_have_come_to() {
    // Nobody knows what the upstream had written when it was left: it counts as all that was set aside.
    let (gateway, passed) = passed_after_leaving("cancel").await;
    assert_eq!((passed, spent(&gateway).await.as_str()), (25, "1"));
}
