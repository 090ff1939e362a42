//! The answer that goes back to the caller.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, response::Parts};
use ziggurat_core::{AttemptHandle, Body, Cause, Dialect, Outcome, Problem, Rejection};
use ziggurat_dialect::{
    Text, add_hints, decode_response, encode_response,
    openai::{correct_usage, is_failed_finish},
};
use ziggurat_meter::{Broken, Confidential, MeteredBody, Options, Peeked, feed_response, peek, unreadable};

use crate::{
    body::TranslatedBody, framing::Frames, layer::Config, passed::pass, request::Expected, reworded,
    unwrapped::Unwrapped,
};

/// Translates an answer, whatever it is.
pub(crate) async fn translate(
    answer: Response<Body>,
    mut expected: Expected,
    mut handle: Option<AttemptHandle>,
    config: &Config,
) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    // What inner services have to say of it stays with it.
    let mut extensions = std::mem::take(&mut parts.extensions);
    if let Some(rejection) = extensions.remove::<Rejection>() {
        // A layer of ours refused, in the words of the provider's API.
        if let Some(handle) = handle.take() {
            handle.withdraw();
        }
        return rejection.into_response(expected.caller);
    }
    // None was asked for; what is encoded all the same cannot be read, nor bounded.
    let encoded = is_encoded(&parts.headers);
    let result = match (parts.status.is_success(), expected.stream) {
        (false, _) => {
            let body = if encoded { Body::empty() } else { body };
            Ok(failure(&parts, body, &expected, &mut handle, config).await)
        }
        (true, _) if encoded => Err(Problem::new(
            Cause::Upstream,
            "the provider answered in a content-encoding that was not asked for",
        )
        .into()),
        (true, _) if expected.reading.is_some() => {
            reworded::finish(&parts, body, &mut expected, &mut handle, config).await
        }
        // A stream of text that is no chat is one in the form of chats.
        (true, stream) if !expected.operation.is_conversation() && !stream => {
            pass(&parts, body, &expected, &mut handle, config).await
        }
        (true, true) => stream(&parts, body, &expected, &mut handle, config).await,
        (true, false) => whole(&parts, body, &expected, &mut handle, config).await,
    };
    let mut response = result.unwrap_or_else(|broken| {
        end(&mut handle, broken.outcome, Some(&broken.problem));
        broken.into_response(expected.caller)
    });
    extensions.extend(std::mem::take(response.extensions_mut()));
    *response.extensions_mut() = extensions;
    response
}

/// Whether an answer is written in a way that nobody asked for.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

pub(crate) fn end(handle: &mut Option<AttemptHandle>, outcome: Outcome, problem: Option<&Problem>) {
    if let Some(handle) = handle {
        if let Some(problem) = problem {
            handle.failed(problem);
        }
        handle.end(outcome);
    }
}

// ===== errors =====

