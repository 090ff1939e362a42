//! What an answer from memory costs, and what its key does; what an entry takes of memory.
//!
//! ```text
//! cargo bench -p ziggurat-cache --bench hit
//! ```
//!
//! `hit` asks for a whole answer of 4 KB that is kept, by a short question, as a service that nothing stands outside of; `stream` for the same as
//! a stream, which is kept too; `told` as a stream, where the whole answer is kept. `key` is the same as `hit` with a question of 30 KB in many
//! messages: what it takes more is the key's. Times on a shared machine vary.

use std::{
    convert::Infallible,
    env,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use serde_json::json;
use tower::{Layer, Service, ServiceExt};
use ziggurat_cache::{CacheLayer, Cached, Entry, Form, Key, MemoryStore, Store};
use ziggurat_core::Body;

const ROUNDS: usize = 200;
const CALLS: usize = 50;
const CASES: [&str; 4] = ["hit", "stream", "told", "key"];

fn main() {
    println!("{:<10} {:>9} {:>12} {:>12}", "case", "ns/call", "allocs/call", "bytes/call");
    for case in CASES {
        let bench = Bench::new(case);
        (0..100).for_each(|_| bench.call());
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            (0..CALLS).for_each(|_| bench.call());
            best = best.min(started.elapsed());
        }
        let counted = allocation_counter::measure(|| bench.call());
        let request = allocation_counter::measure(|| drop(black_box(bench.request())));
        println!(
            "{case:<10} {:>9} {:>12} {:>12}",
            best.as_nanos() / CALLS as u128,
            counted.count_total - request.count_total,
            counted.bytes_total - request.bytes_total,
        );
    }
    if !env::args().any(|argument| argument == "--test") {
        memory();
    }
}

/// What 20,000 entries of 2 KB take beside their bytes.
fn memory() {
    const ENTRIES: usize = 20_000;
    const BYTES: usize = 2 << 10;
    let store = MemoryStore::new(1 << 30);
    let measured = allocation_counter::measure(|| {
        for number in 0..ENTRIES {
            let key: Key = format!("{number:064x}").parse().expect("is a key");
            let body = Bytes::from(vec![b' '; BYTES]);
            let kind = HeaderValue::from_static("application/json");
            let entry = Entry::new(Form::Whole, kind, body, SystemTime::now(), Duration::from_secs(60));
            store.put(key, Arc::new(entry));
        }
    });
    let each = measured.bytes_current / ENTRIES as i64;
    println!("an entry of {BYTES} bytes takes {each}: {} beside them", each - BYTES as i64);
}

struct Bench {
    service: Cached<Model>,
    body: Bytes,
}

/// Answers always the same.
#[derive(Clone)]
struct Model {
    kind: &'static str,
    answer: Bytes,
}

impl Service<Request<Body>> for Model {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let response =
            Response::builder().header("content-type", self.kind).body(Body::from(self.answer.clone()));
        ready(Ok(response.expect("is a response")))
    }
}

impl Bench {
    fn new(case: &str) -> Self {
        let answer = json!({
            "id": "c", "object": "chat.completion", "created": 7, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "word ".repeat(800)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        });
        let mut bytes = Bytes::from(answer.to_string());
        let mut kind = "application/json";
        if case == "stream" {
            let mut out = Vec::new();
            let json = std::str::from_utf8(&bytes).expect("is UTF-8");
            ziggurat_dialect::stream_of(ziggurat_core::Dialect::OpenAi, json, true, 7, &mut out)
                .expect("is an answer");
            (bytes, kind) = (out.into(), "text/event-stream");
        }
        let service = CacheLayer::in_memory(64 << 20).layer(Model { kind, answer: bytes });
        let messages: Vec<_> = match case {
            "key" => (0..60)
                .map(|number| json!({"role": "user", "content": format!("{number} {}", "word ".repeat(95))}))
                .collect(),
            _ => vec![json!({"role": "user", "content": "Hello"})],
        };
        let mut asked = json!({"model": "m", "temperature": 0.5, "messages": messages});
        if matches!(case, "stream" | "told") {
            asked["stream"] = true.into();
            asked["stream_options"] = json!({"include_usage": true});
        }
        let this = Self { service, body: asked.to_string().into() };
        if case == "told" {
            let mut whole = asked.clone();
            whole.as_object_mut().expect("is one").retain(|name, _| !name.starts_with("stream"));
            Self { service: this.service.clone(), body: whole.to_string().into() }.call();
        }
        this
    }

    fn request(&self) -> Request<Body> {
        Request::post("/v1/chat/completions").body(Body::from(self.body.clone())).expect("is a request")
    }

    fn call(&self) {
        let response = now(pin!(self.service.clone().oneshot(self.request())));
        let mut body = pin!(response.unwrap_or_else(|never| match never {}).into_body());
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            black_box(frame.expect("is fine"));
        }
    }
}

fn now<F: Future>(future: Pin<&mut F>) -> F::Output {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("answers at once"),
    }
}
