//! A model: its window, what it can do, what it costs.

use std::{error::Error, fmt};

use crate::{ParseRateError, Prices, litellm, unit::named};

/// A model as a provider serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Model {
    /// Its name in the catalog: LiteLLM's, as `gpt-4o`, `azure/gpt-4o` or `gemini/gemini-2.5-pro`.
    pub id: Box<str>,
    /// The provider, in LiteLLM's word; empty if none was said.
    pub provider: Box<str>,
    /// What it is for.
    pub mode: Mode,
    /// Most input tokens.
    pub max_input: Option<u64>,
    /// Most output tokens.
    pub max_output: Option<u64>,
    /// The day it is or was withdrawn, as the provider wrote it (`2026-09-30`).
    pub deprecated: Option<Box<str>>,
    /// What it can do, as far as it is known.
    pub supports: Supports,
    /// What it costs.
    pub prices: Prices,
}

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Supports(u64);

/// Why a deployment's own price cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidPrice {
    /// The key, as `input_cost_per_token`.
    pub key: String,
    /// What was wrong; `None` when there is no such key.
    pub why: Option<ParseRateError>,
}

named! {
    /// What a model is for.
    #[derive(Default)]
    Mode {
        /// Conversations.
        Chat "chat" "chat",
        /// Text that is continued.
        Completion "compl" "completion",
        /// Conversations over OpenAI's Responses API alone.
        Responses "resp" "responses",
        /// Conversations in audio, as they are spoken.
        Realtime "live" "realtime",
        /// Vectors.
        Embedding "embed" "embedding",
        /// Images made.
        ImageGeneration "image" "image_generation",
        /// Images changed.
        ImageEdit "edit" "image_edit",
        /// Speech to text.
        Transcription "hear" "audio_transcription",
        /// Text to speech.
        Speech "speak" "audio_speech",
        /// Video made.
        Video "video" "video_generation",
        /// Documents put in order.
        Rerank "rerank" "rerank",
        /// Content judged.
        Moderation "moderate" "moderation",
        /// Documents read.
        Ocr "ocr" "ocr",
        /// The web searched.
        Search "search" "search",
        /// Answers judged.
        Evaluation "eval" "evaluation",
        /// Facts taken out of a text.
        Extraction "extract" "extraction",
        /// Content guarded.
        Guardrail "guard" "guardrail",
        /// Documents kept and searched.
        VectorStore "store" "vector_store",
        /// Not said.
        #[default]
        Other "-" "other",
    }
}

named! {
    /// Something a model can do. Its name is the one after `supports_` in LiteLLM's price map.
    Capability {
        /// Calls functions.
        FunctionCalling "fc" "function_calling",
        /// Takes `tool_choice`.
        ToolChoice "tc" "tool_choice",
        /// Calls several functions at once.
        ParallelFunctionCalling "pfc" "parallel_function_calling",
        /// Sees images.
        Vision "vi" "vision",
        /// Reasons.
        Reasoning "re" "reasoning",
        /// Answers in a JSON schema.
        ResponseSchema "rs" "response_schema",
        /// Caches prompts.
        PromptCaching "pc" "prompt_caching",
        /// Takes system messages.
        SystemMessages "sm" "system_messages",
        /// Takes system messages within a conversation.
        MidConversationSystem "mcs" "mid_conversation_system",
        /// Reads PDF.
        PdfInput "pdf" "pdf_input",
        /// Searches the web.
        WebSearch "ws" "web_search",
        /// Streams by itself.
        NativeStreaming "ns" "native_streaming",
        /// Uses a computer.
        ComputerUse "cu" "computer_use",
        /// Takes the reasoning effort `none`.
        NoneReasoningEffort "r0" "none_reasoning_effort",
        /// Takes the reasoning effort `minimal`.
        MinimalReasoningEffort "r1" "minimal_reasoning_effort",
        /// Takes the reasoning effort `xhigh`.
        XhighReasoningEffort "r4" "xhigh_reasoning_effort",
        /// Takes the reasoning effort `max`.
        MaxReasoningEffort "r5" "max_reasoning_effort",
        /// Decides itself how long to think.
        AdaptiveThinking "at" "adaptive_thinking",
        /// Thinks by a budget.
        LegacyThinking "lt" "legacy_thinking",
        /// Takes Anthropic's thinking parameter.
        AnthropicThinkingPayload "atp" "anthropic_thinking_payload",
        /// Keeps its prompt cache when thinking changes.
        ThinkingCachePreservation "tcp" "thinking_cache_preservation",
        /// Hears audio.
        AudioInput "ai" "audio_input",
        /// Speaks.
        AudioOutput "ao" "audio_output",
        /// Sees video.
        VideoInput "vid" "video_input",
        /// Takes images, other than in conversations.
        ImageInput "ii" "image_input",
        /// Embeds images.
        EmbeddingImageInput "eii" "embedding_image_input",
        /// Continues an answer that was begun for it.
        AssistantPrefill "pre" "assistant_prefill",
        /// Takes `output_config`.
        OutputConfig "oc" "output_config",
        /// Searches among tools.
        ToolSearch "ts" "tool_search",
        /// Takes settings of parallel tool use.
        ParallelToolUseConfig "ptc" "parallel_tool_use_config",
        /// Can be forced to use a tool.
        ForcedToolUse "ftu" "forced_tool_use",
        /// Answers in a schema by itself.
        NativeStructuredOutput "nso" "native_structured_output",
        /// Answers in a schema by itself on Bedrock.
        BedrockNativeStructuredOutput "bns" "bedrock_native_structured_output",
        /// Takes `response_format` in Bedrock's chat completions.
        BedrockChatResponseFormat "brf" "bedrock_runtime_chat_completions_response_format",
        /// Takes tools with reasoning in Bedrock's chat completions.
        BedrockChatToolsWithReasoning "btr" "bedrock_runtime_chat_completions_tools_with_reasoning",
        /// Reasons within the answer in Bedrock's chat completions.
        BedrockChatInlineReasoning "bir" "bedrock_runtime_chat_completions_inline_reasoning",
        /// Reads URLs.
        UrlContext "url" "url_context",
        /// Takes marks of where a prompt's cached part ends.
        PromptCacheBreakpoint "pcb" "prompt_cache_breakpoint",
        /// Compacts long conversations at Anthropic.
        AnthropicCompaction "ac" "anthropic_compaction",
        /// Takes a speed.
        Speed "sp" "speed",
        /// Has a fast mode.
        FastMode "fm" "fast_mode",
        /// Takes more than text, other than in conversations.
        Multimodal "mm" "multimodal",
        /// Edits images as Nova Canvas does.
        NovaCanvasImageEdit "nce" "nova_canvas_image_edit",
        /// Answers questions about boxes in images.
        BoxQuestions "bq" "box_questions",
    }
}

