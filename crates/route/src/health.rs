//! Whether a deployment may be called: a circuit breaker that is closed, cooling down, or half open.

mod cooldown;

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use ziggurat_core::Cause;

pub use self::cooldown::{Cooldown, FailureRate};
use crate::{moment::Moment, retry::Kind, window::Slices};

/// Tells other nodes of a deployment that cools down.
///
/// What they tell comes in through [`Deployment::cool_until`](crate::Deployment::cool_until).
pub trait SharedCooldowns: Send + Sync + 'static {
    /// Says that the deployment of this id is left alone until then. Must not block: it is called on a call's path.
    fn tell(&self, deployment: &str, until: SystemTime);
}

/// Whether a deployment may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It may.
    Healthy,
    /// It is left alone for so long.
    Cooling(Duration),
    /// It has cooled down, and the next call tries it.
    Cooled,
    /// It has cooled down, and one call tries it now.
    Trial,
}

/// As what a call was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// There was nothing against it.
    Usual,
    /// It tries whether the deployment is well again: the only one, until its episode is over.
    Trial(u64),
    /// There was nothing better, though it cools down.
    LastResort(u64),
}

/// The health of one deployment.
pub(crate) struct Health {
    /// [`CLOSED`], [`TRIAL`], or the moment until which it cools down. Written under the lock; read without.
    gate: AtomicU64,
    /// Elsewhere, as it is not looked at to choose: what is, is side by side.
    record: Box<Mutex<Record>>,
}

struct Record {
    consecutive: u32,
    /// How often in a row it was sent to cool down.
    ejections: u32,
    /// Tells one cooling down, or one trial, from another: who was let through in an earlier one has no say in this.
    episode: u64,
    /// Until when the provider itself asked to be left alone: the number of a moment.
    hinted: u64,
    /// Calls, and how many of them failed.
    rate: Slices<2>,
    /// Failures of a minute, by their kind.
    failures: Slices<{ Kind::ALL.len() }>,
}

const CLOSED: u64 = 0;
const TRIAL: u64 = u64::MAX;
/// A moment that is over.
const LONG_AGO: u64 = 1;
const MINUTE: Duration = Duration::from_secs(60);

// ===== impl Health =====

impl Health {
    pub(crate) fn new() -> Self {
        let record = Record {
            consecutive: 0,
            ejections: 0,
            episode: 0,
            hinted: 0,
            rate: Slices::new(),
            failures: Slices::new(),
        };
        Self { gate: AtomicU64::new(CLOSED), record: Box::new(Mutex::new(record)) }
    }

    /// Whether a call would be let through, as the usual one or as the trial.
    pub(crate) fn can_call(&self, now: Moment) -> bool {
        match self.gate.load(Ordering::Acquire) {
            CLOSED => true,
            TRIAL => false,
            until => until <= now.number(),
        }
    }

    /// Lets a call through, if one may be made.
    pub(crate) fn enter(&self, now: Moment) -> Option<Role> {
        if self.gate.load(Ordering::Acquire) == CLOSED {
            return Some(Role::Usual);
        }
        let mut record = self.record();
        match self.gate.load(Ordering::Acquire) {
            CLOSED => Some(Role::Usual),
            TRIAL => None,
            until if until > now.number() => None,
            _ => {
                record.episode += 1;
                self.gate.store(TRIAL, Ordering::Release);
                Some(Role::Trial(record.episode))
            }
        }
    }

    /// Lets a call through whatever its state is.
    pub(crate) fn enter_anyway(&self, now: Moment) -> Role {
        self.enter(now).unwrap_or_else(|| Role::LastResort(self.record().episode))
    }

    /// When it may be called again, as a sort key: the soonest first, those that are being tried last.
    pub(crate) fn returns(&self) -> u64 {
        self.gate.load(Ordering::Acquire)
    }

    pub(crate) fn state(&self, now: Moment) -> State {
        match self.gate.load(Ordering::Acquire) {
            CLOSED => State::Healthy,
            TRIAL => State::Trial,
            until if until <= now.number() => State::Cooled,
            until => State::Cooling(Moment::stored(until).since(now)),
        }
    }

    /// Counts a success. The trial's, or that of a last resort, ends the cooling down and forgives what was before.
    pub(crate) fn succeeded(&self, role: Role, now: Moment, cooldown: &Cooldown) {
        let mut record = self.record();
        match role {
            Role::Trial(episode) | Role::LastResort(episode) if episode == record.episode => {
                self.close(&mut record);
            }
            // Who began before the cooling down has no say in when it ends.
            _ if self.gate.load(Ordering::Acquire) == CLOSED => {
                record.consecutive = 0;
                record.called(now, cooldown, 0);
            }
            _ => {}
        }
    }

