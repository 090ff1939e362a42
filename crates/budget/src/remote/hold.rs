//! One reservation, from before it is asked for until it is settled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ziggurat_core::{Budget, Slot, Usd};

use super::{Backend, Settlement, store::Inner};
use crate::{Charge, Claim, Flags, Held, Hold, HoldId, Refused, Reply};

/// A settlement on its way.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) settlement: Settlement,
    /// How much of the charge this process has given out of its own share.
    pub(super) of_share: Usd,
}

/// A reservation that is asked for. Dropped, it is released: the machine may have made it, or make it yet.
pub(super) struct Asking<B: Backend> {
    inner: Arc<Inner<B>>,
    claim: Claim,
    slot: Option<Slot<Queued>>,
    sent: bool,
}

/// A reservation that was made.
struct RemoteHold<B: Backend> {
    open: Arc<Open<B>>,
    slot: Slot<Queued>,
}

/// A reservation that only counts, when there is no place for it: a call that nothing refuses is not refused for the sake of counting. What
/// it came to is summed up with that of others.
pub(super) struct Summed<B: Backend> {
    inner: Arc<Inner<B>>,
    budgets: Arc<[Budget]>,
    /// `None` when it has ended.
    held: Mutex<Option<Usd>>,
}

/// What its extensions share with it: they may outlive it.
pub(super) struct Open<B: Backend> {
    inner: Arc<Inner<B>>,
    id: HoldId,
    call: HoldId,
    budgets: Arc<[Budget]>,
    amounts: Mutex<Amounts>,
}

#[derive(Clone, Copy)]
pub(super) struct Amounts {
    held: Usd,
    /// How much of that is of this process's own share.
    of_share: Usd,
    /// Whether this process alone has made it, and the machine was not told since.
    own: bool,
    ended: bool,
}

// ===== impl Asking =====

impl<B: Backend> Asking<B> {
    pub(super) fn new(inner: &Arc<Inner<B>>, claim: Claim, slot: Slot<Queued>) -> Self {
        Self { inner: Arc::clone(inner), claim, slot: Some(slot), sent: false }
    }

    pub(super) const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Is asked for now: from here on the machine may make it.
    pub(super) fn sent(&mut self) -> Claim {
        self.sent = true;
        self.claim.clone()
    }

    /// Was not made.
    pub(super) fn refused(&mut self) {
        self.slot = None;
    }

    /// Was made, by the machine or by this process alone.
    pub(super) fn held(mut self, amount: Usd, of_share: Usd, own: bool) -> Held {
        let Claim { id, call, budgets, .. } = self.claim.clone();
        let slot = self.slot.take().expect("invariant: a reservation is made or refused, once");
        self.inner.open().insert(id);
        let amounts = Mutex::new(Amounts { held: amount, of_share, own, ended: false });
        let inner = Arc::clone(&self.inner);
        let open = Arc::new(Open { inner, id, call, budgets, amounts });
        if own {
            open.inner.untold().insert(id, Arc::downgrade(&open));
        }
        Held { amount, hold: Box::new(RemoteHold { open, slot }) }
    }
}

impl<B: Backend> Drop for Asking<B> {
    fn drop(&mut self) {
        if let (Some(slot), true) = (&mut self.slot, self.sent) {
            let Claim { id, call, budgets, .. } = &self.claim;
            let at = self.inner.link.clock().now();
            let settlement = Settlement::new(*id, *call, Arc::clone(budgets), Charge::new(Usd::ZERO), at);
            slot.put(Queued { settlement, of_share: Usd::ZERO });
        }
    }
}

// ===== impl RemoteHold =====

impl<B: Backend> RemoteHold<B> {
    /// Ends it, once, with the charge for what was held.
    fn end(&mut self, charge: impl FnOnce(Usd) -> Charge) {
        let Open { inner, id, call, budgets, .. } = &*self.open;
        let mut amounts = self.open.amounts();
        if std::mem::replace(&mut amounts.ended, true) {
            return;
        }
        let (held, set_aside) = (amounts.held, amounts.of_share);
        drop(amounts);
        let charge = charge(held);
        let mut of_share = Usd::ZERO;
        if !set_aside.is_zero() {
            // What the machine has set aside is used first.
            of_share = charge.amount.saturating_sub(held.saturating_sub(set_aside));
            inner.known.settle(budgets, set_aside, of_share, inner.link.clock().now());
        }
        inner.open().remove(id);
        inner.untold().remove(id);
        let at = inner.link.clock().now();
        let settlement = Settlement::new(*id, *call, Arc::clone(budgets), charge, at);
        self.slot.put(Queued { settlement, of_share });
    }
}

