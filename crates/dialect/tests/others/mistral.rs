//! Mistral, a relative of OpenAI's with words of its own.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, Refused, decode_request, decode_response, encode_request, openai::to_mistral,
};

use crate::common::{answer, data, dropping, events, stream, strict};

fn asked(from: Dialect, model: &str, body: &Value, policy: &ParamPolicy) -> Result<Value, Refused> {
    let json = body.to_string();
    let mut request = decode_request(from, &json).expect("reads");
    let (encoding, mut out) = (Encoding::new(model, policy), Vec::new());
    to_mistral(&mut request, &encoding)?;
    encode_request(Dialect::OpenAi, &request, &encoding, &mut out)?;
    Ok(strict(std::str::from_utf8(&out).expect("is UTF-8")))
}

fn ask(body: &Value) -> Value {
    asked(Dialect::OpenAi, "mistral-large-latest", body, &ParamPolicy::default()).expect("is not refused")
}

fn refused(body: &Value) -> Vec<String> {
    match asked(Dialect::OpenAi, "mistral-large-latest", body, &ParamPolicy::default()) {
        Err(Refused::Unsupported(mut names)) => {
            names.sort();
            names
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn parameters_have_mistrals_names_and_no_others_are_sent() {
    let body = json!({
        "model": "m", "messages": [{ "role": "developer", "content": "s" }, { "role": "user", "content": "x" }], "max_completion_tokens": 5,
        "seed": 7, "safe_prompt": true, "stream": true, "stream_options": { "include_usage": true, "x": 1 }, "metadata": { "a": "b" },
        "tools": [{ "type": "function", "function": { "name": "f" }, "cache_control": { "type": "ephemeral" } }], "tool_choice": "required",
        "store": false, "n": 2, "presence_penalty": 0.5, "parallel_tool_calls": false,
    });
    assert_eq!(
        ask(&body),
        json!({
            "model": "mistral-large-latest", "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "x" }],
            "max_tokens": 5, "random_seed": 7, "safe_prompt": true, "stream": true,
            "tools": [{ "type": "function", "function": { "name": "f" } }], "tool_choice": "any", "n": 2, "presence_penalty": 0.5,
            "parallel_tool_calls": false,
        })
    );
}

#[test]
fn what_mistral_cannot_be_asked_goes_by_the_policy() {
    let body = json!({
        "model": "m", "messages": [{ "role": "user", "name": "u", "content": [{ "type": "text", "text": "x", "y": 1 }] }], "user": "u",
        "logprobs": true, "logit_bias": { "1": 2 }, "reasoning_effort": "low", "web_search_options": {}, "service_tier": "flex",
        "tools": [{ "type": "function", "function": { "name": "f", "z": 1 } }],
    });
    assert_eq!(
        refused(&body),
        [
            "logit_bias",
            "logprobs",
            "messages[0].content[0].y",
            "messages[0].name",
            "reasoning_effort",
            "service_tier",
            "tools[0].function.z",
            "web_search_options",
        ]
    );
    assert_eq!(
        asked(Dialect::OpenAi, "m", &body, &dropping()).expect("is not refused"),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "tools": [{ "type": "function", "function": { "name": "f" } }] })
    );
    let silent = json!({ "model": "m", "messages": [], "reasoning_effort": "none" });
    assert_eq!(ask(&silent)["reasoning_effort"], Value::Null);
    let file = json!([{ "type": "file", "file": { "file_id": "f" } }]);
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": file }] });
    assert!(asked(Dialect::OpenAi, "m", &body, &dropping()).is_err());
}

#[test]
fn reasoning_is_asked_of_models_that_can_be_told() {
    let effort = |model: &str, members: Value| {
        let mut body = json!({ "model": "m", "messages": [] });
        body.as_object_mut()
            .expect("is an object")
            .extend(members.as_object().expect("is an object").clone());
        let body = asked(Dialect::OpenAi, model, &body, &dropping()).expect("is not refused");
        assert_eq!(body["thinking"], Value::Null);
        body["reasoning_effort"].clone()
    };
    assert_eq!(effort("mistral-small-latest", json!({ "reasoning_effort": "low" })), "high");
    assert_eq!(effort("mistral-medium-3-5", json!({ "reasoning_effort": "none" })), "none");
    assert_eq!(effort("mistral-large-4-0", json!({ "reasoning_effort": "low" })), "low");
    assert_eq!(effort("magistral-medium-latest", json!({ "reasoning_effort": "low" })), Value::Null);
    assert_eq!(effort("mistral-small-latest", json!({ "thinking": { "type": "adaptive" } })), "high");
    assert_eq!(effort("mistral-small-latest", json!({ "thinking": { "type": "disabled" } })), "none");
    assert_eq!(
        effort("mistral-small-latest", json!({ "thinking": { "type": "enabled", "budget_tokens": 1 } })),
        "high"
    );
}

fn conversation(id: &str) -> Value {
    json!({ "model": "m", "messages": [
        { "role": "assistant", "content": null, "refusal": null, "annotations": [], "reasoning_content": "h",
          "thinking_blocks": [{ "type": "thinking", "thinking": "h", "signature": "S" }],
          "tool_calls": [{ "id": id, "index": 0, "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "name": "f", "tool_call_id": id, "content": [{ "type": "text", "text": "r", "cache_control": {} }] },
    ] })
}

#[test]
fn ids_of_calls_are_nine_letters_and_a_result_has_its_calls() {
    let ids = |id: &str| {
        let body = ask(&conversation(id));
        let given = body["messages"][0]["tool_calls"][0]["id"].as_str().expect("an id").to_owned();
        assert_eq!(body["messages"][1]["tool_call_id"], given);
        given
    };
    assert_eq!(ids("D681PevKs"), "D681PevKs");
    let hashed = ids("call_9pw1qnYScqvGrCH58HWCvFH6");
    assert!(hashed.len() == 9 && hashed.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{hashed}");
    assert_eq!(hashed, ids("call_9pw1qnYScqvGrCH58HWCvFH6"));
    assert_ne!(hashed, ids("call_9pw1qnYScqvGrCH58HWCvFH7"));
}

#[test]
fn nothing_is_sent_back_that_only_an_answer_has() {
    let id = "D681PevKs";
    assert_eq!(
        ask(&conversation(id))["messages"],
        json!([
            { "role": "assistant", "content": null, "tool_calls": [{ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "name": "f", "tool_call_id": id, "content": "r" },
        ])
    );
    // Mistral's own thoughts are parts of the content.
    let own = json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "h" }] }, { "type": "text", "text": "a" }]);
    let body = json!({ "model": "m", "messages": [{ "role": "assistant", "content": own }, { "role": "user", "content": "x" }] });
    assert_eq!(ask(&body)["messages"][0]["content"], own);
}

#[test]
fn what_mistral_thought_goes_back_to_it_in_its_own_words() {
    let thought = json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "h\n" }] });
    let text = json!({ "type": "text", "text": "a" });
    let given = json!({ "id": "c", "choices": [{ "index": 0, "message": { "content": [thought, text] }, "finish_reason": "stop" }] });
    let sent = |caller: Dialect, model: &str, said: &Value| {
        let messages = json!([{ "role": "user", "content": "x" }, said, { "role": "user", "content": "y" }]);
        let body = json!({ "model": "m", "max_tokens": 5, "messages": messages });
        asked(caller, model, &body, &ParamPolicy::default()).expect("is not refused")["messages"][1].clone()
    };
    let message = answer(Dialect::OpenAi, Dialect::OpenAi, &given)["choices"][0]["message"].clone();
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("a"), &json!("h\n")));
    let turn = json!({ "role": "assistant", "content": [thought, text] });
    assert_eq!(sent(Dialect::OpenAi, "magistral-medium-latest", &message), turn);
    assert_eq!(sent(Dialect::OpenAi, "mistralai/mistral-small-latest", &message), turn);
    let content = &answer(Dialect::OpenAi, Dialect::Anthropic, &given)["content"];
    let message_of = json!({ "role": "assistant", "content": content });
    assert_eq!(sent(Dialect::Anthropic, "magistral-medium-latest", &message_of), turn);
    // With a call and no word, too.
    let call =
        json!({ "id": "D681PevKs", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let calls = json!({ "role": "assistant", "content": null, "reasoning": "h\n", "reasoning_content": "", "tool_calls": [call] });
    let turn = json!({ "role": "assistant", "content": [thought], "tool_calls": [call] });
    assert_eq!(sent(Dialect::OpenAi, "magistral-medium-latest", &calls), turn);
    // A model that does not think has no part for it, and what another maker signed is not Mistral's.
    let plain = json!({ "role": "assistant", "content": "a" });
    assert_eq!(sent(Dialect::OpenAi, "ministral-8b-latest", &message), plain);
    let mut foreign = message;
    foreign["thinking_blocks"] = json!([{ "type": "thinking", "thinking": "h", "signature": "S" }]);
    assert_eq!(sent(Dialect::OpenAi, "magistral-medium-latest", &foreign), plain);
    for odd in [json!(null), json!(7), json!(["h"]), json!("")] {
        let message = json!({ "role": "assistant", "content": "a", "reasoning_content": odd });
        assert_eq!(sent(Dialect::OpenAi, "magistral-medium-latest", &message), plain, "{odd}");
    }
}

#[test]
fn what_mistral_thought_goes_back_from_items_too() {
    let body = json!({ "model": "m", "input": [
        { "role": "user", "content": "x" },
        { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "h" }] },
        { "role": "assistant", "content": "a" },
        { "type": "function_call", "call_id": "D681PevKs", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "D681PevKs", "output": "r" },
    ] });
    let sent = |model: &str| {
        let body = asked(Dialect::Responses, model, &body, &ParamPolicy::default());
        body.expect("is not refused")["messages"][1].clone()
    };
    let thought = json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "h" }] });
    let call =
        json!({ "id": "D681PevKs", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let content = json!([thought, { "type": "text", "text": "a" }]);
    let turn = json!({ "role": "assistant", "content": content, "tool_calls": [call] });
    assert_eq!(sent("magistral-medium-latest"), turn);
    let plain = json!({ "role": "assistant", "content": "a", "tool_calls": [call] });
    assert_eq!(sent("ministral-8b-latest"), plain);
}

#[test]
fn a_last_turn_of_the_assistants_is_marked_as_a_beginning() {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }, { "role": "assistant", "content": "{" }] });
    assert_eq!(ask(&body)["messages"][1], json!({ "role": "assistant", "content": "{", "prefix": true }));
}

