//! What a group may spend on retries, so that a failing provider is not given more to do than it had.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use crate::moment::{Moment, nanos};

/// A bucket of retries: each success adds a share of one, each second a few, each retry takes one. When it is empty, nothing is tried
/// again. By default a success adds 20 % and a second 3, and 100 are kept at most.
///
/// So the attempts of any stretch of time are at most its calls, a share of its successes, what its seconds add, and what was kept.
pub struct RetryBudget {
    /// Of a retry, for each success.
    share: u64,
    /// Retries a second.
    floor: u64,
    most: u64,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    /// Exact: what a nanosecond adds is a whole number of them.
    level: u64,
    filled: Option<Moment>,
}

/// What the bucket counts in: the billionth part of a retry.
const RETRY: u64 = 1_000_000_000;

/// The seconds' worth of the floor that is there from the start.
const AT_FIRST: u64 = 10;

// ===== impl RetryBudget =====

impl RetryBudget {
    /// One where a success adds so many percent of a retry, and each second so many of them.
    #[must_use]
    pub fn new(percent: u32, per_second: u32) -> Self {
        let floor = u64::from(per_second);
        Self {
            share: u64::from(percent) * (RETRY / 100),
            floor,
            most: 0,
            bucket: Mutex::new(Bucket { level: 0, filled: None }),
        }
        .keep(100)
    }

    /// One that never refuses.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(0, u32::MAX).keep(u32::MAX)
    }

    /// Keeps so many retries at most for later.
    #[must_use]
    pub fn keep(mut self, most: u32) -> Self {
        self.most = u64::from(most) * RETRY;
        let level = (self.floor * AT_FIRST).saturating_mul(RETRY).min(self.most);
        self.bucket = Mutex::new(Bucket { level, filled: None });
        self
    }

    /// Counts a success.
    pub fn deposit(&self, now: Instant) {
        let mut bucket = self.filled(now);
        bucket.level = bucket.level.saturating_add(self.share).min(self.most);
    }

    /// Takes a retry out; whether there was one.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        let mut bucket = self.filled(now);
        match bucket.level.checked_sub(RETRY) {
            Some(left) => bucket.level = left,
            None => return false,
        }
        true
    }

    /// The whole retries that are left.
    #[must_use]
    pub fn left(&self, now: Instant) -> u64 {
        self.filled(now).level / RETRY
    }

    /// The bucket, with what the time has added.
    fn filled(&self, now: Instant) -> MutexGuard<'_, Bucket> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment::of(now);
        let before = bucket.filled.unwrap_or(now);
        let added = nanos(now.since(before)).saturating_mul(self.floor);
        bucket.level = bucket.level.saturating_add(added).min(self.most);
        bucket.filled = Some(before.max(now));
        bucket
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(20, 3)
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("share", &self.share)
            .field("floor", &self.floor)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}
