//! Thoughts that other makers signed, in front of a Google caller and on their way back.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};

use crate::common::{answer, data, request, stream};

/// A stream of Claude's: blocks, each with its deltas.
fn claude(blocks: &[(Value, Vec<Value>)]) -> Vec<Value> {
    let start = json!({ "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": { "input_tokens": 1, "output_tokens": 1 } });
    let mut lines = vec![json!({ "type": "message_start", "message": start }).to_string()];
    for (index, (block, deltas)) in blocks.iter().enumerate() {
        lines.push(
            json!({ "type": "content_block_start", "index": index, "content_block": block }).to_string(),
        );
        lines.extend(deltas.iter().map(|delta| {
            json!({ "type": "content_block_delta", "index": index, "delta": delta }).to_string()
        }));
        lines.push(json!({ "type": "content_block_stop", "index": index }).to_string());
    }
    lines.push(
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}"#
            .to_owned(),
    );
    lines.push(r#"{"type":"message_stop"}"#.to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    contents(&stream(Dialect::Anthropic, Dialect::Gemini, &lines))
}

/// The contents of a stream's chunks.
fn contents(stream: &str) -> Vec<Value> {
    let chunk = |data: &String| serde_json::from_str::<Value>(data).expect("is JSON");
    data(stream).iter().map(|data| chunk(data)["candidates"][0]["content"].clone()).collect()
}

fn parts(contents: &[Value]) -> Vec<Value> {
    contents.iter().flat_map(|content| content["parts"].as_array().expect("is a list").clone()).collect()
}

fn thought(words: &[&str], signature: &str) -> (Value, Vec<Value>) {
    let mut deltas: Vec<_> =
        words.iter().map(|words| json!({ "type": "thinking_delta", "thinking": words })).collect();
    deltas.push(json!({ "type": "signature_delta", "signature": signature }));
    (json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas)
}

fn call() -> (Value, Vec<Value>) {
    (json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} }), Vec::new())
}

/// What Claude is sent when a Google caller answers the call in these turns.
fn back(turns: &[Value]) -> Value {
    let mut contents = vec![json!({ "role": "user", "parts": [{ "text": "q" }] })];
    contents.extend(turns.iter().cloned());
    contents.push(json!({ "role": "user", "parts": [{ "functionResponse": { "name": "f", "id": "t", "response": {} } }] }));
    let asked = json!({ "contents": contents });
    let sent =
        request(Dialect::Gemini, Dialect::Anthropic, "claude-sonnet-4-5", &ParamPolicy::default(), &asked);
    sent.expect("is not refused")["messages"][1]["content"].clone()
}

/// The turns as Google's SDK for Python sends them: with signatures encoded anew, in the URL-safe alphabet.
fn encoded_anew(turns: &[Value]) -> Vec<Value> {
    let mut turns = turns.to_vec();
    for part in turns.iter_mut().flat_map(|turn| turn["parts"].as_array_mut().into_iter().flatten()) {
        if let Some(Value::String(signature)) = part.get_mut("thoughtSignature") {
            assert!(
                signature.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)),
                "{signature}"
            );
            assert_eq!(signature.len() % 4, 0, "{signature}");
            *signature = signature.replace('+', "-").replace('/', "_");
        }
    }
    turns
}

#[test]
fn a_signature_comes_back_as_it_was_however_the_caller_encodes_it() {
    for signature in ["AB+/", "AB-_", "gAAA=", "~~~???>>>", "no base64: ü"] {
        let given = json!({
            "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
            "content": [
                { "type": "thinking", "thinking": "why", "signature": signature },
                { "type": "tool_use", "id": "t", "name": "f", "input": {} },
            ],
            "usage": { "input_tokens": 1, "output_tokens": 2 },
        });
        let whole = answer(Dialect::Anthropic, Dialect::Gemini, &given)["candidates"][0]["content"].clone();
        let streamed =
            json!({ "role": "model", "parts": parts(&claude(&[thought(&["why"], signature), call()])) });
        assert_eq!(whole, streamed);
        for turns in [vec![whole.clone()], encoded_anew(&[whole])] {
            assert_eq!(back(&turns), given["content"], "{turns:?}");
        }
    }
}

#[test]
fn a_signature_that_is_not_readable_is_left_out() {
    let turn = json!({ "role": "model", "parts": [
        { "text": "why", "thought": true },
        { "functionCall": { "id": "t", "name": "f", "args": {} }, "thoughtSignature": "zigguratOfClaude%%" },
    ] });
    assert_eq!(back(&[turn]), json!([{ "type": "tool_use", "id": "t", "name": "f", "input": {} }]));
}

#[test]
fn a_thought_that_was_streamed_in_pieces_comes_back_whole() {
    let turns = claude(&[thought(&["one ", "two"], "UzE="), call()]);
    let expected = json!([
        { "type": "thinking", "thinking": "one two", "signature": "UzE=" },
        { "type": "tool_use", "id": "t", "name": "f", "input": {} },
    ]);
    let spoken: Vec<Value> = turns.iter().filter(|turn| turn["parts"] != json!([])).cloned().collect();
    assert_eq!(spoken.len(), 3, "a content for each piece");
    assert_eq!(back(&spoken), expected, "a content for each chunk");
    assert_eq!(back(&[json!({ "role": "model", "parts": parts(&turns) })]), expected, "one content");
}

#[test]
fn each_of_two_thoughts_keeps_its_signature() {
    let search =
        (json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} }), Vec::new());
    let text = (json!({ "type": "text", "text": "" }), vec![json!({ "type": "text_delta", "text": "hi" })]);
    let turns = claude(&[thought(&["one"], "UzE="), search, thought(&["t", "wo"], "UzI="), text, call()]);
    let parts = parts(&turns);
    let signatures: Vec<_> = parts.iter().filter_map(|part| part["thoughtSignature"].as_str()).collect();
    assert_eq!(signatures, ["zigguratOfClaudeVXpFPQ==", "zigguratOfClaudeVXpJPQ=="]);
    assert_eq!(
        back(&[json!({ "role": "model", "parts": parts })]),
        json!([
            { "type": "thinking", "thinking": "one", "signature": "UzE=" },
            { "type": "thinking", "thinking": "two", "signature": "UzI=" },
            { "type": "text", "text": "hi" },
            { "type": "tool_use", "id": "t", "name": "f", "input": {} },
        ])
    );
}
