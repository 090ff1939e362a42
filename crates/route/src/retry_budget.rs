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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Later(u64),
        Success,
        Retry,
    }

    proptest! {
        /// Against sums of rational numbers: of 1/100 of a success and of 1/1000 of a second.
        #[test]
        fn is_exact(
            percent in 0_u32..150, floor in 0_u32..5, most in 0_u32..50,
            steps in prop::collection::vec(prop_oneof![
                (0_u64..2000).prop_map(Step::Later), Just(Step::Success), Just(Step::Retry)
            ], 1..300)
        ) {
            let budget = RetryBudget::new(percent, floor).keep(most);
            let mut now = Instant::now();
            let most = u64::from(most) * 1000;
            let mut level = (u64::from(floor) * 10 * 1000).min(most);
            let _ = budget.left(now);
            for step in steps {
                match step {
                    Step::Later(millis) => {
                        now += Duration::from_millis(millis);
                        level = (level + millis * u64::from(floor)).min(most);
                    }
                    Step::Success => {
                        budget.deposit(now);
                        level = (level + u64::from(percent) * 10).min(most);
                    }
                    Step::Retry => {
                        let expected = level >= 1000;
                        prop_assert_eq!(budget.withdraw(now), expected);
                        level -= if expected { 1000 } else { 0 };
                    }
                }
                prop_assert_eq!(budget.left(now), level / 1000);
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_adds_nothing_twice() {
        let (budget, now) = (RetryBudget::new(0, 1), Instant::now());
        let later = now + Duration::from_secs(5);
        assert_eq!([budget.left(later), budget.left(now), budget.left(later)], [10; 3]);
        assert_eq!(budget.left(later + Duration::from_secs(1)), 11);
        assert!(RetryBudget::unlimited().withdraw(now));
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let (budget, now) = (RetryBudget::new(0, 0).keep(0), Instant::now());
        let budget = RetryBudget {
            bucket: Mutex::new(Bucket { level: 1000 * RETRY, filled: None }),
            most: 1000 * RETRY,
            ..budget
        };
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..500).filter(|_| budget.withdraw(now)).count())).collect();
            threads.into_iter().map(|thread| thread.join().expect("does not panic")).sum()
        });
        assert_eq!(taken, 1000);
    }
}
