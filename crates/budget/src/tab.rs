//! The money of one call, from its reservation to its settlement.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use smallvec::SmallVec;
use ziggurat_core::{
    Account, Attempt, Budget, Cause, Decision, Outcome, Patience, Plan, Rejection, Subscriber, Target, Usd,
};

use crate::{
    Charge, Claim, Flags, Held, HoldId, Refused, Unpriced,
    estimate::{Estimate, Output, STEP},
    layer::Config,
    refusal::rejection,
};

/// Follows a call on its meter: sets more aside as it needs it, stops it when there is no more, and settles.
pub(crate) struct Tab {
    /// For answers that are waited for.
    this: Weak<Self>,
    config: Arc<Config>,
    estimate: Estimate,
    call: HoldId,
    patience: Option<Patience>,
    /// Whether a budget applies.
    bounded: bool,
    /// The principal's budgets that depend on the target; `None` when the target was known before, and they are the call's.
    by_target: Option<Vec<Budget>>,
    plan: Option<Plan>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is set aside, and for which of the attempts.
    parts: Parts,
    /// Whether the call is over: what is set aside for it from now on is free again.
    ended: bool,
    /// What earlier attempts of the call came to.
    earlier: Usd,
    /// What the attempt that runs had produced when it was last looked at, in bytes of content.
    seen: u64,
    /// The most of that at once.
    largest: u64,
    /// The attempt that runs, when it was last looked at; of an answer in one piece.
    last: Option<Attempt>,
}

/// In place for as many as most calls have.
pub(crate) type Parts = SmallVec<[Part; 1]>;

/// What is set aside for some attempts of a call.
pub(crate) struct Part {
    /// For which.
    pub(crate) of: Of,
    pub(crate) held: Held,
    /// What those of them that are over came to.
    earlier: Usd,
}

/// Attempts of a call.
pub(crate) enum Of {
    /// All.
    Call,
    /// Those at the model that the call names, and at others that this account is for.
    Named(Account),
    /// One at a deployment, and how many were made there before.
    Deployment(String, usize),
}

/// What is to be set aside beside what is: the least that helps, and the most that is of use.
#[derive(Clone, Copy)]
struct Growth {
    least: Usd,
    most: Usd,
}

/// By the place of the part.
type Growths = SmallVec<[(usize, Growth); 1]>;

// ===== impl Tab =====

