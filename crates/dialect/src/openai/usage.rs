//! Usage as OpenAI and its relatives state it.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use crate::{
    Spent,
    read::{Count, document, is_invalid, served_tier, stated, wire_object},
    write::Object,
};

wire_object! {
    struct WireUsage {
        prompt_tokens: Count = "prompt_tokens",
        completion_tokens: Count = "completion_tokens",
        total_tokens: Count = "total_tokens",
        prompt_details: WireDetails<'a> = "prompt_tokens_details",
        // Mistral's spelling beside the usual one.
        prompt_detail: WireDetails<'a> = "prompt_token_details",
        completion_details: WireDetails<'a> = "completion_tokens_details",
        prompt_cache_hit_tokens: Count = "prompt_cache_hit_tokens",
        // Moonshot's and Together's, and Mistral's.
        cached_tokens: Count = "cached_tokens",
        num_cached_tokens: Count = "num_cached_tokens",
        cache_read_input_tokens: Count = "cache_read_input_tokens",
        cache_creation_input_tokens: Count = "cache_creation_input_tokens",
        server_tool_use: WireServerTools<'a> = "server_tool_use",
        // Beside the usage at OpenAI, within it at some relatives.
        service_tier: &'a RawValue = "service_tier",
    }
    struct WireDetails {
        cached_tokens: Count = "cached_tokens",
        cache_write_tokens: Count = "cache_write_tokens",
        audio_tokens: Count = "audio_tokens",
        image_tokens: Count = "image_tokens",
        reasoning_tokens: Count = "reasoning_tokens",
    }
    struct WireServerTools { web_search_requests: Count = "web_search_requests", }
}

/// Reads the usage object of an OpenAI-shaped answer, in whatever convention its numbers show.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Spent<'_>> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let mut counts = Usage::new(Convention::OPENAI);
    counts.invalid = is_invalid(wire.prompt_tokens) || is_invalid(wire.completion_tokens);
    counts.input = stated(wire.prompt_tokens);
    counts.output = stated(wire.completion_tokens);
    let prompt = wire.prompt_details.or(wire.prompt_detail).unwrap_or_default();
    let completion = wire.completion_details.unwrap_or_default();
    counts.cached_read = stated(prompt.cached_tokens)
        // DeepSeek's.
        .or(stated(wire.prompt_cache_hit_tokens))
        .or(stated(wire.cached_tokens))
        .or(stated(wire.num_cached_tokens))
        .or(stated(wire.cache_read_input_tokens));
    counts.cached_write = stated(prompt.cache_write_tokens).or(stated(wire.cache_creation_input_tokens));
    counts.audio_input = stated(prompt.audio_tokens);
    counts.image_input = stated(prompt.image_tokens);
    counts.reasoning = stated(completion.reasoning_tokens);
    counts.audio_output = stated(completion.audio_tokens);
    counts.image_output = stated(completion.image_tokens);
    counts.web_searches = wire.server_tool_use.and_then(|tools| stated(tools.web_search_requests));
    counts.tier = wire.service_tier.and_then(|raw| served_tier(raw.get()));
    if let (Some(input), Some(output), Some(reasoning), Some(total)) =
        (counts.input, counts.output, counts.reasoning, stated(wire.total_tokens))
        && reasoning > 0
        && input.checked_add(output).and_then(|sum| sum.checked_add(reasoning)) == Some(total)
    {
        // xAI counts reasoning beside the completion, as the total shows.
        counts.convention = Convention::XAI;
    }
    if let (Some(input), Some(output), Some(audio), Some(total)) =
        (counts.input, counts.output, counts.audio_input, stated(wire.total_tokens))
        && audio > 0
        && input.checked_add(output).and_then(|sum| sum.checked_add(audio)) == Some(total)
    {
        // Mistral counts audio beside the prompt, as the total shows.
        counts.input = Some(total - output);
    }
    (!counts.is_empty()).then_some(Spent { counts, dialect: Dialect::OpenAi, raw })
}

/// Reads the usage object of an answer that is no text: what was read is the prompt's count, or the only one there is.
#[must_use]
pub fn read_input_usage(raw: &RawValue) -> Option<Usage> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let read = wire.prompt_tokens.or(wire.total_tokens);
    let mut counts = read_usage(raw).map_or(Usage::new(Convention::OPENAI), |spent| spent.counts);
    (counts.input, counts.invalid) = (stated(read), is_invalid(read));
    (!counts.is_empty()).then_some(counts)
}

/// Writes usage that another dialect stated.
pub(super) fn write_usage(out: &mut Object<'_>, counts: &Usage) {
    let input = counts.input_total().unwrap_or(0);
    let output = counts.output_total().unwrap_or(0);
    out.number("prompt_tokens", input);
    out.number("completion_tokens", output);
    out.number("total_tokens", input.saturating_add(output));
    if counts.cached_read.is_some() || counts.cached_write.is_some() {
        out.object("prompt_tokens_details", |details| {
            details.number_if("cached_tokens", counts.cached_read);
            // OpenRouter's name and LiteLLM's.
            details.number_if("cache_write_tokens", counts.cached_write);
            details.number_if("cache_creation_tokens", counts.cached_write);
        });
    }
    if let Some(reasoning) = counts.reasoning {
        out.object("completion_tokens_details", |details| details.number("reasoning_tokens", reasoning));
    }
    // Where LiteLLM's users look for them.
    out.number_if("cache_creation_input_tokens", counts.cached_write);
    out.number_if("cache_read_input_tokens", counts.cached_read);
    if let Some(searches) = counts.web_searches {
        out.object("server_tool_use", |tools| tools.number("web_search_requests", searches));
    }
}
