//! Numbers as documents write them.

/// A decimal number as JSON and YAML write it (`12`, `0.02`, `-2.5e-6`), read without a float on the way.
///
/// ```
/// use ziggurat_core::Decimal;
/// let number = Decimal::read("2.5e-06").expect("is a number");
/// assert_eq!(number.units(12), Some((2_500_000, true)));
/// assert_eq!(number.units(6), Some((3, false)));
/// assert_eq!(Decimal::read("NaN"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// The number is `digits * 10^exponent`, and less than one of these more where it was cut.
    digits: u128,
    exponent: i32,
    cut: bool,
}

// ===== impl Decimal =====

impl Decimal {
    /// Reads a number, with blanks around it; `None` for what is none: `NaN`, `inf` and the empty text among them.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text.strip_prefix('+').unwrap_or(text), false),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?.into()),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + fraction.len() == 0 {
            return None;
        }
        let mut read = Self { negative, digits: 0, exponent, cut: false };
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return None;
            }
            match read.digits < MOST {
                true => read.digits = read.digits * 10 + u128::from(digit - b'0'),
                false => {
                    read.cut |= digit != b'0';
                    read.exponent = read.exponent.checked_add(1)?;
                }
            }
        }
        read.exponent = read.exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(read)
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.negative && self.digits > 0
    }

    /// Its size in units of 10^-`places`, rounded half up, and whether it is exactly that; `None` where that is 2^128 or more.
    #[must_use]
    pub fn units(&self, places: i32) -> Option<(u128, bool)> {
        if self.digits == 0 {
            return Some((0, true));
        }
        let shift = self.exponent.checked_add(places)?;
        let factor = 10_u128.checked_pow(shift.unsigned_abs());
        if shift >= 0 {
            return Some((self.digits.checked_mul(factor?)?, !self.cut));
        }
        let Some(factor) = factor else { return Some((0, false)) };
        let (units, rest) = (self.digits / factor, self.digits % factor);
        // What was cut is less than a digit: it makes no half of less.
        Some((units + u128::from(rest >= factor / 2), rest == 0 && !self.cut))
    }
}

/// From here on, further digits are cut: they are 10^36 times smaller than the number.
const MOST: u128 = 10_u128.pow(36);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_as_many_digits_as_there_are() {
        let nines = "9".repeat(60);
        for (text, places, units) in [
            ("0", 0, Some((0, true))),
            ("0e30000", 30_000, Some((0, true))),
            ("00012.500", 1, Some((125, true))),
            ("2.5", 0, Some((3, false))),
            ("2.4999999999999999999999999999999999999999999999", 0, Some((2, false))),
            ("-3", 0, Some((3, true))),
            ("1e-30000", 0, Some((0, false))),
            ("1e30000", 0, None),
            (&nines, -23, Some((9_999_999_999_999_999_999_999_999_999_999_999_999, false))),
            (&nines, -24, Some((1_000_000_000_000_000_000_000_000_000_000_000_000, false))),
            (&nines, 0, None),
            // Zeros are cut without a loss.
            (&format!("1{}", "0".repeat(60)), -60, Some((1, true))),
            (&format!("0.1{}", "0".repeat(60)), 1, Some((1, true))),
            (&format!("0.1{}1", "0".repeat(60)), 1, Some((1, false))),
        ] {
            assert_eq!(Decimal::read(text).expect("is one").units(places), units, "{text}");
        }
    }

    #[test]
    fn tells_numbers_from_what_is_none() {
        for text in [
            "", " ", ".", "-", "+-1", "--1", "e5", "1e", "1e5.0", "1e99999", "NaN", "inf", "1,5", "$5",
            "1 2", "٣",
        ] {
            assert_eq!(Decimal::read(text), None, "{text:?}");
        }
        let is_negative = |text| Decimal::read(text).expect("is one").is_negative();
        assert_eq!(["-1", "-0.0", "1", "-1e-99"].map(is_negative), [true, false, false, true]);
    }

    proptest! {
        #[test]
        fn a_point_is_an_exponent(digits in 0..MOST, places in 0_i32..60) {
            let exponent = format!("{digits}e-{places}");
            let text = format!("{digits:0width$}", width = places as usize + 1);
            let (whole, fraction) = text.split_at(text.len() - places as usize);
            let (one, other) = (Decimal::read(&exponent), Decimal::read(&format!("{whole}.{fraction}")));
            prop_assert_eq!(one.expect("is one").units(places), Some((digits, true)));
            prop_assert_eq!(other.expect("is one").units(places), Some((digits, true)));
        }
    }
}
