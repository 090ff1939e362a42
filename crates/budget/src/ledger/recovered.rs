//! Holds of an earlier process, until they expire.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use ziggurat_core::{Account, Fingerprint, Shards, Usd, Window};

use super::{
    Mutex, MutexGuard,
    entry::Entry,
    memory::{Ending, Memory, Posted, kept},
};
use crate::{Charge, Flags, HoldId, RecoveredHold, Slot, calendar};

/// The holds that nobody has settled yet. In the accounts they count as held.
pub(super) struct Pending {
    holds: Mutex<Holds>,
    count: AtomicUsize,
    /// The first moment at which one can be posted, in unix milliseconds rounded down.
    due: AtomicU64,
}

#[derive(Default)]
struct Holds {
    /// Those of which it is known how each account counts.
    known: BTreeMap<HoldId, Lost>,
    unknown: BTreeMap<HoldId, Lost>,
}

/// A hold whose process is gone.
pub(super) struct Lost {
    call: HoldId,
    places: Vec<Place>,
    amount: Usd,
    expires_at: SystemTime,
    slot: Slot,
}

struct Place {
    key: Fingerprint,
    account: Arc<Account>,
    /// Not known where the name of the period does not say it, and no budget was seen yet.
    window: Option<Window>,
}

// ===== impl Memory =====

impl Memory {
    /// Posts the recovered holds that have expired; gives how many.
    pub(super) fn expire(&self, now: SystemTime) -> usize {
        let flags = Flags { unreconciled: true, ..Flags::default() };
        let due = self.state().pending.take_due(now);
        let post = |(id, lost)| self.post_lost(id, lost, |held| Charge::of(held, flags));
        due.into_iter().map(post).count()
    }

    /// Posts a recovered hold: whoever has taken it out does so, once.
    pub(super) fn post_lost(&self, id: HoldId, lost: Lost, charge: impl FnOnce(Usd) -> Charge) {
        let now = self.clock.now();
        let Lost { call, places, amount, slot, .. } = lost;
        let charge = charge(amount);
        let mut locked = self.state().accounts.lock(places.iter().map(|place| place.key), now);
        let post = |Place { key, account, window }| {
            let window = window.unwrap_or(Window::Lifetime);
            let entry = kept(&mut locked, key);
            entry.advance(&window, now);
            Posted { key, account, window, bucket: entry.close(amount, charge.amount, now) }
        };
        let posted: Vec<_> = places.into_iter().map(post).collect();
        let ending = Ending { id, call, held: amount, charge, slot: Some(slot) };
        self.write_close(ending, now, || posted);
    }
}

// ===== impl Pending =====

impl Pending {
    /// Counts recovered holds as held.
    pub(super) fn new(
        memory: &Memory,
        accounts: &Shards<Entry>,
        holds: Vec<RecoveredHold>,
        now: SystemTime,
    ) -> Self {
        let mut all = Holds::default();
        for hold in holds {
            // An id is held once, whatever is handed over.
            if all.known.contains_key(&hold.id) || all.unknown.contains_key(&hold.id) {
                continue;
            }
            let mut places: Vec<Place> = Vec::new();
            for account in hold.accounts {
                let key = memory.key(&account);
                if places.iter().all(|place| place.key != key) {
                    let window = window_of(&account);
                    places.push(Place { key, account: Arc::new(account), window });
                }
            }
            for place in &places {
                let mut locked = accounts.lock([place.key], now);
                let entry =
                    locked.entry(place.key).expect("invariant: the map has room for what is recovered");
                entry.open(hold.amount);
            }
            let RecoveredHold { id, call, amount, expires_at, slot, .. } = hold;
            all.insert(id, Lost { call, places, amount, expires_at, slot });
        }
        let pending = Self { holds: Mutex::new(all), count: AtomicUsize::new(0), due: AtomicU64::new(0) };
        pending.note(&pending.holds());
        pending
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        milliseconds(now) >= self.due.load(Relaxed)
    }

    /// Takes note of the windows of accounts that budgets were seen for.
    pub(super) fn learn(&self, window_of: impl Fn(Fingerprint) -> Option<Window>) {
        let mut holds = self.holds();
        if holds.unknown.is_empty() {
            return;
        }
        for (id, mut lost) in mem::take(&mut holds.unknown) {
            for place in lost.places.iter_mut().filter(|place| place.window.is_none()) {
                place.window = window_of(place.key);
            }
            holds.insert(id, lost);
        }
        self.note(&holds);
    }

    /// Takes a hold out, whether it has expired or not, if it is known how its accounts count.
    pub(super) fn take(&self, id: HoldId) -> Option<Lost> {
        let mut holds = self.holds();
        let lost = holds.known.remove(&id);
        self.note(&holds);
        lost
    }

    /// Takes the holds out that have expired by now. Until they are posted they count as held.
    fn take_due(&self, now: SystemTime) -> BTreeMap<HoldId, Lost> {
        let mut holds = self.holds();
        let (due, later) =
            mem::take(&mut holds.known).into_iter().partition(|(_, lost)| lost.expires_at <= now);
        holds.known = later;
        self.note(&holds);
        due
    }

    fn note(&self, holds: &Holds) {
        let due = holds.known.values().map(|lost| milliseconds(lost.expires_at)).min();
        self.due.store(due.unwrap_or(u64::MAX), Relaxed);
        self.count.store(holds.known.len() + holds.unknown.len(), Relaxed);
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

// ===== impl Holds =====

impl Holds {
    fn insert(&mut self, id: HoldId, lost: Lost) {
        match lost.is_known() {
            true => self.known.insert(id, lost),
            false => self.unknown.insert(id, lost),
        };
    }
}

// ===== impl Lost =====

impl Lost {
    /// Whether it is known how each of its accounts counts.
    fn is_known(&self) -> bool {
        self.places.iter().all(|place| place.window.is_some())
    }
}

/// The window of an account, where the name of its period says it.
fn window_of(account: &Account) -> Option<Window> {
    match &*account.period {
        "lifetime" => Some(Window::Lifetime),
        period => calendar::of_name(period),
    }
}

fn milliseconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
