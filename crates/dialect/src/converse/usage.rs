//! Usage as Converse states it.

use serde_json::value::RawValue;
use ziggurat_core::{Convention, Dialect, Usage};

use crate::{
    Spent,
    read::{Count, document, is_invalid, served_tier, stated, wire_object},
};

wire_object! {
    struct WireUsage {
        input_tokens: Count = "inputTokens",
        output_tokens: Count = "outputTokens",
        cache_read: Count = "cacheReadInputTokens",
        cache_read_count: Count = "cacheReadInputTokenCount",
        cache_write: Count = "cacheWriteInputTokens",
        cache_write_count: Count = "cacheWriteInputTokenCount",
        cache_details: Vec<WireCacheDetail<'a>> = "cacheDetails",
    }
    struct WireCacheDetail { ttl: &'a RawValue = "ttl", input_tokens: Count = "inputTokens", }
    struct WireFields { usage: WireModelUsage<'a> = "usage", }
    struct WireModelUsage { details: WireDetails<'a> = "output_tokens_details", }
    struct WireDetails { thinking_tokens: Count = "thinking_tokens", }
    struct WireTier { kind: &'a RawValue = "type", }
}

/// Reads the usage object of an answer or of a stream's `metadata`: cached tokens are counted beside the input.
#[must_use]
pub fn read_usage(raw: &RawValue) -> Option<Spent<'_>> {
    let wire: WireUsage<'_> = document(raw.get()).ok()?;
    let mut counts = Usage::new(Convention::ANTHROPIC);
    counts.invalid = is_invalid(wire.input_tokens) || is_invalid(wire.output_tokens);
    counts.input = stated(wire.input_tokens);
    counts.output = stated(wire.output_tokens);
    counts.cached_read = stated(wire.cache_read).or(stated(wire.cache_read_count));
    counts.cached_write = stated(wire.cache_write).or(stated(wire.cache_write_count));
    let details = wire.cache_details.into_iter().flatten();
    let hour = details.filter(|detail| detail.ttl.is_some_and(|ttl| ttl.get() == r#""1h""#));
    counts.cached_write_1h =
        hour.filter_map(|detail| stated(detail.input_tokens)).reduce(u64::saturating_add);
    (!counts.is_empty()).then_some(Spent { counts, dialect: Dialect::Converse, raw })
}

/// Adds to usage what stands elsewhere in an answer: what the model itself said of its reasoning, where that was asked for, and the tier.
pub(super) fn complete<'a>(spent: Spent<'a>, reasoning: Option<u64>, tier: Option<&RawValue>) -> Spent<'a> {
    let named = tier.and_then(|raw| document::<WireTier<'_>>(raw.get()).ok()?.kind);
    let mut spent = spent.served_at(named.and_then(|name| served_tier(name.get())));
    spent.counts.reasoning = reasoning.or(spent.counts.reasoning);
    spent
}

/// Whether `additionalModelResponseFields` hold more than the usage, which the encoder of requests asks for by itself.
pub(super) fn was_asked(fields: &RawValue) -> bool {
    document::<WireFields<'_>>(fields.get()).is_ok_and(|wire| !wire.extra.is_empty())
}

/// The tokens of reasoning among `additionalModelResponseFields`.
pub(super) fn reasoning(fields: &RawValue) -> Option<u64> {
    let wire: WireFields<'_> = document(fields.get()).ok()?;
    stated(wire.usage?.details?.thinking_tokens)
}
