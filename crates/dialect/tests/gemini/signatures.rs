//! Signatures of thoughts on their way to a caller and back: Google wants each on the part with which it came, and from generation 3 on refuses a
//! call without.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};

use crate::common::{answer, data, request, stream};

const MODEL: &str = "gemini-3-pro-preview";

fn given(parts: &Value) -> Value {
    json!({
        "candidates": [{ "content": { "parts": parts, "role": "model" }, "finishReason": "STOP", "index": 0 }],
        "responseId": "r", "modelVersion": "m",
    })
}

/// The parts of the model's turn when a caller sends the answer's message back, with results for its calls.
fn returned(dialect: Dialect, message: &Value) -> Value {
    let mut messages = vec![json!({ "role": "user", "content": "a" }), message.clone()];
    let ids = |list: &Value, kind: Option<&str>| -> Vec<Value> {
        let blocks = list.as_array().into_iter().flatten();
        let calls = blocks.filter(|block| kind.is_none_or(|kind| block["type"] == kind));
        calls.map(|call| call["id"].clone()).collect()
    };
    match dialect {
        Dialect::Anthropic => {
            let result = |id| json!({ "type": "tool_result", "tool_use_id": id, "content": "r" });
            let results: Vec<_> =
                ids(&message["content"], Some("tool_use")).into_iter().map(result).collect();
            messages.push(json!({ "role": "user", "content": results }));
        }
        _ => messages.extend(
            ids(&message["tool_calls"], None)
                .into_iter()
                .map(|id| json!({ "role": "tool", "tool_call_id": id, "content": "r" })),
        ),
    }
    let asked = json!({ "model": "m", "max_tokens": 5, "messages": messages });
    let body =
        request(dialect, Dialect::Gemini, MODEL, &ParamPolicy::default(), &asked).expect("is not refused");
    body["contents"][1]["parts"].clone()
}

/// The parts of an answer's turn after its way through a caller.
fn through(dialect: Dialect, parts: &Value) -> Value {
    let answer = answer(Dialect::Gemini, dialect, &given(parts));
    let mut parts = match dialect {
        Dialect::Anthropic => {
            returned(dialect, &json!({ "role": "assistant", "content": answer["content"] }))
        }
        _ => returned(dialect, &answer["choices"][0]["message"]),
    };
    for part in parts.as_array_mut().into_iter().flatten() {
        if let Some(call) = part["functionCall"].as_object_mut() {
            call.remove("id");
        }
        part.as_object_mut().expect("is an object").retain(|_, value| !value.is_null());
    }
    parts
}

const CALLERS: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

#[test]
fn a_signature_survives_on_the_call_that_it_signs() {
    let call = |name: &str| json!({ "name": name, "args": { "x": 1 } });
    for parts in [
        json!([{ "functionCall": call("f"), "thoughtSignature": "S" }]),
        json!([{ "functionCall": call("f"), "thoughtSignature": "S" }, { "functionCall": call("g") }]),
        json!([{ "text": "let me see" }, { "functionCall": call("f"), "thoughtSignature": "S" }]),
        json!([{ "text": "why", "thought": true }, { "functionCall": call("f"), "thoughtSignature": "S" }]),
        json!([{ "functionCall": call("f"), "thoughtSignature": "S" }, { "functionCall": call("g"), "thoughtSignature": "T" }]),
    ] {
        for dialect in CALLERS {
            assert_eq!(through(dialect, &parts), parts, "{dialect:?}");
        }
    }
}

#[test]
fn a_signature_survives_on_text() {
    for parts in [
        json!([{ "text": "a", "thoughtSignature": "S" }]),
        json!([{ "text": "why", "thought": true }, { "text": "a", "thoughtSignature": "S" }]),
        json!([{ "text": "a", "thoughtSignature": "S" }, { "functionCall": { "name": "f", "args": {} }, "thoughtSignature": "T" }]),
    ] {
        for dialect in CALLERS {
            assert_eq!(through(dialect, &parts), parts, "{dialect:?}");
        }
    }
    // What comes last stays last where the caller keeps the order, and goes onto the text where it does not.
    let parts = json!([{ "text": "a" }, { "text": "", "thoughtSignature": "S" }]);
    assert_eq!(through(Dialect::Anthropic, &parts), parts);
    assert_eq!(through(Dialect::OpenAi, &parts), json!([{ "text": "a", "thoughtSignature": "S" }]));
}

#[test]
fn no_id_holds_a_signature() {
    let parts = json!([{ "functionCall": { "name": "f", "args": {} }, "thoughtSignature": "SIGNATURE" }]);
    let openai = answer(Dialect::Gemini, Dialect::OpenAi, &given(&parts));
    let call = &openai["choices"][0]["message"]["tool_calls"][0];
    assert!(call["id"].as_str().is_some_and(|id| id.starts_with("call_") && id.len() < 20));
    assert_eq!(call["thoughtSignature"], "SIGNATURE");
    let block = json!({ "type": "thinking", "thinking": "", "signature": "zigguratOfGeminiSIGNATURE" });
    assert_eq!(openai["choices"][0]["message"]["thinking_blocks"], json!([block]));
}

#[test]
fn either_way_back_is_enough_and_other_names_are_known() {
    let function = json!({ "name": "f", "arguments": "{}" });
    let call = |member: &str, value: &Value| json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "1", "type": "function", "function": function, member: value }] });
    for message in [
        call("thoughtSignature", &json!("S")),
        call("extra_content", &json!({ "google": { "thought_signature": "S" } })),
        call("provider_specific_fields", &json!({ "thought_signature": "S" })),
    ] {
        assert_eq!(returned(Dialect::OpenAi, &message)[0]["thoughtSignature"], "S", "{message}");
    }
    let mut thought = call("x", &json!(null));
    thought["thinking_blocks"] =
        json!([{ "type": "thinking", "thinking": "", "signature": "zigguratOfGeminiS" }]);
    assert_eq!(returned(Dialect::OpenAi, &thought)[0]["thoughtSignature"], "S");
    // A caller that keeps neither still has its history read.
    let bare = returned(Dialect::OpenAi, &call("x", &json!(null)));
    assert_eq!(bare[0]["thoughtSignature"], "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=");
}

#[test]
fn a_stream_gives_the_same_signatures() {
    let chunk = |parts: &Value| given(parts).to_string();
    let thought = chunk(&json!([{ "text": "why", "thought": true }]));
    let call = chunk(&json!([{ "functionCall": { "name": "f", "args": {} }, "thoughtSignature": "S" }]));
    let openai = stream(Dialect::Gemini, Dialect::OpenAi, &[&thought, &call]);
    let deltas: Vec<Value> = data(&openai)
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .map(|chunk| chunk["choices"][0]["delta"].clone())
        .collect();
    let said =
        |member: &str| deltas.iter().filter_map(move |delta| delta.get(member)).cloned().collect::<Vec<_>>();
    assert_eq!(said("tool_calls")[0][0]["thoughtSignature"], "S");
    assert!(
        said("thinking_blocks")
            .iter()
            .any(|blocks| blocks[0]["signature"] == "zigguratOfGeminiS" && blocks[0]["index"] == 0)
    );
    let anthropic = stream(Dialect::Gemini, Dialect::Anthropic, &[&thought, &call]);
    assert!(anthropic.contains(r#""type":"signature_delta","signature":"zigguratOfGeminiS""#));
}
