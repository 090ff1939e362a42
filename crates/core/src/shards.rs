//! The state of many keys, several of which change at once.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    time::{Duration, SystemTime},
};

#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};

/// A bounded map in shards, in which the values of several keys are seen and changed as one: the shards of all of them are locked
/// together, always in the same order.
///
/// A value that is idle, and says by that that forgetting it changes nothing, is evicted when room is looked for; no other ever is.
pub struct Shards<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    hasher: RandomState,
    /// Most keys a shard holds.
    most: usize,
}

/// State that may be forgotten.
pub trait Idle {
    /// Whether nothing would change if it were forgotten.
    fn is_idle(&self, now: SystemTime) -> bool;
}

/// The map is full, and nothing in it is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Full;

struct Shard<K, V> {
    map: HashMap<K, V>,
    /// How many keys there are when idle ones are next looked for: twice as many as were left the last time.
    sweep_at: usize,
    /// When a full shard may look for idle keys again: it costs a look at every key.
    rested_at: SystemTime,
}

/// The shards of some keys, locked until this is dropped.
pub struct Locked<'a, K, V> {
    guards: [Option<MutexGuard<'a, Shard<K, V>>>; SHARDS],
    map: &'a Shards<K, V>,
    now: SystemTime,
}

// ===== impl Shards =====

impl<K: Hash + Eq + Clone, V: Idle + Default> Shards<K, V> {
    /// A map of at most about `most` keys.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                map: HashMap::new(),
                sweep_at: FIRST_SWEEP,
                rested_at: SystemTime::UNIX_EPOCH,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
            most: most.div_ceil(SHARDS).max(1),
        }
    }

    /// Locks all of these keys at once.
    pub fn lock<'k>(&self, keys: impl IntoIterator<Item = &'k K>, now: SystemTime) -> Locked<'_, K, V>
    where
        K: 'k,
    {
        let mut wanted = [false; SHARDS];
        for key in keys {
            wanted[self.shard_of(key)] = true;
        }
        // From the first to the last, so that no two callers wait for each other.
        let guards = std::array::from_fn(|at| wanted[at].then(|| self.guard(at)));
        Locked { guards, map: self, now }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|at| self.guard(at).map.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows each key and its value, one shard after the other: not one moment's picture.
    pub fn for_each(&self, mut look: impl FnMut(&K, &mut V)) {
        for at in 0..SHARDS {
            self.guard(at).map.iter_mut().for_each(|(key, value)| look(key, value));
        }
    }

    fn shard_of(&self, key: &K) -> usize {
        // The map uses the low bits of its own hash; this one has its own keys.
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }

    fn guard(&self, at: usize) -> MutexGuard<'_, Shard<K, V>> {
        // What is held while it is locked does not panic half-way.
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> fmt::Debug for Shards<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}

// ===== impl Locked =====

impl<K: Hash + Eq + Clone, V: Idle + Default> Locked<'_, K, V> {
    /// The value of a key, if it has one.
    ///
    /// # Panics
    /// When the key is not among those that were locked.
    #[must_use]
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        self.shard(key).map.get_mut(key)
    }

    /// The value of a key, made when there is none.
    ///
    /// # Errors
    /// [`Full`] when there is no room for another.
    ///
    /// # Panics
    /// When the key is not among those that were locked.
    pub fn entry(&mut self, key: &K) -> Result<&mut V, Full> {
        let (most, now) = (self.map.most, self.now);
        let shard = self.shard(key);
        if !shard.map.contains_key(key) {
            let full = shard.map.len() >= most;
            if (full && now >= shard.rested_at) || (!full && shard.map.len() >= shard.sweep_at) {
                shard.map.retain(|_, value| !value.is_idle(now));
                shard.sweep_at = (shard.map.len() * 2).max(FIRST_SWEEP);
                shard.rested_at = now + REST;
            }
            if shard.map.len() >= most {
                return Err(Full);
            }
        }
        Ok(shard.map.entry(key.clone()).or_default())
    }

    fn shard(&mut self, key: &K) -> &mut Shard<K, V> {
        let at = self.map.shard_of(key);
        self.guards[at].as_mut().expect("invariant: only keys that were locked are asked for")
    }
}

impl<K, V> fmt::Debug for Locked<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for another key")
    }
}

impl std::error::Error for Full {}

const SHARDS: usize = 16;

/// Between two searches of a full shard.
const REST: Duration = Duration::from_secs(1);

/// Keys a shard may hold before idle ones are looked for at all.
const FIRST_SWEEP: usize = 64;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(u64);

    impl Idle for Count {
        fn is_idle(&self, _: SystemTime) -> bool {
            self.0 == 0
        }
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn idle_keys_make_room_and_others_stay() {
        let map = Shards::<u32, Count>::new(SHARDS * 100);
        for key in 0..100_000 {
            map.lock([&key], NOW).entry(&key).expect("idle ones make room").0 = 0;
        }
        assert!(map.len() <= SHARDS * 100, "{}", map.len());
        let map = Shards::<u32, Count>::new(SHARDS * 100);
        let kept = (0..100_000).filter(|key| match map.lock([key], NOW).entry(key) {
            Ok(count) => {
                count.0 = 1;
                true
            }
            Err(Full) => false,
        });
        assert_eq!(kept.count(), SHARDS * 100);
        let mut seen = 0;
        map.for_each(|_, count| seen += count.0);
        assert_eq!(seen, SHARDS as u64 * 100);
    }

    #[test]
    fn keys_are_changed_together_from_many_threads() {
        let map = Shards::<u32, Count>::new(1000);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let map = &map;
                scope.spawn(move || {
                    for turn in 0..1000 {
                        let keys = [thread, (thread + turn) % 7, 99, (turn * 3) % 11];
                        let mut locked = map.lock(&keys, NOW);
                        let before = locked.get(&99).map_or(0, |count| count.0);
                        for key in &keys {
                            locked.entry(key).expect("has room").0 += 1;
                        }
                        let times = keys.iter().filter(|key| **key == 99).count() as u64;
                        assert_eq!(locked.get(&99).map(|count| count.0), Some(before + times));
                    }
                });
            }
        });
        let mut total = 0;
        map.for_each(|_, count| total += count.0);
        assert_eq!(total, 4 * 4 * 1000);
        assert_eq!(map.lock([&99], NOW).get(&99).map(|count| count.0), Some(4000));
    }
}
