//! One array in the place of events, for Google's callers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body as HttpBody, Frame};
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, Call, Dialect, Operation};
use ziggurat_dialect::{json_array, sse};
use ziggurat_meter::{too_long, truncated};

/// Gives callers of Google's `streamGenerateContent` who do not ask for server-sent events (`alt=sse`) what Google's API gives them: one JSON
/// array, element by element as it comes, errors included.
///
/// # Position
/// Outside of all layers that answer such a call, refuse it or end its stream: these speak in events. What other callers are answered
/// passes untouched.
///
/// # Streaming
/// Each event's data is an element, given on with the event; an event that is not whole is held. An error in mid-stream is the last element, and
/// an error in the place of a stream the only one. Comments are left out. Dropping the body drops the one inside.
///
/// # Limits
/// One event 64 MiB, which ends the array in an error: fails closed. The layers inside are stricter.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ArrayLayer;

/// The service of [`ArrayLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Array<S> {
    inner: S,
}

pin_project_lite::pin_project! {
    /// The response future of [`Array`].
    #[derive(Debug)]
    #[doc(hidden)]
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        wanted: bool,
    }
}

/// A body as an array.
struct ArrayBody {
    /// Absent once it has ended.
    inner: Option<Body>,
    /// What cuts it into elements; `None` where all of it is one.
    events: Option<sse::Decoder>,
    array: json_array::Encoder,
    /// What is to be given on.
    out: Vec<u8>,
    trailers: Option<Frame<Bytes>>,
}

/// Longest event in bytes.
const MAX_EVENT: usize = 64 << 20;

// ===== impl ArrayLayer =====

impl ArrayLayer {
    /// A layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for ArrayLayer {
    type Service = Array<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Array { inner }
    }
}

// ===== impl Array =====

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Array<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let wanted = is_wanted(&request);
        ResponseFuture { future: self.inner.call(request), wanted }
    }
}

impl<F, E, ResBody> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?.map(Body::new);
        Poll::Ready(Ok(if *this.wanted { as_array(response) } else { response }))
    }
}

/// Whether a stream is asked for, and no events.
fn is_wanted<B>(request: &Request<B>) -> bool {
    let mut params = request.uri().query().unwrap_or_default().split('&');
    Call::operation_of_request(request) == Operation::StreamGenerate
        && !params.any(|param| matches!(param, "alt=sse" | "$alt=sse" | "%24alt=sse"))
}

/// Events, and errors in their place, as an array; whatever else it is passes.
fn as_array(response: Response<Body>) -> Response<Body> {
    let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let events = match kind {
        kind if kind.starts_with(b"text/event-stream") => Some(sse::Decoder::new(MAX_EVENT)),
        kind if kind.starts_with(b"application/json") && !response.status().is_success() => None,
        _ => return response,
    };
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let array = json_array::Encoder::default();
    let body = ArrayBody { inner: Some(body), events, array, out: Vec::new(), trailers: None };
    Response::from_parts(parts, Body::new(body))
}

// ===== impl ArrayBody =====

impl ArrayBody {
    fn push(&mut self, data: Bytes) {
        let Some(events) = &mut self.events else {
            // Of the one element, which may come in pieces.
            return self.array.piece(&mut self.out, &data);
        };
        events.push(data);
        for frame in events {
            match frame {
                Ok(sse::Frame::Event(event)) if !event.data.trim_ascii().is_empty() => {
                    self.array.element(&mut self.out, &event.data);
                }
                Ok(_) => {}
                Err(_) => {
                    let problem = too_long(MAX_EVENT).to_json(Dialect::Gemini);
                    self.array.element(&mut self.out, &problem);
                    self.end();
                    return;
                }
            }
        }
    }

    /// The bytes have ended.
    fn finish(&mut self) {
        match self.events.as_mut().and_then(sse::Decoder::finish) {
            None | Some(sse::Frame::Idle(_)) => {}
            // It lacks no more than its blank line.
            Some(sse::Frame::Event(event)) if is_json(&event.data) => {
                self.array.element(&mut self.out, &event.data);
            }
            Some(_) => self.array.element(&mut self.out, &truncated().to_json(Dialect::Gemini)),
        }
        self.end();
    }

    fn end(&mut self) {
        self.inner = None;
        self.array.finish(&mut self.out);
    }
}

fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

impl HttpBody for ArrayBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if !self.out.is_empty() {
                let out = std::mem::take(&mut self.out);
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
            let Some(inner) = &mut self.inner else {
                return Poll::Ready(self.trailers.take().map(Ok));
            };
            match ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.push(data),
                    Err(trailers) => self.trailers = Some(trailers),
                },
                // Whoever waits for the array's end is left without, as the connection is cut.
                Some(Err(error)) => {
                    self.inner = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.finish(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none() && self.out.is_empty() && self.trailers.is_none()
    }
}
