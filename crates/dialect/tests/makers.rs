//! Conversations that go on at another provider: each gets back what it signed itself, and nothing that another did.

#[path = "common/mod.rs"]
mod common;

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Delta, Event, Opening, SignatureMarks, has_signature_mark};

use crate::common::{answer, request};

const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini, Dialect::Responses];

/// Providers, whose thoughts theirs are, and a model.
const PROVIDERS: [(Dialect, &str, &str); 4] = [
    (Dialect::Anthropic, "Claude", "claude-sonnet-4-5"),
    (Dialect::Converse, "Claude", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    (Dialect::Gemini, "Gemini", "gemini-3-pro-preview"),
    (Dialect::Responses, "OpenAI", "gpt-5"),
];

const SIGNATURE: &str = "c2lnbmVk";
/// What Google takes for a call that it did not sign.
const EXCUSE: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// A thought that is signed, and a call.
fn given(provider: Dialect) -> Value {
    match provider {
        Dialect::Anthropic => json!({
            "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
            "content": [
                { "type": "thinking", "thinking": "why", "signature": SIGNATURE },
                { "type": "tool_use", "id": "c1", "name": "f", "input": {} },
            ],
            "usage": { "input_tokens": 1, "output_tokens": 2 },
        }),
        Dialect::Converse => json!({
            "output": { "message": { "role": "assistant", "content": [
                { "reasoningContent": { "reasoningText": { "text": "why", "signature": SIGNATURE } } },
                { "toolUse": { "toolUseId": "c1", "name": "f", "input": {} } },
            ] } },
            "stopReason": "tool_use", "usage": { "inputTokens": 1, "outputTokens": 2, "totalTokens": 3 },
        }),
        Dialect::Gemini => json!({
            "candidates": [{ "index": 0, "finishReason": "STOP", "content": { "role": "model", "parts": [
                { "text": "why", "thought": true },
                { "functionCall": { "id": "c1", "name": "f", "args": {} }, "thoughtSignature": SIGNATURE },
            ] } }],
            "responseId": "r", "modelVersion": "m",
        }),
        _ => json!({
            "id": "resp_1", "object": "response", "status": "completed", "model": "m", "created_at": 5,
            "output": [
                { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "why" }], "encrypted_content": SIGNATURE },
                { "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed" },
            ],
        }),
    }
}

