//! The one conversation model between all dialects.
//!
//! Everything borrows from the document it was read from. What a dialect knows and the model does not is kept as `extra` members or as
//! native blocks, tools and events, so that a document read and written in its own dialect loses nothing.

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Problem, Tier, Usage};

use crate::{Text, read::Extra};

/// A request for an answer.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// In whose words it stands: members that the model does not know are that dialect's.
    pub dialect: Dialect,
    /// The model.
    pub model: Option<Text<'a>>,
    /// The conversation, system messages in their place.
    pub messages: Vec<Message<'a>>,
    /// Whether the first message stood outside of them, as Anthropic's `system` does.
    pub system_apart: bool,
    /// The tools the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether it must.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether several calls may come in one answer.
    pub parallel_tool_calls: Option<bool>,
    /// The most tokens to write.
    pub max_output_tokens: Option<u64>,
    /// Sampling temperature, as it stands in JSON.
    pub temperature: Option<&'a RawValue>,
    /// Nucleus sampling, as it stands in JSON.
    pub top_p: Option<&'a RawValue>,
    /// Top-k sampling, as it stands in JSON.
    pub top_k: Option<&'a RawValue>,
    /// Strings that end the answer.
    pub stop: Vec<Text<'a>>,
    /// How many answers.
    pub n: Option<u64>,
    /// The form of the answer.
    pub format: Option<Format<'a>>,
    /// How much to think.
    pub reasoning: Option<Reasoning<'a>>,
    /// Whether to stream.
    pub stream: Option<bool>,
    /// Whether a stream is to end with usage.
    pub include_usage: Option<bool>,
    /// The end user.
    pub user: Option<Text<'a>>,
    /// All other parameters of the top level, known to the caller's dialect or not.
    pub params: Extra<'a>,
}

/// One turn.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Whose turn.
    pub role: Role,
    /// What was said.
    pub content: Vec<Block<'a>>,
    /// Whether the content stood as one string, not as a list.
    pub plain: bool,
    /// OpenAI's name of the speaker.
    pub name: Option<Text<'a>>,
    /// Members that the model does not know.
    pub extra: Extra<'a>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The operator.
    System,
    /// The operator, OpenAI's newer word.
    Developer,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool; Anthropic's tool results stand in user turns.
    Tool,
}

/// A piece of content.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// What it is.
    pub kind: BlockKind<'a>,
    /// Anthropic's cache hint (`cache_control`).
    pub cache: Option<&'a RawValue>,
    /// Members that the model does not know.
    pub extra: Extra<'a>,
}

