//! What a model takes, as far as it is known.

use std::fmt;

/// What a model takes, as far as it is known. Of the default nothing is: all goes out as the caller says it.
///
/// A set of facts, cheap to copy: whoever makes a [`Target`](crate::Target) may give it its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// How it is told how much to think.
    pub thinking: Option<Thinking>,
    /// Most tokens of input.
    pub max_input: Option<u64>,
    /// Most tokens that it writes.
    pub max_output: Option<u64>,
    /// Most strings that may end an answer.
    pub max_stops: Option<u32>,
    /// Parameters that it refuses.
    pub refuses: Params,
    /// Parameters that it refuses while it thinks.
    pub refuses_thinking: Params,
    takes: Features,
    lacks: Features,
}

/// How a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thinking {
    /// In which form.
    pub form: ThinkingForm,
    /// The words for it that the model knows; none where that is not known. [`Effort::None`] is among them where thinking can be turned off.
    pub efforts: Efforts,
    /// How much it thinks unasked, where that is known.
    pub unasked: Option<Effort>,
    /// The least and the most tokens of a budget.
    pub budget: (u64, u64),
}

/// In which form a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThinkingForm {
    /// In none: it does not think, or as it likes.
    None,
    /// By OpenAI's `reasoning_effort`.
    Effort,
    /// By a number of tokens.
    Budget,
    /// By Google's `thinkingLevel`.
    Level,
    /// By Anthropic's `thinking: {type: adaptive}` and `output_config.effort`.
    Adaptive,
}

/// Defines an enum of words, and the set of them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $(#[$set_doc:meta])* $set:ident { $($(#[$vdoc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        $(#[$set_doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub struct $set(u32);

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What a word stands for.
            #[must_use]
            pub fn of_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl $set {
            /// Whether this is among them.
            #[must_use]
            pub const fn has(self, one: $name) -> bool {
                self.0 & (1 << one as u32) != 0
            }

            /// Adds one.
            #[must_use]
            pub const fn with(self, one: $name) -> Self {
                Self(self.0 | (1 << one as u32))
            }

            /// Takes one out.
            #[must_use]
            pub const fn without(self, one: $name) -> Self {
                Self(self.0 & !(1 << one as u32))
            }

            /// Whether there is none.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// All of them, in their order.
            pub fn iter(self) -> impl DoubleEndedIterator<Item = $name> {
                $name::ALL.iter().copied().filter(move |&one| self.has(one))
            }
        }

        impl FromIterator<$name> for $set {
            fn from_iter<I: IntoIterator<Item = $name>>(all: I) -> Self {
                all.into_iter().fold(Self::default(), Self::with)
            }
        }

        impl fmt::Debug for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.iter()).finish()
            }
        }
    };
}

words! {
    /// How much to think, in OpenAI's words, from least to most.
    Effort,
    /// Several efforts.
    Efforts {
        /// Not at all.
        None "none",
        /// As little as can be.
        Minimal "minimal",
        /// A little.
        Low "low",
        /// As most questions want.
        Medium "medium",
        /// Much.
        High "high",
        /// Very much.
        Xhigh "xhigh",
        /// Without a bound.
        Max "max",
    }
}

words! {
    /// A parameter that not every model takes, by its name in OpenAI's chats.
    Param,
    /// Several parameters.
    Params {
        /// Sampling temperature.
        Temperature "temperature",
        /// Nucleus sampling.
        TopP "top_p",
        /// Several answers.
        N "n",
        /// Strings that end an answer.
        Stop "stop",
        /// Log probabilities.
        Logprobs "logprobs",
        /// How many of them.
        TopLogprobs "top_logprobs",
        /// A bias for tokens.
        LogitBias "logit_bias",
        /// A penalty for what was said before.
        PresencePenalty "presence_penalty",
        /// A penalty for what was said often.
        FrequencyPenalty "frequency_penalty",
        /// Whether several tools may be called at once.
        ParallelToolCalls "parallel_tool_calls",
        /// How much to think.
        ReasoningEffort "reasoning_effort",
    }
}

