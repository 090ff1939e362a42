//! Marks of who makes a call, so that no other node makes it too.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    iter,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use ziggurat_cache::{Claim, Held, Key};
use ziggurat_core::Away;

use super::{Item, Shared};
use crate::script::{Call, script};

/// The marks that are this node's, by their tokens.
pub(super) type Open = HashMap<u128, Key>;

/// A mark: on which call, and whose, as a number that no other claim has.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) key: Key,
    pub(super) token: u128,
}

/// A mark that may be this node's, and is given back.
struct Guard {
    shared: Arc<Shared>,
    mark: Mark,
    /// Whether it may be there.
    asked: bool,
}

script!(CLAIM = "claim.lua");
script!(RENEW = "renew.lua");
script!(RELEASE = "release.lua");

/// Marks a call as this node's, unless another's is there.
pub(super) async fn claim(shared: Arc<Shared>, key: Key) -> Claim {
    let chance = || u128::from(RandomState::new().hash_one(()));
    let mark = Mark { key, token: chance() << 64 | chance() };
    let mut call = shared.call(&CLAIM, &mark);
    call.arg(millis(shared.lease));
    // Who leaves, or is not answered in time, may have marked it nevertheless.
    let mut guard = Guard { shared: Arc::clone(&shared), mark, asked: true };
    let answer = shared.link.ask(call.send::<[u8; 16]>(&shared.redis.link)).await;
    let Some(owner) = shared.heard(answer).map(u128::from_be_bytes) else { return Claim::NotAsked };
    if owner != mark.token {
        guard.asked = false;
        return Claim::Theirs(owner);
    }
    shared.marks().insert(mark.token, key);
    Claim::Ours(Held::new(guard))
}

// ===== impl Shared =====

impl Shared {
    pub(super) fn marks(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn renew_mark(&self, mark: &Mark) -> Result<(), Away> {
        self.call(&RENEW, mark).arg(millis(self.lease)).send(&self.redis.link).await
    }

    pub(super) async fn release(&self, mark: &Mark) -> Result<(), Away> {
        self.call(&RELEASE, mark).send(&self.redis.link).await
    }

    fn call(&self, script: &'static crate::script::Script, mark: &Mark) -> Call {
        let mut call = script.call(iter::once(self.redis.names.mark(&mark.key)));
        call.arg(&mark.token.to_be_bytes());
        call
    }
}

// ===== impl Guard =====

impl Drop for Guard {
    fn drop(&mut self) {
        if self.asked {
            self.shared.marks().remove(&self.mark.token);
            // Where there is no room for it, its lease ends it.
            let _queued = self.shared.queue(Item::Release(self.mark));
        }
    }
}

/// At least one, which the server asks for.
fn millis(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).map_or(super::MOST_MILLIS, |millis| millis.clamp(1, super::MOST_MILLIS))
}