// ===== impl Model =====

impl Model {
    /// A model without prices, of which nothing is known.
    #[must_use]
    pub fn new(id: &str, provider: &str) -> Self {
        Self {
            id: id.into(),
            provider: provider.into(),
            mode: Mode::Other,
            max_input: None,
            max_output: None,
            deprecated: None,
            supports: Supports::default(),
            prices: Prices::new().of_provider(provider, id),
        }
    }

    /// Sets the mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the prices, whole; what is peculiar to the provider's prices stays.
    #[must_use]
    pub fn prices(mut self, prices: Prices) -> Self {
        self.prices = prices.of_provider(&self.provider, &self.id);
        self
    }

    /// Sets the most tokens of input and of output.
    #[must_use]
    pub fn window(mut self, max_input: u64, max_output: u64) -> Self {
        (self.max_input, self.max_output) = (Some(max_input), Some(max_output));
        self
    }

    /// A deployment's own prices, as LiteLLM's config has them in `litellm_params` or `model_info`, over what is known of the model.
    ///
    /// A price for tokens, seconds or the like replaces all that the model costs for that unit, its thresholds and tiers
    /// included, unless those are given too. `max_input_tokens`, `max_output_tokens` and `mode` are taken as well. Keys that are not about
    /// prices or windows are left alone: [`is_price_key`](Self::is_price_key) tells which are.
    ///
    /// # Errors
    /// [`InvalidPrice`] names the key whose value is no price.
    pub fn custom<'a>(
        base: Option<&Self>,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidPrice> {
        let model = base.cloned().unwrap_or_else(|| Self::new("", ""));
        litellm::custom(model, &entries.into_iter().collect::<Vec<_>>())
    }

    /// Whether LiteLLM's config sets a price, or something else that [`custom`](Self::custom) takes, under this key.
    #[must_use]
    pub fn is_price_key(key: &str) -> bool {
        litellm::is_custom_key(key)
    }

    /// Whether it is known to do this.
    #[must_use]
    pub fn can(&self, capability: Capability) -> bool {
        self.supports.has(capability)
    }
}

// ===== impl Supports =====

impl Supports {
    /// Whether this is among them.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u64) != 0
    }

    /// Adds one.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | (1 << capability as u64))
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |&capability| self.has(capability))
    }
}

impl FromIterator<Capability> for Supports {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Supports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

// ===== impl Mode =====

impl Mode {
    /// Whether models of this mode answer in tokens.
    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Chat | Self::Completion | Self::Responses | Self::Realtime)
    }
}

// ===== impl InvalidPrice =====

impl fmt::Display for InvalidPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "`{}`: {why}", self.key),
            None => write!(f, "`{}` is no price that is known", self.key),
        }
    }
}

impl Error for InvalidPrice {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.as_ref().map(|why| why as _)
    }
}
