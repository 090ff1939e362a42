//! The checks that every layer passes, on this one.

mod support;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use tower::ServiceExt;
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_catalog::Catalog;
use ziggurat_core::{Body, Budget, Dialect, Usd};
use ziggurat_testkit::{
    conformance::{Check, Conformance, axum_takes, client_takes},
    samples,
};

use crate::support::*;

fn request(body: &'static str) -> Request<Bytes> {
    Request::post("/v1/chat/completions").body(Bytes::from(body)).expect("is a request")
}

const CALL: &str = r#"{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &str =
    r#"{"model":"m","max_tokens":10,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const TOO_DEAR: &str = r#"{"model":"m","max_tokens":1000000,"messages":[{"role":"user","content":"hi"}]}"#;

fn reply(stream: bool) -> Response<Bytes> {
    let body =
        if stream { samples::stream(Dialect::OpenAi) } else { samples::answer(Dialect::OpenAi).to_owned() };
    let mut reply = Response::new(Bytes::from(body));
    let kind = if stream { "text/event-stream" } else { "application/json" };
    reply.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    reply
}

fn nothing_held(ledger: &Ledger, budget: &Budget) -> Result<(), String> {
    match spent(ledger, budget) {
        (_, Usd::ZERO) => Ok(()),
        (_, held) => Err(format!("{held} USD are still set aside")),
    }
}

#[tokio::test]
async fn conforms_whole_and_streamed() {
    for stream in [false, true] {
        let budget = cents(100);
        let (layer, ledger) = layer(&budget);
        let mut conformance = Conformance::new(layer)
            .request(move || request(if stream { STREAM } else { CALL }))
            .response(move || reply(stream))
            .refused(|| request(TOO_DEAR))
            .settled({
                let (ledger, budget) = (ledger.clone(), budget.clone());
                move || nothing_held(&ledger, &budget)
            })
            .shared(|one, two| async move {
                // What one service sets aside, the other cannot have.
                let call = || {
                    Request::post("/v1/chat/completions")
                        .body(Body::from(SEVENTY_CENTS))
                        .expect("is a request")
                };
                let first = one.oneshot(call()).await.expect("answers");
                let second = two.oneshot(call()).await.expect("answers");
                (first.status().as_u16(), second.status().as_u16()) == (200, 429)
            });
        conformance = match stream {
            true => conformance.without(Check::SizeHint, "an error event may take the place of what follows"),
            false => conformance.without(Check::Trailers, "a whole answer is collected"),
        };
        conformance.run().await.assert();
    }
}

const SEVENTY_CENTS: &str = r#"{"model":"m","max_tokens":70000,"messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn conforms_where_no_budget_applies() {
    let report = Conformance::new(BudgetLayer::new(Ledger::in_memory(), Catalog::empty()))
        .request(|| request(CALL))
        .response(|| reply(true))
        .without(Check::Refusal, "nothing applies")
        .without(Check::SharedState, "nothing applies")
        .run()
        .await;
    report.assert();
}

#[test]
fn hosts_take_it() {
    let _router = axum_takes(layer(&cents(1)).0);
    let _client = client_takes(layer(&cents(1)).0);
}
