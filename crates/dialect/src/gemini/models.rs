//! What has to be known of a Gemini model to ask it for an answer.

use ziggurat_core::{Capabilities, Feature, Thinking, ThinkingForm};

/// What it takes; a name that does not say, as that of a tuned model, is taken for one of 2.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts(Capabilities);

// ===== impl Facts =====

impl Facts {
    pub(super) const fn of(known: &Capabilities) -> Self {
        Self(*known)
    }

    /// Whether it has the ways of generation 3: ids of calls, media within results, a resolution for each part, and no history in which a
    /// call stands without its signature.
    pub(super) fn is_third(self) -> bool {
        self.0.takes(Feature::SignedCalls) == Some(true)
    }

    /// Whether it takes JSON Schema as it is, not a subset of OpenAPI's alone.
    pub(super) fn takes_json_schema(self) -> bool {
        self.0.takes(Feature::FullSchema) != Some(false)
    }

    /// How it is told how much to think; a budget is understood by all that think.
    pub(super) fn thinking(self) -> Thinking {
        self.0.thinking.unwrap_or(Thinking::new(ThinkingForm::Budget))
    }
}
