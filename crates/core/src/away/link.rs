//! What a process keeps of a store on another machine.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Mutex as Turn, Notify},
    time::{Instant, timeout},
};

use crate::{Away, Clock, OnAway, PROBE_EVERY, Patience, Presence};

/// What a process keeps of a store on another machine: whether it is there, and the settlements that are on their way to it.
///
/// Those who ask do so under a deadline ([`Link::ask`]). What is to be settled is put into a [`Slot`], which was taken when it was
/// reserved: so that there is room for it, and nobody waits. One worker of the host's ([`Link::run`]) sends it, in order, and again until
/// it is answered: it may arrive there more than once.
pub struct Link<T> {
    /// What is kept there, for the log.
    what: &'static str,
    on_away: OnAway,
    deadline: Duration,
    capacity: usize,
    clock: Clock,
    presence: Presence,
    /// When the last failure was counted.
    failed_at: Mutex<Option<Instant>>,
    pub(super) queue: Mutex<Queue<T>>,
    /// Something is to be done.
    pub(super) news: Notify,
    /// Nothing is queued any more.
    pub(super) emptied: Notify,
    /// Whose turn it is to send.
    pub(super) turn: Turn<()>,
}

pub(super) struct Queue<T> {
    /// Slots that are taken: of what is open, and of what is queued.
    pub(super) taken: usize,
    pub(super) list: VecDeque<T>,
}

/// Room for settlements that are still to come. What is left of it is free again when it is dropped.
pub struct Slot<T> {
    link: Arc<Link<T>>,
    left: usize,
}

// ===== impl Link =====

impl<T> Link<T> {
    /// A link to a store of `what`, as the log is to call it: with a deadline of 50 ms, room for 65,536 settlements, and calls that are
    /// refused while it is away.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            on_away: OnAway::default(),
            deadline: DEADLINE,
            capacity: CAPACITY,
            clock: Clock::system(),
            presence: Presence::new(),
            failed_at: Mutex::default(),
            queue: Mutex::new(Queue { taken: 0, list: VecDeque::new() }),
            news: Notify::new(),
            emptied: Notify::new(),
            turn: Turn::new(()),
        }
    }

    /// Sets how long an answer is waited for.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Sets what happens while it is away.
    pub fn set_on_away(&mut self, policy: OnAway) {
        self.on_away = policy;
    }

    /// Sets how many settlements there is room for, of what is open and what is queued together.
    pub fn set_capacity(&mut self, settlements: usize) {
        self.capacity = settlements;
    }

    /// Sets the clock.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// What happens while it is away.
    #[must_use]
    pub const fn on_away(&self) -> OnAway {
        self.on_away
    }

    /// How long an answer is waited for.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Its clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether the store is there, as far as is known.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.presence.is_here()
    }

    /// How many settlements are on their way.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue().list.len()
    }

    /// How many slots are taken: of what is open, and of what is on its way.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.queue().taken
    }

    /// Takes room for so many settlements, if there is any.
    #[must_use]
    pub fn slot(self: &Arc<Self>, settlements: usize) -> Option<Slot<T>> {
        let mut queue = self.queue();
        if settlements > self.capacity.saturating_sub(queue.taken) {
            return None;
        }
        queue.taken += settlements;
        drop(queue);
        Some(Slot { link: Arc::clone(self), left: settlements })
    }

    /// Waits for an answer until the deadline, and notes whether it came.
    ///
    /// # Errors
    /// [`Away`] when none came in time, or the store failed.
    pub async fn ask<R>(&self, asked: impl Future<Output = Result<R, Away>>) -> Result<R, Away> {
        self.within(self.deadline, true, asked).await
    }

    /// As [`Link::ask`], and no longer than a call's patience lasts. That a store did not answer in less than half of its time is not held
    /// against it.
    ///
    /// # Errors
    /// [`Away`] when none came in time, or the store failed.
    pub async fn ask_within<R>(
        &self,
        patience: &Patience,
        asked: impl Future<Output = Result<R, Away>>,
    ) -> Result<R, Away> {
        let (start, time) = (Instant::now(), patience.left(self.deadline));
        let answer = self.within(time, true, asked).await;
        patience.waited(start.elapsed());
        answer
    }

    /// As [`Link::ask`], for what nobody waits for.
    pub(super) async fn keep(&self, asked: impl Future<Output = Result<(), Away>>) -> Result<(), Away> {
        self.within(self.patience(), true, asked).await
    }

    /// As [`Link::keep`], for what the store need not be asked for: that it went well does not say that it answered.
    pub(super) async fn work(&self, asked: impl Future<Output = Result<(), Away>>) -> Result<(), Away> {
        self.within(self.patience(), false, asked).await
    }

    /// Whether it answers as fast as callers are promised. It is given longer than that: what it has to connect first may go on.
    pub(super) async fn probe(&self, asked: impl Future<Output = Result<(), Away>>) -> bool {
        let start = Instant::now();
        matches!(timeout(self.patience(), asked).await, Ok(Ok(()))) && start.elapsed() <= self.deadline
    }

    /// How long the worker waits: nobody waits for it.
    fn patience(&self) -> Duration {
        self.deadline.max(PROBE_EVERY)
    }

    /// Callers may ask again.
    pub(super) fn found(&self) {
        if self.presence.answered() {
            tracing::info!(store = self.what, "the store is back");
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn within<R>(
        &self,
        time: Duration,
        tells: bool,
        asked: impl Future<Output = Result<R, Away>>,
    ) -> Result<R, Away> {
        let start = Instant::now();
        let mut asked = pin!(asked);
        let answer = match timeout(time, &mut asked).await {
            Ok(answer) => Some(answer),
            Err(_) => look_again(asked).await,
        };
        let hasty = answer.is_none() && time * 2 < self.deadline;
        let answer = answer.unwrap_or_else(|| Err(Away::new(format!("no answer within {time:?}"))));
        match &answer {
            // What nobody waited for says nothing when it took longer than callers wait. One that is away is back when the worker has
            // found it: a single answer that was on its way does not say so.
            Ok(_) if tells && self.is_here() && start.elapsed() <= self.deadline => self.found(),
            Ok(_) => {}
            Err(_) if hasty => {}
            Err(why) => self.failed(start, why),
        }
        answer
    }

    /// Counts a failure. Those who asked at the same time have one between them: a store that was slow for a moment is not away.
    fn failed(&self, asked: Instant, why: &Away) {
        let mut counted = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.is_some_and(|counted| asked < counted) {
            return;
        }
        *counted = Some(Instant::now());
        drop(counted);
        if self.presence.failed(self.clock.now()) {
            tracing::warn!(store = self.what, %why, policy = %self.on_away, "the store is away");
            self.news.notify_one();
        }
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("what", &self.what)
            .field("here", &self.is_here())
            .finish_non_exhaustive()
    }
}

/// An answer that has arrived, where this process was too busy to see it in time: a store is not away because of that. Costs as long as it
/// takes to turn to all that is to be done here, a few times.
async fn look_again<R>(mut asked: Pin<&mut impl Future<Output = R>>) -> Option<R> {
    for _ in 0..LOOKS {
        tokio::task::yield_now().await;
        let answer = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx))).await;
        if let Poll::Ready(answer) = answer {
            return Some(answer);
        }
    }
    None
}

