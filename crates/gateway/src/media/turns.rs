//! Who may fetch, and who waits: so many calls at once, and of one caller fewer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use ziggurat_core::ScopeKind;

/// A caller, by the most specific of its ids.
pub(super) type Who = (ScopeKind, Arc<str>);

/// The turns of calls that fetch.
#[derive(Debug)]
pub(super) struct Turns {
    all: Semaphore,
    /// Of callers that fetch or wait, and of no others.
    callers: Mutex<HashMap<Who, Arc<Semaphore>>>,
}

/// A call's turn, which ends when it is dropped.
pub(super) struct Turn<'t> {
    _all: SemaphorePermit<'t>,
    // Given back before the caller is looked after.
    _own: Option<(OwnedSemaphorePermit, Caller<'t>)>,
}

/// One of a caller's calls that fetch or wait.
struct Caller<'t> {
    turns: &'t Turns,
    who: Who,
    own: Arc<Semaphore>,
}

// ===== impl Turns =====

impl Turns {
    pub(super) fn new() -> Self {
        Self { all: Semaphore::new(MAX_CALLS), callers: Mutex::default() }
    }

    /// Waits for a turn. Callers that nobody knows share all there are.
    pub(super) async fn take(&self, who: Option<Who>) -> Result<Turn<'_>, AcquireError> {
        let own = match who.map(|who| self.caller(who)) {
            Some(caller) => Some((Arc::clone(&caller.own).acquire_owned().await?, caller)),
            None => None,
        };
        Ok(Turn { _all: self.all.acquire().await?, _own: own })
    }

    fn caller(&self, who: Who) -> Caller<'_> {
        let of_caller = || Arc::new(Semaphore::new(MAX_OF_CALLER));
        let own = Arc::clone(self.callers().entry(who.clone()).or_insert_with(of_caller));
        Caller { turns: self, who, own }
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<Who, Arc<Semaphore>>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Caller =====

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut callers = self.turns.callers();
        // The list's and this one: they are only counted up under the lock.
        if Arc::strong_count(&self.own) == 2 {
            callers.remove(&self.who);
        }
    }
}

/// More wait for their turn, within their time.
const MAX_CALLS: usize = 32;
/// Of one caller.
const MAX_OF_CALLER: usize = 8;

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(it) => Some(it),
            Poll::Pending => None,
        }
    }

    fn who(id: &str) -> Option<Who> {
        Some((ScopeKind::Key, id.into()))
    }

    #[test]
    fn a_caller_has_a_quarter_of_all_turns_and_is_forgotten_with_its_last() {
        let turns = Turns::new();
        let take = |who| now(turns.take(who)).map(|turn| turn.expect("is open"));
        let mut held: Vec<_> = (0..8).map(|_| take(who("a")).expect("has a turn")).collect();
        assert!(take(who("a")).is_none());
        held.extend((0..24).map(|n| take(who(["b", "c", "d"][n % 3])).expect("has a turn")));
        assert!(take(who("e")).is_none() && take(None).is_none());
        assert_eq!(turns.callers().len(), 4);
        // Of those that waited and left nothing is left.
        held.truncate(8);
        assert_eq!(turns.callers().len(), 1);
        assert!(take(who("a")).is_none());
        held.pop();
        assert!(take(who("a")).is_some());
        drop(held);
        assert_eq!(turns.callers().len(), 0);
        let all: Vec<_> = (0..32).map(|_| take(None).expect("has a turn")).collect();
        assert!(take(None).is_none());
        drop(all);
    }
}
