//! What went wrong, and its one rendering into each dialect.

use std::{borrow::Cow, fmt, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};

use crate::{Body, Dialect, Unsent, error::chain, is_timeout, json::write_string};

/// Why a call cannot be answered, whoever found out: the one vocabulary for refusals of ours and failures of a provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The request is wrong; nothing but another request helps.
    InvalidRequest,
    /// No key, or one that is not known.
    InvalidKey,
    /// The key is known and may not do this.
    PermissionDenied,
    /// Nothing answers to that model name.
    ModelNotFound,
    /// Nothing answers at that path.
    NotFound,
    /// The path answers to another method.
    MethodNotAllowed,
    /// The caller did not send its request in time.
    RequestTimeout,
    /// The state of the resource forbids it.
    Conflict,
    /// The body is over the limit.
    TooLarge,
    /// The content type or encoding is not one we read.
    UnsupportedMediaType,
    /// The request is well formed and still not acceptable.
    Unprocessable,
    /// The prompt does not fit the model's context window.
    ContextLength,
    /// A content policy forbids the prompt.
    ContentPolicy,
    /// Too much at once: the same call works later.
    RateLimit,
    /// The money is spent: waiting does not help.
    Quota,
    /// The server failed.
    Internal,
    /// The provider answered what cannot be used: an early end, no JSON, a failure without a word.
    Upstream,
    /// The provider has no capacity now.
    Overloaded,
    /// The provider took too long.
    Timeout,
}

/// What a retry may achieve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryClass {
    /// The same call may work later, or elsewhere.
    Retryable,
    /// The same call works only elsewhere: the money here is spent.
    Quota,
    /// The same call fails again.
    Fatal,
}

/// One failure with all that a caller may learn of it. Holds no URL, key or name of an upstream unless its maker put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Why.
    pub cause: Cause,
    /// For the caller to read.
    pub message: String,
    /// The HTTP status, where it is not the cause's usual one.
    pub status: Option<StatusCode>,
    /// The request field that is to blame, as `messages[0].content`.
    pub param: Option<Cow<'static, str>>,
    /// The OpenAI error code, where it is not the cause's usual one.
    pub code: Option<Cow<'static, str>>,
    /// The OpenAI error type, where it is not the cause's usual one (a rate limit's `tokens` or `requests`).
    pub kind: Option<Cow<'static, str>>,
    /// When the same call may work.
    pub retry_after: Option<Duration>,
    /// Overrides what a client's own retry rule would do (`x-should-retry`).
    pub should_retry: Option<bool>,
}

/// The reason why a layer of ours refused a call: the response extension that outer layers read instead of the body.
///
/// A refusal within an attempt means 'next candidate'; it is never a provider's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection(Box<Problem>);

// ===== impl Cause =====

