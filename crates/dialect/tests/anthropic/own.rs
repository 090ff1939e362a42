//! Requests that stay in their own dialect: nothing is left out, refused or put elsewhere.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};

use crate::common::request;

fn unchanged(dialect: Dialect, asked: &Value) {
    let model = asked["model"].as_str().expect("names a model");
    let body = request(dialect, dialect, model, &ParamPolicy::default(), asked).expect("is not refused");
    assert_eq!(body, *asked);
}

#[test]
fn an_anthropic_request_stays_as_it_is() {
    let hint = json!({ "type": "ephemeral" });
    let media = |data: &str| json!({ "type": "base64", "media_type": "a/b", "data": data, "new": 1 });
    unchanged(
        Dialect::Anthropic,
        &json!({
            "model": "claude-x", "max_tokens": 9, "temperature": 1.5, "top_k": 3, "stop_sequences": ["a"], "stream": true,
            "system": [{ "type": "text", "text": "s", "cache_control": hint }],
            "messages": [
                { "role": "user", "content": "a" },
                { "role": "user", "content": [
                    { "type": "text", "text": "", "new": { "x": 1 }, "name": "stray" },
                    { "type": "image", "source": media("AA"), "new": 1 },
                    { "type": "document", "source": media("BB"), "title": "t", "context": "c", "citations": { "enabled": true } },
                    { "type": "document", "source": { "type": "content", "content": "x" } },
                ], "new": 1 },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "", "signature": "" },
                    { "type": "redacted_thinking", "data": "R" },
                    { "type": "text", "text": "b", "citations": [{ "x": 1 }] },
                    { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "x": 1 }, "caller": { "type": "direct" } },
                    { "type": "server_tool_use", "id": "s", "name": "n", "input": {} },
                ] },
                { "role": "system", "content": "later" },
                { "role": "user", "content": [
                    { "type": "text", "text": "first" },
                    { "type": "tool_result", "tool_use_id": "toolu_9", "content": [{ "type": "text", "text": "r" }], "is_error": false, "cache_control": hint },
                ] },
                { "role": "assistant", "content": "prefill " },
            ],
            "tools": [
                { "type": "custom", "name": "f", "input_schema": {}, "strict": false, "new": 1 },
                { "type": "bash_20250124", "name": "bash" },
                { "type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a"] },
            ],
            "tool_choice": { "type": "any", "disable_parallel_tool_use": false },
            "thinking": { "type": "adaptive" },
            "output_config": { "effort": "new", "format": { "type": "json_schema", "schema": {} }, "new": 1 },
            "metadata": { "user_id": "u", "team": "t" },
            "container": "c", "service_tier": "auto", "n": 2,
        }),
    );
}

#[test]
fn a_system_message_ahead_of_all_others_is_no_system_prompt() {
    let messages = json!([{ "role": "system", "content": "s" }, { "role": "user", "content": "a" }]);
    unchanged(Dialect::Anthropic, &json!({ "model": "claude-x", "messages": messages }));
    unchanged(Dialect::Anthropic, &json!({ "model": "claude-x", "system": "t", "messages": messages }));
}

#[test]
fn an_openai_request_stays_as_it_is() {
    let hint = json!({ "type": "ephemeral" });
    unchanged(
        Dialect::OpenAi,
        &json!({
            "model": "m", "max_tokens": 9, "temperature": 1.5, "top_k": 3, "stop": ["a"], "n": 2, "seed": 1, "stream": true,
            "stream_options": { "include_usage": false, "include_obfuscation": false },
            "messages": [
                { "role": "developer", "content": "a", "name": "n" },
                { "role": "user", "content": "b", "cache_control": hint, "new": 1 },
                { "role": "user", "content": [
                    { "type": "text", "text": "", "cache_control": hint, "new": 1 },
                    { "type": "image_url", "image_url": { "url": "https://example.com/a", "detail": "low", "new": 1 } },
                    { "type": "image_url", "image_url": { "url": "data:a/b;base64,AA" } },
                    { "type": "file", "file": { "filename": "f", "file_data": "AA", "new": 1 }, "more": 1 },
                    { "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } },
                ] },
                { "role": "assistant", "content": "c", "refusal": "no", "reasoning_content": "hm", "prefix": true, "tool_calls": [
                    { "id": "x", "type": "function", "function": { "name": "f", "arguments": "{", "new": 1 }, "index": 0 },
                    { "id": "y", "type": "custom", "custom": { "name": "g", "input": "z" } },
                ] },
                { "role": "tool", "tool_call_id": "other", "name": "f", "content": [{ "type": "text", "text": "d" }] },
                { "role": "assistant", "content": null, "thinking_blocks": [{ "type": "thinking", "thinking": "hm", "signature": "S" }], "audio": { "id": "a" } },
            ],
            "tools": [
                { "type": "function", "function": { "name": "f", "parameters": {}, "strict": false, "new": 1 }, "cache_control": hint },
                { "type": "custom", "custom": { "name": "g" } },
            ],
            "web_search_options": { "search_context_size": "low" },
            "tool_choice": { "type": "allowed_tools", "allowed_tools": {} },
            "parallel_tool_calls": true,
            "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": {}, "new": 1 } },
            "reasoning_effort": "unheard of", "thinking": { "type": "enabled" }, "user": "u", "metadata": { "a": "b" },
        }),
    );
}
