//! What limits and budgets cost a call: nanoseconds and allocations, best of many runs, one core.
//!
//! ```text
//! cargo bench -p ziggurat-gateway --bench guards
//! ```
//!
//! 100,000 keys are known, and five scopes are in play in each call: key, team, user, organisation and the gateway, each with a limit of
//! tokens (`limit x5`), or of requests, of tokens and of concurrency (`limit x15`), and a budget. The upstream is in memory and answers at once. `read` is the same call with a
//! subscriber that always goes on: the request is read and so is the answer, which the guards share with whoever else listens. What the
//! guards cost is the difference.
//!
//! One case alone: `cargo bench -p ziggurat-gateway --bench guards -- '<name>'`.
//! Instruction counts, which repeat: `valgrind --tool=callgrind --toggle-collect='*counted_call*' <binary> --case <name>`.

use std::{
    convert::Infallible,
    env,
    future::{Future, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_catalog::Catalog;
use ziggurat_core::{
    Body, Call, Limit, Limits, Measure, Principal, Scope, ScopeKind, Subscriber, Usd, Window,
};
use ziggurat_limit::LimitLayer;

const KEYS: usize = 100_000;
const RUNS: usize = 20_000;
/// Calls whose allocations are counted.
const COUNTED: usize = 1_000;
const MINUTE: Duration = Duration::from_secs(60);

type Service = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What is measured: a name, and what makes it.
type Case = (&'static str, fn() -> Service);

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":7,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
const CALL: &str =
    r#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"Say hello, please."}]}"#;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let only = arguments.iter().find(|argument| !argument.starts_with("--"));
    let counted = arguments.iter().any(|argument| argument == "--case");
    println!("{:<16} {:>9} {:>9} {:>9}", "case", "ns/call", "allocs", "bytes");
    let cases: [Case; 6] = [
        ("read", read),
        ("limit x5", || limit(&TOKENS)),
        ("limit x15", || limit(&ALL)),
        ("budget", budget),
        ("limit x5+budget", || both(&TOKENS)),
        ("limit x15+budget", || both(&ALL)),
    ];
    for (name, service) in cases {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let service = service();
        if counted {
            // Symbols are bound, and pools filled, by calls that are not counted.
            (0..100).for_each(|key| one_call(&service, key));
            counted_call(&service, 50);
        } else {
            measure(name, &service);
        }
    }
}

fn measure(name: &str, service: &Service) {
    for key in 0..KEYS {
        one_call(service, key);
    }
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for run in 0..RUNS {
            one_call(service, run * 7 % KEYS);
        }
        best = best.min(start.elapsed());
    }
    // Of many: where a new slice of a window begins, a counter makes room for it.
    let counted = allocation_counter::measure(|| (0..COUNTED).for_each(|run| one_call(service, run * 7)));
    let per_call = |count: u64| count as f64 / COUNTED as f64;
    let nanos = best.as_nanos() as f64 / RUNS as f64;
    let (count, bytes) = (per_call(counted.count_total), per_call(counted.bytes_total));
    println!("{name:<16} {nanos:>9.0} {count:>9.2} {bytes:>9.0}");
}

/// Not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn counted_call(service: &Service, key: usize) {
    one_call(service, key);
}

fn one_call(service: &Service, key: usize) {
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
