//! What was used, counted once and told to all who need it.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use http::{Request, StatusCode};
use smallvec::SmallVec;

use crate::{Problem, Rejection, Target, Usage, Usd};

/// The record of one call, over all its attempts: a request extension, made by the first layer that needs it, kept by that layer's
/// [`CallEnd`] and fed by the innermost layer that can.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Most calls have one attempt.
    slots: SmallVec<[Slot; 1]>,
    opened: u64,
    subscribers: Subscribers,
    /// Who keeps the call open. When the last has let go, it ends with its last open attempt.
    keepers: usize,
    ended: bool,
    usage_withheld: bool,
}

/// In place for as many as most calls have: asking them on every event of a stream allocates nothing.
type Subscribers = SmallVec<[Arc<dyn Subscriber>; 4]>;

/// In place for as many as most calls have.
type Attempts = SmallVec<[Attempt; 1]>;

struct Slot {
    id: u64,
    /// A guess of the outermost layer's, on record until an inner layer opens a real attempt.
    presumed: bool,
    attempt: Attempt,
}

/// Ends the call when it, and every other of it ([`Meter::keep`]), is dropped: held by the layer that made the [`Meter`], in its future
/// first, in its response body then.
///
/// An attempt that is still open then, as a layer reads its answer on after the caller has left, defers the end until it ends too.
#[must_use = "dropping it ends the call"]
pub struct CallEnd(Meter);

/// One attempt to get an answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Attempt {
    /// Where it went; `None` when the layer that records it does not know.
    pub target: Option<TargetId>,
    /// Whether anything may have reached the provider: if so, it may have been billed.
    pub sent: bool,
    /// The status with which it was answered; `None` while, or when, there is no answer.
    pub status: Option<StatusCode>,
    /// Whether content (text, reasoning, a tool call) has been given on.
    pub content_begun: bool,
    /// Bytes of content seen so far: text, reasoning and tool-call arguments as they stand in JSON. A base for estimates while a
    /// provider has not stated its usage.
    pub content_bytes: u64,
    /// The latest counts that the provider stated; `None` while it has stated none.
    pub usage: Option<Usage>,
    /// What went wrong, as the caller is told; `None` while, or when, nothing did.
    pub problem: Option<Arc<Problem>>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
}

/// The deployment an attempt went to.
#[derive(Clone, Debug)]
pub struct TargetId(Target);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The answer is whole.
    Complete,
    /// The answer is whole and the provider refused or filtered its content.
    Refused,
    /// The provider's bytes ended before its terminator.
    Truncated,
    /// The provider failed, by status or by an error in its stream.
    Failed,
    /// We stopped it: a subscriber, or a layer that ended it with a [`Rejection`].
    Stopped,
    /// The caller left.
    Cancelled,
}

/// What a subscriber says when it is asked.
#[non_exhaustive]
pub enum Decision {
    /// Go on.
    Go,
    /// Stop, and tell the caller this.
    Stop(Rejection),
    /// Wait for the answer; it is polled within the call or within `poll_frame`, no task is needed.
    Wait(Pin<Box<dyn Future<Output = Result<(), Rejection>> + Send>>),
}

type Answer = Pin<Box<dyn Future<Output = Result<(), Rejection>> + Send>>;

/// A layer that wants to know, and may have a say in, what a call uses. Called under no lock; must not block.
pub trait Subscriber: Send + Sync + 'static {
    /// Asked before an attempt is made; an attempt that is stopped is not made and not recorded. Earlier attempts are on record.
    ///
    /// Subscribers are asked in turn: one that said [`Decision::Go`] is not told when a later one stops the attempt. What it set
    /// aside for the attempt it gives back in [`Subscriber::on_end`], from the attempts that are on record. Attempts that
    /// [`Meter::presume`] opens are never asked about here.
    fn before_attempt(&self, target: Option<&Target>, earlier: &[Attempt]) -> Decision {
        let _ = (target, earlier);
        Decision::Go
    }

    /// Asked whenever the attempt has used more than when it was last asked, before the bytes that used it are given on.
    fn on_progress(&self, attempt: &Attempt) -> Decision {
        let _ = attempt;
        Decision::Go
    }

    /// Asked what the call has come to with this as its last attempt, those before it included. Most have nothing to say.
    fn spent(&self, attempt: &Attempt) -> Option<Usd> {
        let _ = attempt;
        None
    }

    /// Asked when the usage of an attempt is told to the caller at the end of a stream of OpenAI's dialect: the amount is then told with
    /// it, as `cost`.
    fn cost(&self, attempt: &Attempt) -> Option<Usd> {
        let _ = attempt;
        None
    }

    /// Told exactly once, when the call has ended in whatever way and no attempt is open any more.
    fn on_end(&self, attempts: &[Attempt]) {
        let _ = attempts;
    }
}

