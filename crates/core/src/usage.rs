//! Token counts, with the convention in which a provider states them.

use std::{fmt, time::Duration};

/// What a provider's counts include. OpenAI's prompt tokens include the cached ones, Anthropic's exclude them; xAI's
/// completion tokens exclude the reasoning ones. The convention travels with the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Convention {
    /// Whether `input` includes cached reads and writes.
    pub input_includes_cached: bool,
    /// Whether `output` includes reasoning.
    pub output_includes_reasoning: bool,
}

/// Token counts of one answer as its provider stated them. `None` is not zero: it was not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// What the counts include.
    pub convention: Convention,
    /// Input tokens, as stated.
    pub input: Option<u64>,
    /// Output tokens, as stated.
    pub output: Option<u64>,
    /// Input tokens read from the provider's prompt cache.
    pub cached_read: Option<u64>,
    /// Input tokens written to the provider's prompt cache, of any lifetime.
    pub cached_write: Option<u64>,
    /// The part of `cached_write` that lives one hour.
    pub cached_write_1h: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
    /// Input audio tokens.
    pub audio_input: Option<u64>,
    /// Output audio tokens.
    pub audio_output: Option<u64>,
    /// Input image tokens.
    pub image_input: Option<u64>,
    /// Output image tokens.
    pub image_output: Option<u64>,
    /// Web searches the provider ran.
    pub web_searches: Option<u64>,
    /// What a reranker bills by: searches, each a query with some documents.
    pub search_units: Option<u64>,
    /// Length of the audio heard.
    pub heard: Option<Duration>,
    /// Images made.
    pub images: Option<u64>,
    /// The service tier at which it was served, as stated.
    pub tier: Option<Tier>,
    /// Whether the input's or the output's count was stated as what cannot be one: negative, no number, out of range. It counts as not
    /// stated.
    pub invalid: bool,
}

/// The name of a service tier, in a provider's word (`default`, `flex`, `priority`): what it costs is the catalogue's to say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Filled up with zeros.
    name: [u8; Tier::LONGEST],
}

// ===== impl Convention =====

impl Convention {
    /// OpenAI's: both parts are included.
    pub const OPENAI: Self = Self { input_includes_cached: true, output_includes_reasoning: true };
    /// Anthropic's: cached tokens are counted beside `input`.
    pub const ANTHROPIC: Self = Self { input_includes_cached: false, output_includes_reasoning: true };
    /// xAI's: reasoning is counted beside `output`.
    pub const XAI: Self = Self { input_includes_cached: true, output_includes_reasoning: false };
}

// ===== impl Usage =====

impl Usage {
    /// No counts yet.
    #[must_use]
    pub const fn new(convention: Convention) -> Self {
        Self {
            convention,
            input: None,
            output: None,
            cached_read: None,
            cached_write: None,
            cached_write_1h: None,
            reasoning: None,
            audio_input: None,
            audio_output: None,
            image_input: None,
            image_output: None,
            web_searches: None,
            search_units: None,
            heard: None,
            images: None,
            tier: None,
            invalid: false,
        }
    }

    /// All input tokens, cached ones included; `None` when the provider said nothing of its input.
    #[must_use]
    pub fn input_total(&self) -> Option<u64> {
        let cached = self.cached_read.unwrap_or(0).saturating_add(self.cached_write.unwrap_or(0));
        match self.convention.input_includes_cached {
            true => self.input,
            false => self.input.map(|input| input.saturating_add(cached)),
        }
    }

    /// Input tokens that were neither read from nor written to a cache.
    #[must_use]
    pub fn input_uncached(&self) -> Option<u64> {
        let cached = self.cached_read.unwrap_or(0).saturating_add(self.cached_write.unwrap_or(0));
        match self.convention.input_includes_cached {
            true => self.input.map(|input| input.saturating_sub(cached)),
            false => self.input,
        }
    }

    /// All output tokens, reasoning included; `None` when the provider said nothing of its output.
    #[must_use]
    pub fn output_total(&self) -> Option<u64> {
        match self.convention.output_includes_reasoning {
            true => self.output,
            false => self.output.map(|output| output.saturating_add(self.reasoning.unwrap_or(0))),
        }
    }

    /// Takes every count that `later` states, and the tier: providers repeat and update counts during a stream, they never add.
    pub fn update(&mut self, later: &Self) {
        fn take<T: Copy>(slot: &mut Option<T>, later: Option<T>) {
            *slot = later.or(*slot);
        }
        take(&mut self.input, later.input);
        take(&mut self.output, later.output);
        take(&mut self.cached_read, later.cached_read);
        take(&mut self.cached_write, later.cached_write);
        take(&mut self.cached_write_1h, later.cached_write_1h);
        take(&mut self.reasoning, later.reasoning);
        take(&mut self.audio_input, later.audio_input);
        take(&mut self.audio_output, later.audio_output);
        take(&mut self.image_input, later.image_input);
        take(&mut self.image_output, later.image_output);
        take(&mut self.web_searches, later.web_searches);
        take(&mut self.search_units, later.search_units);
        take(&mut self.heard, later.heard);
        take(&mut self.images, later.images);
        take(&mut self.tier, later.tier);
        self.invalid |= later.invalid;
    }

    /// Whether no count was stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self { tier: self.tier, ..Self::new(self.convention) }
    }
}

// ===== impl Tier =====

impl Tier {
    /// Bytes of the longest name.
    const LONGEST: usize = 16;

    /// A tier of this name; `None` for what is no name of one: nothing, more than 16 bytes, or no printable ASCII.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut padded = [0; Self::LONGEST];
        padded.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        named.then_some(Self { name: padded })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(Self::LONGEST);
        std::str::from_utf8(&self.name[..end]).unwrap_or_default()
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_follow_the_convention() {
        let mut usage = Usage::new(Convention::OPENAI);
        (usage.input, usage.cached_read, usage.output, usage.reasoning) =
            (Some(1000), Some(800), Some(50), Some(30));
        assert_eq!(
            (usage.input_total(), usage.input_uncached(), usage.output_total()),
            (Some(1000), Some(200), Some(50))
        );
        usage.convention = Convention::ANTHROPIC;
        usage.cached_write = Some(5);
        assert_eq!((usage.input_total(), usage.input_uncached()), (Some(1805), Some(1000)));
        usage.convention = Convention::XAI;
        assert_eq!(usage.output_total(), Some(80));
    }

    #[test]
    fn a_later_count_replaces_and_a_missing_one_keeps() {
        let mut usage = Usage::new(Convention::ANTHROPIC);
        usage.input = Some(10);
        usage.output = Some(1);
        let mut later = Usage::new(Convention::ANTHROPIC);
        later.output = Some(7);
        usage.update(&later);
        assert_eq!((usage.input, usage.output), (Some(10), Some(7)));
    }

    #[test]
    fn a_tier_is_a_short_name_and_no_count() {
        for name in ["flex", "default", "sixteen-bytes-it"] {
            assert_eq!(Tier::new(name).expect("is one").as_str(), name);
        }
        for none in ["", "seventeen-bytes-it", "two words", "fl\0x", "fléx"] {
            assert_eq!(Tier::new(none), None, "{none:?}");
        }
        let mut usage = Usage::new(Convention::OPENAI);
        usage.tier = Tier::new("flex");
        assert!(usage.is_empty());
        let mut known = Usage::new(Convention::OPENAI);
        known.tier = Tier::new("default");
        known.update(&usage);
        assert_eq!(known.tier, Tier::new("flex"));
        known.update(&Usage::new(Convention::OPENAI));
        assert_eq!(known.tier, Tier::new("flex"));
    }
}
