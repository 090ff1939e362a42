//! Answers in the memory of the process.

use std::{fmt, sync::Arc};

use quick_cache::{OptionsBuilder, Weighter, sync::Cache};
use ziggurat_core::Reply;

use crate::{Entry, Key, Store};

/// Keeps answers in memory, so many bytes of them at most. Which ones go when it is full is decided by how often and how recently they were
/// asked for (S3-FIFO).
#[derive(Clone)]
pub struct MemoryStore(Arc<Cache<Key, Arc<Entry>, Weight>>);

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Arc<Entry>> for Weight {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        entry.weight() as u64
    }
}

/// A usual answer takes about so many bytes: a guess from which room is made, no bound.
const USUAL_BYTES: u64 = 4 << 10;

const SHARDS: usize = 8;

// ===== impl MemoryStore =====

impl MemoryStore {
    /// A store of at most `bytes`; what is larger than an eighth of that is not kept.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX).min(1 << 16))
            .weight_capacity(bytes)
            .shards(SHARDS)
            .build()
            .expect("invariant: all that is required is set");
        Self(Arc::new(Cache::with_options(options, Weight, Default::default(), Default::default())))
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }

    /// How many answers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &Key) -> Reply<Option<Arc<Entry>>> {
        Reply::Ready(self.0.get(key))
    }

    fn put(&self, key: Key, entry: Arc<Entry>) {
        self.0.insert(key, entry);
    }

    fn remove(&self, key: &Key) -> Reply<bool> {
        Reply::Ready(self.0.remove(key).is_some())
    }

    fn clear(&self) -> Reply<bool> {
        self.0.clear();
        Reply::Ready(true)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}
