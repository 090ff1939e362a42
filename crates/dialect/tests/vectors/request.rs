//! A request of an OpenAI caller's, as Anthropic is asked.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, Refused, decode_request, encode_request};

use crate::{Rows, model};

#[test]
fn a_request_reaches_anthropic_as_litellm_sends_it() {
    let Some(rows) = Rows::load("request_anthropic") else { return };
    rows.run(|rows, row| {
        let asked = row["openai_request"].to_string();
        let request = decode_request(Dialect::OpenAi, &asked).expect("reads");
        let mut policy = ParamPolicy::default();
        policy.drop_params = row["drop_params"] == true;
        let mut out = Vec::new();
        let ours =
            match encode_request(Dialect::Anthropic, &request, &Encoding::new(model(row), &policy), &mut out)
            {
                Ok(()) => serde_json::from_slice(&out).expect("is JSON"),
                Err(Refused::Unsupported(names)) => json!({ "status": 400, "names": sorted(names) }),
                Err(refused) => json!({ "refused": refused.to_string() }),
            };
        let expected = match &row["expected"] {
            Value::Null => json!({
                "status": row["expected_error"]["status_code"],
                "names": sorted(names(row["expected_error"]["message"].as_str().expect("has a message"))),
            }),
            expected => expected["body"].clone(),
        };
        rows.compare(row, &expected, &ours);
    });
}

/// The parameters that LiteLLM's refusal names: `does not support parameters: ['a', 'b'], ...`.
fn names(message: &str) -> Vec<String> {
    let list = message.split_once("parameters: [").and_then(|(_, rest)| rest.split_once(']'));
    let list = list.expect("names parameters").0;
    list.split(", ").map(|name| name.trim_matches('\'').to_owned()).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
