//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses its part")]

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::Extensions;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_cache::{CacheLayer, Cached, Embedder, Embedding, Lookup, Semantic, Trigrams};
use ziggurat_core::{Body, CacheStatus, Clock, Principal};
pub use ziggurat_testkit::{Scripted, Step, read_body, samples::*};

/// A clock that is set by hand.
#[derive(Clone, Default)]
pub struct Manual(Arc<Mutex<Duration>>);

impl Manual {
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Clock::new(move || this.now())
    }

    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000) + *self.0.lock().expect("is sound")
    }

    pub fn pass(&self, seconds: u64) {
        *self.0.lock().expect("is sound") += Duration::from_secs(seconds);
    }
}

/// A provider that counts its calls and answers as it is told.
#[derive(Clone)]
pub struct Upstream {
    calls: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Value>>>,
    answer: Arc<dyn Fn(usize) -> Response<Body> + Send + Sync>,
}

pub type Boxed = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

impl Upstream {
    pub fn new(answer: impl Fn(usize) -> Response<Body> + Send + Sync + 'static) -> Self {
        Self { calls: Arc::default(), seen: Arc::default(), answer: Arc::new(answer) }
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The bodies that it was sent.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().expect("is sound").clone()
    }

    pub fn service(&self) -> Boxed {
        let this = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
            let this = this.clone();
            async move {
                let number = this.calls.fetch_add(1, Ordering::SeqCst);
                let bytes = request.into_body().collect_within(1 << 24).await.expect("is short");
                let json = serde_json::from_slice(&bytes).unwrap_or_default();
                this.seen.lock().expect("is sound").push(json);
                Ok((this.answer)(number))
            }
        }))
    }
}

pub fn chat(fields: &Value) -> Request<Body> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    merge(&mut body, fields);
    Request::post("/v1/chat/completions").body(body.to_string().into()).expect("is a request")
}

pub fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(path).body(body.to_string().into()).expect("is a request")
}

pub fn merge(body: &mut Value, fields: &Value) {
    if let (Value::Object(body), Value::Object(fields)) = (body, fields) {
        body.extend(fields.clone());
    }
}

/// As the holder of a key of a team.
pub fn by(mut request: Request<Body>, team: &str, key: &str) -> Request<Body> {
    let mut principal = Principal::default();
    principal.key = Some(key.into());
    principal.team = (!team.is_empty()).then(|| team.into());
    request.extensions_mut().insert(principal);
    request
}

/// A whole chat completion.
pub fn completion(text: &str) -> Value {
    json!({
        "id": "c", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    })
}

pub fn whole(json: &Value) -> Response<Body> {
    answer("application/json", json.to_string())
}

pub fn events(text: impl Into<Bytes>) -> Response<Body> {
    answer("text/event-stream", text.into())
}

pub fn answer(kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().header("content-type", kind).body(body.into()).expect("is a response")
}

/// A stream of a chat completion, its usage ahead of its end.
pub fn stream(texts: &[&str]) -> String {
    let chunks: String = texts.iter().map(|text| chat_text(text)).collect();
    [&*chunks, CHAT_FINISH, CHAT_USAGE, DONE].concat()
}

fn chat_text(text: &str) -> String {
    ziggurat_testkit::samples::chat(text)
}

/// What was answered: status, body, and what the cache did.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub kind: String,
    pub body: String,
    pub cache: Option<CacheStatus>,
    pub lookup: Option<Lookup>,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("is JSON")
    }
}

pub async fn ask<S>(service: &S, request: Request<Body>) -> Answered
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let lookup = parts.extensions.get::<Lookup>().cloned();
    let kind =
        parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let status = parts.status.as_u16();
    let body = read_body(body).await.0;
    Answered { status, kind, body, cache: lookup.as_ref().map(|lookup| lookup.status), lookup }
}

/// A cache in front of an upstream.
pub fn cached(upstream: &Upstream, time: &Manual) -> ziggurat_cache::Cached<Boxed> {
    layer(time).layer(upstream.service())
}

pub fn layer(time: &Manual) -> CacheLayer {
    CacheLayer::in_memory(64 << 20).clock(time.clock())
}

pub const HIT: Option<CacheStatus> = Some(CacheStatus::Hit);
pub const MISS: Option<CacheStatus> = Some(CacheStatus::Miss);
pub const SHARED: Option<CacheStatus> = Some(CacheStatus::Shared);

/// Polls a future once.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match Pin::new(future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// A body whose frames come when they are sent.
#[derive(Clone, Default)]
pub struct Piped(Arc<Mutex<Pipe>>);

#[derive(Default)]
struct Pipe {
    frames: std::collections::VecDeque<Option<Bytes>>,
    waker: Option<std::task::Waker>,
    dropped: bool,
}

impl Piped {
    pub fn send(&self, data: impl Into<Bytes>) {
        self.push(Some(data.into()));
    }

    pub fn end(&self) {
        self.push(None);
    }

    pub fn is_dropped(&self) -> bool {
        self.0.lock().expect("is sound").dropped
    }

    pub fn body(&self) -> Body {
        Body::new(PipedBody(self.clone()))
    }

    fn push(&self, frame: Option<Bytes>) {
        let waker = {
            let mut pipe = self.0.lock().expect("is sound");
            pipe.frames.push_back(frame);
            pipe.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct PipedBody(Piped);

impl http_body::Body for PipedBody {
    type Data = Bytes;
    type Error = ziggurat_core::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, ziggurat_core::BoxError>>> {
        let mut pipe = self.0.0.lock().expect("is sound");
        match pipe.frames.pop_front() {
            Some(frame) => std::task::Poll::Ready(frame.map(|data| Ok(http_body::Frame::data(data)))),
            None => {
                pipe.waker = Some(cx.waker().clone());
                std::task::Poll::Pending
            }
        }
    }
}

impl Drop for PipedBody {
    fn drop(&mut self) {
        self.0.0.lock().expect("is sound").dropped = true;
    }
}

pub const CAPITAL: &str = "What is the capital of France?";
pub const CAPITAL_TOO: &str = "what's the capital of France, please";
pub const EGG: &str = "How long do I boil an egg?";

/// Embeds by three letters, and counts.
#[derive(Clone, Default)]
pub struct Counting(Arc<AtomicUsize>);

impl Counting {
    pub fn calls(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Embedder for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn embed(&self, text: &str, call: &Extensions) -> Embedding {
        self.0.fetch_add(1, Ordering::SeqCst);
        Trigrams::new(384).embed(text, call)
    }
}

/// Says that all texts are equal: a partition is all that tells them apart.
pub struct Same;

impl Embedder for Same {
    fn name(&self) -> &str {
        "same"
    }

    fn embed(&self, _: &str, _: &Extensions) -> Embedding {
        Box::pin(async { Ok(vec![1.0, 0.0]) })
    }
}

pub fn semantic(embedder: impl Embedder) -> Semantic {
    Semantic::new(embedder, 0.7).expect("is a threshold")
}

pub fn with(upstream: &Upstream, semantic: &Semantic) -> Cached<Boxed> {
    layer(&Manual::default()).semantic(semantic.clone()).layer(upstream.service())
}

pub fn numbered() -> Upstream {
    Upstream::new(|number| whole(&completion(&format!("no {number}"))))
}

pub fn user(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

pub fn said(answered: &Answered) -> String {
    answered.json()["choices"][0]["message"]["content"].as_str().expect("is text").to_owned()
}
