//! The store in this process's memory: exact, sharded, bounded.

use std::{fmt, sync::Arc, time::SystemTime};

use smallvec::SmallVec;
use ziggurat_core::{Fingerprint, Fingerprints, Limit, Locked, Measure, Scope, Shards};

use crate::{
    Ask, Exceeded, Level, Quota, Refused, Reply, Store, Taken, Ticket, Used,
    window::{Counter, Full, Spot, Window},
};

/// Counts in memory, for one process. Cheap to clone; clones share what they count.
///
/// Of an account it keeps a fingerprint of 128 bits, made with random keys of its own, and no name: one that is known and idle takes 90 to
/// 130 bytes. One whose window has passed may be forgotten, and no other. When there is no room for another, new ones are refused
/// ([`Refused::Unavailable`]), which the layer answers with 503; those that are known go on.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    counters: Shards<Counter>,
    fingerprints: Fingerprints,
}

type Counters<'a> = Locked<'a, Counter>;

/// What a call was counted with.
struct Places {
    store: MemoryStore,
    list: List,
}

/// In place for as many as most calls have.
type List = SmallVec<[Place; 16]>;

struct Place {
    /// Of the account and what is counted there.
    key: Fingerprint,
    measure: Measure,
    window: Window,
    amount: u64,
    held: Held,
}

/// What a place stands for.
#[derive(Clone, Copy)]
enum Held {
    Nothing,
    /// The amount, counted there.
    Used(Spot),
    /// A running call.
    Running,
}

/// Why a place was not to be had; the later, the longer it lasts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    NoAccount,
    Full(Full),
}

// ===== impl MemoryStore =====

impl MemoryStore {
    /// A store for a million accounts.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(1_000_000)
    }

    /// A store for about so many accounts; a scope has one for each of its limits.
    #[must_use]
    pub fn with_capacity(accounts: usize) -> Self {
        let (counters, fingerprints) = (Shards::new(accounts), Fingerprints::new());
        Self(Arc::new(Inner { counters, fingerprints }))
    }

    /// How many accounts are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.counters.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One place for each ask; those of a scope beside each other share the work of its name.
    fn places<'a>(&self, asks: &'a [Ask]) -> List {
        let mut of_scope: Option<(&Scope, Fingerprints)> = None;
        let place = |ask: &'a Ask| {
            let Ask { limit, amount } = ask;
            let scope = &limit.account.scope;
            let same = |known: &Scope| known.kind == scope.kind && Arc::ptr_eq(&known.id, &scope.id);
            let fingerprints = match &of_scope {
                Some((known, fingerprints)) if same(known) => fingerprints,
                _ => &of_scope.insert((scope, self.0.fingerprints.beginning(scope))).1,
            };
            Place::new(fingerprints, limit, *amount)
        };
        asks.iter().map(place).collect()
    }

    fn lock<'p>(&self, places: impl IntoIterator<Item = &'p Place>, now: SystemTime) -> Counters<'_> {
        self.0.counters.lock(places.into_iter().map(|place| place.key), now)
    }

    fn try_take(&self, asks: &[Ask], now: SystemTime) -> Result<(Quota, List), Refused> {
        let mut list = self.places(asks);
        let mut counters = self.lock(&list, now);
        let mut quota = Quota::default();
        let mut worst: Option<(Why, usize)> = None;
        for (at, (place, ask)) in list.iter_mut().zip(asks).enumerate() {
            // The rest is asked too: a wait must be long enough for all of them.
            match place.take(&mut counters, &ask.limit, now) {
                Ok(level) => quota.note(level),
                Err(why) if worst.is_none_or(|(longest, _)| why > longest) => worst = Some((why, at)),
                Err(_) => {}
            }
        }
        let Some((why, at)) = worst else { return Ok((quota, list)) };
        list.iter_mut().for_each(|place| place.undo(&mut counters));
        let Why::Full(full) = why else {
            return Err(Refused::Unavailable("as many accounts as it may keep are in use"));
        };
        let levels: Vec<Level> =
            list.iter().zip(asks).map(|(place, ask)| place.level(&ask.limit, &mut counters, now)).collect();
        let retry_after = match full {
            Full::For(wait) => Some(wait),
            Full::Ever => None,
        };
        let exceeded = Exceeded::new(levels[at], retry_after, levels.into_iter().collect());
        Err(Refused::Exceeded(Box::new(exceeded)))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn take(&self, asks: &[Ask], now: SystemTime) -> Reply<Result<Taken, Refused>> {
        Reply::Ready(self.try_take(asks, now).map(|(quota, list)| {
            let places = Places { store: self.clone(), list };
            Taken::new(quota, Box::new(places))
        }))
    }

    fn level(&self, limit: &Limit, now: SystemTime) -> Option<Level> {
        let place = Place::new(&self.0.fingerprints.beginning(&limit.account.scope), limit, 0);
        let mut counters = self.lock([&place], now);
        Some(place.level(limit, &mut counters, now))
    }
}

