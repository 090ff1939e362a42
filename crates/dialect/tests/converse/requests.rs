//! Requests, as Bedrock is asked.

use serde_json::{Map, Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, converse::path};

use crate::common::{dropping, request};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "amazon.nova-pro-v1:0";

fn ask_with(from: Dialect, model: &str, policy: &ParamPolicy, members: &Value) -> Result<Value, Refused> {
    let mut asked = json!({ "model": "m", "messages": [user(&json!("a"))] });
    asked.as_object_mut().expect("is an object").extend(members.as_object().expect("is an object").clone());
    request(from, Dialect::Converse, model, policy, &asked)
}

fn ask(members: &Value) -> Value {
    ask_with(Dialect::OpenAi, CLAUDE, &ParamPolicy::default(), members).expect("is not refused")
}

fn ask_as_anthropic(members: &Value) -> Value {
    ask_with(Dialect::Anthropic, CLAUDE, &ParamPolicy::default(), members).expect("is not refused")
}

fn refusal(from: Dialect, members: &Value) -> Vec<String> {
    match ask_with(from, CLAUDE, &ParamPolicy::default(), members) {
        Err(Refused::Unsupported(names)) => names,
        Err(Refused::Invalid { param, .. }) => vec![format!("invalid: {param}")],
        other => panic!("{other:?} is no refusal"),
    }
}

fn user(content: &Value) -> Value {
    json!({ "role": "user", "content": content })
}

fn tool_call(id: &str, name: &str, arguments: &str) -> Value {
    let function = json!({ "name": name, "arguments": arguments });
    json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": id, "type": "function", "function": function }] })
}

fn function(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name } })
}

fn spec(name: &str) -> Value {
    let schema = json!({ "type": "object", "properties": {} });
    json!({ "toolSpec": { "name": name, "inputSchema": { "json": schema } } })
}

#[test]
fn the_model_and_the_stream_stand_in_the_url_alone() {
    let messages = json!([{ "role": "user", "content": [{ "text": "a" }] }]);
    assert_eq!(ask(&json!({ "stream": true })), json!({ "messages": messages, "inferenceConfig": {} }));
}

#[test]
fn a_models_name_is_escaped_in_the_path() {
    for (model, operation, expected) in [
        ("amazon.nova-pro-v1:0", "converse", "/model/amazon.nova-pro-v1%3A0/converse"),
        ("arn:aws:x/y é", "converse-stream", "/model/arn%3Aaws%3Ax%2Fy%20%C3%A9/converse-stream"),
        ("../a?b#c%3A", "invoke", "/model/..%2Fa%3Fb%23c%253A/invoke"),
    ] {
        assert_eq!(path(model, operation), expected);
    }
}

#[test]
fn consecutive_messages_of_one_side_are_one_and_system_stands_apart() {
    let messages = json!([
        { "role": "system", "content": "s" },
        user(&json!("a")),
        { "role": "developer", "content": [{ "type": "text", "text": "t" }] },
        user(&json!([{ "type": "text", "text": " " }, { "type": "text", "text": "b" }])),
        { "role": "assistant", "content": "c" },
        user(&json!("")),
    ]);
    let body = ask(&json!({ "messages": messages }));
    assert_eq!(body["system"], json!([{ "text": "s" }, { "text": "t" }]));
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": [{ "text": "a" }, { "text": "b" }] },
            { "role": "assistant", "content": [{ "text": "c" }] },
            { "role": "user", "content": [{ "text": "[empty message]" }] },
        ])
    );
}

