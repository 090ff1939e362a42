//! Errors of providers, read by cause.

mod aws;

use http::{HeaderMap, StatusCode};
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
    google: Google,
}

/// What Google's errors say beside their message (`google.rpc.Status`, in [AIP-193](https://google.aip.dev/193)).
#[derive(Debug, Default)]
struct Google {
    /// The status in a word; empty in other providers' errors.
    status: String,
    /// The reasons among the details, each a word.
    reasons: Vec<String>,
    /// The names of the quotas that are used up.
    quotas: Vec<String>,
}

/// Reads an error body of any of the shapes that providers give: `{error: {..}}`, `{error: ".."}`, `{message}`, `{detail}`, AWS's
/// `{Message, __type}`.
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
            let inner = error.get("message").map(detail).unwrap_or_default();
            [text(error, "message"), detail(error), inner, text(error, "Message")]
                .into_iter()
                .find(|message| !message.is_empty())
                .unwrap_or_default()
        }
    };
    let said = Said {
        message,
        // AWS's, and Cohere's.
        kind: [text(error, "type"), aws::class(&text(error, "__type")).to_owned(), text(value, "error_type")]
            .into_iter()
            .find(|kind| !kind.is_empty())
            .unwrap_or_default(),
        code: Some(text(error, "code"))
            .filter(|code| !code.is_empty())
            .unwrap_or_else(|| text(value, "code")),
        param: error.get("param").and_then(Value::as_str).map(str::to_owned),
        google: Google::of(error),
    };
    (!said.message.is_empty() || !said.kind.is_empty() || !said.code.is_empty()).then_some(said)
}

/// Reads an error body, or the error within a stream (`status` is `None`), by cause, whatever its shape. Keys, URLs and
/// hosts in the provider's words are taken out.
#[must_use]
pub fn decode_error(status: Option<StatusCode>, body: &[u8]) -> Problem {
    problem(status, said(body), body)
}

/// Reads an error as [`decode_error`] does, with what its head says of the cause: AWS names the class in `x-amzn-ErrorType`.
#[must_use]
pub fn decode_error_of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Problem {
    let named = headers.get(aws::ERROR_TYPE).and_then(|value| value.to_str().ok()).map(aws::class);
    let mut said = said(body);
    if let Some(class) = named.filter(|class| !class.is_empty()) {
        class.clone_into(&mut said.get_or_insert_default().kind);
    }
    problem(Some(status), said, body)
}

/// Reads an exception of an event stream of AWS's, by its name.
pub(crate) fn decode_exception(name: &str, json: &str) -> Problem {
    let mut said = said(json.as_bytes()).unwrap_or_default();
    name.clone_into(&mut said.kind);
    problem(None, Some(said), json.as_bytes())
}

fn problem(mut status: Option<StatusCode>, mut said: Option<Said>, body: &[u8]) -> Problem {
    if let Some(said) = &mut said
        && let Some(original) = aws::original_status(&said.kind, body)
    {
        said.kind.clear();
        status = Some(original);
    }
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

// ===== impl Google =====

impl Google {
    fn of(error: &Value) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let is_word = |word: &String| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let details = list(error.get("details"));
        let violations = details.iter().flat_map(|detail| list(detail.get("violations")));
        Self {
            status: text(error.get("status")).filter(is_word).unwrap_or_default(),
            reasons: details.iter().filter_map(|detail| text(detail.get("reason"))).collect(),
            quotas: violations.filter_map(|violation| text(violation.get("quotaId"))).collect(),
        }
    }

    /// The cause, where more than the HTTP status tells it; `message` is in small letters.
    fn cause(&self, message: &str) -> Option<Cause> {
        let lacks = |part: &str| self.quotas.iter().any(|quota| quota.contains(part));
        match &*self.status {
            // A key that is none is an argument that is invalid, and no key at all is a caller without rights.
            "INVALID_ARGUMENT" | "PERMISSION_DENIED"
                if self
                    .reasons
                    .iter()
                    .any(|reason| matches!(&**reason, "API_KEY_INVALID" | "API_KEY_EXPIRED"))
                    || ["api key not valid", "api key expired", "unregistered callers"]
                        .iter()
                        .any(|words| message.contains(words)) =>
            {
                Some(Cause::InvalidKey)
            }
            // A free tier that has nothing of a model says so as a limit of 0.
            "RESOURCE_EXHAUSTED"
                if lacks("PerDay")
                    || ["limit: 0,", "limit: 0\n"].iter().any(|words| message.contains(words)) =>
            {
                Some(Cause::Quota)
            }
            "RESOURCE_EXHAUSTED" if lacks("PerMinute") => Some(Cause::RateLimit),
            "FAILED_PRECONDITION" if message.contains("location") => Some(Cause::PermissionDenied),
            "FAILED_PRECONDITION" if message.contains("billing") => Some(Cause::Quota),
            // By the provider, not by the caller.
            "CANCELLED" => Some(Cause::Upstream),
            _ => None,
        }
    }
}

