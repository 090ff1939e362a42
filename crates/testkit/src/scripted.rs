//! Bodies by script, and how to read what becomes of them.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use ziggurat_core::{Body, BoxError};

/// A body that follows a script.
#[derive(Debug)]
pub struct Scripted {
    steps: VecDeque<Step>,
    dropped: Arc<AtomicBool>,
}

/// A step of a scripted body.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// A frame of data.
    Data(Bytes),
    /// A frame of trailers.
    Trailers(HeaderMap),
    /// An error.
    Fail(BoxError),
    /// Pending, and for ever.
    Stall,
}

// ===== impl Scripted =====

impl Scripted {
    /// A body that takes these steps, then ends.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), dropped: Arc::default() }
    }

    /// The bytes in frames of so many.
    pub fn chunked(bytes: &Bytes, size: usize) -> Self {
        let ends = |at: usize| bytes.len().min(at.saturating_add(size));
        Self::new((0..bytes.len()).step_by(size).map(|at| Step::Data(bytes.slice(at..ends(at)))))
    }

    /// Becomes true when the body is dropped.
    pub fn dropped(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.dropped)
    }
}

impl HttpBody for Scripted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Fail(error)) => Poll::Ready(Some(Err(error))),
            Some(Step::Stall) => {
                self.steps.push_front(Step::Stall);
                Poll::Pending
            }
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

// ===== impl Step =====

impl Step {
    /// A frame of data.
    pub fn data(bytes: impl Into<Bytes>) -> Self {
        Self::Data(bytes.into())
    }

    /// A transport that breaks.
    #[must_use]
    pub fn reset() -> Self {
        Self::Fail("reset".into())
    }
}

impl From<Scripted> for Body {
    fn from(scripted: Scripted) -> Self {
        Self::new(scripted)
    }
}

/// All text and the trailers of a body; it is asked once more behind its end.
///
/// # Panics
/// When it fails, gives data behind its trailers or anything behind its end, or is no UTF-8.
pub async fn read_body<B>(mut body: B) -> (String, Option<HeaderMap>)
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.expect("the body does not fail").into_data() {
            Ok(bytes) => {
                assert!(trailers.is_none(), "data behind the trailers");
                data.extend_from_slice(&bytes);
            }
            Err(other) => trailers = other.into_trailers().ok(),
        }
    }
    assert!(body.frame().await.is_none(), "a frame behind the end");
    assert!(body.is_end_stream(), "a body that has ended says so");
    (String::from_utf8(data).expect("the body is UTF-8"), trailers)
}
