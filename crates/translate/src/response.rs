//! The answer that goes back to the caller.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, response::Parts};
use http_body::{Body as HttpBody, Frame};
use ziggurat_core::{AttemptHandle, Body, BoxError, Cause, CollectError, Dialect, Outcome, Problem};
use ziggurat_dialect::{decode_error, decode_response, encode_response, retry_after};
use ziggurat_meter::{MeteredBody, Options, broke_off, feed_response, unreadable};

use crate::{body::TranslatedBody, layer::Config, request::Expected};

/// Translates an answer, whatever it is.
pub(crate) async fn translate(
    answer: Response<Body>,
    expected: Expected,
    mut handle: Option<AttemptHandle>,
    config: &Config,
) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    // None was asked for; what is encoded all the same cannot be read, nor bounded.
    let encoding = parts.headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
    if encoding.is_some() {
        end(&mut handle, Outcome::Failed);
        return Problem::new(
            Cause::Upstream,
            "the provider answered in a content-encoding that was not asked for",
        )
        .into_response(expected.caller);
    }
    let result = match (parts.status.is_success(), expected.stream) {
        (false, _) => return failure(parts, body, &expected, handle, config).await,
        (true, true) => stream(parts, body, &expected, &mut handle, config).await,
        (true, false) => whole(parts, body, &expected, &mut handle, config).await,
    };
    result.unwrap_or_else(|problem| {
        end(&mut handle, Outcome::Failed);
        problem.into_response(expected.caller)
    })
}

fn end(handle: &mut Option<AttemptHandle>, outcome: Outcome) {
    if let Some(handle) = handle {
        handle.end(outcome);
    }
}

// ===== errors =====

/// An answer with an error status. One of the caller's own dialect passes as it is, unless its words had to be cleaned.
async fn failure(
    parts: Parts,
    body: Body,
    expected: &Expected,
    mut handle: Option<AttemptHandle>,
    config: &Config,
) -> Response<Body> {
    end(&mut handle, Outcome::Failed);
    let bytes = body.collect_within(MAX_ERROR.min(config.max_response)).await.unwrap_or_default();
    let mut problem = decode_error(Some(parts.status), &bytes);
    problem.retry_after = retry_after(&parts.headers).filter(|_| problem.cause.is_transient());
    problem.should_retry = match parts.headers.get("x-should-retry").map(HeaderValue::as_bytes) {
        Some(b"true") => Some(true),
        Some(b"false") => Some(false),
        _ => None,
    };
    let message = problem.message.clone();
    let mut response = problem.into_response(expected.caller);
    if expected.caller == expected.provider && is_native(&bytes, expected.caller, &message) {
        *response.status_mut() = parts.status;
        *response.body_mut() = Body::from(bytes);
    }
    copy_headers(&parts.headers, response.headers_mut(), expected);
    response
}

/// Whether a body is an error object of the dialect, and says what we would say.
fn is_native(body: &[u8], dialect: Dialect, message: &str) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    let said = value.pointer("/error/message").and_then(serde_json::Value::as_str);
    let shaped = dialect != Dialect::Anthropic || value.get("type").is_some_and(|kind| kind == "error");
    shaped && said == Some(message)
}

/// Longest error body that is read.
const MAX_ERROR: usize = 1 << 20;

// ===== whole answers =====

async fn whole(
    parts: Parts,
    body: Body,
    expected: &Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<Response<Body>, Problem> {
    let bytes = body.collect_within(config.max_response).await.map_err(|error| match error {
        CollectError::Failed(source) => match broke_off(&source) {
            timeout if timeout.cause == Cause::Timeout => timeout,
            _ => unreadable(&CollectError::Failed(source)),
        },
        other => unreadable(&other),
    })?;
    let same = expected.caller == expected.provider;
    if same && handle.is_none() {
        // Nobody asks what it says: it only has to be an answer.
        check_shape(&bytes, expected.provider)?;
        return Ok(respond(&parts, Body::from(bytes), "application/json", expected));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| undecodable(&bytes))?;
    let mut response = match decode_response(expected.provider, text) {
        Ok(response) => response,
        Err(_) => return Err(undecodable(&bytes)),
    };
    if let Some(attempt) = handle {
        let outcome = feed_response(attempt, &response);
        if let Err(rejection) = attempt.progress().await {
            attempt.end(Outcome::Stopped);
            return Ok(rejection.into_response(expected.caller));
        }
        attempt.end(outcome);
    }
    if same {
        return Ok(respond(&parts, Body::from(bytes), "application/json", expected));
    }
    expected.names.restore_all(&mut response);
    let mut out = Vec::with_capacity(bytes.len() + 256);
    encode_response(expected.caller, &response, config.epoch_seconds(), &mut out);
    Ok(respond(&parts, Body::from(out), "application/json", expected))
}

/// The least that makes a body an answer of the dialect: JSON, with the list that holds what was said.
fn check_shape(bytes: &[u8], dialect: Dialect) -> Result<(), Problem> {
    #[derive(serde::Deserialize)]
    struct Shape {
        choices: Option<Vec<serde::de::IgnoredAny>>,
        content: Option<Vec<serde::de::IgnoredAny>>,
    }
    let shape: Shape = serde_json::from_slice(bytes).map_err(|_| undecodable(bytes))?;
    let holds = match dialect {
        Dialect::Anthropic => shape.content.is_some(),
        _ => shape.choices.is_some(),
    };
    if holds { Ok(()) } else { Err(undecodable(bytes)) }
}

/// The problem of a success that is none: an error in a 200, HTML, something else.
fn undecodable(bytes: &[u8]) -> Problem {
    let named = serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| {
        value.get("error").is_some_and(|error| !error.is_null())
            || value.get("type").is_some_and(|kind| kind == "error")
    });
    match named {
        true => decode_error(None, bytes),
        false => {
            let what = match bytes.trim_ascii_start().first() {
                None => "nothing",
                Some(b'<') => "HTML",
                Some(b'{' | b'[') => "JSON that is no answer",
                Some(_) => "what is no JSON",
            };
            Problem::new(Cause::Upstream, format!("the provider answered with {what}"))
        }
    }
}

