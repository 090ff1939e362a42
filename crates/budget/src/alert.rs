//! What is told when an account's spending reaches an amount that somebody wants to know of.

use std::fmt;

use ziggurat_core::{Account, Usd};

/// An account's spending has reached an amount; told once for each amount, account and window.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alert {
    /// Whose.
    pub account: Account,
    /// The most that may be spent.
    pub cap: Usd,
    /// What is spent in this window.
    pub spent: Usd,
    /// What it has reached.
    pub crossed: Crossed,
}

/// An amount that alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Crossed {
    /// The budget's soft amount ([`Budget::soft`](ziggurat_core::Budget)).
    Soft(Usd),
    /// So many percent of the cap.
    Percent(u8),
}

/// The percents of a cap that are usually told: when four fifths are spent, and when all is.
pub const ALERT_PERCENTS: [u8; 2] = [80, 100];

/// Which amounts alert, and whom.
pub(crate) struct Alerts {
    /// In ascending order.
    percents: Vec<u8>,
    deliver: Box<dyn Fn(&Alert) + Send + Sync>,
}

/// What was told of an account in this window: a bit for the soft amount and one for each percent.
pub(crate) type Told = u32;

// ===== impl Alerts =====

impl Alerts {
    pub(crate) fn new(
        percents: impl IntoIterator<Item = u8>,
        deliver: impl Fn(&Alert) + Send + Sync + 'static,
    ) -> Self {
        let mut percents: Vec<u8> = percents.into_iter().filter(|percent| *percent > 0).collect();
        percents.sort_unstable();
        percents.dedup();
        percents.truncate(MOST_PERCENTS);
        Self { percents, deliver: Box::new(deliver) }
    }

    /// The amounts that `spent` has reached.
    pub(crate) fn reached(&self, cap: Usd, soft: Option<Usd>, spent: Usd) -> Told {
        let amounts = self.amounts(cap, soft).enumerate();
        let reached = amounts.filter(|(_, (amount, _))| !spent.is_zero() && spent >= *amount);
        reached.fold(0, |told, (bit, _)| told | 1 << bit)
    }

    /// The alerts for these bits.
    pub(crate) fn of(
        &self,
        news: Told,
        account: &Account,
        cap: Usd,
        soft: Option<Usd>,
        spent: Usd,
    ) -> impl Iterator<Item = Alert> {
        self.amounts_of(news, cap, soft).map(move |(_, crossed)| Alert {
            account: account.clone(),
            cap,
            spent,
            crossed,
        })
    }

    /// The amounts of these bits.
    pub(crate) fn amounts_of(
        &self,
        bits: Told,
        cap: Usd,
        soft: Option<Usd>,
    ) -> impl Iterator<Item = (Usd, Crossed)> {
        let amounts = self.amounts(cap, soft).enumerate();
        amounts.filter(move |(bit, _)| bits & 1 << bit != 0).map(|(_, amount)| amount)
    }

    pub(crate) fn deliver(&self, alerts: &[Alert]) {
        alerts.iter().for_each(&self.deliver);
    }

    /// Each amount at the place of its bit; one that does not alert cannot be reached.
    fn amounts(&self, cap: Usd, soft: Option<Usd>) -> impl Iterator<Item = (Usd, Crossed)> {
        let soft = soft.unwrap_or(Usd::MAX);
        let percents =
            self.percents.iter().map(move |&percent| (share(cap, percent), Crossed::Percent(percent)));
        std::iter::once((soft, Crossed::Soft(soft))).chain(percents)
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("percents", &self.percents).finish_non_exhaustive()
    }
}

/// So many percent of an amount, rounded up to a pico-dollar.
fn share(cap: Usd, percent: u8) -> Usd {
    let (cap, percent) = (cap.as_pico(), u128::from(percent));
    let rest = (cap % 100 * percent).div_ceil(100);
    Usd::pico((cap / 100).saturating_mul(percent).saturating_add(rest))
}

/// As many as have a bit beside the soft amount's.
const MOST_PERCENTS: usize = Told::BITS as usize - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_do_not_overflow() {
        assert_eq!(share(Usd::dollars(1), 80), Usd::cents(80));
        assert_eq!(share(Usd::pico(101), 80), Usd::pico(81));
        assert_eq!(share(Usd::MAX, 100), Usd::MAX);
        assert_eq!(share(Usd::MAX, 255), Usd::MAX);
        assert_eq!(share(Usd::ZERO, 80), Usd::ZERO);
    }

    #[test]
    fn amounts_are_reached_from_below_and_nothing_spent_reaches_none() {
        let alerts = Alerts::new([100, 80, 80, 0], |_| {});
        let soft = Some(Usd::cents(50));
        let reached = |cents| alerts.reached(Usd::dollars(1), soft, Usd::cents(cents));
        assert_eq!([0, 49, 50, 79, 80, 99, 100, 101].map(reached), [0, 0, 1, 1, 3, 3, 7, 7]);
        assert_eq!(alerts.reached(Usd::ZERO, Some(Usd::ZERO), Usd::ZERO), 0);
        assert_eq!(alerts.reached(Usd::ZERO, None, Usd::pico(1)), 0b110);
    }

    #[test]
    fn more_percents_than_bits_are_left_out() {
        let alerts = Alerts::new(1..=255, |_| {});
        assert_eq!(alerts.reached(Usd::dollars(1), Some(Usd::cents(1)), Usd::dollars(3)), Told::MAX);
    }
}
