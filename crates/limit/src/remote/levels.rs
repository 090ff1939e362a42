//! Where limits stood when the machine last said so.

use std::time::{Duration, SystemTime};

use smallvec::SmallVec;
use ziggurat_core::{Fingerprint, Fingerprints, Idle, Limit, Measure, Shards};

use crate::{Ask, Level};

/// Where limits stood, by limit.
pub(super) struct Levels {
    fingerprints: Fingerprints,
    shards: Shards<Said>,
}

#[derive(Default)]
struct Said {
    remaining: u64,
    /// When all of it is there again.
    full_at: Option<SystemTime>,
}

// ===== impl Levels =====

impl Levels {
    pub(super) fn new() -> Self {
        Self { fingerprints: Fingerprints::new(), shards: Shards::new(LIMITS) }
    }

    /// Takes note of what the machine said. One more than there is room for is not noted.
    pub(super) fn note(&self, asks: &[Ask], levels: &[Level], now: SystemTime) {
        let keys: SmallVec<[Fingerprint; 8]> = asks.iter().map(|ask| self.key(&ask.limit)).collect();
        let mut locked = self.shards.lock(keys.iter().copied(), now);
        for (key, level) in keys.iter().zip(levels) {
            if let Ok(said) = locked.entry(*key) {
                *said = Said { remaining: level.remaining, full_at: now.checked_add(level.reset) };
            }
        }
    }

    pub(super) fn of(&self, limit: &Limit, now: SystemTime) -> Option<Level> {
        let key = self.key(limit);
        let mut locked = self.shards.lock([key], now);
        let said = locked.get(key)?;
        let reset = said.full_at.and_then(|at| at.duration_since(now).ok()).unwrap_or_default();
        let is_full = reset.is_zero() && limit.measure != Measure::Concurrency;
        Some(Level::new(limit, if is_full { limit.most } else { said.remaining }, reset))
    }

    fn key(&self, limit: &Limit) -> Fingerprint {
        self.fingerprints.of((&limit.account, limit.measure, limit.per))
    }
}

impl Idle for Said {
    fn is_idle(&self, now: SystemTime) -> bool {
        self.full_at.is_none_or(|at| now.duration_since(at).is_ok_and(|past| past > KEPT))
    }
}

/// Limits whose level is known.
const LIMITS: usize = 100_000;

/// How long the level of a limit is known of which all is there.
const KEPT: Duration = Duration::from_secs(60);
