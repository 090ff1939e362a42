//! What a stream sets aside as it runs, and what it costs.

mod support;

use tower::{Layer, ServiceExt};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_catalog::Catalog;
use ziggurat_core::Usd;
use ziggurat_testkit::{Scripted, samples};

use crate::support::*;

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
