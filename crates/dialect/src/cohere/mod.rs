//! Cohere's `/v2/chat`, which only providers speak.
//!
//! What is left out of requests: cache hints (Cohere caches by itself), thoughts that only their maker can read, `is_error` of results and
//! members of assistant messages (they came with an answer), name, description and strictness of a response schema. Answers name no model.
//! A `top_p` outside of Cohere's range becomes its end.

mod request;
mod response;
mod stream;
mod usage;

pub use self::{
    request::encode_request, response::decode_response, stream::StreamDecoder, usage::read_usage,
};

use ziggurat_core::Dialect;

use crate::{Finish, FinishReason, Text};

/// A `finish_reason` of Cohere's.
fn finish(native: Text<'_>) -> Finish<'_> {
    let reason = match &*native.decode() {
        "COMPLETE" | "STOP_SEQUENCE" => FinishReason::Stop,
        "MAX_TOKENS" | "ERROR_LIMIT" => FinishReason::Length,
        "TOOL_CALL" => FinishReason::ToolCalls,
        "ERROR_TOXIC" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    };
    Finish { reason, native, dialect: Dialect::Cohere, stop_sequence: None }
}

/// Whether a `finish_reason` says that there is no answer.
fn is_failure(native: &Text<'_>) -> bool {
    matches!(&*native.decode(), "ERROR" | "TIMEOUT")
}
