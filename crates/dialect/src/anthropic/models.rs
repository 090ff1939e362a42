//! What has to be known of a Claude model to ask it for an answer.

/// Facts of a model family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The most tokens it writes: Anthropic requires a cap, OpenAI's callers may give none.
    pub(super) max_output: u64,
    /// How it is told how much to think.
    pub(super) thinking: ThinkingForm,
    /// Whether system messages may stand between the others.
    pub(super) system_anywhere: bool,
}

/// How a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ThinkingForm {
    /// It does not think.
    None,
    /// `thinking: {type: enabled, budget_tokens}`.
    Budget,
    /// `thinking: {type: adaptive}` and `output_config.effort`.
    Adaptive,
}

/// By the beginning of the name, first match; from Anthropic's model overview, as of November 2026.
const FAMILIES: &[(&str, Facts)] = &[
    ("claude-3-5-", family(8_192, ThinkingForm::None, false)),
    ("claude-3-7-", family(64_000, ThinkingForm::Budget, false)),
    ("claude-3-", family(4_096, ThinkingForm::None, false)),
    ("claude-opus-4-0", family(32_000, ThinkingForm::Budget, false)),
    ("claude-opus-4-1", family(32_000, ThinkingForm::Budget, false)),
    ("claude-opus-4-2025", family(32_000, ThinkingForm::Budget, false)),
    ("claude-opus-4-5", family(64_000, ThinkingForm::Budget, false)),
    ("claude-sonnet-4-0", family(64_000, ThinkingForm::Budget, false)),
    ("claude-sonnet-4-2025", family(64_000, ThinkingForm::Budget, false)),
    ("claude-sonnet-4-5", family(64_000, ThinkingForm::Budget, false)),
    ("claude-haiku-4-5", family(64_000, ThinkingForm::Budget, false)),
    ("claude-opus-4-6", family(128_000, ThinkingForm::Adaptive, false)),
    ("claude-opus-4-7", family(128_000, ThinkingForm::Adaptive, false)),
    ("claude-sonnet-4-6", family(128_000, ThinkingForm::Adaptive, false)),
    ("claude-mythos-preview", family(128_000, ThinkingForm::Adaptive, false)),
    ("claude-opus-4-8", family(128_000, ThinkingForm::Adaptive, true)),
    ("claude-opus-5", family(128_000, ThinkingForm::Adaptive, true)),
    ("claude-sonnet-5-5", family(128_000, ThinkingForm::Adaptive, true)),
    ("claude-sonnet-5", family(128_000, ThinkingForm::Adaptive, true)),
    ("claude-haiku-5-5", family(128_000, ThinkingForm::Adaptive, true)),
    ("claude-fable-5", family(128_000, ThinkingForm::Adaptive, true)),
    ("claude-mythos-5", family(128_000, ThinkingForm::Adaptive, true)),
];

/// For a model that is not in the list: a cap that every model takes, thinking as the newest do.
const UNKNOWN: Facts = family(4_096, ThinkingForm::Adaptive, false);

const fn family(max_output: u64, thinking: ThinkingForm, system_anywhere: bool) -> Facts {
    Facts { max_output, thinking, system_anywhere }
}

/// Facts of the model; resellers put their own words before the name.
pub(crate) fn facts(model: &str) -> Facts {
    let name = model.find("claude-").map_or(model, |start| &model[start..]);
    FAMILIES.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(UNKNOWN, |(_, facts)| *facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_its_family() {
        assert_eq!(facts("claude-sonnet-4-5-20250929").max_output, 64_000);
        assert_eq!(facts("claude-opus-4-6").thinking, ThinkingForm::Adaptive);
        assert_eq!(facts("anthropic/claude-3-haiku-20240307").max_output, 4_096);
        assert_eq!(facts("claude-3-5-haiku-latest").thinking, ThinkingForm::None);
        assert_eq!(facts("MiniMax-M2"), UNKNOWN);
    }
}
