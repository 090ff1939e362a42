//! A Google caller in front of providers of other dialects.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, decode_request};

use crate::common::{answer, data, dropping, request, stream};

fn ask(to: Dialect, asked: &Value) -> Value {
    let model = if to == Dialect::Anthropic { "claude-sonnet-4-5" } else { "gpt-4o" };
    request(Dialect::Gemini, to, model, &ParamPolicy::default(), asked).expect("is not refused")
}

fn conversation() -> Value {
    json!({
        "system_instruction": { "parts": [{ "text": "S" }] },
        "contents": [
            { "role": "user", "parts": [{ "text": "a" }, { "inline_data": { "mime_type": "image/png", "data": "AA" } }] },
            { "role": "model", "parts": [
                { "text": "why", "thought": true },
                { "functionCall": { "name": "f", "args": { "x": 1 } }, "thoughtSignature": "zigguratOfClaudeUw==" },
                { "functionCall": { "name": "f", "args": { "x": 2 } } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "name": "f", "response": { "r": 1 } } },
                { "functionResponse": { "name": "f", "response": { "r": 2 } } },
            ] },
        ],
        "tools": [{ "function_declarations": [{ "name": "f", "parameters": { "type": "OBJECT", "properties": { "x": { "type": "NUMBER" } } } }] }],
        "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f"] } },
        "generationConfig": {
            "maxOutputTokens": 5, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"], "thinkingConfig": { "thinkingBudget": 0 },
            "responseMimeType": "application/json", "responseSchema": { "type": "STRING" },
        },
    })
}

#[test]
fn schemas_are_told_in_json_schemas_words_to_everybody() {
    let schema = json!({ "type": "object", "properties": { "x": { "type": "number" } } });
    let asked = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "a" }] }],
        "tools": conversation()["tools"], "generationConfig": { "thinkingConfig": { "thinkingBudget": 0 } },
    });
    for (to, at) in [
        (Dialect::OpenAi, "/tools/0/function/parameters"),
        (Dialect::Anthropic, "/tools/0/input_schema"),
        (Dialect::Responses, "/tools/0/parameters"),
        (Dialect::Converse, "/toolConfig/tools/0/toolSpec/inputSchema/json"),
        (Dialect::Ollama, "/tools/0/function/parameters"),
        (Dialect::Cohere, "/tools/0/function/parameters"),
    ] {
        assert_eq!(ask(to, &asked).pointer(at), Some(&schema), "{to:?}");
        // What a function gives back, and that nothing is to be kept safe from, ask for nothing.
        let mut saying = asked.clone();
        saying["tools"][0]["function_declarations"][0]["response"] = json!({ "type": "STRING" });
        saying["safetySettings"] = json!([]);
        assert_eq!(ask(to, &saying), ask(to, &asked), "{to:?}");
        let own = json!({ "contents": asked["contents"], "safetySettings": [{}] });
        let refused = request(Dialect::Gemini, to, "m", &ParamPolicy::default(), &own);
        assert_eq!(refused, Err(Refused::Unsupported(vec!["safetySettings".to_owned()])), "{to:?}");
    }
}

#[test]
fn a_conversation_reaches_openai() {
    let body = ask(Dialect::OpenAi, &conversation());
    let function = |x: u8| json!({ "name": "f", "arguments": json!({ "x": x }).to_string() });
    let call = |n: u8| json!({ "id": format!("call_g{n}"), "type": "function", "function": function(n) });
    let result = |n: u8| json!({ "role": "tool", "tool_call_id": format!("call_g{n}"), "content": json!({ "r": n }).to_string() });
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } });
    let messages = json!([
        { "role": "system", "content": "S" },
        { "role": "user", "content": [{ "type": "text", "text": "a" }, image] },
        { "role": "assistant", "content": null, "tool_calls": [call(1), call(2)] },
        result(1),
        result(2),
    ]);
    assert_eq!(body["messages"], messages);
    let schema = json!({ "type": "object", "properties": { "x": { "type": "number" } } });
    assert_eq!(body["tools"][0]["function"], json!({ "name": "f", "parameters": schema }));
    assert_eq!(body["tool_choice"], json!({ "type": "function", "function": { "name": "f" } }));
    assert_eq!(body["response_format"]["json_schema"]["schema"], json!({ "type": "string" }));
    assert_eq!((&body["max_tokens"], &body["stop"]), (&json!(5), &json!(["x"])));
    // To be told not to think is an unknown word to a model that does not.
    assert_eq!(body["reasoning_effort"], json!(null));
    let thinks = request(Dialect::Gemini, Dialect::OpenAi, "m", &ParamPolicy::default(), &conversation());
    assert_eq!(thinks.expect("is not refused")["reasoning_effort"], "none");
}

