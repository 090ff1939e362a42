//! The checks that every layer passes, on this one.

mod support;

use bytes::Bytes;
use http::{Request, Response};
use tower::ServiceExt;
use ziggurat_core::{Limit, Measure, Principal, Scope, ScopeKind};
use ziggurat_limit::{LimitLayer, MemoryStore, Store};
use ziggurat_testkit::conformance::{Check, Conformance, axum_takes, client_takes};

use crate::support::*;

const STREAM: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn request(fields: &str) -> Request<Bytes> {
    let body = format!(r#"{{"model":"m",{fields}"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    Request::post("/v1/chat/completions").body(body.into()).expect("is a request")
}

fn places() -> Limit {
    Limit::concurrency(Scope::gateway(), 1)
}

/// A request whose principal may do nothing.
fn refused() -> Request<Bytes> {
    let mut principal = Principal::default();
    principal.limits = [Limit::requests_per_minute(Scope::new(ScopeKind::Key, "k"), 0)].into();
    let mut request = request("");
    request.extensions_mut().insert(principal);
    request
}

#[tokio::test]
async fn conforms_with_places_alone_and_with_tokens_whole_and_streamed() {
    for (tokens, stream) in [(false, false), (false, true), (true, false), (true, true)] {
        let store = MemoryStore::new();
        let mut layer = layer(&Manual::default()).store(store.clone()).fixed(places());
        if tokens {
            layer = layer.fixed(Limit::tokens_per_minute(Scope::gateway(), 1_000_000_000));
        }
        let now = Manual::default().clock().now();
        let free = move || match store.level(&places(), now) {
            Some(level) if level.remaining == 1 => Ok(()),
            other => Err(format!("a place is still taken: {other:?}")),
        };
        let fields = if stream { "\"stream\":true," } else { "" };
        let answer = move || Response::new(Bytes::from(if stream { STREAM } else { r#"{"choices":[]}"# }));
        let mut conformance = Conformance::new(layer)
            .request(move || request(fields))
            .response(answer)
            .refused(refused)
            .settled(free)
            .shared(move |first, second| async move {
                let held =
                    first.oneshot(request(fields).map(ziggurat_core::Body::from)).await.expect("is answered");
                let other = second
                    .oneshot(request(fields).map(ziggurat_core::Body::from))
                    .await
                    .expect("is answered");
                drop(held);
                other.status() == 429
            });
        if tokens && !stream {
            conformance = conformance.without(Check::Trailers, "a whole answer is collected");
        }
        if tokens && stream {
            conformance = conformance.without(Check::SizeHint, "a stream that is read may become longer");
        }
        let report = conformance.run().await;
        report.assert();
        assert!(report.passed().len() >= 10, "{report:?}");
    }
}

#[tokio::test]
async fn conforms_where_it_only_counts_and_where_it_has_nothing_to_do() {
    for most in [None, Some(u64::MAX)] {
        let time = Manual::default();
        let layer = most.into_iter().fold(layer(&time), |layer, most| {
            layer.limit(ScopeKind::Gateway, Measure::Requests, most, MINUTE)
        });
        let report = Conformance::new(layer)
            .request(|| request(""))
            .response(|| Response::new(Bytes::from("some answer")))
            .refused(refused)
            .without(Check::SharedState, "seen above")
            .run()
            .await;
        report.assert();
        assert_eq!(report.passed().len(), 10);
    }
}

#[test]
fn fits_axum_and_hypers_client() {
    let _router = axum_takes(LimitLayer::new());
    let _client = client_takes(LimitLayer::new());
}
