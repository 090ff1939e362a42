//! Answers that are no conversation: they pass as they are, and what they used is read.

use http::{HeaderValue, Response, header, response::Parts};
use serde::Deserialize;
use serde_json::value::RawValue;
use ziggurat_core::{AttemptHandle, Body, Operation, Outcome};
use ziggurat_dialect::openai::{read_input_usage, read_usage};
use ziggurat_meter::{Broken, unreadable};

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
    if expected.operation == Operation::Speech {
        // Sound, as long as it is: it is paid for by what was asked.
        if let Some(handle) = handle {
            handle.content(0);
            handle.end(Outcome::Complete);
        }
        return Ok(respond(parts, body, expected));
    }
    let bytes = body.collect_within(config.max_response).await.map_err(|error| unreadable(&error))?;
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(&bytes) else {
        return Err(undecodable(&bytes, &expected.confidential).into());
    };
    if answer.error.is_some_and(|error| error.get() != "null") {
        return Err(undecodable(&bytes, &expected.confidential).into());
    }
    if let Some(attempt) = handle {
        let writes = expected.operation.generates_text();
        let used = answer.usage.and_then(|usage| match writes {
            true => read_usage(usage).map(|spent| spent.counts),
            false => read_input_usage(usage),
        });
        if let Some(counts) = used {
            attempt.usage(&counts);
        }
        if writes {
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

/// The members of any of these answers that matter on its way.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
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
