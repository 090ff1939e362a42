//! OpenAI's tokenizers, loaded beside the traffic and bounded.

use std::sync::OnceLock;

use bpe_openai::Tokenizer;

use super::{
    ByLength, Count, CountTokens,
    escape::{self, split, split_escaped},
    models::{self, Encoding},
};

/// Counts the tokens of OpenAI's models exactly, by their published vocabularies (`o200k_base`, `cl100k_base`), once they are
/// loaded; those of other models by length.
///
/// What a model's name says decides: its beginning, behind any `provider/`. Special tokens' names (`<|endoftext|>`) count as the
/// text they are. Text beyond a limit, 64 KiB unless set, is counted by length, so that a request takes 10 ms at most (prose of that
/// length 1.3 ms, letters at random 6 ms); hosts that want less set a lower limit or call it off their async threads.
///
/// # Example
/// ```
/// use ziggurat_catalog::tokens::{Count, CountTokens, Exact};
///
/// let counter = Exact::new();
/// // Never loads what is not loaded: an estimate until then.
/// Exact::warm();
/// assert_eq!(counter.count("openai/gpt-4o", "hello world"), Count::exact(2));
/// assert_eq!(counter.count("claude-opus-4-1", "hello world"), Count::estimate(4));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Exact {
    limit: usize,
}

/// Set when it is loaded: the crate's own statics would load on first use, on the caller's path.
static O200K: OnceLock<&'static Tokenizer> = OnceLock::new();
static CL100K: OnceLock<&'static Tokenizer> = OnceLock::new();

// ===== impl Exact =====

impl Exact {
    /// With a limit of 64 KiB.
    #[must_use]
    pub const fn new() -> Self {
        Self { limit: 64 << 10 }
    }

    /// Sets how many bytes of a text, and of a request, are counted exactly.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Loads the vocabularies, for every `Exact` in the process. Blocks for 0.1 to 0.4 s of one core, once. Meant for a
    /// thread of its own at the start; what is counted meanwhile is an estimate.
    pub fn warm() {
        O200K.get_or_init(bpe_openai::o200k_base);
        CL100K.get_or_init(bpe_openai::cl100k_base);
    }

    /// Whether the vocabularies are loaded.
    #[must_use]
    pub fn is_warm() -> bool {
        O200K.get().is_some() && CL100K.get().is_some()
    }
}

impl Default for Exact {
    fn default() -> Self {
        Self::new()
    }
}

impl CountTokens for Exact {
    fn count(&self, model: &str, text: &str) -> Count {
        let Some(tokenizer) = loaded(model) else { return ByLength.count(model, text) };
        let (head, tail) = split(text, self.limit);
        let count = Count::exact(tokenizer.count(head) as u64);
        if tail.is_empty() { count } else { count + ByLength.count(model, tail) }
    }

    fn count_escaped(&self, model: &str, escaped: &str) -> Count {
        let Some(tokenizer) = loaded(model) else { return ByLength.count_escaped(model, escaped) };
        let (head, tail) = split_escaped(escaped, self.limit);
        let count = Count::exact(tokenizer.count(&*escape::unescape(head)) as u64);
        if tail.is_empty() { count } else { count + ByLength.count_escaped(model, tail) }
    }

    fn byte_limit(&self) -> usize {
        self.limit
    }
}

fn loaded(model: &str) -> Option<&'static Tokenizer> {
    let vocabulary = match models::encoding(model)? {
        Encoding::O200k => &O200K,
        Encoding::Cl100k => &CL100K,
    };
    vocabulary.get().copied()
}

#[cfg(test)]
mod tests;
