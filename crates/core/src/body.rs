//! One concrete body for both directions.

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::BoxError;

/// A request or response body: empty, whole bytes, or a boxed stream.
///
/// Every layer hands on this type, so a stack of them boxes a stream once: [`Body::new`] of a `Body` is free. `size_hint`,
/// `is_end_stream`, trailers and unknown frames of the wrapped stream are kept.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

/// Why a body could not be collected.
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectError {
    /// The body is, or says it is, longer than the limit in bytes.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The sender failed or left before the end.
    Failed(BoxError),
}

// ===== impl Body =====

impl Body {
    /// Makes a body of any `http_body::Body`; free when it already is a [`Body`].
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        if let Some(own) = (&mut slot as &mut dyn Any).downcast_mut::<Option<Self>>() {
            return own.take().unwrap_or_default();
        }
        match slot {
            Some(body) if body.is_end_stream() => Self::empty(),
            Some(body) => Self(Kind::Stream(Box::pin(IntoBoxError { body }))),
            None => Self::empty(),
        }
    }

    /// A body without a byte.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// The whole body, when it is in memory: `Some(b"")` for an empty one.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        static EMPTY: Bytes = Bytes::new();
        match &self.0 {
            Kind::Empty => Some(&EMPTY),
            Kind::Full(bytes) => Some(bytes),
            Kind::Stream(_) => None,
        }
    }

    /// Reads the whole body into memory, refusing more than `limit` bytes; a body that is whole already is not copied.
    ///
    /// # Errors
    /// [`CollectError::TooLarge`] as soon as the announced or the counted length is over `limit`; [`CollectError::Failed`] when
    /// the sender fails.
    pub async fn collect_within(self, limit: usize) -> Result<Bytes, CollectError> {
        let mut stream = match self.0 {
            Kind::Empty => return Ok(Bytes::new()),
            Kind::Full(bytes) if bytes.len() > limit => return Err(CollectError::TooLarge { limit }),
            Kind::Full(bytes) => return Ok(bytes),
            Kind::Stream(stream) => stream,
        };
        let hint = stream.size_hint();
        if hint.lower() > limit as u64 {
            return Err(CollectError::TooLarge { limit });
        }
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| stream.as_mut().poll_frame(cx)).await {
            let Ok(data) = frame.map_err(CollectError::Failed)?.into_data() else { continue };
            if first.len() + all.len() + data.len() > limit {
                return Err(CollectError::TooLarge { limit });
            }
            match (first.is_empty(), all.is_empty()) {
                (true, true) => first = data,
                (false, true) => {
                    // An announced length is a hint of the sender's: never reserve more than a little on its word alone.
                    let announced =
                        usize::try_from(hint.lower()).unwrap_or(limit).min(limit).min(MAX_RESERVE);
                    all.reserve(announced.max(first.len() + data.len()));
                    all.extend_from_slice(&std::mem::take(&mut first));
                    all.extend_from_slice(&data);
                }
                _ => all.extend_from_slice(&data),
            }
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Empty => f.write_str("Body::Empty"),
            Kind::Full(bytes) => write!(f, "Body::Full({} bytes)", bytes.len()),
            Kind::Stream(_) => f.write_str("Body::Stream"),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(whole: T) -> Self {
        let bytes = whole.into();
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Full(bytes)) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Stream(stream) => stream.as_mut().poll_frame(cx),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.size_hint(),
        }
    }
}

pin_project_lite::pin_project! {
    /// Gives any body the boxed error.
    struct IntoBoxError<B> {
        #[pin]
        body: B,
    }
}

impl<B> HttpBody for IntoBoxError<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// ===== impl CollectError =====

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "the body is larger than {limit} bytes"),
            Self::Failed(_) => f.write_str("the body ended early"),
        }
    }
}

impl std::error::Error for CollectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Failed(source) => Some(source.as_ref()),
        }
    }
}

/// Bytes reserved at most on the word of a `content-length` alone.
const MAX_RESERVE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    fn chunks(parts: &[&'static str]) -> Body {
        let frames: Vec<_> = parts.iter().map(|p| Ok::<_, BoxError>(Frame::data(Bytes::from(*p)))).collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn a_body_of_a_body_is_the_same_body() {
        let whole = Bytes::from("abc");
        let pointer = whole.as_ptr();
        let body = Body::new(Body::new(Body::from(whole)));
        assert_eq!(body.as_bytes().map(|b| b.as_ptr()), Some(pointer));
        assert_eq!(body.size_hint().exact(), Some(3));
    }

    #[tokio::test]
    async fn collects_exactly_up_to_the_limit() {
        assert_eq!(chunks(&["ab", "", "cd"]).collect_within(4).await.expect("fits"), "abcd");
        assert!(matches!(
            chunks(&["ab", "cde"]).collect_within(4).await,
            Err(CollectError::TooLarge { limit: 4 })
        ));
        let full = Body::new(Full::new(Bytes::from("abcde")));
        assert!(matches!(full.collect_within(4).await, Err(CollectError::TooLarge { limit: 4 })));
        assert!(matches!(
            Body::from("abcde").collect_within(4).await,
            Err(CollectError::TooLarge { limit: 4 })
        ));
    }

    #[tokio::test]
    async fn one_chunk_is_not_copied() {
        let whole = Bytes::from("abc");
        let pointer = whole.as_ptr();
        let body = Body::new(StreamBody::new(stream::iter([Ok::<_, BoxError>(Frame::data(whole))])));
        assert_eq!(body.collect_within(9).await.expect("fits").as_ptr(), pointer);
    }

    #[tokio::test]
    async fn trailers_pass_through() {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x", http::HeaderValue::from_static("1"));
        let frames =
            [Ok::<_, BoxError>(Frame::data(Bytes::from("a"))), Ok(Frame::trailers(trailers.clone()))];
        let collected = Body::new(StreamBody::new(stream::iter(frames))).collect().await.expect("ends");
        assert_eq!(collected.trailers(), Some(&trailers));
    }
}