#[test]
fn an_anthropic_caller_reaches_mistral() {
    let body = json!({ "model": "m", "max_tokens": 5, "system": "s", "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu_1", "name": "f", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_1", "content": "r" }] },
    ], "tools": [{ "name": "f", "input_schema": {} }], "tool_choice": { "type": "any" }, "metadata": { "user_id": "u" } });
    // The end user is for a provider's own records: where it has no place, nobody is refused for it.
    let written = asked(Dialect::Anthropic, "m", &body, &ParamPolicy::default()).expect("is not refused");
    let id = &written["messages"][2]["tool_calls"][0]["id"];
    assert_eq!(id.as_str().map(str::len), Some(9));
    assert_eq!(written["messages"][3]["tool_call_id"], *id);
    assert_eq!(
        (&written["tool_choice"], &written["user"], &written["max_tokens"]),
        (&json!("any"), &Value::Null, &json!(5))
    );
}

#[test]
fn old_and_new_answers_are_read() {
    let body = |message: Value, reason: &str| json!({ "id": "c", "choices": [{ "index": 0, "message": message, "finish_reason": reason }] });
    let call = json!({ "id": "D681PevKs", "function": { "name": "f", "arguments": { "x": 1 } } });
    let anthropic =
        |message: Value, reason: &str| answer(Dialect::OpenAi, Dialect::Anthropic, &body(message, reason));
    let called = anthropic(json!({ "content": "", "tool_calls": [call] }), "tool_calls");
    assert_eq!(
        called["content"],
        json!([{ "type": "tool_use", "id": "D681PevKs", "name": "f", "input": { "x": 1 } }])
    );
    let thought = json!([
        { "type": "thinking", "thinking": [{ "type": "text", "text": "h" }], "closed": true }, { "type": "text", "text": "a" },
        { "type": "reference", "reference_ids": [1] }, { "type": "text", "text": "b" },
    ]);
    let read = anthropic(json!({ "content": thought }), "model_length");
    assert_eq!((&read["stop_reason"], &read["content"][0]["thinking"]), (&json!("max_tokens"), &json!("h")));
    assert_eq!((&read["content"][1]["text"], &read["content"][2]["text"]), (&json!("a"), &json!("b")));
}

