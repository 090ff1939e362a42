//! How long each stage of a call may take.

use std::time::Duration;

use tokio::time::Instant;
use ziggurat_core::{Cause, Problem};

/// How long each stage of a call may take; `None` is as long as it takes. Connecting is the HTTP client's to bound: its timeout is
/// told as `connect_timeout` where its error says so ([`Problem::of_error`]).
///
/// Written as a request extension, it narrows what is configured: the shorter of both counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the beginning of an attempt to the head of its answer.
    pub first_byte: Option<Duration>,
    /// From the beginning of an attempt to the first content of a stream: text, reasoning, a tool call.
    pub first_token: Option<Duration>,
    /// Between two pieces of a stream.
    pub idle: Option<Duration>,
    /// An attempt at an answer in one piece, to its end.
    pub whole: Option<Duration>,
    /// An attempt at any answer, to its end.
    pub attempt: Option<Duration>,
    /// The whole call: all attempts, the waits between them, and the end of the answer.
    pub total: Option<Duration>,
}

/// Extension of the request of an attempt: how long it may take, for the HTTP client, which alone knows whether anything was sent when
/// the time was over ([`Unsent`](ziggurat_core::Unsent)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptTimes {
    /// When the head of the answer is to be there.
    pub head: Option<Instant>,
    /// How long its body may be silent, in place of what the client has for all: longer than is waited for it here.
    pub idle: Option<Duration>,
}

/// Which of the timeouts has fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// [`Timeouts::first_byte`].
    FirstByte,
    /// [`Timeouts::first_token`].
    FirstToken,
    /// [`Timeouts::idle`].
    Idle,
    /// [`Timeouts::attempt`], or [`Timeouts::whole`].
    Attempt,
    /// [`Timeouts::total`].
    Total,
}

/// The next moment at which a timeout fires, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fires {
    pub(crate) at: Instant,
    pub(crate) timer: Timer,
    limit: Duration,
}

// ===== impl Timeouts =====

impl Timeouts {
    /// No timeout at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the time to the head of an answer.
    #[must_use]
    pub const fn first_byte(mut self, limit: Duration) -> Self {
        self.first_byte = Some(limit);
        self
    }

    /// Sets the time to the first content of a stream.
    #[must_use]
    pub const fn first_token(mut self, limit: Duration) -> Self {
        self.first_token = Some(limit);
        self
    }

    /// Sets the time between two pieces of a stream.
    #[must_use]
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Sets the time for an attempt at an answer in one piece.
    #[must_use]
    pub const fn whole(mut self, limit: Duration) -> Self {
        self.whole = Some(limit);
        self
    }

    /// Sets the time for an attempt.
    #[must_use]
    pub const fn attempt(mut self, limit: Duration) -> Self {
        self.attempt = Some(limit);
        self
    }

    /// Sets the time for the whole call.
    #[must_use]
    pub const fn total(mut self, limit: Duration) -> Self {
        self.total = Some(limit);
        self
    }

    /// These, and where they say nothing, those of `outer`.
    #[must_use]
    pub fn or(self, outer: Self) -> Self {
        self.each(outer, |own, outer| own.or(outer))
    }

    /// The shorter of both, timeout by timeout.
    #[must_use]
    pub fn narrowed(self, by: Self) -> Self {
        self.each(by, |own, by| match (own, by) {
            (Some(own), Some(by)) => Some(own.min(by)),
            (own, by) => own.or(by),
        })
    }

    fn each(self, other: Self, of: impl Fn(Option<Duration>, Option<Duration>) -> Option<Duration>) -> Self {
        Self {
            first_byte: of(self.first_byte, other.first_byte),
            first_token: of(self.first_token, other.first_token),
            idle: of(self.idle, other.idle),
            whole: of(self.whole, other.whole),
            attempt: of(self.attempt, other.attempt),
            total: of(self.total, other.total),
        }
    }
}

// ===== impl Fires =====

impl Fires {
    /// When `timer` fires that was started at `start`, if it does.
    pub(crate) fn after(start: Instant, limit: Option<Duration>, timer: Timer) -> Option<Self> {
        // What lies beyond the clock's end never comes.
        let limit = limit?;
        Some(Self { at: start.checked_add(limit)?, timer, limit })
    }

    /// The earlier of both.
    pub(crate) fn first(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) if other.at < one.at => Some(other),
            (one, other) => one.or(other),
        }
    }

    /// Whether it fired by the caller's own limit, not by what is configured: then the deployment is not to blame, nor is it where the call's
    /// own time was over.
    pub(crate) fn is_callers(&self, configured: &Timeouts) -> bool {
        let limits = match self.timer {
            Timer::FirstByte => [configured.first_byte, None],
            Timer::FirstToken => [configured.first_token, None],
            Timer::Idle => [configured.idle, None],
            Timer::Attempt => [configured.attempt, configured.whole],
            Timer::Total => [None, None],
        };
        !limits.contains(&Some(self.limit))
    }

    /// What the caller is told.
    pub(crate) fn problem(&self) -> Problem {
        let limit = self.limit;
        let (code, what) = match self.timer {
            Timer::FirstByte => ("first_byte_timeout", "the provider did not begin to answer"),
            Timer::FirstToken => ("first_token_timeout", "the provider's stream held no content"),
            Timer::Idle => ("idle_timeout", "the provider's stream was silent for"),
            Timer::Attempt => ("attempt_timeout", "the provider did not come to the end of its answer"),
            Timer::Total => ("total_timeout", "the call did not come to its end"),
        };
        let within = if self.timer == Timer::Idle { "" } else { " within" };
        Problem::new(Cause::Timeout, format!("{what}{within} {limit:?}")).code(code)
    }
}

/// Waits until a timeout fires; for ever where there is none.
pub(crate) async fn fired(fires: Option<Fires>) -> Fires {
    match fires {
        Some(fires) => {
            tokio::time::sleep_until(fires.at).await;
            fires
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_own_comes_before_the_outer_and_the_shorter_narrows() {
        let own = Timeouts::none().idle(seconds(5)).total(seconds(9));
        let outer = Timeouts::none().idle(seconds(3)).first_byte(seconds(1));
        assert_eq!(own.or(outer), Timeouts::none().idle(seconds(5)).total(seconds(9)).first_byte(seconds(1)));
        let narrowed = Timeouts::none().idle(seconds(3)).total(seconds(9)).first_byte(seconds(1));
        assert_eq!(own.narrowed(outer), narrowed);
    }

    #[tokio::test(start_paused = true)]
    async fn each_says_which_it_is() {
        let start = Instant::now();
        let idle = Fires::after(start, Some(seconds(2)), Timer::Idle);
        let total = Fires::after(start, Some(Duration::from_millis(1500)), Timer::Total);
        let first = fired(Fires::first(idle, total)).await;
        assert_eq!((first.timer, start.elapsed()), (Timer::Total, Duration::from_millis(1500)));
        let said = [idle, total].map(|fires| {
            let problem = fires.expect("is set").problem();
            (problem.message, problem.code.unwrap_or_default())
        });
        assert_eq!(said[0].0, "the provider's stream was silent for 2s");
        assert_eq!(said[1].0, "the call did not come to its end within 1.5s");
        assert_eq!((&*said[0].1, &*said[1].1), ("idle_timeout", "total_timeout"));
        assert_eq!(Fires::after(start, Some(Duration::MAX), Timer::Idle), None);
    }
}
