//! The figures of a deployment: what is in flight, how fast it is, what it was used for lately, and how calls ended.

mod latency;
mod usage;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use ziggurat_core::Cause;

pub(crate) use self::{latency::Latency, usage::Usage};
use crate::{
    health::{Health, State},
    moment::Moment,
};

/// What a call that succeeded tells of its deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The time to the first token; of an answer in one piece, to its end.
    pub first_token: Duration,
    /// The time to the end.
    pub total: Duration,
    /// The tokens that were written, if that is known.
    pub output_tokens: Option<u64>,
    /// The tokens that were read and written, if that is known.
    pub total_tokens: Option<u64>,
}

/// What is known of a deployment at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// Whether it may be called.
    pub state: State,
    /// Calls that run.
    pub in_flight: u64,
    /// The mean time to the first token; the older a call, the less it counts.
    pub first_token: Option<Duration>,
    /// The mean time per token, likewise.
    pub per_token: Option<Duration>,
    /// Attempts of the last minute.
    pub requests: u64,
    /// Tokens of the last minute.
    pub tokens: u64,
    /// Calls that succeeded, ever.
    pub successes: u64,
    /// Calls that failed, ever: those whose request was wrong, too long or against a content policy are none of its failures.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<Failed>,
}

/// A failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Instant,
}

/// What all copies of a deployment share.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) health: Health,
    pub(crate) latency: Latency,
    pub(crate) usage: Usage,
    in_flight: AtomicU64,
    successes: AtomicU64,
    failures: AtomicU64,
    last_failure: Box<Mutex<Option<Failed>>>,
}

// ===== impl Sample =====

impl Sample {
    /// An answer in one piece after this time.
    #[must_use]
    pub const fn new(total: Duration) -> Self {
        Self { first_token: total, total, output_tokens: None, total_tokens: None }
    }

    /// Sets the time to the first token of a stream.
    #[must_use]
    pub const fn first_token(mut self, time: Duration) -> Self {
        self.first_token = time;
        self
    }

    /// Sets the tokens that were written, and all that were read and written.
    #[must_use]
    pub const fn tokens(mut self, output: Option<u64>, total: Option<u64>) -> Self {
        (self.output_tokens, self.total_tokens) = (output, total);
        self
    }
}

// ===== impl Live =====

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            health: Health::new(),
            latency: Latency::new(),
            usage: Usage::new(),
            in_flight: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_failure: Box::default(),
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more call in flight, unless there are as many as may be.
    pub(crate) fn begin(&self, most: u64) -> bool {
        let more = |running| (running < most).then_some(running + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn succeeded(&self) {
        self.successes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, cause: Cause, at: Instant) {
        if cause.is_the_callers() || matches!(cause, Cause::ContextLength | Cause::ContentPolicy) {
            return;
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Failed { cause, at });
    }

    pub(crate) fn figures(&self, now: Moment) -> Figures {
        let (requests, tokens) = self.usage.last_minute(Usage::slice(now));
        let (first_token, per_token) = self.latency.means();
        Figures {
            state: self.health.state(now),
            in_flight: self.in_flight(),
            first_token,
            per_token,
            requests,
            tokens,
            successes: self.successes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            last_failure: *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

#[cfg(test)]
mod tests;
