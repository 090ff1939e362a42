//! Money, exactly.

use std::{fmt, iter::Sum, ops::Add, str::FromStr};

use crate::Decimal;

/// An amount of US dollars, never negative: an exact integer of pico-dollars (10^-12 USD).
///
/// A token of the cheapest models costs some thousand pico-dollars, so that sums of token prices need no rounding. Arithmetic
/// saturates: at the top it is more money than there is, and below zero there is nothing.
///
/// ```
/// use ziggurat_core::Usd;
/// let price: Usd = "0.0000025".parse()?;
/// assert_eq!(price * 1000 + Usd::cents(1), "0.0125".parse()?);
/// assert_eq!((price * 1000).to_string(), "0.0025");
/// # Ok::<_, ziggurat_core::ParseUsdError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u128);

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseUsdError {
    /// Not a decimal number: `NaN`, `inf` and the empty text among them.
    NotANumber,
    /// Below zero.
    Negative,
    /// Has digits below a pico-dollar.
    TooFine,
    /// More than 10^18 dollars.
    TooLarge,
}

// ===== impl Usd =====

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// As much as can be said.
    pub const MAX: Self = Self(u128::MAX);

    /// Pico-dollars, 10^-12 USD.
    #[must_use]
    pub const fn pico(amount: u128) -> Self {
        Self(amount)
    }

    /// Cents.
    #[must_use]
    pub const fn cents(amount: u64) -> Self {
        Self(amount as u128 * (PICO_PER_DOLLAR / 100))
    }

    /// Whole dollars.
    #[must_use]
    pub const fn dollars(amount: u64) -> Self {
        Self(amount as u128 * PICO_PER_DOLLAR)
    }

    /// The amount in pico-dollars.
    #[must_use]
    pub const fn as_pico(self) -> u128 {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What is left after `other` is taken away, at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// What is left after `other` is taken away, if there is as much.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::ops::Mul<u64> for Usd {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(u128::from(times)))
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Dollars in as many decimals as it takes, at least two where there are any: `0.0000025`, `3`, `1.50`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, pico) = (self.0 / PICO_PER_DOLLAR, self.0 % PICO_PER_DOLLAR);
        if pico == 0 {
            return write!(f, "{dollars}");
        }
        let decimals = format!("{pico:012}");
        let kept = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{dollars}.{}", &decimals[..kept])
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Usd({self})")
    }
}

/// Reads a decimal number of dollars, as JSON and YAML write it (`12`, `0.02`, `2.5e-6`), without a float on the way.
impl FromStr for Usd {
    type Err = ParseUsdError;

    fn from_str(text: &str) -> Result<Self, ParseUsdError> {
        let number = Decimal::read(text).ok_or(ParseUsdError::NotANumber)?;
        if number.is_negative() {
            return Err(ParseUsdError::Negative);
        }
        match number.units(12) {
            Some((_, false)) => Err(ParseUsdError::TooFine),
            Some((pico, true)) if pico <= MOST => Ok(Self(pico)),
            _ => Err(ParseUsdError::TooLarge),
        }
    }
}

impl fmt::Display for ParseUsdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "not a decimal number",
            Self::Negative => "an amount of money cannot be negative",
            Self::TooFine => "an amount of money has at most 12 decimals",
            Self::TooLarge => "an amount of money is at most 10^18 dollars",
        })
    }
}

impl std::error::Error for ParseUsdError {}

const PICO_PER_DOLLAR: u128 = 1_000_000_000_000;

/// Most that is read, in pico-dollars: sums of a great many of them still fit.
const MOST: u128 = 1_000_000_000_000_000_000 * PICO_PER_DOLLAR;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_json_and_yaml_write() {
        for (text, pico) in [
            ("0", 0),
            ("-0.0", 0),
            ("12", 12_000_000_000_000),
            ("0.02", 20_000_000_000),
            ("2.5e-06", 2_500_000),
            ("1E2", 100_000_000_000_000),
            (".5", 500_000_000_000),
            ("5.", 5_000_000_000_000),
            ("0.000000000001", 1),
            ("0.0000025000000000000000000000", 2_500_000),
            (" 1 ", 1_000_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Usd::pico(pico)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_amount() {
        use ParseUsdError::{Negative, NotANumber, TooFine, TooLarge};
        for (text, why) in [
            ("", NotANumber),
            (".", NotANumber),
            ("e5", NotANumber),
            ("NaN", NotANumber),
            ("inf", NotANumber),
            ("-inf", NotANumber),
            ("1,5", NotANumber),
            ("$5", NotANumber),
            ("1e99999", NotANumber),
            ("--1", NotANumber),
            ("-1", Negative),
            ("-1e-12", Negative),
            ("1e-13", TooFine),
            ("1e-999", TooFine),
            ("1.0000000000000000000000000000000000000000001", TooFine),
            ("1e19", TooLarge),
            ("1e999", TooLarge),
            ("999999999999999999999999999999999999999999", TooLarge),
        ] {
            assert_eq!(text.parse::<Usd>(), Err(why), "{text}");
        }
    }

    #[test]
    fn nothing_wraps() {
        assert_eq!(Usd::MAX + Usd::MAX, Usd::MAX);
        assert_eq!(Usd::MAX * 2, Usd::MAX);
        assert_eq!(Usd::cents(1).saturating_sub(Usd::cents(2)), Usd::ZERO);
        assert_eq!(Usd::cents(1).checked_sub(Usd::cents(2)), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(pico in 0_u128..=MOST) {
            prop_assert_eq!(Usd(pico).to_string().parse(), Ok(Usd(pico)));
        }
    }
}
