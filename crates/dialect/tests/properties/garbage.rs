//! Broken documents: whatever the bytes, nothing panics, and what is written is JSON.
//!
//! 10^5 documents by default; `ZIGGURAT_CASES` asks for more.

use std::env;

use bytes::Bytes;
use http::StatusCode;
use serde::de::IgnoredAny;
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, StreamDecoder, StreamEncoder, decode_answer_error, decode_error, decode_request,
    decode_response, encode_request, encode_response,
    openai::to_mistral,
    sse::{Decoder, Frame},
};

use crate::common::dropping;

const BOTH: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

/// Those that providers speak.
const PROVIDERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Ollama, Dialect::Cohere];

/// Whole documents, in whose shape the broken ones are made.
const SEEDS: &[&str] = &[
    r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a\u00e9"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}},{"type":"file","file":{"file_data":"AA"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"r"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"auto","max_tokens":5,"stop":["x"],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}},"reasoning_effort":"low","stream_options":{"include_usage":true},"seed":1}"#,
    r#"{"model":"m","max_tokens":5,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"url","url":"https://e.com/a"}},{"type":"document","source":{"type":"base64","media_type":"a/b","data":"AA"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"S"},{"type":"tool_use","id":"t","name":"f","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"}],"is_error":true}]}],"tools":[{"name":"f","input_schema":{}},{"type":"web_search_20250305","name":"web_search","user_location":{"type":"approximate","city":"x"}}],"tool_choice":{"type":"tool","name":"f"},"thinking":{"type":"enabled","budget_tokens":1024},"output_config":{"effort":"low"},"metadata":{"user_id":"u"}}"#,
    r#"{"id":"c","object":"chat.completion","created":1.5,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"h"}]},{"type":"text","text":"a"}],"tool_calls":[{"id":"x","type":"custom","custom":{}}],"function_call":{"name":"f","arguments":"{}"}},"finish_reason":"stop","logprobs":{"content":[]}}],"usage":{"prompt_tokens":1,"completion_tokens":-2,"total_tokens":3,"completion_tokens_details":{"reasoning_tokens":1}}}"#,
    r#"{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"h","signature":"S"},{"type":"redacted_thinking","data":"R"},{"type":"text","text":"a","citations":[{}]},{"type":"tool_use","id":"t","name":"f","input":{}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3}}"#,
    r#"{"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a","reasoning_content":"h","thinking_blocks":[{"type":"thinking","thinking":"h","signature":"S"}],"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":null,"logprobs":{}}],"usage":{"prompt_tokens":1},"x_groq":{"id":"r","usage":{"prompt_tokens":1}}}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a","function_call":{"name":"f","arguments":"{}"}},"finish_reason":"function_call"}]}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"x":1},"caller":{}}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
    r#"{"type":"message_start","message":{"id":"m","model":"m","content":[],"usage":{"input_tokens":1}}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":"x"},"usage":{"output_tokens":2}}"#,
    r#"{"error":{"message":"m sk-x https://e.com","type":"tokens","param":"p","code":"rate_limit_exceeded"}}"#,
    r#"{"model":"m","created_at":"2026-08-07T06:08:11.017589Z","message":{"role":"assistant","content":"a","thinking":"h","tool_calls":[{"id":"c","function":{"index":0,"name":"f","arguments":{"x":1}}}]},"done":true,"done_reason":"stop","total_duration":1,"prompt_eval_count":3,"eval_count":-4}"#,
    r#"{"id":"c","message":{"role":"assistant","content":[{"type":"thinking","thinking":"h"},{"type":"text","text":"a"}],"tool_plan":"p","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":null}}],"citations":[{"start":0}]},"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":1},"tokens":{"input_tokens":1,"output_tokens":2,"image_tokens":18446744073709551615},"cached_tokens":3}}"#,
    r#"{"type":"message-start","id":"c","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
    r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":"h"}}}}"#,
    r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_plan":"p","tool_calls":{"id":"t","type":"function","function":{"name":"f","arguments":"{"}}}}}"#,
    r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":1}}}}"#,
    r#"{"type":"message-end","delta":{"finish_reason":"ERROR","usage":{"tokens":{"input_tokens":1}},"error":"e","error_type":"T"}}"#,
    "event: a\r\ndata: {\"x\":1}\r\n\r\n: comment\n\ndata: [DONE]\n\n",
];

/// Pieces that break documents in interesting ways.
const PIECES: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e400",
    "99999999999999999999",
    "0.5",
    "true",
    "\"\\ud800\"",
    "\"\\u0000\"",
    ",",
    "}",
    "]",
    "\"type\":",
    "\"content\":",
    "\"text\"",
    "{\"a\":1,\"a\":2}",
    "[[[[]]]]",
    "\\",
    "\"",
    "\u{feff}",
    "\u{1F600}",
    "\n\n",
    "data: ",
];

