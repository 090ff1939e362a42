//! What callers are told.

use super::DOLLAR;
use crate::{
    client::post,
    harness::Gateway,
    paid::{Gate, Paid, body, call, key, spent},
    samples::{CHAT, MESSAGES},
};

/// What an operator is to act on says whose it is, and which call.
#[tokio::test]
async fn alerts_name_the_key_and_overruns_the_call() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream
        .config(&[], "ziggurat_settings: {alert_percents: [50]}\n")
        .replace("general_settings:\n", "general_settings:\n  database_url: 'sqlite:keys.db'\n");
    let gateway = Gateway::start(&config, &[], &[]).await;
    let made = post(gateway.addr, "/key/generate", &[&key()], r#"{"max_budget": 0.03}"#).await;
    let made: serde_json::Value = serde_json::from_str(&made.body).unwrap();
    let [secret, id] = ["key", "token"].map(|name| made[name].as_str().unwrap());
    // The provider writes twice as much as it was asked for.
    let bearer = format!("authorization: Bearer {secret}");
    let answer = post(gateway.addr, CHAT, &[&bearer], &body("paid", false, Some(50))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let said = gateway.stop().await.stderr;
    let told = format!("50 % of the budget of $0.03 are spent: $0.02 scope=key id=\"{id}\" period=lifetime");
    assert_eq!(said.matches(&told).count(), 1, "{said}");
    let overrun = said.lines().find(|line| line.contains("a call came to more than was set aside for it"));
    assert!(overrun.is_some_and(|line| line.ends_with(" charged=0.02 held=0.01")), "{said}");
    assert!(!said.contains(secret), "{said}");
}

#[tokio::test]
async fn an_answer_says_what_it_cost() {
    let upstream = Paid::start(Gate::Open).await;
    let sections = "litellm_settings:\n  max_budget: 10\n  cost_discount_config: {openai: 0.05}\n";
    let config = upstream
        .config(&[], sections)
        .replace("input_cost_per_token: 0\n", "input_cost_per_token: 0.00000000125\n");
    let gateway = Gateway::start(&config, &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, Some(100))).await;
    // (10 * 0.00000000125 + 100 * 0.0002) * 0.95
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.019000011875"));
    assert_eq!(answer.header("x-litellm-key-spend"), Some("0.019000011875"));
    assert_eq!(answer.header("x-litellm-key-max-budget"), Some("10"));
    assert_eq!(answer.header("x-litellm-model-group"), Some("paid"));
    assert_eq!(answer.header("x-litellm-model-id"), Some("id-paid"));
    let stream = call(gateway.addr, &body("paid", true, Some(100))).await;
    assert_eq!(stream.header("x-litellm-response-cost"), None);
    assert_eq!(stream.header("x-litellm-key-spend"), Some("0.019000011875"));
    assert_eq!(spent(&gateway).await, "0.038000035625");
}

#[tokio::test]
async fn the_usage_of_a_stream_tells_its_cost_where_that_is_wanted() {
    let upstream = Paid::start(Gate::Open).await;
    let asked = body("paid", true, Some(100))
        .replace(r#""stream":"#, r#""stream_options":{"include_usage":true},"stream":"#);
    for (sections, cost) in
        [("litellm_settings: {include_cost_in_streaming_usage: true}\n", Some("0.02")), ("", None)]
    {
        let gateway = Gateway::start(&upstream.config(&[], sections), &[], &[]).await;
        let answer = call(gateway.addr, &asked).await;
        let usage = answer.body.lines().find(|line| line.contains(r#""usage":{"#)).unwrap();
        let event: serde_json::Value = serde_json::from_str(usage.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event["usage"]["completion_tokens"], 100);
        assert_eq!(event["usage"].get("cost").map(ToString::to_string).as_deref(), cost);
    }
}

#[tokio::test]
async fn refusals_say_what_callers_need_and_no_more() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(
        &upstream.config(&[], "litellm_settings: {max_budget: 0.01}\nziggurat_settings: {rpm: 3}\n"),
        &[],
        &[],
    )
    .await;
    let paid = body("paid", false, Some(100));
    let openai = call(gateway.addr, &paid).await;
    let message = "the budget of the gateway is too small for this call: 0 of 0.01 USD are spent";
    openai.is(
        429,
        &format!(
            r#"{{"error":{{"message":"{message}","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}}}"#
        ),
    );
    assert_eq!(openai.header("x-should-retry"), Some("false"));
    let anthropic = post(gateway.addr, MESSAGES, &[&key()], &paid).await;
    let error = |message: &str| {
        format!(r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"{message}"}}}}"#)
    };
    anthropic.is(429, &error(message));
    // A call that the budget refuses has used none of the limit.
    for _ in 0..3 {
        assert_eq!(call(gateway.addr, &body("free", false, Some(1))).await.status, 200);
    }
    let openai = call(gateway.addr, &body("free", false, Some(1))).await;
    let wait = openai.header("retry-after").unwrap();
    let message = format!("rate limit of this gateway reached: 3 requests per 60s; try again in {wait}s");
    openai.is(
        429,
        &format!(r#"{{"error":{{"message":"{message}","type":"requests","param":null,"code":"rate_limit_exceeded"}}}}"#),
    );
    let anthropic = post(gateway.addr, MESSAGES, &[&key()], &body("free", false, Some(1))).await;
    let wait = anthropic.header("retry-after").unwrap();
    anthropic.is(
        429,
        &error(&format!("rate limit of this gateway reached: 3 requests per 60s; try again in {wait}s")),
    );
    for answer in [openai, anthropic] {
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_status_of_a_refusal_is_the_operators() {
    let upstream = Paid::start(Gate::Open).await;
    let sections = "litellm_settings: {max_budget: 0.01, budget_exceeded_status_code: 422}\n";
    let gateway = Gateway::start(&upstream.config(&[], sections), &[], &[]).await;
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 422);
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_where_a_budget_applies() {
    let upstream = Paid::start(Gate::Open).await;
    let unpriced = |sections: &str| {
        let lines = upstream.config(&[], sections);
        lines
            .lines()
            .filter(|line| !line.contains("_cost_per_"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let gateway = Gateway::start(&unpriced(DOLLAR), &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, Some(100))).await;
    answer.is(
        400,
        r#"{"error":{"message":"the model `paid` has no price, and a budget applies to this call","type":"invalid_request_error","param":"model","code":"model_not_priced"}}"#,
    );
    let ended = gateway.stop().await;
    assert!(ended.stderr.contains("no price is known of a deployment of \"paid\""), "{}", ended.stderr);
    let allow = format!("{DOLLAR}ziggurat_settings: {{unpriced: allow}}\n");
    let gateway = Gateway::start(&unpriced(&allow), &[], &[]).await;
    let answer = call(gateway.addr, &body("paid", false, Some(100))).await;
    assert_eq!((answer.status, answer.header("x-litellm-response-cost")), (200, None));
    // Without a budget there is nothing to guard.
    let gateway = Gateway::start(&unpriced(""), &[], &[]).await;
    assert_eq!(call(gateway.addr, &body("paid", false, Some(100))).await.status, 200);
}