#[test]
fn a_conversation_reaches_anthropic_with_its_thought() {
    let body = ask(Dialect::Anthropic, &conversation());
    assert_eq!(body["system"], json!([{ "type": "text", "text": "S" }]));
    let blocks = json!([
        { "type": "thinking", "thinking": "why", "signature": "S" },
        { "type": "tool_use", "id": "call_g1", "name": "f", "input": { "x": 1 } },
        { "type": "tool_use", "id": "call_g2", "name": "f", "input": { "x": 2 } },
    ]);
    assert_eq!(body["messages"][1]["content"], blocks);
    assert_eq!(body["messages"][2]["content"][1]["tool_use_id"], "call_g2");
    assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
}

#[test]
fn media_in_base64_for_urls_reach_everybody_in_the_standard_alphabet() {
    let parts = json!([
        { "inlineData": { "mimeType": "image/png", "data": "_9j_-w==" } },
        { "functionResponse": { "name": "f", "response": {}, "parts": [{ "inlineData": { "mimeType": "image/png", "data": "-_8=" } }] } },
    ]);
    let called = json!({ "role": "model", "parts": [{ "functionCall": { "name": "f", "args": {} } }] });
    let asked = json!({ "contents": [called, { "role": "user", "parts": parts }] });
    for to in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Converse, Dialect::Gemini] {
        let sent = ask(to, &asked).to_string();
        assert!(sent.contains("/9j/+w==") && sent.contains("+/8="), "{to:?}: {sent}");
        assert!(!sent.contains("_9j_") && !sent.contains("-_8="), "{to:?}: {sent}");
    }
}

#[test]
fn what_only_google_knows_is_refused_by_name_or_dropped() {
    let asked = json!({
        "contents": { "parts": { "text": "a" } }, "safetySettings": [{}], "cachedContent": "c",
        "generationConfig": { "speechConfig": {}, "seed": 1 }, "toolConfig": { "retrievalConfig": {} },
    });
    for (to, model) in [(Dialect::OpenAi, "gpt-4o"), (Dialect::Anthropic, "claude-sonnet-4-5")] {
        let Err(Refused::Unsupported(mut names)) =
            request(Dialect::Gemini, to, model, &ParamPolicy::default(), &asked)
        else {
            panic!("is refused")
        };
        names.retain(|name| name != "seed");
        names.sort();
        assert_eq!(
            names,
            [
                "cachedContent",
                "generationConfig.speechConfig",
                "safetySettings",
                "toolConfig.retrievalConfig"
            ]
        );
        let body = request(Dialect::Gemini, to, model, &dropping(), &asked).expect("is dropped");
        assert_eq!(body["safetySettings"], json!(null));
    }
}