impl<B: Backend> Hold for RemoteHold<B> {
    fn extend(&self, least: Usd, most: Usd) -> Reply<Result<Usd, Refused>> {
        if self.open.amounts().own || !self.open.inner.link.is_here() {
            return Reply::Ready(self.open.extend_away(least, most));
        }
        let open = Arc::clone(&self.open);
        Reply::Later(Box::pin(async move { open.extend(least, most).await }))
    }

    fn settle(mut self: Box<Self>, charge: Charge) {
        self.end(|_| charge);
    }
}

impl<B: Backend> Drop for RemoteHold<B> {
    fn drop(&mut self) {
        self.end(|held| Charge::of(held, Flags { unreconciled: true, ..Flags::default() }));
    }
}

// ===== impl Summed =====

impl<B: Backend> Summed<B> {
    pub(super) fn new(inner: &Arc<Inner<B>>, budgets: Arc<[Budget]>, held: Usd) -> Self {
        Self { inner: Arc::clone(inner), budgets, held: Mutex::new(Some(held)) }
    }

    fn held(&self) -> MutexGuard<'_, Option<Usd>> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> Hold for Summed<B> {
    fn extend(&self, _least: Usd, most: Usd) -> Reply<Result<Usd, Refused>> {
        if let Some(held) = &mut *self.held() {
            *held += most;
        }
        Reply::Ready(Ok(most))
    }

    fn settle(self: Box<Self>, charge: Charge) {
        *self.held() = None;
        self.inner.overflow.add(&self.budgets, charge);
    }
}

impl<B: Backend> Drop for Summed<B> {
    fn drop(&mut self) {
        let held = self.held().take();
        if let Some(held) = held {
            let flags = Flags { unreconciled: true, ..Flags::default() };
            self.inner.overflow.add(&self.budgets, Charge::of(held, flags));
        }
    }
}

// ===== impl Open =====

impl<B: Backend> Open<B> {
    async fn extend(self: &Arc<Self>, least: Usd, most: Usd) -> Result<Usd, Refused> {
        let Self { inner, budgets, .. } = &**self;
        let claim = Claim::new(self.id, self.call, Arc::clone(budgets), least, most);
        let asked = async {
            // First what it was not told of this hold: else one that is told at the same time might make up for that with this.
            if inner.untold().contains_key(&self.id) {
                let (claim, then) = self.to_adopt();
                inner.backend.adopt(&[claim], inner.hold_ttl).await?;
                self.adopted(then);
            }
            inner.backend.extend(&claim, inner.hold_ttl).await
        };
        match inner.link.ask(asked).await {
            Ok(Ok(granted)) => {
                inner.known.note(budgets, &granted.balances, inner.link.clock().now());
                self.amounts().held += granted.amount;
                Ok(granted.amount)
            }
            Ok(Err(refused)) => {
                inner.note_refusal(budgets, &refused);
                Err(refused)
            }
            // It may have been set aside there all the same: it ends with the hold.
            Err(_) => self.extend_away(least, most),
        }
    }

    /// Extends it by the policy.
    fn extend_away(self: &Arc<Self>, least: Usd, most: Usd) -> Result<Usd, Refused> {
        let mut amounts = self.amounts();
        if amounts.ended {
            return Err(Refused::Unavailable("the reservation was settled"));
        }
        let (more, of_share) = self.inner.away(&self.budgets, least, most)?;
        amounts.held += more;
        if of_share {
            amounts.of_share += more;
        }
        self.inner.untold().insert(self.id, Arc::downgrade(self));
        Ok(more)
    }

    /// What the machine is to hold.
    pub(super) fn to_adopt(&self) -> (Claim, Amounts) {
        let amounts = *self.amounts();
        let claim = Claim::new(self.id, self.call, Arc::clone(&self.budgets), amounts.held, amounts.held);
        (claim, amounts)
    }

    /// Takes note that the machine holds what was set aside by then.
    pub(super) fn adopted(&self, then: Amounts) {
        let Self { inner, id, budgets, .. } = self;
        let mut amounts = self.amounts();
        // It has ended: what it came to is on its way.
        if amounts.ended {
            return;
        }
        amounts.own = false;
        amounts.of_share = amounts.of_share.saturating_sub(then.of_share);
        if amounts.held == then.held {
            inner.untold().remove(id);
        }
        if !then.of_share.is_zero() {
            inner.known.adopted(budgets, then.of_share, inner.link.clock().now());
        }
    }

    fn amounts(&self) -> MutexGuard<'_, Amounts> {
        // Nothing panics while it is held.
        self.amounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
