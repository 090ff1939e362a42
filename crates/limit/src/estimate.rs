//! What a call is expected to use, and what it came to.

use ziggurat_catalog::tokens::{BYTES_PER_TOKEN, CountTokens, count_input};
use ziggurat_core::{Attempt, Call, Limit, Measure, Outcome};

use crate::Used;

/// What a call is expected to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) input: u64,
    pub(crate) output: Output,
}

/// Output tokens of all answers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// No more than this, as the caller says.
    Stated(u64),
    /// The caller does not say.
    Guessed(u64),
}

// ===== impl Estimate =====

impl Estimate {
    /// Of the call's own words; `guess` stands for the output tokens of an answer that is not capped.
    pub(crate) fn of(call: &Call, counter: &dyn CountTokens, guess: u64) -> Self {
        let (reads, writes) = match call.operation() {
            operation if operation.generates_text() => (true, true),
            // Counting is not billed.
            operation if operation.counts_tokens() => (false, false),
            _ => (true, false),
        };
        let answers = call.n().max(1);
        Self {
            input: if reads { count_input(call, counter).tokens } else { 0 },
            output: match call.output_cap() {
                _ if !writes => Output::Stated(0),
                Some(cap) => Output::Stated(cap.saturating_mul(answers)),
                None => Output::Guessed(guess.saturating_mul(answers)),
            },
        }
    }

    /// How much of a limit to set aside. A guess is a quarter of the limit at most, and gives way where the call would otherwise not
    /// fit under the limit at all: only what is known may refuse it for good.
    pub(crate) fn amount(&self, limit: &Limit) -> u64 {
        let output = |beside: u64| match self.output {
            Output::Stated(tokens) => tokens,
            Output::Guessed(tokens) => tokens.min(limit.most / 4).min(limit.most.saturating_sub(beside)),
        };
        match limit.measure {
            Measure::Tokens => self.input.saturating_add(output(self.input)),
            Measure::InputTokens => self.input,
            Measure::OutputTokens => output(0),
            _ => 1,
        }
    }
}

/// How the service inside answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// With a stream or a failure, or not at all.
    Somehow,
    /// With a whole answer and a status of success.
    Whole,
    /// A layer of ours refused the call.
    Refused,
}

/// What the attempts came to together; `input` is the estimate for each of them.
pub(crate) fn used<'a>(
    attempts: &(impl Iterator<Item = &'a Attempt> + Clone),
    input: u64,
    answered: Answered,
) -> Used {
    let sent = || attempts.clone().filter(|attempt| attempt.sent);
    let last_is_unreadable = || {
        answered == Answered::Whole
            && attempts.clone().last().is_some_and(|attempt| attempt.sent && failed_at_once(attempt))
    };
    if sent().any(unread) || last_is_unreadable() {
        return Used::new(1, None);
    }
    let tokens = sent()
        .map(|attempt| tokens(attempt, input))
        .fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
    let given_back = answered == Answered::Refused && sent().next().is_none();
    Used::new(u64::from(!given_back), Some(tokens))
}

/// Whole, and nobody knows of what: not an answer that is read.
fn unread(attempt: &Attempt) -> bool {
    attempt.is_whole() && !attempt.content_begun && attempt.usage.is_none()
}

/// The provider refused it, or broke down before it began, or answered what cannot be read.
fn failed_at_once(attempt: &Attempt) -> bool {
    attempt.outcome == Some(Outcome::Failed) && !attempt.content_begun && attempt.usage.is_none()
}

/// Input and output of an attempt that was sent.
fn tokens(attempt: &Attempt, estimate: u64) -> (u64, u64) {
    let stated = |count: Option<u64>| count.filter(|&tokens| tokens <= MOST_TOKENS);
    let input = stated(attempt.usage.and_then(|usage| usage.input_total()));
    let output = stated(attempt.usage.and_then(|usage| usage.output_total()));
    let seen = attempt.content_bytes.div_ceil(BYTES_PER_TOKEN);
    match attempt {
        whole if whole.is_whole() => (input.unwrap_or(estimate), output.unwrap_or(seen)),
        // To the caller a fallback is one call.
        _ if failed_at_once(attempt) => (0, 0),
        // Before its end a provider may have stated less than it has written: Anthropic's says 1 at the start.
        _ => (input.unwrap_or(estimate), output.unwrap_or(0).max(seen)),
    }
}

/// What no answer has: a provider that states more is not believed, as one wrong number would close a limit for a whole window.
const MOST_TOKENS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;
