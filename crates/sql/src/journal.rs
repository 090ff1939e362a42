//! The journal: a file of holds, and the database behind it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use tokio::sync::oneshot;
use ziggurat_budget::{Flags, HoldId, Journal, JournalError, OpenHold, Posting, Recovered, Slot};
use ziggurat_core::{Account, Usd};

use crate::{
    db::At,
    error::{OpenError, StoreError},
    holds::{Holds, Locked, NoRoom},
    record::{self, Record},
    time::micros,
    writer::{self, Queue, Request, Started},
};

/// Writes holds and postings down, so that a killed process has lost nothing; keeps what was posted in a SQLite database.
///
/// The ledger's path writes to the system's page cache alone. A thread of its own puts what is settled into the database, and is
/// joined when the journal is dropped.
pub struct SqliteJournal {
    holds: Arc<Holds>,
    queue: Arc<Queue>,
    turn: Arc<tokio::sync::Mutex<()>>,
    closed: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a [`SqliteJournal`] is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Most holds and unsaved postings at a time; 16,384 unless told. Each takes 2 KiB in the file of holds.
    pub slots: u32,
    /// How old what is posted may be and still be recovered; 400 days unless told. What counts for ever always is, and what counts in
    /// a window of [`ziggurat_budget::calendar`]'s, however long; a calendar of the host's own may be no longer than this.
    pub history: Duration,
    /// How long to wait for another connection that has the database locked; 5 s unless told.
    pub busy_timeout: Duration,
    pub(crate) most_pages: Option<u32>,
}

/// A posting, as it is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedPosting {
    /// The hold that ended.
    pub id: HoldId,
    /// The call it was part of.
    pub call: HoldId,
    /// When, to the microsecond.
    pub at: SystemTime,
    /// How much was set aside at last.
    pub held: Usd,
    /// How much was charged.
    pub amount: Usd,
    /// What is to be known of it.
    pub flags: Flags,
    /// Where it was posted, and under which bucket of the account's window.
    pub lines: Vec<(Account, i64)>,
}

// ===== impl Options =====

impl Options {
    /// Sets how many holds and unsaved postings there may be at a time.
    #[must_use]
    pub const fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Sets how old what is posted may be and still be recovered.
    #[must_use]
    pub const fn history(mut self, history: Duration) -> Self {
        self.history = history;
        self
    }

    /// Sets how long to wait for another connection that has the database locked.
    #[must_use]
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slots: 16_384,
            history: Duration::from_secs(400 * 24 * 60 * 60),
            busy_timeout: Duration::from_secs(5),
            most_pages: None,
        }
    }
}

// ===== impl SqliteJournal =====

impl SqliteJournal {
    /// Opens the database at `path` and the file of holds beside it (`<path>-holds`), which are made where they are not there, and
    /// gives what an earlier process left.
    ///
    /// Blocks: it reads both files. For the start of a process, within a runtime or without one.
    ///
    /// # Errors
    /// [`OpenError`] when another process has them open, when they are damaged or of a newer version, or cannot be used.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<(Arc<Self>, Recovered), OpenError> {
        let path = path.as_ref();
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        // By any name, a database has one file of holds.
        fs::OpenOptions::new().append(true).create(true).open(path).map_err(io)?;
        let path = fs::canonicalize(path).map_err(io)?;
        let locked = Locked::open(&beside(&path))?;

