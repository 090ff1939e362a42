//! What accounts stood at when the machine last said so, and what this process has given out of them by itself since.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, SystemTime},
};

use smallvec::SmallVec;
use ziggurat_core::{Budget, Fingerprint, Fingerprints, Idle, Locked, Shards, Usd};

use crate::{Balance, Refused};

/// Accounts, by their names' fingerprints.
pub(super) struct Known {
    fingerprints: Fingerprints,
    accounts: Shards<Entry>,
}

/// One account.
#[derive(Default)]
struct Entry {
    balance: Balance,
    /// When that was said; `None` when it never was.
    said_at: Option<SystemTime>,
    /// What this process has set aside or spent by itself, and has not posted yet.
    unposted: Usd,
    /// This process's part of what was left, from its first use until the machine speaks again.
    share: Option<Share>,
}

struct Share {
    most: Usd,
    used: Usd,
}

/// An account of a claim, once, with its tightest cap.
struct Line<'a> {
    key: Fingerprint,
    budget: &'a Budget,
    cap: Usd,
}

type Lines<'a> = SmallVec<[Line<'a>; 6]>;

// ===== impl Known =====

impl Known {
    pub(super) fn new() -> Self {
        Self { fingerprints: Fingerprints::new(), accounts: Shards::new(ACCOUNTS) }
    }

    /// Takes note of what the machine said. One more account than there is room for is not noted.
    pub(super) fn note(&self, budgets: &[Budget], balances: &[Balance], now: SystemTime) {
        let keys: SmallVec<[Fingerprint; 6]> = budgets.iter().map(|budget| self.key(budget)).collect();
        let mut locked = self.accounts.lock(keys.iter().copied(), now);
        for (key, balance) in keys.iter().zip(balances) {
            if let Ok(entry) = locked.entry(*key) {
                (entry.balance, entry.said_at, entry.share) = (*balance, Some(now), None);
            }
        }
    }

    pub(super) fn balance(&self, budget: &Budget, now: SystemTime) -> Option<Balance> {
        let key = self.key(budget);
        let mut locked = self.accounts.lock([key], now);
        locked.get(key).filter(|entry| entry.said_at.is_some()).map(|entry| entry.balance)
    }

    /// Sets aside what fits into this process's share of every account, or nothing in any.
    pub(super) fn take(
        &self,
        budgets: &[Budget],
        nodes: NonZeroU32,
        least: Usd,
        most: Usd,
        now: SystemTime,
    ) -> Result<Usd, Refused> {
        let lines = self.lines(budgets);
        let mut locked = self.lock(&lines, now);
        let (least, mut amount) = (least.min(most), most);
        // What only counts has room for everything, whoever has heard of it.
        for line in lines.iter().filter(|line| line.cap < Budget::UNCAPPED) {
            let known = locked.get(line.key).filter(|entry| entry.said_at.is_some());
            let Some(entry) = known else {
                return Err(Refused::Unavailable("it is away, and what is left is not known here"));
            };
            if entry.left(line.cap) < least {
                let account = Arc::new(line.budget.account.clone());
                return Err(Refused::Exceeded { account, cap: line.cap, balance: entry.balance });
            }
            let room = entry.room(line.cap, nodes);
            if room < least {
                return Err(Refused::Unavailable(
                    "it is away, and this node's share of what is left is spent",
                ));
            }
            amount = amount.min(room);
        }
        for line in &lines {
            if let Some(entry) = locked.get(line.key) {
                entry.change(Usd::ZERO, amount);
            }
        }
        Ok(amount)
    }

    /// Puts what was spent in the place of what was set aside.
    pub(super) fn settle(&self, budgets: &[Budget], set_aside: Usd, spent: Usd, now: SystemTime) {
        let lines = self.lines(budgets);
        let mut locked = self.lock(&lines, now);
        for line in &lines {
            if let Some(entry) = locked.get(line.key) {
                entry.change(set_aside, spent);
            }
        }
    }

    /// Takes note that the machine holds what this process had set aside by itself.
    pub(super) fn adopted(&self, budgets: &[Budget], amount: Usd, now: SystemTime) {
        let lines = self.lines(budgets);
        let mut locked = self.lock(&lines, now);
        for line in &lines {
            if let Some(entry) = locked.get(line.key) {
                entry.unposted = entry.unposted.saturating_sub(amount);
                entry.balance.held += amount;
            }
        }
    }

    /// Takes note that what was spent has been posted.
    pub(super) fn posted(&self, budgets: &[Budget], spent: Usd, now: SystemTime) {
        let lines = self.lines(budgets);
        let mut locked = self.lock(&lines, now);
        for line in &lines {
            if let Some(entry) = locked.get(line.key) {
                entry.unposted = entry.unposted.saturating_sub(spent);
                entry.balance.spent += spent;
            }
        }
    }

    fn key(&self, budget: &Budget) -> Fingerprint {
        self.fingerprints.of(&budget.account)
    }

    fn lines<'a>(&self, budgets: &'a [Budget]) -> Lines<'a> {
        let mut lines = Lines::new();
        for budget in budgets {
            let key = self.key(budget);
            match lines.iter_mut().find(|line| line.key == key) {
                Some(line) => line.cap = line.cap.min(budget.cap),
                None => lines.push(Line { key, budget, cap: budget.cap }),
            }
        }
        lines
    }

    fn lock(&self, lines: &Lines<'_>, now: SystemTime) -> Locked<'_, Entry> {
        self.accounts.lock(lines.iter().map(|line| line.key), now)
    }
}

// ===== impl Entry =====

impl Entry {
    /// What the machine would have said is left.
    fn left(&self, cap: Usd) -> Usd {
        cap.saturating_sub(self.balance.spent + self.balance.held)
    }

    /// What is left of this process's share.
    fn room(&mut self, cap: Usd, nodes: NonZeroU32) -> Usd {
        let part = |of: Usd| Usd::pico(of.as_pico() / u128::from(nodes.get()));
        // What this process has set aside on its own comes off its own share: another absence is no other share.
        let left = part(self.left(cap)).saturating_sub(self.unposted);
        let share = self.share.get_or_insert(Share { most: left, used: Usd::ZERO });
        // A cap that was lowered since holds too.
        share.most.min(part(cap)).saturating_sub(share.used)
    }

    fn change(&mut self, from: Usd, to: Usd) {
        self.unposted = self.unposted.saturating_sub(from) + to;
        if let Some(share) = &mut self.share {
            share.used = share.used.saturating_sub(from) + to;
        }
    }
}

impl Idle for Entry {
    fn is_idle(&self, now: SystemTime) -> bool {
        let is_old = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age > KEPT);
        self.unposted.is_zero() && self.said_at.is_none_or(is_old)
    }
}

/// Accounts that are known.
const ACCOUNTS: usize = 100_000;

/// How long an account stays known for sure.
const KEPT: Duration = Duration::from_secs(600);
