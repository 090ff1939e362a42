//! The thread that puts postings into the database.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{OwnedMutexGuard, oneshot},
};
use ziggurat_budget::{HoldId, Recovered, RecoveredHold, Slot};
use ziggurat_core::{Account, Usd};

use crate::{
    db::{At, Db, since, unusable},
    error::{BoxError, OpenError, StoreError},
    holds::{Entry, Holds, Locked},
    journal::SavedPosting,
    record::{Kind, Record},
    time::time_of,
};

/// What the path and the writer share.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Slots that hold a posting, at most as many as there are.
    closed: Vec<u32>,
    /// At most one, as its maker holds the only [`Turn`].
    request: Option<(Request, Turn)>,
    stop: bool,
}

/// The right to have one request under way; given back when it is done, also where nobody waits for it any more.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// What a caller asks of the writer.
pub(crate) enum Request {
    Flush(Answer<()>),
    Postings(i64, u32, Answer<Vec<SavedPosting>>),
    Total(Account, Answer<Usd>),
    Prune(i64, Answer<u64>),
    /// Answered when the thread has nothing more to do.
    Stop(Answer<()>),
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread works on.
struct Writer {
    runtime: Runtime,
    queue: Arc<Queue>,
    holds: Arc<Holds>,
    at: At,
    /// `None` behind a failure.
    db: Option<Db>,
    /// Slots whose postings are not in the database yet.
    unsaved: Vec<u32>,
    /// Slots whose postings are, and that could not be freed.
    unfreed: Vec<u32>,
    failing: bool,
}

/// What a journal starts with.
pub(crate) struct Started {
    pub(crate) holds: Arc<Holds>,
    pub(crate) recovered: Recovered,
}

// ===== impl Queue =====

impl Queue {
    pub(crate) fn new(slots: usize) -> Self {
        let closed = Vec::with_capacity(slots);
        Self { waiting: Mutex::new(Waiting { closed, ..Waiting::default() }), wake: Condvar::new() }
    }

    /// Hands over a slot that holds a posting.
    pub(crate) fn push(&self, slot: u32) {
        let many = {
            let mut waiting = self.lock();
            waiting.closed.push(slot);
            waiting.closed.len()
        };
        if many == 1 || many == BATCH {
            self.wake.notify_one();
        }
    }

    /// Hands over a request; `false` when nobody would answer it any more.
    pub(crate) fn ask(&self, request: Request, turn: Turn) -> bool {
        let mut waiting = self.lock();
        if waiting.stop {
            return false;
        }
        waiting.request = Some((request, turn));
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// Has the writer save what is there, and end.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to do: a full batch, the end of the interval behind the first posting, a request, the end.
    fn wait(&self, backlog: bool, failing: bool, out: &mut Vec<u32>) -> (Option<(Request, Turn)>, bool) {
        let mut waiting = self.lock();
        let urgent = |waiting: &Waiting| waiting.stop || waiting.request.is_some();
        while !backlog && waiting.closed.is_empty() && !urgent(&waiting) {
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + if failing { RETRY } else { INTERVAL };
        while (failing || waiting.closed.len() < BATCH) && !urgent(&waiting) {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            let woken = self.wake.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        out.append(&mut waiting.closed);
        (waiting.request.take(), waiting.stop)
    }
}

// ===== start =====

/// Opens the files, recovers what is in them, and works until it is stopped. Says first how opening went.
pub(crate) fn run(
    locked: Locked,
    at: At,
    queue: Arc<Queue>,
    slots: u32,
    keep: Duration,
    opened: &mpsc::Sender<Result<Started, OpenError>>,
) {
    let _ended = Ended(Arc::clone(&queue));
    let runtime = match Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = opened.send(Err(OpenError::Io { path: at.path, source }));
            return;
        }
    };
    match runtime.block_on(start(locked, &at, slots, keep)) {
        Ok((db, holds, recovered, unfreed)) => {
            let mut writer = Writer {
                runtime,
                queue,
                holds: Arc::clone(&holds),
                at,
                db: Some(db),
                unsaved: Vec::new(),
                unfreed,
                failing: false,
            };
            if opened.send(Ok(Started { holds, recovered })).is_ok() {
                writer.work();
            }
        }
        Err(error) => {
            let _ = opened.send(Err(error));
        }
    }
}

async fn start(
    locked: Locked,
    at: &At,
    slots: u32,
    keep: Duration,
) -> Result<(Db, Arc<Holds>, Recovered, Vec<u32>), OpenError> {
    let failed = |source: BoxError| OpenError::Database { path: at.path.clone(), source };
    let mut db = Db::open(at).await?;
    let theirs = locked.pair;
    let pair = db.pair(theirs).await.map_err(failed)?;
    if theirs.is_some_and(|theirs| theirs != pair) {
        return Err(locked.mismatched());
    }
    let (holds, mut posted) = locked.into_holds(pair, slots)?;
    let held: HashSet<_> = holds.open_holds().map(|(_, hold, _)| hold.id).collect();
    for entry in &mut posted {
        let Record { kind, id, .. } = entry.record;
        let is_all = kind == Kind::Correction && held.contains(&id);
        if is_all && !db.has(HoldId(id)).await.map_err(|error| unusable(&at.path, error))? {
            // The machine failed before the system had written the posting that it corrects.
            entry.record.kind = Kind::Posting;
        }
    }
    for batch in posted.chunks(MOST_AT_ONCE) {
        db.save(batch).await.map_err(|error| unusable(&at.path, error))?;
    }
    let mut unfreed: Vec<_> = posted.iter().map(|entry| entry.slot).collect();
    let mut recovered = Recovered::default();
    let open: Vec<_> = holds.open_holds().collect();
    for (slot, hold, accounts) in open {
        // The machine failed before the system had written the posting's slot.
        if db.has(hold.id()).await.map_err(|error| unusable(&at.path, error))? {
            unfreed.push(slot);
            continue;
        }
        let (id, call, amount, slot) = (hold.id(), hold.call(), hold.amount(), Slot(slot.into()));
        recovered.holds.push(RecoveredHold::new(id, call, accounts, amount, time_of(hold.at), slot));
    }
    recovered.accounts = db.balances(since(SystemTime::now(), keep)).await.map_err(failed)?;
    unfreed.retain(|&slot| holds.release(slot).is_err());
    Ok((db, Arc::new(holds), recovered, unfreed))
}

/// Has nobody wait for a thread that has ended, in whatever way.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.stop = true;
        waiting.request = None;
    }
}

