//! Google's `generateContent`, on AI Studio and on Vertex AI.
//!
//! The model and whether to stream stand in the path of the request, not in its body: whoever sends it puts them there.
//!
//! # What changes on the way
//! - **System messages** stand ahead of all others, wherever the caller has them; consecutive messages of one side are one turn, tool results
//!   first and in the order of their calls. A user's turn that says nothing is a full stop.
//! - **Calls without an id** get one: from the answer's id and the call's number in answers, from the number alone in a caller's history. A result
//!   without one answers the oldest open call of its name.
//! - **Signatures** reach other callers as thoughts, without words where the signed part is none, and on calls as `thoughtSignature` too; either
//!   brings them back to the part that they sign. A caller that returns neither has its calls excused from generation 3 on. Those of
//!   other makers do not come here, and without Gemini's mark they are taken for that, on calls aside.
//! - **Turns of the model** that a caller has in the pieces of a stream are one turn to others, and each of its texts is one.
//! - **Schemas** of arguments are `parameters` where they are in Google's subset, else `parametersJsonSchema`; before 2.5 they are put into it.
//! - **Media** by URL stay URLs: Google's models read them. Images in answers are `images` beside OpenAI's message.
//! - **Log probabilities** of answers stay in Google's form, under Google's name. Redacted thoughts and a file's name have no place here, nor has
//!   `strict`: Google holds calls to their schema as well as it can.

mod grounding;
mod models;
mod part;
mod request;
mod response;
mod schema;
mod stream;
mod turns;
mod usage;
mod write;

pub(crate) use self::{
    grounding::write_annotations,
    part::{SIGNATURE, image},
    request::{Standing, standing},
    schema::plain_schema,
    turns::put_together,
};
pub use self::{
    request::{decode_request, encode_request},
    response::{decode_response, encode_response},
    stream::{StreamDecoder, StreamEncoder},
    usage::read_usage,
};

use ziggurat_core::Dialect;

use crate::{Finish, FinishReason, Text};

/// A `finishReason` of Google's, in words or, where a caller asked for enums as numbers, as the number. `calls` is whether the answer calls
/// functions: Google says `STOP` then too.
pub(crate) fn finish(native: Text<'_>, calls: bool) -> Finish<'_> {
    let reason = match &*native.decode() {
        "STOP" | "1" if calls => FinishReason::ToolCalls,
        "STOP" | "1" => FinishReason::Stop,
        "MAX_TOKENS" | "2" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_RECITATION"
        | "IMAGE_PROHIBITED_CONTENT" => FinishReason::ContentFilter,
        // Vertex AI and AI Studio number them differently from 6 on, up to 8 with filters all the same.
        "3" | "4" | "6" | "7" | "8" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    };
    Finish { reason, native, dialect: Dialect::Gemini, stop_sequence: None }
}

/// Why a prompt was not answered at all.
fn blocked(native: Text<'_>) -> Finish<'_> {
    Finish { reason: FinishReason::ContentFilter, native, dialect: Dialect::Gemini, stop_sequence: None }
}

/// The `finishReason` for a reason that another dialect gave.
const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Pause => "STOP",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::ContentFilter => "SAFETY",
        FinishReason::Other => "OTHER",
    }
}
