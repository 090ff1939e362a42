//! Sums over a sliding window, cut into slices.

use std::time::Duration;

use crate::moment::{Moment, nanos};

/// `K` sums of what was counted lately. An amount counts until all of its slice has left the window: for as long as the window, and for
/// a sixth of it more at most.
#[derive(Clone, Debug)]
pub(crate) struct Slices<const K: usize> {
    newest: u64,
    slices: [[u32; K]; SLICES as usize],
    sums: [u64; K],
}

/// A window's length in slices, and the one that is not over.
const SLICES: u64 = 7;

// ===== impl Slices =====

impl<const K: usize> Slices<K> {
    pub(crate) const fn new() -> Self {
        Self { newest: 0, slices: [[0; K]; SLICES as usize], sums: [0; K] }
    }

    /// The number of the slice that a moment is in.
    pub(crate) fn slice(now: Moment, window: Duration) -> u64 {
        now.number() / nanos(window).div_ceil(SLICES - 1).max(1)
    }

    /// The sums in the slice `present`, and which slice they are of: a later one, where the time went back.
    pub(crate) fn sums(&mut self, present: u64) -> (u64, [u64; K]) {
        let begun = present.saturating_sub(self.newest).min(SLICES);
        for number in (0..begun).map(|back| present - back) {
            let slice = &mut self.slices[(number % SLICES) as usize];
            for (sum, left) in self.sums.iter_mut().zip(std::mem::replace(slice, [0; K])) {
                *sum -= u64::from(left);
            }
        }
        self.newest = self.newest.max(present);
        (self.newest, self.sums)
    }

    /// Counts these in the slice `present`.
    pub(crate) fn add(&mut self, present: u64, amounts: [u64; K]) {
        let (newest, _) = self.sums(present);
        let slice = &mut self.slices[(newest % SLICES) as usize];
        for ((count, sum), amount) in slice.iter_mut().zip(&mut self.sums).zip(amounts) {
            // What does not fit into a slice is more than any limit.
            let more = u32::try_from(amount).unwrap_or(u32::MAX).min(u32::MAX - *count);
            *count += more;
            *sum += u64::from(more);
        }
    }

    pub(crate) const fn clear(&mut self) {
        self.slices = [[0; K]; SLICES as usize];
        self.sums = [0; K];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list of all that was ever counted.
        #[test]
        fn sums_are_those_of_the_last_seven_slices(steps in prop::collection::vec((0_u64..12, 0_u64..5000), 1..80)) {
            let (mut slices, mut all, mut present) = (Slices::<1>::new(), Vec::new(), 1 << 40);
            for (later, amount) in steps {
                present += later;
                slices.add(present, [amount]);
                all.push((present, amount));
                let expected: u64 = all.iter().filter(|(at, _)| at + SLICES > present).map(|(_, amount)| amount).sum();
                prop_assert_eq!(slices.sums(present), (present, [expected]));
            }
        }
    }

    #[test]
    fn time_that_goes_back_forgets_nothing() {
        let mut slices = Slices::<2>::new();
        slices.add(100, [1, u64::MAX]);
        slices.add(99, [1, 1]);
        assert_eq!(slices.sums(98), (100, [2, u64::from(u32::MAX)]));
        assert_eq!(slices.sums(106), (106, [2, u64::from(u32::MAX)]));
        assert_eq!(slices.sums(107), (107, [0, 0]));
    }
}
