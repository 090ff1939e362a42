//! What a streamed event costs on its way through the layer: nanoseconds and allocations, best of many runs, one core.
//!
//! ```text
//! cargo bench -p ziggurat-translate --bench passthrough
//! ```
//!
//! The upstream is in memory and gives parts of one buffer, as hyper does: one event a chunk, or 16 KiB. `alone` is a call that nobody
//! listens to, `listened` one with a subscriber that always goes on. Counted is what happens in `poll_frame`, from the second chunk on.
//!
//! Times on a shared machine vary; instruction counts do not: `valgrind --tool=callgrind --toggle-collect='*drain*' <binary> --case
//! <name>` runs one case once.

use std::{
    collections::VecDeque,
    convert::Infallible,
    env,
    future::{Future, ready},
    hint::black_box,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{Body, Dialect, Meter, Subscriber, Target};
use ziggurat_translate::TranslateLayer;

const EVENTS: usize = 4000;
const RUNS: usize = 60;

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    caller: Dialect,
    provider: Dialect,
    listened: bool,
    /// Bytes a chunk; 0 is one event.
    chunk: usize,
}

const fn case(name: &'static str, caller: Dialect, provider: Dialect, listened: bool, chunk: usize) -> Case {
    Case { name, caller, provider, listened, chunk }
}

const CASES: [Case; 10] = [
    case("openai/alone", Dialect::OpenAi, Dialect::OpenAi, false, 0),
    case("openai/alone/16KiB", Dialect::OpenAi, Dialect::OpenAi, false, 16 << 10),
    case("openai/listened", Dialect::OpenAi, Dialect::OpenAi, true, 0),
    case("anthropic/alone", Dialect::Anthropic, Dialect::Anthropic, false, 0),
    case("anthropic/alone/16KiB", Dialect::Anthropic, Dialect::Anthropic, false, 16 << 10),
    case("anthropic/listened", Dialect::Anthropic, Dialect::Anthropic, true, 0),
    case("anthropic->openai", Dialect::OpenAi, Dialect::Anthropic, false, 0),
    case("anthropic->openai/listened", Dialect::OpenAi, Dialect::Anthropic, true, 0),
    case("openai->anthropic", Dialect::Anthropic, Dialect::OpenAi, false, 0),
    case("anthropic->openai/16KiB", Dialect::OpenAi, Dialect::Anthropic, false, 16 << 10),
];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let Some(flag) = arguments.iter().position(|argument| argument == "--case") {
        let name = arguments.get(flag + 1).map_or("", String::as_str);
        let Some(case) = CASES.iter().find(|case| case.name == name) else { panic!("no case {name:?}") };
        println!("{name}: {} chunks", drain(&mut open(*case)));
        return;
    }
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>13} {:>13}",
        "case", "ns/chunk", "ns/event", "GB/s", "allocs/chunk", "bytes/chunk"
    );
    for case in CASES {
        measure(case);
    }
}

fn measure(case: Case) {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let mut body = open(case);
        let start = Instant::now();
        black_box(drain(&mut body));
        best = best.min(start.elapsed());
    }
    let mut body = open(case);
    let mut chunks = 0;
    let counted = allocation_counter::measure(|| chunks = drain(&mut body));
    let (nanos, chunks) = (best.as_nanos() as f64, chunks as f64);
    let bytes: usize = chunked(case).iter().map(Bytes::len).sum();
    println!(
        "{:<28} {:>9.0} {:>9.0} {:>9.2} {:>13.3} {:>13.1}",
        case.name,
        nanos / chunks,
        nanos / EVENTS as f64,
        bytes as f64 / nanos,
        counted.count_total as f64 / chunks,
        counted.bytes_total as f64 / chunks
    );
}

/// The measured part; not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn drain(body: &mut Body) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let mut chunks = 0;
    while let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut cx) {
        assert!(frame.is_ok());
        chunks += 1;
    }
    chunks
}

/// A call up to its headers and its first chunk.
fn open(case: Case) -> Body {
    let (name, path, cap) = match case.caller {
        Dialect::Anthropic => ("claude", "/v1/messages", "\"max_tokens\":9,"),
        _ => ("gpt", "/v1/chat/completions", ""),
    };
    let json =
        format!(r#"{{"model":"{name}",{cap}"stream":true,"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    let mut request = Request::post(path).body(Body::from(json)).expect("is a request");
    let meter = Meter::join(&mut request);
    if case.listened {
        struct Go;
        impl Subscriber for Go {}
        meter.0.subscribe(Arc::new(Go));
    } else {
        request.extensions_mut().remove::<Meter>();
    }
    let upstream = Mutex::new(Some(Chunks(chunked(case).into())));
    let upstream = Arc::new(upstream);
    let service = service_fn(move |_: Request<Body>| {
        let body = upstream.lock().expect("is sound").take().expect("is called once");
        ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let target = Target::new("p", case.provider, "m", "https://p.example/v1").expect("is a URL");
    let call = pin!(TranslateLayer::new().target(target).layer(service).oneshot(request));
    let Poll::Ready(Ok(response)) = call.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the upstream does not wait")
    };
    let mut body = response.into_body();
    assert!(matches!(
        Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(Some(Ok(_)))
    ));
    // The call ends with this; what is measured does not depend on it.
    std::mem::forget(meter.1);
    body
}

struct Chunks(VecDeque<Bytes>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }
}

fn chunked(case: Case) -> Vec<Bytes> {
    let events = events(case.provider);
    let mut buffer = BytesMut::from(events.concat().as_bytes());
    match case.chunk {
        0 => events.iter().map(|event| buffer.split_to(event.len()).freeze()).collect(),
        size => std::iter::from_fn(|| {
            let length = buffer.len().min(size);
            (length > 0).then(|| buffer.split_to(length).freeze())
        })
        .collect(),
    }
}

fn events(provider: Dialect) -> Vec<String> {
    let words = [" the", " tower", " of", " layers", "\\n\\n", " \\\"so\\\"", " Größe", ",", "."];
    let words = (0..EVENTS).map(|at| words[at % words.len()]);
    match provider {
        Dialect::Anthropic => [
            r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#.to_owned(),
            r#"event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
        ]
        .into_iter()
        .chain(words.map(|word| format!("event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}")))
        .chain([
            r#"event: content_block_stop
data: {"type":"content_block_stop","index":0}"#.to_owned(),
            r#"event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4000}}"#.to_owned(),
            "event: message_stop\ndata: {\"type\":\"message_stop\"}".to_owned(),
        ])
        .map(|event| event + "\n\n")
        .collect(),
        _ => words
            .map(|word| (format!("{{\"content\":\"{word}\"}}"), "null"))
            .chain([("{}".to_owned(), "\"stop\"")])
            .map(|(delta, finish)| format!(
                "data: {{\"id\":\"chatcmpl-BXa1b2c3d4e5f6g7h8i9j0k1l2m3n\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":\"gpt-4o-2024-08-06\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
            ))
            .chain(["data: [DONE]\n\n".to_owned()])
            .collect(),
    }
}
