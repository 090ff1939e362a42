//! Streams of a Google provider.

use serde_json::{Value, json};
use ziggurat_core::Dialect;

use crate::common::{events, stream};

fn chunk(candidates: &Value, usage: &Value) -> String {
    json!({ "candidates": candidates, "usageMetadata": usage, "responseId": "r", "modelVersion": "m" })
        .to_string()
}

fn text(text: &str) -> Value {
    json!([{ "content": { "parts": [{ "text": text }], "role": "model" }, "index": 0 }])
}

fn ended(parts: &Value) -> Value {
    json!([{ "content": { "parts": parts, "role": "model" }, "finishReason": "STOP", "index": 0 }])
}

fn said(data: &[&str]) -> Vec<String> {
    events(Dialect::Gemini, data)
}

#[test]
fn a_reason_and_the_end_of_the_bytes_are_a_whole_answer() {
    let first = chunk(&text("a"), &json!({ "promptTokenCount": 2, "totalTokenCount": 2 }));
    let last = chunk(
        &ended(&json!([{ "text": "b" }])),
        &json!({ "promptTokenCount": 2, "candidatesTokenCount": 3 }),
    );
    let said = said(&[&first, &last]);
    let kinds: Vec<_> = said.iter().map(|event| event.split([' ', '(']).next().unwrap_or_default()).collect();
    assert_eq!(kinds, ["Start", "Open", "Delta", "Usage", "Delta", "Usage", "Close", "Finish", "End"]);
    let openai = stream(Dialect::Gemini, Dialect::OpenAi, &[&first, &last]);
    assert!(
        openai.contains(r#""usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}"#),
        "{openai}"
    );
    assert!(openai.contains(r#""finish_reason":"stop""#) && openai.ends_with("data: [DONE]\n\n"));
}

#[test]
fn an_end_without_a_reason_is_a_cut() {
    let first = chunk(&text("a"), &json!({}));
    for data in [&[&*first][..], &[]] {
        assert!(said(data).last().is_some_and(|event| event.contains("upstream_truncated")));
    }
    let openai = stream(Dialect::Gemini, Dialect::OpenAi, &[&first]);
    assert!(!openai.contains("[DONE]") && !openai.contains(r#""finish_reason":"stop""#), "{openai}");
    // One of two answers has none.
    let two = json!([ended(&json!([]))[0], { "content": { "parts": [{ "text": "b" }] }, "index": 1 }]);
    assert!(
        said(&[&chunk(&two, &json!({}))]).last().is_some_and(|event| event.contains("upstream_truncated"))
    );
}

#[test]
fn calls_come_whole_and_make_the_reason() {
    let calls = json!([
        { "functionCall": { "name": "f", "args": { "x": 1 } } },
        { "functionCall": { "name": "f" } },
        { "functionCall": { "id": "given", "name": "g", "args": {} } },
    ]);
    let first = chunk(&json!([{ "content": { "parts": calls }, "index": 0 }]), &json!({}));
    let openai = stream(
        Dialect::Gemini,
        Dialect::OpenAi,
        &[&first, &chunk(&ended(&json!([{ "text": "" }])), &json!({}))],
    );
    let ids: Vec<_> = openai.match_indices(r#","id":""#).map(|(at, _)| &openai[at + 7..]).collect();
    let ids: Vec<_> = ids.iter().filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids.len(), 3, "{openai}");
    assert!(ids[0].ends_with("_1") && ids[1].ends_with("_2") && ids[2] == "given", "{ids:?}");
    assert!(openai.contains(r#""finish_reason":"tool_calls""#));
    assert!(openai.contains(r#""arguments":"{\"x\":1}""#) && openai.contains(r#""arguments":"{}""#));
}

#[test]
fn ids_are_the_same_each_time_and_others_in_the_next_answer() {
    let of = |id: Option<&str>, tokens: u64| {
        let candidates = ended(&json!([{ "functionCall": { "name": "f", "args": {} } }]));
        let answer = json!({ "candidates": candidates, "responseId": id, "usageMetadata": { "promptTokenCount": tokens } });
        let said = said(&[&answer.to_string()]);
        said.into_iter().find(|event| event.contains("ToolCall")).expect("calls")
    };
    assert_eq!(of(Some("a"), 1), of(Some("a"), 2));
    assert_ne!(of(Some("a"), 1), of(Some("b"), 1));
    // Without an id, a longer conversation is another answer.
    assert_eq!(of(None, 1), of(None, 1));
    assert_ne!(of(None, 1), of(None, 2));
}

#[test]
fn an_error_ends_the_stream_in_any_shape() {
    let error = r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#;
    for data in [error.to_owned(), format!("[{error}]"), format!("[{error}\n]\n")] {
        let first = chunk(&text("a"), &json!({}));
        let said = said(&[&first, &data, &first]);
        let last = said.last().expect("says something");
        assert!(last.starts_with("Error(") && last.contains("Overloaded") && last.contains("busy"), "{last}");
        assert_eq!(said.len(), 4);
    }
}

#[test]
fn a_blocked_prompt_is_filtered() {
    let data = r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":4},"modelVersion":"m"}"#;
    let openai = stream(Dialect::Gemini, Dialect::OpenAi, &[data]);
    assert!(
        openai.contains(r#""finish_reason":"content_filter""#) && openai.ends_with("data: [DONE]\n\n"),
        "{openai}"
    );
    let anthropic = stream(Dialect::Gemini, Dialect::Anthropic, &[data]);
    assert!(anthropic.contains(r#""stop_reason":"refusal""#), "{anthropic}");
}

#[test]
fn thoughts_are_apart_and_unknown_parts_and_members_are_no_error() {
    let parts = json!([
        { "text": "why", "thought": true }, { "text": "a" }, { "executableCode": { "code": "1" } }, { "text": "b" },
        { "inlineData": { "mimeType": "image/png", "data": "AA" } },
    ]);
    let mut candidates = ended(&parts);
    candidates[0]["novel"] = json!(1);
    let data = chunk(&candidates, &json!({ "promptTokenCount": 1, "novel": 2 }));
    let openai = stream(Dialect::Gemini, Dialect::OpenAi, &[&data]);
    assert!(openai.contains(r#""reasoning_content":"why""#) && openai.contains(r#""novel":1"#), "{openai}");
    let image = r#""images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]"#;
    assert!(openai.contains(image), "{openai}");
    let gemini = stream(Dialect::Gemini, Dialect::Gemini, &[&data]);
    assert!(gemini.contains("executableCode") && gemini.contains(r#""data":"AA""#), "{gemini}");
}
