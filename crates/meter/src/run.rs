//! A call with a subscriber, from its request to the end of its response.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, header, response::Parts};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{
    AttemptHandle, Body, BoxError, Call, CallEnd, Dialect, Field, Meter, Metered, Operation, Outcome,
    Rejection, Served, Subscriber,
};
use ziggurat_dialect::{decode_answer_error, decode_response};

use crate::{
    Broken, MeteredBody, Options, Peeked, asks_for_usage, feed_error, feed_response, no_answer,
    options_with_usage, peek, unreadable,
};

/// How [`run`] reads an answer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Reading {
    /// Longest whole answer in bytes.
    pub max_response: usize,
    /// Asks OpenAI's API for the usage of a stream (`stream_options.include_usage`) where the caller did not, and takes the extra
    /// chunk out again.
    pub ask_usage: bool,
}

// ===== impl Reading =====

impl Reading {
    /// Asks for usage, too.
    #[must_use]
    pub const fn ask_usage(mut self, ask: bool) -> Self {
        self.ask_usage = ask;
        self
    }
}

/// Reads whole answers of so many bytes, and asks for nothing.
impl From<usize> for Reading {
    fn from(max_response: usize) -> Self {
        Self { max_response, ask_usage: false }
    }
}

/// Calls `inner`, which must be ready, with `subscriber` on the call's [`Meter`]; the meter is made when there is none.
///
/// The answer is read here when no inner layer does ([`Metered`]), as `reading` says: a stream as it passes, a whole one once it is collected; which of them it is, its first byte tells ([`peek`]). The call ends with the response's body, or when this
/// future is dropped. Only answers to chat and messages are read, and only those of a request whose [`Call`] is attached; of all others
/// the end is told, and nothing of what they used.
///
/// # Errors
/// Those of `inner`.
pub fn run<S, ResBody>(
    inner: &mut S,
    request: Request<Body>,
    subscriber: Arc<dyn Subscriber>,
    reading: impl Into<Reading>,
) -> impl Future<Output = Result<Response<Body>, S::Error>>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let reading = reading.into();
    // One block, which keeps what it captures once: every `async fn` would keep it twice, in the future of every call.
    async move {
        let mut request = request;
        let (meter, end) = Meter::join(&mut request);
        meter.subscribe(subscriber);
        if reading.ask_usage {
            ask_for_usage(&mut request, &meter);
        }
        carry(inner, request, (meter, end), reading.max_response).await
    }
}

/// Calls `inner`, which must be ready, for a layer that has joined the call's [`Meter`]: where that made it (`end` is given), it answers for it, as
/// [`run`] says. An answer for which nobody listens is not read.
///
/// # Errors
/// Those of `inner`.
#[expect(clippy::manual_async_fn, reason = "a block keeps what it captures once, an `async fn` twice")]
pub fn carry<S, ResBody>(
    inner: &mut S,
    mut request: Request<Body>,
    (meter, end): (Meter, Option<CallEnd>),
    max_response: usize,
) -> impl Future<Output = Result<Response<Body>, S::Error>>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    async move {
        // Whoever made the meter reads the answer and ends the call.
        let Some(end) = end else { return Ok(inner.call(request).await?.map(Body::new)) };
        let call = call_to_read(&mut request);
        let mut handle = meter.presume();
        let mut response = match inner.call(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => {
                feed_error(&mut handle, &error);
                return Err(error);
            }
        };
        handle.answered(response.status());
        if response.extensions().get::<Rejection>().is_some() {
            // Refused by a layer of ours: what was tried before that, it has recorded itself.
            handle.withdraw();
            return Ok(response.map(|body| body.guarded(end)));
        }
        if is_given_again(&response) || !meter.has_subscribers() {
            // Nothing was asked of a provider, or nobody wants to know.
            handle.withdraw();
            return Ok(response.map(|body| body.guarded(end)));
        }
        if response.extensions_mut().insert(Metered).is_some() {
            return Ok(response.map(|body| body.guarded(end)));
        }
        let success = response.status().is_success();
        let call = call.filter(|_| success && !response.headers().contains_key(header::CONTENT_ENCODING));
        let Some(call) = call else {
            handle.end(if success { Outcome::Complete } else { Outcome::Failed });
            return Ok(response.map(|body| body.guarded(end)));
        };
        Ok(read_answer(response, call, handle, meter, max_response, Some(end)).await)
    }
}

