//! What a translation costs: nanoseconds an event and a request, GB a second, best of many runs, one core.
//!
//! ```text
//! cargo bench -p ziggurat-dialect --bench translate
//! ```
//!
//! Streams: an answer of 2000 text deltas of the size that providers send, read by the one codec and written by the other, framing apart.
//! Requests: conversations of 2, 30 and 300 KB, read and written.
//!
//! Times on a shared machine vary; instruction counts do not. To count those of one case, run once, take the binary that cargo names and
//! run it under callgrind (cases: `anthropic-events`, `openai-events`, `anthropic-request-30`, ...; any other name lists them):
//!
//! ```text
//! cargo bench -p ziggurat-dialect --bench translate --no-run
//! valgrind --tool=callgrind --toggle-collect='*translate_all*' target/release/deps/translate-HASH --instructions anthropic-events
//! ```

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, StreamDecoder, StreamEncoder, decode_request, encode_request};

const DELTAS: usize = 2000;
const TIME: Duration = Duration::from_millis(600);

/// Something to translate, from the dialect it is written in to the other one.
struct Case {
    name: String,
    from: Dialect,
    input: Input,
}

enum Input {
    Events(Vec<String>),
    Request(String),
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let cases = cases();
    if let Some(flag) = arguments.iter().position(|argument| argument == "--instructions") {
        let name = arguments.get(flag + 1).map_or("", String::as_str);
        match cases.iter().find(|case| case.name == name) {
            Some(case) => println!("{name}: {} bytes written", translate_all(case, &mut Vec::new())),
            None => cases.iter().for_each(|case| println!("{}", case.name)),
        }
        return;
    }
    cases.iter().for_each(measure);
}

fn measure(case: &Case) {
    let (mut out, mut best, mut spent) = (Vec::new(), Duration::MAX, Duration::ZERO);
    while spent < TIME {
        let start = Instant::now();
        black_box(translate_all(black_box(case), &mut out));
        let elapsed = start.elapsed();
        (best, spent) = (best.min(elapsed), spent + elapsed);
    }
    let (unit, count, bytes) = match &case.input {
        Input::Events(events) => ("event", events.len(), events.iter().map(String::len).sum()),
        Input::Request(json) => ("request", 1, json.len()),
    };
    let nanos = best.as_nanos() as f64;
    println!(
        "{:>22}: {:10.1} ns/{unit}  {:5.2} GB/s  ({bytes} bytes read, {} written)",
        case.name,
        nanos / count as f64,
        bytes as f64 / nanos,
        out.len()
    );
}

/// The measured part; not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn translate_all(case: &Case, out: &mut Vec<u8>) -> usize {
    out.clear();
    let to = if case.from == Dialect::OpenAi { Dialect::Anthropic } else { Dialect::OpenAi };
    match &case.input {
        Input::Events(events) => {
            let (mut decoder, mut encoder) = (StreamDecoder::new(case.from), StreamEncoder::new(to, 7, true));
            for data in events {
                decoder.decode(data, &mut |event| encoder.encode(&event, out)).expect("reads");
            }
        }
        Input::Request(json) => {
            let request = decode_request(case.from, json).expect("reads");
            let policy = ParamPolicy::default();
            encode_request(to, &request, &Encoding::new("claude-sonnet-4-5", &policy), out)
                .expect("is not refused");
        }
    }
    out.len()
}

fn cases() -> Vec<Case> {
    let case = |name: &str, from, input| Case { name: name.to_owned(), from, input };
    let mut cases = vec![
        case("anthropic-events", Dialect::Anthropic, Input::Events(anthropic_events())),
        case("openai-events", Dialect::OpenAi, Input::Events(openai_events())),
    ];
    for kilobytes in [2, 30, 300] {
        let request = |from| Input::Request(request(from, kilobytes * 1000));
        cases.push(case(
            &format!("anthropic-request-{kilobytes}"),
            Dialect::Anthropic,
            request(Dialect::Anthropic),
        ));
        cases.push(case(&format!("openai-request-{kilobytes}"), Dialect::OpenAi, request(Dialect::OpenAi)));
    }
    cases
}

const WORDS: [&str; 9] = [" the", " tower", " of", " layers", "\\n\\n", " \\\"so\\\"", " Größe", ",", "."];

fn anthropic_events() -> Vec<String> {
    let mut events = vec![
        r#"{"type":"message_start","message":{"id":"msg_01ABCDEFGHIJKLMNOPQRSTUV","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}}"#.to_owned(),
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
    ];
    events.extend((0..DELTAS).map(|number| {
        let word = WORDS[number % WORDS.len()];
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{word}"}}      }}"#)
    }));
    events.extend([
        r#"{"type":"content_block_stop","index":0}"#.to_owned(),
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2000}}"#.to_owned(),
        r#"{"type":"message_stop"}"#.to_owned(),
    ]);
    events
}

fn openai_events() -> Vec<String> {
    let chunk = |choice: &str| {
        format!(
            r#"{{"id":"chatcmpl-BXa1b2c3d4e5f6g7h8i9j0k1l2m3n","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{choice}],"usage":null,"obfuscation":"abcdefg"}}"#
        )
    };
    let delta = |number: usize| {
        let word = WORDS[number % WORDS.len()];
        chunk(&format!(
            r#"{{"index":0,"delta":{{"content":"{word}"}},"logprobs":null,"finish_reason":null}}"#
        ))
    };
    let mut events: Vec<String> = (0..DELTAS).map(delta).collect();
    events.push(chunk(r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}"#));
    events.push("[DONE]".to_owned());
    events
}

/// A conversation of about so many bytes: a long system prompt, turns with calls and results, and tools.
fn request(dialect: Dialect, bytes: usize) -> String {
    let text = |bytes: usize| WORDS.concat().repeat(bytes / WORDS.concat().len() + 1);
    let (long, short) = (text(bytes / 2), text(bytes / 20));
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
    match dialect {
        Dialect::Anthropic => {
            let turn = format!(
                r#"{{"role":"user","content":"{short}"}},{{"role":"assistant","content":[{{"type":"text","text":"{short}"}},{{"type":"tool_use","id":"toolu_1","name":"f","input":{{"city":"Ur"}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_1","content":"{short}"}}]}}"#
            );
            format!(
                r#"{{"model":"m","max_tokens":1000,"system":"{long}","messages":[{turn},{turn},{turn}],"tools":[{{"name":"f","description":"d","input_schema":{schema}}}],"stream":true}}"#
            )
        }
        _ => {
            let turn = format!(
                r#"{{"role":"user","content":"{short}"}},{{"role":"assistant","content":"{short}","tool_calls":[{{"id":"call_1","type":"function","function":{{"name":"f","arguments":"{{\"city\":\"Ur\"}}"}}}}]}},{{"role":"tool","tool_call_id":"call_1","content":"{short}"}}"#
            );
            format!(
                r#"{{"model":"m","max_tokens":1000,"messages":[{{"role":"system","content":"{long}"}},{turn},{turn},{turn}],"tools":[{{"type":"function","function":{{"name":"f","description":"d","parameters":{schema}}}}}],"stream":true}}"#
            )
        }
    }
}
