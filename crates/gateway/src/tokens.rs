//! How input tokens are counted before a provider has stated them: by what the config says, for the model behind an alias.

#[cfg(feature = "tiktoken")]
use std::{collections::HashMap, sync::Arc, thread};

#[cfg(feature = "tiktoken")]
use ziggurat_catalog::tokens::Exact;
use ziggurat_catalog::tokens::{AtMostBytes, ByLength, Count, CountTokens};

use crate::config::{Config, TokenCounter};

/// The counter that a config names.
#[derive(Clone, Debug)]
pub(crate) enum Counter {
    ByLength,
    AtMostBytes,
    /// With the models behind the aliases.
    #[cfg(feature = "tiktoken")]
    Exact(Exact, Arc<HashMap<String, String>>),
}

// ===== impl Counter =====

impl Counter {
    pub(crate) fn of(config: &Config) -> Self {
        match config.spending.token_counter {
            TokenCounter::ByLength => Self::ByLength,
            TokenCounter::AtMostBytes => Self::AtMostBytes,
            #[cfg(feature = "tiktoken")]
            TokenCounter::Exact => Self::Exact(Exact::new(), Arc::new(models(config))),
        }
    }

    /// Loads what it needs, in a thread of its own; until then it counts by length.
    pub(crate) fn warm(&self) {
        #[cfg(feature = "tiktoken")]
        if let Self::Exact(..) = self {
            let loading = thread::Builder::new().name("vocabularies".to_owned()).spawn(|| {
                Exact::warm();
                tracing::debug!("tokens of OpenAI's models are counted exactly");
            });
            if let Err(error) = loading {
                tracing::warn!(%error, "tokens are counted by length");
            }
        }
    }

    /// Bytes of a body that are read, counted and translated in about a millisecond.
    pub(crate) const fn large(&self) -> u64 {
        match self {
            Self::ByLength | Self::AtMostBytes => 256 << 10,
            // 64 KiB of prose take 1.3 ms, letters at random five times that.
            #[cfg(feature = "tiktoken")]
            Self::Exact(..) => 16 << 10,
        }
    }

    /// The counter, and the name by which it knows a model that callers call `model`.
    fn inner<'a>(&'a self, model: &'a str) -> (&'a dyn CountTokens, &'a str) {
        match self {
            Self::ByLength => (&ByLength, model),
            Self::AtMostBytes => (&AtMostBytes, model),
            #[cfg(feature = "tiktoken")]
            Self::Exact(exact, models) => (exact, models.get(model).map_or(model, String::as_str)),
        }
    }
}

impl CountTokens for Counter {
    fn count(&self, model: &str, text: &str) -> Count {
        let (counter, model) = self.inner(model);
        counter.count(model, text)
    }

    fn count_escaped(&self, model: &str, escaped: &str) -> Count {
        let (counter, model) = self.inner(model);
        counter.count_escaped(model, escaped)
    }

    fn byte_limit(&self) -> usize {
        self.inner("").0.byte_limit()
    }

    fn name(&self) -> Option<&'static str> {
        match self {
            // It knows what stands behind aliases: a process has one config.
            #[cfg(feature = "tiktoken")]
            Self::Exact(..) => Some("exact, by config"),
            _ => self.inner("").0.name(),
        }
    }
}

/// The model behind each name that callers use: `base_model`, else as its provider calls it. A name that stands for several is nobody's:
/// their tokens differ. What a pattern stands for is what the caller names.
#[cfg(feature = "tiktoken")]
fn models(config: &Config) -> HashMap<String, String> {
    let groups = config.deployments.iter().filter(|it| !it.is_wildcard()).map(|it| &it.alias);
    let names = groups.chain(config.aliases.iter().map(|alias| &alias.name));
    let behind = |name: &String| {
        let candidates = config.resolve(name)?.candidates;
        let mut models = candidates.iter().map(|candidate| match &candidate.deployment.pricing.base_model {
            Some((base, _)) => base.as_str(),
            None => &candidate.model,
        });
        let first = models.next()?;
        let model = if models.all(|model| model == first) { first } else { "" };
        Some((name.clone(), model.to_owned()))
    };
    names.filter_map(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(word: &str) -> Counter {
        let entry = |alias: &str, model: &str, info: &str| {
            format!(
                "- {{model_name: {alias}, litellm_params: {{model: {model}, api_key: k}}, model_info: {{{info}}}}}\n"
            )
        };
        let models = [
            entry("fast", "openai/gpt-4o-mini", ""),
            entry("gpt-4o", "anthropic/claude-sonnet-4-5", ""),
            entry("ours", "openai/our-deployment", "base_model: gpt-4o"),
            entry("mixed", "openai/gpt-4o", ""),
            entry("mixed", "anthropic/claude-sonnet-4-5", ""),
            entry("twice", "openai/gpt-4o", ""),
            entry("twice", "azure/gpt-4o", "base_model: gpt-4o")
                .replace("api_key", "api_base: 'https://x', api_key"),
            entry("'openai/*'", "'openai/*'", ""),
        ];
        let text = format!(
            "model_list:\n{}router_settings: {{model_group_alias: {{other: fast}}}}\nziggurat_settings: {{token_counter: {word}}}\n",
            models.concat()
        );
        let (config, _) = Config::parse(&text, "config.yaml", &|_| None).expect("is one");
        Counter::of(&config)
    }

    #[test]
    fn counts_as_the_config_says() {
        let text = "hello world";
        assert_eq!(counter("by_length").count("fast", text), Count::estimate(4));
        assert_eq!(counter("at_most_bytes").count("fast", text), Count::estimate(11));
        assert_eq!(counter("at_most_bytes").count_escaped("fast", r"\u0041"), Count::estimate(1));
        assert_eq!(counter("by_length").byte_limit(), usize::MAX);
    }

    #[cfg(feature = "tiktoken")]
    #[test]
    fn counts_for_the_model_behind_a_name() {
        let counter = counter("exact");
        Exact::warm();
        for name in ["fast", "other", "ours", "twice", "openai/gpt-4o", "gpt-4.1"] {
            assert_eq!(counter.count(name, "hello world"), Count::exact(2), "{name}");
            assert_eq!(counter.count_escaped(name, r"hello\u0020world"), Count::exact(2), "{name}");
        }
        for name in ["gpt-4o", "mixed", "unknown"] {
            assert_eq!(counter.count(name, "hello world"), Count::estimate(4), "{name}");
        }
        assert_eq!(counter.byte_limit(), 64 << 10);
    }
}
