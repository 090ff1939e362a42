//! The checks that every layer passes, on these three.

mod support;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use tokio::time::Instant;
use tower::ServiceExt;
use ziggurat_core::{Body, Dialect};
use ziggurat_route::{Deployment, FallbackLayer, Group, PlanLayer, RetryPolicy, RouteLayer, Routes};
use ziggurat_testkit::{
    conformance::{Check, Conformance, axum_takes, client_takes},
    samples,
};

use crate::support::*;

fn ask(model: &str, stream: bool) -> Request<Bytes> {
    let body =
        format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    Request::post("/v1/chat/completions").body(Bytes::from(body)).expect("is a request")
}

fn embedding() -> Request<Bytes> {
    let body = Bytes::from(r#"{"model":"g","input":"Hi"}"#);
    Request::post("/v1/embeddings").body(body).expect("is a request")
}

fn reply(stream: bool) -> Response<Bytes> {
    let body =
        if stream { samples::stream(Dialect::OpenAi) } else { samples::answer(Dialect::OpenAi).to_owned() };
    let mut reply = Response::new(Bytes::from(body));
    let kind = if stream { "text/event-stream" } else { "application/json" };
    reply.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    reply
}

/// Routes to one deployment, which takes one call at a time.
fn one() -> (Routes, Deployment) {
    let deployment = deployment("a").max_parallel(1);
    let group = Group::new("g").deployment(deployment.clone()).retry(RetryPolicy::new(0));
    (Routes::builder().group(group.build().expect("is a group")).build().expect("are routes"), deployment)
}

fn nothing_in_flight(deployment: &Deployment) -> Result<(), String> {
    match deployment.figures(Instant::now()).in_flight {
        0 => Ok(()),
        other => Err(format!("{other} calls are still in flight")),
    }
}

#[tokio::test]
async fn routes_conform_whole_and_streamed() {
    for stream in [false, true] {
        let (routes, deployment) = one();
        let known = deployment.clone();
        let report = Conformance::new(RouteLayer::new(routes))
            .request(move || ask("g", stream))
            .response(move || reply(stream))
            .refused(|| ask("unknown", false))
            .untouched(embedding)
            .settled(move || nothing_in_flight(&deployment))
            .shared(move |one, two| {
                let known = known.clone();
                async move {
                    let successes = || known.figures(Instant::now()).successes;
                    let before = successes();
                    for service in [one, two] {
                        drop(service.oneshot(ask("g", stream).map(Body::from)).await.expect("answers"));
                    }
                    successes() == before + 2
                }
            })
            .run()
            .await;
        report.assert();
        assert_eq!(report.passed().len(), 11);
    }
}

#[tokio::test]
async fn plans_conform_whole_and_streamed() {
    for stream in [false, true] {
        let report = Conformance::new(PlanLayer::new(one().0))
            .request(move || ask("g", stream))
            .response(move || reply(stream))
            .refused(|| ask("unknown", false))
            .without(Check::SharedState, "it has none but its routes")
            .run()
            .await;
        report.assert();
    }
}

#[tokio::test]
async fn fallbacks_conform_whole_and_streamed() {
    for stream in [false, true] {
        let layer = FallbackLayer::new([target("a")]).retry(RetryPolicy::new(0));
        let report = Conformance::new(layer)
            .request(move || ask("any", stream))
            .response(move || reply(stream))
            .untouched(embedding)
            .without(Check::Refusal, "all models are answered for")
            .without(Check::SharedState, "seen above, where calls can be refused")
            .run()
            .await;
        report.assert();
    }
}

#[test]
fn hosts_take_them() {
    let (routes, _) = one();
    let _router = axum_takes(RouteLayer::new(routes.clone()));
    let _client = client_takes(RouteLayer::new(routes.clone()));
    let _router = axum_takes(PlanLayer::new(routes.clone()));
    let _client = client_takes(PlanLayer::new(routes));
    let _router = axum_takes(FallbackLayer::new([target("a")]));
    let _client = client_takes(FallbackLayer::new([target("a")]));
}
