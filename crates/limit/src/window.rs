//! A sliding window, cut into slices: what was used in any stretch of its length, and when there is room again.
//!
//! A slice counts until all of it has left the window. So there is never more than the limit in *any* stretch of the window's length,
//! wherever it begins; the price is that an amount counts for up to one slice longer than it must. Under saturation the limit can be
//! used once in [`SLICES`] + 1 slices, which is 97 % of what an exact log of every call would let through.

use std::time::{Duration, SystemTime};

/// How many slices a window is cut into. 32 of them keep at least 1 - 1/32 of the limit usable (19 is where that falls below 95 %), and
/// the state of a busy counter at half a kilobyte.
pub(crate) const SLICES: u64 = 32;

/// What was used of one limit lately. Takes the time from outside; when that goes back, nothing is forgotten sooner.
///
/// A call counts in the newest slice, and looks at the older ones only when a slice begins: they are elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    /// The newest slice in which something was used. Where nothing was, nothing counts.
    newest: Slice,
    /// What counts now, of all slices.
    used: u64,
    /// When all of them have left the window.
    free_at: Nanos,
    /// The other slices in which something was used, the oldest first.
    older: Vec<Slice>,
    /// How often the slices were numbered anew, because the clock was set back.
    era: u32,
    /// Calls that run now, for a limit of concurrency.
    pub(crate) running: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: u64,
    used: u64,
}

/// Nanoseconds, of a span or of the Unix epoch.
pub(crate) type Nanos = u64;

/// A window's length, as its slices'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    slice: Nanos,
}

/// Where an amount was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    number: u64,
    era: u32,
}

/// What stands in an amount's way; the later, the longer it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Full {
    /// There is room after this time, if nobody else takes it.
    For(Duration),
    /// It is more than the limit: there is never room.
    Ever,
}

// ===== impl Window =====

impl Window {
    /// A window of this length; of 584 years where it is longer.
    pub(crate) fn new(per: Duration) -> Self {
        let nanos = Nanos::try_from(per.as_nanos()).unwrap_or(Nanos::MAX);
        // Rounded up: the slices must not be shorter than the window.
        Self { slice: nanos.div_ceil(SLICES).max(1) }
    }

    /// When a slice has left the window: it is one slice long itself.
    const fn left_at(self, number: u64) -> Nanos {
        number.saturating_add(SLICES + 1).saturating_mul(self.slice)
    }
}

// ===== impl Counter =====

impl Counter {
    /// Counts `amount` if it fits under `most`. A limit of zero has room for nothing, not even for calls that use none of it.
    pub(crate) fn take(&mut self, amount: u64, most: u64, window: Window, now: Nanos) -> Result<Spot, Full> {
        let present = self.advance(window, now);
        if most == 0 || amount > most {
            return Err(Full::Ever);
        }
        let over = self.used.saturating_sub(most - amount);
        if amount > 0 && over > 0 {
            return Err(self.room_in(over, window, now));
        }
        self.count(present, amount, window);
        Ok(Spot { number: present, era: self.era })
    }

    /// Counts `amount` now, whether it fits or not: it was used.
    pub(crate) fn add(&mut self, amount: u64, window: Window, now: Nanos) {
        let present = self.advance(window, now);
        self.count(present, amount, window);
    }

    /// Takes back what was counted at `spot` and is not used after all, if it still counts.
    pub(crate) fn give_back(&mut self, amount: u64, spot: Spot, window: Window, now: Nanos) {
        self.advance(window, now);
        self.undo(amount, spot);
    }

    /// As [`Counter::give_back`], in the same moment.
    pub(crate) fn undo(&mut self, amount: u64, spot: Spot) {
        if spot.era != self.era {
            return;
        }
        let given = if self.newest.number == spot.number {
            let given = self.newest.give(amount);
            if self.newest.used == 0 {
                self.newest = self.older.pop().unwrap_or_default();
            }
            given
        } else if let Ok(at) = self.older.binary_search_by_key(&spot.number, |slice| slice.number) {
            let given = self.older[at].give(amount);
            if self.older[at].used == 0 {
                self.older.remove(at);
            }
            given
        } else {
            0
        };
        match self.used {
            // There may be more.
            u64::MAX => self.sum_up(),
            used => self.used = used - given,
        }
    }

