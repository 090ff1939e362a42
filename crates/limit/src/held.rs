//! What a running call holds, from its admission to its end.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use ziggurat_core::{Attempt, Clock, Decision, Meter, Subscriber, Target};

use crate::{
    Ticket,
    estimate::{self, Answered},
};

/// The ticket of a call until it is settled: by the call's end, or where the call has an owner further out, by the end of the body.
pub(crate) struct Held {
    ticket: Mutex<Option<Box<dyn Ticket>>>,
    /// Estimated input tokens.
    input: u64,
    /// Of the one attempt that it is for, if it is for one.
    target: Option<Target>,
    clock: Clock,
    /// How many attempts were on record before the first that is made in here.
    earlier: OnceLock<usize>,
    answered: Mutex<Answered>,
}

/// Settles a [`Held`] where the body ends, if its attempts were made and recorded in here; else frees its places.
pub(crate) struct InBody {
    held: Arc<Held>,
    meter: Meter,
}

// ===== impl Held =====

impl Held {
    pub(crate) fn new(ticket: Box<dyn Ticket>, input: u64, target: Option<Target>, clock: Clock) -> Self {
        Self {
            ticket: Mutex::new(Some(ticket)),
            input,
            target,
            clock,
            earlier: OnceLock::new(),
            answered: Mutex::new(Answered::Somehow),
        }
    }

    /// Notes how the service inside answered.
    pub(crate) fn answered(&self, how: Answered) {
        *lock(&self.answered) = how;
    }

    /// The attempts that were made in here. Where several run side by side, a target tells them apart.
    fn own<'a>(&'a self, attempts: &'a [Attempt]) -> impl Iterator<Item = &'a Attempt> + Clone {
        let since = attempts.get(self.earlier.get().copied().unwrap_or(0)..).unwrap_or_default();
        let of_target = |attempt: &Attempt| match (&attempt.target, &self.target) {
            (Some(theirs), Some(ours)) => theirs.deployment() == ours.deployment(),
            _ => false,
        };
        let all = !since.iter().any(of_target);
        since.iter().filter(move |attempt| all || of_target(attempt))
    }

    fn settle<'a>(&self, own: &(impl Iterator<Item = &'a Attempt> + Clone)) {
        let Some(ticket) = lock(&self.ticket).take() else { return };
        let used = estimate::used(own, self.input, *lock(&self.answered));
        ticket.settle(used, self.clock.now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscriber for Held {
    fn before_attempt(&self, _target: Option<&Target>, earlier: &[Attempt]) -> Decision {
        self.earlier.get_or_init(|| earlier.len());
        Decision::Go
    }

    fn on_end(&self, attempts: &[Attempt]) {
        self.settle(&self.own(attempts));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

// ===== impl InBody =====

impl InBody {
    pub(crate) fn new(held: &Arc<Held>, meter: &Meter) -> Self {
        Self { held: Arc::clone(held), meter: meter.clone() }
    }
}

impl Drop for InBody {
    fn drop(&mut self) {
        let attempts = self.meter.attempts();
        let own = self.held.own(&attempts);
        if self.held.earlier.get().is_some() && own.clone().next().is_some() {
            self.held.settle(&own);
        } else if let Some(ticket) = &mut *lock(&self.held.ticket) {
            // Whoever reads the answer stands further out, and knows what it came to when the call ends.
            ticket.leave();
        }
    }
}
