//! OpenAI's streams, as an Anthropic caller gets them.

use serde_json::{Value, json};
use ziggurat_core::Dialect;

use crate::common::{data, stream, strict};

/// The provider's stream with these choices, `[DONE]` behind them, as the caller's events.
fn translate(choices: &[Value]) -> Vec<Value> {
    let chunk =
        |choice: &Value| json!({ "id": "c", "created": 1, "model": "m", "choices": [choice] }).to_string();
    let mut chunks: Vec<String> = choices.iter().map(chunk).collect();
    chunks.push("[DONE]".to_owned());
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    read(&stream(Dialect::OpenAi, Dialect::Anthropic, &chunks))
}

fn read(stream: &str) -> Vec<Value> {
    data(stream).iter().map(|data| strict(data)).collect()
}

fn delta(delta: &Value) -> Value {
    json!({ "index": 0, "delta": delta, "finish_reason": null })
}

fn finish(reason: &str) -> Value {
    json!({ "index": 0, "delta": {}, "finish_reason": reason })
}

fn call(call: &Value) -> Value {
    delta(&json!({ "tool_calls": [call] }))
}

#[test]
fn calls_that_are_all_counted_as_the_first_are_told_apart_by_their_ids() {
    let piece = |id: Option<&str>, name: Option<&str>, arguments: &str| {
        call(&json!({ "index": 0, "id": id, "function": { "name": name, "arguments": arguments } }))
    };
    let calls = |choices: &[Value]| {
        let mut told: Vec<(Value, Value, String)> = Vec::new();
        for event in translate(&[choices, &[finish("tool_calls")]].concat()) {
            match &event["content_block"]["type"] {
                kind if kind == "tool_use" => {
                    told.push((
                        event["content_block"]["id"].clone(),
                        event["content_block"]["name"].clone(),
                        String::new(),
                    ));
                }
                _ => {
                    let piece = event["delta"]["partial_json"].as_str().unwrap_or_default();
                    if let Some(last) = told.last_mut() {
                        last.2.push_str(piece);
                    }
                }
            }
        }
        told
    };
    let two = [
        piece(Some("a"), Some("f"), "{}"),
        piece(Some("b"), Some("g"), r#"{"x":"#),
        piece(None, None, "1"),
        // Said again, as some do with each piece.
        piece(Some("b"), Some("g"), "}"),
    ];
    let expected = [("a", "f", "{}"), ("b", "g", r#"{"x":1}"#)];
    let expected = expected.map(|(id, name, arguments)| (json!(id), json!(name), arguments.to_owned()));
    assert_eq!(calls(&two), expected);
    // Side by side.
    let both = [
        piece(Some("a"), Some("f"), r#"{"x":"#),
        piece(Some("b"), Some("g"), r#"{"y":"#),
        piece(Some("a"), None, "1}"),
        piece(None, None, "2"),
        piece(Some("b"), Some("g"), "}"),
    ];
    let expected = [("a", "f", r#"{"x":1}"#), ("b", "g", r#"{"y":2}"#)];
    let expected = expected.map(|(id, name, arguments)| (json!(id), json!(name), arguments.to_owned()));
    assert_eq!(calls(&both), expected);
    // An id that changes from piece to piece, beside no name, is one call.
    let one = [piece(Some("a"), Some("f"), r#"{"x":"#), piece(Some("b"), None, "1}")];
    assert_eq!(calls(&one), [(json!("a"), json!("f"), r#"{"x":1}"#.to_owned())]);
}

#[test]
fn text_comes_byte_for_byte_as_events() {
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": { "cached_tokens": 1 } });
    let chunks = [
        json!({ "id": "c", "created": 1, "model": "m", "choices": [delta(&json!({ "role": "assistant", "content": "", "refusal": null }))], "obfuscation": "xx" }),
        json!({ "id": "c", "choices": [delta(&json!({ "content": "Hé" }))], "usage": null }),
        json!({ "id": "c", "choices": [finish("stop")] }),
        json!({ "id": "c", "choices": [], "usage": usage }),
    ];
    let mut chunks: Vec<String> = chunks.iter().map(Value::to_string).collect();
    chunks.push("[DONE]".to_owned());
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    assert_eq!(
        stream(Dialect::OpenAi, Dialect::Anthropic, &chunks),
        r#"event: message_start
data: {"type":"message_start","message":{"id":"c","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":4,"output_tokens":2,"cache_read_input_tokens":1}}

event: message_stop
data: {"type":"message_stop"}

"#
    );
}

#[test]
fn thoughts_text_and_calls_are_blocks_one_after_another() {
    let events = translate(&[
        delta(&json!({ "reasoning_content": "h" })),
        delta(&json!({ "reasoning": "m" })),
        delta(&json!({ "content": "a" })),
        call(
            &json!({ "index": 0, "id": "call:1", "type": "function", "function": { "name": "f", "arguments": "" } }),
        ),
        call(&json!({ "index": 0, "id": "", "function": { "name": "", "arguments": "{\"x\":" } })),
        call(&json!({ "index": 0, "function": { "arguments": "1}" } })),
        call(&json!({ "index": 1, "id": "", "function": { "name": "g" } })),
        finish("tool_calls"),
    ]);
    let start = |index: u64, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let grow =
        |index: u64, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let stop = |index: u64| json!({ "type": "content_block_stop", "index": index });
    let thought = |text: &str| grow(0, json!({ "type": "thinking_delta", "thinking": text }));
    let json = |text: &str| grow(2, json!({ "type": "input_json_delta", "partial_json": text }));
    assert_eq!(
        events[1..events.len() - 2],
        [
            start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
            thought("h"),
            thought("m"),
            stop(0),
            start(1, json!({ "type": "text", "text": "" })),
            grow(1, json!({ "type": "text_delta", "text": "a" })),
            stop(1),
            start(2, json!({ "type": "tool_use", "id": "call_1_0af63155", "name": "f", "input": {} })),
            json("{\"x\":"),
            json("1}"),
            stop(2),
            // A provider that gives no id: the block has to have one.
            start(3, json!({ "type": "tool_use", "id": "toolu_3", "name": "g", "input": {} })),
            stop(3),
        ]
    );
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
}

#[test]
fn a_legacy_call_is_a_block() {
    let piece = |piece: Value| delta(&json!({ "function_call": piece }));
    let events = translate(&[
        delta(
            &json!({ "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "" } }),
        ),
        piece(json!({ "arguments": "{\"x\":" })),
        piece(json!({ "arguments": "1}" })),
        finish("function_call"),
    ]);
    let block = json!({ "type": "tool_use", "id": "call_ef734621", "name": "f", "input": {} });
    let grow = |text: &str| {
        let delta = json!({ "type": "input_json_delta", "partial_json": text });
        json!({ "type": "content_block_delta", "index": 0, "delta": delta })
    };
    assert_eq!(
        events[1..events.len() - 2],
        [
            json!({ "type": "content_block_start", "index": 0, "content_block": block }),
            grow("{\"x\":"),
            grow("1}"),
            json!({ "type": "content_block_stop", "index": 0 }),
        ]
    );
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
}

#[test]
fn a_legacy_call_that_is_none_or_is_said_twice_is_no_block() {
    let events = translate(&[
        delta(&json!({ "content": "a", "function_call": { "name": "", "arguments": "" } })),
        delta(&json!({ "function_call": "f" })),
        call(&json!({ "index": 0, "id": "t", "function": { "name": "f", "arguments": "{}" } })),
        delta(&json!({ "function_call": { "name": "f", "arguments": "{}" } })),
        finish("tool_calls"),
    ]);
    let kinds: Vec<_> = events.iter().filter_map(|event| event["content_block"]["type"].as_str()).collect();
    assert_eq!(kinds, ["text", "tool_use"]);
}

#[test]
fn a_refusal_is_text() {
    let events = translate(&[delta(&json!({ "refusal": "no" })), finish("stop")]);
    assert_eq!(events[2]["delta"], json!({ "type": "text_delta", "text": "no" }));
}

#[test]
fn only_the_first_of_several_answers_has_a_place() {
    let mut other = delta(&json!({ "content": "b" }));
    other["index"] = json!(1);
    let mut over = finish("length");
    over["index"] = json!(1);
    let events = translate(&[delta(&json!({ "content": "a" })), other, over, finish("stop")]);
    let texts: Vec<_> = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(texts, ["a"]);
    assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "end_turn");
}

#[test]
fn an_error_chunk_ends_the_stream() {
    let chunks = [
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        r#"{"error":{"message":"server exploded","type":"server_error","code":500}}"#,
        "[DONE]",
    ];
    let stream = stream(Dialect::OpenAi, Dialect::Anthropic, &chunks);
    assert!(
        stream.ends_with(
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"server exploded\"}}\n\n"
        ),
        "{stream}"
    );
    assert!(!stream.contains("message_stop"));
}

#[test]
fn an_early_end_is_an_error_and_a_missing_done_is_not() {
    let content = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    let over = r#"{"id":"c","choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}"#;
    let cut = read(&stream(Dialect::OpenAi, Dialect::Anthropic, &[content]));
    assert_eq!(cut.last().map(|event| &event["error"]["type"]), Some(&json!("api_error")));
    let whole = read(&stream(Dialect::OpenAi, Dialect::Anthropic, &[content, over]));
    assert_eq!(whole.last(), Some(&json!({ "type": "message_stop" })));
    let empty = read(&stream(Dialect::OpenAi, Dialect::Anthropic, &[]));
    assert_eq!(empty.len(), 1);
    assert_eq!(empty[0]["type"], "error");
}
