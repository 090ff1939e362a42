//! Which amounts were reached, and what is known to have been told of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use ziggurat_core::{Budget, Fingerprint, Fingerprints, Usd};

use super::{Mark, Settlement, Told};
use crate::{Alert, alert::Alerts};

/// Finds what is to be told among settlements. Whose it is to tell is the machine's to say.
pub(super) struct Watch {
    alerts: Alerts,
    fingerprints: Fingerprints,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Amounts that were reached, and that the machine is to be asked about.
    due: HashMap<Key, Mark>,
    /// Amounts that were told, by whomever, and when they may be again.
    told: HashMap<Key, (Usd, Option<SystemTime>)>,
}

/// An account, and the kind of an amount.
type Key = (Fingerprint, u8);

// ===== impl Watch =====

impl Watch {
    pub(super) fn new(alerts: Alerts) -> Self {
        Self { alerts, fingerprints: Fingerprints::new(), state: Mutex::default() }
    }

    /// Takes note of what is spent after some settlements.
    pub(super) fn note(&self, batch: &[Settlement], spent: &[Usd], now: SystemTime) {
        let mut spent = spent.iter();
        for settlement in batch {
            for (at, budget) in settlement.budgets.iter().enumerate() {
                let Some(spent) = spent.next() else { return };
                let of = |other: &&Budget| other.account == budget.account;
                if settlement.budgets[..at].iter().any(|other| of(&other)) {
                    continue;
                }
                // One account with several caps has the tightest.
                let all = || settlement.budgets.iter().filter(of);
                let cap = all().map(|budget| budget.cap).min().unwrap_or(budget.cap);
                let soft = all().filter_map(|budget| budget.soft).min();
                let reached = self.alerts.reached(cap, soft, *spent);
                for (amount, crossed) in self.alerts.amounts_of(reached, cap, soft) {
                    let (account, window) = (budget.account.clone(), budget.window.clone());
                    let budget = Budget::in_account(account, cap, soft, window);
                    let mark = Mark::new(budget, crossed, amount, settlement.id);
                    self.state().reached(self.key(mark), now);
                }
            }
        }
    }

    /// What the machine is to be asked about.
    pub(super) fn due(&self) -> Vec<Mark> {
        self.state().due.values().take(MOST_ASKED).cloned().collect()
    }

    /// Takes note of what the machine said, and tells what is to be told.
    pub(super) fn answered(&self, marks: Vec<Mark>, told: &[Told], now: SystemTime) {
        let mut alerts = Vec::new();
        for (mark, told) in marks.into_iter().zip(told) {
            let (key, mark) = self.key(mark);
            let mut state = self.state();
            if state.due.get(&key).is_some_and(|due| due.amount <= mark.amount) {
                state.due.remove(&key);
            }
            match told {
                Told::Now { again_at, .. } | Told::Before { again_at } => {
                    state.told(key, mark.amount, *again_at, now);
                }
                Told::Below => {}
            }
            if let Told::Now { spent, .. } = *told {
                let Mark { budget, crossed, .. } = mark;
                alerts.push(Alert { account: budget.account, cap: budget.cap, spent, crossed });
            }
        }
        self.alerts.deliver(&alerts);
    }

    fn key(&self, mark: Mark) -> (Key, Mark) {
        ((self.fingerprints.of(&mark.budget.account), mark.kind()), mark)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl State =====

impl State {
    /// One more than there is room for is found again with its account's next settlement.
    fn reached(&mut self, (key, mark): (Key, Mark), now: SystemTime) {
        let was_told = self.told.get(&key).is_some_and(|(amount, again_at)| {
            mark.amount <= *amount && again_at.is_none_or(|again_at| now < again_at)
        });
        let is_due = self.due.get(&key).is_some_and(|due| mark.amount <= due.amount);
        if !was_told && !is_due && (self.due.len() < MOST_DUE || self.due.contains_key(&key)) {
            self.due.insert(key, mark);
        }
    }

    /// What is forgotten here is asked for again, and not told again.
    fn told(&mut self, key: Key, amount: Usd, again_at: Option<SystemTime>, now: SystemTime) {
        if self.told.len() >= MOST_TOLD && !self.told.contains_key(&key) {
            self.told.retain(|_, (_, again_at)| again_at.is_none_or(|again_at| now < again_at));
            if self.told.len() >= MOST_TOLD {
                self.told.clear();
            }
        }
        self.told.insert(key, (amount, again_at));
    }
}

/// Marks in one round trip.
const MOST_ASKED: usize = 64;

/// Marks that wait for a machine that is away.
const MOST_DUE: usize = 4096;

/// Marks that are known to have been told.
const MOST_TOLD: usize = 100_000;
