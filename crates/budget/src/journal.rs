//! What the in-process ledger writes down, so that a killed process has lost nothing.

use std::{fmt, sync::Arc, time::SystemTime};

use ziggurat_core::{Account, Usd};

use crate::{Flags, HoldId};

/// Keeps holds and postings beyond the process. Called under the ledger's locks: appends to memory or to the system's page cache,
/// and never waits for a disk.
pub trait Journal: Send + Sync + 'static {
    /// Writes down a hold before its call is made, and takes the room in which it will be settled.
    ///
    /// # Errors
    /// [`JournalError`] when there is no room: the call is refused.
    fn open(&self, hold: &OpenHold<'_>) -> Result<Slot, JournalError>;

    /// Writes down that a hold has grown to `amount`.
    fn grow(&self, slot: &Slot, amount: Usd);

    /// Writes down how a hold ended, once for each: takes the slot back. Cannot fail, as its room was taken when it was opened.
    fn close(&self, slot: Slot, posting: &Posting<'_>);

    /// Writes down that a hold which nobody had settled, and of which `posted` was posted, came to what `posting` says: under the
    /// same buckets.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be written down, as it is where a journal does not implement this: nothing is corrected.
    fn correct(&self, posted: Usd, posting: &Posting<'_>) -> Result<(), JournalError> {
        let (_, _) = (posted, posting);
        Err(JournalError)
    }
}

/// A hold to be written down.
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenHold<'a> {
    /// Its id.
    pub id: HoldId,
    /// The call it is part of.
    pub call: HoldId,
    /// Where it is held.
    pub accounts: &'a [Arc<Account>],
    /// How much.
    pub amount: Usd,
    /// When it is posted as unreconciled, should nobody settle it.
    pub expires_at: SystemTime,
}

/// The room of one hold in a [`Journal`].
#[derive(Debug)]
pub struct Slot(pub u64);

/// How a hold ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Posting<'a> {
    /// The hold.
    pub id: HoldId,
    /// The call it was part of.
    pub call: HoldId,
    /// When.
    pub at: SystemTime,
    /// How much was set aside at last.
    pub held: Usd,
    /// How much was charged.
    pub amount: Usd,
    /// What is to be known of it.
    pub flags: Flags,
    /// Where it was posted, and under which bucket of the account's window: the number of the period, or of the slice of it.
    pub lines: &'a [(Arc<Account>, i64)],
}

/// The journal has no room for another hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalError;

/// What an earlier process left.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// What was posted.
    pub accounts: Vec<RecoveredAccount>,
    /// What was still held.
    pub holds: Vec<RecoveredHold>,
}

/// What was posted to an account.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecoveredAccount {
    /// Which.
    pub account: Account,
    /// What was posted under each bucket.
    pub buckets: Vec<(i64, Usd)>,
}

/// A hold that an earlier process did not settle.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecoveredHold {
    /// Its id.
    pub id: HoldId,
    /// The call it was part of.
    pub call: HoldId,
    /// Where it is held.
    pub accounts: Vec<Account>,
    /// How much.
    pub amount: Usd,
    /// When it is posted as unreconciled.
    pub expires_at: SystemTime,
    /// Its room in the journal.
    pub slot: Slot,
}

// ===== impl RecoveredAccount =====

impl RecoveredAccount {
    /// What was posted to `account`.
    #[must_use]
    pub const fn new(account: Account, buckets: Vec<(i64, Usd)>) -> Self {
        Self { account, buckets }
    }
}

// ===== impl RecoveredHold =====

impl RecoveredHold {
    /// A hold as it was written down.
    #[must_use]
    pub const fn new(
        id: HoldId,
        call: HoldId,
        accounts: Vec<Account>,
        amount: Usd,
        expires_at: SystemTime,
        slot: Slot,
    ) -> Self {
        Self { id, call, accounts, amount, expires_at, slot }
    }
}

// ===== impl JournalError =====

impl JournalError {
    /// The error of a journal that is full.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal has no room for another reservation")
    }
}

impl std::error::Error for JournalError {}
