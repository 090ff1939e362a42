//! Postings that nobody has settled, while they can still be put right.

use std::{collections::BTreeMap, time::SystemTime};

use ziggurat_core::Usd;

use super::{
    Mutex, MutexGuard,
    memory::{Accounts, Memory, Posted, kept},
};
use crate::{Charge, HoldId, JournalError, Posting};

/// The latest unreconciled postings: ids sort by time, and the oldest is forgotten first.
#[derive(Default)]
pub(super) struct Unreconciled(Mutex<BTreeMap<HoldId, Orphan>>);

struct Orphan {
    call: HoldId,
    held: Usd,
    amount: Usd,
    posted: Vec<Posted>,
}

// ===== impl Memory =====

impl Memory {
    /// Posts what a hold that nobody settled was charged, once: in the place of what was posted, if it was.
    pub(super) fn reconcile(&self, id: HoldId, charge: Charge) -> bool {
        let state = self.state();
        if let Some(lost) = state.pending.take(id) {
            self.post_lost(id, lost, |_| charge);
            return true;
        }
        // Whoever takes it out corrects it, or puts it back.
        let Some(orphan) = state.unreconciled.all().remove(&id) else { return false };
        let now = self.clock.now();
        let mut locked = state.accounts.lock(orphan.posted.iter().map(|posted| posted.key), now);
        let corrected = pin(&mut locked, &orphan.posted, now)
            && match self.write_correction(id, &orphan, charge, now) {
                Ok(()) => true,
                Err(JournalError) => {
                    unpin(&mut locked, &orphan.posted);
                    false
                }
            };
        if !corrected {
            drop(locked);
            state.unreconciled.all().insert(id, orphan);
            return false;
        }
        for posted in &orphan.posted {
            let entry = kept(&mut locked, posted.key);
            entry.correct(posted.bucket, orphan.amount, charge.amount, now);
            entry.free(Usd::ZERO);
        }
        true
    }

    fn write_correction(
        &self,
        id: HoldId,
        orphan: &Orphan,
        charge: Charge,
        at: SystemTime,
    ) -> Result<(), JournalError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let Orphan { call, held, amount, ref posted } = *orphan;
        let lines: Vec<_> = posted.iter().map(Posted::line).collect();
        let mut flags = charge.flags;
        flags.overrun |= charge.amount > held;
        journal.correct(amount, &Posting { id, call, at, held, amount: charge.amount, flags, lines: &lines })
    }
}

// ===== impl Unreconciled =====

impl Unreconciled {
    pub(super) fn remember(&self, id: HoldId, call: HoldId, held: Usd, amount: Usd, posted: Vec<Posted>) {
        let mut all = self.all();
        all.insert(id, Orphan { call, held, amount, posted });
        if all.len() > MOST {
            all.pop_first();
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<HoldId, Orphan>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Sees to it that each account is there and stays, also one that was forgotten because nothing was posted. Says whether it could.
fn pin(locked: &mut Accounts<'_>, posted: &[Posted], now: SystemTime) -> bool {
    for (at, one) in posted.iter().enumerate() {
        let Ok(entry) = locked.entry(one.key) else {
            unpin(locked, &posted[..at]);
            return false;
        };
        entry.advance(&one.window, now);
        entry.open(Usd::ZERO);
    }
    true
}

fn unpin(locked: &mut Accounts<'_>, posted: &[Posted]) {
    for one in posted {
        kept(locked, one.key).free(Usd::ZERO);
    }
}

/// Postings that are remembered.
const MOST: usize = 10_000;
