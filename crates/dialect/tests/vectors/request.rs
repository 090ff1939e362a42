//! A request of an OpenAI caller's, as a provider is asked.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, Refused, Request, decode_request, encode_request, openai::to_mistral};

use crate::{Rows, dialect, model, parse_arguments};

#[test]
fn a_request_reaches_anthropic_as_litellm_sends_it() {
    run("request_anthropic", |_| {}, |_, _| Ok(()));
}

/// Left out: lists of images and options that are empty.
#[test]
fn a_request_reaches_ollama_as_litellm_sends_it() {
    let normal = |expected: &mut Value| {
        let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty) || *value == json!({});
        let messages = expected["messages"].as_array_mut().into_iter().flatten();
        messages.map(|message| &mut message["images"]).filter(|images| is_empty(images)).for_each(|images| {
            images.take();
        });
        if is_empty(&expected["options"]) {
            expected["options"].take();
        }
    };
    run("request_ollama", normal, |_, _| Ok(()));
}

#[test]
fn a_request_reaches_cohere_as_litellm_sends_it() {
    run("request_cohere", |_| {}, |_, _| Ok(()));
}

#[test]
fn a_request_reaches_mistral_as_litellm_sends_it() {
    run("request_mistral", |_| {}, to_mistral);
}

/// Google takes both spellings of its names; LiteLLM mixes them.
#[test]
fn a_request_reaches_gemini_as_litellm_sends_it() {
    run("request_gemini", |_| {}, |_, _| Ok(()));
}

fn camel(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let renamed = members.into_iter().map(|(name, value)| {
                let mut words = name.split('_');
                let first = words.next().unwrap_or_default().to_owned();
                let camel = words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..]);
                (camel, self::camel(value))
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => items.into_iter().map(camel).collect(),
        value => value,
    }
}

fn run(
    file: &'static str,
    normal: impl Fn(&mut Value),
    reshape: impl Fn(&mut Request<'_>, &Encoding<'_>) -> Result<(), Refused>,
) {
    let Some(rows) = Rows::load(file) else { return };
    rows.run(|rows, row| {
        let asked = row["openai_request"].to_string();
        let mut request = decode_request(Dialect::OpenAi, &asked).expect("reads");
        let mut policy = ParamPolicy::default();
        policy.drop_params = row["drop_params"] == true;
        let encoding = Encoding::new(model(row), &policy);
        let mut out = Vec::new();
        let written = reshape(&mut request, &encoding)
            .and_then(|()| encode_request(dialect(row).expect("has one"), &request, &encoding, &mut out));
        let mut ours = match written {
            Ok(()) => serde_json::from_slice(&out).expect("is JSON"),
            Err(Refused::Unsupported(names)) => json!({ "status": 400, "names": sorted(names) }),
            Err(refused) => json!({ "refused": refused.to_string() }),
        };
        let message = row["expected_error"]["message"].as_str().unwrap_or_default();
        let mut expected = match &row["expected"] {
            Value::Null => json!({
                "status": row["expected_error"]["status_code"],
                "names": sorted(names(message)),
            }),
            expected => expected["body"].clone(),
        };
        normal(&mut expected);
        parse_arguments(&mut ours);
        parse_arguments(&mut expected);
        if file == "request_gemini" {
            (expected, ours) = (camel(expected), camel(ours));
        }
        rows.compare(row, &expected, &ours);
    });
}

/// The parameters that LiteLLM's refusal names: `does not support parameters: ['a', 'b'], ...`.
pub(crate) fn names(message: &str) -> Vec<String> {
    let list = message.split_once("parameters: [").and_then(|(_, rest)| rest.split_once(']'));
    let Some((list, _)) = list else { return Vec::new() };
    list.split(", ").map(|name| name.trim_matches('\'').to_owned()).collect()
}

pub(crate) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
