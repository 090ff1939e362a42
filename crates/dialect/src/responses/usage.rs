//! Usage as Responses states it.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use crate::{
    Spent,
    read::{Count, document, is_invalid, stated, wire_object},
    write::Object,
};

wire_object! {
    struct WireUsage {
        input_tokens: Count = "input_tokens",
        output_tokens: Count = "output_tokens",
        total_tokens: Count = "total_tokens",
        input_details: WireDetails<'a> = "input_tokens_details",
        output_details: WireDetails<'a> = "output_tokens_details",
        // xAI's.
        server_tools: WireServerTools<'a> = "server_side_tool_usage_details",
    }
    struct WireDetails {
        cached_tokens: Count = "cached_tokens",
        cache_write_tokens: Count = "cache_write_tokens",
        audio_tokens: Count = "audio_tokens",
        image_tokens: Count = "image_tokens",
        reasoning_tokens: Count = "reasoning_tokens",
    }
    struct WireServerTools { web_search_calls: Count = "web_search_calls", }
    struct WireToolUsage { web_search: WireSearches<'a> = "web_search", }
    struct WireSearches { num_requests: Count = "num_requests", }
}

/// Reads the usage object of an answer.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Spent<'_>> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let mut counts = Usage::new(Convention::OPENAI);
    counts.invalid = is_invalid(wire.input_tokens) || is_invalid(wire.output_tokens);
    counts.input = stated(wire.input_tokens);
    counts.output = stated(wire.output_tokens);
    let input = wire.input_details.unwrap_or_default();
    let output = wire.output_details.unwrap_or_default();
    counts.cached_read = stated(input.cached_tokens);
    counts.cached_write = stated(input.cache_write_tokens);
    counts.audio_input = stated(input.audio_tokens);
    counts.image_input = stated(input.image_tokens);
    counts.reasoning = stated(output.reasoning_tokens);
    counts.audio_output = stated(output.audio_tokens);
    counts.image_output = stated(output.image_tokens);
    counts.web_searches = wire.server_tools.and_then(|tools| stated(tools.web_search_calls));
    if let (Some(input), Some(output), Some(reasoning), Some(total)) =
        (counts.input, counts.output, counts.reasoning, stated(wire.total_tokens))
        && reasoning > 0
        && input.checked_add(output).and_then(|sum| sum.checked_add(reasoning)) == Some(total)
    {
        // Reasoning is counted beside the output, as the total shows.
        counts.convention = Convention::XAI;
    }
    (!counts.is_empty()).then_some(Spent { counts, dialect: Dialect::Responses, raw })
}

/// The web searches that OpenAI counts beside the usage, in `tool_usage`.
pub(super) fn web_searches(tool_usage: &RawValue) -> Option<u64> {
    let wire: WireToolUsage<'_> = document(tool_usage.get()).ok()?;
    stated(wire.web_search?.num_requests).filter(|searches| *searches > 0)
}

/// Writes usage that another dialect stated. OpenAI's SDKs require both details.
pub(super) fn write_usage(out: &mut Object<'_>, counts: &Usage) {
    let input = counts.input_total().unwrap_or(0);
    let output = counts.output_total().unwrap_or(0);
    out.number("input_tokens", input);
    out.object("input_tokens_details", |details| {
        details.number("cached_tokens", counts.cached_read.unwrap_or(0));
        details.number("cache_write_tokens", counts.cached_write.unwrap_or(0));
    });
    out.number("output_tokens", output);
    out.object("output_tokens_details", |details| {
        details.number("reasoning_tokens", counts.reasoning.unwrap_or(0));
    });
    out.number("total_tokens", input.saturating_add(output));
}
