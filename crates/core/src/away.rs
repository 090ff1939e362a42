//! Stores on other machines, which may be away.

#[cfg(feature = "remote")]
mod link;
#[cfg(feature = "remote")]
mod work;

use std::{
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

#[cfg(feature = "remote")]
pub use self::{
    link::{Link, Slot},
    work::Work,
};

/// What a store on another machine answers, sooner or later; [`Away`] when it does not.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Away>> + Send + 'a>>;

/// A store on another machine did not answer, or not as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away(String);

/// What happens to calls while the store on another machine is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnAway {
    /// They are refused.
    #[default]
    Deny,
    /// They go by this process's own share, which is what is left divided by so many nodes.
    Local(NonZeroU32),
    /// They pass, and are counted when the store is back.
    Allow,
}

/// Whether a store on another machine is there. One that failed several times in a row is not asked by callers again until a probe has
/// found it: nobody waits for what is known to be away.
#[derive(Debug)]
pub struct Presence {
    failures: AtomicU32,
    /// Milliseconds since the epoch when a probe is due; 0 while it is there.
    probe_at: AtomicU64,
}

// ===== impl Away =====

impl Away {
    /// Says why, for the log: no secret, and nothing that a caller sent.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Away {}

// ===== impl OnAway =====

/// As the configuration calls it.
impl fmt::Display for OnAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deny => "deny",
            Self::Local(_) => "local",
            Self::Allow => "allow",
        })
    }
}

// ===== impl Presence =====

impl Presence {
    /// There until it fails.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: AtomicU32::new(0), probe_at: AtomicU64::new(0) }
    }

    /// Whether callers ask it.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.probe_at.load(Ordering::Acquire) == 0
    }

    /// Notes an answer. Says whether it had been away: the moment to log that it is back.
    pub fn answered(&self) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        // Most answers find it there: they write nothing that others read.
        !self.is_here() && self.probe_at.swap(0, Ordering::AcqRel) != 0
    }

    /// Notes that it did not answer. Says whether it is away from now on: the moment to log why.
    pub fn failed(&self, now: SystemTime) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < FAILURES && self.is_here() {
            return false;
        }
        self.probe_at.swap(millis(now + PROBE_EVERY), Ordering::AcqRel) == 0
    }

    /// Whether this caller is to ask it: it is there, or the probe that is due falls to this one, and to no other until the next.
    #[must_use]
    pub fn may_ask(&self, now: SystemTime) -> bool {
        let at = self.probe_at.load(Ordering::Acquire);
        let next = millis(now + PROBE_EVERY);
        at == 0
            || millis(now) >= at
                && self.probe_at.compare_exchange(at, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether it is away and a probe is due.
    #[must_use]
    pub fn is_due(&self, now: SystemTime) -> bool {
        let at = self.probe_at.load(Ordering::Acquire);
        at != 0 && millis(now) >= at
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self::new()
    }
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Calls in a row that get no answer before the store counts as away.
const FAILURES: u32 = 3;

/// How often a store that is away is probed.
pub const PROBE_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn away_after_three_failures_and_back_after_an_answer() {
        let presence = Presence::new();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        assert!(!presence.failed(now) && !presence.failed(now));
        assert!(!presence.answered() && presence.is_here());
        assert!(!presence.failed(now) && !presence.failed(now));
        assert!(presence.failed(now));
        assert!(!presence.is_here() && !presence.is_due(now));
        assert!(presence.is_due(now + PROBE_EVERY));
        // Told once, however often it fails.
        assert!(!presence.failed(now + PROBE_EVERY));
        assert!(!presence.is_due(now + PROBE_EVERY));
        // One caller probes, and the next one half a second later.
        assert!(!presence.may_ask(now + PROBE_EVERY));
        assert!(presence.may_ask(now + 2 * PROBE_EVERY) && !presence.may_ask(now + 2 * PROBE_EVERY));
        assert!(presence.may_ask(now + 3 * PROBE_EVERY));
        assert!(presence.answered() && presence.may_ask(now) && presence.may_ask(now));
        assert!(!presence.failed(now) && !presence.failed(now) && presence.failed(now));
        assert!(presence.answered() && presence.is_here());
        assert!(!presence.answered());
    }
}
