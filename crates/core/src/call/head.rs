//! The top-level fields of a JSON body and where they stand, found in one borrowed pass of serde_json.

use std::{cell::Cell, fmt, ops::Range};

use serde::{
    Deserializer, de,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::invalid;
use crate::{Cause, Rejection};

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)+) => {
        /// A top-level field that layers look at. Each may stand once in a body: two of them would let one layer read the one
        /// and a provider the other.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Field { $($(#[$doc])* $field,)+ }

        impl Field {
            pub(super) const ALL: &'static [Self] = &[$(Self::$field),+];

            /// The name in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$field => $name,)+ }
            }

            fn of(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$field),)+ _ => None }
            }
        }
    };
}

fields! {
    /// The model.
    Model = "model",
    /// Whether to stream.
    Stream = "stream",
    /// OpenAI's options of a stream.
    StreamOptions = "stream_options",
    /// The conversation.
    Messages = "messages",
    /// Anthropic's system prompt.
    System = "system",
    /// Input of Responses, embeddings, speech and moderations.
    Input = "input",
    /// Prompt of completions and images.
    Prompt = "prompt",
    /// Output cap.
    MaxTokens = "max_tokens",
    /// Output cap, OpenAI's newer name.
    MaxCompletionTokens = "max_completion_tokens",
    /// Output cap, Responses' name.
    MaxOutputTokens = "max_output_tokens",
    /// Number of answers.
    N = "n",
    /// Sampling temperature.
    Temperature = "temperature",
    /// Nucleus sampling.
    TopP = "top_p",
    /// Top-k sampling.
    TopK = "top_k",
    /// Presence penalty.
    PresencePenalty = "presence_penalty",
    /// Frequency penalty.
    FrequencyPenalty = "frequency_penalty",
    /// Sampling seed.
    Seed = "seed",
    /// OpenAI's stop sequences.
    Stop = "stop",
    /// Anthropic's stop sequences.
    StopSequences = "stop_sequences",
    /// Tool definitions.
    Tools = "tools",
    /// Tool choice.
    ToolChoice = "tool_choice",
    /// Whether calls may come in parallel.
    ParallelToolCalls = "parallel_tool_calls",
    /// Structured output.
    ResponseFormat = "response_format",
    /// Reasoning effort.
    ReasoningEffort = "reasoning_effort",
    /// Anthropic's thinking.
    Thinking = "thinking",
    /// Whether to return log probabilities.
    Logprobs = "logprobs",
    /// How many of them.
    TopLogprobs = "top_logprobs",
    /// The end user.
    User = "user",
    /// Metadata: tags, Anthropic's user id.
    Metadata = "metadata",
    /// The service tier asked for: it has a price of its own.
    ServiceTier = "service_tier",
    /// How a cache is used, as LiteLLM's callers say it.
    Cache = "cache",
}

const FIELDS: usize = Field::ALL.len();

/// Longest body whose offsets a [`Head`] holds.
pub(super) const MAX_BODY: usize = u32::MAX as usize;

/// Where each known field's value stands in the body, and the model's name when it is written with escapes.
#[derive(Default)]
pub(super) struct Head {
    /// Start and end; (0, 0) for what is absent, as no value stands at the start of an object.
    spans: [(u32, u32); FIELDS],
    /// Byte offset behind the last member, or behind the opening brace: where a field is added.
    pub(super) insert_at: usize,
    /// How many members the object has.
    pub(super) members: usize,
    escaped_model: Option<String>,
}

// ===== impl Head =====

impl Head {
    /// Reads a body.
    pub(super) fn read(text: &str) -> Result<Self, Rejection> {
        let trimmed = text.trim_matches([' ', '\n', '\r', '\t']);
        if trimmed.is_empty() {
            return Err(Rejection::new(
                Cause::InvalidRequest,
                "the request body is empty: expected a JSON object",
            ));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let within = Cell::new(None);
        let visitor = HeadVisitor { text, within: &within };
        let head = reader.deserialize_any(visitor).and_then(|head| reader.end().map(|()| head));
        let mut head = head.map_err(|error| explain(&error, trimmed, within.get()))?;
        let end = text.trim_end_matches([' ', '\n', '\r', '\t']).len();
        head.insert_at = text[..end - 1].trim_end_matches([' ', '\n', '\r', '\t']).len();
        if let Some(json) = head.span(Field::Model).map(|span| &text[span])
            && json.contains('\\')
        {
            head.escaped_model = serde_json::from_str(json).ok();
        }
        Ok(head)
    }

    /// Of a form, whose fields stand elsewhere: only the model's name, given as JSON.
    pub(super) fn of_form(model: Option<&str>) -> Self {
        Self { escaped_model: model.and_then(|json| serde_json::from_str(json).ok()), ..Self::default() }
    }

    pub(super) fn span(&self, field: Field) -> Option<Range<usize>> {
        match self.spans[field as usize] {
            (0, 0) => None,
            (start, end) => Some(start as usize..end as usize),
        }
    }

    /// The model's name, given the JSON it stands in.
    pub(super) fn model<'h>(&'h self, json: Option<&'h str>) -> Option<&'h str> {
        self.escaped_model.as_deref().or_else(|| json?.strip_prefix('"')?.strip_suffix('"'))
    }
}

/// Words for what serde_json found, without the words of its own that speak of Rust.
fn explain(error: &serde_json::Error, body: &str, within: Option<Field>) -> Rejection {
    let text = error.to_string();
    if let Some(name) = text.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        let name = Field::of(name).map_or("", Field::name);
        return invalid(format!("the field `{name}` stands twice in the request body"), name);
    }
    let found = match body.as_bytes()[0] {
        b'{' => None,
        b'[' => Some("an array"),
        b'"' => Some("a string"),
        b't' | b'f' => Some("a boolean"),
        b'n' => Some("null"),
        b'-' | b'0'..=b'9' => Some("a number"),
        _ => None,
    };
    match (error.classify(), found, within.map(Field::name)) {
        (Category::Data, Some(found), _) => Rejection::new(
            Cause::InvalidRequest,
            format!("the request body must be a JSON object, not {found}"),
        ),
        (_, _, Some(name)) => {
            invalid(format!("the request body is not valid JSON in `{name}`: {text}"), name)
        }
        (_, _, None) => {
            Rejection::new(Cause::InvalidRequest, format!("the request body is not valid JSON: {text}"))
        }
    }
}

struct HeadVisitor<'a, 'c> {
    text: &'a str,
    /// The known field whose value is being read.
    within: &'c Cell<Option<Field>>,
}

impl<'de> Visitor<'de> for HeadVisitor<'de, '_> {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head::default();
        while let Some(key) = map.next_key_seed(FieldSeed)? {
            head.members += 1;
            let Some(field) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.within.set(Some(field));
            let value: &'de RawValue = map.next_value()?;
            self.within.set(None);
            let start = value.get().as_ptr() as usize - self.text.as_ptr() as usize;
            let span = (start as u32, (start + value.get().len()) as u32);
            if std::mem::replace(&mut head.spans[field as usize], span) != (0, 0) {
                return Err(de::Error::duplicate_field(field.name()));
            }
        }
        Ok(head)
    }
}

struct FieldSeed;

impl<'de> DeserializeSeed<'de> for FieldSeed {
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Field::of(name))
    }
}
