//! Thoughts on their way from a provider of OpenAI's chats to a caller of another dialect and back.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy, Thoughts};
use ziggurat_dialect::{Encoding, decode_request, encode_request};

use crate::common::{answer, data, request, stream, strict};

const OPENAI: Dialect = Dialect::OpenAi;

/// The messages that a provider is asked with, which takes thoughts in some form.
fn asked(from: Dialect, thoughts: Option<Thoughts>, body: &Value) -> Value {
    let (json, policy, mut out) = (body.to_string(), ParamPolicy::default(), Vec::new());
    let request = decode_request(from, &json).expect("reads");
    let encoding = Encoding::new("m", &policy).thoughts(thoughts);
    encode_request(OPENAI, &request, &encoding, &mut out).expect("is not refused");
    strict(std::str::from_utf8(&out).expect("is UTF-8"))["messages"].clone()
}

const CONTENT: Option<Thoughts> = Some(Thoughts::ReasoningContent);
const DETAILS: Option<Thoughts> = Some(Thoughts::ReasoningDetails);

fn call() -> Value {
    json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } })
}

/// An answer that thinks and calls a tool.
fn given(thoughts: &Value) -> Value {
    let mut message = json!({ "role": "assistant", "content": null, "tool_calls": [call()] });
    message.as_object_mut().expect("is one").extend(thoughts.as_object().cloned().expect("is one"));
    json!({ "id": "r", "model": "m", "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] })
}

/// The chunks of the same, with these deltas ahead of the call.
fn streamed(deltas: &[Value]) -> Vec<String> {
    let mut call = call();
    call["index"] = json!(0);
    let call = json!({ "tool_calls": [call] });
    let chunk =
        |delta: &Value| json!({ "id": "r", "model": "m", "choices": [{ "index": 0, "delta": delta }] });
    let mut chunks: Vec<_> = deltas.iter().chain([&call]).map(|delta| chunk(delta).to_string()).collect();
    chunks
        .push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }).to_string());
    chunks.push("[DONE]".to_owned());
    chunks
}

/// What a caller sends with the tool's result behind an answer.
fn returned(dialect: Dialect, answer: &Value) -> Value {
    match dialect {
        Dialect::Anthropic => json!({ "model": "m", "max_tokens": 5, "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": answer["content"] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "r" }] },
        ] }),
        Dialect::Gemini => json!({ "contents": [
            { "role": "user", "parts": [{ "text": "a" }] },
            answer["candidates"][0]["content"],
            { "role": "user", "parts": [{ "functionResponse": { "id": "c", "name": "f", "response": { "output": "r" } } }] },
        ] }),
        _ => {
            let mut input = vec![json!({ "role": "user", "content": "a" })];
            input.extend(answer["output"].as_array().expect("is a list").iter().cloned());
            input.push(json!({ "type": "function_call_output", "call_id": "c", "output": "r" }));
            json!({ "model": "m", "input": input })
        }
    }
}

/// An answer of Anthropic's, put together from its stream as its SDKs do.
fn gathered(stream: &str) -> Value {
    let mut content: Vec<Value> = Vec::new();
    for event in data(stream) {
        let event: Value = serde_json::from_str(&event).expect("is JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("content_block_start") => content.push(event["content_block"].clone()),
            Some("content_block_delta") => {
                let block = content.last_mut().expect("has begun");
                for member in ["thinking", "signature"] {
                    if let Some(piece) = event["delta"][member].as_str() {
                        block[member] = json!(text(&block[member]) + piece);
                    }
                }
            }
            _ => {}
        }
    }
    json!({ "content": content })
}

/// Both ways through a caller who was answered whole.
fn through(dialect: Dialect, form: Option<Thoughts>, thoughts: &Value) -> Value {
    asked(dialect, form, &returned(dialect, &answer(OPENAI, dialect, &given(thoughts))))[1].clone()
}

