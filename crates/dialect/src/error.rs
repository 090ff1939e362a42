//! Errors of providers, read by cause.

use http::StatusCode;
use serde_json::Value;
use ziggurat_core::{Cause, Problem};

use crate::scrub;

/// What an error body says, whatever its shape.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) message: String,
    pub(crate) kind: String,
    pub(crate) code: String,
    pub(crate) param: Option<String>,
}

/// Reads an error body of any of the shapes that providers give: `{error: {..}}`, `{error: ".."}`, `{message}`, `{detail}`.
pub(crate) fn said(body: &[u8]) -> Option<Said> {
    let value: Value = serde_json::from_slice(body).ok()?;
    // Some give a list of one.
    let value = value.get(0).unwrap_or(&value);
    let error = value.get("error").unwrap_or(value);
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let detail = |value: &Value| match value.get("detail") {
        Some(Value::String(text)) => text.clone(),
        // FastAPI's validation errors.
        Some(Value::Array(list)) => {
            let messages = list.iter().map(|item| text(item, "msg")).collect::<Vec<_>>();
            messages.join("; ")
        }
        _ => String::new(),
    };
    let message = match error {
        Value::String(text) => text.clone(),
        error => {
            [text(error, "message"), detail(error), error.get("message").map(detail).unwrap_or_default()]
                .into_iter()
                .find(|message| !message.is_empty())
                .unwrap_or_default()
        }
    };
    let said = Said {
        message,
        kind: text(error, "type"),
        code: Some(text(error, "code"))
            .filter(|code| !code.is_empty())
            .unwrap_or_else(|| text(value, "code")),
        param: error.get("param").and_then(Value::as_str).map(str::to_owned),
    };
    (!said.message.is_empty() || !said.kind.is_empty() || !said.code.is_empty()).then_some(said)
}

/// Reads an error body, or the error within a stream (`status` is `None`), by cause, whatever its shape. Keys, URLs and
/// hosts in the provider's words are taken out.
#[must_use]
pub fn decode_error(status: Option<StatusCode>, body: &[u8]) -> Problem {
    let said = said(body);
    let status = status.or_else(|| {
        // OpenRouter's codes are statuses.
        said.as_ref()?
            .code
            .parse()
            .ok()
            .filter(|code| (400..600).contains(code))
            .and_then(|code| StatusCode::from_u16(code).ok())
    });
    let Some(said) = said else {
        let cause = by_status(status.unwrap_or(StatusCode::BAD_GATEWAY), "");
        return Problem::new(cause, unreadable(status, body));
    };
    let cause = cause(status, &said);
    let message = match said.message.is_empty() {
        true => {
            let word = if said.kind.is_empty() { &said.code } else { &said.kind };
            format!("the provider answered: {}", scrub(word))
        }
        false => scrub(&said.message),
    };
    let mut problem = Problem::new(cause, message);
    problem.param = said.param.filter(|param| is_field(param)).map(Into::into);
    if cause == Cause::RateLimit && matches!(&*said.kind, "tokens" | "requests") {
        problem.kind = Some(said.kind.clone().into());
    }
    // OpenAI's codes say more than ours where ours has none, or the usual one.
    let (usual, _, code) = cause.openai();
    if is_code(&said.code)
        && scrub(&said.code) == said.code
        && (code.is_none() || said.code == "content_filter")
    {
        problem.code = Some(said.code.into());
    }
    problem.status = status.filter(|status| {
        *status != usual
            && (status.is_client_error() || *status == StatusCode::INTERNAL_SERVER_ERROR)
            && keeps_status(cause)
    });
    problem
}

/// The error that stands where an answer should, though the status promised one: Azure and OpenRouter answer 200 and an error object.
#[must_use]
pub fn decode_answer_error(body: &[u8]) -> Option<Problem> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let has = |name: &str| value.get(name).is_some_and(|value| !value.is_null());
    (has("error") && !has("choices") && !has("content")).then(|| decode_error(None, body))
}

/// Causes that several statuses stand for: the provider's own is kept.
const fn keeps_status(cause: Cause) -> bool {
    matches!(cause, Cause::InvalidRequest | Cause::Internal)
}

fn is_code(code: &str) -> bool {
    !code.is_empty()
        && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !code.bytes().all(|b| b.is_ascii_digit())
}

/// Whether this looks like the path of a field, and like nothing of the operator's.
fn is_field(param: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"_.[]-".contains(&b);
    (1..=MAX_PARAM).contains(&param.len()) && param.bytes().all(is_part) && scrub(param) == param
}

