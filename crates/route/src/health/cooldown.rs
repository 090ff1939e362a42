//! When a deployment is left alone, and for how long.

use std::time::Duration;

use ziggurat_core::Cause;

use crate::retry::{Kind, PerKind};

/// When a deployment cools down after failures, and for how long.
///
/// By default after 5 failures in a row, or when half of at least 10 calls of the last 10 seconds failed; for 30 seconds the first time
/// and 30 more with each failed trial, up to 5 minutes; and at once for as long as the provider says, up to a minute. What only another
/// request helps against (a wrong request, a prompt that is too long or forbidden) and a wrong key never count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooldown {
    pub(super) consecutive: Option<u32>,
    pub(super) rate: Option<FailureRate>,
    pub(super) allowed: Option<u32>,
    pub(super) allowed_by_kind: PerKind<u32>,
    pub(super) base: Duration,
    pub(super) max: Duration,
    pub(super) hint_max: Duration,
    pub(super) disabled: bool,
}

/// The share of failures that is too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRate {
    /// Of the calls, at least so many failed.
    pub percent: u8,
    /// Fewer calls say nothing.
    pub min_calls: u32,
    /// The calls of so long ago are looked at.
    pub window: Duration,
}

// ===== impl Cooldown =====

impl Cooldown {
    /// Never.
    #[must_use]
    pub fn disabled() -> Self {
        Self { disabled: true, ..Self::default() }
    }

    /// When more than `allowed` calls of a minute fail, always for `time` (LiteLLM's `allowed_fails` and `cooldown_time`); no time: never.
    #[must_use]
    pub fn allowed_fails(allowed: u32, time: Duration) -> Self {
        Self {
            allowed: Some(allowed),
            base: time,
            max: time,
            consecutive: None,
            rate: None,
            ..Self::default()
        }
    }

    /// When more than `allowed` calls of a minute fail in this way, whatever is allowed of others (LiteLLM's `allowed_fails_policy`).
    /// Kinds that never count do not count by this.
    #[must_use]
    pub fn allowed_fails_for(mut self, kind: Kind, allowed: u32) -> Self {
        self.allowed_by_kind.set(kind, allowed);
        self
    }

    /// After so many failures in a row; `None`: however many.
    #[must_use]
    pub const fn consecutive(mut self, failures: Option<u32>) -> Self {
        self.consecutive = failures;
        self
    }

    /// When so large a share of calls fails; `None`: however large.
    #[must_use]
    pub const fn rate(mut self, rate: Option<FailureRate>) -> Self {
        self.rate = rate;
        self
    }

    /// For so long the first time, and for so much longer each time that the trial failed; `max` at most.
    #[must_use]
    pub const fn lasting(mut self, base: Duration, max: Duration) -> Self {
        (self.base, self.max) = (base, max);
        self
    }

    /// For as long as the provider says, up to this; longer hints are cut.
    #[must_use]
    pub const fn hint_at_most(mut self, most: Duration) -> Self {
        self.hint_max = most;
        self
    }

    /// Whether failures of this cause are the deployment's own.
    #[must_use]
    pub const fn counts(&self, cause: Cause) -> bool {
        let own = matches!(
            cause,
            Cause::RateLimit
                | Cause::Quota
                | Cause::Internal
                | Cause::Upstream
                | Cause::Overloaded
                | Cause::Timeout
                | Cause::RequestTimeout
        );
        own && !self.disabled
    }

    /// The longest that it lasts by itself or by a hint.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.max.max(self.hint_max)
    }

    /// How long it lasts the `n`th time.
    pub(super) fn time(&self, n: u32) -> Duration {
        self.base.saturating_mul(n).min(self.max)
    }
}

impl Default for Cooldown {
    fn default() -> Self {
        Self {
            consecutive: Some(5),
            rate: Some(FailureRate { percent: 50, min_calls: 10, window: Duration::from_secs(10) }),
            allowed: None,
            allowed_by_kind: PerKind::default(),
            base: Duration::from_secs(30),
            max: Duration::from_secs(300),
            hint_max: Duration::from_secs(60),
            disabled: false,
        }
    }
}