/// Both ways through a caller of Anthropic's dialect who was streamed to.
fn through_stream(form: Option<Thoughts>, deltas: &[Value]) -> Value {
    let chunks = streamed(deltas);
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    let answer = gathered(&stream(OPENAI, Dialect::Anthropic, &chunks));
    asked(Dialect::Anthropic, form, &returned(Dialect::Anthropic, &answer))[1].clone()
}

const CALLERS: [Dialect; 3] = [Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];

fn turn(thoughts: &Value) -> Value {
    let mut turn = json!({ "role": "assistant", "content": null, "tool_calls": [call()] });
    turn.as_object_mut().expect("is one").extend(thoughts.as_object().cloned().expect("is one"));
    turn
}

#[test]
fn a_tool_is_used_over_several_turns_with_what_was_thought_ahead_of_each_call() {
    let bodies = [
        (
            Dialect::Anthropic,
            json!({ "model": "m", "max_tokens": 5, "messages": [
                { "role": "user", "content": "a" },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "one", "signature": "" },
                    { "type": "text", "text": "b" },
                    { "type": "tool_use", "id": "c", "name": "f", "input": {} },
                ] },
                { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "r" }] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "two", "signature": "" },
                    { "type": "tool_use", "id": "d", "name": "f", "input": { "x": 1 } },
                ] },
                { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "d", "content": "s" }] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "three", "signature": "" }, { "type": "text", "text": "done" },
                ] },
                { "role": "user", "content": "and?" },
            ] }),
        ),
        (
            Dialect::Responses,
            json!({ "model": "m", "input": [
                { "role": "user", "content": "a" },
                { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "one" }] },
                { "role": "assistant", "content": "b" },
                { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
                { "type": "function_call_output", "call_id": "c", "output": "r" },
                { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "two" }] },
                { "type": "function_call", "call_id": "d", "name": "f", "arguments": "{\"x\":1}" },
                { "type": "function_call_output", "call_id": "d", "output": "s" },
                { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "three" }] },
                { "role": "assistant", "content": "done" },
                { "role": "user", "content": "and?" },
            ] }),
        ),
    ];
    for (dialect, body) in bodies {
        let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } });
        assert_eq!(
            asked(dialect, CONTENT, &body),
            json!([
                { "role": "user", "content": "a" },
                { "role": "assistant", "content": "b", "reasoning_content": "one", "tool_calls": [call("c", "{}")] },
                { "role": "tool", "tool_call_id": "c", "content": "r" },
                { "role": "assistant", "content": null, "reasoning_content": "two", "tool_calls": [call("d", "{\"x\":1}")] },
                { "role": "tool", "tool_call_id": "d", "content": "s" },
                { "role": "assistant", "content": "done", "reasoning_content": "three" },
                { "role": "user", "content": "and?" },
            ]),
            "{dialect:?}"
        );
        assert_eq!(
            asked(dialect, None, &body)[1],
            json!({ "role": "assistant", "content": "b", "tool_calls": [call("c", "{}")] }),
            "{dialect:?}"
        );
    }
}

#[test]
fn plain_words_come_back_in_the_member_that_the_provider_knows() {
    let thoughts = json!({ "reasoning_content": "so \"it\" is\n" });
    let words = "so \"it\" is\n";
    for dialect in CALLERS {
        assert_eq!(through(dialect, CONTENT, &thoughts), turn(&thoughts), "{dialect:?}");
        let reasoning = turn(&json!({ "reasoning": words }));
        assert_eq!(through(dialect, Some(Thoughts::Reasoning), &thoughts), reasoning, "{dialect:?}");
        assert_eq!(through(dialect, DETAILS, &thoughts), reasoning, "{dialect:?}");
        assert_eq!(through(dialect, None, &thoughts), turn(&json!({})), "{dialect:?}");
    }
    let pieces = [json!({ "reasoning_content": "so \"it\"" }), json!({ "reasoning_content": " is\n" })];
    assert_eq!(through_stream(CONTENT, &pieces), turn(&thoughts));
}

