//! What the tests of the layer share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_core::{Body, Clock};
use ziggurat_limit::{LimitLayer, Limited};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Time that passes when it is told to.
#[derive(Clone, Default)]
pub(crate) struct Manual(Arc<AtomicU64>);

impl Manual {
    pub(crate) fn clock(&self) -> Clock {
        let nanos = Arc::clone(&self.0);
        Clock::new(move || {
            // A whole number of slices of a minute.
            let base = Duration::from_secs(1_500_000_000);
            SystemTime::UNIX_EPOCH + base + Duration::from_nanos(nanos.load(Ordering::SeqCst))
        })
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }

    pub(crate) fn seconds(&self, seconds: f64) {
        self.pass(Duration::from_secs_f64(seconds));
    }
}

/// A provider: answers with what it is given, `{}` when that is used up, and keeps count.
#[derive(Clone, Default)]
pub(crate) struct Provider {
    pub(crate) answers: Arc<Mutex<VecDeque<Response<Body>>>>,
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Provider {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn answering(answers: impl IntoIterator<Item = Response<Body>>) -> Self {
        let provider = Self::default();
        provider.answers.lock().expect("is sound").extend(answers);
        provider
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<Body>> for Provider {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.lock().expect("is sound").pop_front();
        let bodies = Arc::clone(&self.bodies);
        Box::pin(async move {
            let bytes = request.into_body().collect_within(1 << 20).await.expect("is whole");
            bodies.lock().expect("is sound").push(bytes.to_vec());
            Ok(answer.unwrap_or_else(|| Response::new(Body::from("{}"))))
        })
    }
}

/// A layer on manual time.
pub(crate) fn layer(time: &Manual) -> LimitLayer {
    LimitLayer::new().clock(time.clock())
}

/// What the input of [`chat`] is estimated at: 2 for its text, 8 for what frames it.
pub(crate) const INPUT: u64 = 10;

pub(crate) fn chat(fields: &str) -> Request<Body> {
    post("/v1/chat/completions", fields)
}

pub(crate) fn post(path: &str, fields: &str) -> Request<Body> {
    let body = format!(r#"{{"model":"m",{fields}"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    Request::post(path).body(Body::from(body)).expect("is a request")
}

pub(crate) async fn ask<S>(service: &Limited<S>, request: Request<Body>) -> Response<Body>
where
    Limited<S>: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    match service.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The status, once the whole answer is read.
pub(crate) async fn status<S>(service: &Limited<S>, request: Request<Body>) -> u16
where
    Limited<S>: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let response = ask(service, request).await;
    let status = response.status().as_u16();
    text(response).await;
    status
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect_within(1 << 20).await.expect("is whole");
    String::from_utf8(bytes.to_vec()).expect("is text")
}

pub(crate) fn header<'r>(response: &'r Response<Body>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("is text"))
}

/// OpenAI's answer that used so much.
pub(crate) fn used(input: u64, output: u64) -> Response<Body> {
    whole(&format!(
        r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"Hi"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}}}"#,
        input + output
    ))
}

pub(crate) fn whole(json: &str) -> Response<Body> {
    Response::new(Body::from(json.to_owned()))
}

pub(crate) fn of<S>(layer: &LimitLayer, inner: S) -> Limited<S> {
    layer.layer(inner)
}
