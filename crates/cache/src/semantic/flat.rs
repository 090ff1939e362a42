//! An index in memory that looks at every question of a partition.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    ops::Range,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use ziggurat_core::Reply;

use super::{
    Index, Similar, Vector,
    codes::{Codes, Query},
};
use crate::Key;

/// Keeps vectors in memory, so many bytes of them at most, and compares a question with each of its partition: it finds the nearest, always.
///
/// A number is kept in two bytes. A score differs from the cosine by less than 0.001 with up to 1,024 dimensions, and as a rule by less than
/// 0.00001. When it is full, what was put first goes first.
pub struct FlatIndex {
    state: RwLock<State>,
    most: usize,
    most_of_one: usize,
}

struct State {
    partitions: HashMap<Key, Partition>,
    /// What was put, the oldest first; some of it is gone since.
    order: VecDeque<(Key, u64)>,
    bytes: usize,
    entries: usize,
    next: u64,
}

struct Partition {
    slots: Vec<Slot>,
    codes: Codes,
}

struct Slot {
    key: Key,
    expires: SystemTime,
    /// Its number in the order of all.
    number: u64,
}

/// What a question takes beside its vector: its slot, and its place in the order.
const OVERHEAD: usize = 160;

// ===== impl FlatIndex =====

impl FlatIndex {
    /// An index of at most `bytes`, of which a partition has an eighth at most.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let state =
            State { partitions: HashMap::new(), order: VecDeque::new(), bytes: 0, entries: 0, next: 0 };
        Self { state: RwLock::new(state), most: bytes, most_of_one: bytes / 8 }
    }

    /// Sets how many bytes a partition has at most: what a search takes grows with them, by 0.03 to 0.08 ms a megabyte.
    #[must_use]
    pub fn partition(mut self, bytes: usize) -> Self {
        self.most_of_one = bytes;
        self
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.read().bytes
    }

    /// How many questions are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().entries
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for FlatIndex {
    fn search(&self, partition: &Key, vector: &Vector, min: f32, now: SystemTime) -> Reply<Option<Similar>> {
        let state = self.read();
        Reply::Ready(state.partitions.get(partition).and_then(|partition| partition.search(vector, min, now)))
    }

    fn put(&self, partition: Key, key: Key, vector: &Vector, lives: Range<SystemTime>) {
        let size = size_of_one(vector.as_slice().len());
        if size > self.most.min(self.most_of_one) {
            return;
        }
        let mut state = self.write();
        state.make_room(partition, key, vector, lives.start, self.most_of_one / size);
        while state.bytes + size > self.most && state.drop_oldest() {}
        state.put(partition, key, vector, lives.end);
    }

    fn remove(&self, partition: &Key, key: &Key) -> Reply<bool> {
        Reply::Ready(self.write().remove(partition, |slot| slot.key == *key))
    }
}

impl fmt::Debug for FlatIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatIndex").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

const fn size_of_one(dimensions: usize) -> usize {
    2 * dimensions + OVERHEAD
}

// ===== impl State =====

impl State {
    /// Removes of a partition what is not to be there beside what comes: what has expired, what was under its key, all that has another
    /// number of dimensions, and the oldest of what is too many.
    fn make_room(&mut self, name: Key, key: Key, vector: &Vector, now: SystemTime, most: usize) {
        let Some(partition) = self.partitions.get(&name) else { return };
        let is_other = partition.codes.dimensions() != vector.as_slice().len();
        while self.remove(&name, |slot| is_other || slot.key == key || slot.expires <= now) {}
        while let Some(partition) = self.partitions.get(&name).filter(|one| one.slots.len() >= most) {
            let oldest = partition.slots.iter().map(|slot| slot.number).min();
            self.remove(&name, |slot| Some(slot.number) == oldest);
        }
    }

    fn put(&mut self, name: Key, key: Key, vector: &Vector, expires: SystemTime) {
        let dimensions = vector.as_slice().len();
        let number = self.next;
        self.next += 1;
        let partition = self
            .partitions
            .entry(name)
            .or_insert_with(|| Partition { slots: Vec::new(), codes: Codes::new(dimensions) });
        partition.slots.push(Slot { key, expires, number });
        partition.codes.push(vector.as_slice());
        self.order.push_back((name, number));
        self.bytes += size_of_one(dimensions);
        self.entries += 1;
        if self.order.len() > 2 * self.entries + 64 {
            self.forget_gone();
        }
    }

    /// Removes the first that is meant; whether there was one.
    fn remove(&mut self, name: &Key, is_meant: impl Fn(&Slot) -> bool) -> bool {
        let Some(partition) = self.partitions.get_mut(name) else { return false };
        let Some(at) = partition.slots.iter().position(is_meant) else { return false };
        partition.slots.swap_remove(at);
        partition.codes.swap_remove(at);
        self.bytes -= size_of_one(partition.codes.dimensions());
        self.entries -= 1;
        if partition.slots.is_empty() {
            self.partitions.remove(name);
        }
        true
    }

    /// Removes what was put first; whether there was anything.
    fn drop_oldest(&mut self) -> bool {
        while let Some((name, number)) = self.order.pop_front() {
            if self.remove(&name, |slot| slot.number == number) {
                return true;
            }
        }
        false
    }

    /// Takes out of the order what is gone.
    fn forget_gone(&mut self) {
        let mut live: Vec<(Key, u64)> = self
            .partitions
            .iter()
            .flat_map(|(name, partition)| partition.slots.iter().map(|slot| (*name, slot.number)))
            .collect();
        live.sort_unstable_by_key(|(_, number)| *number);
        self.order = live.into();
    }
}

// ===== impl Partition =====

impl Partition {
    fn search(&self, vector: &Vector, min: f32, now: SystemTime) -> Option<Similar> {
        if vector.as_slice().len() != self.codes.dimensions() {
            return None;
        }
        let query = Query::new(vector.as_slice());
        let (mut bar, mut best) = (min, None);
        for (at, slot) in self.slots.iter().enumerate() {
            let Some(score) = self.codes.score(at, &query, bar) else { continue };
            if now < slot.expires && (best.is_none() || score > bar) {
                (bar, best) = (score, Some(slot.key));
            }
        }
        best.map(|key| Similar { key, score: bar.min(1.0) })
    }
}
