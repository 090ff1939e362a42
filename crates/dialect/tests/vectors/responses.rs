//! A Responses caller in front of a provider of another dialect.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, decode_request, encode_request};

use crate::Rows;

/// The chat that LiteLLM makes of the items before it asks Anthropic is what we ask a chat provider. Left out: `model` and
/// `custom_llm_provider`, which are LiteLLM's own, and options that are `null`.
#[test]
fn a_responses_caller_reaches_a_chat_as_through_litellm() {
    let Some(rows) = Rows::load("responses_bridge") else { return };
    rows.run(|rows, row| {
        let mut asked = json!({ "model": "x", "input": row["input"] });
        asked
            .as_object_mut()
            .expect("is an object")
            .extend(row["params"].as_object().cloned().unwrap_or_default());
        let asked = asked.to_string();
        let request = decode_request(Dialect::Responses, &asked).expect("reads");
        let (policy, mut out) = (ParamPolicy::default(), Vec::new());
        encode_request(Dialect::OpenAi, &request, &Encoding::new("x", &policy), &mut out)
            .expect("is not refused");
        let mut ours: Value = serde_json::from_slice(&out).expect("is JSON");
        let mut expected = row["expected_chat_request"].clone();
        for request in [&mut ours, &mut expected] {
            request["model"].take();
            request["custom_llm_provider"].take();
            if let Some(options) = request["web_search_options"].as_object_mut() {
                options.retain(|_, value| !value.is_null());
            }
        }
        rows.compare(row, &expected, &ours);
    });
}