// ===== streams =====

async fn stream(
    parts: Parts,
    body: Body,
    expected: &Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<Response<Body>, Problem> {
    // By its first byte, not by its label: recordings have streams that are labelled JSON, and errors that are labelled streams.
    let body = peek(body).await?;
    let body = match body {
        Peeked::Events(body) => body,
        Peeked::Other(body) => {
            let bytes = body.collect_within(config.max_response).await.map_err(|error| unreadable(&error))?;
            return Err(match check_shape(&bytes, expected.provider) {
                Ok(()) => {
                    Problem::new(Cause::Upstream, "the provider answered whole where a stream was asked for")
                }
                Err(problem) => problem,
            });
        }
    };
    let body = match expected.caller == expected.provider {
        true => {
            let mut options = Options::new(expected.provider);
            options.hide_usage = expected.hide_usage;
            options.choices = expected.choices;
            options.max_event = config.max_event;
            Body::new(MeteredBody::new(body, options, handle.take()))
        }
        false => Body::new(TranslatedBody::new(body, expected, config, handle.take())),
    };
    Ok(respond(&parts, body, "text/event-stream", expected))
}

enum Peeked {
    Events(Body),
    Other(Body),
}

/// Reads up to the first byte that is no white space and puts all of it back.
async fn peek(mut body: Body) -> Result<Peeked, Problem> {
    let mut read = Vec::new();
    let mut seen = 0;
    loop {
        let frame = match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(frame) => frame.map_err(|error| broke_off(&error))?,
            None => return Err(undecodable(b"")),
        };
        let Ok(data) = frame.into_data() else { continue };
        let start = data.trim_ascii_start();
        let first = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).first().copied();
        seen += data.len();
        read.push(data);
        if seen > MAX_PREAMBLE {
            return Err(Problem::new(
                Cause::Upstream,
                "the provider's stream begins with nothing but blanks",
            ));
        }
        if let Some(first) = first {
            let body = Body::new(Resumed { read: read.into(), body });
            return Ok(match first {
                b'{' | b'[' | b'<' => Peeked::Other(body),
                _ => Peeked::Events(body),
            });
        }
    }
}

/// Most blanks that are read in search of the first event.
const MAX_PREAMBLE: usize = 64 << 10;

/// A body whose first frames were read already.
struct Resumed {
    read: std::collections::VecDeque<Bytes>,
    body: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.pop_front() {
            Some(data) => std::task::Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.body.is_end_stream()
    }
}

// ===== heads =====

fn respond(parts: &Parts, body: Body, kind: &'static str, expected: &Expected) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    let headers = response.headers_mut();
    copy_headers(&parts.headers, headers, expected);
    match parts.headers.get(header::CONTENT_TYPE) {
        Some(own) if expected.caller == expected.provider && own.as_bytes().starts_with(kind.as_bytes()) => {
            headers.insert(header::CONTENT_TYPE, own.clone());
        }
        _ => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
    }
    if kind == "text/event-stream" {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

/// Hands on what speaks of this answer, and nothing that speaks of the operator's account. Limits are told in the provider's own words, which
/// only a caller of its dialect knows.
fn copy_headers(from: &HeaderMap, to: &mut HeaderMap, expected: &Expected) {
    const ALWAYS: &[&str] = &["retry-after", "retry-after-ms", "x-should-retry"];
    const SAME: &[&str] = &["request-id", "x-request-id", "openai-processing-ms", "openai-version"];
    const SAME_PREFIXES: &[&str] = &["x-ratelimit-", "anthropic-ratelimit-"];
    let same = expected.caller == expected.provider;
    for (name, value) in from {
        let name: &HeaderName = name;
        let word = name.as_str();
        let mine =
            same && (SAME.contains(&word) || SAME_PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
        if mine || ALWAYS.contains(&word) {
            to.insert(name.clone(), value.clone());
        }
    }
}