#[test]
fn a_malformed_request_names_the_place() {
    let path = |json: &str| decode_request(Dialect::Gemini, json).expect_err("is malformed").path;
    assert_eq!(path(r#"{"contents":[{"role":"system","parts":[]}]}"#), "contents[0].role");
    assert_eq!(path(r#"{"contents":[{"parts":[{},{"text":5}]}]}"#), "contents[0].parts[1].text");
    assert_eq!(path(r#"{"generationConfig":{"maxOutputTokens":-1}}"#), "generationConfig.maxOutputTokens");
    assert_eq!(path(r#"{"tools":[{"functionDeclarations":[{}]}]}"#), "tools[0].functionDeclarations[0].name");
}

#[test]
fn an_answer_of_openais_is_one_of_googles() {
    let given = json!({
        "id": "c", "model": "m", "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "a", "reasoning_content": "why",
            "tool_calls": [{ "id": "1", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } }],
        } }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17, "completion_tokens_details": { "reasoning_tokens": 3 },
            "prompt_tokens_details": { "cached_tokens": 4 } },
    });
    let parts = json!([
        { "text": "why", "thought": true },
        { "text": "a" },
        { "functionCall": { "id": "1", "name": "f", "args": { "x": 1 } } },
    ]);
    let expected = json!({
        "candidates": [{ "content": { "parts": parts, "role": "model" }, "finishReason": "STOP", "index": 0 }],
        "usageMetadata": { "promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 3, "cachedContentTokenCount": 4, "totalTokenCount": 17 },
        "modelVersion": "m", "responseId": "c",
    });
    assert_eq!(answer(Dialect::OpenAi, Dialect::Gemini, &given), expected);
}

#[test]
fn anthropics_signature_goes_on_what_follows_and_comes_back_on_the_thought() {
    let blocks = json!([
        { "type": "thinking", "thinking": "why", "signature": "S" },
        { "type": "tool_use", "id": "t", "name": "f", "input": {} },
    ]);
    let given = json!({ "id": "m", "type": "message", "role": "assistant", "model": "m", "content": blocks, "stop_reason": "tool_use",
        "usage": { "input_tokens": 1, "output_tokens": 2 } });
    let turn = answer(Dialect::Anthropic, Dialect::Gemini, &given)["candidates"][0]["content"].clone();
    let parts = json!([
        { "text": "why", "thought": true },
        { "functionCall": { "id": "t", "name": "f", "args": {} }, "thoughtSignature": "zigguratOfClaudeUw==" },
    ]);
    assert_eq!(turn["parts"], parts);
    let result = json!({ "role": "user", "parts": [{ "functionResponse": { "id": "t", "name": "f", "response": {} } }] });
    let body = ask(
        Dialect::Anthropic,
        &json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }] }, turn, result] }),
    );
    assert_eq!(body["messages"][1]["content"], blocks);
}

#[test]
fn a_signature_is_not_lost_with_what_google_has_no_part_for() {
    let call = json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} });
    let blocks = json!([
        { "type": "thinking", "thinking": "", "signature": "Uw==" },
        call,
        { "type": "thinking", "thinking": "", "signature": "VA==" },
        { "type": "text", "text": "a" },
    ]);
    let given = json!({ "id": "m", "type": "message", "role": "assistant", "model": "m", "content": blocks, "stop_reason": "end_turn",
        "usage": { "input_tokens": 1, "output_tokens": 2 } });
    let turn = answer(Dialect::Anthropic, Dialect::Gemini, &given)["candidates"][0]["content"].clone();
    let asked = json!({ "contents": [{ "role": "user", "parts": [{ "text": "q" }] }, turn, { "role": "user", "parts": [{ "text": "r" }] }] });
    let sent = ask(Dialect::Anthropic, &asked)["messages"][1]["content"].clone();
    let signed: Vec<_> =
        sent.as_array().expect("is a list").iter().filter_map(|it| it["signature"].as_str()).collect();
    assert_eq!(signed, ["Uw==", "VA=="], "{turn}: {sent}");
}

#[test]
fn what_was_streamed_in_pieces_is_one_turn_and_one_text_to_others() {
    let piece = |part: Value| json!({ "role": "model", "parts": [part] });
    let call = json!({ "functionCall": { "id": "1", "name": "f", "args": {} } });
    let asked = json!({ "contents": [
        { "role": "user", "parts": [{ "text": "q" }, { "text": "r" }] },
        piece(json!({ "text": "a" })),
        piece(json!({ "text": "\n\n" })),
        { "role": "model", "parts": [{ "text": "b" }, { "text": "" }, { "text": "c" }, call, { "text": "d" }] },
        piece(json!({ "text": " e" })),
        { "role": "user", "parts": [{ "functionResponse": { "id": "1", "name": "f", "response": {} } }] },
        piece(json!({ "text": "g" })),
        piece(json!({ "text": "h" })),
        { "role": "user", "parts": [{ "text": "s" }] },
    ] });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let sent = ask(Dialect::Anthropic, &asked);
    let used = json!({ "type": "tool_use", "id": "1", "name": "f", "input": {} });
    assert_eq!(sent["messages"][0]["content"], json!([text("q"), text("r")]));
    assert_eq!(sent["messages"][1]["content"], json!([text("a\n\nbc"), used, text("d e")]));
    assert_eq!(sent["messages"][3]["content"], json!([text("gh")]));
    let sent = ask(Dialect::OpenAi, &asked);
    let roles: Vec<_> =
        sent["messages"].as_array().expect("is a list").iter().map(|it| &it["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant", "user"]);
    assert_eq!(sent["messages"][3]["content"], "gh");
    // Google has them as they came.
    assert_eq!(ask(Dialect::Gemini, &asked)["contents"], asked["contents"]);
}

