//! What stores answered a moment ago: bounded by count, pure, told the time.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

/// How long answers of a store are used, how many are kept, and how long it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachePolicy {
    /// How long an answer is used without asking again: how late another node's change is seen at most. 5 s unless set.
    pub fresh: Duration,
    /// How long it is known that there is no such key. 3 s unless set.
    pub absent: Duration,
    /// How long after it was asked for a known key, or what is known of an end user, is used while the store is away. 60 s unless set.
    pub grace: Duration,
    /// How long the store is waited for, with the wait for a place among those who ask. 50 ms unless set.
    pub deadline: Duration,
    /// How many keys, and how many end users, are kept: at least the half of so many that were used last. 262,144 unless set.
    pub capacity: usize,
    /// How many that there are not are kept, likewise and apart. 65,536 unless set.
    pub absent_capacity: usize,
}

/// Answers by the hash of what was asked.
pub(crate) struct Cache<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    policy: CachePolicy,
    /// Whether it goes on to count, while the store is away, that something is not there.
    trusts_absence: bool,
}

/// What is known without asking.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known<V> {
    /// For sure.
    Fresh(Option<V>),
    /// If the store is away; `None` when it is not.
    Stale(Option<Option<V>>),
}

pub(crate) type Key = [u8; 32];

/// What a store said, or that it did not; shared by all who wait for it.
#[derive(Clone, Debug)]
pub(crate) enum Landed<V> {
    Answer(Option<V>),
    Away,
    /// Something changed since it was asked.
    Superseded,
}

pub(crate) type Waiting<V> = watch::Receiver<Option<Landed<V>>>;

struct Shard<V> {
    present: Generations<V>,
    absent: Generations<()>,
    /// Questions that the store has not answered yet: as many as callers wait for.
    flights: HashMap<Key, Flight<V>>,
    next_flight: u64,
}

struct Flight<V> {
    id: u64,
    waiting: Waiting<V>,
}

/// Entries by when they were used last, in two parts: when the younger is full, the older is forgotten.
struct Generations<V> {
    young: HashMap<Key, Entry<V>, Seed>,
    old: HashMap<Key, Entry<V>, Seed>,
    /// Most entries of a part.
    most: usize,
}

/// Hashes what is a hash already, and so spreads evenly: a secret of the process is mixed in, so that nobody can choose keys that meet in a
/// table.
#[derive(Clone, Copy)]
struct Seed(u64, u64);

struct Mixed {
    seed: Seed,
    hash: u64,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    /// When the store was asked: it may have changed since, even before it answered.
    asked: SystemTime,
}

// ===== impl CachePolicy =====

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(5),
            absent: Duration::from_secs(3),
            grace: Duration::from_secs(60),
            deadline: Duration::from_millis(50),
            capacity: 1 << 18,
            absent_capacity: 1 << 16,
        }
    }
}

// ===== impl Cache =====

impl<V: Clone> Cache<V> {
    pub(crate) fn new(policy: CachePolicy, trusts_absence: bool) -> Self {
        let shards = std::iter::repeat_with(|| Mutex::new(Shard::new(&policy))).take(SHARDS).collect();
        Self { shards, policy, trusts_absence }
    }

    /// What is known.
    pub(crate) fn known(&self, key: &Key, now: SystemTime) -> Known<V> {
        let mut shard = self.shard(key);
        // Both are looked at, whichever has it: what is there takes as long as what is not.
        let (present, absent) = (shard.present.get(key), shard.absent.get(key));
        drop(shard);
        let (value, asked, fresh) = match (present, absent) {
            (Some(entry), _) => (Some(entry.value), entry.asked, self.policy.fresh),
            (None, Some(entry)) => (None, entry.asked, self.policy.absent),
            (None, None) => return Known::Stale(None),
        };
        // What the clock says to be of the future is of no known age.
        let Ok(age) = now.duration_since(asked) else { return Known::Stale(None) };
        if age <= fresh {
            return Known::Fresh(value);
        }
        let usable = age <= self.policy.grace && (value.is_some() || self.trusts_absence);
        Known::Stale(usable.then_some(value))
    }

