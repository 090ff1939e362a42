//! Answers, as callers get them.

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::{BlockKind, decode_response};

use crate::common::answer;

fn said(content: &Value, reason: &str) -> Value {
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": reason,
        "usage": { "inputTokens": 10, "outputTokens": 5, "totalTokens": 15 },
        "metrics": { "latencyMs": 1 },
    })
}

fn openai(content: &Value, reason: &str) -> Value {
    answer(Dialect::Converse, Dialect::OpenAi, &said(content, reason))
}

#[test]
fn text_thoughts_and_calls_are_told_apart() {
    let content = json!([
        { "reasoningContent": { "reasoningText": { "text": "t", "signature": "s" } } },
        { "reasoningContent": { "redactedContent": "d" } },
        { "text": "a" },
        { "toolUse": { "toolUseId": "c", "name": "f", "input": { "b": 1.0 } } },
    ]);
    let message = &openai(&content, "tool_use")["choices"][0];
    assert_eq!(message["finish_reason"], "tool_calls");
    assert_eq!(message["message"]["content"], "a");
    assert_eq!(message["message"]["reasoning_content"], "t");
    assert_eq!(message["message"]["tool_calls"][0]["function"]["arguments"], r#"{"b":1.0}"#);
    let own = answer(Dialect::Converse, Dialect::Anthropic, &said(&content, "tool_use"));
    assert_eq!(
        own["content"],
        json!([
            { "type": "thinking", "thinking": "t", "signature": "s" },
            { "type": "redacted_thinking", "data": "d" },
            { "type": "text", "text": "a" },
            { "type": "tool_use", "id": "c", "name": "f", "input": { "b": 1.0 } },
        ])
    );
    assert_eq!(own["stop_reason"], "tool_use");
}

#[test]
fn every_end_has_its_word() {
    for (native, word) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_model_output", "stop"),
    ] {
        assert_eq!(
            openai(&json!([{ "text": "a" }]), native)["choices"][0]["finish_reason"],
            word,
            "{native}"
        );
    }
}

#[test]
fn cached_tokens_are_counted_beside_the_input_and_reasoning_is_what_the_model_says() {
    let mut said = said(&json!([{ "text": "a" }]), "end_turn");
    said["usage"] = json!({
        "inputTokens": 10, "outputTokens": 5, "totalTokens": 1115,
        "cacheReadInputTokens": 1000, "cacheReadInputTokenCount": 7, "cacheWriteInputTokens": 100,
        "cacheDetails": [{ "ttl": "5m", "inputTokens": 60 }, { "ttl": "1h", "inputTokens": 40 }],
    });
    said["serviceTier"] = json!({ "type": "flex" });
    said["additionalModelResponseFields"] =
        json!({ "usage": { "output_tokens_details": { "thinking_tokens": 3 } }, "stop_sequence": "x" });
    let json = said.to_string();
    let response = decode_response(Dialect::Converse, &json).expect("reads");
    let counts = response.usage.expect("has usage").counts;
    assert_eq!(
        (counts.input_total(), counts.input_uncached(), counts.output_total()),
        (Some(1110), Some(10), Some(5))
    );
    assert_eq!(
        (counts.cached_read, counts.cached_write, counts.cached_write_1h),
        (Some(1000), Some(100), Some(40))
    );
    assert_eq!(
        (counts.reasoning, counts.tier.map(|tier| tier.as_str().to_owned())),
        (Some(3), Some("flex".into()))
    );
    let finish = response.choices[0].finish.clone().expect("ended");
    assert_eq!(finish.stop_sequence, Some("x".into()));
    let old = json!({ "output": { "message": { "content": [] } }, "usage": { "inputTokens": 1, "cacheReadInputTokenCount": 2 } });
    let json = old.to_string();
    let response = decode_response(Dialect::Converse, &json).expect("reads");
    assert_eq!(response.usage.expect("has usage").counts.cached_read, Some(2));
}

#[test]
fn the_providers_own_tools_are_none_of_the_callers() {
    let content = json!([
        { "toolUse": { "toolUseId": "c", "name": "nova_grounding", "input": {}, "type": "server_tool_use" } },
        { "toolResult": { "toolUseId": "c", "content": [], "type": "nova_grounding_result" } },
        { "toolUse": { "toolUseId": "d", "name": "f", "input": {}, "type": "tool_use" } },
        { "somethingNew": { "a": 1 } },
    ]);
    let calls = &openai(&content, "tool_use")["choices"][0]["message"]["tool_calls"];
    assert_eq!((calls.as_array().map(Vec::len), &calls[0]["id"]), (Some(1), &json!("d")));
    let json = said(&content, "tool_use").to_string();
    let response = decode_response(Dialect::Converse, &json).expect("reads");
    let kinds: Vec<String> = response.choices[0]
        .content
        .iter()
        .filter_map(|block| match &block.kind {
            BlockKind::Native { kind, .. } => Some(kind.decode().into_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["server_tool_use", "toolResult", "somethingNew"]);
}

#[test]
fn cited_text_is_text() {
    let citations = json!([{ "location": {} }]);
    let cited = json!({ "content": [{ "text": "a" }, { "text": "b" }], "citations": citations });
    let content = json!([{ "citationsContent": cited }, { "citationsContent": { "citations": citations } }, { "text": "c" }]);
    assert_eq!(openai(&content, "end_turn")["choices"][0]["message"]["content"], "abc");
}

#[test]
fn what_is_no_answer_is_blamed_by_its_place() {
    let path = |json: &Value| {
        decode_response(Dialect::Converse, &json.to_string()).map(|_| ()).map_err(|error| error.path)
    };
    assert_eq!(path(&json!({ "stopReason": "x" })), Err("output.message.content".to_owned()));
    let content = json!([{ "text": "a" }, { "toolUse": { "name": "f" } }]);
    assert_eq!(path(&said(&content, "x")), Err("output.message.content[1].toolUse.toolUseId".to_owned()));
    let content = json!([{ "text": 5 }]);
    assert_eq!(path(&said(&content, "x")), Err("output.message.content[0].text".to_owned()));
}