/// What a piece of content is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BlockKind<'a> {
    /// Text, with the citations that support it as Anthropic lists them.
    Text {
        /// The text.
        text: Text<'a>,
        /// A list, as it stands in JSON.
        citations: Option<&'a RawValue>,
    },
    /// An image.
    Image {
        /// Where it is.
        source: Source<'a>,
        /// OpenAI's resolution hint.
        detail: Option<Text<'a>>,
    },
    /// A file: a PDF, a text.
    File {
        /// Where it is.
        source: Source<'a>,
        /// Its name (OpenAI's `filename`, Anthropic's `title`).
        name: Option<Text<'a>>,
    },
    /// A call of a tool.
    ToolCall(ToolCall<'a>),
    /// What a tool answered.
    ToolResult {
        /// The id of the call.
        id: Text<'a>,
        /// The answer.
        content: Vec<Block<'a>>,
        /// Whether the content stood as one string.
        plain: bool,
        /// Whether the tool failed.
        error: Option<bool>,
    },
    /// Reasoning, with the signature that lets its maker take it back.
    Thinking {
        /// The text.
        text: Text<'a>,
        /// The signature.
        signature: Option<Text<'a>>,
    },
    /// Reasoning that only its maker can read.
    RedactedThinking {
        /// Opaque.
        data: Text<'a>,
    },
    /// The model's refusal, where a dialect tells it from text.
    Refusal(Text<'a>),
    /// What only `dialect` knows, whole.
    Native {
        /// Whose it is.
        dialect: Dialect,
        /// Its type; of a tool call that is no function's (OpenAI's `custom`), `tool_calls.` and its type.
        kind: Text<'a>,
        /// The block, as it stands in JSON.
        raw: &'a RawValue,
    },
}

/// Where media is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Source<'a> {
    /// Here.
    Base64 {
        /// Its media type; `None` where a dialect lets it be left out.
        media_type: Option<Text<'a>>,
        /// Base64.
        data: Text<'a>,
    },
    /// At an http or https URL.
    Url(Text<'a>),
    /// With the provider, under an id.
    File(Text<'a>),
    /// Here, as plain text.
    Text(Text<'a>),
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct ToolCall<'a> {
    /// The call's id; empty only where a provider gave none.
    pub id: Text<'a>,
    /// The tool.
    pub name: Text<'a>,
    /// Its arguments.
    pub arguments: Arguments<'a>,
}

/// Arguments of a call.
#[derive(Clone, Debug)]
pub enum Arguments<'a> {
    /// A JSON value, an object as a rule.
    Json(&'a RawValue),
    /// JSON in a string: possibly empty, possibly cut.
    String(Text<'a>),
}

/// A tool that the model may call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Tool<'a> {
    /// A function of the caller's.
    Function {
        /// Its name.
        name: Text<'a>,
        /// What it does.
        description: Option<Text<'a>>,
        /// JSON schema of its arguments.
        schema: Option<&'a RawValue>,
        /// Whether the arguments must match the schema.
        strict: Option<bool>,
        /// Anthropic's cache hint.
        cache: Option<&'a RawValue>,
        /// Members that the model does not know.
        extra: Extra<'a>,
    },
    /// The provider's own web search, with its options as they stand in JSON.
    WebSearch {
        /// Whose options they are.
        dialect: Dialect,
        /// The tool (Anthropic) or the options (OpenAI).
        raw: &'a RawValue,
    },
    /// What only `dialect` knows, whole.
    Native {
        /// Whose it is.
        dialect: Dialect,
        /// Its type.
        kind: Text<'a>,
        /// The tool, as it stands in JSON.
        raw: &'a RawValue,
    },
}

/// Whether the model must call a tool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ToolChoice<'a> {
    /// As it likes.
    Auto,
    /// It must not.
    None,
    /// It must call one.
    Required,
    /// It must call this one.
    Function(Text<'a>),
    /// What only `dialect` knows.
    Native {
        /// Whose it is.
        dialect: Dialect,
        /// As it stands in JSON.
        raw: &'a RawValue,
    },
}

/// The form an answer must have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Format<'a> {
    /// Text.
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that matches a schema.
    JsonSchema {
        /// The schema's name.
        name: Option<Text<'a>>,
        /// What it is for.
        description: Option<Text<'a>>,
        /// The schema.
        schema: Option<&'a RawValue>,
        /// Whether it must match.
        strict: Option<bool>,
    },
    /// What only `dialect` knows.
    Native {
        /// Whose it is.
        dialect: Dialect,
        /// As it stands in JSON.
        raw: &'a RawValue,
    },
}

/// How much to think: OpenAI's word, Anthropic's setting, or both.
#[derive(Clone, Debug, Default)]
pub struct Reasoning<'a> {
    /// `none`, `minimal`, `low`, `medium`, `high`, ...
    pub effort: Option<Text<'a>>,
    /// Anthropic's `thinking`, as it stands in JSON.
    pub thinking: Option<&'a RawValue>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response<'a> {
    /// In whose words it stands: members that the model does not know are that dialect's.
    pub dialect: Dialect,
    /// The provider's id of it.
    pub id: Option<Text<'a>>,
    /// The model that answered.
    pub model: Option<Text<'a>>,
    /// When, in seconds of the Unix epoch.
    pub created: Option<u64>,
    /// The answers; one, unless more were asked for.
    pub choices: Vec<Choice<'a>>,
    /// What it used.
    pub usage: Option<Spent<'a>>,
    /// Members that the model does not know.
    pub extra: Extra<'a>,
}

/// One of the answers.
#[derive(Clone, Debug, Default)]
pub struct Choice<'a> {
    /// Its number.
    pub index: u64,
    /// What the model said.
    pub content: Vec<Block<'a>>,
    /// Why it stopped.
    pub finish: Option<Finish<'a>>,
    /// Log probabilities, as OpenAI gives them.
    pub logprobs: Option<&'a RawValue>,
    /// Members of the choice that the model does not know.
    pub extra: Extra<'a>,
    /// Members of the message that the model does not know.
    pub message_extra: Extra<'a>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish<'a> {
    /// In our words.
    pub reason: FinishReason,
    /// In the provider's.
    pub native: Text<'a>,
    /// Whose word that is.
    pub dialect: Dialect,
    /// The stop sequence that ended it, where the provider says.
    pub stop_sequence: Option<Text<'a>>,
}

/// Why an answer ended, in our words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// It was done, or met a stop sequence.
    Stop,
    /// It met its cap, or the model's.
    Length,
    /// It calls tools.
    ToolCalls,
    /// It was refused or filtered.
    ContentFilter,
    /// The turn is not over: the caller sends the conversation again as it is.
    Pause,
    /// Something else; the native word says what.
    Other,
}

/// Usage as the provider stated it.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'a> {
    /// The counts.
    pub counts: Usage,
    /// Whose form `raw` has.
    pub dialect: Dialect,
    /// All that was stated, as it stands in JSON.
    pub raw: &'a RawValue,
}

