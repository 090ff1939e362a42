//! Cohere's `/v2/chat`.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, StreamDecoder, decode_answer_error, decode_response};

use crate::common::{answer, data, dropping, events, request, stream};

fn asked(model: &str, body: &Value, policy: &ParamPolicy) -> Result<Value, Refused> {
    request(Dialect::OpenAi, Dialect::Cohere, model, policy, body)
}

fn ask(body: &Value) -> Value {
    asked("command-a-03-2025", body, &ParamPolicy::default()).expect("is not refused")
}

fn refused(body: &Value) -> Vec<String> {
    match asked("command-a-03-2025", body, &ParamPolicy::default()) {
        Err(Refused::Unsupported(names)) => names,
        Err(Refused::Invalid { param, .. }) => vec![format!("={param}")],
        other => panic!("{other:?}"),
    }
}

fn with(members: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    body.as_object_mut().expect("is an object").extend(members.as_object().expect("is an object").clone());
    body
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } })
}

#[test]
fn parameters_have_coheres_names() {
    let body = with(&json!({
        "max_completion_tokens": 5, "temperature": 0.5, "top_p": 1, "top_k": 40, "stop": ["a", "b"], "seed": 7, "stream": true,
        "stream_options": { "include_usage": true }, "presence_penalty": 0.2, "documents": [{ "id": "d", "data": { "text": "t" } }],
        "safety_mode": "OFF", "metadata": {}, "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } },
    }));
    assert_eq!(
        ask(&body),
        json!({
            "model": "command-a-03-2025", "messages": [{ "role": "user", "content": "x" }], "max_tokens": 5, "temperature": 0.5, "p": 0.99,
            "k": 40, "stop_sequences": ["a", "b"], "seed": 7, "stream": true, "presence_penalty": 0.2,
            "documents": [{ "id": "d", "data": { "text": "t" } }], "safety_mode": "OFF",
            "response_format": { "type": "json_object", "json_schema": { "type": "object" } },
        })
    );
    let object = with(&json!({ "response_format": { "type": "json_object" }, "top_p": 0.001 }));
    assert_eq!(ask(&object)["response_format"], json!({ "type": "json_object" }));
    assert_eq!(ask(&object)["p"], 0.01);
}

#[test]
fn a_named_tool_is_the_only_one_and_required() {
    let choice =
        |choice: Value| ask(&with(&json!({ "tools": [tool("f"), tool("g")], "tool_choice": choice })));
    assert_eq!(choice(json!("auto"))["tool_choice"], Value::Null);
    assert_eq!(choice(json!("none"))["tool_choice"], "NONE");
    assert_eq!(choice(json!("required"))["tool_choice"], "REQUIRED");
    let named = choice(json!({ "type": "function", "function": { "name": "g" } }));
    assert_eq!((&named["tool_choice"], &named["tools"]), (&json!("REQUIRED"), &json!([tool("g")])));
    let unknown =
        json!({ "tools": [tool("f")], "tool_choice": { "type": "function", "function": { "name": "x" } } });
    assert_eq!(refused(&with(&unknown)), ["=tool_choice"]);
    assert_eq!(refused(&with(&json!({ "tool_choice": "required" }))), ["=tool_choice"]);
}

#[test]
fn strictness_is_said_of_all_tools_or_of_none() {
    let strict = |name: &str, strict: bool| json!({ "type": "function", "function": { "name": name, "strict": strict } });
    let all = ask(&with(&json!({ "tools": [strict("f", true), strict("g", true)] })));
    assert_eq!(all["strict_tools"], true);
    assert_eq!(
        refused(&with(&json!({ "tools": [strict("f", false), strict("g", true)] }))),
        ["tools[1].strict"]
    );
}

#[test]
fn what_was_thought_ahead_of_calls_is_their_plan() {
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } });
    let body = json!({ "model": "m", "messages": [
        { "role": "assistant", "content": null, "reasoning_content": "I will", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": [{ "type": "text", "text": "r" }] },
        { "role": "tool", "tool_call_id": "c", "content": [{ "type": "document", "document": { "id": "d" } }, { "type": "text", "text": "r" }] },
        { "role": "assistant", "content": "a", "thinking_blocks": [{ "type": "thinking", "thinking": "h", "signature": "" }] },
        { "role": "assistant", "content": "" },
    ] });
    assert_eq!(
        ask(&body)["messages"],
        json!([
            { "role": "assistant", "tool_plan": "I will", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "c", "content": "r" },
            { "role": "tool", "tool_call_id": "c", "content": [{ "type": "document", "document": { "id": "d" } }, { "type": "text", "text": "r" }] },
            { "role": "assistant", "content": [{ "type": "thinking", "thinking": "h" }, { "type": "text", "text": "a" }] },
            { "role": "assistant", "content": "" },
        ])
    );
}

