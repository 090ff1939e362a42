//! Streams, as callers get them.

use serde_json::{Value, json};
use ziggurat_core::{Cause, Dialect};
use ziggurat_dialect::{StreamDecoder, converse::exception};

use crate::common::{data, events, stream};

fn wrap(events: &[(&str, Value)]) -> Vec<String> {
    events.iter().map(|(name, payload)| json!({ *name: payload }).to_string()).collect()
}

fn said(events: &[(&str, Value)]) -> Vec<String> {
    let data = wrap(events);
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    self::events(Dialect::Converse, &data)
}

fn delta(index: u64, delta: &Value) -> (&'static str, Value) {
    ("contentBlockDelta", json!({ "contentBlockIndex": index, "delta": delta, "p": "abc" }))
}

fn stop(index: u64) -> (&'static str, Value) {
    ("contentBlockStop", json!({ "contentBlockIndex": index }))
}

fn start() -> (&'static str, Value) {
    ("messageStart", json!({ "role": "assistant" }))
}

fn end(reason: &str) -> (&'static str, Value) {
    ("messageStop", json!({ "stopReason": reason }))
}

fn metadata() -> (&'static str, Value) {
    (
        "metadata",
        json!({ "usage": { "inputTokens": 3, "outputTokens": 4 }, "metrics": { "latencyMs": 1 }, "p": "a" }),
    )
}

fn call(index: u64, kind: Option<&str>) -> (&'static str, Value) {
    let mut call = json!({ "toolUseId": "c", "name": "f" });
    if let Some(kind) = kind {
        call["type"] = kind.into();
    }
    ("contentBlockStart", json!({ "contentBlockIndex": index, "start": { "toolUse": call } }))
}

#[test]
fn blocks_open_when_they_have_something_to_say() {
    let events = said(&[
        start(),
        delta(0, &json!({ "text": "" })),
        stop(0),
        delta(1, &json!({ "reasoningContent": { "text": "t" } })),
        delta(1, &json!({ "reasoningContent": { "signature": "s" } })),
        stop(1),
        delta(2, &json!({ "reasoningContent": { "redactedContent": "d" } })),
        stop(2),
        delta(3, &json!({ "text": "a" })),
        delta(3, &json!({ "text": "b" })),
        stop(3),
        call(4, None),
        delta(4, &json!({ "toolUse": { "input": "" } })),
        delta(4, &json!({ "toolUse": { "input": "{}" } })),
        stop(4),
        end("tool_use"),
        metadata(),
    ]);
    let usage = events.iter().position(|event| event.starts_with("Usage")).expect("has usage");
    let expected = [
        "Start { id: None, model: None, created: None }",
        "Open { choice: 0, block: 0, opening: Thinking }",
        r#"Delta { choice: 0, block: 0, delta: Thinking("t") }"#,
        r#"Delta { choice: 0, block: 0, delta: Signature("s") }"#,
        "Close { choice: 0, block: 0 }",
        r#"Open { choice: 0, block: 1, opening: RedactedThinking { data: "d" } }"#,
        "Close { choice: 0, block: 1 }",
        "Open { choice: 0, block: 2, opening: Text }",
        r#"Delta { choice: 0, block: 2, delta: Text("a") }"#,
        r#"Delta { choice: 0, block: 2, delta: Text("b") }"#,
        "Close { choice: 0, block: 2 }",
        r#"Open { choice: 0, block: 3, opening: ToolCall { id: "c", name: "f" } }"#,
        r#"Delta { choice: 0, block: 3, delta: Arguments("{}") }"#,
        "Close { choice: 0, block: 3 }",
    ];
    assert_eq!(events[..usage], expected);
    assert!(
        events[usage + 1].starts_with("Finish") && events[usage + 2] == "End" && events.len() == usage + 3
    );
}

