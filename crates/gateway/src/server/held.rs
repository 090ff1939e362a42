//! What a call holds until its answer has ended.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ziggurat_core::{Body, BoxError, Cause, Rejection};

use super::line::Turn;

/// The turn on its connection, and a share of the bytes that all request bodies may take together.
#[derive(Debug)]
pub(super) struct Held {
    turn: Arc<Turn>,
    all: Arc<Semaphore>,
    share: Mutex<Option<OwnedSemaphorePermit>>,
    /// How many of them are for what was fetched.
    fetched: AtomicUsize,
}

/// The body of an answer, which ends the call when it has gone.
pub(super) struct Answered {
    body: Body,
    _held: Arc<Held>,
}

// ===== impl Held =====

impl Held {
    pub(super) fn new(turn: Arc<Turn>, all: Arc<Semaphore>) -> Self {
        turn.begin_call();
        Self { turn, all, share: Mutex::new(None), fetched: AtomicUsize::new(0) }
    }

    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// A refusal when all calls together hold too many.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Rejection> {
        let permits = u32::try_from(bytes).ok();
        let more = permits.and_then(|permits| Arc::clone(&self.all).try_acquire_many_owned(permits).ok());
        let Some(more) = more else {
            return Err(Rejection::new(Cause::Overloaded, "the gateway holds too many requests at once"));
        };
        match &mut *self.share.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    /// Takes so many bytes for what was fetched, with those that were taken for that before.
    ///
    /// # Errors
    /// As [`Held::take`].
    pub(super) fn take_fetched(&self, bytes: usize) -> Result<(), Rejection> {
        self.take(bytes.saturating_sub(self.fetched.load(Ordering::Relaxed)))?;
        self.fetched.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.turn.end_call();
    }
}

// ===== impl Answered =====

impl Answered {
    pub(super) const fn new(body: Body, held: Arc<Held>) -> Self {
        Self { body, _held: held }
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_refused_when_all_are_held_and_given_back_at_the_end() {
        let all = Arc::new(Semaphore::new(10));
        let held = || Held::new(Arc::default(), Arc::clone(&all));
        let (first, second) = (held(), held());
        first.take(4).expect("fits");
        first.take(4).expect("fits");
        let refusal = second.take(3).expect_err("does not fit");
        assert_eq!(refusal.problem().cause, Cause::Overloaded);
        second.take(2).expect("fits");
        drop(first);
        second.take_fetched(5).expect("fits now");
        second.take_fetched(8).expect("takes three more");
        drop(second);
        assert_eq!(all.available_permits(), 10);
    }
}
