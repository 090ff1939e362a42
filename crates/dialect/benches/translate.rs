//! What a translation costs, in every direction: nanoseconds and allocations an event, MB a second and allocations a request, best of many
//! runs, one core.
//!
//! ```text
//! cargo bench -p ziggurat-dialect --bench translate
//! ```
//!
//! Streams: an answer of 2000 deltas of the size that providers send, read by the one codec and written by the other, framing apart: of text,
//! of thoughts, and of calls, each in ten events where the provider streams calls, else whole.
//! Requests: conversations of 300 KB, read and written; of 2 and 30 KB in two directions. Mistral stands for its form of OpenAI's dialect.
//! Bytes allocated stand beside, without the output's, which is used again; at each event, in excess of what a stream half as long takes, they
//! are what grows with the conversation.
//!
//! Times on a shared machine vary; instruction counts do not. To count those of one case, run once, take the binary that cargo names and
//! run it under callgrind (cases: `anthropic-to-openai-text`, `openai-to-anthropic-request-300`, ...; any other name lists them):
//!
//! ```text
//! cargo bench -p ziggurat-dialect --bench translate --no-run
//! valgrind --tool=callgrind --toggle-collect='*translate_all*' target/release/deps/translate-HASH --instructions anthropic-to-openai-text
//! ```

#[path = "translate/streams.rs"]
mod streams;

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::json;
use streams::{Says, events};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, StreamDecoder, StreamEncoder, decode_request, encode_request, openai::to_mistral,
};

const TIME: Duration = Duration::from_millis(300);

/// Who speaks. Mistral's form of OpenAI's dialect is asked in other words.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Side {
    name: &'static str,
    dialect: Dialect,
    model: &'static str,
}

const fn side(name: &'static str, dialect: Dialect, model: &'static str) -> Side {
    Side { name, dialect, model }
}

/// The first four are callers too.
const SIDES: [Side; 8] = [
    side("openai", Dialect::OpenAi, "gpt-4o"),
    side("responses", Dialect::Responses, "gpt-4o"),
    side("anthropic", Dialect::Anthropic, "claude-sonnet-4-5"),
    side("gemini", Dialect::Gemini, "gemini-2.5-pro"),
    side("converse", Dialect::Converse, "us.anthropic.claude-sonnet-4-5"),
    side("ollama", Dialect::Ollama, "llama3"),
    side("cohere", Dialect::Cohere, "command-a"),
    side(MISTRAL, Dialect::OpenAi, "mistral-large"),
];
const MISTRAL: &str = "mistral";
const WORDS: [&str; 9] = [" the", " tower", " of", " layers", "\\n\\n", " \\\"so\\\"", " Größe", ",", "."];

/// Something to translate, from the side it is written by to the other one.
struct Case {
    name: String,
    from: Side,
    to: Side,
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
    println!(
        "{:>34} {:>10} {:>8} {:>9} {:>12} {:>9}",
        "", "ns", "MB/s", "allocs", "bytes alloc.", "grows by"
    );
    cases.iter().for_each(measure);
}

/// Prints a row: by event, or by request.
fn measure(case: &Case) {
    let (mut out, mut best, mut spent) = (Vec::new(), Duration::MAX, Duration::ZERO);
    while spent < TIME {
        let start = Instant::now();
        black_box(translate_all(black_box(case), &mut out));
        let elapsed = start.elapsed();
        (best, spent) = (best.min(elapsed), spent + elapsed);
    }
    let mut count = |case: &Case| {
        let counted = allocation_counter::measure(|| _ = black_box(translate_all(case, &mut out)));
        (counted.count_total as f64, counted.bytes_total as f64)
    };
    let (allocations, bytes) = count(case);
    let (events, length, grows) = match &case.input {
        Input::Events(events) => {
            let half = Input::Events(events[..events.len() / 2].to_vec());
            let half = count(&Case { name: String::new(), input: half, ..*case });
            let by = (bytes - half.1) / (events.len() / 2) as f64 - half.1 / (events.len() / 2) as f64;
            (events.len() as f64, events.iter().map(String::len).sum(), format!("{by:9.1}"))
        }
        Input::Request(json) => (1.0, json.len(), String::new()),
    };
    let nanos = best.as_nanos() as f64;
    println!(
        "{:>34} {:10.1} {:8.0} {:9.2} {:12.1} {grows:>9}",
        case.name,
        nanos / events,
        length as f64 * 1000.0 / nanos,
        allocations / events,
        bytes / events,
    );
}

