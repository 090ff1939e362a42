//! Names of tools that a provider does not take.

mod support;

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_testkit::Step;

use crate::support::{ANTHROPIC, Exchange, OPENAI, events, exchange, post, target};

const NAME: &str = "ns.tool:x";
const GIVEN: &str = "ns_tool_x_65f6550a";

/// A Google caller's request with such a tool, which was called before.
fn asked(stream: bool) -> http::Request<ziggurat_core::Body> {
    let body = json!({
        "contents": [
            { "role": "user", "parts": [{ "text": "a" }] },
            { "role": "model", "parts": [{ "functionCall": { "id": "c", "name": NAME, "args": {} } }] },
            { "role": "user", "parts": [{ "functionResponse": { "id": "c", "name": NAME, "response": { "output": "r" } } }] },
        ],
        "tools": [{ "functionDeclarations": [{ "name": NAME, "parameters": { "type": "OBJECT", "properties": { "a": { "type": "STRING" } } } }] }],
        "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": [NAME] } },
    });
    let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let path = format!("/v1beta/models/alias:{method}");
    http::Request::post(path).body(ziggurat_core::Body::from(body.to_string())).expect("is a request")
}

fn named(exchange: &Exchange) -> Value {
    exchange.json()["candidates"][0]["content"]["parts"][0]["functionCall"]["name"].clone()
}

#[tokio::test]
async fn a_name_is_changed_everywhere_and_given_back_to_the_caller() {
    let answer = json!({ "id": "r", "model": "m", "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": null,
        "tool_calls": [{ "id": "d", "type": "function", "function": { "name": GIVEN, "arguments": "{}" } }],
    } }] });
    let told = exchange(target(OPENAI), asked(false), support::json(answer.to_string())).await;
    let sent = told.sent().json();
    assert_eq!(sent["tools"][0]["function"]["name"], GIVEN);
    assert_eq!(sent["tool_choice"]["function"]["name"], GIVEN);
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["name"], GIVEN);
    assert!(!told.sent().body.contains(NAME), "{}", told.sent().body);
    assert_eq!(named(&told), NAME, "{}", told.body);

    let answer = json!({ "id": "r", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [{ "type": "tool_use", "id": "d", "name": GIVEN, "input": {} }], "usage": { "input_tokens": 1, "output_tokens": 1 } });
    let told = exchange(target(ANTHROPIC), asked(false), support::json(answer.to_string())).await;
    let sent = told.sent().json();
    assert_eq!((&sent["tools"][0]["name"], &sent["tool_choice"]["name"]), (&json!(GIVEN), &json!(GIVEN)));
    assert_eq!(sent["messages"][1]["content"][0]["name"], GIVEN);
    assert_eq!(named(&told), NAME, "{}", told.body);

    let chunk = json!({ "id": "r", "model": "m", "choices": [{ "index": 0, "delta": {
        "tool_calls": [{ "index": 0, "id": "d", "type": "function", "function": { "name": GIVEN, "arguments": "{}" } }],
    } }] });
    let end = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;
    let stream = format!("data: {chunk}\n\n{end}\n\ndata: [DONE]\n\n");
    let told = exchange(target(OPENAI), asked(true), events([Step::data(stream)])).await;
    assert!(
        told.body.contains(&format!("\"name\":\"{NAME}\"")) && !told.body.contains(GIVEN),
        "{}",
        told.body
    );
}

/// Such a body is read and written anew, and its answer passes: what it calls is what the caller offered.
#[tokio::test]
async fn a_body_of_responses_with_a_mark_keeps_its_names() {
    let long = "long.name".repeat(9);
    let body = json!({ "model": "alias", "tools": [{ "type": "function", "name": long, "parameters": {} }], "input": [
        { "type": "message", "role": "user", "content": "a" },
        { "type": "reasoning", "summary": [], "encrypted_content": "zigguratOfClaudeUw==" },
        { "type": "function_call", "call_id": "c", "name": long, "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c", "output": "r" },
    ] });
    let target =
        ziggurat_core::Target::new("openai", Dialect::Responses, "gpt", "https://o.example/v1/responses");
    let answer = json!({ "id": "resp_1", "object": "response", "status": "completed", "model": "gpt", "output": [
        { "type": "function_call", "id": "fc", "call_id": "d", "name": long, "arguments": "{}", "status": "completed" },
    ] }).to_string();
    let request = post(Dialect::Responses, body.to_string());
    let told = exchange(target.expect("is a URL"), request, support::json(answer.clone())).await;
    let sent = told.sent().json();
    assert!(!told.sent().body.contains("zigguratOf"), "{}", told.sent().body);
    let call =
        sent["input"].as_array().expect("is a list").iter().find(|item| item["type"] == "function_call");
    assert_eq!((&sent["tools"][0]["name"], &call.expect("is there")["name"]), (&json!(long), &json!(long)));
    assert_eq!(told.body, answer);
}