#[test]
fn the_end_waits_for_the_usage_and_no_longer_than_the_bytes() {
    let whole = [start(), delta(0, &json!({ "text": "a" })), stop(0), end("end_turn"), metadata()];
    let data = wrap(&whole);
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let openai = crate::common::data(&stream(Dialect::Converse, Dialect::OpenAi, &data));
    assert_eq!(openai.last().map(String::as_str), Some("[DONE]"));
    assert!(openai.iter().any(|data| data.contains(r#""prompt_tokens":3"#)));
    let events = said(&whole[..4]);
    assert_eq!(events.last().map(String::as_str), Some("End"));
    for cut in 0..4 {
        let events = said(&whole[..cut]);
        assert!(events.last().is_some_and(|event| event.contains("upstream_truncated")), "{cut}");
    }
}

#[test]
fn an_exception_ends_the_stream_by_its_cause() {
    let mut decoder = StreamDecoder::new(Dialect::Converse);
    let mut found = Vec::new();
    let data = wrap(&[
        start(),
        delta(0, &json!({ "text": "a" })),
        ("throttlingException", json!({ "message": "slow down" })),
        end("end_turn"),
    ]);
    for data in &data {
        decoder.decode(data, &mut |event| found.push(format!("{event:?}"))).expect("reads");
    }
    decoder.finish(&mut |event| found.push(format!("{event:?}")));
    assert!(found.last().is_some_and(|event| event.contains("RateLimit") && event.contains("slow down")));
    assert_eq!(found.iter().filter(|event| event.starts_with("Error")).count(), 1);
    assert!(!found.iter().any(|event| event.starts_with("Finish") || event == "End"));
    let problem = exception(r#"{"modelTimeoutException":{"message":"x"}}"#).expect("is one");
    assert_eq!(problem.cause, Cause::Timeout);
    assert_eq!(exception(r#"{"chunk":{}}"#), None);
}

#[test]
fn the_providers_own_tools_make_no_calls_and_what_is_new_is_passed_over() {
    let result = json!({ "contentBlockIndex": 1, "start": { "toolResult": { "toolUseId": "c" } } });
    let events = [
        start(),
        call(0, Some("server_tool_use")),
        delta(0, &json!({ "toolUse": { "input": "{}" } })),
        stop(0),
        ("contentBlockStart", result),
        delta(1, &json!({ "toolResult": [{ "text": "x" }] })),
        stop(1),
        ("somethingNew", json!([1])),
        delta(2, &json!({ "text": "a", "new": 1 })),
        delta(3, &json!({ "citation": { "title": "t" } })),
        stop(3),
        call(4, Some("tool_use")),
        stop(4),
        end("tool_use"),
        metadata(),
    ];
    let wrapped = wrap(&events);
    let wrapped: Vec<&str> = wrapped.iter().map(String::as_str).collect();
    let chunks = data(&stream(Dialect::Converse, Dialect::OpenAi, &wrapped));
    let calls: Vec<&String> = chunks.iter().filter(|data| data.contains("\"tool_calls\":[")).collect();
    assert!(calls.iter().all(|data| data.contains("\"index\":0")) && !calls.is_empty());
    assert!(chunks.iter().any(|data| data.contains(r#""citation":{"title":"t"}"#)));
    assert!(!chunks.iter().any(|data| data.contains("nova") || data.contains("latencyMs")));
    let anthropic = data(&stream(Dialect::Converse, Dialect::Anthropic, &wrapped));
    let starts = anthropic.iter().filter(|data| data.contains("content_block_start")).count();
    assert_eq!(starts, 2);
}

#[test]
fn an_exception_behind_the_stop_is_the_one_end() {
    let exception = ("throttlingException", json!({ "message": "slow down" }));
    let events = said(&[start(), delta(0, &json!({ "text": "a" })), end("end_turn"), exception]);
    let kinds: Vec<_> =
        events.iter().map(|event| event.split([' ', '(']).next().unwrap_or_default()).collect();
    assert_eq!(kinds, ["Start", "Open", "Delta", "Close", "Error"]);
}

#[test]
fn a_piece_of_a_call_that_never_began_is_malformed() {
    let mut decoder = StreamDecoder::new(Dialect::Converse);
    let data = wrap(&[delta(0, &json!({ "toolUse": { "input": "{" } }))]);
    assert!(decoder.decode(&data[0], &mut |_| {}).is_err());
    assert!(decoder.decode("{", &mut |_| {}).is_err());
}

#[test]
fn what_the_model_said_of_its_reasoning_joins_the_usage() {
    let ours = json!({ "usage": { "output_tokens_details": { "thinking_tokens": 2 } } });
    let stop = json!({ "stopReason": "end_turn", "additionalModelResponseFields": ours });
    let events = said(&[start(), ("messageStop", stop), metadata()]);
    assert!(events.iter().any(|event| event.contains("reasoning: Some(2)")));
    assert!(!events.iter().any(|event| event.starts_with("Extra")), "nobody asked for it");
    let fields = json!({ "usage": { "output_tokens_details": { "thinking_tokens": 2 } }, "delta": { "stop_sequence": "x" } });
    let events = said(&[
        start(),
        delta(0, &json!({ "text": "a" })),
        ("messageStop", json!({ "stopReason": "stop_sequence", "additionalModelResponseFields": fields })),
        (
            "metadata",
            json!({ "usage": { "outputTokens": 4 }, "serviceTier": { "type": "priority" }, "trace": { "g": 1 } }),
        ),
    ]);
    let usage = events.iter().find(|event| event.starts_with("Usage")).expect("has usage");
    assert!(usage.contains("reasoning: Some(2)") && usage.contains("priority"), "{usage}");
    assert!(events.iter().any(|event| event.starts_with("Extra") && event.contains("\"trace\"")));
    assert!(events.iter().any(|event| event.contains(r#"stop_sequence: Some("x")"#)));
}
