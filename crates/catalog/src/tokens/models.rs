//! What OpenAI has published about its models by name: their vocabulary, and the frame of their conversations.

/// OpenAI's published vocabularies.
#[cfg(feature = "tiktoken")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    O200k,
    Cl100k,
}

/// The vocabulary of a model of OpenAI's, `None` for others (<https://github.com/openai/tiktoken/blob/main/tiktoken/model.py>).
#[cfg(feature = "tiktoken")]
pub(super) fn encoding(model: &str) -> Option<Encoding> {
    let name = name(model);
    let of = |families: &[&str]| families.iter().any(|family| is_of(name, family));
    if of(&["gpt-4o", "gpt-4.1", "gpt-4.5", "chatgpt-4o", "o1", "o3", "o4", "gpt-oss"])
        || name.starts_with("gpt-5")
    {
        return Some(Encoding::O200k);
    }
    of(&[
        "gpt-4",
        "gpt-3.5",
        "gpt-35-turbo",
        "text-embedding-3",
        "text-embedding-ada-002",
        "davinci-002",
        "babbage-002",
    ])
    .then_some(Encoding::Cl100k)
}

/// Whether OpenAI has published what frames the messages of this model.
pub(super) fn frame_is_published(model: &str) -> bool {
    let name = name(model);
    ["gpt-4o", "gpt-4", "gpt-3.5-turbo", "gpt-35-turbo"].iter().any(|family| is_of(name, family))
}

/// The name behind any providers' names, and behind the mark of a fine-tuned model.
fn name(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    name.strip_prefix("ft:").unwrap_or(name)
}

/// Whether the model is this one, or a version or size of it.
fn is_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "tiktoken")]
    #[test]
    fn a_name_tells_the_vocabulary() {
        for model in [
            "gpt-4o",
            "gpt-4o-mini-2024-07-18",
            "openai/gpt-4o",
            "openrouter/openai/gpt-4.1-nano",
            "gpt-5",
            "gpt-5.1-codex",
            "gpt-5-mini",
            "o1",
            "o1-pro",
            "o3-mini",
            "o4-mini",
            "chatgpt-4o-latest",
            "ft:gpt-4o-mini:org::id",
            "gpt-oss-120b",
        ] {
            assert_eq!(encoding(model), Some(Encoding::O200k), "{model}");
        }
        for model in [
            "gpt-4",
            "gpt-4-turbo",
            "gpt-4-0613",
            "azure/gpt-35-turbo",
            "gpt-3.5-turbo-0125",
            "ft:gpt-3.5-turbo:o",
            "text-embedding-3-small",
            "openai/text-embedding-ada-002",
            "davinci-002",
        ] {
            assert_eq!(encoding(model), Some(Encoding::Cl100k), "{model}");
        }
        for model in ["", "claude-opus-4-1", "gpt-2", "gpt", "gpt-4x", "o", "o10", "gpt-4o/claude", "davinci"]
        {
            assert_eq!(encoding(model), None, "{model}");
        }
    }

    #[test]
    fn the_frame_of_newer_models_is_not_published() {
        assert!(["gpt-4o", "openai/gpt-4-turbo", "gpt-3.5-turbo"].into_iter().all(frame_is_published));
        assert!(!["gpt-4.1", "gpt-5", "o1", "claude", ""].into_iter().any(frame_is_published));
    }
}
