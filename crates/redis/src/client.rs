//! The client that the stores share.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ziggurat_core::Clock;

use crate::{
    Answers, Budgets, Cooldowns, InvalidOptions, Limits, Options, link::Link, money::TOP, names::Names,
};

/// A Redis server, or a Cluster, that several nodes share. Cheap to clone; clones share one connection, which is given up with the last.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) names: Names,
    pub(crate) remember: Duration,
    clock: Option<Clock>,
}

// ===== impl Redis =====

impl Redis {
    /// Begins to connect, within the Tokio runtime that this is called in, and does not wait for the server: it may be away.
    ///
    /// A connection that is lost is made again in the background: at once, and then at most 0.4 s after the last attempt. While there is
    /// none, whoever asks is told at once.
    ///
    /// # Errors
    /// [`InvalidOptions`] for options that no server could be reached with.
    pub fn connect(options: impl Into<Options>) -> Result<Self, InvalidOptions> {
        let options = options.into();
        let names = Names(options.prefix.clone());
        let mut probe = redis::cmd("EXISTS");
        // Of the slot that everything is in.
        probe.arg(names.only("clock"));
        let link = Link::new(&options, probe)?;
        Ok(Self(Arc::new(Inner { link, names, remember: options.remember, clock: options.clock })))
    }

    /// The counters of limits there.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits(Arc::clone(&self.0))
    }

    /// The ledger there.
    #[must_use]
    pub fn budgets(&self) -> Budgets {
        Budgets(Arc::clone(&self.0))
    }

    /// The cooldowns of deployments there. Made once by each node: its clones share what it has told and heard.
    #[must_use]
    pub fn cooldowns(&self) -> Cooldowns {
        Cooldowns::new(Arc::clone(&self.0))
    }

    /// The answers of a cache that are kept there. Made once by each node: its clones share what is on its way.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers::new(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

// ===== impl Inner =====

impl Inner {
    /// What a script is told of the time: nothing, unless a test tells it.
    pub(crate) fn given_time(&self) -> String {
        self.clock.as_ref().map_or_else(String::new, |clock| micros_since_epoch(clock.now()).to_string())
    }

    /// This node's clock.
    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone().unwrap_or_default()
    }

    /// This node's time: for the calendar, of which two periods are named so that the server's can choose.
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.as_ref().map_or_else(SystemTime::now, Clock::now)
    }
}

/// A span as scripts have it: in microseconds, rounded up.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1000)).map_or(TOP, |micros| micros.min(TOP))
}

/// A moment as scripts have it; the nearest there is.
pub(crate) fn micros_since_epoch(at: SystemTime) -> i64 {
    let micros = |span: Duration| i64::try_from(span.as_micros()).map_or(MOST, |micros| micros.min(MOST));
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

const MOST: i64 = TOP.cast_signed();
