//! What calls cost whose callers leave, and answers that nobody reads.

mod support;

use std::time::Duration;

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use ziggurat_budget::{BudgetLayer, Disconnect, Ledger};
use ziggurat_catalog::Catalog;
use ziggurat_core::{Body, Usd};
use ziggurat_testkit::{Scripted, Step, samples};

use crate::support::*;

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
    let body = r#"{"model":"m","prompt":"hi","max_tokens":1000}"#;
    let request = http::Request::post("/v1/completions").body(Body::from(body)).expect("is a request");
    drop(text(service.oneshot(request).await.expect("answers")).await);
    assert_eq!(spent(&ledger, &budget), (Usd::cents(1), Usd::ZERO));
}