/// Follows one attempt, for the layer that opened it. Called under no lock; must not block.
pub trait Watch: Send + Sync + 'static {
    /// Told when content or counts have come, before the bytes that brought them are given on; and at the attempt's end.
    fn changed(&self, attempt: &Attempt);
}

/// Feeds one attempt; when it is dropped without [`AttemptHandle::end`], the attempt was cancelled.
pub struct AttemptHandle {
    meter: Meter,
    id: u64,
    attempt: Attempt,
    changed: bool,
    waiting: Vec<Answer>,
    watch: Option<Arc<dyn Watch>>,
}

/// Request extension: an attempt that an outer layer has opened, its subscribers asked, for the layer inside that can feed it.
///
/// Whoever feeds takes it ([`OpenAttempt::take`]) in place of [`Meter::attempt`]. What nobody took comes back to who opened it.
#[derive(Clone, Debug)]
pub struct OpenAttempt(Arc<Mutex<Option<AttemptHandle>>>);

/// Response extension: an inner layer feeds the [`Meter`] from this response's body, nobody else may.
#[derive(Clone, Copy, Debug)]
pub struct Metered;

// ===== impl Meter =====

impl Meter {
    /// The meter of the request, made and attached when there is none; whoever made it gets the [`CallEnd`] to keep.
    pub fn join<B>(request: &mut Request<B>) -> (Self, Option<CallEnd>) {
        if let Some(meter) = request.extensions().get::<Self>() {
            return (meter.clone(), None);
        }
        let meter = Self(Arc::default());
        request.extensions_mut().insert(meter.clone());
        let end = meter.keep();
        (meter, Some(end))
    }

    /// Keeps the call open beside whoever does so already: for a layer that goes on with it when its caller has left.
    pub fn keep(&self) -> CallEnd {
        self.state().keepers += 1;
        CallEnd(self.clone())
    }

    /// What the call has come to so far, if a subscriber knows ([`Subscriber::spent`]).
    #[must_use]
    pub fn spent(&self) -> Option<Usd> {
        let (subscribers, attempt) = {
            let state = self.state();
            (state.subscribers.clone(), state.slots.last()?.attempt.clone())
        };
        subscribers.iter().find_map(|subscriber| subscriber.spent(&attempt))
    }

