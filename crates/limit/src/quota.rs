//! Where limits stand, and the headers that say so.

use std::time::Duration;

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

/// Header values, one after the other.
struct Text {
    bytes: [u8; MOST_TEXT],
    end: usize,
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
        let mut text = Text { bytes: [0; MOST_TEXT], end: 0 };
        let mut ends = [0; 6];
        for ((level, _), ends) in levels.iter().zip(ends.chunks_mut(3)) {
            let Some(level) = level else { continue };
            text.number(level.most);
            ends[0] = text.end;
            text.number(level.remaining);
            ends[1] = text.end;
            text.go_duration(level.reset);
            ends[2] = text.end;
        }
        let text = Bytes::from_owner(text.bytes);
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

// ===== impl Text =====

impl Text {
    fn put(&mut self, text: &[u8]) {
        let end = self.end + text.len();
        self.bytes[self.end..end].copy_from_slice(text);
        self.end = end;
    }

    fn number(&mut self, number: u64) {
        self.put(itoa::Buffer::new().format(number).as_bytes());
    }

    /// As Go writes durations and OpenAI its resets: `120ms`, `1s`, `6m0s`, `1h0m0s`; in whole milliseconds, rounded up, and without
    /// them from a minute on.
    fn go_duration(&mut self, duration: Duration) {
        let rest = duration.subsec_nanos().div_ceil(1_000_000);
        let millis = duration.as_secs().saturating_mul(1000).saturating_add(rest.into());
        match millis {
            0 => self.put(b"0s"),
            1..1000 => {
                self.number(millis);
                self.put(b"ms");
            }
            1000..60_000 => {
                self.number(millis / 1000);
                let rest = millis % 1000;
                let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
                let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
                if kept > 0 {
                    self.put(b".");
                }
                self.put(&digits[..kept]);
                self.put(b"s");
            }
            _ => {
                let seconds = millis.div_ceil(1000);
                if seconds >= 3600 {
                    self.number(seconds / 3600);
                    self.put(b"h");
                }
                self.number(seconds / 60 % 60);
                self.put(b"m");
                self.number(seconds % 60);
                self.put(b"s");
            }
        }
    }
}

/// More than two pairs of numbers of 20 digits and two durations of 24 letters are.
const MOST_TEXT: usize = 160;

static REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];

static TOKENS: [HeaderName; 3] = [
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
            let mut out = Text { bytes: [0; MOST_TEXT], end: 0 };
            out.go_duration(Duration::from_nanos(nanos));
            assert_eq!(String::from_utf8_lossy(&out.bytes[..out.end]), text);
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
