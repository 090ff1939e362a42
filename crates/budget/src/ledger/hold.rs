//! A reservation in memory.

use std::{fmt, sync::Arc};

use ziggurat_core::Usd;

use super::{
    Mutex,
    memory::{Ending, Lines, Memory},
};
use crate::{Charge, Flags, Hold, HoldId, Refused, Reply, Slot};

/// Held until it is settled, or dropped.
pub(super) struct MemoryHold {
    memory: Arc<Memory>,
    id: HoldId,
    call: HoldId,
    lines: Lines,
    /// Locked before the accounts are, by whoever changes it.
    held: Mutex<Amount>,
}

struct Amount {
    amount: Usd,
    slot: Option<Slot>,
    ended: bool,
}

// ===== impl MemoryHold =====

impl MemoryHold {
    pub(super) fn new(
        memory: Arc<Memory>,
        (id, call): (HoldId, HoldId),
        lines: Lines,
        amount: Usd,
        slot: Option<Slot>,
    ) -> Self {
        let held = Mutex::new(Amount { amount, slot, ended: false });
        Self { memory, id, call, lines, held }
    }

    /// Ends it, once, with the charge for what was held.
    fn end(&mut self, charge: impl FnOnce(Usd) -> Charge) {
        let (id, call) = (self.id, self.call);
        let held = self.held.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !std::mem::replace(&mut held.ended, true) {
            let charge = charge(held.amount);
            let ending = Ending { id, call, held: held.amount, charge, slot: held.slot.take() };
            self.memory.close(&mut self.lines, ending);
        }
    }
}

impl Hold for MemoryHold {
    fn extend(&self, least: Usd, most: Usd) -> Reply<Result<Usd, Refused>> {
        let mut held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let more = self.memory.extend(&self.lines, held.amount, held.slot.as_ref(), least, most);
        if let Ok(more) = more {
            held.amount += more;
        }
        Reply::Ready(more)
    }

    fn settle(mut self: Box<Self>, charge: Charge) {
        self.end(|_| charge);
    }
}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        self.end(|held| Charge::of(held, Flags { unreconciled: true, ..Flags::default() }));
    }
}

impl fmt::Debug for MemoryHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryHold").field("id", &self.id).finish_non_exhaustive()
    }
}
