//! The ledger in this process's memory: exact, sharded, bounded.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use smallvec::SmallVec;
use ziggurat_core::{Account, Budget, Clock, Fingerprint, Fingerprints, Locked, Shards, Usd, Window};

use super::{
    Mutex, entry::Entry, entry::Seen, hold::MemoryHold, recovered::Pending, unreconciled::Unreconciled,
};
use crate::{
    Alert, Balance, Charge, Held, HoldId, Journal, OpenHold, Posting, Recovered, Refused, Slot, alert::Alerts,
};

/// How a ledger is set up, and its state, made when it is first used.
pub(super) struct Memory {
    pub(super) clock: Clock,
    pub(super) capacity: usize,
    pub(super) hold_ttl: Duration,
    pub(super) alerts: Option<Alerts>,
    pub(super) journal: Option<Arc<dyn Journal>>,
    pub(super) recovered: Mutex<Recovered>,
    fingerprints: Fingerprints,
    state: OnceLock<State>,
}

pub(super) struct State {
    pub(super) accounts: Shards<Entry>,
    pub(super) pending: Pending,
    pub(super) unreconciled: Unreconciled,
}

/// An account of a claim: named once, however many budgets count in it.
pub(super) struct Line {
    pub(super) key: Fingerprint,
    /// Its first budget in the claim, with the smallest cap of all of them.
    budget: Budget,
    /// What it was posted under at last.
    bucket: i64,
}

/// The accounts of a claim, in place for as many as most claims have.
pub(super) struct Lines {
    list: SmallVec<[Line; 5]>,
    /// As they are written down, where there is a journal.
    written: Vec<Arc<Account>>,
}

/// What is posted when a hold ends.
pub(super) struct Ending {
    pub(super) id: HoldId,
    pub(super) call: HoldId,
    pub(super) held: Usd,
    pub(super) charge: Charge,
    pub(super) slot: Option<Slot>,
}

/// An account that something was posted to.
pub(super) struct Posted {
    pub(super) key: Fingerprint,
    pub(super) account: Arc<Account>,
    pub(super) window: Window,
    pub(super) bucket: i64,
}

pub(super) type Accounts<'a> = Locked<'a, Entry>;

