//! Where limits stand, and the headers that say so.

use std::{
    io::{Cursor, Write},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use ziggurat_core::{Limit, Measure, ScopeKind};

/// Where the tightest limits of a call stand: a response extension, on refusals too, for hosts that make headers of their own of it.
///
/// Tightest is the limit with the least share of it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// The tightest limit of requests.
    pub requests: Option<Level>,
    /// The tightest limit of tokens of any kind.
    pub tokens: Option<Level>,
    /// The tightest limit of calls at the same time.
    pub concurrency: Option<Level>,
}

/// Where one limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Level {
    /// Whose it is; without an id, as callers may see it.
    pub scope: ScopeKind,
    /// What it counts.
    pub measure: Measure,
    /// The most of it.
    pub most: u64,
    /// The stretch of time it holds for.
    pub per: Duration,
    /// How much of it is left.
    pub remaining: u64,
    /// In what time all of it is there again, if nobody uses any; zero for concurrency, which does not depend on time.
    pub reset: Duration,
}

// ===== impl Level =====

impl Level {
    /// Where `limit` stands.
    #[must_use]
    pub fn new(limit: &Limit, remaining: u64, reset: Duration) -> Self {
        Self {
            scope: limit.account.scope.kind,
            measure: limit.measure,
            most: limit.most,
            per: limit.per,
            remaining: remaining.min(limit.most),
            reset,
        }
    }

    /// Whether less of this one is left than of the other, as a share of the whole.
    fn is_tighter(&self, other: &Self) -> bool {
        let share = |level: &Self, most: u64| u128::from(level.remaining) * u128::from(most);
        share(self, other.most) < share(other, self.most) || (self.most == 0 && other.most > 0)
    }
}

// ===== impl Quota =====

impl Quota {
    /// Takes note of where another limit stands.
    pub fn note(&mut self, level: Level) {
        let slot = match level.measure {
            Measure::Requests => &mut self.requests,
            Measure::Concurrency => &mut self.concurrency,
            _ => &mut self.tokens,
        };
        if slot.as_ref().is_none_or(|tightest| level.is_tighter(tightest)) {
            *slot = Some(level);
        }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requests.is_none() && self.tokens.is_none() && self.concurrency.is_none()
    }

    /// Puts OpenAI's headers of both kinds into a response, in place of a provider's of the same name
    /// (<https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>).
    pub(crate) fn write_into(&self, headers: &mut HeaderMap) {
        let levels = [(&self.requests, &REQUESTS), (&self.tokens, &TOKENS)];
        // All six values stand in one buffer.
        let mut text = Cursor::new([0; MOST_TEXT]);
        let mut ends = [0; 6];
        for ((level, _), ends) in levels.iter().zip(ends.chunks_mut(3)) {
            let Some(level) = level else { continue };
            // There is room.
            let _written = write!(text, "{}", level.most);
            ends[0] = text.position() as usize;
            let _written = write!(text, "{}", level.remaining);
            ends[1] = text.position() as usize;
            write_go_duration(&mut text, level.reset);
            ends[2] = text.position() as usize;
        }
        let text = Bytes::from_owner(text.into_inner());
        headers.reserve(ends.len());
        let mut start = 0;
        for ((level, names), ends) in levels.iter().zip(ends.chunks(3)) {
            if level.is_none() {
                continue;
            }
            for (name, &end) in names.iter().zip(ends) {
                if let Ok(value) = HeaderValue::from_maybe_shared(text.slice(start..end)) {
                    headers.insert(name, value);
                }
                start = end;
            }
        }
    }
}

impl FromIterator<Level> for Quota {
    fn from_iter<T: IntoIterator<Item = Level>>(levels: T) -> Self {
        let mut quota = Self::default();
        levels.into_iter().for_each(|level| quota.note(level));
        quota
    }
}

/// As Go writes durations and OpenAI its resets: `120ms`, `1s`, `6m0s`, `1h0m0s`; in whole milliseconds, rounded up, and without them
/// from a minute on.
fn write_go_duration(out: &mut impl Write, duration: Duration) {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let _written = match millis {
        0 => write!(out, "0s"),
        1..1000 => write!(out, "{millis}ms"),
        1000..60_000 => {
            let (seconds, rest) = (millis / 1000, millis % 1000);
            let digits = format_args!("{rest:03}").to_string();
            match digits.trim_end_matches('0') {
                "" => write!(out, "{seconds}s"),
                digits => write!(out, "{seconds}.{digits}s"),
            }
        }
        _ => {
            let seconds = millis.div_ceil(1000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match hours {
                0 => write!(out, "{minutes}m{seconds}s"),
                _ => write!(out, "{hours}h{minutes}m{seconds}s"),
            }
        }
    };
}

/// More than two pairs of numbers of 20 digits and two durations of 24 letters are.
const MOST_TEXT: usize = 160;

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];

const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (1, "1ms"),
            (120_000_000, "120ms"),
            (119_000_001, "120ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (1_050_000_000, "1.05s"),
            (59_999_000_000, "59.999s"),
            (60_000_000_000, "1m0s"),
            (61_875_000_000, "1m2s"),
            (360_000_000_000, "6m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_000_000_000, "25h1m1s"),
        ];
        for (nanos, text) in cases {
            let mut out = Vec::new();
            write_go_duration(&mut out, Duration::from_nanos(nanos));
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    #[test]
    fn the_tightest_limit_is_told_and_takes_the_place_of_a_providers() {
        let level = |measure, most, remaining| {
            let limit = Limit::new(ziggurat_core::Scope::gateway(), measure, most, Duration::from_secs(60));
            Level::new(&limit, remaining, Duration::from_millis(1500))
        };
        let mut quota = Quota::default();
        for (most, remaining) in [(10, 5), (100, 20), (1000, 900)] {
            quota.note(level(Measure::Requests, most, remaining));
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-limit-requests", HeaderValue::from_static("9999"));
        headers.insert("x-ratelimit-limit-tokens", HeaderValue::from_static("8888"));
        quota.write_into(&mut headers);
        let get = |name| headers[name].to_str().expect("is text");
        assert_eq!(get("x-ratelimit-limit-requests"), "100");
        assert_eq!(get("x-ratelimit-remaining-requests"), "20");
        assert_eq!(get("x-ratelimit-reset-requests"), "1.5s");
        // Nothing of ours limits tokens.
        assert_eq!(get("x-ratelimit-limit-tokens"), "8888");
        assert_eq!(headers.len(), 4);

        quota.note(level(Measure::Requests, 0, 0));
        quota.note(level(Measure::OutputTokens, 7, 7));
        quota.note(level(Measure::Tokens, 7, 6));
        quota.write_into(&mut headers);
        assert_eq!(headers["x-ratelimit-limit-requests"], "0");
        assert_eq!(headers["x-ratelimit-remaining-tokens"], "6");
        assert_eq!(headers.len(), 6);
    }
}