#[test]
fn results_of_calls_come_first_in_one_turn_with_ids_that_fit() {
    let long = "c".repeat(70);
    let result =
        |id: &str, content: &Value| json!({ "role": "tool", "tool_call_id": id, "content": content });
    let mut call = tool_call("call:1", "f", r#"{"a": 1}"#);
    let second = tool_call(&long, "g", "")["tool_calls"][0].clone();
    call["tool_calls"].as_array_mut().expect("is a list").push(second);
    let messages = json!([
        user(&json!("a")),
        call,
        user(&json!("b")),
        result("call:1", &json!("r")),
        result(&long, &json!("")),
    ]);
    let body = ask(&json!({ "messages": messages, "tools": [function("f")] }));
    let id = body["messages"][1]["content"][0]["toolUse"]["toolUseId"].as_str().expect("is text");
    let other = body["messages"][1]["content"][1]["toolUse"]["toolUseId"].as_str().expect("is text");
    assert!(id.starts_with("call_1_") && other.len() == 64);
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": [{ "text": "a" }] },
            { "role": "assistant", "content": [
                { "toolUse": { "toolUseId": id, "name": "f", "input": { "a": 1 } } },
                { "toolUse": { "toolUseId": other, "name": "g", "input": {} } },
            ] },
            { "role": "user", "content": [
                { "toolResult": { "toolUseId": id, "content": [{ "text": "r" }] } },
                { "toolResult": { "toolUseId": other, "content": [{ "text": "" }] } },
                { "text": "b" },
            ] },
        ])
    );
}

#[test]
fn a_result_without_its_call_is_refused() {
    let messages = json!([user(&json!("a")), { "role": "tool", "tool_call_id": "x", "content": "r" }]);
    let members = json!({ "messages": messages });
    assert_eq!(refusal(Dialect::OpenAi, &members), ["invalid: messages[1].tool_call_id"]);
}

#[test]
fn tools_and_choices_have_their_own_words() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let name = "n".repeat(70);
    let mut tool = function(&name);
    tool["function"]["description"] = "d".into();
    tool["function"]["parameters"] = schema.clone();
    tool["function"]["strict"] = true.into();
    let choice = json!({ "type": "function", "function": { "name": name } });
    let body = ask(&json!({ "tools": [tool, function("g")], "tool_choice": choice }));
    let config = &body["toolConfig"];
    let short = config["toolChoice"]["tool"]["name"].as_str().expect("is text");
    assert_eq!(short.len(), 64);
    let first = json!({ "toolSpec": { "name": short, "description": "d", "inputSchema": { "json": schema }, "strict": true } });
    assert_eq!(config["tools"], json!([first, spec("g")]));
    for (word, choice) in [("auto", "auto"), ("required", "any")] {
        let body = ask(&json!({ "tools": [function("g")], "tool_choice": word }));
        assert_eq!(body["toolConfig"]["toolChoice"], json!({ choice: {} }));
    }
    let members = json!({ "tool_choice": "required" });
    assert_eq!(refusal(Dialect::OpenAi, &members), ["invalid: tool_choice"]);
}

#[test]
fn a_call_that_is_forbidden_leaves_the_tools_out_unless_the_conversation_needs_them() {
    let mut members = json!({ "tools": [function("f")], "tool_choice": "none" });
    assert_eq!(ask(&members)["toolConfig"], Value::Null);
    let result = json!({ "role": "tool", "tool_call_id": "c", "content": "r" });
    members["messages"] = json!([user(&json!("a")), tool_call("c", "f", "{}"), result]);
    assert_eq!(refusal(Dialect::OpenAi, &members), ["tool_choice"]);
    let body = ask_with(Dialect::OpenAi, CLAUDE, &dropping(), &members).expect("is not refused");
    assert_eq!(body["toolConfig"], json!({ "tools": [spec("f")] }));
}

#[test]
fn calls_in_the_conversation_bring_their_tools() {
    let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "r" });
    let messages = json!([
        user(&json!("a")),
        tool_call("c", "f", "{}"),
        result("c"),
        tool_call("d", "f", "{}"),
        result("d"),
        tool_call("e", "g", "{}"),
        result("e"),
    ]);
    let body = ask(&json!({ "messages": messages }));
    assert_eq!(body["toolConfig"], json!({ "tools": [spec("f"), spec("g")] }));
}