#[test]
fn references_stand_beside_a_content_that_is_a_text() {
    let reference = json!({ "type": "reference", "reference_ids": [1, 2] });
    let parts = json!([
        { "type": "text", "text": "a" }, reference, { "type": "text", "text": "b" }, { "type": "reference", "reference_ids": ["x"] },
    ]);
    let whole = json!({ "id": "c", "choices": [{ "index": 0, "message": { "content": parts }, "finish_reason": "stop" }] });
    let message = answer(Dialect::OpenAi, Dialect::OpenAi, &whole)["choices"][0]["message"].clone();
    assert_eq!(
        message,
        json!({ "role": "assistant", "content": "ab", "references": [reference, { "type": "reference", "reference_ids": ["x"] }] })
    );
    // They came with an answer, and do not go back.
    let body = json!({ "model": "m", "messages": [message, { "role": "user", "content": "x" }] });
    assert_eq!(ask(&body)["messages"][0], json!({ "role": "assistant", "content": "ab" }));
    let chunk = |content: Value| {
        json!({ "id": "c", "model": "m", "choices": [{ "index": 0, "delta": { "content": content } }] })
            .to_string()
    };
    let lines =
        [chunk(json!("a")), chunk(json!([reference])), chunk(json!([{ "type": "text", "text": "b" }]))];
    let end =
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}"#;
    let told = stream(Dialect::OpenAi, Dialect::OpenAi, &[&lines[0], &lines[1], &lines[2], end, "[DONE]"]);
    let deltas: Vec<Value> = data(&told)
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .map(|chunk| chunk["choices"][0]["delta"].clone())
        .collect();
    let said = |name: &str| deltas.iter().filter_map(|delta| delta.get(name)).cloned().collect::<Vec<_>>();
    let texts: Vec<_> = said("content").iter().filter_map(|text| text.as_str().map(str::to_owned)).collect();
    assert_eq!((texts.concat().as_str(), said("references")), ("ab", vec![json!([reference])]));
    assert!(said("content").iter().all(|content| !content.is_array()), "{told}");
}

