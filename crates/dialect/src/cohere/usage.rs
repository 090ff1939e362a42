//! Usage as Cohere states it.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use crate::{
    Spent,
    read::{Count, document, is_invalid, stated, wire_object},
};

wire_object! {
    struct WireUsage { tokens: WireTokens<'a> = "tokens", cached_tokens: Count = "cached_tokens", }
    struct WireTokens {
        input_tokens: Count = "input_tokens",
        output_tokens: Count = "output_tokens",
        reasoning_tokens: Count = "reasoning_tokens",
        image_tokens: Count = "image_tokens",
    }
}

/// Reads the usage object of an answer: what the model read and wrote, not the `billed_units`, which leave out what Cohere adds to a prompt.
/// Images are counted beside the input there (their number may be above it) and within it here.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Spent<'_>> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let tokens = wire.tokens.unwrap_or_default();
    let mut counts = Usage::new(Convention::OPENAI);
    counts.invalid = is_invalid(tokens.input_tokens) || is_invalid(tokens.output_tokens);
    counts.image_input = stated(tokens.image_tokens);
    counts.input =
        stated(tokens.input_tokens).map(|input| input.saturating_add(counts.image_input.unwrap_or(0)));
    counts.output = stated(tokens.output_tokens);
    counts.reasoning = stated(tokens.reasoning_tokens);
    counts.cached_read = stated(wire.cached_tokens);
    (!counts.is_empty()).then_some(Spent { counts, dialect: Dialect::Cohere, raw })
}
