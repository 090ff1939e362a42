//! One concrete body for both directions.

mod resend;

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::BoxError;

pub use self::resend::Resend;

/// A request or response body: empty, whole bytes, a boxed stream, or one whose beginning is held.
///
/// Every layer hands on this type, so a stack of them boxes a stream once: [`Body::new`] of a `Body` is free. `size_hint`,
/// `is_end_stream`, trailers and unknown frames of the wrapped stream are kept.
pub struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Stream(Stream),
    /// Bytes that are held, and what comes behind them.
    Begun(Bytes, Stream),
}

type Stream = Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>;

/// What is collected of a body: pieces that are filled and never grown, as a buffer that doubles costs several times its bytes.
#[derive(Default)]
pub(crate) struct Segments {
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

    /// Keeps `guard` (a permit, the end of a call) as long as this body runs, and changes nothing of what it gives.
    ///
    /// The guard is dropped in the very poll that hands on the body's end: `None`, an error, or a frame behind which `is_end_stream` is
    /// true; else when the body is dropped, after what it reads from. A body that has ended already drops it at once. One that is whole
    /// in memory is no longer so for [`Body::as_bytes`].
    #[must_use]
    pub fn guarded(self, guard: impl Send + 'static) -> Self {
        if self.is_end_stream() {
            return self;
        }
        Self(Kind::Stream(Box::pin(Guarded { body: self, guard: Some(guard) })))
    }

    /// A body of which `held` is in memory, and `rest` comes behind that.
    #[must_use]
    pub(crate) fn begun(held: Bytes, rest: Self) -> Self {
        match rest.0 {
            Kind::Empty => held.into(),
            Kind::Stream(rest) => Self(Kind::Begun(held, rest)),
            rest => Self(Kind::Begun(held, Box::pin(Self(rest)))),
        }
    }

    /// The beginning of the body that is in memory: all of one that is whole, and of a form that is passed on as it comes, what stands in
    /// front of its file's content. `None` where nothing is known of it.
    #[must_use]
    pub fn held(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Begun(held, _) => Some(held),
            _ => self.as_bytes(),
        }
    }

    /// Has other bytes in the place of what is [held](Self::held); what comes behind it stays.
    pub fn replace_held(&mut self, bytes: Bytes) {
        match &mut self.0 {
            Kind::Begun(held, _) => *held = bytes,
            kind => *kind = Self::from(bytes).0,
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
            Kind::Stream(_) | Kind::Begun(..) => None,
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
            begun @ Kind::Begun(..) => Box::pin(Self(begun)),
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
            Kind::Begun(held, _) => write!(f, "Body::Begun({} bytes)", held.len()),
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
            Kind::Begun(..) => {
                let Kind::Begun(held, rest) = std::mem::replace(&mut self.0, Kind::Empty) else {
                    return Poll::Ready(None);
                };
                self.0 = Kind::Stream(rest);
                Poll::Ready(Some(Ok(Frame::data(held))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) | Kind::Begun(..) => false,
            Kind::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.size_hint(),
            Kind::Begun(held, rest) => {
                let (held, rest) = (held.len() as u64, rest.size_hint());
                let mut hint = SizeHint::new();
                hint.set_lower(held.saturating_add(rest.lower()));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(held.saturating_add(upper));
                }
                hint
            }
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

pin_project_lite::pin_project! {
    /// Keeps something until the body has ended; the order of the fields is that of their drop.
    struct Guarded<G> {
        #[pin]
        body: Body,
        guard: Option<G>,
    }
}

impl<G> HttpBody for Guarded<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            *this.guard = None;
        }
        Poll::Ready(frame)
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
    /// With room for a body that says it is so long: a hint of the sender's, of which never more than a little is reserved.
    pub(crate) fn expecting(announced: usize) -> Self {
        Self { expected: announced.min(MAX_RESERVE), ..Self::default() }
    }

    /// Bytes in all of them.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, mut data: &[u8]) {
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
    pub(crate) fn join(mut self, first: Bytes) -> Bytes {
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
mod tests;