    /// Counts a failure, if its cause is of those that count; until when it cools down, if that is why it does.
    pub(crate) fn failed(
        &self,
        role: Role,
        cause: Cause,
        hint: Option<Duration>,
        now: Moment,
        cooldown: &Cooldown,
    ) -> Option<Moment> {
        if !cooldown.counts(cause) {
            self.left(role);
            return None;
        }
        let mut record = self.record();
        let gate = self.gate.load(Ordering::Acquire);
        let hint = hint.filter(|hint| !hint.is_zero()).map(|hint| hint.min(cooldown.hint_max));
        if let Some(hint) = hint {
            record.hinted = record.hinted.max(now.after(hint).number());
        }
        let time = match role {
            Role::Trial(episode) if episode == record.episode => {
                // Whatever follows, even if it does not cool down at all by its settings, this trial is over.
                self.gate.store(LONG_AGO, Ordering::Release);
                record.ejections = record.ejections.saturating_add(1);
                hint.unwrap_or_else(|| cooldown.time(record.ejections))
            }
            _ if gate == CLOSED => {
                let ejected = record.failed(cause, now, cooldown);
                match hint {
                    Some(hint) => hint,
                    None if ejected => {
                        record.ejections = record.ejections.saturating_add(1);
                        cooldown.time(record.ejections)
                    }
                    None => return None,
                }
            }
            // It cools down already; only the provider itself can make that longer.
            _ => hint?,
        };
        self.cool(&mut record, now.after(time), now)
    }

    /// Says that a call was let through and left before its answer told anything.
    pub(crate) fn left(&self, role: Role) {
        let Role::Trial(episode) = role else { return };
        let record = self.record();
        if episode == record.episode && self.gate.load(Ordering::Acquire) == TRIAL {
            self.gate.store(LONG_AGO, Ordering::Release);
        }
    }

    /// Cools down until then, if it does not for longer already.
    pub(crate) fn cool_until(&self, until: Moment, now: Moment) {
        let mut record = self.record();
        self.cool(&mut record, until, now);
    }

    /// Whether the provider itself asked to be left alone until later.
    pub(crate) fn is_hinted(&self, now: Moment) -> bool {
        self.record().hinted > now.number()
    }

    /// Ends the cooling down.
    pub(crate) fn recovered(&self) {
        let mut record = self.record();
        self.close(&mut record);
    }

    fn cool(&self, record: &mut Record, until: Moment, now: Moment) -> Option<Moment> {
        let longer = match self.gate.load(Ordering::Acquire) {
            CLOSED | TRIAL => until > now,
            before => until.number() > before && until > now,
        };
        if !longer {
            return None;
        }
        record.episode += 1;
        record.forget();
        self.gate.store(until.number(), Ordering::Release);
        Some(until)
    }

    fn close(&self, record: &mut Record) {
        record.episode += 1;
        record.ejections = 0;
        record.hinted = 0;
        record.forget();
        self.gate.store(CLOSED, Ordering::Release);
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("gate", &self.gate).finish_non_exhaustive()
    }
}

// ===== impl Record =====

impl Record {
    /// Counts a failure; whether it is one too many.
    fn failed(&mut self, cause: Cause, now: Moment, cooldown: &Cooldown) -> bool {
        self.consecutive = self.consecutive.saturating_add(1);
        let consecutive = cooldown.consecutive.is_some_and(|most| self.consecutive >= most.max(1));
        let rate = self.called(now, cooldown, 1);
        cause == Cause::Quota || consecutive || rate || self.over_allowed(cause, now, cooldown)
    }

    /// Counts a call, and its failures; whether too many of the last calls failed.
    fn called(&mut self, now: Moment, cooldown: &Cooldown, failures: u64) -> bool {
        let Some(FailureRate { percent, min_calls, window }) = cooldown.rate else { return false };
        let slice = Slices::<2>::slice(now, window);
        self.rate.add(slice, [1, failures]);
        let (_, [calls, failed]) = self.rate.sums(slice);
        failures > 0 && calls >= u64::from(min_calls) && failed * 100 >= calls * u64::from(percent)
    }

    /// Counts a failure of the minute, where those are limited; whether it is over the limit.
    fn over_allowed(&mut self, cause: Cause, now: Moment, cooldown: &Cooldown) -> bool {
        let for_kind = cooldown.allowed_by_kind.get(cause);
        if for_kind.is_none() && cooldown.allowed.is_none() {
            return false;
        }
        let (kind, slice) = (Kind::of(cause) as usize, Slices::<2>::slice(now, MINUTE));
        let mut one = [0; Kind::ALL.len()];
        one[kind] = 1;
        self.failures.add(slice, one);
        let (_, failures) = self.failures.sums(slice);
        match for_kind {
            Some(most) => failures[kind] > u64::from(most),
            None => cooldown.allowed.is_some_and(|most| failures.iter().sum::<u64>() > u64::from(most)),
        }
    }

    const fn forget(&mut self) {
        self.consecutive = 0;
        self.rate.clear();
        self.failures.clear();
    }
}

#[cfg(test)]
mod tests;
