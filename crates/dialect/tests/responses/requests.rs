//! Requests to a Responses provider: of callers of its own, and of others.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, decode_request};

use crate::common::{dropping, request};

const OWN: Dialect = Dialect::Responses;

fn ask(from: Dialect, asked: &Value) -> Value {
    request(from, OWN, "gpt-next", &ParamPolicy::default(), asked).expect("is not refused")
}

#[test]
fn a_request_keeps_all_that_it_says() {
    let asked = json!({
        "model": "gpt-next", "instructions": "Be brief.",
        "input": [
            { "type": "message", "role": "developer", "content": "x" },
            { "type": "message", "role": "user", "content": [
                { "type": "input_text", "text": "hi" },
                { "type": "input_image", "image_url": "https://e.com/a.png", "detail": "low" },
                { "type": "input_image", "file_id": "file_1" },
                { "type": "input_file", "file_url": "https://e.com/a.pdf" },
                { "type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf" },
                { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } },
            ] },
            { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc", "content": [{ "type": "reasoning_text", "text": "t" }] },
            { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary",
              "content": [{ "type": "output_text", "text": "a", "annotations": [] }, { "type": "refusal", "refusal": "no" }] },
            { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed" },
            { "type": "function_call_output", "call_id": "call_1", "output": [{ "type": "input_text", "text": "r" }] },
            { "type": "item_reference", "id": "msg_0" },
            { "type": "custom_tool_call", "call_id": "call_2", "name": "c", "input": "x" },
        ],
        "tools": [
            { "type": "function", "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true, "defer_loading": true },
            { "type": "web_search", "filters": { "allowed_domains": ["e.com"] } },
            { "type": "mcp", "server_label": "s" },
        ],
        "tool_choice": { "type": "function", "name": "f" }, "parallel_tool_calls": false,
        "text": { "format": { "type": "json_schema", "name": "n", "schema": { "type": "object" }, "strict": true }, "verbosity": "low" },
        "reasoning": { "effort": "high", "summary": "auto" },
        "max_output_tokens": 5, "temperature": 0.50, "top_p": 1, "user": "u", "stream": true, "store": false,
        "previous_response_id": "resp_0", "background": true, "include": ["reasoning.encrypted_content"], "new": [1],
    });
    assert_eq!(request(OWN, OWN, "gpt-next", &ParamPolicy::default(), &asked), Ok(asked));
}

#[test]
fn what_is_wrong_is_named() {
    for (asked, path) in [
        (
            json!({ "input": [{ "role": "user", "content": "x" }, { "role": "tool", "content": "x" }] }),
            "input[1].role",
        ),
        (json!({ "input": [{ "role": "user" }] }), "input[0].content"),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_text" }] }] }),
            "input[0].content[0].text",
        ),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "image_url": "a" }] }] }),
            "input[0].content[0].image_url",
        ),
        (json!({ "input": [{ "type": "function_call", "name": "f" }] }), "input[0].call_id"),
        (
            json!({ "input": [{ "type": "function_call_output", "call_id": "c", "output": [{}] }] }),
            "input[0].output[0].type",
        ),
        (json!({ "input": [{}] }), "input[0].type"),
        (json!({ "input": ["x"] }), "input[0]"),
        (json!({ "input": 5 }), "input"),
        (json!({ "instructions": [] }), "instructions"),
        (json!({ "tools": [{ "type": "function" }] }), "tools[0].name"),
        (json!({ "tool_choice": "maybe" }), "tool_choice"),
        (json!({ "text": { "format": 1 } }), "text.format"),
        (json!({ "reasoning": { "effort": 1 } }), "reasoning.effort"),
    ] {
        let error = decode_request(OWN, &asked.to_string()).expect_err("is wrong");
        assert_eq!(error.path, path, "{asked}: {error}");
    }
}