// ===== impl Memory =====

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::system(),
            capacity: CAPACITY,
            hold_ttl: HOLD_TTL,
            alerts: None,
            journal: None,
            recovered: Mutex::new(Recovered::default()),
            fingerprints: Fingerprints::new(),
            state: OnceLock::new(),
        }
    }

    /// Whether it is in use: it cannot be set up any more.
    pub(super) fn is_made(&self) -> bool {
        self.state.get().is_some()
    }

    pub(super) fn state(&self) -> &State {
        self.state.get_or_init(|| State::new(self))
    }

    /// Sets aside what fits, in every account or in none.
    pub(super) fn reserve(
        self: &Arc<Self>,
        (id, call): (HoldId, HoldId),
        budgets: impl IntoIterator<Item = Budget>,
        least: Usd,
        most: Usd,
    ) -> Result<Held, Refused> {
        let now = self.clock.now();
        let mut lines = self.lines(budgets);
        let state = self.state();
        self.expire_due(&lines.list, now);
        let mut locked = state.accounts.lock(lines.keys(), now);
        let amount = self.fit(&mut locked, &lines, least, most, now)?;
        open(&mut locked, &lines, amount, now)?;
        let slot = match self.write_open((id, call), &mut lines, amount, now) {
            Ok(slot) => slot,
            Err(refused) => {
                undo(&mut locked, &lines.list, amount);
                return Err(refused);
            }
        };
        drop(locked);
        let hold = MemoryHold::new(Arc::clone(self), (id, call), lines, amount, slot);
        Ok(Held { amount, hold: Box::new(hold) })
    }

    /// Sets more aside for a hold that has `held` by now.
    pub(super) fn extend(
        &self,
        lines: &Lines,
        held: Usd,
        slot: Option<&Slot>,
        least: Usd,
        most: Usd,
    ) -> Result<Usd, Refused> {
        let now = self.clock.now();
        self.expire_due(&lines.list, now);
        let mut locked = self.state().accounts.lock(lines.keys(), now);
        // A hold is one number, and stays one.
        let most = most.min(Usd::MAX.saturating_sub(held));
        let amount = self.fit(&mut locked, lines, least, most, now)?;
        if let (Some(journal), Some(slot)) = (&self.journal, slot) {
            journal.grow(slot, held + amount);
        }
        for line in &lines.list {
            kept(&mut locked, line.key).grow(amount);
        }
        Ok(amount)
    }

    /// Ends a hold, and posts what it was charged.
    pub(super) fn close(&self, lines: &mut Lines, ending: Ending) {
        let now = self.clock.now();
        let mut alerts = Vec::new();
        let mut locked = self.state().accounts.lock(lines.keys(), now);
        for line in &mut lines.list {
            let entry = kept(&mut locked, line.key);
            entry.advance(&line.budget.window, now);
            line.bucket = entry.close(ending.held, ending.charge.amount, now);
            self.note_alerts(entry, &line.budget, now, &mut alerts);
        }
        self.write_close(ending, now, || lines.posted());
        drop(locked);
        if let Some(listener) = &self.alerts {
            listener.deliver(&alerts);
        }
    }

    /// Writes down how a hold ended, while its accounts are locked.
    pub(super) fn write_close(&self, ending: Ending, at: SystemTime, posted: impl FnOnce() -> Vec<Posted>) {
        let Ending { id, call, held, charge, slot } = ending;
        let mut flags = charge.flags;
        flags.overrun |= charge.amount > held;
        if self.journal.is_none() && !flags.unreconciled {
            return;
        }
        let posted = posted();
        if let (Some(journal), Some(slot)) = (&self.journal, slot) {
            let lines: Vec<_> = posted.iter().map(Posted::line).collect();
            journal.close(slot, &Posting { id, call, at, held, amount: charge.amount, flags, lines: &lines });
        }
        if flags.unreconciled {
            self.state().unreconciled.remember(id, call, held, charge.amount, posted);
        }
    }

    pub(super) fn balance(&self, budget: &Budget) -> Balance {
        let now = self.clock.now();
        let line = Line::new(self.key(&budget.account), budget.clone());
        self.expire_due(std::slice::from_ref(&line), now);
        let mut locked = self.state().accounts.lock([line.key], now);
        let mut fresh = Entry::default();
        let entry = locked.get(line.key).unwrap_or(&mut fresh);
        self.look(entry, budget, now);
        entry.balance()
    }

    pub(super) fn key(&self, account: &Account) -> Fingerprint {
        self.fingerprints.of(account)
    }

    /// The accounts of some budgets, each once, in their order.
    fn lines(&self, budgets: impl IntoIterator<Item = Budget>) -> Lines {
        let mut lines = Lines { list: SmallVec::new(), written: Vec::new() };
        for budget in budgets {
            let key = self.key(&budget.account);
            match lines.list.iter_mut().find(|line| line.key == key) {
                Some(line) => line.join(&budget),
                None => lines.list.push(Line::new(key, budget)),
            }
        }
        lines
    }

    /// How much fits into every account.
    fn fit(
        &self,
        locked: &mut Accounts<'_>,
        lines: &Lines,
        least: Usd,
        most: Usd,
        now: SystemTime,
    ) -> Result<Usd, Refused> {
        let least = least.min(most);
        let mut amount = most;
        for Line { key, budget, .. } in &lines.list {
            let room = match locked.get(*key) {
                Some(entry) => {
                    self.look(entry, budget, now);
                    entry.room(budget.cap)
                }
                None => budget.cap,
            };
            if room < least {
                let mut fresh = Entry::default();
                let entry = locked.get(*key).unwrap_or(&mut fresh);
                entry.advance(&budget.window, now);
                let (account, balance) = (Arc::new(budget.account.clone()), entry.balance());
                return Err(Refused::Exceeded { account, cap: budget.cap, balance });
            }
            amount = amount.min(room);
        }
        Ok(amount)
    }

    /// Brings an account up to date.
    fn look(&self, entry: &mut Entry, budget: &Budget, now: SystemTime) {
        let seen = entry.advance(&budget.window, now);
        if let (Seen::Recovered, Some(alerts)) = (seen, &self.alerts) {
            // The earlier process told of these.
            entry.tell(alerts.reached(budget.cap, budget.soft, entry.spent()), now);
        }
    }

    fn note_alerts(
        &self,
        entry: &mut Entry,
        Budget { account, cap, soft, .. }: &Budget,
        now: SystemTime,
        noted: &mut Vec<Alert>,
    ) {
        let Some(alerts) = &self.alerts else { return };
        let spent = entry.spent();
        let news = entry.tell(alerts.reached(*cap, *soft, spent), now);
        if news != 0 {
            noted.extend(alerts.of(news, account, *cap, *soft, spent));
        }
    }

    fn write_open(
        &self,
        (id, call): (HoldId, HoldId),
        lines: &mut Lines,
        amount: Usd,
        now: SystemTime,
    ) -> Result<Option<Slot>, Refused> {
        let Some(journal) = &self.journal else { return Ok(None) };
        let written = lines.list.iter().map(|line| Arc::new(line.budget.account.clone()));
        lines.written = written.collect();
        let expires_at = now.checked_add(self.hold_ttl).unwrap_or(now);
        let hold = OpenHold { id, call, accounts: &lines.written, amount, expires_at };
        match journal.open(&hold) {
            Ok(slot) => Ok(Some(slot)),
            Err(_) => Err(Refused::Unavailable("the journal has no room for another reservation")),
        }
    }

    /// Posts the recovered holds that have expired, now that these accounts are looked at.
    fn expire_due(&self, lines: &[Line], now: SystemTime) {
        let pending = &self.state().pending;
        if pending.is_empty() {
            return;
        }
        pending.learn(|key| {
            let known = lines.iter().find(|line| line.key == key);
            known.map(|line| line.budget.window.clone())
        });
        if pending.is_due(now) {
            self.expire(now);
        }
    }
}