// ===== impl Slot =====

impl<T> Slot<T> {
    /// Hands over a settlement. Does not block.
    ///
    /// # Panics
    /// When there were already as many as room was taken for.
    pub fn put(&mut self, settlement: T) {
        self.left = self.left.checked_sub(1).expect("invariant: room is taken for every settlement");
        self.link.queue().list.push_back(settlement);
        self.link.news.notify_one();
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        if self.left > 0 {
            self.link.queue().taken -= self.left;
        }
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Unless set.
const DEADLINE: Duration = Duration::from_millis(50);

/// How often is looked for an answer after the deadline: the socket, the task that reads it, whoever that wakes, and the same for the
/// question before it.
const LOOKS: usize = 8;

/// Unless set.
const CAPACITY: usize = 65_536;

#[cfg(test)]
mod tests {
    use tokio::{
        join,
        sync::oneshot,
        task::yield_now,
        time::{advance, pause},
    };

    use super::*;

    /// Asks for what comes after the deadline, when so many others have had their turn.
    async fn ask_behind(others: usize) -> Result<u8, Away> {
        let (link, (tell, told)) = (Link::<()>::new("things"), oneshot::channel());
        let asked = link.ask(async { told.await.map_err(|_| Away::new("gone")) });
        let busy = async {
            advance(DEADLINE * 3).await;
            for _ in 0..others {
                yield_now().await;
            }
            let _gone = tell.send(7);
        };
        join!(asked, busy).0
    }

    #[tokio::test]
    async fn an_answer_that_this_process_was_too_busy_to_see_counts() {
        pause();
        assert_eq!(ask_behind(0).await, Ok(7));
        assert_eq!(ask_behind(LOOKS - 2).await, Ok(7));
        assert_eq!(ask_behind(LOOKS * 3).await, Err(Away::new("no answer within 50ms")));
    }
}
