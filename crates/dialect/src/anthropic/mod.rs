//! Anthropic's Messages.

mod models;
mod request;
mod response;
mod stream;
mod usage;

pub(crate) use self::{
    models::Facts,
    request::{Thinking, cannot_think_on, closed, thinking_effort},
    response::{decode_thinking_block, write_input, write_thinking_block},
};
pub use self::{
    request::{decode_request, encode_request},
    response::{decode_response, encode_response},
    stream::{StreamDecoder, StreamEncoder},
    usage::read_usage,
};

use ziggurat_core::Dialect;

use crate::{Finish, FinishReason, Text};

/// Parameters of Anthropic's that no other maker's models have anything for. Others are handed on: a provider may know more than this list.
pub(crate) const ANTHROPIC_ONLY: &[&str] = &[
    "betas",
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "mcp_servers",
    "output_config",
    "speed",
    "user_profile_id",
];

/// A `stop_reason` of Anthropic's.
fn finish<'a>(native: Text<'a>, stop_sequence: Option<Text<'a>>) -> Finish<'a> {
    let reason = match &*native.decode() {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        "pause_turn" => FinishReason::Pause,
        _ => FinishReason::Other,
    };
    Finish { reason, native, dialect: Dialect::Anthropic, stop_sequence }
}

/// The `stop_reason` for a reason that another dialect gave. `calls` is whether the answer calls tools: OpenAI says `stop` when a call was
/// forced, Anthropic's clients look for `tool_use`.
const fn stop_word(finish: &Finish<'_>, calls: bool) -> &'static str {
    match finish.reason {
        FinishReason::ToolCalls => "tool_use",
        FinishReason::Stop | FinishReason::Other if calls => "tool_use",
        FinishReason::Length => "max_tokens",
        FinishReason::ContentFilter => "refusal",
        FinishReason::Pause => "pause_turn",
        FinishReason::Stop if finish.stop_sequence.is_some() => "stop_sequence",
        FinishReason::Stop | FinishReason::Other => "end_turn",
    }
}
