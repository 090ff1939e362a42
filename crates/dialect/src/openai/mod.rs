//! OpenAI's Chat Completions, and what its many relatives make of it.

mod correct;
mod details;
mod legacy;
mod media;
mod mistral;
mod request;
mod response;
mod stream;
mod usage;

pub use self::{
    correct::correct_usage,
    media::{read_event_usage, read_media_answer, read_subtitles},
    mistral::to_mistral,
    request::{decode_request, encode_request},
    response::{decode_response, encode_response},
    stream::{StreamDecoder, StreamEncoder},
    usage::{read_input_usage, read_usage},
};

pub(crate) use self::{
    request::{is_thought_part, is_told, media, write_url},
    stream::{MAX_CHOICES, truncated},
};

use crate::{FinishReason, Text};

/// Parameters of OpenAI's chats that no other provider's API has anything for, but for the few that its encoder writes itself; from OpenAI's API
/// reference. What is not on this list is handed on: a provider may know more than we do.
pub(crate) const OPENAI_ONLY: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "seed",
    "service_tier",
    "store",
    "top_logprobs",
    "verbosity",
];

/// Our word for a `finish_reason`.
fn finish_reason(native: &Text<'_>) -> FinishReason {
    match &*native.decode() {
        // `eos` is Together's.
        "stop" | "eos" | "end_turn" => FinishReason::Stop,
        // `model_length` is Mistral's.
        "length" | "model_length" | "max_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Whether a `finish_reason` is a provider's word for an answer that failed in its middle (Mistral's; DeepSeek's for a lack of capacity):
/// nobody is to take it for a whole one.
#[must_use]
pub fn is_failed_finish(native: &Text<'_>) -> bool {
    matches!(&*native.decode(), "error" | "insufficient_system_resource")
}

/// The `finish_reason` for a reason that another dialect gave, and whether it says less than the native word.
const fn finish_word(reason: FinishReason) -> (&'static str, bool) {
    match reason {
        FinishReason::Stop => ("stop", false),
        FinishReason::Length => ("length", false),
        FinishReason::ToolCalls => ("tool_calls", false),
        FinishReason::ContentFilter => ("content_filter", false),
        FinishReason::Pause | FinishReason::Other => ("stop", true),
    }
}