#[test]
fn media_are_bytes_of_a_format() {
    let file =
        |name: &str, data: &str| json!({ "type": "file", "file": { "filename": name, "file_data": data } });
    let content = json!([
        { "type": "image_url", "image_url": { "url": "data:image/JPG;base64,AAAA", "detail": "low" } },
        file("My report_v2 (1).pdf", "data:application/pdf;base64,BBBB"),
        file("My report_v2 (1).pdf", "data:text/csv;base64,CCCC"),
        file("notes.md", "DDDD"),
        { "type": "file", "file": { "file_data": "EEEE" } },
        file("v.mp4", "data:video/mp4;base64,FFFF"),
    ]);
    let body = ask(&json!({ "messages": [user(&content)] }));
    let document = |format: &str, name: &str, bytes: &str| json!({ "document": { "format": format, "name": name, "source": { "bytes": bytes } } });
    assert_eq!(
        body["messages"][0]["content"],
        json!([
            { "image": { "format": "jpeg", "source": { "bytes": "AAAA" } } },
            document("pdf", "My report v2 (1)", "BBBB"),
            document("csv", "My report v2 (1) 2", "CCCC"),
            document("md", "notes", "DDDD"),
            document("pdf", "document", "EEEE"),
            { "video": { "format": "mp4", "source": { "bytes": "FFFF" } } },
        ])
    );
    let source = json!({ "type": "text", "media_type": "text/plain", "data": "x" });
    let text =
        json!([{ "type": "document", "source": source, "title": "t", "citations": { "enabled": true } }]);
    let body = ask_as_anthropic(&json!({ "messages": [user(&text)] }));
    assert_eq!(
        body["messages"][0]["content"],
        json!([{ "document": { "format": "txt", "name": "t", "source": { "text": "x" }, "citations": { "enabled": true } } }])
    );
}

#[test]
fn media_that_cannot_be_carried_are_refused_with_their_place() {
    let openai = |part: &Value| refusal(Dialect::OpenAi, &json!({ "messages": [user(&json!([part]))] }));
    let anthropic =
        |block: &Value| refusal(Dialect::Anthropic, &json!({ "messages": [user(&json!([block]))] }));
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    let at = "invalid: messages[0].content[0]";
    assert_eq!(openai(&image("https://a.b/c.png")), [format!("{at}.image_url.url")]);
    assert_eq!(openai(&image("data:image/tiff;base64,AA")), [format!("{at}.image_url.url")]);
    let file = json!({ "type": "file", "file": { "file_id": "f" } });
    assert_eq!(openai(&file), ["messages[0].content[0].file.file_id"]);
    let audio = json!({ "type": "input_audio", "input_audio": { "data": "A", "format": "wav" } });
    assert_eq!(openai(&audio), ["messages[0].content[0]"]);
    let url = json!({ "type": "image", "source": { "type": "url", "url": "https://a.b/c.png" } });
    assert_eq!(anthropic(&url), [format!("{at}.source.url")]);
    let call = json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": "c", "name": "f", "input": {} }] });
    let result = json!([{ "type": "tool_result", "tool_use_id": "c", "content": [url] }]);
    let messages = json!([user(&json!("a")), call, user(&result)]);
    assert_eq!(
        refusal(Dialect::Anthropic, &json!({ "messages": messages })),
        ["invalid: messages[2].content[0].content[0].source.url"]
    );
}

#[test]
fn cache_hints_stand_behind_what_they_speak_of() {
    let hint = json!({ "type": "ephemeral" });
    let hour = json!({ "type": "ephemeral", "ttl": "1h" });
    let point = json!({ "cachePoint": { "type": "default" } });
    let call = json!([{ "type": "tool_use", "id": "c", "name": "f", "input": {} }]);
    let inner = json!([{ "type": "text", "text": "r", "cache_control": hint }]);
    let result = json!([{ "type": "tool_result", "tool_use_id": "c", "is_error": true, "content": inner }]);
    let members = json!({
        "max_tokens": 9,
        "system": [{ "type": "text", "text": "s", "cache_control": hour }],
        "tools": [{ "name": "f", "input_schema": {}, "cache_control": hint }],
        "messages": [user(&json!("a")), { "role": "assistant", "content": call }, user(&result)],
    });
    let body = ask_as_anthropic(&members);
    let long = json!({ "cachePoint": { "type": "default", "ttl": "1h" } });
    assert_eq!(body["system"], json!([{ "text": "s" }, long]));
    assert_eq!(body["toolConfig"]["tools"][1], point);
    let result = json!({ "toolUseId": "c", "content": [{ "text": "r" }], "status": "error" });
    assert_eq!(body["messages"][2]["content"], json!([{ "toolResult": result }, point]));
    // Where the model takes none, they are left: the answer is the same.
    for (model, takes) in
        [(NOVA, true), ("arn:aws:bedrock:r:1:application-inference-profile/x", true), ("meta.llama3", false)]
    {
        let body = ask_with(Dialect::Anthropic, model, &ParamPolicy::default(), &members);
        assert_eq!(body.expect("is not refused").to_string().contains("cachePoint"), takes, "{model}");
    }
}

