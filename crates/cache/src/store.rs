//! Where answers are kept.

use std::{fmt, sync::Arc, time::Duration};

use ziggurat_core::Reply;

use crate::{Entry, Key};

/// Keeps answers by their keys.
///
/// A store that is away has nothing: what it cannot find is a miss, what it cannot keep is lost, and neither is an error of a call. It does not
/// judge what it holds: whether an entry still counts is asked by whoever reads it.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The answer under a key.
    fn get(&self, key: &Key) -> Reply<Option<Arc<Entry>>>;

    /// Keeps an answer, in place of one that is there. Must not block: what goes elsewhere is handed to an owner of its own.
    fn put(&self, key: Key, entry: Arc<Entry>);

    /// Forgets an answer; whether there was one, where that is known.
    fn remove(&self, key: &Key) -> Reply<bool>;

    /// Forgets all answers that it has now; whether it has done so.
    fn clear(&self) -> Reply<bool>;

    /// Whether it can be reached.
    fn ping(&self) -> Reply<bool> {
        Reply::Ready(true)
    }

    /// How long a layer waits for it, unless that is told. A store that bounds this itself says more than its own bound: who is not waited for
    /// to the end does not find out that it is away.
    fn patience(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// Asks who makes a call of which no answer is kept. A store of one process need not know: there, calls under way are shared anyhow.
    fn claim(&self, key: &Key) -> Reply<Claim> {
        let _ = key;
        Reply::Ready(Claim::NotAsked)
    }
}

/// Who makes a call that several nodes are asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Claim {
    /// This node, and others wait while this is held.
    Ours(Held),
    /// Another, which this number tells from all others. Its answer is kept when it is there; when there is none, it may be claimed again.
    Theirs(u128),
    /// Nobody knows: each makes its own.
    NotAsked,
}

/// A claim that is given back when this is dropped.
pub struct Held {
    _guard: Box<dyn Send + Sync>,
}

// ===== impl Held =====

impl Held {
    /// Holds what gives it back when it is dropped.
    #[must_use]
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

// ===== impl Store =====

impl<T: Store + ?Sized> Store for Arc<T> {
    fn get(&self, key: &Key) -> Reply<Option<Arc<Entry>>> {
        (**self).get(key)
    }

    fn put(&self, key: Key, entry: Arc<Entry>) {
        (**self).put(key, entry);
    }

    fn remove(&self, key: &Key) -> Reply<bool> {
        (**self).remove(key)
    }

    fn clear(&self) -> Reply<bool> {
        (**self).clear()
    }

    fn ping(&self) -> Reply<bool> {
        (**self).ping()
    }

    fn patience(&self) -> Duration {
        (**self).patience()
    }

    fn claim(&self, key: &Key) -> Reply<Claim> {
        (**self).claim(key)
    }
}