/// The measured part; not inlined, so that callgrind can be told to count only this.
#[inline(never)]
fn translate_all(case: &Case, out: &mut Vec<u8>) -> usize {
    out.clear();
    match &case.input {
        Input::Events(events) => {
            let mut decoder = StreamDecoder::new(case.from.dialect);
            let mut encoder = StreamEncoder::new(case.to.dialect, 7, true);
            for data in events {
                decoder.decode(data, &mut |event| encoder.encode(&event, out)).expect("reads");
            }
        }
        Input::Request(json) => {
            let mut request = decode_request(case.from.dialect, json).expect("reads");
            let policy = ParamPolicy::default();
            let encoding = Encoding::new(case.to.model, &policy);
            if case.to.name == MISTRAL {
                to_mistral(&mut request, &encoding).expect("is not refused");
            }
            encode_request(case.to.dialect, &request, &encoding, out).expect("is not refused");
        }
    }
    out.len()
}

fn cases() -> Vec<Case> {
    let [openai, responses, anthropic, gemini, ..] = SIDES;
    let callers = [openai, responses, anthropic, gemini];
    let mut cases = Vec::new();
    for provider in SIDES {
        for caller in callers.into_iter().filter(|caller| *caller != provider) {
            for says in Says::ALL {
                let name = format!("{}-to-{}-{}", provider.name, caller.name, says.name());
                let input = Input::Events(events(provider, says));
                cases.push(Case { name, from: provider, to: caller, input });
            }
        }
    }
    let request = |from: Side, to: Side, kilobytes: usize| {
        let name = format!("{}-to-{}-request-{kilobytes}", from.name, to.name);
        Case { name, from, to, input: Input::Request(request(from.dialect, kilobytes * 1000)) }
    };
    for kilobytes in [2, 30] {
        cases.extend([request(openai, anthropic, kilobytes), request(anthropic, openai, kilobytes)]);
    }
    for caller in callers {
        cases.extend(SIDES.into_iter().filter(|to| *to != caller).map(|to| request(caller, to, 300)));
    }
    cases
}

/// A conversation of about so many bytes: a long system prompt, turns with calls and results, and a tool.
fn request(dialect: Dialect, bytes: usize) -> String {
    let text = |bytes: usize| {
        let text = WORDS.concat().repeat(bytes / WORDS.concat().len() + 1);
        serde_json::from_str::<String>(&format!("\"{text}\"")).expect("is a string")
    };
    let (long, short) = (text(bytes / 2), text(bytes / 20));
    let schema =
        json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let arguments = json!({ "city": "Ur" });
    let (turn, rest) = match dialect {
        Dialect::Anthropic => (
            json!([
                { "role": "user", "content": short },
                { "role": "assistant", "content": [{ "type": "text", "text": short }, { "type": "tool_use", "id": "toolu_1", "name": "f", "input": arguments }] },
                { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_1", "content": short }] },
            ]),
            json!({ "model": "m", "max_tokens": 1000, "system": long, "messages": [], "tools": [{ "name": "f", "description": "d", "input_schema": schema }], "stream": true }),
        ),
        Dialect::Responses => (
            json!([
                { "role": "user", "content": [{ "type": "input_text", "text": short }] },
                { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": short, "annotations": [] }] },
                { "type": "function_call", "call_id": "call_1", "name": "f", "arguments": arguments.to_string() },
                { "type": "function_call_output", "call_id": "call_1", "output": short },
            ]),
            json!({ "model": "m", "max_output_tokens": 1000, "instructions": long, "input": [], "tools": [{ "type": "function", "name": "f", "description": "d", "parameters": schema }], "store": false, "stream": true }),
        ),
        Dialect::Gemini => (
            json!([
                { "role": "user", "parts": [{ "text": short }] },
                { "role": "model", "parts": [{ "text": short }, { "functionCall": { "name": "f", "args": arguments } }] },
                { "role": "user", "parts": [{ "functionResponse": { "name": "f", "response": { "result": short } } }] },
            ]),
            json!({ "systemInstruction": { "parts": [{ "text": long }] }, "contents": [], "generationConfig": { "maxOutputTokens": 1000 }, "tools": [{ "functionDeclarations": [{ "name": "f", "description": "d", "parameters": schema }] }] }),
        ),
        _ => (
            json!([
                { "role": "user", "content": short },
                { "role": "assistant", "content": short, "tool_calls": [{ "id": "call_1", "type": "function", "function": { "name": "f", "arguments": arguments.to_string() } }] },
                { "role": "tool", "tool_call_id": "call_1", "content": short },
            ]),
            json!({ "model": "m", "max_tokens": 1000, "messages": [{ "role": "system", "content": long }], "tools": [{ "type": "function", "function": { "name": "f", "description": "d", "parameters": schema } }], "stream": true }),
        ),
    };
    let mut request = rest;
    for list in ["messages", "input", "contents"] {
        if let Some(turns) = request.get_mut(list).and_then(|list| list.as_array_mut()) {
            (0..3).for_each(|_| turns.extend(turn.as_array().into_iter().flatten().cloned()));
        }
    }
    request.to_string()
}
