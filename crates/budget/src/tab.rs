//! The money of one call, from its reservation to its settlement.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use ziggurat_core::{
    Attempt, Budget, Cause, Decision, Outcome, Patience, Rejection, Subscriber, Target, Usd,
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is set aside for the call, unless no budget applies.
    call: Option<Held>,
    /// What is set aside for attempts because of where they went, by deployment.
    attempts: Vec<(String, Held)>,
    /// What earlier attempts of the call came to.
    earlier: Usd,
    /// What the attempt that runs had produced when it was last looked at, in bytes of content.
    seen: u64,
    /// The most of that at once.
    largest: u64,
    /// The attempt that runs, when it was last looked at; of an answer in one piece.
    last: Option<Attempt>,
}

/// What is to be set aside beside what is: the least that helps, and the most that is of use.
#[derive(Clone, Copy, Default)]
struct Growth {
    least: Usd,
    most: Usd,
}

// ===== impl Tab =====

impl Tab {
    /// The tab of a call for which `held` is set aside, nothing when no budget applies to it.
    pub(crate) fn new(
        config: Arc<Config>,
        estimate: Estimate,
        (call, patience): (HoldId, Option<Patience>),
        held: Option<Held>,
        bounded: bool,
        by_target: Option<Vec<Budget>>,
    ) -> Arc<Self> {
        let state = Mutex::new(State { call: held, ..State::default() });
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            config,
            estimate,
            call,
            patience,
            bounded,
            by_target,
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

    /// Sets more aside: for the call, or for the attempt at this place.
    async fn grow(&self, at: Option<usize>, growth: Option<Growth>) -> Result<(), Rejection> {
        let Some(growth) = growth else { return Ok(()) };
        let reply = self.state().part(at).map(|held| held.hold.extend(growth.least, growth.most));
        let Some(reply) = reply else { return Ok(()) };
        let more = reply.wait().await.map_err(|refused| self.refuse(&refused))?;
        if let Some(held) = self.state().part(at) {
            held.amount += more;
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
        self.state().attempts.push((deployment, held));
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
        let more = {
            let mut state = self.state();
            state.seen = 0;
            state.earlier = earlier.iter().map(|attempt| self.charge_so_far(attempt, output.0)).sum();
            let spent = state.earlier;
            let need = Growth { least: spent + need.least, most: spent + need.most };
            state.call.as_ref().and_then(|held| need.beyond(held.amount))
        };
        let known = target.zip(self.by_target.as_deref());
        let budgets = known.map(|(target, own)| self.config.by_target(own, target)).unwrap_or_default();
        if more.is_none() && budgets.is_empty() {
            return Decision::Go;
        }
        let this = self.shared();
        let deployment = target.map(|target| target.deployment().to_owned());
        decide(async move {
            this.grow(None, more).await?;
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
        if self.estimate.output != Output::Extend || (state.call.is_none() && state.attempts.is_empty()) {
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
        let beyond = |held: &Held, need| {
            Growth { least: need, most: need }.beyond(held.amount).map(|growth| growth.and(step()))
        };
        let deployment = target.map(Target::deployment);
        let at = state.attempts.iter().rposition(|(known, _)| Some(known.as_str()) == deployment);
        let at_target = at.and_then(|at| Some((at, beyond(&state.attempts[at].1, need)?)));
        let of_call = state.call.as_ref().and_then(|held| beyond(held, state.earlier + need));
        drop(state);
        if at_target.is_none() && of_call.is_none() {
            return Decision::Go;
        }
        let this = self.shared();
        decide(async move {
            this.grow(None, of_call).await?;
            match at_target {
                Some((at, growth)) => this.grow(Some(at), Some(growth)).await,
                None => Ok(()),
            }
        })
    }

    fn cost(&self, attempt: &Attempt) -> Option<Usd> {
        let mut whole = attempt.clone();
        // Told at its end, when all that is to be stated is.
        whole.outcome.get_or_insert(Outcome::Complete);
        self.config.tell_cost.then(|| self.charge(&whole).amount + self.state().earlier)
    }

    fn on_end(&self, attempts: &[Attempt]) {
        let (call, at_targets) = {
            let mut state = self.state();
            (state.call.take(), std::mem::take(&mut state.attempts))
        };
        let sum = |wanted: &dyn Fn(&Attempt) -> bool| {
            let charges =
                attempts.iter().filter(|attempt| wanted(attempt)).map(|attempt| self.charge(attempt));
            charges.fold(Charge::of(Usd::ZERO, Flags::default()), |sum, charge| sum + charge)
        };
        if let Some(held) = call {
            held.settle(sum(&|_| true));
        }
        let mut settled: Vec<String> = Vec::new();
        for (deployment, held) in at_targets {
            // One of a deployment's holds posts what its attempts came to, the others are freed.
            let first = !settled.contains(&deployment);
            held.settle(sum(&|attempt| {
                first && attempt.target.as_ref().is_some_and(|target| target.deployment() == deployment)
            }));
            settled.push(deployment);
        }
    }
}

// ===== impl State =====

impl State {
    fn part(&mut self, at: Option<usize>) -> Option<&mut Held> {
        match at {
            None => self.call.as_mut(),
            Some(at) => self.attempts.get_mut(at).map(|(_, held)| held),
        }
    }
}

// ===== impl Growth =====

impl Growth {
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
