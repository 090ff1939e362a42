//! The leave to call a deployment.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use ziggurat_core::{Cause, Clock};

use crate::{
    health::{Cooldown, Role, SharedCooldowns},
    live::{Live, Sample},
    moment::Moment,
};

/// The leave to call a deployment, which counts as in flight until this is gone. Dropped before it was told how the call ended, it says
/// nothing of the deployment: the caller left.
#[must_use]
pub struct Permit {
    hold: Arc<Hold>,
    role: Role,
    /// The tokens that were counted ahead.
    counted: u64,
    told: bool,
}

/// What a permit keeps of a member of a group.
pub(crate) struct Hold {
    pub(crate) id: Arc<str>,
    pub(crate) live: Arc<Live>,
    pub(crate) cooldown: Cooldown,
    pub(crate) half_life: Duration,
    pub(crate) max_parallel: u64,
    pub(crate) shared: Option<(Arc<dyn SharedCooldowns>, Clock)>,
}

// ===== impl Permit =====

impl Permit {
    /// Says that the answer has begun, with its first content. If this was a trial, that was what it tried: others are let through, and
    /// the rest of the answer is like that of any other call.
    pub fn answered(&mut self, now: Instant) {
        if self.role != Role::Usual {
            self.hold.live.health.succeeded(self.role, Moment::of(now), &self.hold.cooldown);
            self.role = Role::Usual;
        }
    }

    /// Says that the call succeeded, and what that tells of the deployment.
    pub fn succeeded(mut self, sample: &Sample, now: Instant) {
        self.told = true;
        let (live, moment) = (&self.hold.live, Moment::of(now));
        live.health.succeeded(self.role, moment, &self.hold.cooldown);
        live.latency.add(sample, self.hold.half_life, moment);
        let more = sample.total_tokens.unwrap_or_default().saturating_sub(self.counted);
        live.usage.add(0, more, moment);
        live.succeeded();
    }

    /// Says that the call failed, and when the provider says that the same call may work. Returns for how long the deployment is left
    /// alone, if this is why.
    ///
    /// Not for what is no failure of the deployment: a refusal of our own within the attempt, or the end of a time that the caller set. For
    /// these, drop the permit.
    pub fn failed(mut self, cause: Cause, hint: Option<Duration>, now: Instant) -> Option<Duration> {
        self.told = true;
        let moment = Moment::of(now);
        let until = self.hold.live.health.failed(self.role, cause, hint, moment, &self.hold.cooldown);
        self.hold.live.failed(cause, now);
        let time = until?.since(moment);
        if let Some((shared, clock)) = &self.hold.shared {
            shared.tell(&self.hold.id, clock.now() + time);
        }
        Some(time)
    }

    /// The leave to call a member, or that to call it though it cools down; `None` where another took what there was.
    pub(crate) fn new(hold: &Arc<Hold>, anyway: bool, tokens: u64, now: Moment) -> Option<Self> {
        if !hold.live.begin(hold.max_parallel) {
            return None;
        }
        let role =
            if anyway { Some(hold.live.health.enter_anyway(now)) } else { hold.live.health.enter(now) };
        let Some(role) = role else {
            hold.live.end();
            return None;
        };
        hold.live.usage.add(1, tokens, now);
        Some(Self { hold: Arc::clone(hold), role, counted: tokens, told: false })
    }

    pub(crate) const fn is_last_resort(&self) -> bool {
        matches!(self.role, Role::LastResort(_))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.told {
            self.hold.live.health.left(self.role);
        }
        self.hold.live.end();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("deployment", &self.hold.id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_late_holds_nothing() {
        let (live, now) = (Arc::new(Live::new()), Moment::of(Instant::now()));
        let second = Duration::from_secs(1);
        live.health.cool_until(now.after(second), now);
        let hold = Arc::new(Hold {
            id: "one".into(),
            live: Arc::clone(&live),
            cooldown: Cooldown::default(),
            half_life: second,
            max_parallel: 1,
            shared: None,
        });
        assert!(Permit::new(&hold, false, 10, now).is_none());
        assert_eq!((live.in_flight(), live.figures(now).requests), (0, 0));
        let trial = Permit::new(&hold, false, 10, now.after(second));
        assert!(Permit::new(&hold, true, 10, now).is_none(), "there is room for one");
        assert_eq!((trial.is_some(), live.in_flight()), (true, 1));
    }
}