fn cause(status: Option<StatusCode>, said: &Said) -> Cause {
    let message = said.message.to_lowercase();
    if let Some(cause) = said.google.cause(&message) {
        return cause;
    }
    let holds = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let is = |word: &str| said.kind == word || said.code == word;
    let code = status.map_or(0, |status| status.as_u16());
    if let Some(cause) = aws::cause(code, &said.kind, &message) {
        return cause;
    }
    if is("insufficient_quota")
        || is("billing_error")
        || is("enforced_spend_limit_reached")
        || is("billing_hard_limit_reached")
        || code == 402
        // Cohere's trial keys have calls a minute, which come back, and calls a month.
        || (code == 429 && holds(&["trial key"]) && !holds(&["minute"]))
        || holds(&["credit balance is too low", "insufficient balance", "exceeded your current quota"])
    {
        return Cause::Quota;
    }
    if matches!(code, 0 | 400 | 413 | 422)
        && (is("context_length_exceeded") || is("TOO_MANY_TOKENS") || holds(TOO_LONG))
    {
        return Cause::ContextLength;
    }
    // Groq's for more tokens than a minute has: the request is not too large for others.
    if code == 413 && is("rate_limit_exceeded") {
        return Cause::RateLimit;
    }
    let filtered = is("content_filter") || is("content_policy_violation");
    // Cohere's 498 is a blocked prompt, Groq's a lack of capacity.
    let blocked = (code == 403 && holds(&["moderation", "flagged"])) || (code == 498 && holds(&["blocked"]));
    if filtered || blocked {
        return Cause::ContentPolicy;
    }
    if is("invalid_api_key") || (code == 400 && holds(&["incorrect api key"])) {
        return Cause::InvalidKey;
    }
    // The last is Mistral's.
    if is("model_not_found") || is("DeploymentNotFound") || is("invalid_model") {
        return Cause::ModelNotFound;
    }
    match status {
        Some(status) => by_status(status, &message),
        None if !said.google.status.is_empty() => by_word(&said.google.status),
        // A failed answer of Responses has a code alone.
        None if said.kind.is_empty() => by_kind(&said.code),
        None => by_kind(&said.kind),
    }
}

