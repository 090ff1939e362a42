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
        let response = decode_response(dialect(row).expect("has one"), &json).expect("reads");
        let mut out = Vec::new();
        encode_response(Dialect::OpenAi, &response, 7, &mut out);
        let ours = serde_json::from_slice(&out).expect("is JSON");
        rows.compare(row, &normal(row["expected"].clone()), &normal(ours));
    });
}

/// Left out: `id` and `created` (LiteLLM makes its own, we keep the provider's, or the time of the answer) and what [`message`] and
/// [`usage`] leave out.
fn normal(mut answer: Value) -> Value {
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

/// Left out: `provider_specific_fields`, which repeats other members or holds nothing; content that is empty beside calls.
pub(crate) fn message(message: &mut Value) {
    message["provider_specific_fields"].take();
    if message["content"] == "" && !message["tool_calls"].is_null() {
        message["content"].take();
    }
}

/// Left out: counts of 0 (LiteLLM writes them where the provider said nothing), `text_tokens` (what is left after all others) and `cost`.
pub(crate) fn usage(usage: &mut Value) {
    for (name, value) in usage.as_object_mut().into_iter().flatten() {
        match value {
            Value::Object(_) => self::usage(value),
            _ if matches!(&**name, "text_tokens" | "cost") || *value == json!(0) => *value = Value::Null,
            _ => {}
        }
    }
}
