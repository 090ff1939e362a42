//! Anthropic's answers, as an OpenAI caller gets them.

use serde_json::{Value, json};
use ziggurat_core::Dialect;

use crate::common::answer;

/// An answer with this content, in OpenAI's words: its choice.
fn choice(content: &Value, stop_reason: &str) -> Value {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 2 },
    });
    let body = answer(Dialect::Anthropic, Dialect::OpenAi, &body);
    assert_eq!(body["choices"].as_array().map(Vec::len), Some(1));
    body["choices"][0].clone()
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[test]
fn a_whole_answer_has_the_frame_of_a_completion() {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [text("a\u{0}\u{1F600}")],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 2 },
    });
    assert_eq!(
        answer(Dialect::Anthropic, Dialect::OpenAi, &body),
        json!({
            "id": "msg_1", "object": "chat.completion", "created": 7, "model": "claude-x",
            "choices": [{
                "index": 0, "message": { "role": "assistant", "content": "a\u{0}\u{1F600}" }, "finish_reason": "stop",
            }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 },
        })
    );
}

#[test]
fn pieces_of_text_are_one_text_and_no_content_is_null() {
    assert_eq!(choice(&json!([text("a"), text("b")]), "end_turn")["message"]["content"], "ab");
    assert_eq!(choice(&json!([]), "end_turn")["message"], json!({ "role": "assistant", "content": null }));
}

#[test]
fn calls_are_numbered_by_their_order_and_server_tools_are_none() {
    let content = json!([
        text("a"),
        { "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "q" } },
        { "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [] },
        { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "x": [1, 2.50] } },
        { "type": "tool_use", "id": "toolu_2", "name": "g", "input": {} },
    ]);
    let choice = choice(&content, "tool_use");
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(
        choice["message"],
        json!({ "role": "assistant", "content": "a", "tool_calls": [
            { "id": "toolu_1", "type": "function", "function": { "name": "f", "arguments": "{\"x\":[1,2.5]}" } },
            { "id": "toolu_2", "type": "function", "function": { "name": "g", "arguments": "{}" } },
        ] })
    );
}

#[test]
fn every_reason_to_stop_has_its_word() {
    for (reason, word, native) in [
        ("end_turn", "stop", None),
        ("stop_sequence", "stop", None),
        ("max_tokens", "length", None),
        ("model_context_window_exceeded", "length", None),
        ("tool_use", "tool_calls", None),
        ("refusal", "content_filter", None),
        ("pause_turn", "stop", Some("pause_turn")),
        ("compaction", "stop", Some("compaction")),
        ("unheard_of", "stop", Some("unheard_of")),
    ] {
        let choice = choice(&json!([]), reason);
        assert_eq!(choice["finish_reason"], word, "{reason}");
        assert_eq!(choice["native_finish_reason"].as_str(), native, "{reason}");
    }
}

#[test]
fn thoughts_are_there_to_read_and_to_send_back() {
    let thinking = json!({ "type": "thinking", "thinking": "hm", "signature": "S" });
    let redacted = json!({ "type": "redacted_thinking", "data": "R" });
    assert_eq!(
        choice(&json!([thinking, redacted, text("a")]), "end_turn")["message"],
        json!({
            "role": "assistant", "content": "a", "reasoning_content": "hm", "thinking_blocks": [thinking, redacted],
        })
    );
}

#[test]
fn citations_stand_beside_the_text() {
    let citation = json!({ "type": "char_location", "cited_text": "b", "document_index": 0 });
    let cited = json!({ "type": "text", "text": "a", "citations": [citation] });
    assert_eq!(
        choice(&json!([cited]), "end_turn")["message"],
        json!({
            "role": "assistant", "content": "a", "provider_specific_fields": { "citations": [[citation]] },
        })
    );
}

#[test]
fn usage_counts_cached_tokens_as_openai_does() {
    let body = json!({
        "id": "m", "content": [], "stop_reason": "end_turn", "container": { "id": "c" }, "object": "mine", "created": 1,
        "usage": {
            "input_tokens": 10, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 5,
            "output_tokens_details": { "thinking_tokens": 4 }, "server_tool_use": { "web_search_requests": 1 },
            "iterations": [{ "input_tokens": 99 }],
        },
    });
    let body = answer(Dialect::Anthropic, Dialect::OpenAi, &body);
    assert_eq!(
        body["usage"],
        json!({
            "prompt_tokens": 15, "completion_tokens": 5, "total_tokens": 20,
            "prompt_tokens_details": { "cached_tokens": 3, "cache_write_tokens": 2, "cache_creation_tokens": 2 },
            "completion_tokens_details": { "reasoning_tokens": 4 },
            "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3,
            "server_tool_use": { "web_search_requests": 1 },
        })
    );
    // What only Anthropic knows stands at the top, and never in a place that is ours.
    assert_eq!((&body["container"], &body["object"]), (&json!({ "id": "c" }), &json!("chat.completion")));
}
