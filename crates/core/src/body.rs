//! One concrete body for both directions.

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
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

/// What is collected of a body: pieces that are filled and never grown, as a buffer that doubles costs several times its bytes.
#[derive(Default)]
struct Segments {
    list: Vec<Vec<u8>>,
    /// Bytes in all of them.
    len: usize,
    /// Bytes the first one is to have room for.
    expected: usize,
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

    /// Reads the whole body into memory, refusing more than `limit` bytes; a body that is whole already, or that comes in one
    /// chunk, is not copied.
    ///
    /// It costs as much as has arrived, up to the limit; only at its end, when the pieces are joined, twice that.
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
        let mut rest = Segments::default();
        while let Some(frame) = poll_fn(|cx| stream.as_mut().poll_frame(cx)).await {
            let Ok(data) = frame.map_err(CollectError::Failed)?.into_data() else { continue };
            if data.len() > limit - first.len() - rest.len {
                return Err(CollectError::TooLarge { limit });
            }
            if data.is_empty() {
                continue;
            }
            if first.is_empty() && rest.len == 0 {
                first = data;
                continue;
            }
            if rest.len == 0 {
                // An announced length is a hint of the sender's: never reserve more than a little on its word alone.
                let announced = usize::try_from(hint.lower()).unwrap_or(limit).min(limit);
                rest.expected = announced.min(MAX_RESERVE);
            }
            // A small one may keep a large buffer of the transport's alive; a copy of a large one would cost as much again.
            if first.len() < SEGMENT_BYTES {
                rest.push(&std::mem::take(&mut first));
            }
            rest.push(&data);
        }
        Ok(if rest.len == 0 { first } else { rest.join(first) })
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

// ===== impl Segments =====

impl Segments {
    fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = self.list.last().map_or(0, |open| open.capacity() - open.len());
            if room == 0 {
                // As much again as there is, so that few bytes do not reserve many.
                let next = data.len().max(self.len).clamp(MIN_SEGMENT_BYTES, SEGMENT_BYTES);
                self.list.push(Vec::with_capacity(next.max(std::mem::take(&mut self.expected))));
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            if let Some(open) = self.list.last_mut() {
                open.extend_from_slice(now);
            }
            self.len += now.len();
            data = later;
        }
    }

    /// All bytes in one piece, behind those of `first`; what is copied is freed on the way.
    fn join(mut self, first: Bytes) -> Bytes {
        if first.is_empty() && self.list.len() == 1 {
            return self.list.pop().unwrap_or_default().into();
        }
        let mut whole = Vec::with_capacity(first.len() + self.len);
        whole.extend_from_slice(&first);
        drop(first);
        for segment in self.list {
            whole.extend_from_slice(&segment);
        }
        whole.into()
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

/// Bytes of a full-grown segment of a body that is being collected.
const SEGMENT_BYTES: usize = 256 << 10;

/// Bytes of the smallest segment.
const MIN_SEGMENT_BYTES: usize = 1 << 10;

/// Bytes reserved at most on the word of a `content-length` alone.
const MAX_RESERVE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

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

    /// A chunk of these bytes that tells when it is freed.
    fn told(bytes: Vec<u8>, freed: &Arc<AtomicBool>) -> Bytes {
        struct Owner(Vec<u8>, Arc<AtomicBool>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl Drop for Owner {
            fn drop(&mut self) {
                self.1.store(true, Ordering::Relaxed);
            }
        }
        Bytes::from_owner(Owner(bytes, Arc::clone(freed)))
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn any_split_gives_the_same_bytes() {
        for len in [0, 1, 1023, 1024, 1025, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES + 7] {
            let whole = Bytes::from(pattern(len));
            for size in [1, 7, 1000, 4096, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1] {
                let parts: Vec<_> = (0..len).step_by(size).map(|at| at..len.min(at + size)).collect();
                let frames = parts.into_iter().map(|part| Ok::<_, BoxError>(Frame::data(whole.slice(part))));
                let frames: Vec<_> = frames.collect();
                let body = Body::new(StreamBody::new(stream::iter(frames)));
                assert_eq!(body.collect_within(len).await.expect("fits"), whole, "{len} by {size}");
            }
        }
    }

    #[test]
    fn segments_reserve_no_more_than_there_is_and_are_never_grown() {
        let mut segments = Segments::default();
        for _ in 0..5 * SEGMENT_BYTES / 3 {
            segments.push(b"abc");
            let reserved: usize = segments.list.iter().map(Vec::capacity).sum();
            let spare = segments.len.clamp(MIN_SEGMENT_BYTES, SEGMENT_BYTES);
            assert!(reserved <= segments.len + spare, "{reserved} for {}", segments.len);
        }
        let sizes: Vec<_> = segments.list.iter().map(|segment| segment.capacity() >> 10).collect();
        assert_eq!(sizes, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256]);
        let joined = segments.join(Bytes::new());
        assert_eq!(joined.len(), 5 * SEGMENT_BYTES / 3 * 3);
    }

    #[test]
    fn an_expected_length_is_reserved_at_once_and_not_copied_again() {
        let mut segments = Segments { expected: 3000, ..Segments::default() };
        segments.push(&[1; 2000]);
        segments.push(&[2; 1000]);
        assert_eq!(segments.list.iter().map(Vec::capacity).collect::<Vec<_>>(), [3000]);
        let pointer = segments.list[0].as_ptr();
        assert_eq!(segments.join(Bytes::new()).as_ptr(), pointer);
    }

    #[tokio::test]
    async fn small_chunks_are_freed_as_they_come_and_a_large_first_one_is_not_copied_before_the_end() {
        for (len, freed_early) in [(1, true), (SEGMENT_BYTES - 1, true), (SEGMENT_BYTES, false)] {
            let freed = Arc::new(AtomicBool::new(false));
            let first = told(pattern(len), &freed);
            let seen = Arc::clone(&freed);
            let mut chunks = [first, Bytes::from("x"), Bytes::from("y")].into_iter().enumerate();
            let frames = stream::iter(std::iter::from_fn(move || {
                let (at, chunk) = chunks.next()?;
                assert_eq!(seen.load(Ordering::Relaxed), freed_early && at == 2, "{len} at {at}");
                Some(Ok::<_, BoxError>(Frame::data(chunk)))
            }));
            let body = Body::new(StreamBody::new(frames));
            let all = body.collect_within(len + 2).await.expect("fits");
            assert_eq!(all, [&pattern(len)[..], b"xy"].concat());
            assert!(freed.load(Ordering::Relaxed));
        }
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
