//! Ollama's own API.

use serde_json::{Value, json};
use ziggurat_core::{Convention, Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, decode_response};

use crate::common::{answer, data, dropping, events, request, stream};

fn ask(body: &Value) -> Value {
    asked(body, &ParamPolicy::default()).expect("is not refused")
}

fn asked(body: &Value, policy: &ParamPolicy) -> Result<Value, Refused> {
    request(Dialect::OpenAi, Dialect::Ollama, "llama3.2", policy, body)
}

fn refused(body: &Value) -> Vec<String> {
    match asked(body, &ParamPolicy::default()) {
        Err(Refused::Unsupported(names)) => names,
        Err(Refused::Invalid { param, .. }) => vec![format!("={param}")],
        other => panic!("{other:?}"),
    }
}

fn user(content: &Value) -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": content }] })
}

fn with(name: &str, value: Value) -> Value {
    let mut body = user(&json!("x"));
    body[name] = value;
    body
}

#[test]
fn what_is_said_of_the_model_stands_among_its_options() {
    let body = json!({
        "model": "m", "messages": [], "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": "END", "seed": 7,
        "frequency_penalty": 0.1, "num_ctx": 8192, "keep_alive": "1m", "user": null, "metadata": { "a": "b" },
        "options": { "num_ctx": 1, "seed": 8, "temperature": 1, "min_p": 0.1 },
    });
    assert_eq!(
        ask(&body),
        json!({
            "model": "llama3.2", "messages": [], "stream": false, "keep_alive": "1m",
            "options": {
                "num_predict": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": ["END"], "seed": 7, "frequency_penalty": 0.1,
                "num_ctx": 8192, "min_p": 0.1,
            },
        })
    );
}

#[test]
fn options_are_an_object() {
    assert_eq!(refused(&with("options", json!([1]))), ["=options"]);
}

#[test]
fn it_is_always_said_whether_to_stream() {
    assert_eq!(ask(&user(&json!("x")))["stream"], false);
    let mut body = with("stream", json!(true));
    body["stream_options"] = json!({ "include_usage": true });
    assert_eq!(ask(&body)["stream"], true);
}

#[test]
fn images_stand_beside_the_text_and_cannot_be_fetched() {
    let part = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    let content = json!([{ "type": "text", "text": "a\n" }, part("data:image/png;base64,AA=="), { "type": "text", "text": "b" }]);
    assert_eq!(
        ask(&user(&content))["messages"],
        json!([{ "role": "user", "content": "a\nb", "images": ["AA=="] }])
    );
    let content = json!([{ "type": "text", "text": "a" }, part("https://e.com/a.png")]);
    assert_eq!(refused(&user(&content)), ["=messages[0].content[1].image_url.url"]);
    let file = json!([{ "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" } }]);
    assert_eq!(refused(&user(&file)), ["=messages[0].content[0].file.file_data"]);
    let image = json!({ "type": "image", "source": { "type": "url", "url": "https://e.com/a.png" } });
    let body = json!({ "model": "m", "max_tokens": 1, "messages": [{ "role": "user", "content": [image] }] });
    let refused = request(Dialect::Anthropic, Dialect::Ollama, "m", &dropping(), &body);
    assert!(
        matches!(refused, Err(Refused::Invalid { param, .. }) if param == "messages[0].content[0].source")
    );
}

