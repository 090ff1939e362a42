//! Usage as Ollama states it: among the members of an answer, or of a stream's last line.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use crate::{
    Spent,
    read::{Count, document, is_invalid, stated, wire_object},
};

wire_object! {
    struct WireUsage { prompt: Count = "prompt_eval_count", output: Count = "eval_count", }
}

/// Reads the counts of an answer, which is the `raw` that they stand in. A prompt that was in the cache may not be counted: then its number
/// is not stated.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Spent<'_>> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let mut counts = Usage::new(Convention::OPENAI);
    counts.invalid = is_invalid(wire.prompt) || is_invalid(wire.output);
    counts.input = stated(wire.prompt);
    counts.output = stated(wire.output);
    (!counts.is_empty()).then_some(Spent { counts, dialect: Dialect::Ollama, raw })
}
