//! Broken documents: whatever the bytes, nothing panics, what is written is JSON, and a stream ends once.

use proptest::prelude::*;
use serde::de::IgnoredAny;
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, Event, StreamDecoder, StreamEncoder, decode_request, decode_response, encode_request,
    encode_response,
};

use crate::common::{data, dropping};

/// Whole documents: a caller's request, an answer, and the events of a stream.
const REQUESTS: &[(Dialect, &str)] = &[
    (
        Dialect::OpenAi,
        r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}},{"type":"file","file":{"filename":"a.pdf","file_data":"AA"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"r"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"auto","top_k":4,"service_tier":"flex","additionalModelRequestFields":{"a":1},"guardrailConfig":{},"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}},"reasoning_effort":"low"}"#,
    ),
    (
        Dialect::Anthropic,
        r#"{"model":"m","max_tokens":2000,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"},"title":"t","context":"c"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"S"},{"type":"tool_use","id":"t","name":"f","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"}],"is_error":true}]}],"tools":[{"name":"f","input_schema":{}}],"thinking":{"type":"enabled","budget_tokens":1024},"output_config":{"effort":"low","x":1}}"#,
    ),
];

const ANSWER: &str = r#"{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"t","signature":"s"}}},{"reasoningContent":{"redactedContent":"d"}},{"text":"a"},{"toolUse":{"toolUseId":"c","name":"f","input":{"b":1},"type":"tool_use"}},{"citationsContent":{"content":[{"text":"a"}],"citations":[{}]}}]}},"stopReason":"tool_use","usage":{"inputTokens":10,"outputTokens":5,"cacheDetails":[{"ttl":"1h","inputTokens":4}]},"metrics":{"latencyMs":1},"serviceTier":{"type":"flex"},"additionalModelResponseFields":{"usage":{"output_tokens_details":{"thinking_tokens":3}},"stop_sequence":"x"},"trace":{}}"#;

const STREAM: &[&str] = &[
    r#"{"messageStart":{"role":"assistant","p":"abc"}}"#,
    r#"{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"t","signature":"s"}}}}"#,
    r#"{"contentBlockDelta":{"contentBlockIndex":1,"delta":{"text":"a"}}}"#,
    r#"{"contentBlockStop":{"contentBlockIndex":1}}"#,
    r#"{"contentBlockStart":{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"c","name":"f"}}}}"#,
    r#"{"contentBlockDelta":{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{}"}}}}"#,
    r#"{"contentBlockStop":{"contentBlockIndex":2}}"#,
    r#"{"messageStop":{"stopReason":"tool_use","additionalModelResponseFields":{"delta":{"stop_sequence":null}}}}"#,
    r#"{"metadata":{"usage":{"inputTokens":3,"outputTokens":4},"metrics":{"latencyMs":1},"trace":{"g":[1]}}}"#,
];

/// Values that break documents in interesting ways.
const PIECES: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "\" \"",
    "-1",
    "1e400",
    "0.5",
    "true",
    "\"\\ud800\"",
    "[[{}]]",
    "{\"a\":1,\"a\":2}",
    "{\"text\":\"x\"}",
    "\"max\"",
    ",",
    "}",
    "\\",
    "\u{1F600}",
    "{\"throttlingException\":{}}",
];

/// The document with a piece in the place of what stands behind its so many-th colon, or cut there.
fn broken(json: &str, colon: usize, piece: usize, cut: bool) -> String {
    let colons: Vec<usize> = json.match_indices(':').map(|(at, _)| at + 1).collect();
    let at = colons[colon % colons.len()];
    if cut {
        return json[..at].to_owned();
    }
    let end = json[at..].find([',', '}', ']']).map_or(json.len(), |end| at + end);
    format!("{}{}{}", &json[..at], PIECES[piece % PIECES.len()], &json[end..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_request_is_refused_or_written(which in 0..2usize, colon in 0..200usize, piece in 0..99usize, model in 0..4usize) {
        let (dialect, json) = REQUESTS[which];
        let json = broken(json, colon, piece, false);
        let model = ["us.anthropic.claude-sonnet-4-5", "amazon.nova-2-lite-v1:0", "openai.gpt-oss-20b-1:0", "x"][model];
        if let Ok(request) = decode_request(dialect, &json) {
            for policy in [ParamPolicy::default(), dropping()] {
                let mut out = Vec::new();
                if encode_request(Dialect::Converse, &request, &Encoding::new(model, &policy), &mut out).is_ok() {
                    let text = std::str::from_utf8(&out).expect("is UTF-8");
                    serde_json::from_str::<IgnoredAny>(text).expect("is JSON");
                }
            }
        }
    }

    #[test]
    fn a_broken_answer_is_malformed_or_written(colon in 0..200usize, piece in 0..99usize, cut: bool) {
        let json = broken(ANSWER, colon, piece, cut);
        if let Ok(answer) = decode_response(Dialect::Converse, &json) {
            for to in [Dialect::OpenAi, Dialect::Anthropic] {
                let mut out = Vec::new();
                encode_response(to, &answer, 7, &mut out);
                serde_json::from_slice::<IgnoredAny>(&out).expect("is JSON");
            }
        }
    }

    #[test]
    fn a_broken_stream_ends_once(event in 0..9usize, colon in 0..20usize, piece in 0..99usize, cut: bool, repeat: bool) {
        let mut events: Vec<String> = STREAM.iter().map(|event| (*event).to_owned()).collect();
        events[event] = broken(&events[event], colon, piece, cut);
        if repeat {
            events.insert(event, STREAM[(event + piece) % STREAM.len()].to_owned());
        }
        for to in [Dialect::OpenAi, Dialect::Anthropic] {
            let (mut decoder, mut encoder) = (StreamDecoder::new(Dialect::Converse), StreamEncoder::new(to, 7, true));
            let (mut out, mut ends, mut open) = (Vec::new(), 0, None);
            let mut write = |event: Event<'_>| {
                match &event {
                    Event::End | Event::Error(_) => ends += 1,
                    Event::Open { block, .. } => assert_eq!(open.replace(*block), None),
                    Event::Close { block, .. } => assert_eq!(open.take(), Some(*block)),
                    Event::Delta { block, .. } => assert_eq!(open, Some(*block)),
                    _ => {}
                }
                encoder.encode(&event, &mut out);
            };
            for event in &events {
                decoder.decode(event, &mut write).ok();
            }
            decoder.finish(&mut write);
            prop_assert_eq!(ends, 1);
            let text = String::from_utf8(out).expect("is UTF-8");
            for data in data(&text).iter().filter(|data| *data != "[DONE]") {
                serde_json::from_str::<IgnoredAny>(data).expect("is JSON");
            }
        }
    }
}