/// Longest field that is handed on, in bytes.
const MAX_PARAM: usize = 100;

fn unreadable(status: Option<StatusCode>, body: &[u8]) -> String {
    let start = body.trim_ascii_start();
    let what = match start.first() {
        None => "an empty body",
        Some(b'<') => "HTML",
        Some(b'{' | b'[') => "JSON without an error message",
        Some(_) => "text",
    };
    match status {
        Some(status) => {
            format!("the provider answered {} with {what} instead of an error object", status.as_u16())
        }
        None => format!("the provider's stream broke off with {what}"),
    }
}

fn cause(status: Option<StatusCode>, said: &Said) -> Cause {
    let message = said.message.to_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let is = |word: &str| said.kind == word || said.code == word;
    let code = status.map_or(0, |status| status.as_u16());
    if is("insufficient_quota")
        || is("billing_error")
        || is("enforced_spend_limit_reached")
        || is("billing_hard_limit_reached")
        || code == 402
        || holds(&["credit balance is too low", "insufficient balance", "exceeded your current quota"])
    {
        return Cause::Quota;
    }
    if matches!(code, 0 | 400 | 413 | 422) && (is("context_length_exceeded") || holds(TOO_LONG)) {
        return Cause::ContextLength;
    }
    let filtered = is("content_filter") || is("content_policy_violation");
    if filtered || (code == 403 && holds(&["moderation", "flagged"])) {
        return Cause::ContentPolicy;
    }
    if is("invalid_api_key") || (code == 400 && holds(&["incorrect api key"])) {
        return Cause::InvalidKey;
    }
    if is("model_not_found") || is("DeploymentNotFound") {
        return Cause::ModelNotFound;
    }
    match status {
        Some(status) => by_status(status, &message),
        None => by_kind(&said.kind),
    }
}

/// How providers say that a prompt is too long.
const TOO_LONG: &[&str] = &[
    "prompt is too long",
    "maximum context length",
    "context window",
    "too many tokens",
    "input is too long",
    "input tokens exceeded",
    "exceeds the maximum number of tokens",
    "prompt too long",
];

fn by_status(status: StatusCode, message: &str) -> Cause {
    match status.as_u16() {
        401 => Cause::InvalidKey,
        402 => Cause::Quota,
        403 => Cause::PermissionDenied,
        404 if message.is_empty() || message.contains("model") || message.contains("deployment") => {
            Cause::ModelNotFound
        }
        404 => Cause::NotFound,
        408 | 504 => Cause::Timeout,
        409 => Cause::Conflict,
        413 => Cause::TooLarge,
        422 => Cause::Unprocessable,
        429 => Cause::RateLimit,
        498 | 503 | 529 => Cause::Overloaded,
        500 => Cause::Internal,
        400..=499 => Cause::InvalidRequest,
        _ => Cause::Upstream,
    }
}

