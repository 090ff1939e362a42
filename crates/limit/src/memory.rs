//! The store in this process's memory: exact, sharded, bounded.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::SystemTime,
};

use smallvec::SmallVec;
use ziggurat_core::{Fingerprint, Fingerprints, Idle, Limit, Locked, Measure, Scope, Shards};

use crate::{
    Ask, Exceeded, Level, Quota, Refused, Reply, Store, Taken, Ticket, Used,
    window::{Counter, Full, Nanos, Spot, Window, nanos},
};

/// Counts in memory, for one process. Cheap to clone; clones share what they count.
///
/// Of a scope it keeps a fingerprint of 128 bits, made with random keys of its own, and no name: one that is known and idle takes 140 to
/// 180 bytes with one limit, and 72 for each more. One whose windows have all passed may be forgotten, and no other. When there is no
/// room for another, new ones are refused ([`Refused::Unavailable`]), which the layer answers with 503; those that are known go on.
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    scopes: Shards<Counters>,
    fingerprints: Fingerprints,
    names: RandomState,
}

type Scopes<'a> = Locked<'a, Counters>;

/// The counters of one scope, which are few.
#[derive(Default)]
struct Counters(Vec<(Name, Counter)>);

/// What stands for the rest of an account's name, and for what is counted there.
type Name = u64;

/// What a call was counted with.
struct Places {
    store: MemoryStore,
    list: List,
}

/// In place for as many as most calls have.
type List = SmallVec<[Place; 16]>;

struct Place {
    scope: Fingerprint,
    name: Name,
    measure: Measure,
    window: Window,
    amount: u64,
    /// How much it came to, once that is known to be something else.
    actual: u64,
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
    /// A store for a million scopes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(1_000_000)
    }

    /// A store for about so many scopes.
    #[must_use]
    pub fn with_capacity(scopes: usize) -> Self {
        Self(Arc::new(Inner {
            scopes: Shards::new(scopes),
            fingerprints: Fingerprints::new(),
            names: RandomState::new(),
        }))
    }

    /// How many scopes are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.scopes.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One place for each ask. Those of a scope beside each other share the work of its name, as those of one window do.
    fn places(&self, asks: &[Ask], list: &mut List) {
        let mut last: Option<(&Scope, Fingerprint)> = None;
        for (at, Ask { limit, amount }) in asks.iter().enumerate() {
            let scope = &limit.account.scope;
            let known =
                last.filter(|(known, _)| known.kind == scope.kind && Arc::ptr_eq(&known.id, &scope.id));
            let (_, key) = *last.insert(known.unwrap_or_else(|| (scope, self.0.fingerprints.of(scope))));
            let known = asks[..at].iter().position(|earlier| is_named_as(&earlier.limit, limit));
            let name = known.map_or_else(|| self.name(limit), |earlier| list[earlier].name);
            list.push(Place::new(key, name, limit, *amount));
        }
    }

    fn name(&self, limit: &Limit) -> Name {
        let account = &limit.account;
        self.0.names.hash_one((&account.models, &account.period, limit.measure, Window::new(limit.per)))
    }

    fn lock<'p>(&self, places: impl IntoIterator<Item = &'p Place>, now: SystemTime) -> Scopes<'_> {
        self.0.scopes.lock(places.into_iter().map(|place| place.scope), now)
    }

    fn try_take(&self, asks: &[Ask], now: SystemTime) -> Result<Taken, Refused> {
        // It is filled where it stays: it is not small.
        let mut places = Box::new(Places { store: self.clone(), list: List::new() });
        let list = &mut places.list;
        self.places(asks, list);
        let (mut scopes, at) = (self.lock(list.iter(), now), nanos(now));
        let mut quota = Quota::default();
        let mut worst: Option<(Why, usize)> = None;
        let mut next = 0;
        for of_scope in list.chunk_by_mut(|one, other| one.scope == other.scope) {
            let scope = of_scope[0].scope;
            let mut counters = match scopes.get(scope) {
                Some(counters) => Some(counters),
                None => scopes.entry(scope).ok(),
            };
            for (place, ask) in of_scope.iter_mut().zip(&asks[next..]) {
                let taken = match &mut counters {
                    Some(counters) => place.take(counters, &ask.limit, at),
                    None => Err(Why::NoAccount),
                };
                // The rest is asked too: a wait must be long enough for all of them.
                match taken {
                    Ok(level) => quota.note(level),
                    Err(why) if worst.is_none_or(|(longest, _)| why > longest) => worst = Some((why, next)),
                    Err(_) => {}
                }
                next += 1;
            }
        }
        let Some((why, which)) = worst else {
            drop(scopes);
            return Ok(Taken::new(quota, places));
        };
        list.iter_mut().for_each(|place| place.undo(&mut scopes));
        let Why::Full(full) = why else {
            return Err(Refused::Unavailable("as many scopes as it may keep are in use"));
        };
        let levels: Vec<Level> =
            list.iter().zip(asks).map(|(place, ask)| place.level(&ask.limit, &mut scopes, at)).collect();
        let retry_after = match full {
            Full::For(wait) => Some(wait),
            Full::Ever => None,
        };
        let exceeded = Exceeded::new(levels[which], retry_after, levels.into_iter().collect());
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
        Reply::Ready(self.try_take(asks, now))
    }

    fn level(&self, limit: &Limit, now: SystemTime) -> Option<Level> {
        let place = Place::new(self.0.fingerprints.of(&limit.account.scope), self.name(limit), limit, 0);
        let mut scopes = self.lock([&place], now);
        Some(place.level(limit, &mut scopes, nanos(now)))
    }
}