// ===== impl State =====

impl State {
    fn new(memory: &Memory) -> Self {
        let recovered = std::mem::take(&mut *memory.recovered.lock().unwrap_or_else(|e| e.into_inner()));
        let held = recovered.holds.iter().map(|hold| hold.accounts.len()).sum::<usize>();
        let capacity = match recovered.accounts.len() + held {
            0 => memory.capacity,
            // What is recovered always has room: also in a shard that more than its share falls to.
            known => memory.capacity.max(known * 2 + SPARE),
        };
        let accounts = Shards::new(capacity);
        let now = memory.clock.now();
        for account in recovered.accounts {
            let key = memory.key(&account.account);
            let mut locked = accounts.lock([key], now);
            let entry: &mut Entry =
                locked.entry(key).expect("invariant: the map has room for what is recovered");
            entry.recover(account.buckets);
        }
        let pending = Pending::new(memory, &accounts, recovered.holds, now);
        Self { accounts, pending, unreconciled: Unreconciled::default() }
    }
}

// ===== impl Lines =====

impl Lines {
    fn keys(&self) -> impl Iterator<Item = Fingerprint> {
        self.list.iter().map(|line| line.key)
    }

    fn posted(&self) -> Vec<Posted> {
        let posted = |(at, Line { key, budget, bucket }): (usize, &Line)| {
            let account = self.written.get(at).cloned().unwrap_or_else(|| budget.account.clone().into());
            Posted { key: *key, account, window: budget.window.clone(), bucket: *bucket }
        };
        self.list.iter().enumerate().map(posted).collect()
    }
}

// ===== impl Line =====

impl Line {
    const fn new(key: Fingerprint, budget: Budget) -> Self {
        Self { key, budget, bucket: 0 }
    }

    fn join(&mut self, other: &Budget) {
        let budget = &mut self.budget;
        budget.cap = budget.cap.min(other.cap);
        budget.soft = match (budget.soft, other.soft) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

// ===== impl Posted =====

impl Posted {
    pub(super) fn line(&self) -> (Arc<Account>, i64) {
        (Arc::clone(&self.account), self.bucket)
    }
}

/// Opens a hold in every account, or in none when there is no room for one.
fn open(locked: &mut Accounts<'_>, lines: &Lines, amount: Usd, now: SystemTime) -> Result<(), Refused> {
    for (at, line) in lines.list.iter().enumerate() {
        if let Some(entry) = locked.get(line.key) {
            entry.open(amount);
            continue;
        }
        // Making room evicts idle accounts: also of this claim, those in which nothing was opened yet.
        match locked.entry(line.key) {
            Ok(entry) => {
                entry.advance(&line.budget.window, now);
                entry.open(amount);
            }
            Err(_) => {
                undo(locked, &lines.list[..at], amount);
                return Err(Refused::Unavailable("as many accounts as it may keep are in use"));
            }
        }
    }
    Ok(())
}

fn undo(locked: &mut Accounts<'_>, lines: &[Line], amount: Usd) {
    for line in lines {
        kept(locked, line.key).free(amount);
    }
}

/// An account that is known to be there.
pub(super) fn kept<'a>(locked: &'a mut Accounts<'_>, key: Fingerprint) -> &'a mut Entry {
    locked.get(key).expect("invariant: an account with an open hold is not forgotten")
}

/// Accounts, unless set.
const CAPACITY: usize = 1_000_000;

/// Unless set.
const HOLD_TTL: Duration = Duration::from_secs(600);

/// Room beside twice what is recovered, whatever the capacity.
const SPARE: usize = 1024;