impl Tab {
    /// The tab of a call for which `parts` are set aside, none when no budget applies to it.
    pub(crate) fn new(
        config: Arc<Config>,
        estimate: Estimate,
        (call, patience): (HoldId, Option<Patience>),
        parts: Parts,
        bounded: bool,
        (by_target, plan): (Option<Vec<Budget>>, Option<Plan>),
    ) -> Arc<Self> {
        let state = Mutex::new(State { parts, ..State::default() });
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            config,
            estimate,
            call,
            patience,
            bounded,
            by_target,
            plan,
            state,
        })
    }

    /// What a whole answer has come to, once it was read.
    pub(crate) fn known_charge(&self) -> Option<Charge> {
        let state = self.state();
        let mut last = state.last.clone()?;
        last.outcome.get_or_insert(Outcome::Complete);
        let charge = self.charge(&last);
        Some(Charge::of(charge.amount + state.earlier, charge.flags))
    }

    fn shared(&self) -> Arc<Self> {
        self.this.upgrade().expect("invariant: a tab lives in its Arc alone")
    }

    fn charge(&self, attempt: &Attempt) -> Charge {
        self.estimate.charge(&self.config, attempt)
    }

    /// What an earlier attempt has come to; one that still runs, as where a second is made beside it, may come to all that `output`
    /// allows.
    fn charge_so_far(&self, attempt: &Attempt, output: u64) -> Usd {
        let charge = self.charge(attempt).amount;
        match attempt.outcome {
            Some(_) => charge,
            None => charge.max(self.estimate.worst_at(&self.config, attempt.target.as_deref(), output)),
        }
    }

    fn refuse(&self, refused: &Refused) -> Rejection {
        rejection(refused, self.config.refusal)
    }

    /// Refuses a target that turns out to have no price, where a budget applies.
    fn refuse_unpriced(&self, target: Option<&Target>) -> Option<Rejection> {
        let refuses = self.config.unpriced == Unpriced::Refuse && self.bounded;
        let unpriced = refuses && !self.estimate.is_priced(&self.config, target);
        unpriced.then(|| {
            Rejection::new(Cause::InvalidRequest, "the model has no price, and a budget applies to this call")
        })
    }

    fn counts(&self, of: &Of, target: Option<&Target>) -> bool {
        of.counts(self.plan.as_ref(), target)
    }

    /// Sets more aside for the part at this place.
    async fn grow(&self, at: usize, growth: Growth) -> Result<(), Rejection> {
        let reply = self.state().parts.get(at).map(|part| part.held.hold.extend(growth.least, growth.most));
        let Some(reply) = reply else { return Ok(()) };
        let more = reply.wait().await.map_err(|refused| self.refuse(&refused))?;
        if let Some(part) = self.state().parts.get_mut(at) {
            part.held.amount += more;
        }
        Ok(())
    }

    /// Sets aside what an attempt needs because of where it goes.
    async fn reserve_at(
        &self,
        deployment: String,
        budgets: Vec<Budget>,
        need: Growth,
    ) -> Result<(), Rejection> {
        let id = HoldId::unique(self.config.ledger.now());
        let claim =
            Claim::new(id, self.call, budgets.into(), need.least, need.most).patience(self.patience.clone());
        let reserved = self.config.ledger.reserve(claim).wait().await;
        let held = reserved.map_err(|refused| self.refuse(&refused))?;
        let mut state = self.state();
        if state.ended {
            drop(state);
            held.hold.settle(Charge::new(Usd::ZERO));
        } else {
            let same = |part: &&Part| matches!(&part.of, Of::Deployment(id, _) if *id == deployment);
            let before = state.parts.iter().filter(same).count();
            state.parts.push(Part::new(Of::Deployment(deployment, before), held));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for Tab {
    fn before_attempt(&self, target: Option<&Target>, earlier: &[Attempt]) -> Decision {
        if let Some(rejection) = self.refuse_unpriced(target) {
            return Decision::Stop(rejection);
        }
        let output = match self.estimate.output {
            Output::AtMost(cap) | Output::Clamp(cap) => (cap, cap),
            Output::Extend => (1, STEP),
        };
        let worst = |output| self.estimate.worst_at(&self.config, target, output);
        let need = Growth { least: worst(output.0), most: worst(output.1) };
        let more: Growths = {
            let mut state = self.state();
            state.seen = 0;
            let spent = |of: &Of| -> Usd {
                let theirs = earlier.iter().filter(|attempt| self.counts(of, attempt.target.as_deref()));
                theirs.map(|attempt| self.charge_so_far(attempt, output.0)).sum()
            };
            state.earlier = spent(&Of::Call);
            // What is set aside for an attempt elsewhere is none of this one's.
            let own = state.parts.iter_mut().enumerate();
            let own = own.filter(|(_, part)| !matches!(part.of, Of::Deployment(..)));
            let own = own.filter(|(_, part)| self.counts(&part.of, target));
            own.filter_map(|(at, part)| {
                part.earlier = spent(&part.of);
                Some((at, need.behind(part.earlier).beyond(part.held.amount)?))
            })
            .collect()
        };
        let known = target.zip(self.by_target.as_deref());
        let budgets = known.map(|(target, own)| self.config.by_target(own, target)).unwrap_or_default();
        if more.is_empty() && budgets.is_empty() {
            return Decision::Go;
        }
        let this = self.shared();
        let deployment = target.map(|target| target.deployment().to_owned());
        decide(async move {
            for (at, growth) in more {
                this.grow(at, growth).await?;
            }
            match deployment {
                Some(deployment) if !budgets.is_empty() => this.reserve_at(deployment, budgets, need).await,
                _ => Ok(()),
            }
        })
    }

    fn on_progress(&self, attempt: &Attempt) -> Decision {
        let mut state = self.state();
        if !self.estimate.streamed {
            state.last = Some(attempt.clone());
        }
        if self.estimate.output != Output::Extend || state.parts.is_empty() {
            return Decision::Go;
        }
        if attempt.content_bytes == state.seen {
            // Nothing more was written: counts and endings cost nothing.
            return Decision::Go;
        }
        // As much again as came at once at most is set aside ahead, so that what is given on is paid for.
        state.largest = state.largest.max(attempt.content_bytes.saturating_sub(state.seen));
        state.seen = attempt.content_bytes;
        let need = self.estimate.cost_with(&self.config, attempt, state.largest);
        let target = attempt.target.as_deref();
        let step = || {
            let worst = |output| self.estimate.worst_at(&self.config, target, output);
            worst(STEP).saturating_sub(worst(0))
        };
        // Of several attempts at a deployment, the last is the one that runs.
        let last = state
            .parts
            .iter()
            .rposition(|part| matches!(part.of, Of::Deployment(..)) && self.counts(&part.of, target));
        let own = state.parts.iter().enumerate().filter(|(at, part)| match part.of {
            Of::Deployment(..) => Some(*at) == last,
            _ => self.counts(&part.of, target),
        });
        let need = Growth { least: need, most: need };
        let more: Growths = own
            .filter_map(|(at, part)| {
                let growth = need.behind(part.earlier).beyond(part.held.amount)?;
                Some((at, growth.and(step())))
            })
            .collect();
        drop(state);
        if more.is_empty() {
            return Decision::Go;
        }
        let this = self.shared();
        decide(async move {
            for (at, growth) in more {
                this.grow(at, growth).await?;
            }
            Ok(())
        })
    }

    fn spent(&self, attempt: &Attempt) -> Option<Usd> {
        let mut whole = attempt.clone();
        // Told at its end, when all that is to be stated is.
        whole.outcome.get_or_insert(Outcome::Complete);
        let charge = self.charge(&whole);
        (!charge.flags.unpriced).then(|| charge.amount + self.state().earlier)
    }

    fn cost(&self, attempt: &Attempt) -> Option<Usd> {
        self.config.tell_cost.then(|| self.spent(attempt)).flatten()
    }

    fn on_end(&self, attempts: &[Attempt]) {
        let parts = {
            let mut state = self.state();
            state.ended = true;
            std::mem::take(&mut state.parts)
        };
        let lasts: SmallVec<[bool; 4]> =
            parts.iter().map(|part| !parts.iter().any(|it| it.of.is_next(&part.of))).collect();
        for (Part { of, held, .. }, is_last) in parts.into_iter().zip(lasts) {
            let theirs = attempts.iter().filter(|attempt| self.counts(&of, attempt.target.as_deref()));
            // Of several attempts at a deployment each is paid for by what was set aside for it; by the last, if there are more.
            let (before, most) = match of {
                Of::Deployment(_, nth) => (nth, if is_last { usize::MAX } else { 1 }),
                _ => (0, usize::MAX),
            };
            let charges = theirs.skip(before).take(most).map(|attempt| self.charge(attempt));
            let charge = charges.fold(Charge::of(Usd::ZERO, Flags::default()), |sum, charge| sum + charge);
            if self.bounded && charge.amount > held.amount {
                let (call, charged, held) = (format!("{:032x}", self.call.0), charge.amount, held.amount);
                tracing::warn!(call, %charged, %held, "a call came to more than was set aside for it");
            }
            held.settle(charge);
        }
    }
}

// ===== impl Of =====

impl Of {
    /// Whether an attempt at this target is one of these.
    pub(crate) fn counts(&self, plan: Option<&Plan>, target: Option<&Target>) -> bool {
        match (self, target) {
            (Self::Call, _) | (Self::Named(_), None) => true,
            (Self::Named(account), Some(target)) => {
                !plan.is_some_and(|plan| plan.is_stand_in(target)) || account.is_for(target.model_group())
            }
            (Self::Deployment(id, _), target) => target.is_some_and(|target| target.deployment() == id),
        }
    }

    /// Whether it is the attempt that was made next at the same deployment.
    fn is_next(&self, to: &Self) -> bool {
        let (Self::Deployment(id, nth), Self::Deployment(other, before)) = (self, to) else { return false };
        id == other && *nth == before + 1
    }
}

// ===== impl Part =====

impl Part {
    pub(crate) fn new(of: Of, held: Held) -> Self {
        Self { of, held, earlier: Usd::ZERO }
    }
}

// ===== impl Growth =====

impl Growth {
    /// As much beside what was spent before.
    fn behind(self, spent: Usd) -> Self {
        Self { least: spent + self.least, most: spent + self.most }
    }

    /// What of these is not set aside yet, unless the least is.
    fn beyond(self, held: Usd) -> Option<Self> {
        let (least, most) = (self.least.saturating_sub(held), self.most.saturating_sub(held));
        (!least.is_zero()).then_some(Self { least, most })
    }

    fn and(self, ahead: Usd) -> Self {
        Self { least: self.least, most: self.most + ahead }
    }
}

// ===== impl Held =====

impl Held {
    fn settle(self, charge: Charge) {
        let overrun = charge.amount > self.amount;
        let flags = Flags { overrun: charge.flags.overrun | overrun, ..charge.flags };
        self.hold.settle(Charge::of(charge.amount, flags));
    }
}

/// The answer, where it is there at once; else it is waited for.
fn decide(answer: impl Future<Output = Result<(), Rejection>> + Send + 'static) -> Decision {
    let mut answer = Box::pin(answer);
    match pin!(&mut answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Decision::Go,
        Poll::Ready(Err(rejection)) => Decision::Stop(rejection),
        Poll::Pending => Decision::Wait(answer),
    }
}
