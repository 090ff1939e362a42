//! Sums of prices, rounded once.

use std::time::Duration;

use ziggurat_core::Usd;

use crate::{
    BasisPoints,
    prices::{FINE_PER_ATTO, Fine},
};

/// Adds up amounts of 10^-27 USD and rounds the sum, never the parts.
pub(crate) struct Sum {
    amount: u128,
    /// What a discount leaves, in hundredths of a percent.
    kept: u64,
    /// The amount less the discount, in pico-dollars, half up.
    pub(crate) rounded: u128,
}

// ===== impl Sum =====

impl Sum {
    pub(crate) fn new(discount: BasisPoints) -> Self {
        let kept = u64::from(BasisPoints::WHOLE.get().saturating_sub(discount.get()));
        Self { amount: 0, kept, rounded: 0 }
    }

    /// Adds counts at their prices (each below 10^36, see `Prices::fine`); returns by how much the rounded sum has grown, which
    /// keeps the parts' sum exact.
    pub(crate) fn add<const N: usize>(&mut self, parts: [(u64, Fine); N]) -> Usd {
        let mut amount = 0_u128;
        for (count, price) in parts {
            if count > 0 {
                amount = amount.saturating_add(price.saturating_mul(u128::from(count)));
            }
        }
        self.grow(amount)
    }

    pub(crate) fn add_time(&mut self, time: Duration, price: Option<Fine>) {
        let per_nano = price.unwrap_or(0) / FINE_PER_ATTO;
        self.grow(per_nano.saturating_mul(time.as_nanos()));
    }

    fn grow(&mut self, amount: u128) -> Usd {
        if amount == 0 {
            return Usd::ZERO;
        }
        self.amount = self.amount.saturating_add(amount);
        let before = self.rounded;
        // Without a discount, which is the usual, one division is enough.
        self.rounded = match u128::from(self.kept) == WHOLE && self.amount != u128::MAX {
            true => {
                self.amount / FINE_PER_PICO + u128::from(self.amount % FINE_PER_PICO >= FINE_PER_PICO / 2)
            }
            false => mul_div(self.amount, self.kept, WHOLE * FINE_PER_PICO),
        };
        Usd::pico(self.rounded - before)
    }

    /// The sum less the discount, with a margin on top, in pico-dollars, half up.
    pub(crate) fn rounded_with(&self, margin: BasisPoints) -> u128 {
        if margin.get() == 0 {
            return self.rounded;
        }
        let times = self.kept * u64::from(BasisPoints::WHOLE.get() + margin.get());
        mul_div(self.amount, times, WHOLE * WHOLE * FINE_PER_PICO)
    }
}

/// `amount * times / by`, half up; saturates, and what has saturated stays so. The rest of the division fits: `by` is at most
/// 10^23, `times` below 10^11.
fn mul_div(amount: u128, times: u64, by: u128) -> u128 {
    if amount == u128::MAX {
        return u128::MAX;
    }
    let (whole, rest) = (amount / by, amount % by);
    let times = u128::from(times);
    let rest = (rest * times + by / 2) / by;
    whole.saturating_mul(times).saturating_add(rest)
}

const WHOLE: u128 = BasisPoints::WHOLE.get() as u128;
const FINE_PER_PICO: u128 = 1_000_000_000_000_000;