#[test]
fn results_find_the_name_of_their_tool() {
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let result = |id: &str, text: &str| json!({ "role": "tool", "tool_call_id": id, "content": text });
    let body = json!({ "model": "m", "messages": [
        { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [call("a", "f", "{\"x\": 1}"), call("b", "g", "")] },
        result("b", "B"), result("a", "A"),
        { "role": "assistant", "content": "t", "tool_calls": [call("a", "h", "{\"x\":")] },
        result("a", "again"),
    ] });
    let written = |id: &str, name: &str, arguments: Value| json!({ "id": id, "function": { "name": name, "arguments": arguments } });
    let answered = |id: &str, name: &str, text: &str| json!({ "role": "tool", "content": text, "tool_name": name, "tool_call_id": id });
    assert_eq!(
        ask(&body)["messages"],
        json!([
            { "role": "assistant", "content": "", "thinking": "hm", "tool_calls": [written("a", "f", json!({ "x": 1 })), written("b", "g", json!({}))] },
            answered("b", "g", "B"), answered("a", "f", "A"),
            { "role": "assistant", "content": "t", "tool_calls": [written("a", "h", json!({ "partial_json": "{\"x\":" }))] },
            answered("a", "h", "again"),
        ])
    );
    let stray = json!({ "model": "m", "messages": [result("x", "X")] });
    assert_eq!(refused(&stray), ["=messages[0].tool_call_id"]);
}

#[test]
fn a_callers_turn_with_results_and_text_is_several_messages() {
    let body = json!({ "model": "m", "max_tokens": 1, "system": "s", "messages": [
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "h", "signature": "S" }, { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } }] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "a", "content": [{ "type": "text", "text": "r" }, { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA" } }] },
            { "type": "text", "text": "go on" },
        ] },
    ] });
    let body =
        request(Dialect::Anthropic, Dialect::Ollama, "m", &ParamPolicy::default(), &body).expect("passes");
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "s" },
            { "role": "assistant", "content": "", "thinking": "h", "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": { "x": 1 } } }] },
            { "role": "tool", "content": "r", "images": ["AA"], "tool_name": "f", "tool_call_id": "a" },
            { "role": "user", "content": "go on" },
        ])
    );
}

#[test]
fn pieces_of_a_system_prompt_stand_apart() {
    let texts = json!([{ "type": "text", "text": "a\n" }, { "type": "text", "text": "b" }]);
    let body = json!({ "model": "m", "max_tokens": 1, "system": texts, "messages": [{ "role": "user", "content": texts }] });
    let body =
        request(Dialect::Anthropic, Dialect::Ollama, "m", &ParamPolicy::default(), &body).expect("passes");
    assert_eq!(
        body["messages"],
        json!([{ "role": "system", "content": "a\n\n\nb" }, { "role": "user", "content": "a\nb" }])
    );
}

#[test]
fn thinking_is_on_or_off_and_has_levels_where_the_model_knows_them() {
    let think = |model: &str, effort: &str| {
        let body = with("reasoning_effort", json!(effort));
        let policy = ParamPolicy::default();
        request(Dialect::OpenAi, Dialect::Ollama, model, &policy, &body).expect("passes")["think"].clone()
    };
    for (effort, on, level) in [
        ("none", json!(false), json!(false)),
        ("minimal", json!(true), json!("low")),
        ("medium", json!(true), json!("medium")),
        ("xhigh", json!(true), json!("high")),
    ] {
        assert_eq!((think("qwen3", effort), think("gpt-oss:20b", effort)), (on, level), "{effort}");
    }
    let thinking = |thinking: Value| ask(&with("thinking", thinking))["think"].clone();
    assert_eq!(thinking(json!({ "type": "enabled", "budget_tokens": 2048 })), true);
    assert_eq!(thinking(json!({ "type": "disabled" })), false);
    // Ollama's own word is taken as it is.
    assert_eq!(ask(&with("think", json!("low")))["think"], "low");
    assert_eq!(refused(&with("reasoning_effort", json!("much"))), ["=reasoning_effort"]);
}

#[test]
fn the_form_of_the_answer_is_a_schema_or_a_word() {
    let format = |format: Value| ask(&with("response_format", format))["format"].clone();
    assert_eq!(format(json!({ "type": "json_object" })), "json");
    assert_eq!(
        format(
            json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } })
        ),
        json!({ "type": "object" })
    );
    assert_eq!(format(json!({ "type": "text" })), Value::Null);
}