#[test]
fn sampling_has_its_place_and_claude_its_range() {
    let members = json!({ "max_tokens": 9, "temperature": 1.5, "top_p": 0.5, "top_k": 4, "stop": ["x"] });
    let expected = |temperature: &Value| json!({ "maxTokens": 9, "temperature": temperature, "topP": 0.5, "stopSequences": ["x"] });
    let body = ask(&members);
    assert_eq!(body["inferenceConfig"], expected(&json!(1)));
    assert_eq!(body["additionalModelRequestFields"], json!({ "top_k": 4 }));
    let body = ask_with(Dialect::OpenAi, NOVA, &ParamPolicy::default(), &members).expect("is not refused");
    assert_eq!(body["inferenceConfig"], expected(&json!(1.5)));
    assert_eq!(body["additionalModelRequestFields"], json!({ "inferenceConfig": { "topK": 4 } }));
}

#[test]
fn thinking_is_asked_for_in_the_models_own_words() {
    let ask = |model: &str, members: &Value| {
        let mut body =
            ask_with(Dialect::OpenAi, model, &ParamPolicy::default(), members).expect("is not refused");
        let paths = body["additionalModelResponseFieldPaths"].take();
        (body["inferenceConfig"]["maxTokens"].take(), body["additionalModelRequestFields"].take(), paths)
    };
    let counted = json!(["/usage/output_tokens_details"]);
    let budget = |tokens: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": tokens } });
    let high = json!({ "reasoning_effort": "high" });
    assert_eq!(ask(CLAUDE, &high), (json!(8192), budget(4096), counted.clone()));
    let given = json!({ "thinking": { "type": "enabled", "budget_tokens": 2000 }, "max_tokens": 3000 });
    assert_eq!(ask(CLAUDE, &given), (json!(3000), budget(2000), counted.clone()));
    let adaptive = json!({ "thinking": { "type": "adaptive", "display": "summarized" }, "output_config": { "effort": "high" } });
    assert_eq!(ask("anthropic.claude-opus-4-6-v1", &high), (Value::Null, adaptive, counted));
    assert_eq!(
        ask("openai.gpt-oss-120b-1:0", &high),
        (Value::Null, json!({ "reasoning_effort": "high" }), Value::Null)
    );
    let nova = json!({ "reasoningConfig": { "type": "enabled", "maxReasoningEffort": "high" } });
    assert_eq!(ask("us.amazon.nova-2-lite-v1:0", &high), (Value::Null, nova, Value::Null));
    let none = json!({ "reasoning_effort": "none" });
    assert_eq!(ask(NOVA, &none), (Value::Null, Value::Null, Value::Null));
    let refused = ask_with(Dialect::OpenAi, NOVA, &ParamPolicy::default(), &high);
    assert_eq!(refused, Err(Refused::Unsupported(vec!["reasoning_effort".to_owned()])));
    let low = json!({ "reasoning_effort": "low", "temperature": 0.5, "top_p": 0.5, "top_k": 1 });
    assert_eq!(refusal(Dialect::OpenAi, &low), ["temperature", "top_p", "top_k"]);
}

#[test]
fn signed_thoughts_go_back_and_others_are_left() {
    let content = json!([
        { "type": "thinking", "thinking": "t", "signature": "s" },
        { "type": "thinking", "thinking": "u", "signature": "" },
        { "type": "redacted_thinking", "data": "d" },
        { "type": "text", "text": "b " },
    ]);
    let messages = json!([user(&json!("a")), { "role": "assistant", "content": content }]);
    let body = ask_as_anthropic(&json!({ "max_tokens": 9, "messages": messages }));
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            { "reasoningContent": { "reasoningText": { "text": "t", "signature": "s" } } },
            { "reasoningContent": { "redactedContent": "d" } },
            { "text": "b" },
        ])
    );
}

