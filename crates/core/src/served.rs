//! What answered a call, as far as it is known when the headers go out.

use std::sync::Arc;

use crate::Target;

/// Which target answered, after how many attempts, and whether a cache did; written as a response extension by whoever chose.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Served {
    /// The deployment that answered; absent for a cache hit.
    pub target: Option<Target>,
    /// Attempts made, the answering one included; 0 for a cache hit.
    pub attempts: u32,
    /// The model group that the answering deployment is of, where there are groups.
    pub group: Option<Arc<str>>,
    /// Attempts after the first within the group that answered, or that was tried last.
    pub retries: u32,
    /// Groups that were fallen back to.
    pub fallbacks: u32,
    /// What the cache did.
    pub cache: CacheStatus,
}

/// What a cache did with a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheStatus {
    /// No cache was asked.
    #[default]
    NotAsked,
    /// The answer came from the cache.
    Hit,
    /// The cache had none.
    Miss,
    /// The answer is that of another caller's call, which was under way.
    Shared,
}

// ===== impl CacheStatus =====

impl CacheStatus {
    /// Whether the answer is no new one: no attempt was made for it.
    #[must_use]
    pub const fn is_given_again(self) -> bool {
        matches!(self, Self::Hit | Self::Shared)
    }
}

// ===== impl Served =====

impl Served {
    /// An answer of `target`, at its `attempts`th attempt.
    #[must_use]
    pub const fn by(target: Target, attempts: u32) -> Self {
        Self {
            target: Some(target),
            attempts,
            group: None,
            retries: 0,
            fallbacks: 0,
            cache: CacheStatus::NotAsked,
        }
    }

    /// An answer that was given before.
    #[must_use]
    pub fn again(cache: CacheStatus) -> Self {
        Self { cache, ..Self::default() }
    }
}
