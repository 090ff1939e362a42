//! Calls that an outer layer meters, and attempts within them.

mod support;

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{Body, BoxError, Dialect, Limit, Measure, Meter, Scope, ScopeKind, Target};
use ziggurat_limit::{LimitLayer, MemoryStore, Store};
use ziggurat_translate::TranslateLayer;

use crate::support::*;

fn tokens(of: &str) -> Limit {
    Limit::tokens_per_minute(Scope::new(ScopeKind::Deployment, of), 1000)
}

fn places(of: &str) -> Limit {
    Limit::concurrency(Scope::new(ScopeKind::Deployment, of), 1)
}

fn target(id: &str) -> Target {
    Target::new("p", Dialect::OpenAi, "m", "https://p.example/v1").expect("is a target").id(id)
}

fn to(id: &str, meter: &Meter) -> Request<Body> {
    let mut request = chat("\"max_tokens\":100,");
    request.extensions_mut().insert(target(id));
    request.extensions_mut().insert(meter.clone());
    request
}

struct Attempts {
    layer: LimitLayer,
    store: MemoryStore,
    time: Manual,
}

impl Attempts {
    fn new() -> Self {
        let (time, store) = (Manual::default(), MemoryStore::new());
        let layer = LimitLayer::per_attempt()
            .clock(time.clock())
            .store(store.clone())
            .targets(|target| [tokens(target.deployment()), places(target.deployment())].into());
        Self { layer, store, time }
    }

    /// Tokens used and places taken of a deployment.
    fn used(&self, of: &str) -> (u64, u64) {
        let left = |limit| self.store.level(&limit, self.time.clock().now()).expect("is known").remaining;
        (1000 - left(tokens(of)), 1 - left(places(of)))
    }
}

fn failure() -> Response<Body> {
    let mut failure = whole(r#"{"error":{"message":"overloaded"}}"#);
    *failure.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    failure
}

#[tokio::test]
async fn each_attempt_is_settled_at_its_own_end_by_what_it_came_to() {
    let attempts = Attempts::new();
    let (meter, call) = Meter::join(&mut Request::new(()));
    let answers = [failure(), used(3, 4), used(5, 6)];
    let service = attempts.layer.layer(TranslateLayer::new().layer(Provider::answering(answers)));
    for (id, expected) in [("east", 0), ("west", 7), ("east", 11)] {
        let answer = service.clone().oneshot(to(id, &meter)).await.expect("is answered");
        assert_eq!(attempts.used(id), (INPUT + 100, 1), "{id}");
        text(answer).await;
        assert_eq!(attempts.used(id), (expected, 0), "{id}");
    }
    drop(call);
    assert_eq!((attempts.used("east"), attempts.used("west")), ((11, 0), (7, 0)));
}

#[tokio::test]
async fn attempts_side_by_side_are_told_apart() {
    let attempts = Attempts::new();
    let (meter, _call) = Meter::join(&mut Request::new(()));
    let service =
        attempts.layer.layer(TranslateLayer::new().layer(Provider::answering([used(3, 4), used(5, 6)])));
    let east = service.clone().oneshot(to("east", &meter)).await.expect("is answered");
    let west = service.oneshot(to("west", &meter)).await.expect("is answered");
    text(east).await;
    assert_eq!((attempts.used("east"), attempts.used("west")), ((7, 0), (INPUT + 100, 1)));
    text(west).await;
    assert_eq!((attempts.used("east"), attempts.used("west")), ((7, 0), (11, 0)));
}

#[tokio::test]
async fn what_only_an_outer_layer_reads_is_settled_when_the_call_ends() {
    let attempts = Attempts::new();
    let mut request = chat("");
    let (meter, call) = Meter::join(&mut request);
    let mut outer = meter.presume();
    let service = attempts.layer.layer(Provider::answering([used(3, 4)]));
    let answer = service.oneshot(to("east", &meter)).await.expect("is answered");
    assert_eq!(attempts.used("east"), (INPUT + 100, 1));
    text(answer).await;
    // The place is free with the body; what it came to is not known yet.
    assert_eq!(attempts.used("east"), (INPUT + 100, 0));
    outer.content(30);
    outer.end(ziggurat_core::Outcome::Complete);
    drop(call);
    assert_eq!(attempts.used("east"), (INPUT + 10, 0));
}

#[tokio::test]
async fn an_attempt_that_is_dropped_frees_its_place_before_the_call_ends() {
    let attempts = Attempts::new();
    let (meter, _call) = Meter::join(&mut Request::new(()));
    let stalled = service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());
    let service = attempts.layer.layer(TranslateLayer::new().layer(stalled));
    let mut call = Box::pin(service.oneshot(to("east", &meter)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(attempts.used("east"), (INPUT + 100, 1));
    drop(call);
    assert_eq!(attempts.used("east"), (INPUT, 0));
}

#[tokio::test]
async fn two_layers_limit_call_and_attempt() {
    let attempts = Attempts::new();
    let store = MemoryStore::new();
    let all = Limit::tokens_per_minute(Scope::gateway(), 1000);
    let whole = layer(&attempts.time).store(store.clone()).fixed(all.clone()).limit(
        ScopeKind::Gateway,
        Measure::Requests,
        9,
        MINUTE,
    );
    let inner =
        attempts.layer.layer(TranslateLayer::new().layer(Provider::answering([failure(), used(3, 4)])));
    // A route of two candidates.
    let route = service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        let meter = request.extensions().get::<Meter>().expect("the outer layer has made it");
        let (first, second) = (to("east", meter), to("west", meter));
        async move {
            text(inner.clone().oneshot(first).await.expect("is answered")).await;
            inner.oneshot(second).await
        }
    });
    let service = of(&whole, route);
    let answer = ask(&service, chat("\"max_tokens\":100,")).await;
    assert_eq!(header(&answer, "x-ratelimit-remaining-requests"), "8");
    text(answer).await;
    let left = store.level(&all, attempts.time.clock().now()).expect("is known").remaining;
    assert_eq!(1000 - left, 7, "a fallback is one call");
    assert_eq!((attempts.used("east"), attempts.used("west")), ((0, 0), (7, 0)));
}
