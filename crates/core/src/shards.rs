//! The state of many keys, several of which change at once.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    time::SystemTime,
};

#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};

use smallvec::SmallVec;

use crate::Fingerprint;

/// A bounded map in shards, in which the values of several keys are seen and changed as one: the shards of all of them are locked
/// together, always in the same order. Keys are fingerprints: their bits are the hash.
///
/// A value that is idle, and says by that that forgetting it changes nothing, is evicted when room is looked for; no other ever is.
pub struct Shards<V> {
    shards: Box<[Mutex<Shard<V>>]>,
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

struct Shard<V> {
    map: HashMap<Fingerprint, V, BuildHasherDefault<Bits>>,
    /// How many keys there are when idle ones are next looked for: twice as many as were left the last time.
    sweep_at: usize,
    /// New keys that were asked for since then, whether there was room for them or not.
    asked: usize,
}

/// The hash of what is one.
#[derive(Default)]
struct Bits(u64);

/// The shards of some keys, locked until this is dropped.
pub struct Locked<'a, V> {
    /// A bit for each shard that is locked.
    wanted: u16,
    /// In the order of the shards.
    guards: SmallVec<[MutexGuard<'a, Shard<V>>; 8]>,
    most: usize,
    now: SystemTime,
}

// ===== impl Shards =====

impl<V: Idle + Default> Shards<V> {
    /// A map of at most about `most` keys.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let shard = || Mutex::new(Shard { map: HashMap::default(), sweep_at: FIRST_SWEEP, asked: 0 });
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            most: most.div_ceil(SHARDS).max(1),
        }
    }

    /// Locks all of these keys at once.
    pub fn lock(&self, keys: impl IntoIterator<Item = Fingerprint>, now: SystemTime) -> Locked<'_, V> {
        let wanted = keys.into_iter().fold(0, |wanted, key| wanted | 1_u16 << (key.spread() % SHARDS));
        // From the first to the last, so that no two callers wait for each other.
        let mut guards = SmallVec::new();
        let mut rest = wanted;
        while rest != 0 {
            guards.push(self.guard(rest.trailing_zeros() as usize));
            rest &= rest - 1;
        }
        Locked { wanted, guards, most: self.most, now }
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
    pub fn for_each(&self, mut look: impl FnMut(Fingerprint, &mut V)) {
        for at in 0..SHARDS {
            self.guard(at).map.iter_mut().for_each(|(key, value)| look(*key, value));
        }
    }

    fn guard(&self, at: usize) -> MutexGuard<'_, Shard<V>> {
        // What is held while it is locked does not panic half-way.
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> fmt::Debug for Shards<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}

// ===== impl Locked =====

impl<V: Idle + Default> Locked<'_, V> {
    /// The value of a key, if it has one.
    ///
    /// # Panics
    /// When the key is not among those that were locked.
    #[must_use]
    pub fn get(&mut self, key: Fingerprint) -> Option<&mut V> {
        self.shard(key).map.get_mut(&key)
    }

    /// The value of a key, made when there is none.
    ///
    /// # Errors
    /// [`Full`] when there is no room for another.
    ///
    /// # Panics
    /// When the key is not among those that were locked.
    pub fn entry(&mut self, key: Fingerprint) -> Result<&mut V, Full> {
        let (most, now) = (self.most, self.now);
        let shard = self.shard(key);
        if !shard.map.contains_key(&key) {
            shard.make_room(most, now)?;
        }
        Ok(shard.map.entry(key).or_default())
    }

    fn shard(&mut self, key: Fingerprint) -> &mut Shard<V> {
        let bit = 1_u16 << (key.spread() % SHARDS);
        assert!(self.wanted & bit != 0, "invariant: only keys that were locked are asked for");
        &mut self.guards[(self.wanted & (bit - 1)).count_ones() as usize]
    }
}

impl<V> fmt::Debug for Locked<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").finish_non_exhaustive()
    }
}

// ===== impl Shard =====

impl<V: Idle> Shard<V> {
    /// Sees to it that there is room for another key.
    fn make_room(&mut self, most: usize, now: SystemTime) -> Result<(), Full> {
        self.asked += 1;
        let keys = self.map.len();
        // A search looks at every key: who asks for new ones pays for it with a few looks each, full or not.
        if keys >= self.sweep_at.min(most) && self.asked >= keys / LOOKS {
            self.map.retain(|_, value| !value.is_idle(now));
            self.sweep_at = (self.map.len() * 2).max(FIRST_SWEEP);
            self.asked = 0;
        }
        if self.map.len() < most { Ok(()) } else { Err(Full) }
    }
}

