//! What families of models take: data, in `data/families.txt`.

use std::sync::LazyLock;

use ziggurat_core::{Capabilities, Dialect, Effort, Efforts, Feature, Param, Params, Thinking, ThinkingForm};

/// What a model takes of its maker, as far as its family says.
#[must_use]
pub fn capabilities(model: &str) -> Capabilities {
    known(|family| family.holds(model))
}

/// What a model takes at a provider that is asked in this dialect, as far as its family says.
///
/// Whoever has the models of others and speaks OpenAI's dialect knows OpenAI's words for all of them, and gives them on as each maker wants
/// them: there such a family says nothing, unless its line says so.
#[must_use]
pub fn capabilities_at(provider: &str, dialect: Dialect, model: &str) -> Capabilities {
    known(|family| family.is_at(provider, dialect) && family.holds(model))
}

fn known(is_theirs: impl Fn(&Family) -> bool) -> Capabilities {
    FAMILIES
        .iter()
        .filter(|family| is_theirs(family))
        .fold(Capabilities::default(), |known, family| family.over(known))
}

/// A line of the data.
struct Family {
    /// Whose models: none for those of all that are asked in other words than OpenAI's, `*` for those of all.
    providers: Vec<&'static str>,
    name: &'static str,
    form: Option<ThinkingForm>,
    efforts: Option<(Efforts, Option<Effort>)>,
    budget: Option<(u64, u64)>,
    max_output: Option<u64>,
    max_stops: Option<u32>,
    features: Vec<(Feature, bool)>,
    refuses: Option<Params>,
    refuses_thinking: Option<Params>,
}

/// All of them, the shorter names first, so that each that follows has the last word.
static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let is_family = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let read = |line| Family::read(line).expect("invariant: tests read every line");
    let mut families: Vec<_> =
        include_str!("../data/families.txt").lines().filter(is_family).map(read).collect();
    families.sort_by_key(|family| (family.name.len(), !family.providers.is_empty()));
    families
});

// ===== impl Family =====

impl Family {
    /// Reads a line; `None` where there is something that cannot be read.
    fn read(line: &'static str) -> Option<Self> {
        let mut fields = line.split(' ');
        let head = fields.next()?;
        let (providers, name) = head.split_once(':').unwrap_or(("", head));
        let mut family = Self {
            providers: providers.split(',').filter(|provider| !provider.is_empty()).collect(),
            name,
            form: None,
            efforts: None,
            budget: None,
            max_output: None,
            max_stops: None,
            features: Vec::new(),
            refuses: None,
            refuses_thinking: None,
        };
        for field in fields {
            let (key, value) = field.split_once('=')?;
            match key {
                "think" => family.form = Some(form(value)?),
                "efforts" => family.efforts = Some(efforts(value)?),
                "budget" => family.budget = Some(range(value)?),
                "max" => family.max_output = Some(value.parse().ok()?),
                "stops" => family.max_stops = Some(value.parse().ok()?),
                "takes" | "lacks" => {
                    for word in value.split(',') {
                        family.features.push((Feature::of_name(word)?, key == "takes"));
                    }
                }
                "refuses" => family.refuses = Some(params(value)?),
                "thinking-refuses" => family.refuses_thinking = Some(params(value)?),
                _ => return None,
            }
        }
        Some(family)
    }

    fn is_at(&self, provider: &str, dialect: Dialect) -> bool {
        match &*self.providers {
            [] => !matches!(dialect, Dialect::OpenAi | Dialect::Responses),
            providers => providers.contains(&provider) || providers.contains(&"*"),
        }
    }

    fn holds(&self, model: &str) -> bool {
        holds(model, self.name)
    }

    /// What is known with this line, which goes before.
    fn over(&self, mut known: Capabilities) -> Capabilities {
        if let Some(form) = self.form {
            // Words and bounds are those of a form.
            known.thinking = Some(match known.thinking {
                Some(thinking) if thinking.form == form => thinking,
                _ => Thinking::new(form),
            });
        }
        if let Some(thinking) = &mut known.thinking {
            if let Some((efforts, unasked)) = self.efforts {
                (thinking.efforts, thinking.unasked) = (efforts, unasked);
            }
            thinking.budget = self.budget.unwrap_or(thinking.budget);
        }
        known.max_output = self.max_output.or(known.max_output);
        known.max_stops = self.max_stops.or(known.max_stops);
        known.refuses = self.refuses.unwrap_or(known.refuses);
        known.refuses_thinking = self.refuses_thinking.unwrap_or(known.refuses_thinking);
        self.features.iter().fold(known, |known, (feature, takes)| known.with(*feature, *takes))
    }
}

