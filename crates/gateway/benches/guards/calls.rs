//! The services that are measured, and the call that each is asked for.

use std::{
    convert::Infallible,
    future::{Future, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_catalog::Catalog;
use ziggurat_core::{
    Body, Call, Limit, Limits, Measure, Principal, Scope, ScopeKind, Subscriber, Usd, Window,
};
use ziggurat_limit::LimitLayer;

/// Keys that are known.
pub(crate) const KEYS: usize = 100_000;

pub(crate) type Service = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What is measured: a name, and what makes it.
pub(crate) type Case = (&'static str, fn() -> Service);

pub(crate) const CASES: [Case; 6] = [
    ("read", read),
    ("limit x5", || limit(&TOKENS)),
    ("limit x15", || limit(&ALL)),
    ("budget", budget),
    ("limit x5+budget", || both(&TOKENS)),
    ("limit x15+budget", || both(&ALL)),
];

const MINUTE: Duration = Duration::from_secs(60);

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":7,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
const CALL: &str =
    r#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Say hello, please."}]}"#;

pub(crate) fn one_call(service: &Service, key: usize) {
    let mut request = Request::post("/v1/chat/completions").body(Body::from(CALL)).expect("is a request");
    let mut principal = Principal::default();
    principal.key = Some(format!("key-{key}").into());
    principal.team = Some(format!("team-{}", key % 1000).into());
    principal.user = Some("user".into());
    principal.organisation = Some("organisation".into());
    request.extensions_mut().insert(principal);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.clone().oneshot(request)).poll(&mut cx) else {
        panic!("answers at once")
    };
    assert_eq!(response.status(), 200);
    let body = pin!(response.into_body().collect_within(1 << 20)).poll(&mut cx);
    assert!(black_box(matches!(body, Poll::Ready(Ok(_)))));
}

fn upstream() -> Service {
    BoxCloneSyncService::new(service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::from(ANSWER))))
    }))
}

fn read() -> Service {
    struct Go;
    impl Subscriber for Go {}
    BoxCloneSyncService::new(service_fn(|request: Request<Body>| async move {
        let (request, _) = Call::read(request, &Limits::default()).await.expect("is a call");
        ziggurat_meter::run(&mut upstream(), request, Arc::new(Go), 1 << 20).await
    }))
}

const KINDS: [ScopeKind; 4] = [ScopeKind::Key, ScopeKind::Team, ScopeKind::User, ScopeKind::Organisation];

const TOKENS: [Measure; 1] = [Measure::Tokens];
const ALL: [Measure; 3] = [Measure::Requests, Measure::Tokens, Measure::Concurrency];

fn limits(measures: &[Measure]) -> LimitLayer {
    let all = u64::MAX / 4;
    let kinds = KINDS.into_iter().flat_map(|kind| measures.iter().map(move |&measure| (kind, measure)));
    let layer =
        kinds.fold(LimitLayer::new(), |layer, (kind, measure)| layer.limit(kind, measure, all, MINUTE));
    measures
        .iter()
        .fold(layer, |layer, &measure| layer.fixed(Limit::new(Scope::gateway(), measure, all, MINUTE)))
}

fn budgets() -> BudgetLayer {
    let layer = BudgetLayer::new(Ledger::in_memory(), Catalog::embedded());
    let rich = Usd::dollars(1_000_000_000);
    let layer = KINDS.into_iter().fold(layer, |layer, kind| layer.cap(kind, rich, Window::Lifetime));
    layer.budget(ziggurat_core::Budget::new(Scope::gateway(), rich, Window::Lifetime))
}

fn limit(measures: &[Measure]) -> Service {
    BoxCloneSyncService::new(ServiceBuilder::new().layer(limits(measures)).service(upstream()))
}

fn budget() -> Service {
    BoxCloneSyncService::new(ServiceBuilder::new().layer(budgets()).service(upstream()))
}

fn both(measures: &[Measure]) -> Service {
    BoxCloneSyncService::new(
        ServiceBuilder::new().layer(limits(measures)).layer(budgets()).service(upstream()),
    )
}
