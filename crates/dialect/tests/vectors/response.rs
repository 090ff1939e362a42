//! A provider's answer, as an OpenAI caller sees it.

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::{decode_response, encode_response};

use crate::{Rows, dialect, parse_arguments};

#[test]
fn an_answer_reaches_an_openai_caller_as_litellm_gives_it() {
    let Some(rows) = Rows::load("response") else { return };
    rows.run(|rows, row| {
        let json = row["provider_response"].to_string();
        let ours = match decode_response(dialect(row).expect("has one"), &json) {
            Ok(response) => {
                let mut out = Vec::new();
                encode_response(Dialect::OpenAi, &response, 7, &mut out);
                serde_json::from_slice(&out).expect("is JSON")
            }
            Err(error) => json!({ "refused": error.to_string() }),
        };
        let mut ours: Value = ours;
        let mut expected = row["expected"].clone();
        // Converse names no model in its answers.
        if dialect(row) == Some(Dialect::Converse) {
            ours["model"] = expected["model"].clone();
        }
        if matches!(dialect(row), Some(Dialect::Ollama | Dialect::Cohere)) {
            own_names(&mut expected, &mut ours);
        }
        rows.compare(row, &normal(expected), &normal(ours));
    });
}

/// Left out: the model (LiteLLM's name of it; we keep the provider's, where it gives one) and ids of calls that either made.
fn own_names(expected: &mut Value, ours: &mut Value) {
    expected["model"].take();
    ours["model"].take();
    let calls = expected["choices"][0]["message"]["tool_calls"].as_array_mut().into_iter().flatten();
    for (index, call) in calls.enumerate().filter(|(_, call)| call["id"] == "<uuid>") {
        call["id"].take();
        ours["choices"][0]["message"]["tool_calls"][index]["id"].take();
    }
}

/// Left out: `id` and `created` (LiteLLM makes its own, we keep the provider's, or the time of the answer), Gemini's `vertex_ai_` members, which
/// we hand on under Google's names, and what [`message`] and [`usage`] leave out.
fn normal(mut answer: Value) -> Value {
    answer
        .as_object_mut()
        .into_iter()
        .for_each(|answer| answer.retain(|name, _| !name.starts_with("vertex_ai_")));
    answer["id"].take();
    answer["created"].take();
    for choice in answer["choices"].as_array_mut().into_iter().flatten() {
        choice["provider_specific_fields"].take();
        message(&mut choice["message"]);
    }
    usage(&mut answer["usage"]);
    parse_arguments(&mut answer);
    answer
}

/// Left out: `provider_specific_fields`, which repeats other members or holds nothing; content that is empty beside calls; lists of images and
/// of thoughts without any; a call's index in a whole answer, and its id where LiteLLM or we had to make one.
pub(crate) fn message(message: &mut Value) {
    for name in ["images", "thinking_blocks"] {
        if message[name] == json!([]) {
            message[name].take();
        }
    }
    for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
        call["index"].take();
        if call["id"].as_str().is_some_and(|id| id.starts_with("call_")) {
            call["id"] = "call".into();
        }
    }
    message["provider_specific_fields"].take();
    if message["content"] == "" && !message["tool_calls"].is_null() {
        message["content"].take();
    }
}

/// Left out: counts of 0 (LiteLLM writes them where the provider said nothing), `text_tokens` (what is left after all others), `cost`, and details
/// without any.
pub(crate) fn usage(usage: &mut Value) {
    for (name, value) in usage.as_object_mut().into_iter().flatten() {
        match value {
            Value::Object(_) if *value == json!({}) => *value = Value::Null,
            Value::Object(_) => self::usage(value),
            _ if matches!(&**name, "text_tokens" | "cost") || *value == json!(0) => *value = Value::Null,
            _ => {}
        }
    }
}