#[test]
fn the_end_of_the_window_is_told_in_openais_word() {
    let whole = json!({ "id": "c", "choices": [{ "index": 0, "message": { "content": "a" }, "finish_reason": "model_length" }] });
    assert_eq!(answer(Dialect::OpenAi, Dialect::OpenAi, &whole)["choices"][0]["finish_reason"], "length");
    let chunk = json!({ "id": "c", "choices": [{ "index": 0, "delta": { "content": "a" }, "finish_reason": "model_length" }] });
    let told = stream(Dialect::OpenAi, Dialect::OpenAi, &[&chunk.to_string(), "[DONE]"]);
    assert!(told.contains("\"finish_reason\":\"length\"") && !told.contains("model_length"), "{told}");
}

#[test]
fn audio_is_counted_beside_the_prompt() {
    let read = |total: u64| {
        let json = json!({ "id": "c", "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": total,
            "prompt_tokens_details": { "audio_tokens": 5 }, "prompt_audio_seconds": {} } });
        let json = json.to_string();
        let counts = decode_response(Dialect::OpenAi, &json).expect("reads").usage.expect("has usage").counts;
        (counts.input, counts.audio_input, counts.output)
    };
    assert_eq!(read(18), (Some(14), Some(5), Some(4)));
    assert_eq!(read(13), (Some(9), Some(5), Some(4)));
}

#[test]
fn a_stream_has_whole_calls_without_index_and_thoughts_in_lists() {
    let chunk = |delta: Value, reason: Value| {
        json!({ "id": "c", "model": "m", "p": "abc", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] }).to_string()
    };
    let call =
        |id: &str, arguments: Value| json!({ "id": id, "function": { "name": "f", "arguments": arguments } });
    let lines = [
        chunk(
            json!({ "role": "assistant", "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "h" }] }] }),
            Value::Null,
        ),
        chunk(
            json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "m" }] }] }),
            Value::Null,
        ),
        chunk(json!({ "content": "a" }), Value::Null),
        chunk(
            json!({ "content": null, "tool_calls": [call("D681PevKs", json!({ "x": 1 })), call("D681PevKt", json!("{}"))] }),
            json!("tool_calls"),
        ),
        "[DONE]".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let said = events(Dialect::OpenAi, &lines);
    let of = |kind: &str| said.iter().filter(|event| event.starts_with(kind)).cloned().collect::<Vec<_>>();
    assert_eq!(of("Open").len(), 4, "{said:?}");
    assert!(of("Open")[2].contains("D681PevKs") && of("Open")[3].contains("D681PevKt"));
    assert_eq!(of("Delta").iter().filter(|delta| delta.contains("Arguments")).count(), 2);
    assert!(said.last().is_some_and(|last| last == "End"));
}

#[test]
fn an_answer_that_ends_in_an_error_is_no_stop() {
    let failed = r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"error"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let said = events(Dialect::OpenAi, &[failed, "[DONE]"]);
    let kinds: Vec<_> = said.iter().map(|event| event.split([' ', '(']).next().expect("a name")).collect();
    assert_eq!(kinds, ["Start", "Open", "Delta", "Usage", "Error"]);
}