#[test]
fn a_schema_is_json_in_a_string() {
    let schema = json!({ "name": "n", "description": "d", "schema": { "type": "object" } });
    let format = json!({ "type": "json_schema", "json_schema": schema });
    let body = ask(&json!({ "response_format": format }));
    let inner = json!({ "schema": r#"{"type":"object","additionalProperties":false}"#, "name": "n", "description": "d" });
    assert_eq!(
        body["outputConfig"],
        json!({ "textFormat": { "type": "json_schema", "structure": { "jsonSchema": inner } } })
    );
    let any = json!({ "response_format": { "type": "json_object" } });
    assert_eq!(refusal(Dialect::OpenAi, &any), ["response_format"]);
}

#[test]
fn parameters_of_its_own_pass_and_unknown_ones_go_to_the_model() {
    let native = json!({
        "guardrailConfig": { "guardrailIdentifier": "g", "guardrailVersion": "1" },
        "performanceConfig": { "latency": "optimized" },
        "requestMetadata": { "a": "b" },
        "additionalModelResponseFieldPaths": ["/x"],
    });
    let mut members = native.clone();
    members["additionalModelRequestFields"] = json!({ "top_k": 5, "y": 1 });
    members["top_k"] = json!(4);
    members["mirostat"] = json!(2);
    members["reasoning_effort"] = json!("none");
    members["service_tier"] = json!("flex");
    let mut expected = native;
    expected["additionalModelRequestFields"] = json!({ "top_k": 5, "y": 1, "mirostat": 2 });
    expected["serviceTier"] = json!({ "type": "flex" });
    expected["inferenceConfig"] = json!({});
    expected["messages"] = json!([{ "role": "user", "content": [{ "text": "a" }] }]);
    assert_eq!(ask(&members), expected);
}

/// This would take minutes if each were compared with all before it.
#[test]
fn a_hundred_thousand_fields_of_the_model_go_to_it() {
    let members: Value = (0..100_000).map(|n| (format!("x{n}"), json!(n))).collect::<Map<_, _>>().into();
    assert_eq!(ask(&members)["additionalModelRequestFields"], members);
}

#[test]
fn what_has_no_place_is_refused_by_name_and_left_out_where_that_is_allowed() {
    let members = json!({
        "n": 2, "user": "u", "logprobs": true, "seed": 1, "parallel_tool_calls": false, "tools": [function("f")],
        "web_search_options": {}, "toolConfig": {}, "stream_options": { "include_usage": true }, "store": false,
    });
    let mut names = refusal(Dialect::OpenAi, &members);
    names.sort();
    let expected = ["logprobs", "n", "parallel_tool_calls", "seed", "toolConfig", "web_search_options"];
    assert_eq!(names, expected);
    let body = ask_with(Dialect::OpenAi, CLAUDE, &dropping(), &members).expect("is not refused");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(3));
    let mut policy = ParamPolicy::default();
    policy.allowed_openai_params = ["seed".to_owned()].into();
    let body = ask_with(Dialect::OpenAi, NOVA, &policy, &json!({ "seed": 1 })).expect("is not refused");
    assert_eq!(body["additionalModelRequestFields"], json!({ "seed": 1 }));
    let named = json!([{ "role": "user", "content": "a", "name": "n" }]);
    assert_eq!(refusal(Dialect::OpenAi, &json!({ "messages": named })), ["messages[0].name"]);
    let metadata = json!({ "max_tokens": 9, "metadata": { "user_id": "u", "x": 1 } });
    assert_eq!(refusal(Dialect::Anthropic, &metadata), ["metadata.x"]);
    let fields = json!({ "additionalModelRequestFields": [] });
    assert_eq!(refusal(Dialect::OpenAi, &fields), ["invalid: additionalModelRequestFields"]);
}
