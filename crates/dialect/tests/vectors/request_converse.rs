//! A request of an OpenAI caller's, as Bedrock is asked.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Encoding, Refused, decode_request, encode_request};

use crate::{
    Rows, model,
    request::{names, sorted},
};

#[test]
fn a_request_reaches_bedrock_as_litellm_sends_it() {
    let Some(rows) = Rows::load("request_bedrock_converse") else { return };
    rows.run(|rows, row| {
        let asked = row["openai_request"].to_string();
        let request = decode_request(Dialect::OpenAi, &asked).expect("reads");
        let mut policy = ParamPolicy::default();
        policy.drop_params = row["drop_params"] == true;
        let mut out = Vec::new();
        let ours = match encode_request(
            Dialect::Converse,
            &request,
            &Encoding::new(model(row), &policy),
            &mut out,
        ) {
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
        rows.compare(row, &parsed(expected), &parsed(ours));
    });
}

/// A schema is JSON in a string: compared as what it is.
fn parsed(mut body: Value) -> Value {
    if let Some(schema) = body.pointer_mut("/outputConfig/textFormat/structure/jsonSchema/schema")
        && let Some(text) = schema.as_str()
    {
        *schema = serde_json::from_str(text).expect("is JSON");
    }
    body
}
