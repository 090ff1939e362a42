//! The checks that every layer passes, on this one.

mod support;

use bytes::Bytes;
use http::{Request, Response};
use tower::ServiceExt;
use ziggurat_auth::{AuthLayer, VirtualKeys};
use ziggurat_core::Body;
use ziggurat_testkit::conformance::{Conformance, axum_takes, client_takes};

use crate::support::*;

fn request(key: &str) -> Request<Bytes> {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let head = Request::post("/v1/chat/completions").header("authorization", format!("Bearer {key}"));
    head.body(body.into()).expect("is a request")
}

#[tokio::test]
async fn conforms_where_the_key_is_known_and_where_it_is_asked_for() {
    for known in [true, false] {
        let store = Store::with(KEY, record(|_| {}));
        let time = Manual::default();
        let keys = keys(&store, &time);
        let permits = store.slow();
        permits.add_permits(1_000_000);
        let asked = store.clone();
        let report = Conformance::new(AuthLayer::new(keys.clone()))
            .request(move || {
                if !known {
                    keys.forget(&ziggurat_auth::KeyHash::of(KEY.as_bytes()));
                }
                request(KEY)
            })
            .response(|| Response::new(Bytes::from("some answer")))
            .refused(|| request("sk-of-nobody-that-is-known"))
            .shared(move |first, second| {
                let store = asked.clone();
                async move {
                    let other = "sk-another-that-is-known";
                    store.set(other, record(|_| {}));
                    let before = store.asked();
                    let of = || request(other).map(Body::from);
                    let one = first.oneshot(of()).await.expect("is answered");
                    let two = second.oneshot(of()).await.expect("is answered");
                    (one.status().as_u16(), two.status().as_u16(), store.asked() - before) == (200, 200, 1)
                }
            })
            .run()
            .await;
        report.assert();
        assert_eq!(report.passed().len(), 11);
    }
}

#[test]
fn fits_axum_and_hypers_client() {
    let _router = axum_takes(AuthLayer::new(VirtualKeys::new(Store::default())));
    let _client = client_takes(AuthLayer::new(VirtualKeys::new(Store::default())));
}
