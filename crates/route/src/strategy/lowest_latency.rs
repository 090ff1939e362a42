use std::time::Duration;

use super::{Among, Strategy};
use crate::random::{index, unit};

/// That which answers soonest: by the mean time to its first token, and the mean time per token for as many as are expected. Of those that
/// are within 10 % of the fastest, a random one.
///
/// A deployment of which nothing is known, or nothing of the last ten minutes, is tried first, by one call a minute. Besides, 2 % of the
/// calls are spread by weight over all, so that one that was slow once is seen to be fast again. Failures are no samples: they make no
/// deployment faster. Of more than 64 it chooses among 64 that stand together somewhere.
#[derive(Clone, Copy, Debug)]
pub struct LowestLatency {
    buffer: f64,
    explore: f64,
    tokens: f64,
    stale: Duration,
}

// ===== impl LowestLatency =====

impl LowestLatency {
    /// As described above, for answers of 100 tokens.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: 0.1, explore: 0.02, tokens: 100.0, stale: Duration::from_secs(600) }
    }

    /// Chooses at random among those that are slower than the fastest by at most this share of its time.
    #[must_use]
    pub fn buffer(self, share: f64) -> Self {
        Self { buffer: share.max(0.0), ..self }
    }

    /// Spreads this share of the calls over all.
    #[must_use]
    pub fn explore(self, share: f64) -> Self {
        Self { explore: share, ..self }
    }

    /// Expects answers of so many tokens.
    #[must_use]
    pub fn expected_tokens(self, tokens: u32) -> Self {
        Self { tokens: f64::from(tokens), ..self }
    }

    /// Knows nothing any more of a deployment that no call succeeded at for so long.
    #[must_use]
    pub fn forget_after(self, time: Duration) -> Self {
        Self { stale: time, ..self }
    }
}

impl Default for LowestLatency {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for LowestLatency {
    fn choose(&self, among: &Among<'_>) -> Option<usize> {
        if unit(among.random()) < self.explore {
            return among.weighted();
        }
        let mut known = [(0, f64::INFINITY); Among::SAMPLE];
        let (mut length, mut fastest, mut unused, mut unused_seen) = (0, f64::INFINITY, None, 0);
        let slice = among.slice();
        for member in among.sample() {
            if let Some(time) = among.expected_latency(member, self.tokens, self.stale) {
                known[length] = (member, time);
                length += 1;
                fastest = fastest.min(time);
            } else if among.requests(member, slice) == 0 {
                unused_seen += 1;
                if index(among.random(), unused_seen) == 0 {
                    unused = Some(member);
                }
            }
        }
        if unused.is_some() {
            return unused;
        }
        let most = fastest * (1.0 + self.buffer);
        let known = &known[..length];
        let near = || known.iter().filter(|(_, time)| *time <= most);
        let chosen = index(among.random(), near().count());
        near().nth(chosen).map(|(member, _)| *member)
    }
}