/// By the type alone, as errors within a stream have it.
fn by_kind(kind: &str) -> Cause {
    match kind {
        "invalid_request_error" => Cause::InvalidRequest,
        "authentication_error" => Cause::InvalidKey,
        "permission_error" => Cause::PermissionDenied,
        "not_found_error" => Cause::ModelNotFound,
        "request_too_large" => Cause::TooLarge,
        "rate_limit_error" | "rate_limit_exceeded" | "tokens" | "requests" => Cause::RateLimit,
        "overloaded_error" => Cause::Overloaded,
        "timeout_error" => Cause::Timeout,
        "api_error" | "server_error" => Cause::Internal,
        _ => Cause::Upstream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_read_from_any_shape() {
        let cause = |status: u16, body: &str| {
            let problem = decode_error(StatusCode::from_u16(status).ok(), body.as_bytes());
            (problem.cause, problem.status_in(ziggurat_core::Dialect::OpenAi).as_u16())
        };
        for (status, body, expected) in [
            (401, r#"{"detail":"Invalid API Key"}"#, (Cause::InvalidKey, 401)),
            (400, r#"{"code":"x","error":"Incorrect API key provided"}"#, (Cause::InvalidKey, 401)),
            (403, r#"{"message":"no"}"#, (Cause::PermissionDenied, 403)),
            (
                403,
                r#"{"error":{"code":403,"message":"Your input was flagged"}}"#,
                (Cause::ContentPolicy, 400),
            ),
            (404, r#"{"error":{"code":"DeploymentNotFound","message":"x"}}"#, (Cause::ModelNotFound, 404)),
            (404, r#"{"error":{"message":"model: claude-9"}}"#, (Cause::ModelNotFound, 404)),
            (404, r#"{"error":{"message":"Resource not found"}}"#, (Cause::NotFound, 404)),
            (400, r#"{"error":{"message":"prompt is too long: 9 tokens > 8"}}"#, (Cause::ContextLength, 400)),
            (400, r#"{"error":{"code":"content_filter","message":"x"}}"#, (Cause::ContentPolicy, 400)),
            (400, r#"{"error":{"message":"Your credit balance is too low"}}"#, (Cause::Quota, 429)),
            (402, r#"{"error":{"message":"Insufficient Balance"}}"#, (Cause::Quota, 429)),
            (402, "{}", (Cause::Quota, 429)),
            (422, r#"{"detail":[{"msg":"a"},{"msg":"b"}]}"#, (Cause::Unprocessable, 422)),
            (429, r#"{"error":{"type":"insufficient_quota","message":"x"}}"#, (Cause::Quota, 429)),
            (429, r#"[{"error":{"type":"requests","message":"x"}}]"#, (Cause::RateLimit, 429)),
            (498, "{}", (Cause::Overloaded, 503)),
            (500, r#"{"error":{"message":"x"}}"#, (Cause::Internal, 500)),
            (502, "", (Cause::Upstream, 502)),
            (503, "busy", (Cause::Overloaded, 503)),
            (504, "{}", (Cause::Timeout, 504)),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
                (Cause::Overloaded, 503),
            ),
        ] {
            assert_eq!(cause(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn an_error_under_a_status_of_success_is_found() {
        let found = |body: &str| decode_answer_error(body.as_bytes()).map(|problem| problem.cause);
        assert_eq!(found(r#"{"error":{"code":"content_filter","message":"x"}}"#), Some(Cause::ContentPolicy));
        assert_eq!(found(r#"{"error":{"code":502,"message":"x"}}"#), Some(Cause::Upstream));
        assert_eq!(found(r#"{"error":null,"choices":[]}"#), None);
        assert_eq!(found(r#"{"error":{"code":"x"},"choices":[{}]}"#), None);
        assert_eq!(found("no JSON"), None);
    }

    #[test]
    fn a_rate_limit_keeps_its_kind_and_a_field_its_name() {
        let body = br#"{"error":{"message":"x","type":"tokens","param":"p","code":"rate_limit_exceeded"}}"#;
        let problem = decode_error(Some(StatusCode::TOO_MANY_REQUESTS), body);
        assert_eq!((problem.kind.as_deref(), problem.param.as_deref()), (Some("tokens"), Some("p")));
        let body = br#"{"error":{"message":"x","code":"unsupported_value"}}"#;
        assert_eq!(
            decode_error(Some(StatusCode::BAD_REQUEST), body).code.as_deref(),
            Some("unsupported_value")
        );
    }

    #[test]
    fn what_is_shown_beside_the_message_is_scrubbed_too() {
        let of = |body: &str| decode_error(Some(StatusCode::BAD_REQUEST), body.as_bytes());
        let problem = of(r#"{"error":{"type":"no sk-ab at 10.0.0.1"}}"#);
        assert_eq!(problem.message, "the provider answered: no [key] at [host]");
        assert_eq!(of(r#"{"error":{"code":"at http://a.b/c"}}"#).message, "the provider answered: at [URL]");
        let param = |param: &str| {
            of(&serde_json::json!({ "error": { "message": "x", "param": param } }).to_string()).param
        };
        for kept in ["messages[0].content", "top-p", "messages.1.content_x"] {
            assert_eq!(param(kept).as_deref(), Some(kept));
        }
        assert_eq!(param(&"a".repeat(100)).map(|param| param.len()), Some(100));
        for dropped in ["", "a b", "http://a", "sk-abc", "é", "10.0.0.1", &"a".repeat(101)] {
            assert_eq!(param(dropped), None, "{dropped}");
        }
    }

    #[test]
    fn html_is_named() {
        let problem = decode_error(Some(StatusCode::BAD_GATEWAY), b"<html>bad gateway</html>");
        assert_eq!(problem.cause, Cause::Upstream);
        assert_eq!(problem.message, "the provider answered 502 with HTML instead of an error object");
    }
}