/// A piece of a streamed answer.
///
/// Per choice: `Open`, any number of `Delta` and `Close` per block, blocks one after another, then `Finish`. `Start` comes first,
/// `End` last; `Error` ends the stream in place of `End`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The answer begins.
    Start {
        /// The provider's id of it.
        id: Option<Text<'a>>,
        /// The model that answers.
        model: Option<Text<'a>>,
        /// When, in seconds of the Unix epoch.
        created: Option<u64>,
    },
    /// A block begins.
    Open {
        /// Which answer.
        choice: u64,
        /// Which block of it.
        block: u64,
        /// What begins.
        opening: Opening<'a>,
    },
    /// More of a block that is open. Calls may be open beside other blocks; of those one is open at a time.
    Delta {
        /// Which answer.
        choice: u64,
        /// Which block of it.
        block: u64,
        /// What is more.
        delta: Delta<'a>,
    },
    /// A block is whole.
    Close {
        /// Which answer.
        choice: u64,
        /// Which block of it.
        block: u64,
    },
    /// Log probabilities of the latest text, as OpenAI gives them.
    Logprobs {
        /// Which answer.
        choice: u64,
        /// As it stands in JSON.
        raw: &'a RawValue,
    },
    /// An answer ended.
    Finish {
        /// Which answer.
        choice: u64,
        /// Why.
        finish: Finish<'a>,
    },
    /// Counts so far: what is stated replaces what was.
    Usage(Spent<'a>),
    /// A member that the model does not know, of the answer (`choice` is `None`), of a choice, of its delta or of a block. Those of answers
    /// and choices, which many providers repeat in every chunk, are given when they are first seen and when their value changes.
    Extra {
        /// Which answer's; `None` for the whole.
        choice: Option<u64>,
        /// Where it stood.
        scope: Scope,
        /// Its name.
        name: Text<'a>,
        /// Its value.
        raw: &'a RawValue,
    },
    /// A sign of life.
    Ping,
    /// The provider failed.
    Error(Problem),
    /// The terminator: the answer is whole.
    End,
}

/// Where an unknown member of a stream stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Of the chunk or the message.
    Answer,
    /// Of the choice.
    Choice,
    /// Of the choice's delta.
    Delta,
    /// Of the block that opens next.
    Block,
}

/// How a streamed block begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Opening<'a> {
    /// Text.
    Text,
    /// A refusal.
    Refusal,
    /// Reasoning.
    Thinking,
    /// Reasoning that only its maker can read, whole.
    RedactedThinking {
        /// Opaque.
        data: Text<'a>,
    },
    /// A tool call; its arguments follow.
    ToolCall {
        /// The call's id.
        id: Text<'a>,
        /// The tool.
        name: Text<'a>,
    },
    /// What only `dialect` knows, as it stands in JSON.
    Native {
        /// Whose it is.
        dialect: Dialect,
        /// As it stands in JSON.
        raw: &'a RawValue,
    },
}

/// What a streamed block grows by.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Delta<'a> {
    /// Text.
    Text(Text<'a>),
    /// Refusal text.
    Refusal(Text<'a>),
    /// Reasoning text.
    Thinking(Text<'a>),
    /// The reasoning's signature.
    Signature(Text<'a>),
    /// A piece of the arguments' JSON.
    Arguments(Text<'a>),
    /// A citation, as Anthropic gives it.
    Citation(&'a RawValue),
    /// What only `dialect` knows, as it stands in JSON.
    Native {
        /// Whose it is.
        dialect: Dialect,
        /// As it stands in JSON.
        raw: &'a RawValue,
    },
}

/// Stands before the type of a native block that is a tool call.
pub(crate) const CALL: &str = "tool_calls.";

// ===== impl Block =====

impl<'a> Block<'a> {
    /// A block of which all is known.
    #[must_use]
    pub const fn new(kind: BlockKind<'a>) -> Self {
        Self { kind, cache: None, extra: Vec::new() }
    }

    /// Plain text.
    #[must_use]
    pub const fn text(text: Text<'a>) -> Self {
        Self::new(BlockKind::Text { text, citations: None })
    }
}

// ===== impl Spent =====

impl Spent<'_> {
    /// With the service tier that was named beside it, if one was.
    pub(crate) fn served_at(mut self, tier: Option<Tier>) -> Self {
        self.counts.tier = tier.or(self.counts.tier);
        self
    }
}

// ===== impl Delta =====

impl Delta<'_> {
    /// Bytes of content in it, as they stand in JSON.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Refusal(text) | Self::Thinking(text) | Self::Arguments(text) => {
                text.len()
            }
            Self::Signature(_) | Self::Citation(_) | Self::Native { .. } => 0,
        }
    }

    /// Whether it holds no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
