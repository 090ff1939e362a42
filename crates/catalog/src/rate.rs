//! The price of one unit, exactly.

use std::{error::Error, fmt, str::FromStr};

use ziggurat_core::Decimal;

/// The price of one unit (a token, an image, a second) in US dollars: an exact integer of atto-dollars (10^-18 USD).
///
/// Read from decimal text without a float on the way. What is finer than an atto-dollar is noise that a float left in a price
/// list (`0.00000020000000000000002`), and is rounded half up.
///
/// ```
/// use ziggurat_catalog::Rate;
/// let rate: Rate = "2.5e-06".parse()?;
/// assert_eq!(rate.as_atto(), 2_500_000_000_000);
/// assert_eq!(rate.to_string(), "0.0000025");
/// assert_eq!("0.00000020000000000000002".parse::<Rate>()?, "2e-7".parse()?);
/// assert!("-1".parse::<Rate>().is_err());
/// # Ok::<_, ziggurat_catalog::ParseRateError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u128);

/// Why a text is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseRateError {
    /// Not a decimal number: `NaN`, `inf` and the empty text among them.
    NotANumber,
    /// Below zero.
    Negative,
    /// More than a million dollars for one unit.
    TooLarge,
}

// ===== impl Rate =====

impl Rate {
    /// For nothing: a price, unlike none.
    pub const FREE: Self = Self(0);

    /// Atto-dollars, 10^-18 USD.
    #[must_use]
    pub const fn atto(amount: u128) -> Self {
        Self(amount)
    }

    /// The price in atto-dollars.
    #[must_use]
    pub const fn as_atto(self) -> u128 {
        self.0
    }

    /// Reads dollars for 10^`exponent` units, as prices for a million tokens are told.
    pub(crate) fn per(text: &str, exponent: i32) -> Result<Self, ParseRateError> {
        let number = Decimal::read(text).ok_or(ParseRateError::NotANumber)?;
        if number.is_negative() {
            return Err(ParseRateError::Negative);
        }
        let atto = number.units(18 - exponent).map(|(atto, _)| atto);
        atto.filter(|&atto| atto <= MOST_ATTO).map(Self).ok_or(ParseRateError::TooLarge)
    }

    /// Writes dollars for 10^`exponent` units, in as few digits as it takes.
    pub(crate) fn text_per(self, exponent: usize) -> String {
        let places = 18 - exponent;
        let digits = format!("{:0width$}", self.0, width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

/// Reads a decimal number of dollars, as JSON and YAML write it (`12`, `0.02`, `2.5e-6`).
impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        Self::per(text, 0)
    }
}

/// Dollars in as many decimals as it takes.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text_per(0))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate({self})")
    }
}

// ===== impl ParseRateError =====

impl fmt::Display for ParseRateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "not a decimal number",
            Self::Negative => "a price cannot be negative",
            Self::TooLarge => "a price is at most a million dollars",
        })
    }
}

impl Error for ParseRateError {}

/// Highest price, in atto-dollars: a million dollars for one unit.
const MOST_ATTO: u128 = 1_000_000_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_price_lists_write() {
        for (text, atto) in [
            ("0", 0),
            ("-0.0", 0),
            ("2.5e-06", 2_500_000_000_000),
            ("0.00000000378", 3_780_000_000),
            ("1E-18", 1),
            ("4.9e-19", 0),
            ("5e-19", 1),
            ("1e-400", 0),
            ("0.00000020000000000000002", 200_000_000_000),
            ("0.29999999999999998", 299_999_999_999_999_980),
            ("0.0000001999999999999999999999999999999999999999999999", 200_000_000_000),
            ("1000000", MOST_ATTO),
            (".5", 500_000_000_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Rate(atto)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_price() {
        use ParseRateError::{Negative, NotANumber, TooLarge};
        for (text, why) in [
            ("", NotANumber),
            (".", NotANumber),
            ("e5", NotANumber),
            ("NaN", NotANumber),
            ("inf", NotANumber),
            ("-inf", NotANumber),
            ("1,5", NotANumber),
            ("--1", NotANumber),
            ("1e99999", NotANumber),
            ("-1e-30", Negative),
            ("1000000.000001", TooLarge),
            ("1e30", TooLarge),
            ("1e400", TooLarge),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(atto in 0..=MOST_ATTO, exponent in 0_usize..=6) {
            let text = Rate(atto).text_per(exponent);
            prop_assert_eq!(Rate::per(&text, i32::try_from(exponent).expect("small")), Ok(Rate(atto)));
        }
    }
}