/// What a caller asks next: the answer as it came, and the result of its call.
fn next(caller: Dialect, answer: &Value) -> Value {
    match caller {
        Dialect::Anthropic => json!({
            "model": "m", "max_tokens": 3000, "thinking": { "type": "enabled", "budget_tokens": 2000 }, "messages": [
                { "role": "user", "content": "a" },
                { "role": "assistant", "content": answer["content"] },
                { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c1", "content": "r" }] },
            ],
        }),
        Dialect::Gemini => json!({ "contents": [
            { "role": "user", "parts": [{ "text": "a" }] },
            answer["candidates"][0]["content"],
            { "role": "user", "parts": [{ "functionResponse": { "id": "c1", "name": "f", "response": {} } }] },
        ] }),
        Dialect::Responses => {
            let mut input = vec![json!({ "role": "user", "content": "a" })];
            input.extend(answer["output"].as_array().expect("is a list").clone());
            input.push(json!({ "type": "function_call_output", "call_id": "c1", "output": "r" }));
            json!({ "model": "m", "store": false, "input": input })
        }
        _ => json!({ "model": "m", "messages": [
            { "role": "user", "content": "a" },
            answer["choices"][0]["message"],
            { "role": "tool", "tool_call_id": "c1", "content": "r" },
        ] }),
    }
}

/// All that is signed in a request, wherever it stands.
fn signatures(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().flat_map(signatures).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match (&**name, value) {
                ("signature" | "thoughtSignature" | "encrypted_content" | "data", Value::String(text)) => {
                    vec![text.as_str()]
                }
                _ => signatures(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_signature_goes_back_to_its_maker_alone() {
    for caller in CALLERS {
        for (before, signed, _) in PROVIDERS {
            let answer = answer(before, caller, &given(before));
            for (after, takes, model) in PROVIDERS {
                let asked = next(caller, &answer);
                let sent =
                    request(caller, after, model, &ParamPolicy::default(), &asked).expect("is not refused");
                let expected: &[&str] = match (signed == takes, after) {
                    (true, _) => &[SIGNATURE],
                    (false, Dialect::Gemini) => &[EXCUSE],
                    (false, _) => &[],
                };
                assert_eq!(signatures(&sent), expected, "{caller:?}: {before:?}, then {after:?}: {sent}");
                assert!(!has_signature_mark(sent.to_string().as_bytes()), "{sent}");
                assert!(sent.to_string().contains("c1") || after == Dialect::Gemini, "{sent}");
            }
        }
    }
}

#[test]
fn what_was_redacted_goes_back_to_its_maker_alone() {
    let given = json!({
        "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [
            { "type": "redacted_thinking", "data": SIGNATURE },
            { "type": "tool_use", "id": "c1", "name": "f", "input": {} },
        ],
        "usage": { "input_tokens": 1, "output_tokens": 2 },
    });
    // Google's form has no place for it.
    for caller in CALLERS.into_iter().filter(|caller| *caller != Dialect::Gemini) {
        let answer = answer(Dialect::Anthropic, caller, &given);
        for (after, takes, model) in PROVIDERS {
            let sent = request(caller, after, model, &ParamPolicy::default(), &next(caller, &answer));
            let sent = sent.expect("is not refused");
            let kept = sent.to_string().contains(SIGNATURE);
            assert_eq!(kept, takes == "Claude", "{caller:?}, then {after:?}: {sent}");
        }
    }
}

#[test]
fn where_a_caller_speaks_the_providers_dialect_foreign_thoughts_are_left_out_whole() {
    let own = |caller, model, asked: &Value| {
        request(caller, caller, model, &ParamPolicy::default(), asked).expect("is not refused")
    };
    let foreign = json!({ "type": "thinking", "thinking": "why", "signature": "zigguratOfGeminiUw==" });
    let asked = json!({ "model": "m", "max_tokens": 3000, "thinking": { "type": "enabled", "budget_tokens": 2000 }, "messages": [
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": [foreign] },
        { "role": "user", "content": "b" },
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "mine", "signature": "Uw==" },
            { "type": "redacted_thinking", "data": "zigguratOfOpenaiUw==" },
            { "type": "text", "text": "c" },
        ] },
        { "role": "user", "content": "d" },
    ] });
    let sent = own(Dialect::Anthropic, "claude-sonnet-4-5", &asked);
    assert_eq!(
        sent["messages"],
        json!([
            { "role": "user", "content": "a" },
            { "role": "user", "content": "b" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "mine", "signature": "Uw==" },
                { "type": "text", "text": "c" },
            ] },
            { "role": "user", "content": "d" },
        ])
    );
    assert_eq!(sent["thinking"]["type"], "enabled");
    // With a budget, Anthropic takes no turn to go on with whose thought is gone.
    let answer = answer(Dialect::Gemini, Dialect::Anthropic, &given(Dialect::Gemini));
    let sent = own(Dialect::Anthropic, "claude-sonnet-4-5", &next(Dialect::Anthropic, &answer));
    assert_eq!(
        (&sent["thinking"], sent["messages"][1]["content"].as_array().map(Vec::len)),
        (&json!(null), Some(1))
    );
}

