//! What the tests of this crate share: one call through the layer to an upstream that answers by script.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses its part")]

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response, StatusCode, request::Parts};
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{Body, Dialect, Target};
pub use ziggurat_testkit::{Recorder, Scripted, Step, read_body, samples::*};
use ziggurat_translate::TranslateLayer;

/// What was sent upstream, and what came back.
#[derive(Debug)]
pub struct Exchange {
    pub sent: Option<Sent>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub extensions: Extensions,
    pub body: String,
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub parts: Parts,
    pub body: String,
}

impl Exchange {
    pub fn sent(&self) -> &Sent {
        self.sent.as_ref().expect("it was sent upstream")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("is text"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Sent {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("is JSON")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).map(|value| value.to_str().expect("is text"))
    }
}

/// Makes one call. The clock stands at 1 000 000 s.
pub async fn exchange(target: Target, request: Request<Body>, answer: Response<Body>) -> Exchange {
    exchange_through(TranslateLayer::new().target(target), request, answer).await
}

pub async fn exchange_through(
    layer: TranslateLayer,
    request: Request<Body>,
    answer: Response<Body>,
) -> Exchange {
    let sent = Arc::new(Mutex::new(None));
    let answer = Arc::new(Mutex::new(Some(answer)));
    let keep = Arc::clone(&sent);
    let upstream = service_fn(move |request: Request<Body>| {
        let (keep, answer) = (Arc::clone(&keep), Arc::clone(&answer));
        async move {
            let (parts, body) = request.into_parts();
            assert!(body.held().is_some(), "a request is sent whole, or begun");
            let body = read_body(body).await.0;
            *keep.lock().expect("is sound") = Some(Sent { parts, body });
            Ok::<_, Infallible>(answer.lock().expect("is sound").take().expect("is called once"))
        }
    });
    let layer = layer.clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    let response = layer.layer(upstream).oneshot(request).await.expect("is infallible");
    let (parts, body) = response.into_parts();
    let body = read_body(body).await.0;
    let sent = sent.lock().expect("is sound").take();
    Exchange { sent, status: parts.status, headers: parts.headers, extensions: parts.extensions, body }
}

pub fn target(dialect: Dialect) -> Target {
    match dialect {
        Dialect::Anthropic => Target::new("anthropic", dialect, "claude", "https://a.example/v1/messages"),
        _ => Target::new("openai", dialect, "gpt", "https://o.example/v1/chat/completions"),
    }
    .expect("is a URL")
}

pub fn path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "/v1/messages",
        Dialect::Responses => "/v1/responses",
        _ => "/v1/chat/completions",
    }
}

pub fn post(dialect: Dialect, body: impl Into<Bytes>) -> Request<Body> {
    Request::post(path(dialect)).body(Body::from(body)).expect("is a request")
}

/// A plain request: `Hello` to the model `alias`.
pub fn hello(dialect: Dialect, stream: bool) -> String {
    let cap = if dialect == Dialect::Anthropic { r#""max_tokens":9,"# } else { "" };
    let stream = if stream { r#""stream":true,"# } else { "" };
    format!(r#"{{"model":"alias",{cap}{stream}"messages":[{{"role":"user","content":"Hello"}}]}}"#)
}

pub fn answering(status: u16, kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", kind).body(body.into()).expect("is a response")
}

pub fn json(body: impl Into<Bytes>) -> Response<Body> {
    answering(200, "application/json", Body::from(body))
}

pub fn events(steps: impl IntoIterator<Item = Step>) -> Response<Body> {
    answering(200, "text/event-stream", Scripted::new(steps))
}

/// One stream in each of the four directions.
pub async fn through(caller: Dialect, provider: Dialect, steps: impl IntoIterator<Item = Step>) -> Exchange {
    exchange(target(provider), post(caller, hello(caller, true)), events(steps)).await
}

/// Caller and provider.
pub const DIRECTIONS: [(Dialect, Dialect); 4] = [
    (Dialect::OpenAi, Dialect::OpenAi),
    (Dialect::OpenAi, Dialect::Anthropic),
    (Dialect::Anthropic, Dialect::OpenAi),
    (Dialect::Anthropic, Dialect::Anthropic),
];

pub const OPENAI: Dialect = Dialect::OpenAi;
pub const ANTHROPIC: Dialect = Dialect::Anthropic;