#[test]
fn what_ollama_cannot_be_asked_goes_by_the_policy() {
    let mut body = json!({
        "model": "m", "messages": [{ "role": "user", "name": "u", "content": "x" }], "n": 2, "user": "u", "logprobs": true,
        "parallel_tool_calls": false, "tool_choice": "required", "tools": [{ "type": "function", "function": { "name": "f" } }],
        "web_search_options": {}, "logit_bias": { "1": 2 }, "service_tier": "flex",
    });
    let mut names = refused(&body);
    names.sort();
    assert_eq!(
        names,
        [
            "logit_bias",
            "logprobs",
            "messages[0].name",
            "n",
            "parallel_tool_calls",
            "service_tier",
            "tool_choice",
            "web_search_options",
        ]
    );
    assert_eq!(
        asked(&body, &dropping()).expect("is not refused"),
        json!({
            "model": "llama3.2", "messages": [{ "role": "user", "content": "x" }], "stream": false,
            "tools": [{ "type": "function", "function": { "name": "f" } }],
        })
    );
    body["tool_choice"] = json!("none");
    assert_eq!(asked(&body, &dropping()).expect("is not refused")["tools"], Value::Null);
    let mut policy = dropping();
    policy.allowed_openai_params = ["n", "tool_choice", "web_search_options"].map(str::to_owned).into();
    body["tool_choice"] = json!("required");
    let passed = asked(&body, &policy).expect("is not refused");
    assert_eq!(
        (&passed["n"], &passed["tool_choice"], &passed["web_search_options"]),
        (&json!(2), &json!("required"), &json!({}))
    );
}

#[test]
fn a_whole_answer_reaches_both_callers() {
    let body = json!({
        "model": "m", "created_at": "2024-05-24T20:01:31.01558Z", "message": { "role": "assistant", "content": "", "thinking": "h",
            "tool_calls": [{ "function": { "name": "f", "arguments": { "x": 1 } } }, { "id": "given", "function": { "name": "g", "arguments": {} } }] },
        "done": true, "done_reason": "stop", "total_duration": 9, "prompt_eval_count": 3, "eval_count": 4,
    });
    let openai = answer(Dialect::Ollama, Dialect::OpenAi, &body);
    let message = &openai["choices"][0]["message"];
    assert_eq!(
        (&openai["created"], &openai["choices"][0]["finish_reason"]),
        (&json!(1_716_580_891), &json!("tool_calls"))
    );
    assert_eq!((&message["content"], &message["reasoning_content"]), (&Value::Null, &json!("h")));
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"x":1}"#);
    assert_eq!(message["tool_calls"][1]["id"], "given");
    assert_eq!(openai["usage"], json!({ "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 }));
    assert_eq!(openai["total_duration"], 9);
    let anthropic = answer(Dialect::Ollama, Dialect::Anthropic, &body);
    assert_eq!(anthropic["stop_reason"], "tool_use");
    assert_eq!(anthropic["content"][1]["input"], json!({ "x": 1 }));
    assert_eq!(anthropic["content"][1]["id"], message["tool_calls"][0]["id"]);
}

#[test]
fn made_ids_are_the_same_again_and_differ_within_a_conversation() {
    let body = |time: &str| {
        let call = json!({ "function": { "name": "f", "arguments": {} } });
        json!({ "model": "m", "created_at": time, "message": { "content": "", "tool_calls": [call, call] }, "done": true })
    };
    let ids = |time: &str| {
        let calls =
            answer(Dialect::Ollama, Dialect::OpenAi, &body(time))["choices"][0]["message"]["tool_calls"]
                .clone();
        calls
            .as_array()
            .expect("calls")
            .iter()
            .map(|call| call["id"].as_str().expect("id").to_owned())
            .collect::<Vec<_>>()
    };
    let (first, second) = (ids("2026-01-01T00:00:00.000000001Z"), ids("2026-01-01T00:00:00.000000002Z"));
    assert_eq!(first, ids("2026-01-01T00:00:00.000000001Z"));
    let mut all = [first, second].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|id| id.starts_with("call_") && id.len() == 29), "{all:?}");
}