#[test]
fn a_call_without_thoughts_says_that_there_are_none_where_they_must_not_be_missing() {
    for dialect in CALLERS {
        let none = json!({});
        assert_eq!(
            through(dialect, CONTENT, &none),
            turn(&json!({ "reasoning_content": "" })),
            "{dialect:?}"
        );
        assert_eq!(through(dialect, Some(Thoughts::Reasoning), &none), turn(&none), "{dialect:?}");
        assert_eq!(through(dialect, DETAILS, &none), turn(&none), "{dialect:?}");
    }
}

#[test]
fn thoughts_that_a_caller_has_as_turns_of_their_own_stand_with_the_call() {
    let body = json!({ "contents": [
        { "role": "user", "parts": [{ "text": "a" }] },
        { "role": "model", "parts": [{ "text": "so ", "thought": true }] },
        { "role": "model", "parts": [{ "text": "it is", "thought": true }] },
        { "role": "model", "parts": [{ "functionCall": { "id": "c", "name": "f", "args": {} } }] },
        { "role": "user", "parts": [{ "functionResponse": { "id": "c", "name": "f", "response": { "output": "r" } } }] },
    ] });
    let messages = asked(Dialect::Gemini, CONTENT, &body);
    assert_eq!(messages[1], turn(&json!({ "reasoning_content": "so it is" })));
    assert_eq!(messages.as_array().map(Vec::len), Some(3));
}

/// What OpenRouter tells of a thought of Claude's, of OpenAI's and of Gemini's.
fn details() -> [Value; 3] {
    [
        json!([
            { "type": "reasoning.text", "text": "so \"it\" is", "signature": "S+/=", "format": "anthropic-claude-v1", "index": 0 },
        ]),
        json!([
            { "type": "reasoning.summary", "summary": "so \"it\" is", "format": "openai-responses-v1", "index": 0 },
            { "type": "reasoning.encrypted", "data": "gAAA-_", "format": "openai-responses-v1", "index": 0, "id": "rs_1" },
        ]),
        json!([{ "type": "reasoning.encrypted", "data": "Ej==", "format": "google-gemini-v1", "id": "c", "index": 0, "new": [1] }]),
    ]
}

fn with_words(details: &Value) -> Value {
    match details[0]["type"] == "reasoning.encrypted" {
        true => json!({ "reasoning_details": details }),
        false => json!({ "reasoning": "so \"it\" is", "reasoning_details": details }),
    }
}

#[test]
fn what_a_gateway_signed_comes_back_as_it_was() {
    for details in details() {
        let thoughts = with_words(&details);
        for dialect in CALLERS {
            assert_eq!(through(dialect, DETAILS, &thoughts), turn(&thoughts), "{dialect:?}");
        }
        // Where another provider takes the turn over, the words are all that it is told.
        let words = thoughts["reasoning"].as_str().unwrap_or_default();
        for dialect in CALLERS {
            let plain = turn(&json!({ "reasoning_content": words }));
            assert_eq!(through(dialect, CONTENT, &thoughts), plain, "{dialect:?}");
        }
    }
}

