//! The checks that every layer passes, on this one.

mod support;

use bytes::Bytes;
use http::{Request, Response};
use tower::ServiceExt;
use ziggurat_cache::{CacheLayer, Lookup};
use ziggurat_testkit::conformance::{Check, Conformance, axum_takes, client_takes};

use crate::support::*;

fn request(fields: &str) -> Request<Bytes> {
    let body = format!(r#"{{"model":"m",{fields}"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    Request::post("/v1/chat/completions").body(body.into()).expect("is a request")
}

/// Each goes on, whatever was answered before.
fn anew() -> Request<Bytes> {
    request(r#""cache":{"no-cache":true},"stream":true,"stream_options":{"include_usage":true},"#)
}

#[tokio::test]
async fn conforms() {
    let report = Conformance::new(CacheLayer::in_memory(1 << 20))
        .request(anew)
        .response(|| {
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(Bytes::from(stream(&["Hi"])))
                .expect("is a response")
        })
        .refused(|| request(r#""cache":{"ttl":"x"},"#))
        .untouched(|| Request::post("/v1/audio/speech").body(Bytes::from("{}")).expect("is a request"))
        .shared(|first, second| async move {
            let asked = || request("").map(ziggurat_core::Body::from);
            let first = first.oneshot(asked()).await.expect("is answered");
            let second = second.oneshot(asked()).await.expect("is answered");
            drop(first);
            second.extensions().get::<Lookup>().is_some_and(|lookup| lookup.status.is_given_again())
        })
        .run()
        .await;
    report.assert();
    assert!(report.passed().len() >= 10, "{report:?}");
    assert!(report.passed().contains(&Check::SingleBytes));
}

#[test]
fn hosts_take_it() {
    drop(axum_takes(CacheLayer::in_memory(1 << 20)));
    drop(client_takes(CacheLayer::in_memory(1 << 20)));
}