/// Whether a model's name holds a family's as whole words; of one that ends in `*`, as their beginning; of one that ends in `$`, at its end; of one
/// that begins with `/`, first behind its last slash.
fn holds(model: &str, family: &str) -> bool {
    let (family, is_first) = family.strip_prefix('/').map_or((family, false), |family| (family, true));
    let model = match model.rsplit_once('/') {
        Some((_, last)) if is_first => last,
        _ => model,
    };
    let model = if is_first { model.strip_prefix(TUNED).unwrap_or(model) } else { model };
    let (family, is_open) = family.strip_suffix('*').map_or((family, false), |family| (family, true));
    let (family, is_last) = family.strip_suffix('$').map_or((family, false), |family| (family, true));
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_open = is_open || !is_word(family.as_bytes().last());
    model.match_indices(family).any(|(start, _)| {
        let end = start + family.len();
        let before = start.checked_sub(1).and_then(|at| model.as_bytes().get(at));
        (start == 0 || !is_first)
            && (end == model.len() || !is_last)
            && !is_word(before)
            && (is_open || !is_word(model.as_bytes().get(end)))
    })
}

/// What stands before the names of OpenAI's models that their owners tuned.
const TUNED: &str = "ft:";

fn form(word: &str) -> Option<ThinkingForm> {
    Some(match word {
        "none" => ThinkingForm::None,
        "effort" => ThinkingForm::Effort,
        "budget" => ThinkingForm::Budget,
        "level" => ThinkingForm::Level,
        "adaptive" => ThinkingForm::Adaptive,
        _ => return None,
    })
}

/// Efforts, and the one that is marked.
fn efforts(list: &str) -> Option<(Efforts, Option<Effort>)> {
    let (mut efforts, mut unasked) = (Efforts::default(), None);
    for word in list.split(',') {
        let effort = Effort::of_name(word.trim_end_matches('*'))?;
        unasked = if word.ends_with('*') { Some(effort) } else { unasked };
        efforts = efforts.with(effort);
    }
    Some((efforts, unasked))
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (least, most) = text.split_once('-')?;
    Some((least.parse().ok()?, if most.is_empty() { u64::MAX } else { most.parse().ok()? }))
}