// ===== impl Writer =====

impl Writer {
    fn work(&mut self) {
        loop {
            let backlog = !self.unsaved.is_empty() || !self.unfreed.is_empty();
            let (request, stop) = self.queue.wait(backlog, self.failing, &mut self.unsaved);
            let saved = self.save();
            match request {
                Some((Request::Stop(answer), _turn)) => {
                    self.close();
                    return send(answer, saved);
                }
                Some((request, _turn)) => self.answer(request, saved),
                None if stop => return self.close(),
                None => {}
            }
        }
    }

    fn close(&mut self) {
        if let Some(db) = self.db.take() {
            let _ = self.runtime.block_on(db.close());
        }
    }

    /// Saves what is closed, and frees its slots.
    fn save(&mut self) -> Result<(), StoreError> {
        self.free();
        while !self.unsaved.is_empty() {
            let many = self.unsaved.len().min(MOST_AT_ONCE);
            let entries: Vec<Entry> =
                self.unsaved[..many].iter().map(|&slot| self.holds.entry(slot)).collect();
            let saved = self.with_db(async |db| db.save(&entries).await.map_err(BoxError::from));
            // Behind a failure it may be that they were saved after all.
            let again = self.failing;
            self.turn(saved.as_ref().err());
            let known = saved.map_err(StoreError::Database)?;
            if known > 0 && !again {
                let path = self.at.path.display();
                tracing::error!(%path, known, "holds were posted whose ids were posted before: not counted");
            }
            self.unfreed.extend(self.unsaved.drain(..many));
            self.free();
        }
        Ok(())
    }

    fn free(&mut self) {
        let holds = &self.holds;
        self.unfreed.retain(|&slot| holds.release(slot).is_err());
    }

    fn answer(&mut self, request: Request, saved: Result<(), StoreError>) {
        match request {
            Request::Flush(answer) | Request::Stop(answer) => send(answer, saved),
            Request::Postings(since, most, answer) => {
                let found = self.with_db(async |db| db.postings(since, most).await);
                send(answer, saved.and(found.map_err(StoreError::Database)));
            }
            Request::Total(account, answer) => {
                let total = self.with_db(async |db| db.total(&account).await);
                send(answer, saved.and(total.map_err(StoreError::Database)));
            }
            Request::Prune(before, answer) => {
                let pruned = self.prune(before);
                send(answer, saved.and(pruned));
            }
        }
    }

    /// Deletes in small pieces, as postings are to be saved in between.
    fn prune(&mut self, before: i64) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let some = self.with_db(async |db| Ok(db.prune(before).await?)).map_err(StoreError::Database)?;
            if some == 0 {
                return Ok(all);
            }
            all += some;
            self.unsaved.append(&mut self.queue.lock().closed);
            self.save()?;
        }
    }

    /// Works with the connection, made anew behind a failure.
    fn with_db<T>(&mut self, work: impl AsyncFnOnce(&mut Db) -> Result<T, BoxError>) -> Result<T, BoxError> {
        let Self { runtime, db, at, .. } = self;
        runtime.block_on(async {
            let mut open = match db.take() {
                Some(open) => open,
                None => at.connect().await?,
            };
            let done = work(&mut open).await;
            match &done {
                Ok(_) => *db = Some(open),
                // In whatever state it is, it is not used again.
                Err(_) => drop(open.close().await),
            }
            done
        })
    }

    /// Logs a change of state, once.
    fn turn(&mut self, error: Option<&BoxError>) {
        let path = self.at.path.display();
        match (self.failing, error) {
            (false, Some(error)) => {
                let error: &(dyn std::error::Error + 'static) = &**error;
                tracing::error!(%path, error, "postings cannot be saved; they stay in the journal and are tried again");
            }
            (true, None) => tracing::info!(%path, "postings are saved again"),
            _ => {}
        }
        self.failing = error.is_some();
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("closed", &self.closed.len()).finish_non_exhaustive()
    }
}

/// Answers, if somebody still waits.
fn send<T>(answer: Answer<T>, result: Result<T, StoreError>) {
    let _ = answer.send(result);
}

/// Postings that are saved without waiting for more.
const BATCH: usize = 500;

/// Most postings of one transaction.
const MOST_AT_ONCE: usize = 2_000;

/// How long a posting waits for more.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long a failed database is left alone.
const RETRY: Duration = Duration::from_secs(1);