impl Cause {
    /// The status, the type and the code in which OpenAI's API says it.
    #[must_use]
    pub const fn openai(self) -> (StatusCode, &'static str, Option<&'static str>) {
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, INVALID, None),
            Self::InvalidKey => (StatusCode::UNAUTHORIZED, INVALID, Some("invalid_api_key")),
            Self::PermissionDenied => (StatusCode::FORBIDDEN, INVALID, Some("permission_denied")),
            Self::ModelNotFound => (StatusCode::NOT_FOUND, INVALID, Some("model_not_found")),
            Self::NotFound => (StatusCode::NOT_FOUND, INVALID, Some("not_found")),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, INVALID, Some("method_not_allowed")),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, INVALID, Some("request_timeout")),
            Self::Conflict => (StatusCode::CONFLICT, INVALID, Some("conflict")),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, Some("request_too_large")),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, Some("unsupported_media_type"))
            }
            Self::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, None),
            Self::ContextLength => (StatusCode::BAD_REQUEST, INVALID, Some("context_length_exceeded")),
            Self::ContentPolicy => (StatusCode::BAD_REQUEST, INVALID, Some("content_policy_violation")),
            Self::RateLimit => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("rate_limit_exceeded"))
            }
            Self::Quota => (StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", Some("insufficient_quota")),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", Some("server_error")),
            Self::Upstream => (StatusCode::BAD_GATEWAY, "server_error", Some("upstream_error")),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("overloaded")),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "server_error", Some("timeout")),
        }
    }

    /// The status and the type in which Anthropic's API says it.
    #[must_use]
    pub const fn anthropic(self) -> (StatusCode, &'static str) {
        let (status, _, _) = self.openai();
        match self {
            Self::InvalidKey => (status, "authentication_error"),
            Self::PermissionDenied => (status, "permission_error"),
            Self::ModelNotFound | Self::NotFound => (status, "not_found_error"),
            Self::TooLarge => (status, "request_too_large"),
            Self::RateLimit | Self::Quota => (status, "rate_limit_error"),
            Self::Internal | Self::Upstream => (status, "api_error"),
            Self::Timeout => (status, "timeout_error"),
            Self::Overloaded => (ANTHROPIC_OVERLOADED, "overloaded_error"),
            _ => (status, "invalid_request_error"),
        }
    }

    /// Whether it may pass by itself, so that waiting makes sense.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self.retry_class(), RetryClass::Retryable)
    }

    /// What a retry may achieve.
    #[must_use]
    pub const fn retry_class(self) -> RetryClass {
        match self {
            Self::RateLimit
            | Self::Internal
            | Self::Upstream
            | Self::Overloaded
            | Self::Timeout
            | Self::RequestTimeout
            | Self::Conflict => RetryClass::Retryable,
            Self::Quota => RetryClass::Quota,
            _ => RetryClass::Fatal,
        }
    }

    /// Whether the request itself is wrong, to whomever it goes.
    #[must_use]
    pub const fn is_the_callers(self) -> bool {
        matches!(
            self,
            Self::InvalidRequest
                | Self::Unprocessable
                | Self::TooLarge
                | Self::UnsupportedMediaType
                | Self::MethodNotAllowed
        )
    }
}

/// Characters of a model's name that are told.
const SHOWN_CHARS: usize = 200;

/// Anthropic's own status for having no capacity; not in the HTTP registry.
const ANTHROPIC_OVERLOADED: StatusCode = match StatusCode::from_u16(529) {
    Ok(status) => status,
    Err(_) => StatusCode::SERVICE_UNAVAILABLE,
};

// ===== impl Problem =====

