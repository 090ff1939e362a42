//! The store in this process's memory: exact, sharded, bounded.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::SystemTime,
};

use ziggurat_core::{Limit, Locked, Measure, Shards};

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
    counters: Shards<Key, Counter>,
    hashers: [RandomState; 2],
}

/// A fingerprint of an account and of what is counted there.
type Key = u128;

type Counters<'a> = Locked<'a, Key, Counter>;

/// What a call was counted with.
struct Places {
    store: MemoryStore,
    list: Vec<Place>,
}

struct Place {
    key: Key,
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
        let hashers = [RandomState::new(), RandomState::new()];
        Self(Arc::new(Inner { counters: Shards::new(accounts), hashers }))
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

    fn place(&self, limit: &Limit, amount: u64) -> Place {
        let window = Window::new(limit.per);
        let told = (&*limit.account, limit.measure, window);
        let [high, low] = self.0.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(told)));
        Place { key: high << 64 | low, measure: limit.measure, window, amount, held: Held::Nothing }
    }

    fn lock<'p>(&self, places: impl IntoIterator<Item = &'p Place>, now: SystemTime) -> Counters<'_> {
        self.0.counters.lock(places.into_iter().map(|place| &place.key), now)
    }

    fn try_take(&self, asks: &[Ask], now: SystemTime) -> Result<(Quota, Vec<Place>), Refused> {
        let mut list: Vec<Place> = asks.iter().map(|ask| self.place(&ask.limit, ask.amount)).collect();
        let mut counters = self.lock(&list, now);
        let mut worst: Option<(Why, usize)> = None;
        for (at, (place, ask)) in list.iter_mut().zip(asks).enumerate() {
            // The rest is asked too: a wait must be long enough for all of them.
            if let Err(why) = place.take(&mut counters, ask.limit.most, now)
                && worst.is_none_or(|(longest, _)| why > longest)
            {
                worst = Some((why, at));
            }
        }
        if worst.is_some() {
            list.iter_mut().for_each(|place| place.undo(&mut counters));
        }
        let mut levels =
            list.iter().zip(asks).map(|(place, ask)| place.level(&ask.limit, &mut counters, now));
        let Some((why, at)) = worst else {
            return Ok((levels.collect(), list));
        };
        let Why::Full(full) = why else {
            return Err(Refused::Unavailable("as many accounts as it may keep are in use"));
        };
        let levels: Vec<Level> = levels.by_ref().collect();
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
    fn take(&self, asks: Vec<Ask>, now: SystemTime) -> Reply<Result<Taken, Refused>> {
        Reply::Ready(self.try_take(&asks, now).map(|(quota, list)| {
            let places = Places { store: self.clone(), list };
            Taken::new(quota, Box::new(places))
        }))
    }

    fn level(&self, limit: &Limit, now: SystemTime) -> Option<Level> {
        let place = self.place(limit, 0);
        let mut counters = self.lock([&place], now);
        Some(place.level(limit, &mut counters, now))
    }
}

// ===== impl Place =====

impl Place {
    fn take(&mut self, counters: &mut Counters<'_>, most: u64, now: SystemTime) -> Result<(), Why> {
        let counter = match counters.get(&self.key) {
            Some(counter) => counter,
            None => counters.entry(&self.key).map_err(|_| Why::NoAccount)?,
        };
        self.held = match self.measure {
            Measure::Concurrency => counter.enter(most).map(|()| Held::Running),
            _ => counter.take(self.amount, most, self.window, now).map(Held::Used),
        }
        .map_err(Why::Full)?;
        Ok(())
    }

    /// Undoes [`Place::take`] in the same moment.
    fn undo(&mut self, counters: &mut Counters<'_>) {
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        let Some(counter) = counters.get(&self.key) else { return };
        match held {
            Held::Nothing => {}
            Held::Used(spot) => counter.undo(self.amount, spot),
            Held::Running => counter.leave(),
        }
    }

    fn level(&self, limit: &Limit, counters: &mut Counters<'_>, now: SystemTime) -> Level {
        let (used, reset) = match (counters.get(&self.key), self.measure) {
            (None, _) => Default::default(),
            (Some(counter), Measure::Concurrency) => (counter.running.into(), Default::default()),
            (Some(counter), _) => counter.level(self.window, now),
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
            if let Some(counter) = counters.get(&self.key) {
                counter.give_back(self.amount - actual, spot, self.window, now);
            }
        } else if let Ok(counter) = counters.entry(&self.key) {
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

    fn settle(mut self: Box<Self>, used: Used, now: SystemTime) {
        self.leave();
        let Self { store, list } = &*self;
        let corrected = || list.iter().filter(|place| place.correction(&used).is_some());
        if corrected().next().is_none() {
            return;
        }
        let mut counters = store.lock(corrected(), now);
        for place in corrected() {
            if let Some(actual) = place.correction(&used) {
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
