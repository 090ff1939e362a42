//! What a call costs on its way through the layer, and what a scope costs that is only known.
//!
//! ```text
//! cargo bench -p ziggurat-limit --bench call
//! ```
//!
//! 100,000 accounts are known. Each call is under five limits of its principal's: requests and tokens of its key, requests and tokens of
//! its team, and how many run at once in the gateway. The service inside answers whole, from memory; the request has been read
//! already, as in a stack. `none` is the same call without a limit: what it differs by is what limits cost.
//!
//! Times on a shared machine vary; instruction counts do not. To count those of one call of a case (`none`, `requests`, `tokens`,
//! `refused`; `store` is a take and its settlement alone):
//!
//! ```text
//! cargo bench -p ziggurat-limit --bench call --no-run
//! valgrind --tool=callgrind --toggle-collect='call::Bench::counted*' target/release/deps/call-HASH --instructions tokens
//! ```

use std::{
    convert::Infallible,
    env, fs,
    future::{Future, ready},
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use http::{Request, Response};
use http_body::Body as _;
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{Body, Call, Clock, Limit, Measure, Principal, Scope, ScopeKind};
use ziggurat_limit::{Ask, LimitLayer, MemoryStore, Reply, Store, Used};

const KNOWN: usize = 100_000;
const ROUNDS: usize = 200;
const CALLS: usize = 200;
const CASES: [&str; 5] = ["none", "requests", "tokens", "refused", "store"];

struct Bench {
    store: MemoryStore,
    layer: LimitLayer,
    principals: Vec<Principal>,
    case: &'static str,
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let Some(flag) = arguments.iter().position(|argument| argument == "--instructions") {
        let name = arguments.get(flag + 1).map_or("", String::as_str);
        let Some(case) = CASES.into_iter().find(|case| *case == name) else {
            panic!("no case {name:?}; there are {CASES:?}")
        };
        let bench = Bench::new(case);
        // Caches filled and symbols bound by calls that are not counted.
        (0..100).for_each(|at| bench.warm(at));
        bench.counted(bench.request(100));
        return;
    }
    println!("{:<10} {:>9} {:>12} {:>12}", "case", "ns/call", "allocs/call", "bytes/call");
    CASES.into_iter().for_each(|case| Bench::new(case).measure());
    println!();
    idle(1);
    idle(2);
}

impl Bench {
    fn new(case: &'static str) -> Self {
        let store = MemoryStore::new();
        let limits = |at: usize| -> Vec<Limit> {
            let (key, team) = (scope(ScopeKind::Key, at), scope(ScopeKind::Team, at / 10));
            let most = if case == "refused" && at < ROUNDS * CALLS { 0 } else { 1_000_000_000 };
            let (requests, tokens) = (Limit::requests_per_minute, Limit::tokens_per_minute);
            match case {
                "none" => Vec::new(),
                "requests" => [ScopeKind::Key, ScopeKind::User, ScopeKind::Team, ScopeKind::Organisation]
                    .into_iter()
                    .map(|kind| requests(scope(kind, at), most))
                    .chain([Limit::concurrency(Scope::gateway(), 1000)])
                    .collect(),
                _ => vec![
                    requests(key.clone(), most),
                    tokens(key, most),
                    requests(team.clone(), most),
                    tokens(team, most),
                    Limit::concurrency(Scope::gateway(), 1000),
                ],
            }
        };
        let mut principals = Vec::new();
        for at in 0..KNOWN {
            let mut principal = Principal::default();
            principal.limits = limits(at).into();
            if !principal.limits.is_empty() {
                take(&store, &principal.limits[..1]);
            }
            if at < 1000 {
                principals.push(principal);
            }
        }
        let layer = LimitLayer::new().store(store.clone()).clock(Clock::system());
        Self { store, layer, principals, case }
    }

    fn request(&self, at: usize) -> Request<Body> {
        let body = r#"{"model":"gpt-4o","max_tokens":256,"messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"How high is a ziggurat?"}]}"#;
        let mut request = Request::post("/v1/chat/completions").body(Body::empty()).expect("is a request");
        Call::replace(&mut request, body.into()).expect("is a call");
        request.extensions_mut().insert(self.principals[at % self.principals.len()].clone());
        request
    }

    fn warm(&self, at: usize) {
        self.run(self.request(at));
    }

    /// The measured part; not inlined, so that callgrind can be told to count only this.
    #[inline(never)]
    fn counted(&self, request: Request<Body>) {
        self.run(request);
    }

    fn run(&self, request: Request<Body>) {
        if self.case == "store" {
            let principal = request.extensions().get::<Principal>().expect("is set");
            return take(&self.store, &principal.limits);
        }
        let model = service_fn(|request: Request<Body>| {
            drop(request);
            ready(Ok::<_, Infallible>(Response::new(Body::from(ANSWER))))
        });
        let call = pin!(self.layer.layer(model).oneshot(request));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(mut response)) = call.poll(&mut cx) else { panic!("the model does not wait") };
        assert_eq!(response.status() == 429, self.case == "refused");
        while let Poll::Ready(Some(frame)) = Pin::new(response.body_mut()).poll_frame(&mut cx) {
            assert!(black_box(frame).is_ok());
        }
    }

    fn measure(&self) {
        let mut best = Duration::MAX;
        for round in 0..ROUNDS {
            let requests: Vec<_> = (0..CALLS).map(|at| self.request(round + at)).collect();
            let start = Instant::now();
            requests.into_iter().for_each(|request| self.counted(request));
            best = best.min(start.elapsed());
        }
        let requests: Vec<_> = (0..CALLS).map(|at| self.request(at)).collect();
        let counted = allocation_counter::measure(|| {
            requests.into_iter().for_each(|request| self.counted(request));
        });
        let per = |total: u64| total as f64 / CALLS as f64;
        println!(
            "{:<10} {:>9.0} {:>12.1} {:>12.0}",
            self.case,
            best.as_nanos() as f64 / CALLS as f64,
            per(counted.count_total),
            per(counted.bytes_total)
        );
    }
}

