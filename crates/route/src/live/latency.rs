//! How fast a deployment answers, lately.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Sample;
use crate::moment::Moment;

/// Means of the time to the first token and of the time per token, in which a call counts the less the older it is.
pub(crate) struct Latency {
    /// Seconds, as the bits of a float; [`NONE`] if nothing is known.
    first_token: AtomicU64,
    per_token: AtomicU64,
    /// When the last call counted.
    at: AtomicU64,
    means: Box<Mutex<[Mean; 2]>>,
}

/// A sum of samples and of their weights, both of which decay.
#[derive(Clone, Copy, Debug)]
struct Mean {
    sum: f64,
    weight: f64,
    at: Moment,
}

const NONE: u64 = f64::NAN.to_bits();

// ===== impl Latency =====

impl Latency {
    pub(crate) fn new() -> Self {
        let none = Mean { sum: 0.0, weight: 0.0, at: Moment::stored(0) };
        Self {
            first_token: AtomicU64::new(NONE),
            per_token: AtomicU64::new(NONE),
            at: AtomicU64::new(0),
            means: Box::new(Mutex::new([none; 2])),
        }
    }

    /// Counts a call that succeeded. After `half_life`, it counts half.
    ///
    /// Where an answer came in one piece, nobody knows when its first token was written: all of its time is put down to its tokens, or
    /// is its time to the first token where these are not known.
    pub(crate) fn add(&self, sample: &Sample, half_life: Duration, now: Moment) {
        let written = sample.output_tokens.filter(|tokens| *tokens > 0);
        let (first, rest) =
            (sample.first_token.min(sample.total), sample.total.saturating_sub(sample.first_token));
        let (first, per_token) = match written {
            Some(tokens) if rest.is_zero() => (None, Some(sample.total.as_secs_f64() / tokens as f64)),
            // The first of them came with the first token.
            Some(tokens) if tokens > 1 => (Some(first), Some(rest.as_secs_f64() / (tokens - 1) as f64)),
            _ => (Some(first), None),
        };
        let mut means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        let [first_mean, per_token_mean] = &mut *means;
        if let Some(first) = first {
            self.first_token.store(first_mean.add(first.as_secs_f64(), half_life, now), Ordering::Relaxed);
        }
        if let Some(per_token) = per_token {
            self.per_token.store(per_token_mean.add(per_token, half_life, now), Ordering::Relaxed);
        }
        self.at.store(now.number(), Ordering::Release);
    }

    /// Seconds to the end of an answer of so many tokens. `None` if nothing is known, or nothing that is not older than `stale`.
    pub(crate) fn expected(&self, tokens: f64, stale: Duration, now: Moment) -> Option<f64> {
        let at = self.at.load(Ordering::Acquire);
        if at == 0 || now.since(Moment::stored(at)) > stale {
            return None;
        }
        let seconds = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
        let (first, per_token) = (seconds(&self.first_token), seconds(&self.per_token));
        let known = |value: f64| if value.is_nan() { 0.0 } else { value };
        Some(known(first) + known(per_token) * tokens)
    }

    /// The time to the first token, and per token.
    pub(crate) fn means(&self) -> (Option<Duration>, Option<Duration>) {
        let time =
            |bits: &AtomicU64| Duration::try_from_secs_f64(f64::from_bits(bits.load(Ordering::Relaxed))).ok();
        (time(&self.first_token), time(&self.per_token))
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latency").field(&self.means()).finish()
    }
}

// ===== impl Mean =====

impl Mean {
    /// Counts a sample; the bits of the mean.
    fn add(&mut self, sample: f64, half_life: Duration, now: Moment) -> u64 {
        let lives = now.since(self.at).as_secs_f64() / half_life.as_secs_f64().max(1e-9);
        let left = (-lives).exp2();
        self.sum = self.sum * left + sample;
        self.weight = self.weight * left + 1.0;
        self.at = self.at.max(now);
        (self.sum / self.weight).to_bits()
    }
}