#[test]
fn a_chats_request_becomes_items() {
    let asked = json!({
        "model": "x",
        "messages": [
            { "role": "system", "content": "s" },
            { "role": "user", "content": [
                { "type": "text", "text": "hi" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA", "detail": "high" } },
                { "type": "file", "file": { "file_id": "file_1" } },
            ] },
            { "role": "assistant", "content": "a", "thinking_blocks": [{ "type": "thinking", "thinking": "t", "signature": "zigguratOfOpenaienc" }],
              "tool_calls": [{ "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": "r" },
        ],
        "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
        "web_search_options": { "search_context_size": "low", "user_location": { "type": "approximate", "approximate": { "city": "Ur" } } },
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": {} } },
        "reasoning_effort": "low", "verbosity": "low", "max_tokens": 9, "stream": true, "stream_options": { "include_usage": true },
        "metadata": { "a": "b" }, "top_logprobs": 2, "logprobs": true, "frequency_penalty": 0, "n": 1,
    });
    assert_eq!(
        ask(Dialect::OpenAi, &asked),
        json!({
            "model": "gpt-next",
            "input": [
                { "type": "message", "role": "system", "content": "s" },
                { "type": "message", "role": "user", "content": [
                    { "type": "input_text", "text": "hi" },
                    { "type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high" },
                    { "type": "input_file", "file_id": "file_1" },
                ] },
                { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "t" }], "encrypted_content": "enc" },
                { "type": "message", "role": "assistant", "content": "a" },
                { "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}" },
                { "type": "function_call_output", "call_id": "call_1", "output": "r" },
            ],
            "tools": [
                { "type": "function", "name": "f", "parameters": { "type": "object" }, "strict": false },
                { "type": "web_search", "search_context_size": "low", "user_location": { "type": "approximate", "city": "Ur" } },
            ],
            "tool_choice": { "type": "function", "name": "f" },
            "text": { "format": { "type": "json_schema", "name": "n", "schema": {} }, "verbosity": "low" },
            "reasoning": { "effort": "low" }, "max_output_tokens": 9, "stream": true, "store": false,
            "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
            "metadata": { "a": "b" }, "top_logprobs": 2,
        })
    );
}

#[test]
fn a_messages_request_becomes_items() {
    let asked = json!({
        "model": "x", "max_tokens": 9, "system": "s", "thinking": { "type": "enabled", "budget_tokens": 2048 },
        "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "", "signature": "zigguratOfOpenaienc" },
                { "type": "redacted_thinking", "data": "x" },
                { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "x": 1 } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_1", "content": [
                    { "type": "text", "text": "r" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
                ] },
                { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AAAA" } },
            ] },
        ],
        "tools": [{ "name": "f", "input_schema": { "type": "object" } }, { "type": "web_search_20250305", "name": "web_search", "allowed_domains": ["e.com"] }],
        "tool_choice": { "type": "any" },
    });
    assert_eq!(
        ask(Dialect::Anthropic, &asked),
        json!({
            "model": "gpt-next", "instructions": "s",
            "input": [
                { "type": "message", "role": "user", "content": "hi" },
                { "type": "reasoning", "summary": [], "encrypted_content": "enc" },
                { "type": "function_call", "call_id": "toolu_1", "name": "f", "arguments": "{\"x\":1}" },
                { "type": "function_call_output", "call_id": "toolu_1", "output": [
                    { "type": "input_text", "text": "r" },
                    { "type": "input_image", "image_url": "data:image/png;base64,AAAA" },
                ] },
                { "type": "message", "role": "user", "content": [
                    { "type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,AAAA" },
                ] },
            ],
            "tools": [
                { "type": "function", "name": "f", "parameters": { "type": "object" }, "strict": false },
                { "type": "web_search", "filters": { "allowed_domains": ["e.com"] } },
            ],
            "tool_choice": "required", "reasoning": { "effort": "medium" }, "max_output_tokens": 9,
            "store": false, "include": ["reasoning.encrypted_content"],
        })
    );
}

#[test]
fn what_responses_has_nothing_for_is_refused_by_name_or_dropped() {
    let asked = json!({
        "model": "x", "messages": [{ "role": "user", "name": "n", "content": "hi" }],
        "seed": 1, "stop": "x", "n": 2, "top_k": 3, "logit_bias": { "1": 1 }, "store": true,
    });
    let refused = request(Dialect::OpenAi, OWN, "gpt-next", &ParamPolicy::default(), &asked);
    let Err(Refused::Unsupported(mut names)) = refused else { panic!("{refused:?}") };
    names.sort();
    assert_eq!(names, ["logit_bias", "messages[0].name", "n", "seed", "stop", "top_k"]);
    let kept = request(Dialect::OpenAi, OWN, "gpt-next", &dropping(), &asked).expect("drops them");
    assert_eq!(
        kept,
        json!({ "model": "gpt-next", "input": [{ "type": "message", "role": "user", "content": "hi" }], "store": true })
    );
    let asked = json!({ "model": "x", "max_tokens": 1, "messages": [], "mcp_servers": [1], "tools": [{ "type": "bash_20250124", "name": "bash" }] });
    let refused = request(Dialect::Anthropic, OWN, "gpt-next", &dropping(), &asked);
    assert_eq!(refused, Err(Refused::Unsupported(vec!["tools[0] (bash_20250124)".to_owned()])));
}
