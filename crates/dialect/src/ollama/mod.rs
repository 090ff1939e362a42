//! Ollama's own `/api/chat`, which only providers speak. Its streams are lines of JSON: [`ndjson`](crate::ndjson).
//!
//! What is left out of requests: cache hints (Ollama caches by itself), thoughts that only their maker can read, `is_error` of results and
//! members of assistant messages (they came with an answer), name, description and strictness of a response schema. Of a stream: how long
//! it took. Answers have no id, and calls of older versions none: both are made of what the answer says.

mod request;
mod response;
mod stream;
mod usage;

pub use self::{
    request::encode_request, response::decode_response, stream::StreamDecoder, usage::read_usage,
};

use sha2::{Digest, Sha256};
use ziggurat_core::Dialect;

use crate::{Finish, FinishReason, Text, names::hex};

/// A `done_reason` of Ollama's, which says `stop` when tools are called, too.
fn finish(native: Option<Text<'_>>, calls: bool) -> Finish<'_> {
    // Older versions give none.
    let native = native.unwrap_or_else(|| "stop".into());
    let reason = match &*native.decode() {
        "stop" if calls => FinishReason::ToolCalls,
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        _ => FinishReason::Other,
    };
    Finish { reason, native, dialect: Dialect::Ollama, stop_sequence: None }
}

/// An id of what Ollama gives none: the same whenever the answer is read, and another in the next, as the time in it has nanoseconds.
fn made_id(prefix: &str, seed: &str) -> Text<'static> {
    let digest = Sha256::digest(seed.as_bytes());
    format!("{prefix}{}", hex(&digest[..12])).into()
}

/// The id of an answer, or of its beginning.
fn answer_id(model: Option<&Text<'_>>, created_at: Option<&Text<'_>>) -> Text<'static> {
    let text = |text: Option<&Text<'_>>| text.map(|text| text.decode().into_owned()).unwrap_or_default();
    made_id("ollama-", &format!("{}/{}", text(created_at), text(model)))
}

/// Seconds of the Unix epoch of a time as Ollama writes it.
fn epoch_seconds(created_at: Option<&Text<'_>>) -> Option<u64> {
    let time: jiff::Timestamp = created_at?.decode().parse().ok()?;
    u64::try_from(time.as_second()).ok()
}
