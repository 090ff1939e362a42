//! Counters on another machine, that several nodes share.

mod levels;
mod store;
mod ticket;

use std::{sync::Arc, time::Duration};

use ziggurat_core::Asked;

pub use self::store::Remote;
use crate::{Ask, Level, Refused, Used};

/// Counters on another machine, as one of its clients sees them: each method is one round trip, and one atomic step there. Times are the
/// machine's own, by its clock.
pub trait Backend: Send + Sync + 'static {
    /// Counts every ask under its limit, or nothing under any. A place among calls that run at the same time is `id`'s until it leaves, or
    /// until `lease` has passed without a renewal. An id of which it was said before that no answer came
    /// ([`Correction::at`]) is refused, or its place is free again when `lease` has passed.
    fn take<'a>(
        &'a self,
        id: TakeId,
        asks: &'a [Ask],
        lease: Duration,
    ) -> Asked<'a, Result<Granted, Refused>>;

    /// Frees places, and corrects what was estimated. What is repeated changes nothing: an id's places are freed once, and its amounts
    /// corrected once. It may leave first, without `used`, and be corrected later. Never fails because of what is in the batch.
    fn settle<'a>(&'a self, batch: &'a [Correction]) -> Asked<'a, ()>;

    /// Keeps places for another `lease`. One that is not there stays so: this is also asked to see whether the machine answers.
    fn renew<'a>(&'a self, running: &'a [(TakeId, Arc<[Ask]>)], lease: Duration) -> Asked<'a, ()>;
}

/// The id of what was taken, unique among all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TakeId(pub u128);

/// What was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// Where each limit stands after it, in the order of the asks.
    pub levels: Vec<Level>,
    /// When it was counted, in microseconds since the Unix epoch by the machine's clock: names the slice that is corrected.
    pub at: u64,
}

/// The end of what was taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Correction {
    /// What was taken.
    pub id: TakeId,
    /// With these amounts.
    pub asks: Arc<[Ask]>,
    /// When, as [`Granted::at`] says; `None` when no answer came: then only its places are freed.
    pub at: Option<u64>,
    /// What it came to; `None` leaves the estimate as it is.
    pub used: Option<Used>,
}

// ===== impl Granted =====

impl Granted {
    /// What was counted, when, and where the limits stand after it.
    #[must_use]
    pub const fn new(levels: Vec<Level>, at: u64) -> Self {
        Self { levels, at }
    }
}

// ===== impl Correction =====

impl Correction {
    /// The end of what was taken.
    #[must_use]
    pub const fn new(id: TakeId, asks: Arc<[Ask]>, at: Option<u64>, used: Option<Used>) -> Self {
        Self { id, asks, at, used }
    }
}