impl Problem {
    /// A problem with the usual status, type and code of its cause.
    #[must_use]
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            status: None,
            param: None,
            code: None,
            kind: None,
            retry_after: None,
            should_retry: None,
        }
    }

    /// What a caller is told of an error of the way to a provider, without a word of the error's own: it may name hosts. A timeout
    /// ([`is_timeout`]) is one, and says whether it was the connection's; all else is [`Cause::Upstream`].
    #[must_use]
    pub fn of_error(error: &(dyn std::error::Error + 'static)) -> Self {
        match (is_timeout(error), Unsent::is_in(error)) {
            (true, true) => {
                Self::new(Cause::Timeout, "the upstream could not be reached in time").code("connect_timeout")
            }
            (true, false) => Self::new(Cause::Timeout, "the upstream did not answer in time"),
            (false, _) => {
                Self::new(Cause::Upstream, "the upstream could not be reached or closed without an answer")
            }
        }
    }

    /// Nothing answers to the name of a model, of which as much is told as anyone wants to read. Says which field has it with
    /// [`Problem::param`].
    #[must_use]
    pub fn unknown_model(name: &str) -> Self {
        let shown = name.char_indices().nth(SHOWN_CHARS).map_or(name, |(end, _)| &name[..end]);
        Self::new(Cause::ModelNotFound, format!("no model answers to the name {shown:?}"))
    }

    /// Names the request field that is to blame.
    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Sets the OpenAI error code.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The HTTP status with which `dialect` says it.
    #[must_use]
    pub fn status_in(&self, dialect: Dialect) -> StatusCode {
        self.status.unwrap_or(match dialect {
            Dialect::Anthropic => self.cause.anthropic().0,
            _ => self.cause.openai().0,
        })
    }

    /// The error body in `dialect`, as compact JSON.
    #[must_use]
    pub fn to_json(&self, dialect: Dialect) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.message.len() + 128);
        match dialect {
            Dialect::Gemini => {
                let status = self.status_in(dialect);
                out.extend_from_slice(
                    format!(r#"{{"error":{{"code":{},"message":"#, status.as_u16()).as_bytes(),
                );
                write_string(&mut out, &self.message);
                out.extend_from_slice(br#","status":"#);
                write_string(&mut out, google_status(status));
                out.extend_from_slice(b"}}");
            }
            Dialect::Anthropic => {
                out.extend_from_slice(br#"{"type":"error","error":{"type":"#);
                write_string(&mut out, self.cause.anthropic().1);
                out.extend_from_slice(br#","message":"#);
                write_string(&mut out, &self.message);
                out.extend_from_slice(b"}}");
            }
            _ => {
                let (_, kind, code) = self.cause.openai();
                out.extend_from_slice(br#"{"error":{"message":"#);
                write_string(&mut out, &self.message);
                out.extend_from_slice(br#","type":"#);
                write_string(&mut out, self.kind.as_deref().unwrap_or(kind));
                out.extend_from_slice(br#","param":"#);
                write_or_null(&mut out, self.param.as_deref());
                out.extend_from_slice(br#","code":"#);
                write_or_null(&mut out, self.code.as_deref().or(code));
                out.extend_from_slice(b"}}");
            }
        }
        out
    }

    /// The error as one event of a stream in `dialect`, blank line included. It ends the stream: nothing follows, no `[DONE]`.
    #[must_use]
    pub fn to_event(&self, dialect: Dialect) -> Vec<u8> {
        let json = self.to_json(dialect);
        match dialect {
            Dialect::Anthropic => [b"event: error\ndata: ", &*json, b"\n\n"].concat(),
            // OpenAI's own says its type in front.
            Dialect::Responses => [b"event: error\ndata: {\"type\":\"error\",", &json[1..], b"\n\n"].concat(),
            _ => [b"data: ", &*json, b"\n\n"].concat(),
        }
    }

    /// The error as a whole response in `dialect`.
    #[must_use]
    pub fn into_response(self, dialect: Dialect) -> Response<Body> {
        let mut response = Response::new(Body::from(self.to_json(dialect)));
        *response.status_mut() = self.status_in(dialect);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.cause == Cause::InvalidKey {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(should) = self.should_retry {
            let value = if should { "true" } else { "false" };
            headers.insert("x-should-retry", HeaderValue::from_static(value));
        }
        response
    }
}

/// The word with which Google's APIs say a status (`google.rpc.Code`, in [AIP-193](https://google.aip.dev/193)).
const fn google_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

fn write_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

// ===== impl Rejection =====

impl Rejection {
    /// A refusal for `cause`.
    #[must_use]
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(cause, message)))
    }

    /// The refusal in an error's chain of sources: a body may fail with one (a deadline's, say), and it is told as it is.
    #[must_use]
    pub fn find_in<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// What the caller is told.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0
    }

    /// The refusal as a response in `dialect`, with itself in the extensions.
    #[must_use]
    pub fn into_response(self, dialect: Dialect) -> Response<Body> {
        let mut response = self.0.as_ref().clone().into_response(dialect);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("is UTF-8")
    }

    #[test]
    fn renders_in_both_dialects() {
        let problem = Problem::new(Cause::InvalidRequest, "say \"hi\"").param("messages[0]");
        assert_eq!(
            text(problem.to_json(Dialect::OpenAi)),
            r#"{"error":{"message":"say \"hi\"","type":"invalid_request_error","param":"messages[0]","code":null}}"#
        );
        assert_eq!(
            text(problem.to_event(Dialect::Anthropic)),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"say \\\"hi\\\"\"}}\n\n"
        );
    }

    #[test]
    fn overload_has_the_status_that_each_client_knows() {
        let problem = Problem::new(Cause::Overloaded, "later");
        assert_eq!(problem.status_in(Dialect::OpenAi), 503);
        assert_eq!(problem.status_in(Dialect::Anthropic), 529);
    }

    #[test]
    fn the_longest_wait_is_still_a_number() {
        let mut problem = Problem::new(Cause::RateLimit, "never");
        problem.retry_after = Some(Duration::MAX);
        let response = problem.into_response(Dialect::OpenAi);
        assert_eq!(response.headers()["retry-after"], u64::MAX.to_string());
    }

    #[test]
    fn a_response_carries_the_reason_and_the_wait() {
        let mut problem = Problem::new(Cause::RateLimit, "slow down");
        problem.retry_after = Some(Duration::from_millis(1200));
        problem.should_retry = Some(true);
        let response = Rejection::from(problem.clone()).into_response(Dialect::OpenAi);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["x-should-retry"], "true");
        assert_eq!(response.extensions().get::<Rejection>().map(Rejection::problem), Some(&problem));
    }
}
