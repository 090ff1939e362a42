//! A sliding window, cut into slices: what was used in any stretch of its length, and when there is room again.
//!
//! A slice counts until all of it has left the window. So there is never more than the limit in *any* stretch of the window's length,
//! wherever it begins; the price is that an amount counts for up to one slice longer than it must. Under saturation the limit can be
//! used once in [`SLICES`] + 1 slices, which is 97 % of what an exact log of every call would let through.

use std::time::{Duration, SystemTime};

use ziggurat_core::Idle;

/// How many slices a window is cut into. 32 of them keep at least 1 - 1/32 of the limit usable (19 is where that falls below 95 %), and
/// the state of a busy counter at half a kilobyte.
pub(crate) const SLICES: u64 = 32;

/// What was used of one limit lately. Takes the time from outside; when that goes back, nothing is forgotten sooner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    /// The slices of the window in which something was used, the oldest first.
    slices: Vec<Slice>,
    /// When all of them have left the window.
    free_at: Nanos,
    /// How often the slices were numbered anew, because the clock was set back.
    era: u32,
    /// Calls that run now, for a limit of concurrency.
    pub(crate) running: u32,
}

#[derive(Clone, Copy, Debug)]
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
    pub(crate) fn take(
        &mut self,
        amount: u64,
        most: u64,
        window: Window,
        now: SystemTime,
    ) -> Result<Spot, Full> {
        let present = self.advance(window, now);
        if most == 0 || amount > most {
            return Err(Full::Ever);
        }
        let over = self.used().saturating_sub(most - amount);
        if amount > 0 && over > 0 {
            return Err(self.room_in(over, window, now));
        }
        self.count(present, amount, window);
        Ok(Spot { number: present, era: self.era })
    }

    /// Counts `amount` now, whether it fits or not: it was used.
    pub(crate) fn add(&mut self, amount: u64, window: Window, now: SystemTime) {
        let present = self.advance(window, now);
        self.count(present, amount, window);
    }

    /// Takes back what was counted at `spot` and is not used after all, if it still counts.
    pub(crate) fn give_back(&mut self, amount: u64, spot: Spot, window: Window, now: SystemTime) {
        self.advance(window, now);
        self.undo(amount, spot);
    }

    /// As [`Counter::give_back`], in the same moment.
    pub(crate) fn undo(&mut self, amount: u64, spot: Spot) {
        if spot.era != self.era {
            return;
        }
        if let Ok(at) = self.slices.binary_search_by_key(&spot.number, |slice| slice.number) {
            let slice = &mut self.slices[at];
            slice.used = slice.used.saturating_sub(amount);
            if slice.used == 0 {
                self.slices.remove(at);
            }
        }
    }

    /// What counts now, and in what time none of it does any more.
    pub(crate) fn level(&mut self, window: Window, now: SystemTime) -> (u64, Duration) {
        self.advance(window, now);
        let newest = self.slices.last().map_or(0, |slice| window.left_at(slice.number));
        (self.used(), until(newest, now))
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

    fn used(&self) -> u64 {
        self.slices.iter().fold(0, |sum, slice| sum.saturating_add(slice.used))
    }

    /// When so much has left the window.
    fn room_in(&self, over: u64, window: Window, now: SystemTime) -> Full {
        let mut leaving = 0_u64;
        let slice = self.slices.iter().find(|slice| {
            leaving = leaving.saturating_add(slice.used);
            leaving >= over
        });
        slice.map_or(Full::Ever, |slice| Full::For(until(window.left_at(slice.number), now)))
    }

    fn count(&mut self, present: u64, amount: u64, window: Window) {
        if amount == 0 {
            return;
        }
        match self.slices.last_mut() {
            Some(slice) if slice.number == present => slice.used = slice.used.saturating_add(amount),
            _ => {
                // Most counters see one call in a window.
                self.slices.reserve_exact(usize::from(self.slices.capacity() == 0));
                self.slices.push(Slice { number: present, used: amount });
            }
        }
        self.free_at = window.left_at(present);
    }

    /// Forgets the slices that have left the window, and gives the number of the present one.
    fn advance(&mut self, window: Window, now: SystemTime) -> u64 {
        let mut present = nanos(now) / window.slice;
        if let Some(newest) = self.slices.last().map(|slice| slice.number)
            && newest > present
        {
            if newest - present <= SLICES {
                // A little behind, as a thread that was late or a clock that was corrected: time stands still until it has caught up.
                present = newest;
            } else {
                self.set_back(newest - present, window);
            }
        }
        let left = self.slices.iter().take_while(|slice| present - slice.number > SLICES).count();
        self.slices.drain(..left);
        present
    }

    /// The clock was set back by more than a window. What was used stays as old as it was when it was last looked at: to wait until the
    /// clock shows the old time again could take for ever.
    fn set_back(&mut self, slices: u64, window: Window) {
        for slice in &mut self.slices {
            slice.number = slice.number.saturating_sub(slices);
        }
        self.slices.dedup_by(|later, earlier| {
            let same = later.number == earlier.number;
            if same {
                earlier.used = earlier.used.saturating_add(later.used);
            }
            same
        });
        self.era = self.era.wrapping_add(1);
        self.free_at = self.slices.last().map_or(0, |slice| window.left_at(slice.number));
    }
}

impl Idle for Counter {
    fn is_idle(&self, now: SystemTime) -> bool {
        self.running == 0 && (self.slices.is_empty() || nanos(now) >= self.free_at)
    }
}

/// Nanoseconds since the Unix epoch; the nearest there are for a time before it or after the year 2554.
fn nanos(now: SystemTime) -> Nanos {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
}

fn until(then: Nanos, now: SystemTime) -> Duration {
    Duration::from_nanos(then.saturating_sub(nanos(now)))
}

#[cfg(test)]
mod tests;