    /// What counts, and in what time none of it does any more; in the moment of the last change or [`Counter::advance`].
    pub(crate) fn level(&self, window: Window, now: Nanos) -> (u64, Duration) {
        let free_at = if self.used == 0 { 0 } else { window.left_at(self.newest.number) };
        (self.used, until(free_at, now))
    }

    /// Counts a call as running if it is not one too many.
    pub(crate) fn enter(&mut self, most: u64) -> Result<(), Full> {
        if u64::from(self.running) >= most {
            return Err(if most == 0 { Full::Ever } else { Full::For(Duration::from_secs(1)) });
        }
        self.running = self.running.saturating_add(1);
        Ok(())
    }

    /// Undoes [`Counter::enter`].
    pub(crate) fn leave(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Whether nothing would change if it were forgotten.
    pub(crate) const fn is_idle(&self, now: Nanos) -> bool {
        self.running == 0 && (self.used == 0 || now >= self.free_at)
    }

    fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.older.iter().chain([&self.newest])
    }

    fn sum_up(&mut self) {
        self.used = self.slices().fold(0, |sum, slice| sum.saturating_add(slice.used));
    }

    /// When so much has left the window.
    fn room_in(&self, over: u64, window: Window, now: Nanos) -> Full {
        let mut leaving = 0_u64;
        let slice = self.slices().find(|slice| {
            leaving = leaving.saturating_add(slice.used);
            leaving >= over
        });
        slice.map_or(Full::Ever, |slice| Full::For(until(window.left_at(slice.number), now)))
    }

    fn count(&mut self, present: u64, amount: u64, window: Window) {
        if amount == 0 {
            return;
        }
        if self.newest.number != present {
            if self.newest.used > 0 {
                self.older.push(self.newest);
            }
            self.newest = Slice { number: present, used: 0 };
        }
        self.newest.used = self.newest.used.saturating_add(amount);
        self.used = self.used.saturating_add(amount);
        self.free_at = window.left_at(present);
    }

    /// Forgets the slices that have left the window, and gives the number of the present one.
    pub(crate) fn advance(&mut self, window: Window, now: Nanos) -> u64 {
        let present = now / window.slice;
        // Whoever counted in the present slice has forgotten what had left before it.
        if self.used == 0 || self.newest.number == present {
            return present;
        }
        self.move_to(present, window)
    }

    /// As [`Counter::advance`], from another slice.
    fn move_to(&mut self, mut present: u64, window: Window) -> u64 {
        if self.newest.number > present {
            let ahead = self.newest.number - present;
            if ahead <= SLICES {
                // A little behind, as a thread that was late or a clock that was corrected: time stands still until it has caught up.
                present = self.newest.number;
            } else {
                self.set_back(ahead, window);
            }
        }
        let left = self.older.iter().take_while(|slice| present - slice.number > SLICES).count();
        self.older.drain(..left);
        if present - self.newest.number > SLICES {
            self.newest = Slice::default();
        }
        self.sum_up();
        present
    }

    /// The clock was set back by more than a window. What was used stays as old as it was when it was last looked at: to wait until the
    /// clock shows the old time again could take for ever.
    fn set_back(&mut self, slices: u64, window: Window) {
        self.older.push(self.newest);
        for slice in &mut self.older {
            slice.number = slice.number.saturating_sub(slices);
        }
        self.older.dedup_by(|later, earlier| {
            let same = later.number == earlier.number;
            if same {
                earlier.used = earlier.used.saturating_add(later.used);
            }
            same
        });
        self.newest = self.older.pop().unwrap_or_default();
        self.era = self.era.wrapping_add(1);
        self.free_at = window.left_at(self.newest.number);
    }
}

// ===== impl Slice =====

impl Slice {
    /// Takes back as much of an amount as there is.
    fn give(&mut self, amount: u64) -> u64 {
        let given = amount.min(self.used);
        self.used -= given;
        given
    }
}

/// Nanoseconds since the Unix epoch; the nearest there are for a time before it or after the year 2554.
pub(crate) fn nanos(now: SystemTime) -> Nanos {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since
        .as_secs()
        .checked_mul(1_000_000_000)
        .and_then(|nanos| nanos.checked_add(since.subsec_nanos().into()))
        .unwrap_or(Nanos::MAX)
}

const fn until(then: Nanos, now: Nanos) -> Duration {
    Duration::from_nanos(then.saturating_sub(now))
}

#[cfg(test)]
mod tests;