    /// Whether the latest attempt was stopped by a layer of ours.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.state().slots.last().is_some_and(|slot| slot.attempt.outcome == Some(Outcome::Stopped))
    }

    /// Adds a subscriber. It is asked from now on, and told the end; at once when the call has ended already.
    pub fn subscribe(&self, subscriber: Arc<dyn Subscriber>) {
        let mut state = self.state();
        if state.ended {
            let attempts = state.attempts();
            drop(state);
            return subscriber.on_end(&attempts);
        }
        state.subscribers.push(subscriber);
    }

    /// Whether anybody listens; without subscribers nothing needs to be counted.
    #[must_use]
    pub fn has_subscribers(&self) -> bool {
        !self.state().subscribers.is_empty()
    }

    /// Asks all subscribers and opens an attempt.
    ///
    /// # Errors
    /// The [`Rejection`] of the first subscriber that stops it.
    pub async fn attempt(&self, target: Option<&Target>) -> Result<AttemptHandle, Rejection> {
        let (subscribers, earlier) = {
            let mut state = self.state();
            state.slots.retain(|slot| !slot.presumed);
            (state.subscribers.clone(), state.attempts())
        };
        for subscriber in &subscribers {
            match subscriber.before_attempt(target, &earlier) {
                Decision::Go => {}
                Decision::Stop(rejection) => return Err(rejection),
                Decision::Wait(answer) => answer.await?,
            }
        }
        Ok(self.open(Attempt { target: target.cloned().map(TargetId), ..Attempt::default() }, false))
    }

    /// Opens an attempt on a guess, for a layer that cannot know whether an inner layer will open one: it stands until then, and
    /// counts as sent. No [`Subscriber::before_attempt`] is asked.
    #[must_use]
    pub fn presume(&self) -> AttemptHandle {
        self.open(Attempt { sent: true, ..Attempt::default() }, true)
    }

    /// Says that a layer of ours asked for the usage of a stream whose caller did not: whoever reads the answer takes the usage
    /// chunk out again.
    pub fn withhold_usage(&self) {
        self.state().usage_withheld = true;
    }

    /// Whether the caller is not to see the usage chunk of its stream.
    #[must_use]
    pub fn withholds_usage(&self) -> bool {
        self.state().usage_withheld
    }

    /// The attempts so far.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.state().attempts().into_vec()
    }

    fn open(&self, attempt: Attempt, presumed: bool) -> AttemptHandle {
        let mut state = self.state();
        let id = state.opened;
        state.opened += 1;
        state.slots.push(Slot { id, presumed, attempt: attempt.clone() });
        AttemptHandle { meter: self.clone(), id, attempt, changed: false, waiting: Vec::new(), watch: None }
    }

    /// Tells the end, once, if nobody keeps the call open and no attempt is.
    fn end_if_over(&self) {
        let (subscribers, attempts) = {
            let mut state = self.state();
            let open = state.slots.iter().any(|slot| slot.attempt.outcome.is_none());
            if state.ended || state.keepers > 0 || open {
                return;
            }
            state.ended = true;
            (std::mem::take(&mut state.subscribers), state.attempts())
        };
        for subscriber in &subscribers {
            subscriber.on_end(&attempts);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the counts would still be the best there are.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("attempts", &self.attempts()).finish_non_exhaustive()
    }
}

// ===== impl State =====

impl State {
    fn attempts(&self) -> Attempts {
        self.slots.iter().map(|slot| slot.attempt.clone()).collect()
    }
}

// ===== impl CallEnd =====

impl Drop for CallEnd {
    fn drop(&mut self) {
        self.0.state().keepers -= 1;
        self.0.end_if_over();
    }
}

impl fmt::Debug for CallEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallEnd").field(&self.0).finish()
    }
}

// ===== impl AttemptHandle =====

