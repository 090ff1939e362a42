//! OpenAI's Responses.
//!
//! The model holds a message per item of `input`, so that a request in its own dialect loses nothing. For a provider of another dialect the
//! items become the turns of a chat first (`encode_elsewhere`), and for a caller of another dialect an answer loses what only Responses has
//! (`answer_elsewhere`): the codecs of the other dialects see nothing of this one.

mod answer;
mod citation;
mod elsewhere;
mod items;
mod request;
mod response;
mod retell;
mod stream;
mod usage;

pub(crate) use self::{
    elsewhere::answer_elsewhere, items::REDACTED, request::encode_elsewhere, retell::stream_of,
};
pub use self::{
    request::{decode_request, encode_request},
    response::{decode_response, encode_response},
    stream::{StreamDecoder, StreamEncoder},
    usage::read_usage,
};

use ziggurat_core::Dialect;

use crate::{Finish, FinishReason, Text};

/// Why an answer ended, of its status and of what is missing in it; `calls` is whether it calls functions.
fn finish<'a>(status: Text<'a>, incomplete: Option<Text<'a>>, calls: bool) -> Finish<'a> {
    let native = match status == *"incomplete" {
        true => incomplete.unwrap_or(status),
        false => status,
    };
    let reason = match &*native.decode() {
        "completed" if calls => FinishReason::ToolCalls,
        "completed" => FinishReason::Stop,
        "max_output_tokens" | "max_tokens" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    };
    Finish { reason, native, dialect: Dialect::Responses, stop_sequence: None }
}

/// The status of an answer, and why it is incomplete.
fn status<'t>(finish: Option<&'t Finish<'t>>) -> (Text<'t>, Option<Text<'t>>) {
    let (status, reason) = match finish {
        Some(finish) if finish.dialect == Dialect::Responses => {
            let native = &finish.native;
            return match &*native.decode() {
                "completed" | "failed" | "cancelled" | "in_progress" | "queued" | "incomplete" => {
                    (native.clone(), None)
                }
                _ => ("incomplete".into(), Some(native.clone())),
            };
        }
        Some(finish) if finish.reason == FinishReason::Length => ("incomplete", Some("max_output_tokens")),
        Some(finish) if finish.reason == FinishReason::ContentFilter => {
            ("incomplete", Some("content_filter"))
        }
        _ => ("completed", None),
    };
    (status.into(), reason.map(Text::from))
}
