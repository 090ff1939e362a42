//! Moments as one number, so that they fit into an atomic.

use std::{sync::LazyLock, time::Duration};

use tokio::time::Instant;

/// Nanoseconds on a scale of the process's own; never 0, which stands for no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// What [`MIDDLE`] stands for. Nothing depends on when it is; moments before it can be told, too.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// 146 years of nanoseconds in both directions.
const MIDDLE: u64 = 1 << 62;

// ===== impl Moment =====

impl Moment {
    /// The moment that an instant is.
    pub(crate) fn of(instant: Instant) -> Self {
        let epoch = *EPOCH;
        match instant.checked_duration_since(epoch) {
            Some(after) => Self(MIDDLE.saturating_add(nanos(after))),
            None => Self(MIDDLE.saturating_sub(nanos(epoch - instant)).max(1)),
        }
    }

    /// As it was stored.
    pub(crate) const fn stored(number: u64) -> Self {
        Self(number)
    }

    /// For storing it.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// So much later.
    pub(crate) fn after(self, time: Duration) -> Self {
        // Short of the top, which stands for something else where moments are stored.
        Self(self.0.saturating_add(nanos(time)).min(u64::MAX - 1))
    }

    /// How long after `earlier` it is; nothing if it is not.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_spans_on_both_sides_of_the_epoch() {
        let epoch = *EPOCH;
        let [second, day] = [1, 86_400].map(Duration::from_secs);
        for from in [Some(epoch), epoch.checked_sub(second), epoch.checked_add(day)].into_iter().flatten() {
            let (begin, end) = (Moment::of(from), Moment::of(from + second));
            assert_eq!(end.since(begin), second);
            assert_eq!(begin.since(end), Duration::ZERO);
            assert_eq!(begin.after(second), end);
        }
    }
}
