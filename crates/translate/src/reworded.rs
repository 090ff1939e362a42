//! Operations that a target serves in other words than its callers': embeddings, rankings and images.

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, response::Parts};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{
    AttemptHandle, Body, BoxError, Call, Cause, Operation, Outcome, Problem, Rejection, Target, Usage,
    Wording,
};
use ziggurat_dialect::{Encoding, Malformed, embeddings, images, rerank};
use ziggurat_meter::{Broken, unreadable};

use crate::{
    layer::Config,
    request::{Expected, Rest, malformed, refuse},
    response::{fresh_id, is_encoded, respond, undecodable},
    standing::{embedding_defaults, standing},
};

/// What the answers are read into.
#[derive(Debug)]
pub(crate) enum Reading {
    Vectors(Box<embeddings::Vectors>),
    Ranking(Box<rerank::Ranking>),
    Images(Box<images::Images>),
}

/// A call in the words of its target: the bodies with which that is asked one after the other, and what its answers are read into.
pub(crate) fn encode(
    call: &Call,
    target: &Target,
    wording: Wording,
) -> Result<(Vec<Bytes>, Reading), Rejection> {
    let edit = standing(call.edit(), call, target);
    let edited = (!edit.is_empty()).then(|| edit.finish());
    let text = match &edited {
        Some(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        None => call.text(),
    };
    let encoding = Encoding::new(target.model(), target.params());
    if call.operation() == Operation::Rerank {
        let request = rerank::decode_request(text).map_err(malformed)?;
        let body = rerank::encode_request(wording, &request, &encoding).map_err(refuse)?;
        return Ok((vec![body.into()], Reading::Ranking(Box::new(rerank::Ranking::new(&request)))));
    }
    let owned = |bodies: Vec<Vec<u8>>| bodies.into_iter().map(Bytes::from).collect();
    if call.operation() == Operation::Images {
        let request = images::decode_request(text).map_err(malformed)?;
        let bodies = images::encode_request(wording, &request, &encoding).map_err(refuse)?;
        return Ok((owned(bodies), Reading::Images(Box::new(images::Images::new(wording, &request)))));
    }
    let request = match call.operation() {
        operation if operation.embeds_content() => {
            let mut request = embeddings::decode_content(operation, text).map_err(malformed)?;
            // Operators say it in words that are not the caller's.
            target.params().additional_drop_params.iter().for_each(|name| request.remove(name));
            for (name, json) in embedding_defaults(target) {
                request.add_missing(name, json);
            }
            request
        }
        _ => embeddings::decode_request(text).map_err(malformed)?,
    };
    let bodies = embeddings::encode_request(wording, &request, &encoding).map_err(refuse)?;
    let vectors = embeddings::Vectors::new(wording, &request, target.model());
    Ok((owned(bodies), Reading::Vectors(Box::new(vectors))))
}

/// Asks for what is left of a call once its first part was answered, and gives the answer that is still to be read: the last one, or one
/// that is a failure.
pub(crate) async fn ask_on<S, ResBody>(
    inner: &mut S,
    first: Response<Body>,
    mut rest: Rest,
    (expected, target): (&mut Expected, &Target),
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<Result<Response<Body>, Broken>, S::Error>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let mut answer = first;
    loop {
        if !answer.status().is_success() || is_encoded(answer.headers()) {
            return Ok(Ok(answer));
        }
        if let Err(broken) = gather(answer, expected, handle, config).await {
            return Ok(Err(broken));
        }
        let request = match rest.next(target, expected).await {
            Ok(request) => request,
            Err(rejection) => return Ok(Err(rejection.into())),
        };
        poll_fn(|cx| inner.poll_ready(cx)).await?;
        answer = inner.call(request).await?.map(Body::new);
        if let Some(rejection) = answer.extensions().get::<Rejection>() {
            // What was answered before is to be paid for.
            return Ok(Err(rejection.clone().into()));
        }
        if rest.is_empty() {
            return Ok(Ok(answer));
        }
    }
}

/// Reads one of several answers.
async fn gather(
    answer: Response<Body>,
    expected: &mut Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<(), Broken> {
    let (parts, body) = answer.into_parts();
    read(body, &parts.headers, expected, config).await?;
    feed(expected, handle).await
}

/// Reads the last answer, and writes what the caller is given for all of them.
pub(crate) async fn finish(
    parts: &Parts,
    body: Body,
    expected: &mut Expected,
    handle: &mut Option<AttemptHandle>,
    config: &Config,
) -> Result<Response<Body>, Broken> {
    read(body, &parts.headers, expected, config).await?;
    if let Some(handle) = handle {
        // One of several answers may have stated nothing, and what the others did is not all.
        handle.forget_usage();
    }
    feed(expected, handle).await?;
    let out = match expected.reading.take() {
        Some(Reading::Vectors(vectors)) => vectors.finish(&expected.model),
        Some(Reading::Ranking(ranking)) => ranking.finish(&fresh_id(expected.caller)),
        Some(Reading::Images(images)) => images.finish(config.epoch_seconds()).map_err(no_image)?,
        None => Vec::new(),
    };
    if let Some(handle) = handle {
        handle.end(Outcome::Complete);
    }
    Ok(respond(parts, Body::from(out), "application/json", expected))
}

fn no_image(why: images::NoImage) -> Problem {
    match why {
        images::NoImage::Withheld => Problem::new(
            Cause::ContentPolicy,
            "the provider's content policy forbids the prompt, or what it drew",
        ),
        _ => Problem::new(Cause::Upstream, "the provider answered without an image"),
    }
}

/// Takes an answer in. All of one attempt together are as long as one may be.
async fn read(
    body: Body,
    headers: &HeaderMap,
    expected: &mut Expected,
    config: &Config,
) -> Result<(), Broken> {
    let left = config.max_response.saturating_sub(expected.gathered);
    let bytes = body.collect_within(left).await.map_err(|error| unreadable(&error))?;
    expected.gathered += bytes.len();
    let Some(reading) = &mut expected.reading else { return Ok(()) };
    let read = std::str::from_utf8(&bytes).ok().and_then(|text| reading.read(text, headers).ok());
    read.ok_or_else(|| {
        // As one that breaks off: it was made and is billed, and what was told so far is not all.
        let mut broken = Broken::from(undecodable(&bytes, &expected.confidential));
        broken.outcome = Outcome::Truncated;
        broken
    })
}

/// Tells who listens what was used so far.
async fn feed(expected: &Expected, handle: &mut Option<AttemptHandle>) -> Result<(), Broken> {
    let Some(handle) = handle else { return Ok(()) };
    if let Some(usage) = expected.reading.as_ref().and_then(Reading::usage) {
        handle.usage(&usage);
    }
    handle.progress().await.map_err(Broken::from)
}

// ===== impl Reading =====

impl Reading {
    fn read(&mut self, json: &str, headers: &HeaderMap) -> Result<(), Malformed> {
        match self {
            Self::Vectors(vectors) => vectors.read(json, headers),
            Self::Ranking(ranking) => ranking.read(json, headers),
            Self::Images(images) => images.read(json),
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Vectors(vectors) => vectors.usage(),
            Self::Ranking(ranking) => ranking.usage(),
            Self::Images(images) => Some(images.usage()),
        }
    }
}
