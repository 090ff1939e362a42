//! What a call that succeeds at once costs on its way through the layer.
//!
//! ```text
//! cargo bench -p ziggurat-route --bench call
//! ```
//!
//! `none` is the translate layer around an upstream in memory, with a meter to which somebody listens, the principal, and the target in
//! the request. `route` is the same with the layer around it, which chooses the target among the deployments of a group: what both
//! differ by is what it costs. `planned` has the course in the request already, as a plan layer puts it there; `stream` and `streamed`
//! are without and with the layer where a stream is asked for, read to its end; `long` and `longed` one of 400 events.
//!
//! Times on a shared machine vary; instruction counts do not. To count those of one call of a case:
//!
//! ```text
//! cargo bench -p ziggurat-route --bench call --no-run
//! valgrind --tool=callgrind --toggle-collect='call::Bench::counted*' target/release/deps/call-HASH --instructions route
//! ```

use std::{
    convert::Infallible,
    env,
    future::{Future, ready},
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use tower::{Layer, Service, ServiceExt, service_fn};
use ziggurat_core::{Body, BoxError, Call, Dialect, Meter, Principal, Subscriber, Target};
use ziggurat_route::{Deployment, Group, RouteLayer, Routes};
use ziggurat_testkit::samples;
use ziggurat_translate::TranslateLayer;

const ROUNDS: usize = 200;
const CALLS: usize = 200;
const CASES: [&str; 7] = ["none", "route", "planned", "stream", "streamed", "long", "longed"];

struct Bench {
    layer: RouteLayer,
    target: Target,
    principal: Principal,
    answer: Answer,
    head: bytes::Bytes,
    case: &'static str,
}

/// What the upstream answers.
#[derive(Clone)]
struct Answer {
    kind: &'static str,
    body: bytes::Bytes,
}

/// Somebody who wants to know.
struct Listens;

impl Subscriber for Listens {}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    // Timers need it; nobody waits for one.
    let _entered = runtime.enter();
    let arguments: Vec<String> = env::args().collect();
    if let Some(flag) = arguments.iter().position(|argument| argument == "--instructions") {
        let name = arguments.get(flag + 1).map_or("", String::as_str);
        let Some(case) = CASES.into_iter().find(|case| *case == name) else {
            panic!("no case {name:?}; there are {CASES:?}")
        };
        let bench = Bench::new(case);
        // Caches filled and symbols bound by calls that are not counted.
        (0..100).for_each(|_| bench.counted_not());
        bench.counted(bench.request());
        return;
    }
    println!("{:<10} {:>9} {:>12} {:>12}", "case", "ns/call", "allocs/call", "bytes/call");
    CASES.into_iter().for_each(|case| Bench::new(case).measure());
}

impl Bench {
    fn new(case: &'static str) -> Self {
        let target = |id: &str| {
            let url = "http://upstream.test/v1/chat/completions";
            Target::new("openai", Dialect::OpenAi, "gpt-4o", url).expect("is a target").id(id)
        };
        let deployments = ["a", "b", "c", "d"].map(|id| Deployment::new(target(id)));
        let group = Group::new("gpt-4o").deployments(deployments).build().expect("is a group");
        let routes = Routes::builder().group(group).build().expect("are routes");
        let chunk = samples::chat("Ur");
        let stream = |events: usize| Answer {
            kind: "text/event-stream",
            body: [&*chunk.repeat(events), samples::CHAT_FINISH, samples::DONE].concat().into(),
        };
        let answer = match case {
            "stream" | "streamed" => stream(8),
            "long" | "longed" => stream(400),
            _ => Answer { kind: "application/json", body: samples::CHAT_ANSWER.into() },
        };
        let mut principal = Principal::default();
        principal.key = Some(Arc::from("key"));
        let head =
            bytes::Bytes::from("application/jsonbench/1*/*0123456789abcdef/v1/chat/completions".to_owned());
        drop(head.clone());
        Self { layer: RouteLayer::new(routes), target: target("a"), principal, answer, head, case }
    }

    fn request(&self) -> Request<Body> {
        let stream = if self.answer.kind == "text/event-stream" { r#""stream":true,"# } else { "" };
        let body = format!(
            r#"{{"model":"gpt-4o",{stream}"max_tokens":256,"messages":[{{"role":"system","content":"You are helpful."}},{{"role":"user","content":"How high is a ziggurat?"}}]}}"#
        );
        let path = http::Uri::from_maybe_shared(self.head.slice(42..)).expect("is a path");
        let mut request = Request::post(path)
            .header("content-type", self.value(0..16))
            .header("user-agent", self.value(16..23))
            .header("accept", self.value(23..26))
            .header("x-request-id", self.value(26..42))
            .body(Body::empty())
            .expect("is a request");
        // Shared already, as a server's is, whose buffer it is a piece of.
        let body = bytes::Bytes::from(body);
        drop(body.clone());
        Call::replace(&mut request, body).expect("is a call");
        request.extensions_mut().insert(self.principal.clone());
        match self.case {
            "none" | "stream" | "long" => drop(request.extensions_mut().insert(self.target.clone())),
            "planned" => {
                let course = self.layer.routes().course("gpt-4o", Some(&self.principal)).expect("is known");
                request.extensions_mut().insert(course.plan());
                request.extensions_mut().insert(course);
            }
            _ => {}
        }
        request
    }

    /// A piece of the head, which is one buffer, as a server has read it.
    fn value(&self, at: std::ops::Range<usize>) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.head.slice(at)).expect("is a value")
    }

    fn counted_not(&self) {
        self.run(self.request());
    }

    /// The measured part; not inlined, so that callgrind can be told to count only this.
    #[inline(never)]
    fn counted(&self, request: Request<Body>) {
        self.run(request);
    }

    fn run(&self, mut request: Request<Body>) {
        // As a budget outside would.
        let (meter, end) = Meter::join(&mut request);
        meter.subscribe(Arc::new(Listens));
        let answer = self.answer.clone();
        let upstream = service_fn(move |request: Request<Body>| {
            drop(request);
            let mut response = Response::new(Body::from(answer.body.clone()));
            response.headers_mut().insert("content-type", HeaderValue::from_static(answer.kind));
            ready(Ok::<_, Infallible>(response))
        });
        let translated = TranslateLayer::new().layer(upstream);
        match self.case {
            "none" | "stream" | "long" => finish(translated, request),
            _ => finish(self.layer.layer(translated), request),
        }
        drop(end);
    }

    fn measure(&self) {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let requests: Vec<_> = (0..CALLS).map(|_| self.request()).collect();
            let start = Instant::now();
            requests.into_iter().for_each(|request| self.counted(request));
            best = best.min(start.elapsed());
        }
        let requests: Vec<_> = (0..CALLS).map(|_| self.request()).collect();
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

/// Calls, and reads the answer to its end.
fn finish<S>(service: S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<BoxError> + std::fmt::Debug,
{
    let call = pin!(service.oneshot(request));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(mut response)) = call.poll(&mut cx) else { panic!("the model does not wait") };
    assert_eq!(response.status(), 200);
    while let Poll::Ready(Some(frame)) = Pin::new(response.body_mut()).poll_frame(&mut cx) {
        assert!(black_box(frame).is_ok());
    }
}