        let slots = options.slots.max(1);
        let queue = Arc::new(Queue::new(slots as usize));
        let at =
            At { path: path.clone(), busy_timeout: options.busy_timeout, most_pages: options.most_pages };
        let (opened, opening) = mpsc::channel();
        let for_thread = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("ziggurat-sql".to_owned())
            .spawn(move || writer::run(locked, at, for_thread, slots, options.history, &opened))
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let Ok(started) = opening.recv() else {
            let _ = thread.join();
            return Err(OpenError::Database { path, source: "opening it panicked".into() });
        };
        let Started { holds, recovered } = match started {
            Ok(started) => started,
            Err(error) => {
                // Its files are closed when it has ended.
                let _ = thread.join();
                return Err(error);
            }
        };
        let journal = Self {
            holds,
            queue,
            turn: Arc::default(),
            closed: AtomicBool::new(false),
            thread: Mutex::new(Some(thread)),
        };
        Ok((Arc::new(journal), recovered))
    }

    /// Waits until everything that was posted before is in the database.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; what is not saved stays in the journal.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.ask(Request::Flush).await
    }

    /// Refuses further holds, waits until everything that was posted is in the database, and ends the thread. Holds that are
    /// open, and what is posted from here on, stay in the file of holds for the next process.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed: what is not saved stays in the file of holds.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Release);
        let stopped = self.ask(Request::Stop).await;
        self.stop();
        stopped
    }

    /// What was posted since then, in order of time, at most `most` (10,000 at the very most) of them.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn postings(&self, since: SystemTime, most: u32) -> Result<Vec<SavedPosting>, StoreError> {
        let (since, most) = (micros(since), most.min(MOST_READ));
        self.ask(|answer| Request::Postings(since, most, answer)).await
    }

    /// What was posted to an account in all buckets that are not pruned.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn total(&self, account: &Account) -> Result<Usd, StoreError> {
        let account = account.clone();
        self.ask(|answer| Request::Total(account, answer)).await
    }

    /// Deletes what was posted before, and sums into which nothing was posted since, except those that count for ever (bucket 0) or
    /// counted then in a window of [`ziggurat_budget::calendar`]'s. Gives how many rows it were. A posting that is corrected later is
    /// there again, as of then, and the sums that are left say what it came to.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; what was deleted before that is gone.
    pub async fn prune(&self, before: SystemTime) -> Result<u64, StoreError> {
        self.ask(|answer| Request::Prune(micros(before), answer)).await
    }

    /// How many more holds there is room for.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.holds.free()
    }

    /// One request at a time; it waits for its turn.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (answer, answered) = oneshot::channel();
        if !self.queue.ask(request(answer), turn) {
            return Err(StoreError::Closed);
        }
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Ends the thread, behind what it is doing.
    fn stop(&self) {
        self.queue.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that saves postings has panicked; they are in the file of holds");
        }
    }

    pub(crate) fn take(&self, hold: Record, accounts: &[Arc<Account>]) -> Result<Slot, NoRoom> {
        if self.closed.load(Ordering::Acquire) {
            return Err(NoRoom::Full);
        }
        self.holds.take(hold, accounts).map(|slot| Slot(slot.into()))
    }

    pub(crate) fn put_right(&self, correction: Record, lines: &[(Arc<Account>, i64)]) -> Result<(), NoRoom> {
        if self.closed.load(Ordering::Acquire) {
            return Err(NoRoom::Full);
        }
        let slot = self.holds.correct(correction, lines)?;
        self.queue.push(slot);
        Ok(())
    }

    pub(crate) fn post(&self, slot: &Slot, posting: Record, lines: &[(Arc<Account>, i64)]) {
        if let Some(slot) = self.holds.post(slot.0, posting, lines) {
            self.queue.push(slot);
        }
    }
}

impl Journal for SqliteJournal {
    fn open(&self, hold: &OpenHold<'_>) -> Result<Slot, JournalError> {
        let record = Record {
            id: hold.id.0,
            call: hold.call.0,
            amount: hold.amount.as_pico(),
            at: micros(hold.expires_at),
            ..Record::default()
        };
        self.take(record, hold.accounts).map_err(|_| JournalError::new())
    }

    fn grow(&self, slot: &Slot, amount: Usd) {
        self.holds.grow(slot.0, amount);
    }

    fn close(&self, slot: Slot, posting: &Posting<'_>) {
        self.post(&slot, record_of(posting), posting.lines);
    }

    /// The database has the posting first, unless it was pruned: then the correction is a posting of its own.
    fn correct(&self, posted: Usd, posting: &Posting<'_>) -> Result<(), JournalError> {
        let correction = Record { posted: posted.as_pico(), ..record_of(posting) };
        self.put_right(correction, posting.lines).map_err(|_| JournalError::new())
    }
}

/// Saves what was posted, and blocks until that is done: [`SqliteJournal::close`] is for where that matters.
impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal").field("holds", &self.holds).finish_non_exhaustive()
    }
}

fn record_of(posting: &Posting<'_>) -> Record {
    Record {
        id: posting.id.0,
        call: posting.call.0,
        amount: posting.amount.as_pico(),
        held: posting.held.as_pico(),
        at: micros(posting.at),
        flags: record::bits_of(posting.flags),
        ..Record::default()
    }
}

/// The file of holds of a database.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-holds");
    name.into()
}

/// Most postings that are read at a time.
const MOST_READ: u32 = 10_000;