/// Counts one call under these limits, and settles it.
fn take(store: &MemoryStore, limits: &[Limit]) {
    let asks = limits.iter().map(|limit| {
        let tokens = limit.measure == Measure::Tokens;
        Ask::new(limit.clone(), if tokens { 300 } else { 1 })
    });
    let now = SystemTime::now();
    let Reply::Ready(answer) = store.take(&asks.collect::<Vec<_>>(), now) else { panic!("it is in memory") };
    if let Ok(taken) = answer {
        taken.ticket.settle(Used::new(1, Some((40, 60))), now);
    }
}

fn scope(kind: ScopeKind, at: usize) -> Scope {
    Scope::new(kind, format!("{at:064x}"))
}

/// What a scope with so many limits takes, once it has made one call.
fn idle(limits: usize) {
    let of = |at: usize| -> Vec<Limit> {
        let key = scope(ScopeKind::Key, at);
        let all = [Limit::requests_per_minute(key.clone(), 100), Limit::tokens_per_minute(key, 100_000)];
        all.into_iter().take(limits).collect()
    };
    for scopes in [100_000, 300_000, 450_000] {
        let store = MemoryStore::new();
        let before = resident();
        let counted = allocation_counter::measure(|| (0..scopes).for_each(|at| take(&store, &of(at))));
        println!(
            "{scopes} scopes with {limits} limits: {:.0} bytes a scope allocated, {:.0} resident",
            counted.bytes_current as f64 / scopes as f64,
            resident().saturating_sub(before) as f64 / scopes as f64
        );
        assert_eq!(store.len(), scopes);
    }
}

/// Bytes of memory in use by the process, where the system tells.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

const ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"That of Ur is some 30 metres high."},"finish_reason":"stop"}],"usage":{"prompt_tokens":25,"completion_tokens":12,"total_tokens":37}}"#;