/// An answer with an error status. One of the caller's own dialect passes as it is, unless its words had to be cleaned.
async fn failure(
    parts: &Parts,
    body: Body,
    expected: &Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Response<Body> {
    let bytes = body.collect_within(MAX_ERROR.min(config.max_response)).await.unwrap_or_default();
    let mut problem = expected.confidential.decode_error_of(parts.status, &parts.headers, &bytes);
    add_hints(&mut problem, &parts.headers, &bytes, (config.now)());
    let is_transient = problem.cause.is_transient();
    end(handle, Outcome::Failed, Some(&problem));
    let error = parts.status.is_client_error() || parts.status.is_server_error();
    let mut response = problem.into_response(expected.caller);
    if error
        && expected.caller == expected.provider
        && expected.confidential.is_presentable(&bytes, expected.caller)
    {
        *response.status_mut() = parts.status;
        *response.body_mut() = Body::from(bytes);
    }
    let headers = response.headers_mut();
    copy_headers(&parts.headers, headers, expected);
    if !is_transient {
        // A quota does not come back in a moment, and a bad request never.
        headers.remove("retry-after");
        headers.remove("retry-after-ms");
    }
    response
}

/// Longest error body that is read.
const MAX_ERROR: usize = 1 << 20;

// ===== whole answers =====

async fn whole(
    parts: &Parts,
    body: Body,
    expected: &Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<Response<Body>, Broken> {
    let bytes = body.collect_within(config.max_response).await.map_err(|error| unreadable(&error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| undecodable(&bytes, &expected.confidential))?;
    let same = expected.passes;
    if same {
        check_shape(&bytes, expected)?;
    }
    // An answer of Responses that failed has the shape of one, and a status of success.
    if expected.provider == Dialect::Responses
        && let Some(problem) = expected.confidential.decode_answer_error(&bytes)
    {
        return Err(problem.into());
    }
    let corrected = (same && expected.provider == Dialect::OpenAi).then(|| correct_usage(text)).flatten();
    let passed = corrected.map_or_else(|| bytes.clone(), Bytes::from);
    if same && handle.is_none() {
        return Ok(respond(parts, Body::from(passed), "application/json", expected));
    }
    let decoded = decode_response(expected.provider, text);
    let failed = decoded.as_ref().is_ok_and(|response| !same && is_failed(response));
    if let Some(attempt) = handle {
        let outcome = match &decoded {
            Ok(response) if failed => {
                feed_response(attempt, response);
                attempt.failed(&failed_answer());
                Outcome::Failed
            }
            Ok(response) => feed_response(attempt, response),
            // It passes all the same; as nobody can say what it holds, it counts as content.
            Err(_) if same => {
                attempt.content(bytes.len());
                Outcome::Complete
            }
            Err(_) => {
                attempt.failed(&undecodable(&bytes, &expected.confidential));
                Outcome::Failed
            }
        };
        if let Err(rejection) = attempt.progress().await {
            attempt.failed(rejection.problem());
            attempt.end(Outcome::Stopped);
            return Ok(rejection.into_response(expected.caller));
        }
        attempt.end(outcome);
    }
    if same {
        return Ok(respond(parts, Body::from(passed), "application/json", expected));
    }
    if failed {
        return Err(failed_answer().into());
    }
    let mut response = decoded.map_err(|_| undecodable(&bytes, &expected.confidential))?;
    expected.names.restore_all(&mut response);
    if let Some(form) = &expected.form {
        form.unwrap_all(&mut response);
    }
    response.id = Some(stated(&response.id).unwrap_or_else(|| fresh_id(expected.caller).into()));
    response.model = Some(stated(&response.model).unwrap_or_else(|| expected.model.clone().into()));
    let mut out = Vec::with_capacity(bytes.len() + 256);
    encode_response(expected.caller, &response, config.epoch_seconds(), &mut out);
    Ok(respond(parts, Body::from(out), "application/json", expected))
}

/// Whether an answer ended in a word for one that failed.
fn is_failed(response: &ziggurat_dialect::Response<'_>) -> bool {
    let mut ends = response.choices.iter().filter_map(|choice| choice.finish.as_ref());
    ends.any(|finish| finish.dialect == Dialect::OpenAi && is_failed_finish(&finish.native))
}

fn failed_answer() -> Problem {
    Problem::new(Cause::Upstream, "the provider ended the answer with an error")
}

/// What an answer says of itself, unless it is empty.
pub(crate) fn stated<'a>(text: &Option<Text<'a>>) -> Option<Text<'a>> {
    text.clone().filter(|text| !text.is_empty())
}

/// Whether an answer does not say this of itself.
pub(crate) fn is_missing(text: &Option<Text<'_>>) -> bool {
    text.as_ref().is_none_or(Text::is_empty)
}

/// An id for an answer that came without one, as the caller's clients know them. What stands before those of Responses is the encoder's.
pub(crate) fn fresh_id(caller: Dialect) -> String {
    let prefix = match caller {
        Dialect::OpenAi => "chatcmpl-",
        Dialect::Anthropic => "msg_",
        _ => "",
    };
    let chance = || RandomState::new().hash_one(());
    format!("{prefix}{:016x}{:016x}", chance(), chance())
}

/// The least that makes a body an answer of the dialect: JSON, with the list that holds what was said.
fn check_shape(bytes: &[u8], expected: &Expected) -> Result<(), Problem> {
    #[derive(serde::Deserialize)]
    struct Shape {
        choices: Option<Vec<serde::de::IgnoredAny>>,
        content: Option<Vec<serde::de::IgnoredAny>>,
        output: Option<Vec<serde::de::IgnoredAny>>,
        candidates: Option<Vec<serde::de::IgnoredAny>>,
        /// What Gemini says of a prompt that it does not answer.
        #[serde(rename = "promptFeedback")]
        feedback: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|_| undecodable(bytes, &expected.confidential))?;
    let holds = match expected.provider {
        Dialect::Anthropic => shape.content.is_some(),
        Dialect::Responses => shape.output.is_some(),
        Dialect::Gemini => shape.candidates.is_some() || shape.feedback.is_some(),
        _ => shape.choices.is_some(),
    };
    if holds { Ok(()) } else { Err(undecodable(bytes, &expected.confidential)) }
}

/// The problem of a success that is none: an error in a 200, HTML, something else.
pub(crate) fn undecodable(bytes: &[u8], confidential: &Confidential) -> Problem {
    confidential.decode_answer_error(bytes).unwrap_or_else(|| {
        let what = match bytes.trim_ascii_start().first() {
            None => "nothing",
            Some(b'<') => "HTML",
            Some(b'{' | b'[') => "JSON that is no answer",
            Some(_) => "what is no JSON",
        };
        Problem::new(Cause::Upstream, format!("the provider answered with {what}"))
    })
}

// ===== streams =====

async fn stream(
    parts: &Parts,
    body: Body,
    expected: &Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<Response<Body>, Broken> {
    let body = match expected.wrapped {
        true => {
            let max_event = config.max_event_of(expected.provider);
            Body::new(Unwrapped::new(body, expected.provider, max_event))
        }
        false => body,
    };
    if !Frames::are_events(expected.provider) {
        let frames = Frames::new(expected.provider, config.max_event_of(expected.provider));
        let body = TranslatedBody::new(body, frames, expected, config, handle.take());
        return Ok(respond(parts, Body::new(body), "text/event-stream", expected));
    }
    // By its first byte, not by its label: recordings have streams that are labelled JSON, and errors that are labelled streams.
    let body = match peek(body).await? {
        Peeked::Events(body) => body,
        // Gemini's streams come as one array, too.
        Peeked::Other(body) if expected.provider == Dialect::Gemini && expected.caller != Dialect::Gemini => {
            let body = TranslatedBody::new(
                body,
                Frames::array(config.max_event_of(expected.provider)),
                expected,
                config,
                handle.take(),
            );
            return Ok(respond(parts, Body::new(body), "text/event-stream", expected));
        }
        Peeked::Neither(body) | Peeked::Other(body) => {
            let bytes = body.collect_within(config.max_response).await.map_err(|error| unreadable(&error))?;
            return Err(Broken::from(match check_shape(&bytes, expected) {
                Ok(()) => {
                    Problem::new(Cause::Upstream, "the provider answered whole where a stream was asked for")
                }
                Err(problem) => problem,
            }));
        }
    };
    let body = match expected.passes {
        true => {
            let mut options = Options::new(expected.provider);
            options.hide_usage = expected.hide_usage;
            options.choices = expected.choices;
            options.max_event = config.max_event_of(expected.provider);
            let confidential = expected.confidential.clone();
            Body::new(MeteredBody::new(body, options, handle.take()).withholds(confidential))
        }
        false => {
            let frames = Frames::new(expected.provider, config.max_event_of(expected.provider));
            Body::new(TranslatedBody::new(body, frames, expected, config, handle.take()))
        }
    };
    Ok(respond(parts, body, "text/event-stream", expected))
}

// ===== heads =====

pub(crate) fn respond(parts: &Parts, body: Body, kind: &'static str, expected: &Expected) -> Response<Body> {
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

/// Hands on what speaks of this answer, and nothing that speaks of the operator's account: its limits are not the caller's.
pub(crate) fn copy_headers(from: &HeaderMap, to: &mut HeaderMap, expected: &Expected) {
    const HINTS: &[&str] = &["retry-after", "retry-after-ms", "x-should-retry"];
    const SAME: &[&str] = &["request-id", "x-request-id", "openai-processing-ms", "openai-version"];
    let same = expected.caller == expected.provider;
    for (name, value) in from {
        let name: &HeaderName = name;
        let word = name.as_str();
        let mine = same && SAME.contains(&word);
        if mine || (HINTS.contains(&word) && is_hint(value)) {
            to.insert(name.clone(), value.clone());
        }
    }
}

/// Whether a header tells a client when to come back: a number of seconds, a date, `true` or `false`.
fn is_hint(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let number = || text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.parse::<f64>().is_ok();
    matches!(text, "true" | "false") || number() || text.ends_with(" GMT")
}