/// xorshift64*: the same cases every time.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }
}

pub(super) fn broken(random: &mut Random, seeds: &[&str]) -> String {
    let mut bytes = seeds[random.below(seeds.len())].as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let length = random.below(12).min(bytes.len() - at);
        match random.below(6) {
            0 => drop(bytes.drain(at..at + length)),
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes.truncate(at.max(1)),
            3 => {
                let copy = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len());
                drop(bytes.splice(to..to, copy));
            }
            _ => {
                // A value in the place of another one, as a rule.
                let at = bytes[at..].iter().position(|byte| *byte == b':').map_or(at, |colon| at + colon + 1);
                let end = bytes[at..]
                    .iter()
                    .position(|byte| matches!(byte, b',' | b'}' | b']'))
                    .map_or(at, |end| at + end);
                let piece = PIECES[random.below(PIECES.len())];
                drop(bytes.splice(at..end, piece.bytes()));
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn is_json(out: &[u8]) {
    let text = std::str::from_utf8(out).expect("is UTF-8");
    serde_json::from_str::<IgnoredAny>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
}

fn documents(json: &str) {
    let (policy, drop) = (ParamPolicy::default(), dropping());
    for from in BOTH {
        let request = decode_request(from, json);
        for to in PROVIDERS {
            for (policy, model) in [(&policy, "claude-sonnet-4-5"), (&drop, "o3")] {
                let mut out = Vec::new();
                if let Ok(request) = &request
                    && encode_request(to, request, &Encoding::new(model, policy), &mut out).is_ok()
                {
                    is_json(&out);
                }
            }
        }
        if let Ok(mut request) = request {
            let (encoding, mut out) = (Encoding::new("mistral-small-latest", &drop), Vec::new());
            if to_mistral(&mut request, &encoding).is_ok()
                && encode_request(Dialect::OpenAi, &request, &encoding, &mut out).is_ok()
            {
                is_json(&out);
            }
        }
    }
    for from in PROVIDERS {
        let answer = decode_response(from, json);
        for to in BOTH {
            let mut out = Vec::new();
            if let Ok(answer) = &answer {
                encode_response(to, answer, 7, &mut out);
                is_json(&out);
            }
        }
    }
    for status in [None, StatusCode::from_u16(400).ok(), StatusCode::from_u16(529).ok()] {
        let problem = decode_error(status, json.as_bytes());
        BOTH.iter().for_each(|dialect| is_json(&problem.to_json(*dialect)));
    }
    let _either = decode_answer_error(json.as_bytes());
}

/// Several broken events, one after another in one stream.
fn stream(data: &[String]) {
    for from in PROVIDERS {
        for to in BOTH {
            let (mut decoder, mut encoder) = (StreamDecoder::new(from), StreamEncoder::new(to, 7, true));
            let mut out = Vec::new();
            for data in data {
                if decoder.decode(data, &mut |event| encoder.encode(&event, &mut out)).is_err() {
                    break;
                }
            }
            decoder.finish(&mut |event| encoder.encode(&event, &mut out));
            let mut frames = Decoder::new(1 << 24);
            frames.push(Bytes::from(out));
            for frame in frames.by_ref() {
                match frame.expect("is not too large") {
                    Frame::Event(event) if &event.data[..] != b"[DONE]" => is_json(&event.data),
                    _ => {}
                }
            }
            assert_eq!(frames.finish(), None);
        }
    }
}

#[test]
fn broken_documents_do_no_harm() {
    let cases = env::var("ZIGGURAT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100_000);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut recent: Vec<String> = Vec::new();
    for case in 0..cases {
        let json = broken(&mut random, SEEDS);
        documents(&json);
        let mut frames = Decoder::new(64 + random.below(1000));
        json.as_bytes().chunks(1 + random.below(50)).for_each(|piece| {
            frames.push(Bytes::copy_from_slice(piece));
            frames.by_ref().for_each(drop);
        });
        drop(frames.finish());
        recent.push(json);
        if recent.len() == 4 || case + 1 == cases {
            stream(&recent);
            recent.clear();
        }
    }
}

#[test]
fn deep_documents_do_no_harm() {
    for depth in [100, 200, 5000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"thinking\":[", "]}"), ("{\"content\":[", "]}")] {
            let deep = format!("{}{}", open.repeat(depth), close.repeat(depth));
            documents(&deep);
            documents(&format!(r#"{{"messages":[{{"role":"user","content":[{deep}]}}],"x":{deep}}}"#));
            documents(&format!(
                r#"{{"choices":[{{"message":{{"content":[{{"type":"thinking","thinking":[{deep}]}}]}}}}]}}"#
            ));
            stream(&[format!(r#"{{"id":"c","choices":[{{"delta":{{"content":[{deep}]}}}}]}}"#)]);
        }
    }
}
