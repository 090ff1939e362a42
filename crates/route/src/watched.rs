//! What has come of an attempt, as its meter is told.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::{Duration, Instant};
use ziggurat_core::{Attempt, Watch};

/// Follows one attempt.
#[derive(Debug)]
pub(crate) struct Watched {
    start: Instant,
    begun: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    first: Option<Duration>,
    ended: Option<Attempt>,
}

// ===== impl Watched =====

impl Watched {
    pub(crate) fn new(start: Instant) -> Arc<Self> {
        Arc::new(Self { start, begun: AtomicBool::new(false), seen: Mutex::default() })
    }

    /// Whether content has come.
    pub(crate) fn begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// How the attempt ended, if it has.
    pub(crate) fn ended(&self) -> Option<Attempt> {
        self.seen().ended.clone()
    }

    /// How long the attempt took to its first content.
    pub(crate) fn first_token(&self) -> Option<Duration> {
        self.seen().first
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while it is held.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Watched {
    fn changed(&self, attempt: &Attempt) {
        let begins = attempt.content_begun && !self.begun();
        if !begins && attempt.outcome.is_none() {
            return;
        }
        let mut seen = self.seen();
        if begins {
            seen.first = Some(self.elapsed());
            self.begun.store(true, Ordering::Release);
        }
        if attempt.outcome.is_some() {
            seen.ended = Some(attempt.clone());
        }
    }
}
