//! What a call sets aside, costs and leaves, through the layer.

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
use ziggurat_budget::{BudgetLayer, CLAMPED, Disconnect, Ledger, Spending, Uncapped, Unpriced};
use ziggurat_catalog::Catalog;
use ziggurat_core::{Body, Budget, Principal, Rejection, Scope, ScopeKind, Usd, Window};
use ziggurat_testkit::{Scripted, Step, samples};

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

/// What one answer with these counts is charged, and whether as an estimate and as impossible.
async fn charged(usage: &str) -> (Usd, bool, bool) {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let service = layer.report().layer(upstream({
        let usage = usage.to_owned();
        move |_| answer(&usage)
    }));
    let response = service.oneshot(chat(r#","max_tokens":1000"#)).await.expect("answers");
    assert_eq!(response.status(), 200);
    let spending = response.extensions().get::<Spending>().expect("is attached").clone();
    let charge = spending.charge.expect("the answer is whole");
    drop(text(response).await);
    assert_eq!(spent(&ledger, &budget), (charge.amount, Usd::ZERO), "{usage}");
    (charge.amount, charge.flags.estimated, charge.flags.usage_invalid)
}

#[tokio::test]
async fn usage_is_untrusted() {
    let token = Usd::pico(10_000_000);
    // "Hello you": nine bytes, which count as three tokens.
    let estimate = (token * 3, true, false);
    assert_eq!(charged(&used(10, 7)).await, (token * 7, false, false));
    assert_eq!(charged(&used(0, 0)).await, (Usd::ZERO, false, false));
    assert_eq!(charged("").await, estimate);
    assert_eq!(charged(r#","usage":null"#).await, estimate);
    assert_eq!(charged(r#","usage":{"prompt_tokens":5}"#).await, estimate);
    let invalid = (token * 3, true, true);
    assert_eq!(charged(r#","usage":{"prompt_tokens":-5,"completion_tokens":-2000}"#).await, invalid);
    assert_eq!(charged(r#","usage":{"prompt_tokens":"5","completion_tokens":"many"}"#).await, invalid);
    assert_eq!(charged(r#","usage":{"prompt_tokens":null,"completion_tokens":null}"#).await, estimate);
    assert_eq!(
        charged(r#","usage":{"prompt_tokens":1,"completion_tokens":1000000000000}"#).await,
        (token * 3, true, true)
    );
    assert_eq!(charged(r#","usage":{"prompt_tokens":1,"completion_tokens":1e30}"#).await, invalid);
    assert_eq!(charged(r#","usage":{"prompt_tokens":1,"completion_tokens":1.5}"#).await.0, token * 2);
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

/// A stream of `chunks` chunks of six bytes each, then its end with usage.
fn long_stream(chunks: u64, usage: &str) -> String {
    let mut all = samples::chat("abcdef").repeat(usize::try_from(chunks).expect("is few"));
    all.push_str(samples::CHAT_FINISH);
    all.push_str(&format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[]{usage}}}\n\n"
    ));
    all.push_str(samples::DONE);
    all
}

#[tokio::test]
async fn a_stream_sets_more_aside_as_it_runs_and_ends_within_one_event_of_the_budgets_end() {
    // Six bytes are two tokens; 1,000 tokens are a cent.
    let budget = cents(1);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(upstream(|_| {
        events(Scripted::chunked(&long_stream(10_000, &used(10, 20_000)).into_bytes().into(), 997))
    }));
    let response = service.clone().oneshot(chat(r#","stream":true"#)).await.expect("answers");
    assert_eq!(response.status(), 200);
    let body = text(response).await;
    let chunks = body.matches("abcdef").count() as u64;
    // The 500th is the last that is paid for; as no other would be, the error takes its place.
    assert_eq!(chunks, 499);
    assert!(body.ends_with("\"code\":\"budget_exceeded\"}}\n\n"), "{}", &body[body.len() - 300..]);
    assert!(!body.contains("[DONE]"));
    assert_eq!(spent(&ledger, &budget), (Usd::cents(1), Usd::ZERO));
    let refused = service.oneshot(chat(r#","stream":true"#)).await.expect("answers");
    assert_eq!(refused.status(), 429);
}

#[tokio::test]
async fn a_stream_that_fits_is_charged_by_its_own_usage() {
    let budget = cents(10);
    let (layer, ledger) = layer(&budget);
    let whole = long_stream(1000, &used(10, 1700));
    let service = layer.layer(upstream({
        let whole = whole.clone();
        move |_| events(whole.clone())
    }));
    let response = service.oneshot(chat(r#","stream":true,"stream_options":{"include_usage":true}"#)).await;
    assert_eq!(text(response.expect("answers")).await, whole, "it passes as it is");
    assert_eq!(spent(&ledger, &budget), (Usd::pico(17_000_000_000), Usd::ZERO));
}

#[tokio::test]
async fn usage_is_asked_for_where_the_caller_does_not_and_taken_out_again() {
    let budget = cents(10);
    let (layer, ledger) = layer(&budget);
    let whole = long_stream(10, &used(10, 1700));
    let service = |layer: &BudgetLayer| {
        let whole = whole.clone();
        layer.layer(upstream(move |body| {
            let body: serde_json::Value = serde_json::from_slice(&body).expect("is JSON");
            let asked = body["stream_options"]["include_usage"] == true;
            events(if asked { whole.clone() } else { long_stream(10, "") })
        }))
    };
    let response = service(&layer).oneshot(chat(r#","stream":true"#)).await.expect("answers");
    let body = text(response).await;
    assert!(!body.contains("usage") && body.ends_with(samples::DONE), "{body}");
    assert_eq!(spent(&ledger, &budget).0, Usd::pico(17_000_000_000));
    // Not asked for, what passed is an estimate: ten chunks of two tokens.
    let response =
        service(&layer.ask_usage(false)).oneshot(chat(r#","stream":true"#)).await.expect("answers");
    drop(text(response).await);
    assert_eq!(spent(&ledger, &budget).0, Usd::pico(17_200_000_000));
}

#[tokio::test]
async fn the_cost_of_a_stream_is_told_in_its_usage_where_that_is_asked_for() {
    let (layer, _) = layer(&cents(10));
    let whole = long_stream(10, &used(10, 1700));
    let service = layer.tell_cost().layer(upstream({
        let whole = whole.clone();
        move |_| events(whole.clone())
    }));
    let asks = r#","stream":true,"stream_options":{"include_usage":true}"#;
    let body = text(service.oneshot(chat(asks)).await.expect("answers")).await;
    assert_eq!(body, whole.replace(r#""usage":{"#, r#""usage":{"cost":0.017,"#));
}

#[tokio::test]
async fn a_caller_that_leaves_pays_for_what_was_produced() {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(upstream(|_| {
        let chunks = (0..100).map(|_| Step::data(samples::chat("abcdef")));
        events(Scripted::new(chunks.chain([Step::Stall])))
    }));
    let mut body = service.oneshot(chat(r#","stream":true"#)).await.expect("answers").into_body();
    for _ in 0..10 {
        body.frame().await.expect("runs").expect("does not fail");
    }
    drop(body);
    // Ten chunks, twenty tokens.
    assert_eq!(spent(&ledger, &budget), (Usd::pico(200_000_000), Usd::ZERO));
}

#[tokio::test]
async fn the_rest_of_a_stream_is_read_where_that_is_asked_for() {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let layer = layer.on_disconnect(Disconnect::drain(move |rest| {
        let _closed = send.send(rest);
    }));
    let service = layer.layer(upstream(|_| {
        events(Scripted::chunked(&long_stream(1000, &used(10, 1234)).into_bytes().into(), 997))
    }));
    for bounded in [false, true] {
        let before = spent(&ledger, &budget).0;
        let mut body = service.clone().oneshot(chat(r#","stream":true"#)).await.expect("answers").into_body();
        body.frame().await.expect("runs").expect("does not fail");
        drop(body);
        let rest = receive.recv().await.expect("is handed on");
        match bounded {
            false => rest.await,
            true => drop(rest),
        }
        let charged = spent(&ledger, &budget).0.saturating_sub(before);
        let whole = Usd::pico(12_340_000_000);
        assert!(if bounded { charged < whole } else { charged == whole }, "{charged:?}");
        assert_eq!(spent(&ledger, &budget).1, Usd::ZERO);
    }
    // One that was read to its end is not handed on.
    let response = service.oneshot(chat(r#","stream":true"#)).await.expect("answers");
    drop(text(response).await);
    assert!(receive.try_recv().is_err());
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
async fn a_call_dropped_before_its_answer_pays_for_its_input() {
    let budget = cents(100);
    let ledger = Ledger::in_memory();
    let priced = ziggurat_catalog::Prices::new()
        .with(ziggurat_catalog::Unit::Input, "0.001".parse().expect("is a price"))
        .with(ziggurat_catalog::Unit::Output, "0".parse().expect("is a price"));
    let catalog = Catalog::empty().with(ziggurat_catalog::Model::new("m", "openai").prices(priced));
    let layer = BudgetLayer::new(ledger.clone(), catalog).budget(budget.clone());
    let service = layer.layer(tower::service_fn(|_: http::Request<Body>| {
        std::future::pending::<Result<http::Response<Body>, std::convert::Infallible>>()
    }));
    let call = service.oneshot(chat(""));
    let waited = tokio::time::timeout(Duration::ZERO, call).await;
    assert!(waited.is_err());
    let (spent, held) = spent(&ledger, &budget);
    assert_eq!(held, Usd::ZERO);
    // The role, `hi`, the message around them, and the start of the reply.
    assert_eq!(spent, "0.001".parse::<Usd>().expect("is an amount") * 9);
}

#[tokio::test]
async fn scopes_are_the_hosts_or_the_principals_and_the_smallest_cap_rules() {
    let cap = |layer: BudgetLayer, kind, amount| layer.cap(kind, Usd::cents(amount), Window::Lifetime);
    let ledger = Ledger::in_memory();
    let base = BudgetLayer::new(ledger.clone(), catalog());
    let layer = cap(cap(cap(base, ScopeKind::Key, 100), ScopeKind::Team, 4), ScopeKind::User, 1000);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut principal = Principal::default();
    (principal.key, principal.team, principal.user) = (Some("k".into()), Some("t".into()), Some("u".into()));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let mut request = chat(r#","max_tokens":2000"#);
        request.extensions_mut().insert(principal.clone());
        let response = service.clone().oneshot(request).await.expect("answers");
        statuses.push(response.status().as_u16());
        drop(text(response).await);
    }
    assert_eq!(statuses, [200, 200, 429]);
    let stands = |kind, id: &str| {
        let budget = Budget::new(Scope::new(kind, id), Usd::ZERO, Window::Lifetime);
        spent(&ledger, &budget)
    };
    for (kind, id) in [(ScopeKind::Key, "k"), (ScopeKind::Team, "t"), (ScopeKind::User, "u")] {
        assert_eq!(stands(kind, id), (Usd::cents(4), Usd::ZERO), "{kind}");
    }
}

#[tokio::test]
async fn users_that_a_client_names_never_open_a_fresh_allowance() {
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger.clone(), catalog())
        .cap(ScopeKind::EndUser, Usd::cents(10), Window::Lifetime)
        .cap(ScopeKind::Key, Usd::dollars(1), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut principal = Principal::default();
    principal.key = Some("k".into());
    let mut passed = 0;
    for user in 0..1000 {
        let mut request = chat(&format!(r#","max_tokens":2000,"user":"u{user}""#));
        request.extensions_mut().insert(principal.clone());
        let response = service.clone().oneshot(request).await.expect("answers");
        passed += u32::from(response.status() == 200);
        drop(text(response).await);
    }
    assert_eq!(passed, 50);
}

#[tokio::test]
async fn who_names_no_scope_gets_nothing() {
    let layer = BudgetLayer::new(Ledger::in_memory(), catalog())
        .scope(|parts| Some(Scope::tenant(parts.headers.get("x-tenant")?.to_str().ok()?)))
        .cap(ScopeKind::Tenant, Usd::dollars(1), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 1))));
    let refused = service.clone().oneshot(chat("")).await.expect("answers");
    assert_eq!(refused.status(), 403);
    let mut request = chat("");
    request.headers_mut().insert("x-tenant", "a".parse().expect("is a value"));
    assert_eq!(service.oneshot(request).await.expect("answers").status(), 200);
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_unless_it_is_allowed() {
    let budget = cents(100);
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger.clone(), Catalog::empty()).budget(budget.clone());
    let service = |layer: &BudgetLayer| layer.layer(upstream(|_| answer(&used(1, 1))));
    let refused = service(&layer).oneshot(chat("")).await.expect("answers");
    assert_eq!(refused.status(), 400);
    assert_eq!(
        text(refused).await,
        r#"{"error":{"message":"the model `m` has no price, and a budget applies to this call","type":"invalid_request_error","param":"model","code":"model_not_priced"}}"#
    );
    let allowed = layer.unpriced(Unpriced::Allow).report();
    let response = service(&allowed).oneshot(chat("")).await.expect("answers");
    let charge = response.extensions().get::<Spending>().expect("is attached").charge.expect("is whole");
    assert!(charge.flags.unpriced && charge.amount.is_zero());
    assert_eq!(spent(&ledger, &budget), (Usd::ZERO, Usd::ZERO));
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

/// What a call that is dropped before its answer is charged, and whether as nobody's.
async fn abandoned(members: &str) -> Usd {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(tower::service_fn(|_: http::Request<Body>| {
        std::future::pending::<Result<http::Response<Body>, std::convert::Infallible>>()
    }));
    assert!(tokio::time::timeout(Duration::ZERO, service.oneshot(chat(members))).await.is_err());
    let (spent, held) = spent(&ledger, &budget);
    assert_eq!(held, Usd::ZERO);
    spent
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_costs_what_it_can_have_come_to() {
    assert_eq!(abandoned(r#","max_tokens":2000"#).await, Usd::cents(2));
    assert_eq!(abandoned(r#","max_tokens":2000,"n":3"#).await, Usd::cents(6));
    assert_eq!(abandoned("").await, Usd::cents(4), "the model's own cap");
    assert_eq!(abandoned(r#","max_tokens":2000,"stream":true"#).await, Usd::ZERO, "not a word of it came");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_costs_what_it_can_have_come_to() {
    let budget = cents(100);
    let (layer, ledger) = layer(&budget);
    let service = layer.layer(upstream(|_| answer(&used(10, 4000))));
    let body = r#"{"model":"m","input":"hi","max_output_tokens":1000}"#;
    let request = http::Request::post("/v1/responses").body(Body::from(body)).expect("is a request");
    drop(text(service.oneshot(request).await.expect("answers")).await);
    assert_eq!(spent(&ledger, &budget), (Usd::cents(1), Usd::ZERO));
}

#[tokio::test]
async fn what_the_deployment_changes_is_what_is_counted() {
    let target = || {
        ziggurat_core::Target::new("openai", ziggurat_core::Dialect::OpenAi, "m", "http://x/v1")
            .expect("is one")
    };
    let drops = || {
        let mut policy = ziggurat_core::ParamPolicy::default();
        policy.additional_drop_params = ["max_tokens".to_owned(), "max_completion_tokens".to_owned()].into();
        target().policy(policy)
    };
    let gives = |name: &str, json: &str| target().defaults([(name.to_owned(), json.to_owned())]);
    let held = |target: ziggurat_core::Target, members: &'static str, policy: Uncapped| async move {
        let budget = cents(100);
        let (layer, ledger) = layer(&budget);
        let service = layer.uncapped(policy).layer(upstream(|_| answer(&used(1, 1))));
        let mut request = chat(members);
        request.extensions_mut().insert(target);
        let response = service.oneshot(request).await.expect("answers");
        assert_eq!(response.status(), 200);
        let held = spent(&ledger, &budget).1;
        drop(response);
        held
    };
    let reserve = Uncapped::ReserveModelCap;
    assert_eq!(held(target(), r#","max_tokens":1000"#, reserve).await, Usd::cents(1));
    assert_eq!(held(drops(), r#","max_tokens":1000"#, reserve).await, Usd::cents(4));
    assert_eq!(held(drops(), "", Uncapped::Clamp(100)).await, Usd::cents(4));
    assert_eq!(held(gives("max_tokens", "500"), "", reserve).await, Usd::pico(5_000_000_000));
    assert_eq!(held(gives("max_tokens", "500"), r#","max_tokens":1000"#, reserve).await, Usd::cents(1));
    assert_eq!(held(gives("n", "4"), r#","max_tokens":1000"#, reserve).await, Usd::cents(4));
}

#[tokio::test]
async fn a_tier_that_is_asked_for_is_never_cheaper_than_the_usual_one() {
    use ziggurat_catalog::{Model, Prices, ServiceTier, Unit};
    let rate = |text: &str| text.parse().expect("is a price");
    let prices = Prices::new()
        .with(Unit::Input, rate("0"))
        .with(Unit::Output, rate("0.00001"))
        .with_variant(Unit::Output, 0, ServiceTier::Flex, rate("0.000005"))
        .with_variant(Unit::Output, 0, ServiceTier::Priority, rate("0.00002"));
    let catalog = Catalog::empty().with(Model::new("m", "openai").prices(prices));
    for (tier, cents) in
        [("default", 1), ("flex", 1), ("batch", 1), ("batches", 1), ("unheard", 1), ("priority", 2)]
    {
        let budget = Budget::new(tenant(), Usd::dollars(1), Window::Lifetime);
        let ledger = Ledger::in_memory();
        let layer = BudgetLayer::new(ledger.clone(), catalog.clone()).budget(budget.clone());
        let service = layer.layer(upstream(|_| answer(&used(1, 1000))));
        let call = chat(&format!(r#","max_tokens":1000,"service_tier":"{tier}""#));
        drop(text(service.oneshot(call).await.expect("answers")).await);
        assert_eq!(spent(&ledger, &budget).0, Usd::cents(cents), "{tier}");
    }
}

#[tokio::test]
async fn a_stream_of_a_model_that_reasons_has_all_of_it_set_aside() {
    use ziggurat_catalog::Capability;
    let budget = cents(8);
    let mut model = (*catalog().named("m").expect("is there")).clone();
    model.supports = model.supports.with(Capability::Reasoning);
    let catalog = Catalog::empty().with(model);
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger.clone(), catalog).budget(budget.clone());
    let service = layer.layer(upstream(|_| events(long_stream(10, &used(10, 4000)))));
    let call = || service.clone().oneshot(chat(r#","stream":true"#));
    let (one, two, three) = (call().await, call().await, call().await);
    assert_eq!(three.expect("answers").status(), 429);
    for response in [one, two] {
        let body = text(response.expect("answers")).await;
        assert!(body.ends_with(samples::DONE), "what was not seen until its end is paid for: {body}");
    }
    assert_eq!(spent(&ledger, &budget), (Usd::cents(8), Usd::ZERO));
}

#[tokio::test]
async fn caps_of_providers_hold_without_an_inner_layer() {
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger, catalog()).cap(ScopeKind::Provider, Usd::cents(4), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let target = ziggurat_core::Target::new("openai", ziggurat_core::Dialect::OpenAi, "m", "http://x/v1");
        let mut request = chat(r#","max_tokens":2000"#);
        request.extensions_mut().insert(target.expect("is one"));
        let response = service.clone().oneshot(request).await.expect("answers");
        statuses.push(response.status().as_u16());
        drop(text(response).await);
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn end_users_of_one_name_are_two_when_their_owners_are() {
    let ledger = Ledger::in_memory();
    let layer = BudgetLayer::new(ledger, catalog()).cap(ScopeKind::EndUser, Usd::cents(2), Window::Lifetime);
    let service = layer.layer(upstream(|_| answer(&used(1, 2000))));
    let mut statuses = Vec::new();
    for key in ["one", "one", "two"] {
        let mut principal = Principal::default();
        principal.key = Some(key.into());
        let mut request = chat(r#","max_tokens":2000,"user":"bob""#);
        request.extensions_mut().insert(principal);
        let response = service.clone().oneshot(request).await.expect("answers");
        statuses.push(response.status().as_u16());
        drop(text(response).await);
    }
    assert_eq!(statuses, [200, 429, 200]);
}

#[tokio::test]
async fn a_cap_of_a_kind_that_nobody_is_of_lets_nobody_pass() {
    for kind in [ScopeKind::Key, ScopeKind::Team, ScopeKind::Member, ScopeKind::Tenant] {
        let layer =
            BudgetLayer::new(Ledger::in_memory(), catalog()).cap(kind, Usd::dollars(1), Window::Lifetime);
        let service = layer.layer(upstream(|_| answer(&used(1, 1))));
        assert_eq!(service.oneshot(chat("")).await.expect("answers").status(), 403, "{kind}");
    }
}

#[tokio::test]
async fn a_model_whose_output_has_no_price_has_none() {
    use ziggurat_catalog::{Model, Prices, Unit};
    let prices = Prices::new().with(Unit::Input, "0.000003".parse().expect("is a price"));
    let catalog = Catalog::empty().with(Model::new("m", "openai").prices(prices));
    let layer = BudgetLayer::new(Ledger::in_memory(), catalog).budget(cents(100));
    let refused = layer.layer(upstream(|_| answer(&used(1, 1)))).oneshot(chat("")).await.expect("answers");
    assert_eq!(refused.status(), 400);
}