fn params(list: &str) -> Option<Params> {
    if list == "-" {
        return Some(Params::default());
    }
    list.split(',').map(Param::of_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(efforts: Efforts) -> String {
        efforts.iter().map(Effort::name).collect::<Vec<_>>().join(",")
    }

    /// What a model takes at a provider that is asked in its usual dialect.
    fn at(provider: &str, model: &str) -> Capabilities {
        let dialect = match provider {
            "" => return capabilities(model),
            "anthropic" | "vertex_ai" => Dialect::Anthropic,
            "bedrock" => Dialect::Converse,
            "gemini" => Dialect::Gemini,
            "cohere_chat" => Dialect::Cohere,
            _ => Dialect::OpenAi,
        };
        capabilities_at(provider, dialect, model)
    }

    /// A family's form of thinking, its words and what it does unasked.
    fn thinks(provider: &str, model: &str) -> String {
        let Some(thinking) = at(provider, model).thinking else { return "?".to_owned() };
        let unasked = thinking.unasked.map_or("", Effort::name);
        let budget = match thinking.budget {
            (0, u64::MAX) => String::new(),
            (least, u64::MAX) => format!(" {least}-"),
            (least, most) => format!(" {least}-{most}"),
        };
        format!("{:?} {} {unasked}{budget}", thinking.form, words(thinking.efforts))
    }

    #[test]
    fn every_line_is_read_and_says_something() {
        assert!(FAMILIES.len() > 70);
        for family in &*FAMILIES {
            let provider = family.providers.first().unwrap_or(&"");
            assert!(family.is_at(provider, Dialect::Anthropic), "{}", family.name);
            assert!(family.holds(family.name.trim_end_matches(['*', '$'])), "{}", family.name);
            let mut known = Capabilities::default();
            known.thinking = Some(Thinking::new(ThinkingForm::Effort));
            known.refuses = Params::default().with(Param::N);
            assert_ne!(family.over(known), known, "{}", family.name);
        }
        let bad =
            ["m think=hard", "m budget=7", "m takes=flight", "m max=many", "m refuses=", "m why", "m a=b"];
        assert!(bad.iter().all(|line| Family::read(line).is_none()));
    }

    #[test]
    fn a_name_is_known_by_whole_words() {
        let holding = [
            ("claude-opus-4-5-20251101", "claude-opus-4-5"),
            ("us.anthropic.claude-opus-4-5", "claude-opus-4-5"),
            ("claude-opus-4-20250514", "claude-opus-4-2025*"),
            ("claude-3-haiku", "claude-3-"),
            ("anthropic/claude-opus-4", "claude-opus-4$"),
            ("publishers/google/models/gemini-3.7-flash", "gemini-3"),
            ("o1-o1x", "o1"),
            ("o1-2024-12-17", "/o1"),
            ("openai/o3-mini", "/o3-mini"),
            ("ft:o4-mini-2025-04-16:org", "/o4-mini"),
        ];
        assert!(holding.iter().all(|(model, family)| holds(model, family)), "{holding:?}");
        let others = [
            ("gpt-4o", "gpt-4"),
            ("gpt-50", "gpt-5"),
            ("turbo1", "o1"),
            ("o1x", "o1"),
            ("Skywork-o1-Open-Llama-3.1-8B", "/o1"),
            ("AIDC-AI/Marco-o1", "/o1"),
            ("o1/mine", "/o1"),
            ("o1x", "/o1"),
            ("", "o1"),
            ("claude-opus-4-5", "claude-opus-4-2025*"),
            ("claude-opus-4-9", "claude-opus-4$"),
            ("claude-opus-40", "claude-opus-4$"),
        ];
        assert!(!others.iter().any(|(model, family)| holds(model, family)), "{others:?}");
    }

    #[test]
    fn families_think_in_their_own_forms() {
        let table = [
            ("anthropic", "claude-3-5-haiku-latest", "None  "),
            ("anthropic", "claude-3-haiku-20240307", "None  "),
            ("anthropic", "claude-sonnet-4-20250514", "Budget   1024-"),
            ("vertex_ai", "claude-opus-4@20250514", "Budget   1024-"),
            ("vertex_ai", "claude-opus-4", "Budget   1024-"),
            ("anthropic", "claude-sonnet-4", "Budget   1024-"),
            ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "Budget   1024-"),
            ("anthropic", "claude-opus-4-6", "Adaptive low,medium,high,max "),
            ("anthropic", "claude-sonnet-5-5", "Adaptive low,medium,high,xhigh,max "),
            ("anthropic", "claude-next", "Adaptive  "),
            ("gemini", "gemini-2.0-flash-001", "None  "),
            ("gemini", "gemini-2.5-pro", "Budget minimal,low,medium,high,xhigh,max  128-32768"),
            ("gemini", "gemini-2.5-flash-lite", "Budget none,minimal,low,medium,high,xhigh,max  512-24576"),
            ("gemini", "gemini-3-pro-preview", "Level low,high "),
            ("gemini", "gemini-3.8-flash", "Level minimal,low,medium,high "),
            ("gemini", "gemini-flash-latest", "Budget minimal,low,medium,high,xhigh,max "),
            ("openai", "gpt-4.1-mini", "None  "),
            ("openai", "o3", "Effort low,medium,high medium"),
            ("azure", "gpt-5-mini-2025-08-07", "Effort minimal,low,medium,high medium"),
            ("openai", "gpt-5.1", "Effort none,low,medium,high none"),
            ("openai", "gpt-5-chat-latest", "None  "),
            ("openrouter", "openai/gpt-4.1-mini", "?"),
            ("", "gpt-4.1-mini", "None  "),
            ("groq", "openai/gpt-oss-120b", "Effort low,medium,high medium"),
            ("bedrock", "amazon.nova-pro-v1:0", "None  "),
            ("bedrock", "us.amazon.nova-2-lite-v1:0", "Effort low,medium,high "),
            ("cohere_chat", "command-a-reasoning-08-2025", "Budget   1024-"),
            ("cohere_chat", "command-r-plus", "None  "),
            ("openai", "my-model", "?"),
            ("openrouter", "anthropic/claude-opus-4.5", "?"),
            ("openrouter", "google/gemini-2.0-flash-001", "?"),
        ];
        for (provider, model, expected) in table {
            assert_eq!(thinks(provider, model), expected, "{provider} {model}");
        }
    }

    #[test]
    fn a_bare_name_is_the_first_of_its_generation() {
        let most = |model| capabilities(model).max_output;
        assert_eq!((most("claude-sonnet-4"), most("claude-opus-4")), (Some(64_000), Some(32_000)));
        assert_eq!(capabilities("claude-sonnet-4"), capabilities("claude-sonnet-4-20250514"));
        assert_eq!((most("claude-opus-4-9"), most("claude-next")), (Some(4_096), Some(4_096)));
    }

    #[test]
    fn families_refuse_what_their_models_refuse() {
        let refused = |provider, model, effort| {
            let known = at(provider, model);
            let refused = Param::ALL.iter().filter(|param| known.refuses_value(**param, "0.5", effort));
            refused.map(|param| param.name()).collect::<Vec<_>>().join(" ")
        };
        let sampling =
            "temperature top_p logprobs top_logprobs logit_bias presence_penalty frequency_penalty";
        assert_eq!(refused("openai", "o1", None), format!("{sampling} parallel_tool_calls"));
        assert_eq!(refused("openrouter", "openai/o1", None), "");
        let without_stop = "logit_bias presence_penalty frequency_penalty";
        let stop = without_stop.replace("logit_bias", "stop logit_bias");
        assert_eq!(refused("openai", "gpt-5.2", None), stop);
        assert_eq!(
            refused("openai", "gpt-5.2", Some("low")),
            format!("temperature top_p stop logprobs top_logprobs {without_stop}")
        );
        assert_eq!(refused("openai", "gpt-5-chat-latest", None), "reasoning_effort");
        assert_eq!(refused("azure", "gpt-4o", None), "reasoning_effort");
        assert_eq!(refused("openai", "ft:gpt-4o-2024-08-06:org", None), "reasoning_effort");
        assert_eq!(refused("openai", "something-new", Some("high")), "");
    }

    #[test]
    fn families_take_what_their_models_take() {
        let takes = |model, feature| capabilities(model).takes(feature);
        assert_eq!(takes("claude-sonnet-4-20250514", Feature::JsonSchema), Some(false));
        assert_eq!(takes("claude-sonnet-4-5", Feature::JsonSchema), Some(true));
        assert_eq!(takes("claude-next", Feature::JsonSchema), None);
        assert_eq!(takes("gemini-1.5-pro-latest", Feature::FullSchema), Some(false));
        assert_eq!(takes("gemini-pro-latest", Feature::SignedCalls), Some(true));
        assert_eq!(takes("gemini-2.5-pro", Feature::SignedCalls), None);
        assert_eq!(takes("o3-mini", Feature::Images), Some(false));
        assert_eq!(takes("gpt-5.6-sol", Feature::MaxCompletionTokens), Some(true));
        assert_eq!(takes("gpt-4o", Feature::MaxCompletionTokens), None);
        assert_eq!(capabilities("claude-opus-4-1-20250805").max_output, Some(32_000));
        assert_eq!(capabilities("gpt-4o").max_stops, Some(4));
    }

    #[test]
    fn who_speaks_openais_dialect_knows_its_words_for_the_models_of_others() {
        for model in ["anthropic/claude-3-haiku", "google/gemini-2.0-flash-001", "cohere/command-r-plus"] {
            for dialect in [Dialect::OpenAi, Dialect::Responses] {
                assert_eq!(capabilities_at("openrouter", dialect, model), Capabilities::default(), "{model}");
            }
            let other = capabilities_at("mine", Dialect::Anthropic, model);
            assert!(other == capabilities(model) && other.cannot_think(), "{model}");
        }
    }
}
