//! What has to be known of a Claude model to ask it for an answer.

use ziggurat_core::{Capabilities, Feature, Thinking, ThinkingForm};

/// What it takes, where nothing is known what every model does, and of thinking what the newest do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The most tokens it writes: Anthropic requires a cap, OpenAI's callers may give none.
    pub(super) max_output: u64,
    /// How it is told how much to think.
    pub(super) thinking: Thinking,
    /// Whether system messages may stand between the others.
    pub(super) system_anywhere: bool,
    /// Whether a budget of tokens is understood.
    pub(super) takes_budget: bool,
    /// Whether it answers by a schema.
    pub(super) takes_schema: bool,
}

// ===== impl Facts =====

impl Facts {
    pub(crate) fn of(known: &Capabilities) -> Self {
        Self {
            max_output: known.max_output.unwrap_or(4_096),
            thinking: known.thinking.unwrap_or(Thinking::new(ThinkingForm::Adaptive)),
            system_anywhere: known.takes(Feature::SystemAnywhere) == Some(true),
            takes_budget: known.takes(Feature::ThinkingBudget) != Some(false),
            takes_schema: known.takes(Feature::JsonSchema) != Some(false),
        }
    }
}