#[test]
fn an_anthropic_callers_results_are_messages_of_their_own() {
    let image =
        json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA" } });
    let body = json!({ "model": "m", "max_tokens": 1, "system": [{ "type": "text", "text": "s", "cache_control": { "type": "ephemeral" } }], "messages": [
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": [{ "type": "text", "text": "r" }, image] }, { "type": "text", "text": "go on" }] },
    ], "tools": [{ "name": "f", "input_schema": {} }] });
    let policy = ParamPolicy::default();
    let body = request(Dialect::Anthropic, Dialect::Cohere, "m", &policy, &body).expect("passes");
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": [{ "type": "text", "text": "s" }] },
            { "role": "assistant", "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } }] },
            { "role": "tool", "tool_call_id": "a", "content": "r" },
            { "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } }, { "type": "text", "text": "go on" }] },
        ])
    );
}

#[test]
fn thinking_is_asked_of_models_that_think() {
    let thinking = |model: &str, body: Value, policy: &ParamPolicy| {
        asked(model, &with(&body), policy).map(|body| body["thinking"].clone())
    };
    let policy = ParamPolicy::default();
    let reasons =
        |body: Value| thinking("command-a-reasoning-08-2025", body, &policy).expect("is not refused");
    assert_eq!(
        reasons(json!({ "reasoning_effort": "low" })),
        json!({ "type": "enabled", "token_budget": 1024 })
    );
    assert_eq!(reasons(json!({ "reasoning_effort": "none" })), json!({ "type": "disabled" }));
    assert_eq!(
        reasons(json!({ "thinking": { "type": "enabled", "budget_tokens": 7 } })),
        json!({ "type": "enabled", "token_budget": 7 })
    );
    let older = |body: Value, policy: &ParamPolicy| thinking("command-a-03-2025", body, policy);
    assert_eq!(
        older(json!({ "reasoning_effort": "low" }), &policy),
        Err(Refused::Unsupported(vec!["reasoning_effort".into()]))
    );
    assert_eq!(older(json!({ "reasoning_effort": "low" }), &dropping()), Ok(Value::Null));
    assert_eq!(older(json!({ "reasoning_effort": "none" }), &policy), Ok(Value::Null));
}

#[test]
fn what_cohere_cannot_be_asked_is_named() {
    let body = with(
        &json!({ "n": 2, "user": "u", "logprobs": true, "parallel_tool_calls": false, "web_search_options": {}, "p": 0.5, "top_p": 0.4 }),
    );
    let mut names = refused(&body);
    names.sort();
    assert_eq!(names, ["logprobs", "n", "p", "parallel_tool_calls", "web_search_options"]);
    let file = json!([{ "type": "file", "file": { "file_data": "data:application/pdf;base64,AA==" } }]);
    assert_eq!(
        refused(&json!({ "model": "m", "messages": [{ "role": "user", "content": file }] })),
        ["=messages[0].content[0].file.file_data"]
    );
    assert_eq!(ask(&with(&json!({ "p": 0.5 })))["p"], 0.5);
}

fn whole(message: &Value, finish_reason: &str) -> Value {
    json!({
        "id": "c", "message": message, "finish_reason": finish_reason,
        "usage": { "billed_units": { "input_tokens": 1, "output_tokens": 2 }, "tokens": { "input_tokens": 10, "output_tokens": 5, "reasoning_tokens": 3, "image_tokens": 20 }, "cached_tokens": 4 },
    })
}

