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
    share: u128,
    /// Ten-thousandths of a retry a second.
    floor: u64,
    most: u128,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    /// Exact: what a nanosecond adds is a whole number of them.
    level: u128,
    filled: Option<Moment>,
}

/// What the bucket counts in: what a ten-thousandth of a retry a second adds in a nanosecond.
const RETRY: u128 = 10_000 * 1_000_000_000;

/// The seconds' worth of the floor that is there from the start.
const AT_FIRST: u128 = 10;

// ===== impl RetryBudget =====

impl RetryBudget {
    /// One where a success adds so many percent of a retry, and each second so many of them.
    #[must_use]
    pub fn new(percent: u32, per_second: u32) -> Self {
        Self::ten_thousandths(u64::from(percent) * 100, u64::from(per_second) * 10_000)
    }

    /// The same in finer parts: a success adds so many ten-thousandths of a retry, and each second so many.
    #[must_use]
    pub fn ten_thousandths(share: u64, per_second: u64) -> Self {
        Self {
            share: u128::from(share) * (RETRY / 10_000),
            floor: per_second,
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
        self.most = u128::from(most) * RETRY;
        let level = (u128::from(self.floor) * AT_FIRST * (RETRY / 10_000)).min(self.most);
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
        u64::try_from(self.filled(now).level / RETRY).unwrap_or(u64::MAX)
    }

    /// The bucket, with what the time has added.
    fn filled(&self, now: Instant) -> MutexGuard<'_, Bucket> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Moment::of(now);
        let before = bucket.filled.unwrap_or(now);
        let added = u128::from(nanos(now.since(before))) * u128::from(self.floor);
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
        /// Against sums of rational numbers: of 1/10,000 of a success and of 1/1000 of a second.
        #[test]
        fn is_exact(
            share in 0_u64..15_000, floor in 0_u64..50_000, most in 0_u32..50,
            steps in prop::collection::vec(prop_oneof![
                (0_u64..2000).prop_map(Step::Later), Just(Step::Success), Just(Step::Retry)
            ], 1..300)
        ) {
            const WHOLE: u64 = 10_000 * 1000;
            let budget = RetryBudget::ten_thousandths(share, floor).keep(most);
            let mut now = Instant::now();
            let most = u64::from(most) * WHOLE;
            let mut level = (floor * 10 * 1000).min(most);
            let _ = budget.left(now);
            for step in steps {
                match step {
                    Step::Later(millis) => {
                        now += Duration::from_millis(millis);
                        level = (level + millis * floor).min(most);
                    }
                    Step::Success => {
                        budget.deposit(now);
                        level = (level + share * 1000).min(most);
                    }
                    Step::Retry => {
                        let expected = level >= WHOLE;
                        prop_assert_eq!(budget.withdraw(now), expected);
                        level -= if expected { WHOLE } else { 0 };
                    }
                }
                prop_assert_eq!(budget.left(now), level / WHOLE);
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