impl AttemptHandle {
    /// Has the attempt followed.
    #[must_use]
    pub fn watched(mut self, watch: Arc<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Records that from here on the provider may have been reached.
    pub fn sent(&mut self) {
        self.attempt.sent = true;
        self.publish();
    }

    /// Records that nothing reached the provider after all, as an error said ([`Unsent`](crate::Unsent)): undoes
    /// [`AttemptHandle::sent`], and what [`Meter::presume`] assumed.
    pub fn unsent(&mut self) {
        self.attempt.sent = false;
        self.publish();
    }

    /// Records the status of the answer.
    pub fn answered(&mut self, status: StatusCode) {
        self.attempt.status = Some(status);
        self.publish();
    }

    /// Records content of this many bytes; 0 marks a beginning without bytes (a tool call's start).
    pub fn content(&mut self, bytes: usize) {
        self.attempt.content_begun = true;
        self.attempt.content_bytes = self.attempt.content_bytes.saturating_add(bytes as u64);
        self.changed = true;
    }

    /// Records what went wrong; a later word of it changes nothing.
    pub fn failed(&mut self, problem: &Problem) {
        if self.attempt.problem.is_none() {
            self.attempt.problem = Some(Arc::new(problem.clone()));
        }
    }

    /// Records counts that the provider stated: each stated one replaces the earlier.
    pub fn usage(&mut self, usage: &Usage) {
        match &mut self.attempt.usage {
            Some(known) => known.update(usage),
            None => self.attempt.usage = Some(*usage),
        }
        self.changed = true;
    }

    /// Forgets the counts that were recorded: what was stated for a part of an answer is no statement for all of it.
    pub fn forget_usage(&mut self) {
        self.changed |= self.attempt.usage.take().is_some();
    }

    /// What is on record so far.
    #[must_use]
    pub const fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// What the attempt has come to, if a subscriber wants the caller told ([`Subscriber::cost`]).
    #[must_use]
    pub fn cost(&self) -> Option<Usd> {
        let subscribers = self.meter.state().subscribers.clone();
        subscribers.iter().find_map(|subscriber| subscriber.cost(&self.attempt))
    }

    /// Asks the subscribers whether to go on, if more was used since they were last asked. To be polled before the bytes that
    /// used it are given on.
    ///
    /// # Errors
    /// The [`Rejection`] of the first subscriber that says stop.
    pub fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Rejection>> {
        if std::mem::take(&mut self.changed) {
            self.tell();
            let subscribers = self.publish().map_or_else(Subscribers::new, |state| state.subscribers.clone());
            if let Some(rejection) = self.ask(&subscribers) {
                self.waiting.clear();
                return Poll::Ready(Err(rejection));
            }
        }
        while let Some(answer) = self.waiting.last_mut() {
            let answered = ready!(answer.as_mut().poll(cx));
            self.waiting.pop();
            if answered.is_err() {
                self.waiting.clear();
                return Poll::Ready(answered);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// As [`AttemptHandle::poll_progress`], to await.
    ///
    /// # Errors
    /// The [`Rejection`] of the first subscriber that says stop.
    pub async fn progress(&mut self) -> Result<(), Rejection> {
        poll_fn(|cx| self.poll_progress(cx)).await
    }

    /// Records the end; a later one changes nothing.
    pub fn end(&mut self, outcome: Outcome) {
        if self.attempt.outcome.is_none() {
            self.attempt.outcome = Some(outcome);
            self.publish();
            self.tell();
            self.meter.end_if_over();
        }
    }

    /// Takes the attempt off the record: it turned out that none was made. Who follows it is told no more of it.
    pub fn withdraw(mut self) {
        self.watch = None;
        // Dropping what is left of it looks whether the call is over.
        self.meter.state().slots.retain(|slot| slot.id != self.id);
    }

    fn tell(&self) {
        if let Some(watch) = &self.watch {
            watch.changed(&self.attempt);
        }
    }

    fn ask(&mut self, subscribers: &[Arc<dyn Subscriber>]) -> Option<Rejection> {
        for subscriber in subscribers {
            match subscriber.on_progress(&self.attempt) {
                Decision::Go => {}
                Decision::Stop(rejection) => return Some(rejection),
                Decision::Wait(answer) => self.waiting.push(answer),
            }
        }
        None
    }

    /// Puts what is known on record and gives it back, unless nobody is to be asked about it: once the call has ended or a real
    /// attempt has taken the place of this presumed one.
    fn publish(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = self.meter.state();
        let ended = state.ended;
        let slot = state.slots.iter_mut().rev().find(|slot| slot.id == self.id).filter(|_| !ended)?;
        slot.attempt.clone_from(&self.attempt);
        Some(state)
    }
}

impl Drop for AttemptHandle {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

impl fmt::Debug for AttemptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptHandle").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

// ===== impl OpenAttempt =====

impl OpenAttempt {
    /// Hands an attempt on.
    #[must_use]
    pub fn new(handle: AttemptHandle) -> Self {
        Self(Arc::new(Mutex::new(Some(handle))))
    }

    /// The attempt, for the first who asks.
    #[must_use]
    pub fn take(&self) -> Option<AttemptHandle> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

// ===== impl Attempt =====

impl Attempt {
    /// Whether it has ended with a whole answer, be it a refused one.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Complete | Outcome::Refused))
    }
}

// ===== impl TargetId =====

impl PartialEq for TargetId {
    fn eq(&self, other: &Self) -> bool {
        self.0.deployment() == other.0.deployment()
    }
}

impl std::ops::Deref for TargetId {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.0
    }
}

// ===== impl Decision =====

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Go => f.write_str("Go"),
            Self::Stop(rejection) => f.debug_tuple("Stop").field(rejection).finish(),
            Self::Wait(_) => f.write_str("Wait"),
        }
    }
}

#[cfg(test)]
mod tests;
