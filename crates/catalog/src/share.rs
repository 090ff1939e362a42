//! Shares and factors, exactly.

use std::{error::Error, fmt, str::FromStr};

use crate::Rate;

/// A share of a cost, or a factor, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasisPoints(u32);

/// Why a text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidShare;

// ===== impl BasisPoints =====

impl BasisPoints {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);

    /// Hundredths of a percent, at most 100 times the whole.
    ///
    /// # Errors
    /// [`InvalidShare`] when it is more.
    pub const fn new(points: u32) -> Result<Self, InvalidShare> {
        if points > MOST_POINTS { Err(InvalidShare) } else { Ok(Self(points)) }
    }

    /// The share in hundredths of a percent.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Reads a fraction (`0.05`) or a percentage (`5%`, `7.25%`), exactly.
impl FromStr for BasisPoints {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let (number, exponent) = match text.trim().strip_suffix('%') {
            Some(number) => (number, 2),
            None => (text, 0),
        };
        let atto = Rate::per(number, exponent).map_err(|_| InvalidShare)?.as_atto();
        let points = match atto % ATTO_PER_POINT {
            0 => u32::try_from(atto / ATTO_PER_POINT).map_err(|_| InvalidShare)?,
            _ => return Err(InvalidShare),
        };
        Self::new(points)
    }
}

// ===== impl InvalidShare =====

impl fmt::Display for InvalidShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a share between nothing and 100 times the whole, in hundredths of a percent")
    }
}

impl Error for InvalidShare {}

const MOST_POINTS: u32 = 100 * BasisPoints::WHOLE.0;

const ATTO_PER_POINT: u128 = 100_000_000_000_000;