/// Reads an answer of success, for a layer that has opened its attempt and found that no inner layer feeds it: a stream as it passes, a
/// whole one, of at most `limit` bytes, once it is collected. `end`, if it is given, ends the call with the answer.
#[expect(clippy::manual_async_fn, reason = "a block keeps what it captures once, an `async fn` twice")]
pub fn read_answer(
    response: Response<Body>,
    call: Call,
    mut handle: AttemptHandle,
    meter: Meter,
    limit: usize,
    end: Option<CallEnd>,
) -> impl Future<Output = Response<Body>> {
    async move {
        let (parts, body) = response.into_parts();
        let body = match peek(body).await {
            Ok(Peeked::Events(body)) => return streamed(parts, body, &call, handle, (&meter, end)),
            // Half an event, or nothing: the caller, who waits for events, is told so by one.
            Ok(Peeked::Neither(body)) if call.stream() => {
                return streamed(parts, body, &call, handle, (&meter, end));
            }
            Ok(Peeked::Neither(body) | Peeked::Other(body)) => body,
            Err(broken) => return unread(broken, handle, call.dialect()),
        };
        let bytes = match body.collect_within(limit).await {
            Ok(bytes) => bytes,
            Err(error) => return unread(unreadable(&error), handle, call.dialect()),
        };
        let outcome = feed_whole(&mut handle, call.dialect(), &bytes);
        if let Err(rejection) = handle.progress().await {
            handle.failed(rejection.problem());
            handle.end(Outcome::Stopped);
            return rejection.into_response(call.dialect());
        }
        handle.end(outcome);
        let body = Body::from(bytes);
        Response::from_parts(parts, if let Some(end) = end { body.guarded(end) } else { body })
    }
}

/// Whether the answer comes from a cache.
fn is_given_again(response: &Response<Body>) -> bool {
    response.extensions().get::<Served>().is_some_and(|served| served.cache.is_given_again())
}

/// The call whose answer can be read; it is asked to come as it is.
fn call_to_read(request: &mut Request<Body>) -> Option<Call> {
    let call = Call::of(request)?.clone();
    if !call.operation().is_conversation() {
        return None;
    }
    // What is to be read must not come compressed.
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    Some(call)
}

/// An answer that is read as it passes.
fn streamed(
    mut parts: Parts,
    body: Body,
    call: &Call,
    handle: AttemptHandle,
    (meter, end): (&Meter, Option<CallEnd>),
) -> Response<Body> {
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut options = Options::new(call.dialect());
    options.choices = call.n();
    options.hide_usage = meter.withholds_usage();
    let mut body = MeteredBody::new(body, options, Some(handle));
    if let Some(end) = end {
        body = body.ends(end);
    }
    Response::from_parts(parts, Body::new(body))
}

/// What is told in the place of an answer that broke.
fn unread(broken: Broken, mut handle: AttemptHandle, dialect: Dialect) -> Response<Body> {
    handle.failed(&broken.problem);
    handle.end(broken.outcome);
    broken.into_response(dialect)
}

/// Records what a whole answer says of itself.
fn feed_whole(handle: &mut AttemptHandle, dialect: Dialect, bytes: &[u8]) -> Outcome {
    let decoded = std::str::from_utf8(bytes).ok().and_then(|text| decode_response(dialect, text).ok());
    match decoded {
        Some(response) => feed_response(handle, &response),
        None => {
            handle.failed(&decode_answer_error(bytes).unwrap_or_else(no_answer));
            Outcome::Failed
        }
    }
}

/// Asks for the usage of a stream of OpenAI's API, where the caller does not.
fn ask_for_usage(request: &mut Request<Body>, meter: &Meter) {
    let Some(call) = Call::of(request).cloned() else { return };
    if call.operation() != Operation::Chat || !call.stream() || asks_for_usage(&call) {
        return;
    }
    let bytes = call.edit().set(Field::StreamOptions, options_with_usage(&call)).finish();
    // It fails only for a body that a caller could not have sent; then the call goes as it came.
    if Call::replace(request, bytes).is_ok() {
        meter.withhold_usage();
    }
}
