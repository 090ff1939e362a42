//! What the tests of the layer share: a priced model, requests, and upstreams that answer by script.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use tower::util::BoxCloneSyncService;
use ziggurat_budget::{BudgetLayer, Ledger, Reply};
use ziggurat_catalog::{Catalog, Model, Prices, Unit, tokens::Count};
use ziggurat_core::{Body, Budget, Clock, Scope, Usd, Window};
use ziggurat_testkit::samples;

pub(crate) type Upstream = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A catalogue with one model, `m`: input is free, and each output token costs a thousandth of a cent.
pub(crate) fn catalog() -> Catalog {
    let prices = Prices::new()
        .with(Unit::Input, "0".parse().expect("is a price"))
        .with(Unit::Output, "0.00001".parse().expect("is a price"));
    Catalog::empty().with(Model::new("m", "openai").prices(prices).window(100_000, 4000))
}

/// A clock that stands until it is moved.
#[derive(Clone, Default)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let micros = Arc::clone(&self.0);
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Clock::new(move || start + Duration::from_micros(micros.load(Ordering::SeqCst)))
    }
}

pub(crate) fn tenant() -> Scope {
    Scope::tenant("t")
}

/// A budget of so many cents that never resets.
pub(crate) fn cents(amount: u64) -> Budget {
    Budget::new(tenant(), Usd::cents(amount), Window::Lifetime)
}

/// A layer with one budget, on its own ledger.
pub(crate) fn layer(budget: &Budget) -> (BudgetLayer, Ledger) {
    let ledger = Ledger::in_memory();
    (BudgetLayer::new(ledger.clone(), catalog()).budget(budget.clone()), ledger)
}

pub(crate) fn spent(ledger: &Ledger, budget: &Budget) -> (Usd, Usd) {
    let balance = ledger.balance(budget).expect("is kept here");
    (balance.spent, balance.held)
}

/// What a ledger in memory answers.
pub(crate) fn at_once<T>(reply: Reply<T>) -> T {
    match reply {
        Reply::Ready(answer) => answer,
        Reply::Later(_) => panic!("the ledger in memory answers at once"),
    }
}

/// A chat call with these members beside model and messages.
pub(crate) fn chat(members: &str) -> Request<Body> {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{members}}}"#);
    Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("is a request")
}

pub(crate) fn messages(members: &str) -> Request<Body> {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{members}}}"#);
    Request::post("/v1/messages")
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("is a request")
}

/// A whole answer with these counts, as they stand in JSON.
pub(crate) fn answer(usage: &str) -> Response<Body> {
    let body = format!(
        r#"{{"id":"c","object":"chat.completion","created":7,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hello you"}},"finish_reason":"stop"}}]{usage}}}"#
    );
    Response::builder()
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("is an answer")
}

pub(crate) fn used(input: u64, output: u64) -> String {
    let total = input + output;
    format!(r#","usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total}}}"#)
}

/// A stream of these bytes.
pub(crate) fn events(body: impl Into<Body>) -> Response<Body> {
    Response::builder().header("content-type", "text/event-stream").body(body.into()).expect("is an answer")
}

/// An upstream that answers each call by `answer`, which is given the request's body.
pub(crate) fn upstream<F>(answer: F) -> Upstream
where
    F: Fn(Bytes) -> Response<Body> + Clone + Send + Sync + 'static,
{
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let bytes = request.into_body().collect_within(1 << 20).await.expect("is whole");
            Ok::<_, Infallible>(answer(bytes))
        }
    }))
}

/// Counts a token a byte, so that a test can say how many.
pub(crate) fn by_byte(_model: &str, text: &str) -> Count {
    Count::estimate(text.len() as u64)
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect_within(1 << 20).await.expect("is whole");
    String::from_utf8(bytes.to_vec()).expect("is UTF-8")
}

/// A stream of `chunks` chunks of six bytes each, then its end with usage.
pub(crate) fn long_stream(chunks: u64, usage: &str) -> String {
    let mut all = samples::chat("abcdef").repeat(usize::try_from(chunks).expect("is few"));
    all.push_str(samples::CHAT_FINISH);
    all.push_str(&format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[]{usage}}}\n\n"
    ));
    all.push_str(samples::DONE);
    all
}
