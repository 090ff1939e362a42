//! One request body for several attempts.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Body, CollectError, Kind, Stream};
use crate::BoxError;

/// The body of a request that attempts send one after another.
///
/// One that is whole is sent as often as need be. Of one that is passed on as it comes, the beginning is sent anew by each, until one of
/// them has taken bytes from behind it: these are not held, and so [`may_repeat`](Self::may_repeat) no longer.
#[derive(Debug)]
pub struct Resend(Source);

#[derive(Debug)]
enum Source {
    Whole(Bytes),
    Passing { held: Bytes, rest: Arc<Mutex<Rest>> },
}

struct Rest {
    stream: Stream,
    /// Whether bytes of it were taken.
    begun: bool,
    /// The attempt that may read it: the last.
    attempt: u64,
}

/// What an attempt reads behind the beginning.
struct Lent {
    rest: Arc<Mutex<Rest>>,
    attempt: u64,
}

// ===== impl Resend =====

impl Resend {
    /// Of a body of which nothing is held, all is collected, `limit` bytes at most.
    ///
    /// # Errors
    /// As [`Body::collect_within`].
    pub async fn new(body: Body, limit: usize) -> Result<Self, CollectError> {
        match body.0 {
            Kind::Begun(held, stream) => {
                let rest = Rest { stream, begun: false, attempt: 0 };
                Ok(Self(Source::Passing { held, rest: Arc::new(Mutex::new(rest)) }))
            }
            kind => Body(kind).collect_within(limit).await.map(|bytes| Self(Source::Whole(bytes))),
        }
    }

    /// The body of an attempt. One that an earlier attempt was given fails from now on, unless it is whole.
    #[must_use]
    pub fn body(&self) -> Body {
        match &self.0 {
            Source::Whole(bytes) => bytes.clone().into(),
            Source::Passing { held, rest } => {
                let attempt = {
                    let mut rest = lock(rest);
                    rest.attempt += 1;
                    rest.attempt
                };
                let lent = Lent { rest: Arc::clone(rest), attempt };
                Body(Kind::Begun(held.clone(), Box::pin(lent)))
            }
        }
    }

    /// Whether all of it is held, so that attempts may run side by side.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.0, Source::Whole(_))
    }

    /// Whether another attempt can send it.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        match &self.0 {
            Source::Whole(_) => true,
            Source::Passing { rest, .. } => !lock(rest).begun,
        }
    }
}

impl From<Bytes> for Resend {
    fn from(whole: Bytes) -> Self {
        Self(Source::Whole(whole))
    }
}

// ===== impl Lent =====

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut rest = lock(&self.rest);
        if rest.attempt != self.attempt {
            return Poll::Ready(Some(Err("another attempt sends the body".into())));
        }
        let frame = ready!(rest.stream.as_mut().poll_frame(cx));
        rest.begun = true;
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.rest).stream.size_hint()
    }
}

fn lock(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    // What panics while it is held is the body's own, which then fails for all.
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("begun", &self.begun).finish_non_exhaustive()
    }
}