    /// Joins those who wait for an answer, or is the one to ask.
    pub(crate) fn join(&self, key: &Key, now: SystemTime) -> Result<Waiting<V>, Asking<'_, V>> {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.flights.get(key) {
            return Ok(flight.waiting.clone());
        }
        let (answer, waiting) = watch::channel(None);
        shard.next_flight += 1;
        let id = shard.next_flight;
        shard.flights.insert(*key, Flight { id, waiting });
        Err(Asking { cache: self, key: *key, id, asked: now, answer })
    }

    /// Knows a value that was not asked for here.
    #[cfg(feature = "jwt")]
    pub(crate) fn insert(&self, key: &Key, value: V, now: SystemTime) {
        self.shard(key).present.insert(*key, Entry { value, asked: now });
    }

    /// Forgets what is known; an answer to a question that was asked before does not bring it back.
    pub(crate) fn forget(&self, key: &Key) {
        self.shard(key).clear(key);
    }

    /// Forgets all that is known, likewise.
    pub(crate) fn forget_all(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.present.forget_all();
            shard.absent.forget_all();
            shard.flights.clear();
        }
    }

    /// Knows that it is not there; an answer to a question that was asked before does not bring it back.
    pub(crate) fn remove(&self, key: &Key, now: SystemTime) {
        let mut shard = self.shard(key);
        shard.clear(key);
        shard.absent.insert(*key, Entry { value: (), asked: now });
    }

    /// How many entries there are: present, absent, and questions.
    #[cfg(test)]
    fn len(&self) -> (usize, usize, usize) {
        let lengths = self.shards.iter().map(|shard| {
            let shard = shard.lock().expect("is sound");
            (shard.present.len(), shard.absent.len(), shard.flights.len())
        });
        lengths.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard<V>> {
        // What is held while it is locked does not panic half-way.
        self.shards[usize::from(key[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The one who asks, for all who wait: dropped, it leaves the asking to another of them.
pub(crate) struct Asking<'a, V: Clone> {
    cache: &'a Cache<V>,
    key: Key,
    id: u64,
    asked: SystemTime,
    answer: watch::Sender<Option<Landed<V>>>,
}

// ===== impl Asking =====

impl<V: Clone> Asking<'_, V> {
    /// Notes the answer, and tells it to those who wait; `None` when none came.
    pub(crate) fn land(self, answer: Option<Option<V>>) -> Landed<V> {
        let landed = self.note(answer);
        self.answer.send_replace(Some(landed.clone()));
        landed
    }

    fn note(&self, answer: Option<Option<V>>) -> Landed<V> {
        let mut shard = self.cache.shard(&self.key);
        if !shard.leave(&self.key, self.id) {
            return Landed::Superseded;
        }
        let Some(answer) = answer else { return Landed::Away };
        shard.clear(&self.key);
        match &answer {
            Some(value) => shard.present.insert(self.key, Entry { value: value.clone(), asked: self.asked }),
            None => shard.absent.insert(self.key, Entry { value: (), asked: self.asked }),
        }
        Landed::Answer(answer)
    }
}

impl<V: Clone> Drop for Asking<'_, V> {
    fn drop(&mut self) {
        self.cache.shard(&self.key).leave(&self.key, self.id);
    }
}

// ===== impl Shard =====

impl<V: Clone> Shard<V> {
    fn new(policy: &CachePolicy) -> Self {
        let seed = Seed::new();
        Self {
            present: Generations::new(policy.capacity, seed),
            absent: Generations::new(policy.absent_capacity, seed),
            flights: HashMap::new(),
            next_flight: 0,
        }
    }

    /// Ends a question; says whether it still counted.
    fn leave(&mut self, key: &Key, id: u64) -> bool {
        let counts = self.flights.get(key).is_some_and(|flight| flight.id == id);
        if counts {
            self.flights.remove(key);
        }
        counts
    }

    fn clear(&mut self, key: &Key) {
        self.present.remove(key);
        self.absent.remove(key);
        self.flights.remove(key);
    }
}

// ===== impl Generations =====

impl<V: Clone> Generations<V> {
    fn new(capacity: usize, seed: Seed) -> Self {
        let most = capacity.div_ceil(2 * SHARDS).max(1);
        Self { young: HashMap::with_hasher(seed), old: HashMap::with_hasher(seed), most }
    }

    fn get(&mut self, key: &Key) -> Option<Entry<V>> {
        if let Some(entry) = self.young.get(key) {
            return Some(entry.clone());
        }
        let entry = self.old.remove(key)?;
        self.insert(*key, entry.clone());
        Some(entry)
    }

    fn insert(&mut self, key: Key, entry: Entry<V>) {
        if self.young.len() >= self.most && !self.young.contains_key(&key) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn forget_all(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

// ===== impl Seed =====

impl Seed {
    fn new() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1) | 1)
    }
}

impl BuildHasher for Seed {
    type Hasher = Mixed;

    fn build_hasher(&self) -> Mixed {
        Mixed { seed: *self, hash: 0 }
    }
}

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(eight) = bytes.first_chunk() {
            self.write_u64(u64::from_le_bytes(*eight));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let Seed(secret, odd) = self.seed;
        let product = u128::from(self.hash ^ word ^ secret) * u128::from(odd);
        self.hash = (product >> 64) as u64 ^ product as u64;
    }

    /// The length, which is the same for all.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [7; 32];

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn cache(trusts_absence: bool) -> Cache<u32> {
        Cache::new(CachePolicy::default(), trusts_absence)
    }

    fn ask<'c>(cache: &'c Cache<u32>, key: &Key, now: SystemTime) -> Asking<'c, u32> {
        cache.join(key, now).expect_err("nobody else asks")
    }

    #[test]
    fn what_is_there_is_fresh_for_five_seconds_and_of_use_for_sixty() {
        let cache = cache(false);
        assert_eq!(cache.known(&KEY, at(0)), Known::Stale(None));
        ask(&cache, &KEY, at(0)).land(Some(Some(1)));
        assert_eq!(cache.known(&KEY, at(0)), Known::Fresh(Some(1)));
        assert_eq!(cache.known(&KEY, at(5)), Known::Fresh(Some(1)));
        let late = at(5) + Duration::from_nanos(1);
        assert_eq!(cache.known(&KEY, late), Known::Stale(Some(Some(1))));
        assert_eq!(cache.known(&KEY, at(60)), Known::Stale(Some(Some(1))));
        assert_eq!(cache.known(&KEY, at(61)), Known::Stale(None));
        // A clock that was set back says nothing of its age.
        assert_eq!(cache.known(&KEY, SystemTime::UNIX_EPOCH), Known::Stale(None));
        // No answer changes nothing.
        assert!(matches!(ask(&cache, &KEY, at(30)).land(None), Landed::Away));
        assert_eq!(cache.known(&KEY, at(30)), Known::Stale(Some(Some(1))));
    }

    #[test]
    fn all_is_forgotten_and_what_is_on_its_way_too() {
        let cache = cache(false);
        let (one, other) = ([1; 32], [2; 32]);
        ask(&cache, &one, at(0)).land(Some(Some(1)));
        let asking = ask(&cache, &other, at(0));
        cache.forget_all();
        assert!(matches!(asking.land(Some(Some(2))), Landed::Superseded));
        assert_eq!(cache.known(&one, at(0)), Known::Stale(None));
        assert_eq!(cache.known(&other, at(0)), Known::Stale(None));
        assert_eq!(cache.len(), (0, 0, 0));
    }

    #[test]
    fn what_is_not_there_is_fresh_for_three_seconds_and_then_of_use_to_who_trusts_it() {
        for trusts in [false, true] {
            let cache = cache(trusts);
            ask(&cache, &KEY, at(0)).land(Some(Some(1)));
            ask(&cache, &KEY, at(6)).land(Some(None));
            assert_eq!(cache.known(&KEY, at(9)), Known::Fresh(None));
            assert_eq!(cache.known(&KEY, at(10)), Known::Stale(trusts.then_some(None)));
            ask(&cache, &KEY, at(10)).land(Some(Some(2)));
            assert_eq!(cache.known(&KEY, at(10)), Known::Fresh(Some(2)));
            assert_eq!(cache.len(), (1, 0, 0));
        }
    }

    #[test]
    fn one_asks_for_all_and_who_leaves_leaves_it_to_another() {
        let cache = cache(false);
        let asking = ask(&cache, &KEY, at(0));
        let waiting = cache.join(&KEY, at(0)).ok().expect("somebody asks");
        let other = ask(&cache, &[8; 32], at(0));
        asking.land(Some(Some(1)));
        assert!(matches!(*waiting.borrow(), Some(Landed::Answer(Some(1)))));
        drop(other);
        assert_eq!(cache.len(), (1, 0, 0));
        let asking = ask(&cache, &KEY, at(6));
        let waiting = cache.join(&KEY, at(6)).ok().expect("somebody asks");
        drop(asking);
        assert!(waiting.has_changed().is_err() && waiting.borrow().is_none());
        assert!(matches!(ask(&cache, &KEY, at(6)).land(Some(None)), Landed::Answer(None)));
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_kept() {
        let cache = cache(false);
        for revoked in [false, true] {
            let before = ask(&cache, &KEY, at(0));
            if revoked {
                cache.remove(&KEY, at(1))
            } else {
                cache.forget(&KEY)
            }
            let known = || cache.known(&KEY, at(1));
            let expected = || if revoked { Known::Fresh(None) } else { Known::Stale(None) };
            assert_eq!(known(), expected());
            // Who asks from now on does not wait for the old answer, and that does not end the new question.
            let after = ask(&cache, &KEY, at(1));
            assert!(matches!(before.land(Some(Some(1))), Landed::Superseded));
            assert_eq!(known(), expected());
            assert!(cache.join(&KEY, at(1)).is_ok());
            assert!(matches!(after.land(Some(Some(2))), Landed::Answer(Some(2))));
            assert_eq!(known(), Known::Fresh(Some(2)));
            cache.forget(&KEY);
        }
    }

    #[test]
    fn each_part_is_bounded_and_keeps_what_is_used() {
        let mut policy = CachePolicy::default();
        (policy.capacity, policy.absent_capacity) = (SHARDS * 20, SHARDS * 10);
        let cache = Cache::<u32>::new(policy, false);
        let key = |number: u32| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            key.rotate_left(3);
            key
        };
        ask(&cache, &key(0), at(0)).land(Some(Some(0)));
        for number in 1..100_000 {
            let answer = (number % 2 == 0).then_some(number);
            ask(&cache, &key(number), at(0)).land(Some(answer));
            assert_eq!(cache.known(&key(0), at(0)), Known::Fresh(Some(0)));
        }
        let (present, absent, flights) = cache.len();
        assert!(present > SHARDS * 10 / 2 && present <= SHARDS * 20, "{present}");
        assert!(absent > SHARDS * 5 / 2 && absent <= SHARDS * 10, "{absent}");
        assert_eq!(flights, 0);
        assert_eq!(cache.known(&key(1), at(0)), Known::Stale(None));
        assert_eq!(cache.known(&key(99_998), at(0)), Known::Fresh(Some(99_998)));
        assert_eq!(cache.known(&key(99_999), at(0)), Known::Fresh(None));
    }
}
