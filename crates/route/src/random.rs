//! Randomness as a value.

/// Pseudo-random numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

// ===== impl Random =====

impl Random {
    /// Those of this seed: the same seed, the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next.
    #[must_use]
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// Spreads a number over all 64 bits.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A random number made one of `0..below`; 0 when that is empty.
pub(crate) const fn index(random: u64, below: usize) -> usize {
    ((random as u128 * below as u128) >> 64) as usize
}

/// A random number made one of [0, 1).
pub(crate) const fn unit(random: u64) -> f64 {
    fraction(random) / FRACTIONS
}

/// The same in [`FRACTIONS`] of one.
pub(crate) const fn fraction(random: u64) -> f64 {
    // Signed, which 53 bits are in any case: processors convert that in one step.
    (random >> 11).cast_signed() as f64
}

/// As many as a float can count.
pub(crate) const FRACTIONS: f64 = (1_u64 << 53) as f64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_paper_and_stay_in_their_range() {
        let mut random = Random::new(1_234_567);
        let drawn: Vec<_> = (0..3).map(|_| random.draw()).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!((index(0, 10), index(u64::MAX, 10), index(u64::MAX, 0)), (0, 9, 0));
        assert_eq!(unit(0), 0.0);
        assert!(unit(u64::MAX) < 1.0);
    }
}