// ===== impl Bits =====

impl Hasher for Bits {
    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }

    fn write(&mut self, bytes: &[u8]) {
        // No key of ours comes here.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for another key")
    }
}

impl std::error::Error for Full {}

/// As many as there are bits of which to lock.
const SHARDS: usize = u16::BITS as usize;

/// Keys that are looked at for each new one that is asked for, at most.
const LOOKS: usize = 8;

/// Keys a shard may hold before idle ones are looked for at all.
const FIRST_SWEEP: usize = 64;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Fingerprints;

    #[derive(Default)]
    struct Count(u64);

    impl Idle for Count {
        fn is_idle(&self, _: SystemTime) -> bool {
            self.0 == 0
        }
    }

    /// Idle from then on.
    #[derive(Default)]
    struct Until(Option<SystemTime>);

    impl Idle for Until {
        fn is_idle(&self, now: SystemTime) -> bool {
            self.0.is_some_and(|until| now >= until)
        }
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn keys(count: u32) -> Vec<Fingerprint> {
        let all = Fingerprints::new();
        (0..count).map(|name| all.of(name)).collect()
    }

    #[test]
    fn idle_keys_make_room_and_others_stay() {
        let map = Shards::<Count>::new(SHARDS * 100);
        for key in keys(100_000) {
            map.lock([key], NOW).entry(key).expect("idle ones make room").0 = 0;
        }
        assert!(map.len() <= SHARDS * 100, "{}", map.len());
        let map = Shards::<Count>::new(SHARDS * 100);
        let kept = keys(100_000).into_iter().filter(|key| match map.lock([*key], NOW).entry(*key) {
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
    fn a_full_map_makes_room_whatever_the_clock_shows() {
        let map = Shards::<Until>::new(SHARDS * 100);
        let later = NOW + Duration::from_secs(1_000_000);
        let mut names = keys(100_000).into_iter();
        let mut fill = |now, until| {
            let mut made = 0;
            for key in names.by_ref().take(SHARDS * 200) {
                if let Ok(value) = map.lock([key], now).entry(key) {
                    value.0 = Some(until);
                    made += 1;
                }
            }
            made
        };
        assert_eq!(fill(later, later + Duration::from_secs(1)), SHARDS * 100);
        // Set far back: what becomes idle by that clock makes room, here in the same moment and over again.
        map.for_each(|_, value| value.0 = Some(NOW));
        for _ in 0..3 {
            assert!(fill(NOW, NOW) >= SHARDS * 200 - SHARDS * 100 / LOOKS);
        }
    }

    #[test]
    fn a_search_is_paid_for_by_those_who_ask() {
        #[derive(Default)]
        struct Looked(std::cell::Cell<u64>);
        impl Idle for Looked {
            fn is_idle(&self, _: SystemTime) -> bool {
                self.0.set(self.0.get() + 1);
                false
            }
        }
        let (most, asked) = (SHARDS * 1000, 100_000);
        let map = Shards::<Looked>::new(most);
        for key in keys(asked) {
            let _full = map.lock([key], NOW).entry(key);
        }
        let mut looks = 0;
        map.for_each(|_, looked| looks += looked.0.get());
        assert!(looks > 0 && looks <= u64::from(asked) * (LOOKS as u64 + 1), "{looks}");
    }

    #[test]
    fn keys_are_changed_together_from_many_threads() {
        let map = Shards::<Count>::new(1000);
        let names = keys(100);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (map, names) = (&map, &names);
                scope.spawn(move || {
                    for turn in 0..1000 {
                        let keys = [thread, (thread + turn) % 7, 99, (turn * 3) % 11].map(|at| names[at]);
                        let mut locked = map.lock(keys, NOW);
                        let before = locked.get(names[99]).map_or(0, |count| count.0);
                        for key in keys {
                            locked.entry(key).expect("has room").0 += 1;
                        }
                        let times = keys.iter().filter(|key| **key == names[99]).count() as u64;
                        assert_eq!(locked.get(names[99]).map(|count| count.0), Some(before + times));
                    }
                });
            }
        });
        let mut total = 0;
        map.for_each(|_, count| total += count.0);
        assert_eq!(total, 4 * 4 * 1000);
        assert_eq!(map.lock([names[99]], NOW).get(names[99]).map(|count| count.0), Some(4000));
    }
}