#[test]
fn a_turn_that_called_goes_on_without_thinking_at_every_claude_where_its_thought_is_gone() {
    let thinking = |before: Dialect, after: Dialect, model: &str| {
        let asked = next(Dialect::Anthropic, &answer(before, Dialect::Anthropic, &given(before)));
        let sent = request(Dialect::Anthropic, after, model, &ParamPolicy::default(), &asked);
        let sent = sent.expect("is not refused");
        let at = if after == Dialect::Converse {
            "/additionalModelRequestFields/thinking/type"
        } else {
            "/thinking/type"
        };
        sent.pointer(at).cloned()
    };
    for (after, _, model) in [PROVIDERS[0], PROVIDERS[1]] {
        assert_eq!(thinking(Dialect::Anthropic, after, model), Some(json!("enabled")), "{after:?}");
        assert_eq!(thinking(Dialect::Gemini, after, model), None, "{after:?}");
        assert_eq!(thinking(Dialect::Responses, after, model), None, "{after:?}");
    }
}

#[test]
fn a_body_holds_a_mark_where_a_signature_has_one() {
    for body in [
        r#"{"signature":"zigguratOfGeminiUw=="}"#,
        r#"{"signature" : "zigguratOfGeminiUw=="}"#,
        r#"{"data":"zigguratOfOpenaiUw=="}"#,
        r#"{"thoughtSignature":"zigguratOfClaudeUw=="}"#,
        r#"{"thought_signature":"zigguratOfClaudeUw=="}"#,
        r#"{"encrypted_content":"zigguratOfClaudeUw=="}"#,
        r#"{"encrypted_content":"redacted_thinking:zigguratOfClaudeUw=="}"#,
        r#"{"text":"zigguratOf","signature":"zigguratOfClaudeUw=="}"#,
    ] {
        assert!(has_signature_mark(body.as_bytes()), "{body}");
    }
    for body in [
        r#"{"text":"zigguratOfClaudeUw=="}"#,
        r#"{"text":"why zigguratOfClaude"}"#,
        r#"{"signature":"ofzigguratOfClaudeUw=="}"#,
        r#"{"text":"{\"signature\":\"zigguratOfClaudeUw==\"}"}"#,
        r#"["signature","zigguratOfClaudeUw=="]"#,
        r#"{"my_signature":"zigguratOfClaudeUw=="}"#,
        "zigguratOf",
    ] {
        assert!(!has_signature_mark(body.as_bytes()), "{body}");
    }
}

#[test]
fn a_signature_that_comes_in_pieces_is_marked_once() {
    let mut marks = SignatureMarks::new(Dialect::Gemini, Dialect::Anthropic);
    let mut told = |event: Event<'_>| format!("{:?}", marks.event(&event).unwrap_or(event));
    let piece =
        |block, text: &'static str| Event::Delta { choice: 0, block, delta: Delta::Signature(text.into()) };
    let signature =
        |block: u64, text: &str| format!("Delta {{ choice: 0, block: {block}, delta: Signature({text:?}) }}");
    assert_eq!(told(piece(0, "")), signature(0, ""));
    assert_eq!(told(piece(0, "a")), signature(0, "zigguratOfGeminia"));
    assert_eq!(told(piece(1, "c")), signature(1, "zigguratOfGeminic"));
    assert_eq!(told(piece(0, "b")), signature(0, "b"));
    told(Event::Close { choice: 0, block: 0 });
    assert_eq!(told(piece(0, "d")), signature(0, "zigguratOfGeminid"));
    // Behind another gateway it has its mark.
    assert_eq!(told(piece(2, "zigguratOfClaudee")), signature(2, "zigguratOfClaudee"));
    let redacted =
        Event::Open { choice: 0, block: 3, opening: Opening::RedactedThinking { data: "f".into() } };
    assert_eq!(
        told(redacted),
        r#"Open { choice: 0, block: 3, opening: RedactedThinking { data: "zigguratOfGeminif" } }"#
    );
    for caller in [Dialect::OpenAi, Dialect::Anthropic] {
        assert!(SignatureMarks::new(Dialect::Converse, caller).event(&piece(0, "a")).is_none());
    }
}
