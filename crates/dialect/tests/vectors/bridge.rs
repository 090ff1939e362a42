//! An Anthropic caller in front of an OpenAI provider.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{
    Encoding, ToolNames, decode_request, decode_response, encode_request, encode_response,
};

use crate::{Rows, parse_arguments};

#[test]
fn an_anthropic_caller_reaches_openai_and_back_as_through_litellm() {
    let Some(rows) = Rows::load("messages_bridge") else { return };
    rows.run(|rows, row| match row["openai_response"].is_null() {
        true => request(rows, row),
        false => response(rows, row),
    });
}

fn request(rows: &Rows, row: &Value) {
    let asked = row["anthropic_request"].to_string();
    let request = decode_request(Dialect::Anthropic, &asked).expect("reads");
    let model = row["anthropic_request"]["model"].as_str().expect("names a model");
    let (policy, mut out) = (ParamPolicy::default(), Vec::new());
    encode_request(Dialect::OpenAi, &request, &Encoding::new(model, &policy), &mut out)
        .expect("is not refused");
    let mut ours: Value = serde_json::from_slice(&out).expect("is JSON");
    let mut expected = row["expected_openai_request"].clone();
    if let Some(names) = row["tool_name_map"].as_object() {
        let restored = |short: &String| {
            let long =
                ToolNames::of(Dialect::OpenAi, &request).restore(&short.as_str().into()).expect("is known");
            (short.clone(), long.decode().into_owned().into())
        };
        ours["names"] = names.keys().map(restored).collect::<serde_json::Map<String, Value>>().into();
        expected["names"] = json!(names);
    }
    parse_arguments(&mut ours);
    parse_arguments(&mut expected);
    rows.compare(row, &expected, &ours);
}

fn response(rows: &Rows, row: &Value) {
    let json = row["openai_response"].to_string();
    let response = decode_response(Dialect::OpenAi, &json).expect("reads");
    let mut out = Vec::new();
    encode_response(Dialect::Anthropic, &response, 7, &mut out);
    let ours = serde_json::from_slice(&out).expect("is JSON");
    rows.compare(row, &row["expected_anthropic_response"], &ours);
}
