//! What was spent where only counting was asked for, and there is no place for one settlement more.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ziggurat_core::{Account, Budget};

use crate::Charge;

/// Sums by account, which are posted under one id each when there is a place.
#[derive(Default)]
pub(super) struct Overflow {
    sums: Mutex<HashMap<Account, (Budget, Charge)>>,
    /// Charges that found no place here either.
    uncounted: AtomicU64,
}

// ===== impl Overflow =====

impl Overflow {
    pub(super) fn add(&self, budgets: &[Budget], charge: Charge) {
        if charge.amount.is_zero() {
            return;
        }
        let (mut sums, mut lost) = (self.sums(), 0);
        for (at, budget) in budgets.iter().enumerate() {
            // One account is charged once, however many budgets it has.
            if budgets[..at].iter().any(|other| other.account == budget.account) {
                continue;
            }
            if let Some((_, sum)) = sums.get_mut(&budget.account) {
                *sum = *sum + charge;
            } else if sums.len() < MOST_SUMS {
                sums.insert(budget.account.clone(), (budget.clone(), charge));
            } else {
                lost += 1;
            }
        }
        drop(sums);
        if lost > 0 && self.uncounted.fetch_add(lost, Ordering::Relaxed) == 0 {
            tracing::warn!(
                "more accounts than can be summed up wait for the store of budgets: spending is not counted"
            );
        }
    }

    /// Hands over one of the sums, if there is any. It is seen here until it is handed over.
    pub(super) fn hand_over<T>(&self, to: impl FnOnce(Budget, Charge) -> T) -> Option<T> {
        let mut sums = self.sums();
        let account = sums.keys().next().cloned()?;
        let (budget, charge) = sums.remove(&account)?;
        Some(to(budget, charge))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sums().is_empty()
    }

    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted.load(Ordering::Relaxed)
    }

    fn sums(&self) -> MutexGuard<'_, HashMap<Account, (Budget, Charge)>> {
        // Nothing panics while it is held.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accounts that are summed up.
const MOST_SUMS: usize = 10_000;

#[cfg(test)]
mod tests {
    use ziggurat_core::{Scope, Usd, Window};

    use super::*;

    #[test]
    fn accounts_are_summed_up_and_what_has_no_place_is_told() {
        let overflow = Overflow::default();
        let budget = |at: usize| Budget::counted(Scope::tenant(format!("t{at}")), Window::Lifetime);
        let charge = Charge::new(Usd::cents(1));
        for at in 0..=MOST_SUMS {
            overflow.add(&[budget(at), budget(at)], charge);
        }
        assert_eq!(overflow.uncounted(), 1);
        overflow.add(&[budget(0)], charge);
        overflow.add(&[budget(MOST_SUMS)], Charge::new(Usd::ZERO));
        assert_eq!(overflow.uncounted(), 1);
        let sums: Vec<_> = std::iter::from_fn(|| overflow.hand_over(|_, sum| sum)).collect();
        let total: Usd = sums.iter().fold(Usd::ZERO, |total, sum| total + sum.amount);
        assert_eq!((sums.len(), total), (MOST_SUMS, Usd::cents(MOST_SUMS as u64 + 1)));
        assert!(overflow.is_empty());
    }
}