#[test]
fn reasons_to_stop_and_missing_counts_are_read_as_they_stand() {
    let read = |done: Value| {
        let mut body = json!({ "model": "m", "message": { "content": "a" }, "done": true });
        body.as_object_mut().expect("is an object").extend(done.as_object().expect("is an object").clone());
        answer(Dialect::Ollama, Dialect::OpenAi, &body)
    };
    for (word, reason, native) in
        [("stop", "stop", Value::Null), ("length", "length", Value::Null), ("load", "stop", json!("load"))]
    {
        let choice = read(json!({ "done_reason": word }))["choices"][0].clone();
        assert_eq!((&choice["finish_reason"], &choice["native_finish_reason"]), (&json!(reason), &native));
    }
    assert_eq!(read(json!({}))["usage"], Value::Null);
    let json = json!({ "message": { "content": "a" }, "done": true, "eval_count": 4 }).to_string();
    let counts = decode_response(Dialect::Ollama, &json).expect("reads").usage.expect("has usage").counts;
    assert_eq!((counts.input, counts.output, counts.convention), (None, Some(4), Convention::OPENAI));
    assert!(decode_response(Dialect::Ollama, r#"{"done":true}"#).is_err());
}

#[test]
fn a_stream_is_thought_then_text_then_calls() {
    let lines = [
        r#"{"model":"m","created_at":"2024-05-24T20:01:31Z","message":{"role":"assistant","content":"","thinking":"h"},"done":false}"#,
        r#"{"model":"m","created_at":"2024-05-24T20:01:31Z","message":{"role":"assistant","content":"a"},"done":false}"#,
        r#"{"model":"m","created_at":"2024-05-24T20:01:32Z","message":{"role":"assistant","content":"b","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},"done":false}"#,
        r#"{"model":"m","created_at":"2024-05-24T20:01:33Z","message":{"role":"assistant","content":"","tool_calls":[{"id":"i","function":{"index":1,"name":"g","arguments":{}}}]},"done":false}"#,
        r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":1,"eval_count":5}"#,
        r#"{"model":"m","message":{"content":"more"},"done":false}"#,
    ];
    let said = events(Dialect::Ollama, &lines);
    let kinds: Vec<_> = said.iter().map(|event| event.split([' ', '(']).next().expect("a name")).collect();
    assert_eq!(
        kinds,
        [
            "Start", "Open", "Delta", "Close", "Open", "Delta", "Delta", "Close", "Open", "Delta", "Close",
            "Open", "Delta", "Close", "Finish", "Usage", "End",
        ]
    );
    assert!(said[14].contains("ToolCalls"), "{}", said[14]);
    let chunks = data(&stream(Dialect::Ollama, Dialect::OpenAi, &lines));
    let usage: Value = serde_json::from_str(&chunks[chunks.len() - 2]).expect("is JSON");
    assert_eq!(usage["usage"]["completion_tokens"], 5);
    let calls: Vec<Value> = chunks
        .iter()
        .filter_map(|chunk| serde_json::from_str::<Value>(chunk).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0).cloned())
        .collect();
    assert_eq!(calls[1]["function"]["arguments"], r#"{"x":1}"#);
    assert_eq!((&calls[2]["id"], &calls[2]["index"]), (&json!("i"), &json!(1)));
}

#[test]
fn a_stream_that_fails_or_is_cut_is_no_stop() {
    let begun = r#"{"model":"m","message":{"content":"a"},"done":false}"#;
    let cut = events(Dialect::Ollama, &[begun]);
    assert!(cut.last().expect("an end").contains("upstream_truncated"), "{cut:?}");
    let failed = events(Dialect::Ollama, &[begun, r#"{"error":"an error was met: prompt too long"}"#, begun]);
    assert!(failed.last().expect("an end").contains("ContextLength"), "{failed:?}");
    assert_eq!(failed.len(), cut.len());
}
