//! What a call sets aside, and what becomes of that, through the layer.

mod support;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use ziggurat_budget::{BudgetLayer, CLAMPED, Ledger, Uncapped};
use ziggurat_core::{Body, Budget, Rejection, Scope, Usd, Window};

use crate::support::*;

#[tokio::test]
async fn fifty_of_two_hundred_fit_when_each_costs_a_fiftieth() {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    let service = layer.layer(upstream(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        answer(&used(10, 2000))
    }));
    let calls = (0..200).map(|_| {
        let service = service.clone();
        tokio::spawn(async move {
            let response = service.oneshot(chat(r#","max_tokens":2000"#)).await.expect("answers");
            let status = response.status();
            (status, text(response).await)
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut passed = 0;
    for call in calls {
        match call.await.expect("does not panic") {
            (StatusCode::OK, _) => passed += 1,
            (status, _) => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert_eq!((passed, served.load(Ordering::SeqCst)), (50, 50));
    assert_eq!(spent(&ledger, &budget), (Usd::dollars(1), Usd::ZERO));
}

#[tokio::test]
async fn a_refusal_says_what_is_spent_in_both_dialects_and_names_no_id() {
    let budget = Budget::new(Scope::tenant("secret-id"), Usd::cents(2), Window::Lifetime);
    let (layer, _) = layer(&budget);
    let service = layer.layer(upstream(|_| answer(&used(10, 2000))));
    let first = service.clone().oneshot(chat(r#","max_tokens":2000"#)).await.expect("answers");
    assert_eq!(first.status(), 200);
    drop(text(first).await);
    let refused = service.clone().oneshot(chat(r#","max_tokens":1"#)).await.expect("answers");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["x-should-retry"], "false");
    assert!(refused.extensions().get::<Rejection>().is_some());
    assert_eq!(
        text(refused).await,
        r#"{"error":{"message":"the budget of the tenant is spent: 0.02 of 0.02 USD","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}"#
    );
    let refused = service.oneshot(messages(r#","max_tokens":1"#)).await.expect("answers");
    assert_eq!(refused.status(), 429);
    assert_eq!(
        text(refused).await,
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"the budget of the tenant is spent: 0.02 of 0.02 USD"}}"#
    );
}

#[tokio::test]
async fn what_was_set_aside_and_not_used_is_free_again() {
    let budget = cents(2);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(upstream(|_| answer(&used(10, 500))));
    for turn in 1..=4 {
        let response = service.clone().oneshot(chat(r#","max_tokens":500"#)).await.expect("answers");
        assert_eq!(response.status(), 200);
        drop(text(response).await);
        assert_eq!(spent(&ledger, &budget), (Usd::pico(5_000_000_000) * turn, Usd::ZERO));
    }
    let refused = service.oneshot(chat(r#","max_tokens":1"#)).await.expect("answers");
    assert_eq!(refused.status(), 429);
}

#[tokio::test]
async fn a_provider_that_ignores_the_cap_is_charged_in_full_and_the_next_call_refused() {
    let budget = cents(2);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(upstream(|_| answer(&used(10, 5000))));
    let response = service.clone().oneshot(chat(r#","max_tokens":10"#)).await.expect("answers");
    drop(text(response).await);
    assert_eq!(spent(&ledger, &budget), (Usd::cents(5), Usd::ZERO));
    let refused = service.oneshot(chat(r#","max_tokens":1"#)).await.expect("answers");
    assert_eq!(refused.status(), 429);
}

#[tokio::test]
async fn without_a_cap_the_models_own_is_set_aside() {
    // 4,000 tokens are four cents: two calls at a time in eight, and the difference is free at the end.
    let budget = cents(8);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(upstream(|_| answer(&used(10, 1))));
    let one = service.clone().oneshot(chat("")).await.expect("answers");
    let two = service.clone().oneshot(chat(r#","n":1"#)).await.expect("answers");
    assert_eq!((one.status(), two.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(spent(&ledger, &budget), (Usd::ZERO, Usd::cents(8)));
    let three = service.clone().oneshot(chat("")).await.expect("answers");
    assert_eq!(three.status(), 429);
    drop((text(one).await, text(two).await));
    assert_eq!(spent(&ledger, &budget), (Usd::pico(20_000_000), Usd::ZERO));
    let double = service.clone().oneshot(chat(r#","n":2"#)).await.expect("answers");
    assert_eq!(double.status(), 429, "two choices of four cents each do not fit");
    assert_eq!(service.oneshot(chat("")).await.expect("answers").status(), 200);
}

#[tokio::test]
async fn a_clamp_is_written_into_the_request_and_said() {
    let budget = cents(3);
    let (layer, ledger) = layer(&budget);
    let layer = layer.uncapped(Uncapped::Clamp(2000));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let service = layer.layer(upstream({
        let seen = Arc::clone(&seen);
        move |body| {
            let body: serde_json::Value = serde_json::from_slice(&body).expect("is JSON");
            let cap = body["max_completion_tokens"].as_u64().expect("has a cap");
            seen.lock().expect("is not poisoned").push(cap);
            answer(&used(10, cap))
        }
    }));
    let mut clamps = Vec::new();
    for _ in 0..3 {
        let response = service.clone().oneshot(chat("")).await.expect("answers");
        clamps.push(response.headers().get(CLAMPED).map(|cap| cap.to_str().expect("is text").to_owned()));
        drop(text(response).await);
    }
    // Two cents, then the one that is left, then nothing.
    assert_eq!(clamps, [Some("2000".to_owned()), Some("1000".to_owned()), None]);
    assert_eq!(*seen.lock().expect("is not poisoned"), [2000, 1000]);
    assert_eq!(spent(&ledger, &budget), (Usd::cents(3), Usd::ZERO));
}

#[tokio::test]
async fn a_call_without_a_cap_may_be_refused() {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let service = layer.uncapped(Uncapped::Refuse).layer(upstream(|_| answer(&used(10, 1))));
    let refused = service.clone().oneshot(chat("")).await.expect("answers");
    assert_eq!(refused.status(), 400);
    assert_eq!(
        text(refused).await,
        r#"{"error":{"message":"a cap of the output is needed where a budget applies","type":"invalid_request_error","param":"max_tokens","code":null}}"#
    );
    assert_eq!(spent(&ledger, &budget).0, Usd::ZERO);
    assert_eq!(service.oneshot(chat(r#","max_tokens":5"#)).await.expect("answers").status(), 200);
}

#[tokio::test]
async fn what_nobody_bills_for_passes_and_bad_requests_are_told() {
    let budget = cents(0);
    let (layer, _) = layer(&budget);
    let service = layer.layer(upstream(|_| answer("")));
    let other = http::Request::post("/anything").body(Body::from("no JSON")).expect("is a request");
    assert_eq!(service.clone().oneshot(other).await.expect("answers").status(), 200);
    let bad = http::Request::post("/v1/chat/completions").body(Body::from("no JSON")).expect("is a request");
    assert_eq!(service.clone().oneshot(bad).await.expect("answers").status(), 400);
    assert_eq!(
        service.oneshot(chat("")).await.expect("answers").status(),
        429,
        "a cap of zero allows nothing"
    );
}

#[tokio::test]
async fn a_window_that_ends_frees_what_was_spent() {
    let hand = Hand::default();
    let budget = Budget::new(tenant(), Usd::cents(2), Window::Rolling(Duration::from_secs(64)));
    let ledger = Ledger::in_memory().clock(hand.clock());
    let layer = BudgetLayer::new(ledger, catalog()).budget(budget);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let call = || async {
        let response = service.clone().oneshot(chat(r#","max_tokens":2000"#)).await.expect("answers");
        let status = response.status().as_u16();
        drop(text(response).await);
        status
    };
    assert_eq!((call().await, call().await), (200, 429));
    hand.forward(Duration::from_secs(63));
    assert_eq!(call().await, 429);
    hand.forward(Duration::from_secs(2));
    assert_eq!(call().await, 200);
}

#[tokio::test]
async fn a_body_that_is_polled_by_hand_ends_once() {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(upstream(|_| answer(&used(10, 7))));
    let mut body = service.oneshot(chat("")).await.expect("answers").into_body();
    while let Some(frame) = body.frame().await {
        frame.expect("does not fail");
    }
    assert!(body.is_end_stream());
    assert_eq!(spent(&ledger, &budget), (Usd::pico(70_000_000), Usd::ZERO));
    assert!(Pin::new(&mut body).frame().await.is_none());
}

#[tokio::test]
async fn an_answer_that_is_no_success_costs_nothing() {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    for status in [400, 401, 404, 429, 500, 503, 529] {
        let service = layer.clone().layer(upstream(move |_| {
            let mut response = answer("");
            *response.status_mut() = StatusCode::from_u16(status).expect("is a status");
            response
        }));
        let response = service.oneshot(chat("")).await.expect("answers");
        assert_eq!(response.status().as_u16(), status);
        drop(text(response).await);
        assert_eq!(spent(&ledger, &budget), (Usd::ZERO, Usd::ZERO));
    }
}

#[tokio::test]
async fn what_googles_callers_and_text_completions_ask_for_is_set_aside() {
    // A token costs a thousandth of a cent: 4,000 are the model's cap.
    let token = Usd::pico(10_000_000);
    let google = "/v1beta/models/m:generateContent";
    for (path, body, tokens) in [
        (google, r#"{"contents":[],"generationConfig":{"maxOutputTokens":10}}"#, 10),
        (google, r#"{"contents":[],"generation_config":{"max_output_tokens":"10","candidate_count":3}}"#, 30),
        (google, r#"{"contents":[],"max_tokens":1,"n":1}"#, 4000),
        ("/v1/completions", r#"{"model":"m","prompt":["a","b"],"max_tokens":10}"#, 20),
        ("/v1/completions", r#"{"model":"m","prompt":"a","max_tokens":10,"n":2,"best_of":5}"#, 100),
    ] {
        let budget = cents(1000);
        let (layer, ledger) = layer(&budget);
        let service = layer.layer(upstream(|_| answer(&used(0, 0))));
        let request = http::Request::post(path).body(Body::from(body)).expect("is a request");
        let response = service.oneshot(request).await.expect("answers");
        assert_eq!(response.status(), 200, "{body}");
        let (_, held) = spent(&ledger, &budget);
        let least = token * tokens;
        // The input is a few tokens more.
        assert!(held >= least && held < least + Usd::cents(1), "{body}: {held}");
    }
}