// ===== impl Counters =====

impl Counters {
    fn get(&mut self, name: Name) -> Option<&mut Counter> {
        self.0.iter_mut().find(|(known, _)| *known == name).map(|(_, counter)| counter)
    }

    /// The counter of that name, made when there is none: in the place of those that are idle, as of limits that were changed.
    fn entry(&mut self, name: Name, now: Nanos) -> &mut Counter {
        let at = self.0.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.0.retain(|(_, counter)| !counter.is_idle(now));
            self.0.reserve_exact(1);
            self.0.push((name, Counter::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl Idle for Counters {
    fn is_idle(&self, now: SystemTime) -> bool {
        let now = nanos(now);
        self.0.iter().all(|(_, counter)| counter.is_idle(now))
    }
}

// ===== impl Place =====

impl Place {
    fn new(scope: Fingerprint, name: Name, limit: &Limit, amount: u64) -> Self {
        let window = Window::new(limit.per);
        Self { scope, name, measure: limit.measure, window, amount, actual: amount, held: Held::Nothing }
    }

    /// Counts it where it fits, and tells where the limit stands then.
    fn take(&mut self, counters: &mut Counters, limit: &Limit, now: Nanos) -> Result<Level, Why> {
        let counter = counters.entry(self.name, now);
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
    fn undo(&mut self, scopes: &mut Scopes<'_>) {
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        let Some(counter) = self.counter(scopes) else { return };
        match held {
            Held::Nothing => {}
            Held::Used(spot) => counter.undo(self.amount, spot),
            Held::Running => counter.leave(),
        }
    }

    fn counter<'a>(&self, scopes: &'a mut Scopes<'_>) -> Option<&'a mut Counter> {
        scopes.get(self.scope)?.get(self.name)
    }

    fn level(&self, limit: &Limit, scopes: &mut Scopes<'_>, now: Nanos) -> Level {
        match self.counter(scopes) {
            Some(counter) => {
                counter.advance(self.window, now);
                self.level_of(counter, limit, now)
            }
            None => Level::new(limit, limit.most, Default::default()),
        }
    }

    fn level_of(&self, counter: &Counter, limit: &Limit, now: Nanos) -> Level {
        let (used, reset) = match self.measure {
            Measure::Concurrency => (counter.running.into(), Default::default()),
            _ => counter.level(self.window, now),
        };
        Level::new(limit, limit.most.saturating_sub(used), reset)
    }

    /// Counts what was used in the place of what was estimated.
    fn correct(&self, counters: &mut Counters, spot: Spot, now: Nanos) {
        if self.actual < self.amount {
            if let Some(counter) = counters.get(self.name) {
                counter.give_back(self.amount - self.actual, spot, self.window, now);
            }
        } else {
            // It was forgotten if the call ran longer than the window.
            counters.entry(self.name, now).add(self.actual - self.amount, self.window, now);
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
        // No scope is made, so the time does not matter.
        let mut scopes = store.lock(list.iter().filter(running), SystemTime::UNIX_EPOCH);
        list.iter_mut().filter(|place| running(&&**place)).for_each(|place| place.undo(&mut scopes));
    }

    fn settle(mut self: Box<Self>, used: Used, now: SystemTime) {
        let Self { store, list } = &mut *self;
        for place in list.iter_mut().filter(|place| matches!(place.held, Held::Used(_))) {
            match used.of(place.measure) {
                Some(actual) if actual != place.amount => place.actual = actual,
                // It stays as it is counted.
                _ => place.held = Held::Nothing,
            }
        }
        let changes = |place: &&Place| !matches!(place.held, Held::Nothing);
        if !list.iter().any(|place| changes(&place)) {
            return;
        }
        let (mut scopes, at) = (store.lock(list.iter().filter(changes), now), nanos(now));
        for of_scope in list.chunk_by_mut(|one, other| one.scope == other.scope) {
            if !of_scope.iter().any(|place| changes(&place)) {
                continue;
            }
            let scope = of_scope[0].scope;
            let counters = match scopes.get(scope) {
                Some(counters) => counters,
                None => match scopes.entry(scope) {
                    Ok(counters) => counters,
                    // Where there is no room to know a scope again that was forgotten, what it used is lost.
                    Err(_) => continue,
                },
            };
            for place in of_scope {
                match std::mem::replace(&mut place.held, Held::Nothing) {
                    Held::Nothing => {}
                    Held::Running => counters.entry(place.name, at).leave(),
                    Held::Used(spot) => place.correct(counters, spot, at),
                }
            }
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether two limits have what a [`Name`] stands for in common.
fn is_named_as(one: &Limit, other: &Limit) -> bool {
    let (account, of_other) = (&one.account, &other.account);
    one.measure == other.measure
        && one.per == other.per
        && account.period == of_other.period
        && account.models == of_other.models
}

#[cfg(test)]
mod tests;
