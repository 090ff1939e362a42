//! Calls that fit into what is left, and calls that do not.

use super::DOLLAR;
use crate::{
    harness::{Gateway, until},
    paid::{Gate, Paid, body, call, calls, spent, statuses},
};

/// 200 calls at once of $0.02 against $1.00.
async fn two_hundred(info: &[&str], sections: &str, body: &str) -> (Paid, Gateway) {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(info, sections), &[], &[]).await;
    let answers = calls(gateway.addr, 200, body).await;
    assert_eq!(statuses(&answers), [(200, 50), (429, 150)]);
    until(|| upstream.served() == 50).await;
    assert_eq!(spent(&gateway).await, "1");
    (upstream, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_with_a_stated_cap() {
    two_hundred(&[], DOLLAR, &body("paid", false, Some(100))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_streams_fit_with_a_stated_cap() {
    two_hundred(&[], DOLLAR, &body("paid", true, Some(100))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_where_the_models_cap_is_set_aside() {
    two_hundred(&["max_output_tokens: 100"], DOLLAR, &body("paid", false, None)).await;
    let streams = format!("{DOLLAR}ziggurat_settings: {{uncapped_streams: reserve}}\n");
    two_hundred(&["max_output_tokens: 100"], &streams, &body("paid", true, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_where_they_are_clamped() {
    let clamp = format!("{DOLLAR}ziggurat_settings: {{uncapped: clamp:100, uncapped_streams: clamp:100}}\n");
    let (upstream, _gateway) = two_hundred(&[], &clamp, &body("paid", false, None)).await;
    let paid = upstream.bodies().into_iter().filter(|body| body.contains("my-paid")).collect::<Vec<_>>();
    assert!(paid.iter().all(|body| body.contains("100")), "{paid:?}");
    let gateway = Gateway::start(&upstream.config(&[], &clamp), &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, None)).await;
    assert_eq!((answer.status, answer.header("x-ziggurat-clamped-max-tokens")), (200, Some("100")));
    two_hundred(&[], &clamp, &body("paid", true, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_cap_are_refused_where_policy_says_so() {
    let upstream = Paid::start(Gate::Open).await;
    let refuse = format!("{DOLLAR}ziggurat_settings: {{uncapped: refuse, uncapped_streams: refuse}}\n");
    let gateway = Gateway::start(&upstream.config(&[], &refuse), &[], &[]).await;
    for stream in [false, true] {
        let answers = calls(gateway.addr, 20, &body("paid", stream, None)).await;
        assert_eq!(statuses(&answers), [(400, 20)], "{}", answers[0].body);
    }
    assert_eq!(upstream.begun(), 0);
    assert_eq!(spent(&gateway).await, "0");
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 200);
}

#[tokio::test]
async fn what_comes_to_more_than_was_set_aside_is_counted_in_full() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway =
        Gateway::start(&upstream.config(&[], "litellm_settings: {max_budget: 0.03}\n"), &[], &[]).await;
    // The upstream writes 100 tokens whatever it is told.
    for expected in [(200, "0.02"), (200, "0.04"), (429, "0.04")] {
        let answer = call(gateway.addr, &body("paid", false, Some(10))).await;
        assert_eq!((answer.status, spent(&gateway).await.as_str()), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployments_refusal_costs_nothing() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&["rpm: 10"], DOLLAR), &[], &[]).await;
    let answers = calls(gateway.addr, 40, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 10), (429, 30)]);
    assert_eq!(spent(&gateway).await, "0.20");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_no_provider_costs_nothing() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], DOLLAR);
    let (paid, rest) = config.split_once("  - model_name: free").unwrap();
    let gone = paid.strip_prefix("model_list:\n").unwrap().replace("paid", "gone");
    let gone = gone.replace(&upstream.addr.to_string(), "127.0.0.1:9");
    let gateway = Gateway::start(&format!("{paid}{gone}  - model_name: free{rest}"), &[], &[]).await;
    for stream in [false, true] {
        let answers = calls(gateway.addr, 40, &body("gone", stream, Some(100))).await;
        assert_eq!(statuses(&answers), [(502, 40)]);
    }
    assert_eq!(spent(&gateway).await, "0");
    let answers = calls(gateway.addr, 60, &body("paid", false, Some(100))).await;
    assert_eq!(statuses(&answers), [(200, 50), (429, 10)]);
}
