//! The Converse API of AWS Bedrock.
//!
//! The model's name stands in the URL alone, whether to stream in its last segment. A stream's events come as
//! [`event_stream`](crate::event_stream) gives them out.

mod request;
mod response;
mod stream;
mod usage;

pub use self::{
    request::{encode_request, is_claude},
    response::decode_response,
    stream::{StreamDecoder, exception},
    usage::read_usage,
};

use ziggurat_core::{Dialect, percent_encoded};

use crate::{Finish, FinishReason, Text};

/// The path of a call: `operation` is `converse`, `converse-stream`, `invoke` or `invoke-with-response-stream`. A model's name holds `:`, an
/// ARN `/` too, and both are escaped in a path, where the signature of a request escapes them once more.
#[must_use]
pub fn path(model: &str, operation: &str) -> String {
    format!("/model/{}/{operation}", percent_encoded(model))
}

/// A `stopReason`.
fn finish<'a>(native: Text<'a>, stop_sequence: Option<Text<'a>>) -> Finish<'a> {
    let reason = match &*native.decode() {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "guardrail_intervened" | "content_filtered" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    };
    Finish { reason, native, dialect: Dialect::Converse, stop_sequence }
}
