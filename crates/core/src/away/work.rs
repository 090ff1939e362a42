//! What one worker does for everybody who uses a store on another machine.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{Asked, Away, Link, PROBE_EVERY};

/// What a [`Link`]'s worker asks of the store.
pub trait Work: Send + Sync {
    /// A settlement.
    type Item: Clone + Send + Sync;
    /// What is open, and ends there if it is not renewed.
    type Open: Send + Sync;

    /// Sends settlements.
    fn settle<'a>(&'a self, batch: &'a [Self::Item]) -> Asked<'a, ()>;

    /// Takes note that these have arrived, and will not be sent again.
    fn settled(&self, batch: &[Self::Item]);

    /// All that is open.
    fn open(&self) -> Vec<Self::Open>;

    /// Renews some of what is open.
    fn renew<'a>(&'a self, batch: &'a [Self::Open]) -> Asked<'a, ()>;

    /// What is asked to find out whether the store is there: one round trip, however much there is to do.
    fn probe(&self) -> Asked<'_, ()>;

    /// What is to be done about once a second.
    fn keep(&self) -> Asked<'_, ()> {
        self.probe()
    }
}

/// How far the worker is.
struct Progress {
    /// Settlements sent at once.
    batch: usize,
    renew_at: Instant,
    keep_at: Instant,
}

impl<T: Clone + Send + Sync> Link<T> {
    /// Sends what is to be settled as soon as there is any, renews what is open, and looks for the store while it is away. Never ends: the
    /// host spawns it once, and drops it when it stops. Where it runs twice, one waits for the other.
    pub async fn run<W: Work<Item = T>>(&self, work: &W, renew_every: Duration) {
        let _turn = self.turn.lock().await;
        let start = Instant::now();
        let mut next = Progress { batch: BATCH, renew_at: start + renew_every, keep_at: start + KEEP_EVERY };
        loop {
            if !self.is_here() {
                sleep(PROBE_EVERY).await;
                if self.is_found(work, &mut next).await {
                    self.found();
                    next.renew_at = Instant::now();
                }
                continue;
            }
            if self.queued() == 0 {
                // Whether it was woken or it is time: what there is to do is looked up.
                let _woken = timeout_at(next.renew_at.min(next.keep_at), self.news.notified()).await;
            }
            if self.turn_over(work, &mut next, renew_every).await.is_err() {
                sleep(RETRY_AFTER).await;
            }
        }
    }

    /// Waits until nothing is queued, for a clean stop; sends it itself where no worker does. As long as the store is away this takes for
    /// ever: the host gives it its own time.
    pub async fn flush<W: Work<Item = T>>(&self, work: &W) {
        while self.queued() > 0 {
            let Ok(_turn) = self.turn.try_lock() else {
                let _emptied = timeout(RETRY_AFTER, self.emptied.notified()).await;
                continue;
            };
            let mut batch = BATCH;
            while self.queued() > 0 {
                if self.send(work, &mut batch).await.is_err() {
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// A bit of all that is due.
    async fn turn_over<W: Work<Item = T>>(
        &self,
        work: &W,
        next: &mut Progress,
        renew_every: Duration,
    ) -> Result<(), Away> {
        // What is open is renewed whether what has ended can be sent or not.
        let sent = match self.queued() {
            0 => Ok(()),
            _ => self.send(work, &mut next.batch).await,
        };
        if Instant::now() >= next.renew_at {
            self.renew(work).await?;
            next.renew_at = Instant::now() + renew_every;
        }
        if Instant::now() >= next.keep_at {
            self.keep(work.keep()).await?;
            next.keep_at = Instant::now() + KEEP_EVERY;
        }
        sent
    }

    async fn renew<W: Work<Item = T>>(&self, work: &W) -> Result<(), Away> {
        for batch in work.open().chunks(BATCH) {
            self.work(work.renew(batch)).await?;
        }
        Ok(())
    }

    /// Whether it answers, and takes what was settled meanwhile: that goes first, so that callers find it spent; but not for longer than
    /// they may be kept waiting.
    async fn is_found<W: Work<Item = T>>(&self, work: &W, next: &mut Progress) -> bool {
        // First of all: what is open here must not expire by the very question.
        if self.renew(work).await.is_err() || !self.probe(work.probe()).await {
            return false;
        }
        let until = Instant::now() + CATCH_UP;
        while self.queued() > 0 && Instant::now() < until {
            // It has answered: what it cannot take now is sent again later.
            if self.send(work, &mut next.batch).await.is_err() {
                break;
            }
        }
        true
    }

    /// Sends the first of what is queued. It stays there until it has arrived.
    async fn send<W: Work<Item = T>>(&self, work: &W, most: &mut usize) -> Result<(), Away> {
        let batch: Vec<T> = self.queue().list.iter().take(*most).cloned().collect();
        if let Err(away) = self.work(work.settle(&batch)).await {
            // What did not arrive in time may have been too much.
            *most = (*most / 2).max(1);
            return Err(away);
        }
        *most = (*most * 2).min(BATCH);
        work.settled(&batch);
        let mut queue = self.queue();
        queue.list.drain(..batch.len());
        queue.taken -= batch.len();
        if queue.list.is_empty() {
            drop(queue);
            self.emptied.notify_waiters();
        }
        Ok(())
    }
}

/// Settlements, or renewals, in one round trip.
const BATCH: usize = 128;

/// After a failure of a store that is not known to be away.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How often an idle store is asked for something.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// How long what waited may keep callers from a store that is back.
const CATCH_UP: Duration = Duration::from_millis(500);
