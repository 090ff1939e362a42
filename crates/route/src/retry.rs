//! How often a failed call is tried again, and after what time.

use std::time::Duration;

use http::StatusCode;
use ziggurat_core::{Cause, RetryClass};

use crate::moment::nanos;

/// How often a call is tried again by the cause of its failure, and after what time. By default twice where the same call may work
/// later, after up to 0.5, 1, 2, 4 and 8 seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    times: u32,
    by_kind: PerKind<u32>,
    base: Duration,
    max: Duration,
    least: Duration,
    hint_max: Duration,
}

/// The kinds of failures that LiteLLM's policies tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request is wrong, or too long (`BadRequestError...`).
    BadRequest,
    /// The key is wrong or may not do this (`AuthenticationError...`).
    Authentication,
    /// There is no such model (`NotFoundError...`).
    NotFound,
    /// It took too long (`TimeoutError...`).
    Timeout,
    /// Too much at once (`RateLimitError...`).
    RateLimit,
    /// A content policy forbids it (`ContentPolicyViolationError...`).
    ContentPolicy,
    /// The provider failed (`InternalServerError...`).
    Internal,
    /// The provider has no capacity (`ServiceUnavailableError...`).
    Unavailable,
    /// There was no answer, or none that is one (`BadGatewayError...`).
    BadGateway,
}

/// Something for some kinds of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T>([Option<T>; Kind::ALL.len()]);

// ===== impl RetryPolicy =====

impl RetryPolicy {
    /// Tries again so many times where the same call may work later.
    #[must_use]
    pub fn new(times: u32) -> Self {
        Self { times, ..Self::default() }
    }

    /// Tries again so many times after failures of this kind, also of one where that hardly helps. A spent quota is never asked again.
    #[must_use]
    pub fn times_for(mut self, kind: Kind, times: u32) -> Self {
        self.by_kind.set(kind, times);
        self
    }

    /// Tries again so many times in place of each count that is set; what is not tried again stays so.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self.by_kind.0.iter_mut().flatten().for_each(|of_kind| *of_kind = times);
        self
    }

    /// Waits up to `base` before the first retry, and up to twice as long before each further one, `max` at most. 0.5 and 8 seconds by
    /// default.
    #[must_use]
    pub const fn backoff_between(mut self, base: Duration, max: Duration) -> Self {
        (self.base, self.max) = (base, max);
        self
    }

    /// Waits at least so long (LiteLLM's `retry_after`). Nothing by default.
    #[must_use]
    pub const fn wait_at_least(mut self, least: Duration) -> Self {
        self.least = least;
        self
    }

    /// The longest hint of a provider's that is waited for; 60 seconds by default.
    #[must_use]
    pub const fn hint_at_most(mut self, most: Duration) -> Self {
        self.hint_max = most;
        self
    }

    /// How many times a call that failed so is tried again.
    #[must_use]
    pub fn retries(&self, cause: Cause) -> u32 {
        match (cause.retry_class(), self.by_kind.get(cause)) {
            (RetryClass::Quota, _) => 0,
            (_, Some(times)) => times,
            (RetryClass::Retryable, None) => self.times,
            (_, None) => 0,
        }
    }

    /// The most that any cause allows.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.by_kind.iter().fold(self.times, u32::max)
    }

    /// Whether a call that was tried again `done` times is tried once more after this failure.
    #[must_use]
    pub fn should_retry(&self, cause: Cause, done: u32) -> bool {
        done < self.retries(cause)
    }

    /// How long to wait before the retry that comes after `done` others: a random time below the limit that doubles with each ("full
    /// jitter", <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>), which begins when the provider's `hint`
    /// is over. `None` when that is longer than is waited for: better to go elsewhere.
    #[must_use]
    pub fn backoff(&self, done: u32, hint: Option<Duration>, random: u64) -> Option<Duration> {
        let hint = hint.unwrap_or_default();
        if hint > self.hint_max {
            return None;
        }
        let limit = self.base.saturating_mul(1_u32.checked_shl(done).unwrap_or(u32::MAX)).min(self.max);
        // As a share of what is below and at the limit, in whole nanoseconds.
        let jitter = (u128::from(random) * (u128::from(nanos(limit)) + 1)) >> 64;
        let jitter = Duration::from_nanos(u64::try_from(jitter).unwrap_or(u64::MAX));
        Some(hint.max(self.least).saturating_add(jitter))
    }

    /// Whether a status alone says that the same call may work later: 408, 409, 429 and all from 500 on, as the SDKs of OpenAI and
    /// Anthropic have it.
    #[must_use]
    pub fn is_retryable(status: StatusCode) -> bool {
        matches!(status.as_u16(), 408 | 409 | 429 | 500..)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            times: 2,
            by_kind: PerKind::default(),
            base: Duration::from_millis(500),
            max: Duration::from_secs(8),
            least: Duration::ZERO,
            hint_max: Duration::from_secs(60),
        }
    }
}

// ===== impl Kind =====

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::BadRequest,
        Self::Authentication,
        Self::NotFound,
        Self::Timeout,
        Self::RateLimit,
        Self::ContentPolicy,
        Self::Internal,
        Self::Unavailable,
        Self::BadGateway,
    ];

    /// The kind that a cause is of.
    #[must_use]
    pub const fn of(cause: Cause) -> Self {
        match cause {
            Cause::InvalidKey | Cause::PermissionDenied => Self::Authentication,
            Cause::Timeout | Cause::RequestTimeout => Self::Timeout,
            Cause::RateLimit | Cause::Quota => Self::RateLimit,
            Cause::ContentPolicy => Self::ContentPolicy,
            Cause::NotFound | Cause::ModelNotFound => Self::NotFound,
            Cause::Internal => Self::Internal,
            Cause::Overloaded => Self::Unavailable,
            Cause::Upstream => Self::BadGateway,
            _ => Self::BadRequest,
        }
    }
}

// ===== impl PerKind =====

impl<T: Copy> PerKind<T> {
    /// Sets it for a kind.
    pub fn set(&mut self, kind: Kind, value: T) {
        self.0[kind as usize] = Some(value);
    }

    /// What is set for the kind of a cause.
    #[must_use]
    pub const fn get(&self, cause: Cause) -> Option<T> {
        self.0[Kind::of(cause) as usize]
    }

    /// All that is set.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests;
