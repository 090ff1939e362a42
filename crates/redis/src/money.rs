//! Amounts as the scripts have them: dollars and pico-dollars, both exact in a double.

use ziggurat_core::Usd;

/// As many dollars and pico-dollars; as many as there are, where it is more than 2^53 - 1 dollars.
pub(crate) fn parts(amount: Usd) -> (u64, u64) {
    let (dollars, pico) = (amount.as_pico() / PICO_PER_DOLLAR, amount.as_pico() % PICO_PER_DOLLAR);
    match (u64::try_from(dollars), u64::try_from(pico)) {
        (Ok(dollars), Ok(pico)) if dollars < TOP => (dollars, pico),
        _ => (TOP, 0),
    }
}

/// The amount of such parts.
pub(crate) fn amount(dollars: u64, pico: u64) -> Usd {
    if dollars >= TOP {
        return Usd::MAX;
    }
    Usd::pico(u128::from(dollars) * PICO_PER_DOLLAR + u128::from(pico))
}

const PICO_PER_DOLLAR: u128 = 1_000_000_000_000;

/// The largest integer that a double holds exactly, and all below it too.
pub(crate) const TOP: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_up_to_the_top() {
        for pico in [0, 1, PICO_PER_DOLLAR - 1, PICO_PER_DOLLAR, u128::from(TOP) * PICO_PER_DOLLAR - 1] {
            let (dollars, rest) = parts(Usd::pico(pico));
            assert_eq!(amount(dollars, rest), Usd::pico(pico));
        }
        for most in [Usd::pico(u128::from(TOP) * PICO_PER_DOLLAR), Usd::MAX] {
            assert_eq!(parts(most), (TOP, 0));
        }
        assert_eq!(amount(TOP, 0), Usd::MAX);
    }
}
