//! Answers that are no conversation: they pass as they are, and what they used is read.

use http::{HeaderValue, Response, header, response::Parts};
use serde::Deserialize;
use serde_json::value::RawValue;
use ziggurat_core::{AttemptHandle, Body, Convention, Operation, Outcome, Usage};
use ziggurat_dialect::{
    gemini,
    openai::{read_input_usage, read_media_answer, read_subtitles, read_usage},
};
use ziggurat_meter::{Broken, MeteredBody, Options, unreadable};

use crate::{
    layer::Config,
    request::Expected,
    response::{copy_headers, undecodable},
};

/// Hands on an answer of success.
pub(crate) async fn pass(
    parts: &Parts,
    body: Body,
    expected: &Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<Response<Body>, Broken> {
    let operation = expected.operation;
    let kind = Kind::of(parts, operation);
    match kind {
        Kind::Events => {
            let mut options = Options::new(expected.provider);
            options.media = true;
            options.max_event = config.max_event.unwrap_or(MAX_MEDIA_EVENT);
            let body =
                MeteredBody::new(body, options, handle.take()).withholds(expected.confidential.clone());
            return Ok(respond(parts, Body::new(body), expected));
        }
        Kind::Sound => {
            // As long as it is: it is paid for by what was asked.
            if let Some(attempt) = handle {
                attempt.content(0);
                if let Err(rejection) = attempt.progress().await {
                    attempt.failed(rejection.problem());
                    attempt.end(Outcome::Stopped);
                    return Ok(rejection.into_response(expected.caller));
                }
                attempt.end(Outcome::Complete);
            }
            return Ok(respond(parts, body, expected));
        }
        Kind::Text | Kind::Json => {}
    }
    let bytes = body.collect_within(config.max_response).await.map_err(|error| unreadable(&error))?;
    let usage = match kind {
        Kind::Text => subtitles(&bytes),
        _ => {
            let Ok(answer) = serde_json::from_slice::<Answer<'_>>(&bytes) else {
                return Err(undecodable(&bytes, &expected.confidential).into());
            };
            if operation == Operation::Speech || answer.error.is_some_and(|error| error.get() != "null") {
                return Err(undecodable(&bytes, &expected.confidential).into());
            }
            match operation {
                _ if operation.is_heard() || operation.is_drawn() => {
                    std::str::from_utf8(&bytes).ok().and_then(|text| read_media_answer(operation, text))
                }
                _ if operation.generates_text() => {
                    answer.usage.and_then(read_usage).map(|spent| spent.counts)
                }
                _ if operation.embeds_content() => answer.google.and_then(gemini::read_usage).map(|spent| {
                    // Nothing is written but vectors.
                    let mut counts = spent.counts;
                    counts.output = counts.output.or(Some(0));
                    counts
                }),
                _ => answer.usage.and_then(read_input_usage),
            }
        }
    };
    if let Some(attempt) = handle {
        if let Some(usage) = usage {
            attempt.usage(&usage);
        }
        if operation.generates_text() {
            attempt.content(bytes.len());
        }
        if let Err(rejection) = attempt.progress().await {
            attempt.failed(rejection.problem());
            attempt.end(Outcome::Stopped);
            return Ok(rejection.into_response(expected.caller));
        }
        attempt.end(Outcome::Complete);
    }
    Ok(respond(parts, Body::from(bytes), expected))
}

/// In what form an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    /// What was heard, as text or as subtitles.
    Text,
    Sound,
    Events,
}

// ===== impl Kind =====

impl Kind {
    /// By its label, as sound and text can begin with anything.
    fn of(parts: &Parts, operation: Operation) -> Self {
        let kind =
            parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_media = operation == Operation::Speech || operation.is_heard() || operation.is_drawn();
        let is_json = kind == "application/json" || kind.ends_with("+json") || kind == "text/html";
        match operation {
            _ if is_media && kind == "text/event-stream" => Self::Events,
            _ if is_json => Self::Json,
            Operation::Speech => Self::Sound,
            operation if operation.is_heard() && !kind.is_empty() => Self::Text,
            _ => Self::Json,
        }
    }
}

/// What subtitles say of the length of what was heard; text says nothing of it.
fn subtitles(bytes: &[u8]) -> Option<Usage> {
    let mut usage = Usage::new(Convention::OPENAI);
    usage.heard = Some(read_subtitles(std::str::from_utf8(bytes).ok()?)?);
    Some(usage)
}

/// The members of any of these answers that matter on its way.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    /// Where Google's answers say it.
    #[serde(borrow, rename = "usageMetadata")]
    google: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

fn respond(parts: &Parts, body: Body, expected: &Expected) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    copy_headers(&parts.headers, response.headers_mut(), expected);
    let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
    let kind = kind.unwrap_or(HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Longest event with an image or a piece of sound in bytes, unless another length is set.
const MAX_MEDIA_EVENT: usize = 16 << 20;
