//! A provider's error, as an OpenAI caller sees it.

use http::StatusCode;
use serde_json::{Value, json};
use ziggurat_core::{Cause, Dialect};
use ziggurat_dialect::decode_error;

use crate::Rows;

/// Compared: the status, from which SDKs make their classes, and the classes for which LiteLLM looks at more than the status.
#[test]
fn an_error_reaches_an_openai_caller_with_litellms_status() {
    let Some(rows) = Rows::load("error") else { return };
    rows.run(|rows, row| {
        let status = row["provider_status"].as_u64().expect("has a status") as u16;
        let status = StatusCode::from_u16(status).expect("is a status");
        let body = match &row["provider_body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let problem = decode_error(Some(status), body.as_bytes());
        let ours = json!({
            "status": problem.status_in(Dialect::OpenAi).as_u16(),
            "context": problem.cause == Cause::ContextLength,
            "policy": problem.cause == Cause::ContentPolicy,
        });
        let expected = &row["expected_error"];
        let expected = json!({
            "status": expected["status_code"],
            "context": expected["class"] == "ContextWindowExceededError",
            "policy": expected["class"] == "ContentPolicyViolationError",
        });
        rows.compare(row, &expected, &ours);
    });
}
