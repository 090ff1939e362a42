//! How many tokens a text or a request's input has: exactly, where a tokenizer is published, else by estimate.
//!
//! # Example
//! ```
//! use ziggurat_catalog::tokens::{ByLength, Count, CountTokens};
//!
//! assert_eq!(ByLength.count("gpt-4o", "hello world"), Count::estimate(4));
//! let words = |_model: &str, text: &str| Count::estimate(text.split_whitespace().count() as u64);
//! assert_eq!(words.count("any", "hello world").tokens, 2);
//! ```
//!
//! # Limits
//! What is counted here decides reservations, not bills: a provider's `usage` settles them. Estimates lean to the high side. All
//! counting is linear in the length of the body; only `Exact` (feature `tiktoken`) is slow enough to need a bound, and has one.

mod escape;
#[cfg(feature = "tiktoken")]
mod exact;
mod input;
mod models;

use std::{
    iter::Sum,
    ops::{Add, AddAssign},
};

#[cfg(feature = "tiktoken")]
pub use self::exact::Exact;
pub use self::input::{
    AUDIO_BYTES_PER_TOKEN, IMAGE_TOKENS, PAGE_BYTES, PAGE_TOKENS, TOKENS_OF_CLAUDE_TOOLS, TOKENS_OF_TOOLS,
    TOKENS_PER_MESSAGE, TOKENS_PER_NAME, TOKENS_PER_REPLY, count_input,
};

/// A number of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Count {
    /// How many.
    pub tokens: u64,
    /// Whether the provider's own count is known to be the same.
    pub exact: bool,
}

/// How many tokens a text has for a model. Closures of the same shape implement it.
///
/// It is asked on async threads: it answers in a time that is bounded for any text, or its host calls it elsewhere.
pub trait CountTokens: Send + Sync + 'static {
    /// Counts the tokens of `text` for `model`, by the name under which it is asked for; special tokens' names count as text.
    fn count(&self, model: &str, text: &str) -> Count;

    /// Counts the text that `escaped` stands for: the contents of a JSON string, between its quotes.
    ///
    /// The default unescapes it, which copies it when it has escapes.
    fn count_escaped(&self, model: &str, escaped: &str) -> Count {
        self.count(model, &escape::unescape(escaped))
    }

    /// How many bytes of one request it is willing to read: [`count_input`] counts what is beyond [`ByLength`]. No limit unless
    /// overridden.
    fn byte_limit(&self) -> usize {
        usize::MAX
    }

    /// Names this way to count, where every counter of that name counts the same: a request is then counted once for all layers that
    /// ask ([`count_input`]). None unless overridden.
    fn name(&self) -> Option<&'static str> {
        None
    }
}

/// About a token for three bytes of UTF-8, rounded up; never exact. The default, as it needs no vocabulary and hardly any time.
///
/// Bytes a token, measured with o200k_base and cl100k_base: English prose 4.7, Rust and Python 4.1 to 4.5, Chinese, Japanese and
/// Korean 3.1 to 4.0 and 2.4 to 2.6, Russian 6.5 and 2.8, digits 3.0, emoji 2.4 and 1.5, hex 1.8, base64 1.4. So it errs to the high
/// side for prose and code, by a third and more, is about right for letters of three bytes, and low for what is random.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByLength;

/// A token for each byte of UTF-8: a bound that no byte-level tokenizer exceeds, as a token has at least one byte; never exact.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtMostBytes;

// ===== impl Count =====

impl Count {
    /// A count that is the provider's own.
    #[must_use]
    pub const fn exact(tokens: u64) -> Self {
        Self { tokens, exact: true }
    }

    /// A count that may be off.
    #[must_use]
    pub const fn estimate(tokens: u64) -> Self {
        Self { tokens, exact: false }
    }
}

/// The sum is exact when both are.
impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { tokens: self.tokens.saturating_add(other.tokens), exact: self.exact && other.exact }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The sum of nothing is exactly 0.
impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::exact(0), Add::add)
    }
}

// ===== impl CountTokens =====

impl<F> CountTokens for F
where
    F: Fn(&str, &str) -> Count + Send + Sync + 'static,
{
    fn count(&self, model: &str, text: &str) -> Count {
        self(model, text)
    }
}

impl CountTokens for ByLength {
    fn count(&self, _model: &str, text: &str) -> Count {
        Count::estimate((text.len() as u64).div_ceil(BYTES_PER_TOKEN))
    }

    fn count_escaped(&self, _model: &str, escaped: &str) -> Count {
        Count::estimate((escape::plain_len(escaped) as u64).div_ceil(BYTES_PER_TOKEN))
    }

    fn name(&self) -> Option<&'static str> {
        Some("by length")
    }
}

impl CountTokens for AtMostBytes {
    fn count(&self, _model: &str, text: &str) -> Count {
        Count::estimate(text.len() as u64)
    }

    fn count_escaped(&self, _model: &str, escaped: &str) -> Count {
        Count::estimate(escape::plain_len(escaped) as u64)
    }

    fn name(&self) -> Option<&'static str> {
        Some("at most bytes")
    }
}

/// Bytes of text that count as a token where nobody has counted: see [`ByLength`].
pub const BYTES_PER_TOKEN: u64 = 3;

#[cfg(test)]
mod tests;