#[test]
fn what_a_gateway_signed_in_a_stream_comes_back_whole() {
    let [claude, openai, gemini] = details();
    let piece = |text: &str| {
        let detail =
            json!({ "type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0 });
        json!({ "reasoning": text, "reasoning_details": [detail] })
    };
    let signature =
        json!({ "type": "reasoning.text", "signature": "S+/=", "format": "anthropic-claude-v1", "index": 0 });
    let pieces = [piece("so \"it\""), piece(" is"), json!({ "reasoning_details": [signature] })];
    assert_eq!(through_stream(DETAILS, &pieces), turn(&with_words(&claude)));
    let pieces = [
        json!({ "reasoning": "so \"it\" is", "reasoning_details": [openai[0]] }),
        json!({ "content": "", "reasoning_details": [openai[1]] }),
    ];
    assert_eq!(through_stream(DETAILS, &pieces), turn(&with_words(&openai)));
    let pieces = [json!({ "content": "", "reasoning_details": gemini })];
    assert_eq!(through_stream(DETAILS, &pieces), turn(&with_words(&gemini)));
    // Two thoughts that follow each other are told apart by their index, and a signature needs no words.
    let detail = |index: u64, text: &str, signature: &str| json!({ "type": "reasoning.text", "text": text, "signature": signature, "format": "anthropic-claude-v1", "index": index });
    let pieces = [
        json!({ "reasoning": "a", "reasoning_details": [detail(0, "a", "S")] }),
        json!({ "reasoning": "b", "reasoning_details": [detail(1, "b", "T")] }),
    ];
    let both = json!([detail(0, "a", "S"), detail(1, "b", "T")]);
    let told = json!({ "reasoning": "ab", "reasoning_details": both });
    assert_eq!(through_stream(DETAILS, &pieces), turn(&told));
    let pieces = [json!({ "reasoning_details": [detail(0, "", "S")] })];
    assert_eq!(through_stream(DETAILS, &pieces), turn(&json!({ "reasoning_details": [detail(0, "", "S")] })));
}

#[test]
fn openais_callers_have_the_details_in_their_own_words_alone() {
    for details in details() {
        let given = given(&with_words(&details));
        let got = answer(OPENAI, OPENAI, &given);
        let message = &got["choices"][0]["message"];
        assert_eq!(message["reasoning_details"], details);
        assert_eq!(message["thinking_blocks"], Value::Null);
        let chunks = streamed(&[with_words(&details)]);
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let stream = stream(OPENAI, OPENAI, &chunks);
        assert!(stream.contains("\"reasoning_details\":") && !stream.contains("zigguratOf"), "{stream}");
    }
}

#[test]
fn another_makers_signature_goes_to_nobody_else() {
    let body = json!({ "model": "m", "max_tokens": 5, "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "ClaudesOwn" },
            { "type": "redacted_thinking", "data": "ClaudesOwn" },
            { "type": "thinking", "thinking": "", "signature": "zigguratOfRouterNo+Json=" },
            { "type": "tool_use", "id": "c", "name": "f", "input": {} },
        ] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "r" }] },
    ] });
    assert_eq!(asked(Dialect::Anthropic, DETAILS, &body)[1], turn(&json!({ "reasoning": "hm" })));
    assert_eq!(asked(Dialect::Anthropic, CONTENT, &body)[1], turn(&json!({ "reasoning_content": "hm" })));
    // Nor does a gateway's go to Claude.
    let answer = answer(OPENAI, Dialect::Anthropic, &given(&with_words(&details()[0])));
    let body = returned(Dialect::Anthropic, &answer);
    let policy = ParamPolicy::default();
    let sent = request(Dialect::Anthropic, Dialect::Anthropic, "claude-sonnet-4-5", &policy, &body);
    let content = json!([{ "type": "tool_use", "id": "c", "name": "f", "input": {} }]);
    assert_eq!(sent.expect("is not refused")["messages"][1]["content"], content);
}

#[test]
fn openais_callers_send_thoughts_back_as_they_stand() {
    let body = json!({ "model": "m", "messages": [
        { "role": "user", "content": "a" },
        turn(&json!({ "reasoning_content": "hm", "reasoning_details": details()[1] })),
        { "role": "tool", "tool_call_id": "c", "content": "r" },
    ] });
    for form in [None, CONTENT, DETAILS] {
        assert_eq!(asked(OPENAI, form, &body), body["messages"], "{form:?}");
    }
}

#[test]
fn details_of_two_thoughts_in_one_chunk_are_two_thoughts() {
    let detail = |index: u64, text: &str, signature: &str| json!({ "type": "reasoning.text", "text": text, "signature": signature, "format": "f", "index": index });
    let details = json!([detail(0, "a", "S"), detail(1, "b", "T")]);
    let chunk = json!({ "reasoning": "ab", "reasoning_details": details });
    assert_eq!(
        through_stream(DETAILS, &[chunk]),
        turn(&json!({ "reasoning": "ab", "reasoning_details": details }))
    );
}