// ===== impl Place =====

impl Place {
    fn new(of_scope: &Fingerprints, limit: &Limit, amount: u64) -> Self {
        let window = Window::new(limit.per);
        let (account, measure) = (&limit.account, limit.measure);
        let key = of_scope.of((&account.models, &account.period, measure, window));
        Self { key, measure, window, amount, held: Held::Nothing }
    }

    /// Counts it where it fits, and tells where the limit stands then.
    fn take(&mut self, counters: &mut Counters<'_>, limit: &Limit, now: SystemTime) -> Result<Level, Why> {
        let counter = match counters.get(self.key) {
            Some(counter) => counter,
            None => counters.entry(self.key).map_err(|_| Why::NoAccount)?,
        };
        let full = |why| Err(Why::Full(why));
        self.held = match self.measure {
            Measure::Concurrency => counter.enter(limit.most).map_or_else(full, |()| Ok(Held::Running))?,
            _ => {
                let counted = counter.take(self.amount, limit.most, self.window, now);
                counted.map_or_else(full, |spot| Ok(Held::Used(spot)))?
            }
        };
        Ok(self.level_of(counter, limit, now))
    }

    /// Undoes [`Place::take`] in the same moment.
    fn undo(&mut self, counters: &mut Counters<'_>) {
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        let Some(counter) = counters.get(self.key) else { return };
        match held {
            Held::Nothing => {}
            Held::Used(spot) => counter.undo(self.amount, spot),
            Held::Running => counter.leave(),
        }
    }

    fn level(&self, limit: &Limit, counters: &mut Counters<'_>, now: SystemTime) -> Level {
        match counters.get(self.key) {
            Some(counter) => self.level_of(counter, limit, now),
            None => Level::new(limit, limit.most, Default::default()),
        }
    }

    fn level_of(&self, counter: &mut Counter, limit: &Limit, now: SystemTime) -> Level {
        let (used, reset) = match self.measure {
            Measure::Concurrency => (counter.running.into(), Default::default()),
            _ => counter.level(self.window, now),
        };
        Level::new(limit, limit.most.saturating_sub(used), reset)
    }

    /// What is to be corrected, if anything is: how much it is instead.
    fn correction(&self, used: &Used) -> Option<u64> {
        used.of(self.measure).filter(|&actual| actual != self.amount)
    }

    fn correct(&self, counters: &mut Counters<'_>, actual: u64, now: SystemTime) {
        let Held::Used(spot) = self.held else { return };
        if actual < self.amount {
            if let Some(counter) = counters.get(self.key) {
                counter.give_back(self.amount - actual, spot, self.window, now);
            }
        } else if let Ok(counter) = counters.entry(self.key) {
            // It was forgotten if the call ran longer than the window. Where there is no room to know it again, this is lost.
            counter.add(actual - self.amount, self.window, now);
        }
    }
}

// ===== impl Places =====

impl Ticket for Places {
    fn leave(&mut self) {
        let Self { store, list } = self;
        let running = |place: &&Place| matches!(place.held, Held::Running);
        if !list.iter().any(|place| running(&place)) {
            return;
        }
        // No account is made, so the time does not matter.
        let mut counters = store.lock(list.iter().filter(running), SystemTime::UNIX_EPOCH);
        list.iter_mut().filter(|place| running(&&**place)).for_each(|place| place.undo(&mut counters));
    }

    fn settle(self: Box<Self>, used: Used, now: SystemTime) {
        let mut this = *self;
        let Self { store, list } = &mut this;
        let changes =
            |place: &&Place| matches!(place.held, Held::Running) || place.correction(&used).is_some();
        if !list.iter().any(|place| changes(&place)) {
            return;
        }
        let mut counters = store.lock(list.iter().filter(changes), now);
        for place in list {
            if let Held::Running = place.held {
                place.undo(&mut counters);
            } else if let Some(actual) = place.correction(&used) {
                place.correct(&mut counters, actual, now);
            }
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