words! {
    /// Something that a request may hold and not every model takes.
    Feature,
    /// Several features.
    Features {
        /// Tools.
        Tools "tools",
        /// A tool that must be called.
        ForcedTool "forced_tool",
        /// Several calls in one turn.
        ParallelTools "parallel_tools",
        /// An answer by a JSON schema.
        JsonSchema "json_schema",
        /// An answer that is some JSON object.
        JsonObject "json_object",
        /// All of JSON Schema, not OpenAPI's subset alone.
        FullSchema "full_schema",
        /// Images.
        Images "images",
        /// PDF.
        Pdf "pdf",
        /// Audio.
        Audio "audio",
        /// System messages between the others.
        SystemAnywhere "system_anywhere",
        /// A last turn of the assistant's that the answer goes on from.
        Prefill "prefill",
        /// A cap under the name `max_completion_tokens`, and no other.
        MaxCompletionTokens "max_completion_tokens",
        /// A budget of tokens to think with, beside the form in which it is told.
        ThinkingBudget "thinking_budget",
        /// Calls with ids, and of those in the history only what it signed: Google's models from generation 3 on.
        SignedCalls "signed_calls",
    }
}

// ===== impl Capabilities =====

impl Capabilities {
    /// Whether it takes this; `None` where that is not known.
    #[must_use]
    pub const fn takes(&self, feature: Feature) -> Option<bool> {
        match (self.takes.has(feature), self.lacks.has(feature)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    /// Says whether it takes this.
    #[must_use]
    pub const fn with(mut self, feature: Feature, takes: bool) -> Self {
        (self.takes, self.lacks) = match takes {
            true => (self.takes.with(feature), self.lacks.without(feature)),
            false => (self.takes.without(feature), self.lacks.with(feature)),
        };
        self
    }

    /// Whether it takes no word on how much to think.
    #[must_use]
    pub fn cannot_think(&self) -> bool {
        self.thinking.is_some_and(|thinking| thinking.form == ThinkingForm::None)
    }

    /// Whether it refuses a parameter with this value, in JSON. What asks for what it does anyway, as a temperature of 1, it takes.
    /// `effort` is how much it is asked to think, where that is said.
    #[must_use]
    pub fn refuses_value(&self, param: Param, json: &str, effort: Option<&str>) -> bool {
        if is_usual(param, json) {
            return false;
        }
        match param {
            Param::ReasoningEffort => self.cannot_think() || self.refuses.has(param),
            param => {
                self.refuses.has(param) || (self.refuses_thinking.has(param) && self.is_thinking(effort))
            }
        }
    }

    /// Whether it thinks for sure, when asked for so much.
    fn is_thinking(&self, effort: Option<&str>) -> bool {
        match (effort, self.thinking) {
            (Some(effort), _) => effort != Effort::None.name(),
            (None, Some(Thinking { unasked: Some(unasked), .. })) => unasked != Effort::None,
            (None, _) => false,
        }
    }
}

/// Whether a value asks for what every model does unasked.
fn is_usual(param: Param, json: &str) -> bool {
    let number = json.parse::<f64>();
    json == "null"
        || match param {
            Param::Temperature | Param::TopP | Param::N => number == Ok(1.0),
            Param::PresencePenalty | Param::FrequencyPenalty | Param::TopLogprobs => number == Ok(0.0),
            Param::Logprobs => json == "false",
            Param::ParallelToolCalls => json == "true",
            Param::LogitBias => json == "{}",
            Param::Stop => json == "[]",
            Param::ReasoningEffort => json == "\"none\"",
        }
}

// ===== impl Thinking =====

impl Thinking {
    /// In this form, in any words and of any size.
    #[must_use]
    pub const fn new(form: ThinkingForm) -> Self {
        Self { form, efforts: Efforts(0), unasked: None, budget: (0, u64::MAX) }
    }

    /// Whether it can be told not to think, as far as is known.
    #[must_use]
    pub const fn can_rest(&self) -> bool {
        self.efforts.is_empty() || self.efforts.has(Effort::None)
    }

    /// The word that it knows for an effort: the next above that is not without a bound, else the most below. Never none for some.
    #[must_use]
    pub fn nearest(&self, effort: Effort) -> Effort {
        let known = || self.efforts.iter().filter(|known| *known != Effort::None);
        if self.efforts.has(effort) || effort == Effort::None {
            return effort;
        }
        let above = known().find(|known| *known > effort && *known != Effort::Max);
        above.or_else(|| known().rfind(|known| *known < effort)).or_else(|| known().next()).unwrap_or(effort)
    }

    /// The budget for an effort, as LiteLLM's users know it, within what the model takes.
    #[must_use]
    pub fn budget_of(&self, effort: Effort) -> u64 {
        self.within(match effort {
            Effort::None => return 0,
            Effort::Minimal => 512,
            Effort::Low => 1_024,
            Effort::Medium => 2_048,
            Effort::High => 4_096,
            Effort::Xhigh => 8_192,
            Effort::Max => 16_384,
        })
    }

    /// The budget nearest to one that the model takes.
    #[must_use]
    pub fn within(&self, budget: u64) -> u64 {
        let (least, most) = self.budget;
        budget.max(least).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_known() {
        let unknown = Capabilities::default();
        assert!(Feature::ALL.iter().all(|feature| unknown.takes(*feature).is_none()));
        assert!(Param::ALL.iter().all(|param| !unknown.refuses_value(*param, "7", Some("high"))));
        let known = unknown.with(Feature::Tools, true).with(Feature::Tools, false);
        assert_eq!(known.takes(Feature::Tools), Some(false));
        assert_eq!(known.with(Feature::Tools, true).takes(Feature::Tools), Some(true));
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        assert!(Effort::ALL.iter().all(|one| Effort::of_name(one.name()) == Some(*one)));
        assert!(Param::ALL.iter().all(|one| Param::of_name(one.name()) == Some(*one)));
        assert!(Feature::ALL.iter().all(|one| Feature::of_name(one.name()) == Some(*one)));
        assert_eq!(Effort::of_name("High"), None);
    }

    #[test]
    fn what_asks_for_the_usual_is_never_refused() {
        let strict =
            Capabilities { refuses: Param::ALL.iter().copied().collect(), ..Capabilities::default() };
        let usual = [
            (Param::Temperature, "1"),
            (Param::Temperature, "1.0"),
            (Param::TopP, "1e0"),
            (Param::N, "1"),
            (Param::PresencePenalty, "-0.0"),
            (Param::Logprobs, "false"),
            (Param::LogitBias, "{}"),
            (Param::Stop, "[]"),
            (Param::ParallelToolCalls, "true"),
            (Param::ReasoningEffort, "\"none\""),
            (Param::Stop, "null"),
        ];
        assert!(usual.iter().all(|(param, json)| !strict.refuses_value(*param, json, None)));
        let others =
            [(Param::Temperature, "0"), (Param::Stop, "[\"a\"]"), (Param::ReasoningEffort, "\"low\"")];
        assert!(others.iter().all(|(param, json)| strict.refuses_value(*param, json, None)));
    }

    #[test]
    fn some_parameters_are_refused_only_beside_thinking() {
        let refuses_thinking = [Param::Temperature].into_iter().collect();
        let mut model = Capabilities { refuses_thinking, ..Capabilities::default() };
        let refuses = |model: &Capabilities, effort| model.refuses_value(Param::Temperature, "0.5", effort);
        assert!(refuses(&model, Some("low")) && !refuses(&model, Some("none")) && !refuses(&model, None));
        for (unasked, thinks) in [(Effort::None, false), (Effort::Medium, true)] {
            let thinking = Thinking { unasked: Some(unasked), ..Thinking::new(ThinkingForm::Effort) };
            model.thinking = Some(thinking);
            assert_eq!(refuses(&model, None), thinks);
        }
    }

    #[test]
    fn an_effort_becomes_the_nearest_that_is_known() {
        let knows = |words: &[Effort]| Thinking {
            efforts: words.iter().copied().collect(),
            ..Thinking::new(ThinkingForm::Level)
        };
        use Effort::{High, Low, Max, Medium, Minimal, None, Xhigh};
        assert_eq!(knows(&[]).nearest(Xhigh), Xhigh);
        let two = knows(&[Low, High]);
        assert_eq!([Minimal, Medium, Xhigh, Max].map(|it| two.nearest(it)), [Low, High, High, High]);
        assert_eq!(knows(&[Low, Medium, High, Max]).nearest(Xhigh), High);
        assert_eq!(knows(&[None, Max]).nearest(Low), Max);
        assert_eq!(knows(&[None]).nearest(Low), Low);
        assert_eq!(two.nearest(None), None);
        assert!(!two.can_rest() && knows(&[None, Low]).can_rest() && knows(&[]).can_rest());
    }

    #[test]
    fn a_budget_stays_within_what_the_model_takes() {
        let thinking = Thinking { budget: (1_024, 8_000), ..Thinking::new(ThinkingForm::Budget) };
        let budgets = Effort::ALL.iter().map(|effort| thinking.budget_of(*effort)).collect::<Vec<_>>();
        assert_eq!(budgets, [0, 1_024, 1_024, 2_048, 4_096, 8_000, 8_000]);
        assert_eq!(Thinking::new(ThinkingForm::Budget).within(7), 7);
    }
}