#[test]
fn a_stream_of_openais_is_one_of_googles() {
    let chunk = |delta: Value, finish: Value| {
        json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] }).to_string()
    };
    let call = |arguments: &str, id: Value| json!({ "tool_calls": [{ "index": 0, "id": id, "function": { "name": "f", "arguments": arguments } }] });
    let given = [
        chunk(json!({ "content": "a" }), Value::Null),
        chunk(call("{\"x\"", json!("1")), Value::Null),
        chunk(call(":1}", Value::Null), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        json!({ "id": "c", "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 } }).to_string(),
        "[DONE]".to_owned(),
    ];
    let out = stream(Dialect::OpenAi, Dialect::Gemini, &given.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        !out.contains("[DONE]") && out.lines().all(|line| line.is_empty() || line.starts_with("data: {")),
        "{out}"
    );
    let chunks: Vec<Value> =
        data(&out).iter().map(|data| serde_json::from_str(data).expect("is JSON")).collect();
    let parts: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(
        json!(parts),
        json!([{ "text": "a" }, { "functionCall": { "id": "1", "name": "f", "args": { "x": 1 } } }])
    );
    let last = chunks.last().expect("is not empty");
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(last["usageMetadata"]["totalTokenCount"], 3);
    assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk["candidates"][0]["finishReason"].is_null()));
}

#[test]
fn a_stream_that_fails_ends_with_googles_error() {
    let cut = stream(
        Dialect::OpenAi,
        Dialect::Gemini,
        &[r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}"#],
    );
    let last: Value = serde_json::from_str(data(&cut).last().expect("is not empty")).expect("is JSON");
    assert_eq!((&last["error"]["code"], &last["error"]["status"]), (&json!(502), &json!("INTERNAL")));
    // A sign of life has no line that Google's SDKs would not choke on.
    let quiet = stream(Dialect::Anthropic, Dialect::Gemini, &[r#"{"type":"ping"}"#]);
    assert_eq!(data(&quiet).len(), 1);
}

#[test]
fn a_signed_empty_part_is_no_text_of_its_own() {
    let asked = |parts: Value| {
        let body = json!({ "contents": [
            { "role": "user", "parts": [{ "text": "q" }] },
            { "role": "model", "parts": parts },
            { "role": "user", "parts": [{ "text": "r" }] },
        ] });
        let policy = ParamPolicy::default();
        let body = request(Dialect::Gemini, Dialect::OpenAi, "m", &policy, &body).expect("is not refused");
        body["messages"][1].clone()
    };
    let signed = json!({ "text": "", "thoughtSignature": "S" });
    let turn = json!({ "role": "assistant", "content": "ab" });
    assert_eq!(asked(json!([{ "text": "a" }, { "text": "b" }, signed])), turn);
    assert_eq!(asked(json!([{ "text": "ab" }, signed])), turn);
    assert_eq!(asked(json!([signed, { "text": "ab" }])), turn);
    assert_eq!(asked(json!([{ "text": "a" }, { "text": "b", "thoughtSignature": "S" }])), turn);
    assert_eq!(asked(json!([signed])), json!({ "role": "assistant", "content": "" }));
}

#[test]
fn data_is_padded_for_others() {
    for (data, padded) in
        [("AA", "AA=="), ("AAA", "AAA="), ("A-_A", "A+/A"), ("_w", "/w=="), ("AA==", "AA==")]
    {
        let image = json!({ "inlineData": { "mimeType": "image/png", "data": data } });
        let body = json!({ "contents": [{ "role": "user", "parts": [image] }] });
        let policy = ParamPolicy::default();
        let body = request(Dialect::Gemini, Dialect::OpenAi, "m", &policy, &body).expect("is not refused");
        let url = format!("data:image/png;base64,{padded}");
        assert_eq!(body["messages"][0]["content"][0]["image_url"]["url"], json!(url));
    }
}
