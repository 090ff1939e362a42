//! How fast server-sent events are decoded: nanoseconds an event and GB a second, best of many runs, one core.
//!
//! ```text
//! cargo bench -p ziggurat-dialect --bench sse
//! ```
//!
//! The input is a generated OpenAI-style stream of 1 MB with events of about 250 bytes, cut in three ways: one event a
//! chunk (what providers do), 1460 bytes (a TCP segment) and 16 KiB (a TLS record). Every event is taken and dropped.
//!
//! Times on a shared machine vary; instruction counts do not. To count those of one case, run once, take the binary that
//! cargo names and run it under callgrind (cases: `one-event`, `segment`, `record`):
//!
//! ```text
//! cargo bench -p ziggurat-dialect --bench sse --no-run
//! valgrind --tool=callgrind --toggle-collect='*decode_all*' target/release/deps/sse-HASH --instructions one-event
//! ```

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ziggurat_dialect::sse::{DONE, Decoder, Frame, encode};

const STREAM_BYTES: usize = 1_000_000;
const MAX_EVENT_BYTES: usize = 1 << 20;
const RUNS: usize = 500;
const CASES: [&str; 3] = ["one-event", "segment", "record"];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let Some(flag) = arguments.iter().position(|argument| argument == "--instructions") {
        let name = arguments.get(flag + 1).map_or("", String::as_str);
        let events = decode_all(&chunks(name));
        println!("{name}: {events} events");
        return;
    }
    for name in CASES {
        measure(name);
    }
}

fn measure(name: &str) {
    let chunks = chunks(name);
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        black_box(decode_all(black_box(&chunks)));
        best = best.min(start.elapsed());
    }
    let events = decode_all(&chunks);
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    let (nanos, count, size) = (best.as_nanos() as f64, events as f64, bytes as f64);
    println!(
        "{name:>10}: {:6.1} ns/event  {:5.2} GB/s  ({events} events, {bytes} bytes)",
        nanos / count,
        size / nanos
    );
}

/// The measured part; not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn decode_all(chunks: &[Bytes]) -> usize {
    let mut decoder = Decoder::new(MAX_EVENT_BYTES);
    let mut events = 0;
    for chunk in chunks {
        decoder.push(chunk.clone());
        while let Some(Ok(frame)) = decoder.next() {
            events += usize::from(matches!(black_box(frame), Frame::Event(_)));
        }
    }
    events
}

fn chunks(name: &str) -> Vec<Bytes> {
    let (stream, ends) = stream();
    let size = match name {
        "one-event" => {
            let starts = [0].into_iter().chain(ends.iter().copied());
            return starts.zip(&ends).map(|(start, &end)| stream.slice(start..end)).collect();
        }
        "segment" => 1460,
        "record" => 16 * 1024,
        _ => panic!("no case {name:?}; there are {CASES:?}"),
    };
    let starts = (0..stream.len()).step_by(size);
    starts.map(|start| stream.slice(start..stream.len().min(start + size))).collect()
}

/// The stream and where each event ends.
fn stream() -> (Bytes, Vec<usize>) {
    let words = [" the", " tower", " of", " layers", "\\n\\n", " \\\"so\\\"", " Größe", ",", "."];
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    while out.len() < STREAM_BYTES {
        let word = words[ends.len() % words.len()];
        let data = format!(
            r#"{{"id":"chatcmpl-BXa1b2c3d4e5f6g7h8i9j0k1l2m3n","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_0123456789","choices":[{{"index":0,"delta":{{"content":"{word}"}},"finish_reason":null}}]}}"#
        );
        encode(&mut out, None, data.as_bytes());
        ends.push(out.len());
    }
    out.extend_from_slice(DONE);
    ends.push(out.len());
    (Bytes::from(out), ends)
}