/// By Google's word for a status, where no number stands beside it.
fn by_word(status: &str) -> Cause {
    match status {
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => Cause::InvalidRequest,
        "UNAUTHENTICATED" => Cause::InvalidKey,
        "PERMISSION_DENIED" => Cause::PermissionDenied,
        "NOT_FOUND" => Cause::ModelNotFound,
        "ABORTED" | "ALREADY_EXISTS" => Cause::Conflict,
        "RESOURCE_EXHAUSTED" => Cause::RateLimit,
        "INTERNAL" => Cause::Internal,
        "UNAVAILABLE" => Cause::Overloaded,
        "DEADLINE_EXCEEDED" => Cause::Timeout,
        _ => Cause::Upstream,
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
    // Ollama's and llama.cpp's.
    "exceeds the context length",
    "exceeds the available context size",
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
        "invalid_request_error" | "validationException" | "ValidationException" => Cause::InvalidRequest,
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
            (498, r#"{"id":"x","message":"blocked input"}"#, (Cause::ContentPolicy, 400)),
            (400, r#"{"message":"x","error_type":"TOO_MANY_TOKENS"}"#, (Cause::ContextLength, 400)),
            (429, r#"{"message":"a Trial key has 1000 calls / month"}"#, (Cause::Quota, 429)),
            (429, r#"{"message":"a Trial key has 40 calls / minute"}"#, (Cause::RateLimit, 429)),
            (400, r#"{"error":"the input length exceeds the context length"}"#, (Cause::ContextLength, 400)),
            (429, r#"{"message":"Service tier capacity exceeded","code":"3505"}"#, (Cause::RateLimit, 429)),
            (400, r#"{"object":"error","type":"invalid_model","message":"x"}"#, (Cause::ModelNotFound, 404)),
            (
                422,
                r#"{"object":"error","message":{"detail":[{"msg":"a"}]},"code":null}"#,
                (Cause::Unprocessable, 422),
            ),
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
    fn an_exception_of_aws_is_read_by_its_name_wherever_that_stands() {
        let status = |status: u16| StatusCode::from_u16(status).expect("is a status");
        for (code, name, expected) in [
            (400, "ValidationException", (Cause::InvalidRequest, 400)),
            (403, "AccessDeniedException", (Cause::PermissionDenied, 403)),
            (403, "UnrecognizedClientException", (Cause::InvalidKey, 401)),
            (403, "InvalidSignatureException", (Cause::InvalidKey, 401)),
            (403, "ExpiredTokenException", (Cause::InvalidKey, 401)),
            (404, "ResourceNotFoundException", (Cause::NotFound, 404)),
            (429, "ThrottlingException", (Cause::RateLimit, 429)),
            (400, "ServiceQuotaExceededException", (Cause::Quota, 429)),
            (408, "ModelTimeoutException", (Cause::Timeout, 504)),
            (424, "ModelErrorException", (Cause::Upstream, 502)),
            (429, "ModelNotReadyException", (Cause::Overloaded, 503)),
            (500, "InternalServerException", (Cause::Internal, 500)),
            (503, "ServiceUnavailableException", (Cause::Overloaded, 503)),
        ] {
            let is = |problem: Problem| {
                (problem.cause, problem.status_in(ziggurat_core::Dialect::OpenAi).as_u16())
            };
            let mut headers = HeaderMap::new();
            let named = format!("{name}:http://internal.amazon.com/coral/com.amazon.bedrock/");
            headers.insert("x-amzn-ErrorType", named.parse().expect("is a value"));
            let by_head = decode_error_of(status(code), &headers, br#"{"message":"x"}"#);
            assert_eq!(is(by_head), expected, "{name}");
            let body = format!(r#"{{"__type":"com.amazon.coral.service#{name}","Message":"x"}}"#);
            assert_eq!(is(decode_error(Some(status(code)), body.as_bytes())), expected, "{name}");
        }
        let said = |code, message: &str| {
            let body = serde_json::json!({ "message": message }).to_string();
            decode_error(Some(status(code)), body.as_bytes()).cause
        };
        assert_eq!(said(403, "The security token included in the request is expired"), Cause::InvalidKey);
        assert_eq!(said(403, "Signature expired: 2026"), Cause::InvalidKey);
        assert_eq!(said(403, "You don't have access to the model."), Cause::PermissionDenied);
        assert_eq!(said(400, "The provided model identifier is invalid."), Cause::ModelNotFound);
        assert_eq!(said(400, "Input is too long for requested model."), Cause::ContextLength);
        assert_eq!(said(424, "x"), Cause::Upstream);
        let none = decode_error_of(status(500), &HeaderMap::new(), b"");
        assert_eq!(none.cause, Cause::Internal);
    }

    #[test]
    fn an_exception_within_a_stream_is_read_by_its_name() {
        let cause = |name: &str, json: &str| decode_exception(name, json).cause;
        for (name, json, expected) in [
            ("throttlingException", r#"{"message":"Too many tokens, wait"}"#, Cause::RateLimit),
            ("validationException", r#"{"message":"Input is too long"}"#, Cause::ContextLength),
            ("validationException", r#"{"message":"x"}"#, Cause::InvalidRequest),
            ("internalServerException", "{}", Cause::Internal),
            ("serviceUnavailableException", r#"{"message":"x"}"#, Cause::Overloaded),
            ("modelTimeoutException", r#"{"message":"x"}"#, Cause::Timeout),
            ("modelStreamErrorException", r#"{"message":"x"}"#, Cause::Upstream),
            ("modelStreamErrorException", r#"{"message":"x","originalStatusCode":429}"#, Cause::RateLimit),
            ("modelStreamErrorException", r#"{"message":"x","originalStatusCode":200}"#, Cause::Upstream),
            ("newException", r#"{"message":"x"}"#, Cause::Upstream),
        ] {
            assert_eq!(cause(name, json), expected, "{name} {json}");
        }
        assert_eq!(
            decode_exception("throttlingException", "{}").message,
            "the provider answered: throttlingException"
        );
    }

    #[test]
    fn googles_errors_are_read_by_their_words() {
        let cause = |status: Option<u16>, body: &str| {
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            decode_error(status, format!(r#"{{"error":{{{body}}}}}"#).as_bytes()).cause
        };
        let quota = |id: &str| {
            format!(
                r#""message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{{"violations":[{{"quotaId":"{id}"}}]}}]"#
            )
        };
        let bad_key = r#""message":"x","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]"#;
        assert_eq!(cause(Some(400), bad_key), Cause::InvalidKey);
        assert_eq!(cause(Some(400), r#""message":"x","status":"INVALID_ARGUMENT""#), Cause::InvalidRequest);
        assert_eq!(
            cause(
                Some(403),
                r#""message":"callers without identity: unregistered callers","status":"PERMISSION_DENIED""#
            ),
            Cause::InvalidKey
        );
        assert_eq!(
            cause(Some(403), r#""message":"x","status":"PERMISSION_DENIED""#),
            Cause::PermissionDenied
        );
        assert_eq!(cause(Some(429), &quota("RequestsPerDayPerProject")), Cause::Quota);
        assert_eq!(cause(Some(429), &quota("InputTokensPerModelPerMinute")), Cause::RateLimit);
        assert_eq!(
            cause(
                Some(429),
                r#""message":"Quota exceeded, limit: 0, model: x","status":"RESOURCE_EXHAUSTED""#
            ),
            Cause::Quota
        );
        assert_eq!(
            cause(Some(400), r#""message":"User location is not supported","status":"FAILED_PRECONDITION""#),
            Cause::PermissionDenied
        );
        assert_eq!(cause(None, r#""code":499,"message":"x","status":"CANCELLED""#), Cause::Upstream);
        assert_eq!(cause(None, r#""code":503,"message":"x","status":"UNAVAILABLE""#), Cause::Overloaded);
        assert_eq!(cause(None, r#""message":"x","status":"DEADLINE_EXCEEDED""#), Cause::Timeout);
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
        let body = br#"{"error":{"message":"Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000","type":"tokens","code":"rate_limit_exceeded"}}"#;
        assert_eq!(decode_error(Some(StatusCode::PAYLOAD_TOO_LARGE), body).cause, Cause::RateLimit);
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