#[test]
fn a_whole_answer_reaches_both_callers() {
    let call = |id: &str, arguments: Value| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } });
    let message = json!({ "role": "assistant", "tool_plan": "I will", "tool_calls": [call("a", json!("{\"x\":1}")), call("b", json!("")), call("d", Value::Null)] });
    let openai = answer(Dialect::Cohere, Dialect::OpenAi, &whole(&message, "TOOL_CALL"));
    let choice = &openai["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["reasoning_content"]),
        (&json!("tool_calls"), &json!("I will"))
    );
    let arguments = |index: usize| choice["message"]["tool_calls"][index]["function"]["arguments"].clone();
    assert_eq!([arguments(0), arguments(1), arguments(2)], ["{\"x\":1}", "{}", "{}"]);
    // Images are counted beside the input, and what was billed is not what was read.
    assert_eq!(
        (&openai["usage"]["prompt_tokens"], &openai["usage"]["completion_tokens"]),
        (&json!(30), &json!(5))
    );
    assert_eq!(openai["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
    assert_eq!(openai["usage"]["completion_tokens_details"]["reasoning_tokens"], 3);
    let anthropic = answer(Dialect::Cohere, Dialect::Anthropic, &whole(&message, "TOOL_CALL"));
    assert_eq!(anthropic["stop_reason"], "tool_use");
    assert_eq!(anthropic["content"][3], json!({ "type": "tool_use", "id": "d", "name": "f", "input": {} }));
}

#[test]
fn citations_stay_with_the_message() {
    let citation =
        json!({ "start": 0, "end": 1, "text": "a", "sources": [{ "type": "document", "id": "d" }] });
    let message = json!({ "content": [{ "type": "thinking", "thinking": "h" }, { "type": "text", "text": "a" }], "citations": [citation] });
    let openai = answer(Dialect::Cohere, Dialect::OpenAi, &whole(&message, "COMPLETE"));
    let message = &openai["choices"][0]["message"];
    assert_eq!(
        *message,
        json!({ "role": "assistant", "content": "a", "reasoning_content": "h", "citations": [citation] })
    );
}

#[test]
fn reasons_to_stop_are_ours_and_a_failure_is_no_answer() {
    let reason = |word: &str| {
        let body = whole(&json!({ "content": [{ "type": "text", "text": "a" }] }), word);
        answer(Dialect::Cohere, Dialect::OpenAi, &body)["choices"][0]["finish_reason"].clone()
    };
    for (word, ours) in [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("ERROR_TOXIC", "content_filter"),
    ] {
        assert_eq!(reason(word), ours, "{word}");
    }
    for word in ["ERROR", "TIMEOUT"] {
        let json = whole(&json!({ "content": [] }), word).to_string();
        assert_eq!(
            decode_response(Dialect::Cohere, &json).err().map(|error| error.path),
            Some("finish_reason".into())
        );
    }
    let mut body = whole(&json!({ "role": "assistant" }), "ERROR");
    body["error"] = json!("no such luck");
    assert_eq!(
        decode_answer_error(body.to_string().as_bytes()).map(|problem| problem.message),
        Some("no such luck".into())
    );
}

fn delta(kind: &str, message: &Value) -> String {
    json!({ "type": kind, "index": 0, "delta": { "message": message } }).to_string()
}

fn end(delta: &Value) -> String {
    json!({ "type": "message-end", "delta": delta }).to_string()
}

fn said(dialect: Dialect, lines: &[String]) -> Vec<String> {
    events(dialect, &lines.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn calls_side_by_side_are_told_apart_by_their_index() {
    let at = |kind: &str, index: u64, call: Value| {
        json!({ "type": kind, "index": index, "delta": { "message": { "tool_calls": call } } }).to_string()
    };
    let begin = |index: u64, id: &str| {
        at(
            "tool-call-start",
            index,
            json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "" } }),
        )
    };
    let piece = |index: u64, arguments: &str| {
        at("tool-call-delta", index, json!({ "function": { "arguments": arguments } }))
    };
    let close = |index: u64| json!({ "type": "tool-call-end", "index": index }).to_string();
    let end = end(&json!({ "finish_reason": "TOOL_CALL" }));
    let lines = [
        begin(0, "a"),
        begin(1, "b"),
        piece(0, "{\"x\":"),
        piece(1, "{}"),
        piece(0, "1}"),
        close(1),
        close(0),
        end,
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut calls = vec![Value::Null; 2];
    for chunk in data(&stream(Dialect::Cohere, Dialect::OpenAi, &lines)) {
        let Ok(chunk) = serde_json::from_str::<Value>(&chunk) else { continue };
        let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
        let Some(index) = call["index"].as_u64() else { continue };
        let told = &mut calls[index as usize];
        if call.get("id").is_some() {
            *told = json!([call["id"], ""]);
        }
        let said = told[1].as_str().unwrap_or_default().to_owned();
        told[1] = (said + call["function"]["arguments"].as_str().unwrap_or_default()).into();
    }
    assert_eq!(calls, [json!(["a", "{\"x\":1}"]), json!(["b", "{}"])]);
    let mut decoder = StreamDecoder::new(Dialect::Cohere);
    let error = decoder.decode(&piece(7, "{}"), &mut |_| {}).expect_err("is nobody's");
    assert_eq!(error.path, "delta.message.tool_calls");
}

#[test]
fn a_stream_is_plan_calls_text_and_citations() {
    let call = |arguments: Value| json!({ "tool_calls": { "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } } });
    let lines = [
        json!({ "type": "message-start", "id": "m", "delta": { "message": { "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [] } } }).to_string(),
        delta("tool-plan-delta", &json!({ "tool_plan": "I will" })),
        delta("tool-call-start", &call(json!(""))),
        delta("tool-call-delta", &json!({ "tool_calls": { "function": { "arguments": "{\"x\":1}" } } })),
        json!({ "type": "tool-call-end", "index": 0 }).to_string(),
        delta("tool-call-start", &call(Value::Null)).replace("\"index\":0", "\"index\":1"),
        json!({ "type": "tool-call-end", "index": 1 }).to_string(),
        delta("content-start", &json!({ "content": { "type": "text", "text": "" } })),
        delta("content-delta", &json!({ "content": { "text": "a" } })),
        delta("citation-start", &json!({ "citations": { "start": 0, "end": 1 } })),
        json!({ "type": "citation-end", "index": 0 }).to_string(),
        json!({ "type": "content-end", "index": 0 }).to_string(),
        json!({ "type": "debug", "prompt": "p" }).to_string(),
        end(&json!({ "finish_reason": "TOOL_CALL", "usage": { "tokens": { "input_tokens": 1, "output_tokens": 2 } } })),
        "[DONE]".to_owned(),
    ];
    let kinds: Vec<String> = said(Dialect::Cohere, &lines)
        .iter()
        .map(|event| event.split([' ', '(']).next().expect("a name").to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "Start", "Open", "Delta", "Close", "Open", "Delta", "Close", "Open", "Close", "Open", "Delta",
            "Extra", "Close", "Finish", "Usage", "End",
        ]
    );
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let chunks = data(&stream(Dialect::Cohere, Dialect::OpenAi, &lines));
    let deltas: Vec<Value> = chunks
        .iter()
        .filter_map(|chunk| serde_json::from_str::<Value>(chunk).ok())
        .map(|chunk| chunk["choices"][0]["delta"].clone())
        .collect();
    assert!(deltas.iter().any(|delta| delta["citations"] == json!([{ "start": 0, "end": 1 }])));
    let empty = deltas.iter().filter(|delta| delta["tool_calls"][0]["function"]["arguments"] == "{}").count();
    assert_eq!(empty, 1, "the call without arguments has an empty object");
    let anthropic = stream(Dialect::Cohere, Dialect::Anthropic, &lines);
    assert!(anthropic.contains(r#""stop_reason":"tool_use""#) && !anthropic.contains("citation"));
}

#[test]
fn null_among_the_arguments_is_kept_and_null_alone_is_an_empty_object() {
    let start = r#"{"type":"message-start","id":"m"}"#.to_owned();
    let arguments = |pieces: &[Value]| {
        let first = json!({ "tool_calls": { "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } } });
        let mut lines = vec![start.clone(), delta("tool-call-start", &first)];
        lines.extend(pieces.iter().map(|piece| {
            delta("tool-call-delta", &json!({ "tool_calls": { "function": { "arguments": piece } } }))
        }));
        lines.push(r#"{"type":"tool-call-end","index":0}"#.to_owned());
        lines.push(end(&json!({ "finish_reason": "TOOL_CALL", "usage": {} })));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        data(&stream(Dialect::Cohere, Dialect::OpenAi, &lines))
            .iter()
            .filter_map(|chunk| serde_json::from_str::<Value>(chunk).ok())
            .filter_map(|chunk| {
                let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
                call["function"]["arguments"].as_str().map(str::to_owned)
            })
            .collect::<String>()
    };
    assert_eq!(arguments(&[json!("{\"a\":"), json!("null"), json!("}")]), "{\"a\":null}");
    assert_eq!(arguments(&[json!("{"), Value::Null, json!(""), json!("}")]), "{}");
    assert_eq!(arguments(&[json!("null")]), "{}");
    assert_eq!(arguments(&[Value::Null]), "{}");
}

#[test]
fn a_stream_that_fails_or_is_cut_is_no_stop() {
    let last = |lines: &[String]| said(Dialect::Cohere, lines).pop().expect("an end");
    let text = delta("content-delta", &json!({ "content": { "text": "a" } }));
    assert!(last(&[text.clone(), "[DONE]".into()]).contains("upstream_truncated"));
    let failed = |reason: &str, error: Value| {
        last(&[text.clone(), end(&json!({ "finish_reason": reason, "usage": {}, "error": error }))])
    };
    let told = failed("ERROR", json!("the tool generation is invalid"));
    assert!(told.starts_with("Error") && told.contains("the tool generation is invalid"), "{told}");
    assert!(failed("ERROR", Value::Null).starts_with("Error"));
    assert!(failed("TIMEOUT", Value::Null).contains("Timeout"));
    assert!(last(&[text.clone(), r#"{"message":"too many tokens"}"#.into()]).contains("ContextLength"));
}
