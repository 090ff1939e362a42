//! The checks that every layer passes, on this one.

mod support;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use ziggurat_core::Dialect;
use ziggurat_testkit::conformance::{Check, Conformance, axum_takes, client_takes};
use ziggurat_translate::TranslateLayer;

use crate::support::*;

fn request(dialect: Dialect, body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post(path(dialect)).body(body.into()).expect("is a request")
}

fn reply(kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut reply = Response::new(body.into());
    reply.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    reply
}

#[tokio::test]
async fn conforms_in_each_direction_whole_and_streamed() {
    for (caller, provider) in DIRECTIONS {
        for stream in [false, true] {
            let body = if stream { support::stream(provider) } else { answer(provider).to_owned() };
            let mut conformance = Conformance::new(TranslateLayer::new().target(target(provider)))
                .request(move || request(caller, hello(caller, stream)))
                .response(move || reply("text/event-stream", body.clone()))
                .refused(move || request(caller, "no JSON"))
                .without(Check::SharedState, "it has none but its configuration");
            if caller != provider || !stream {
                conformance = conformance
                    .without(Check::Trailers, "they speak of a body that is not the one that is handed on");
            }
            if caller != provider || stream {
                conformance =
                    conformance.without(Check::SizeHint, "what is handed on may have another length");
            }
            let report = conformance.run().await;
            report.assert();
            assert!(report.passed().len() >= 7, "{report:?}");
        }
    }
}

#[tokio::test]
async fn conforms_where_it_has_nothing_to_do() {
    let report = Conformance::new(TranslateLayer::new())
        .request(|| request(OPENAI, "anything"))
        .response(|| reply("text/plain", "some answer"))
        .without(Check::Refusal, "without a target it refuses nothing")
        .without(Check::SharedState, "it has none but its configuration")
        .run()
        .await;
    report.assert();
    assert_eq!(report.passed().len(), 9);
}

#[test]
fn fits_axum_and_hypers_client() {
    let layer = || TranslateLayer::new().target(target(ANTHROPIC));
    let _router = axum_takes(layer());
    let _client = client_takes(layer());
}
