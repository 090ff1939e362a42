//! Where uses are counted: the trait between the layer and its stores.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use ziggurat_core::{Limit, Measure, Patience, Reply};

use crate::{Level, Quota};

/// Counts what calls use, for every limit at once. Shared, so all methods take `&self`; none may block.
pub trait Store: Send + Sync + 'static {
    /// Counts every ask under its limit, or nothing under any, in one step: no other call comes between.
    ///
    /// An account stands in `asks` once; the layer sees to that. Where the answer comes later and is not waited for, the store gives
    /// back by itself what it had taken.
    fn take(&self, asks: &[Ask], now: SystemTime) -> Reply<Result<Taken, Refused>>;

    /// As [`Store::take`], and a store on another machine is waited for no longer than the call's patience lasts.
    fn take_within(
        &self,
        asks: &[Ask],
        now: SystemTime,
        patience: &Patience,
    ) -> Reply<Result<Taken, Refused>> {
        let _ = patience;
        self.take(asks, now)
    }

    /// Whether it may be on another machine, so that a call may have to wait for it; not unless implemented.
    fn may_wait(&self) -> bool {
        false
    }

    /// Where a limit stands, where that is known without asking another machine.
    fn level(&self, limit: &Limit, now: SystemTime) -> Option<Level>;
}

/// How much of a limit a call is to use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ask {
    /// The limit.
    pub limit: Limit,
    /// How much: 1 of [`Measure::Requests`] and of [`Measure::Concurrency`], an estimate of tokens.
    pub amount: u64,
}

/// What was counted.
#[non_exhaustive]
pub struct Taken {
    /// Where the limits stand after it.
    pub quota: Quota,
    /// Corrects it when the call has ended.
    pub ticket: Box<dyn Ticket>,
}

/// What one call was counted with. Dropped without being settled it frees the call's places, and leaves the rest as it was estimated.
/// Nothing of it blocks or can fail.
pub trait Ticket: Send + Sync {
    /// Frees the places among calls that run at the same time. A second time changes nothing.
    fn leave(&mut self);

    /// Frees the places, and corrects what was estimated: what is less is given back where it was counted, what is more is counted now.
    fn settle(self: Box<Self>, used: Used, now: SystemTime);
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Used {
    /// 1, or 0 if the call was refused before anything was sent.
    pub requests: u64,
    /// Input and output tokens; `None` leaves the estimate as it is.
    pub tokens: Option<(u64, u64)>,
}

/// Why nothing was counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// A limit has no room.
    Exceeded(Box<Exceeded>),
    /// The store can take no more accounts, or cannot be reached: nothing is known, and so nothing is allowed.
    Unavailable(
        /// For the log.
        &'static str,
    ),
}

/// A limit that has no room for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exceeded {
    /// The one that must be waited for longest; the first such in the order of the asks.
    pub level: Level,
    /// When the same would fit if nobody else took it; `None` when it is more than the whole limit.
    pub retry_after: Option<Duration>,
    /// Where all limits stand.
    pub quota: Quota,
}

// ===== impl Ask =====

impl Ask {
    /// Asks for an amount under a limit.
    #[must_use]
    pub const fn new(limit: Limit, amount: u64) -> Self {
        Self { limit, amount }
    }
}

// ===== impl Taken =====

impl Taken {
    /// What was counted, and how to correct it.
    #[must_use]
    pub fn new(quota: Quota, ticket: Box<dyn Ticket>) -> Self {
        Self { quota, ticket }
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taken").field("quota", &self.quota).finish_non_exhaustive()
    }
}

// ===== impl Used =====

impl Used {
    /// A call that came to this; `None` leaves the estimate of its tokens as it is.
    #[must_use]
    pub const fn new(requests: u64, tokens: Option<(u64, u64)>) -> Self {
        Self { requests, tokens }
    }

    /// How much that is in a measure; `None` where nothing is to be corrected.
    #[must_use]
    pub fn of(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Requests => Some(self.requests),
            Measure::Tokens => self.tokens.map(|(input, output)| input.saturating_add(output)),
            Measure::InputTokens => self.tokens.map(|(input, _)| input),
            Measure::OutputTokens => self.tokens.map(|(_, output)| output),
            _ => None,
        }
    }
}

// ===== impl Exceeded =====

impl Exceeded {
    /// A refusal by the limit that stands at `level`.
    #[must_use]
    pub const fn new(level: Level, retry_after: Option<Duration>, quota: Quota) -> Self {
        Self { level, retry_after, quota }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} limit of the {} is reached", self.level.measure, self.level.scope)
    }
}

impl std::error::Error for Exceeded {}

// ===== impl Refused =====

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exceeded(exceeded) => exceeded.fmt(f),
            Self::Unavailable(why) => write!(f, "the store of limits is not available: {why}"),
        }
    }
}

impl std::error::Error for Refused {}
