//! Usage as Anthropic states it.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use crate::{
    Spent,
    read::{Count, document, is_invalid, served_tier, stated, wire_object},
    write::Object,
};

wire_object! {
    struct WireUsage {
        input_tokens: Count = "input_tokens",
        output_tokens: Count = "output_tokens",
        cache_read_input_tokens: Count = "cache_read_input_tokens",
        cache_creation_input_tokens: Count = "cache_creation_input_tokens",
        cache_creation: WireCreation<'a> = "cache_creation",
        server_tool_use: WireServerTools<'a> = "server_tool_use",
        output_tokens_details: WireDetails<'a> = "output_tokens_details",
        service_tier: &'a RawValue = "service_tier",
    }
    struct WireCreation { one_hour: Count = "ephemeral_1h_input_tokens", }
    struct WireServerTools { web_search_requests: Count = "web_search_requests", }
    struct WireDetails { thinking_tokens: Count = "thinking_tokens", }
}

/// Reads the usage object of a message or of a `message_delta`. Its `iterations` repeat parts of the whole and are not added.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Spent<'_>> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let mut counts = Usage::new(Convention::ANTHROPIC);
    counts.invalid = is_invalid(wire.input_tokens) || is_invalid(wire.output_tokens);
    counts.input = stated(wire.input_tokens);
    counts.output = stated(wire.output_tokens);
    counts.cached_read = stated(wire.cache_read_input_tokens);
    counts.cached_write = stated(wire.cache_creation_input_tokens);
    counts.cached_write_1h = wire.cache_creation.and_then(|creation| stated(creation.one_hour));
    counts.web_searches = wire.server_tool_use.and_then(|tools| stated(tools.web_search_requests));
    counts.reasoning = wire.output_tokens_details.and_then(|details| stated(details.thinking_tokens));
    counts.tier = wire.service_tier.and_then(|raw| served_tier(raw.get()));
    (!counts.is_empty()).then_some(Spent { counts, dialect: Dialect::Anthropic, raw })
}

/// Writes usage that another dialect stated. Anthropic's clients require both counts; what was not stated is 0. They add the cached tokens
/// to the input, so that no more of those are stated than there was input: some providers count more.
pub(super) fn write_usage(out: &mut Object<'_>, counts: &Usage) {
    let input = counts.input_total().unwrap_or(u64::MAX);
    let read = counts.cached_read.map(|read| read.min(input));
    let written = counts.cached_write.map(|written| written.min(input - read.unwrap_or(0)));
    out.number("input_tokens", counts.input_uncached().unwrap_or(0));
    out.number("output_tokens", counts.output_total().unwrap_or(0));
    out.number_if("cache_read_input_tokens", read);
    out.number_if("cache_creation_input_tokens", written);
    if let Some(searches) = counts.web_searches {
        out.object("server_tool_use", |tools| tools.number("web_search_requests", searches));
    }
}
