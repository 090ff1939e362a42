//! Error answers.

use serde_json::Value;
use ziggurat_core::{Cause, Dialect};
use ziggurat_dialect::{decode_answer_error, decode_error};

use crate::{Case, over};

/// The cause by wire.md, section 11, from the status and the words of the body.
fn expected(case: &Case) -> Cause {
    let said = case.text().to_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match case.recording.response.status().as_u16() {
        // Azure blocked the prompt, and said so with a status of success.
        200 => Cause::ContentPolicy,
        400 if holds(&["maximum context length", "prompt is too long", "prompt too long"]) => {
            Cause::ContextLength
        }
        400 if holds(&["incorrect api key"]) => Cause::InvalidKey,
        400 | 422 => Cause::InvalidRequest,
        401 => Cause::InvalidKey,
        402 => Cause::Quota,
        403 => Cause::PermissionDenied,
        404 => Cause::ModelNotFound,
        429 if holds(&["insufficient_quota"]) => Cause::Quota,
        429 => Cause::RateLimit,
        other => panic!("no recording had the status {other}"),
    }
}

#[test]
fn an_error_is_read_by_its_cause_and_written_in_both_dialects() {
    over(
        "errors",
        |case| !case.succeeded(),
        |case| {
            let status = case.recording.response.status();
            let problem = match status.is_success() {
                true => decode_answer_error(case.body()).ok_or("is no error")?,
                false => decode_error(Some(status), case.body()),
            };
            if problem.cause != expected(case) {
                return Err(format!("{:?}, not {:?}: {}", problem.cause, expected(case), case.text()));
            }
            let read = |dialect| serde_json::from_slice::<Value>(&problem.to_json(dialect)).expect("is JSON");
            let (openai, anthropic) = (read(Dialect::OpenAi), read(Dialect::Anthropic));
            let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            let valid = is_text(&openai["error"]["message"])
                && is_text(&openai["error"]["type"])
                && anthropic["type"] == "error"
                && is_text(&anthropic["error"]["type"])
                && anthropic["error"]["message"] == openai["error"]["message"];
            match valid {
                true => Ok(()),
                false => Err(format!("{openai} {anthropic}")),
            }
        },
    );
}
