//! What a deployment was used for in the last minute.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{moment::Moment, window::Slices};

/// Requests and tokens of the last minute. They count for ten seconds more at most: it is never less than there was.
pub(crate) struct Usage {
    /// The sums, and the slice that they are of.
    slice: AtomicU64,
    requests: AtomicU64,
    tokens: AtomicU64,
    slices: Box<Mutex<Slices<2>>>,
}

const MINUTE: Duration = Duration::from_secs(60);

// ===== impl Usage =====

impl Usage {
    pub(crate) fn new() -> Self {
        Self {
            slice: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            slices: Box::new(Mutex::new(Slices::new())),
        }
    }

    /// The slice of the minute that a moment is in.
    pub(crate) fn slice(now: Moment) -> u64 {
        Slices::<2>::slice(now, MINUTE)
    }

    pub(crate) fn add(&self, requests: u64, tokens: u64, now: Moment) {
        let slice = Self::slice(now);
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        slices.add(slice, [requests, tokens]);
        self.tell(slices.sums(slice));
    }

    /// Requests and tokens up to the end of a slice. Takes no lock but once a slice.
    pub(crate) fn last_minute(&self, slice: u64) -> (u64, u64) {
        if self.slice.load(Ordering::Acquire) < slice {
            let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
            self.tell(slices.sums(slice));
        }
        (self.requests.load(Ordering::Relaxed), self.tokens.load(Ordering::Relaxed))
    }

    fn tell(&self, (slice, [requests, tokens]): (u64, [u64; 2])) {
        self.requests.store(requests, Ordering::Relaxed);
        self.tokens.store(tokens, Ordering::Relaxed);
        self.slice.store(slice, Ordering::Release);
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, tokens) = (&self.requests, &self.tokens);
        f.debug_struct("Usage").field("requests", requests).field("tokens", tokens).finish_non_exhaustive()
    }
}
