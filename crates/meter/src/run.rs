//! A call with a subscriber, from its request to the end of its response.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower_service::Service;
use ziggurat_core::{
    AttemptHandle, Body, BoxError, Call, CallEnd, Cause, CollectError, Dialect, Meter, Metered, Outcome,
    Problem, Subscriber,
};
use ziggurat_dialect::decode_response;

use crate::{MeteredBody, Options, feed_response};

/// Calls `inner`, which must be ready, with `subscriber` on the call's [`Meter`]; the meter is made when there is none.
///
/// The answer is read here when no inner layer does ([`Metered`]): a stream as it passes, a whole one once it is collected within
/// `max_response` bytes. The call ends with the response's body, or when this future is dropped.
///
/// # Errors
/// Those of `inner`.
pub async fn run<S>(
    inner: &mut S,
    mut request: Request<Body>,
    subscriber: Arc<dyn Subscriber>,
    max_response: usize,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let (meter, end) = Meter::join(&mut request);
    meter.subscribe(subscriber);
    // Whoever made the meter reads the answer and ends the call.
    let Some(end) = end else { return inner.call(request).await };
    let call = Call::of(&request).cloned();
    let mut presumed = meter.presume();
    let mut response = match inner.call(request).await {
        Ok(response) => response,
        Err(error) => {
            presumed.end(Outcome::Failed);
            return Err(error);
        }
    };
    if response.extensions_mut().insert(Metered).is_some() {
        return Ok(response.map(|body| Body::new(EndingBody { body, end })));
    }
    let dialect = call.as_ref().map_or(Dialect::OpenAi, Call::dialect);
    let read = call.is_some_and(|call| call.operation().takes_messages()) && response.status().is_success();
    if !read {
        presumed.end(if response.status().is_success() { Outcome::Complete } else { Outcome::Failed });
        return Ok(response.map(|body| Body::new(EndingBody { body, end })));
    }
    if is_event_stream(response.headers()) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        return Ok(response
            .map(|body| Body::new(MeteredBody::new(body, Options::new(dialect), Some(presumed)).ends(end))));
    }
    Ok(read_whole(response, dialect, presumed, end, max_response).await)
}

/// Whether the headers announce a stream of server-sent events.
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().get(..17).is_some_and(|start| start.eq_ignore_ascii_case("text/event-stream"))
}

async fn read_whole(
    response: Response<Body>,
    dialect: Dialect,
    mut handle: AttemptHandle,
    end: CallEnd,
    limit: usize,
) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let bytes = match body.collect_within(limit).await {
        Ok(bytes) => bytes,
        Err(error) => {
            handle.end(Outcome::Truncated);
            return unreadable(&error).into_response(dialect);
        }
    };
    let decoded = std::str::from_utf8(&bytes).ok().and_then(|text| decode_response(dialect, text).ok());
    let outcome = decoded.map_or(Outcome::Failed, |response| feed_response(&mut handle, &response));
    if let Err(rejection) = handle.progress().await {
        handle.end(Outcome::Stopped);
        return rejection.into_response(dialect);
    }
    handle.end(outcome);
    Response::from_parts(parts, Body::new(EndingBody { body: Body::from(bytes), end }))
}

/// The problem of an answer that could not be collected.
#[must_use]
pub fn unreadable(error: &CollectError) -> Problem {
    Problem::new(
        Cause::Upstream,
        match error {
            CollectError::TooLarge { limit } => format!("the provider's answer is larger than {limit} bytes"),
            _ => "the provider's answer ended before it was complete".to_owned(),
        },
    )
}

pin_project_lite::pin_project! {
    /// Keeps the call open until the body has gone.
    struct EndingBody {
        #[pin]
        body: Body,
        end: CallEnd,
    }
}

impl HttpBody for EndingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
