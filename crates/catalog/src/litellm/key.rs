//! The names of prices.

use crate::{Rate, ServiceTier, Unit, prices::Variant};

/// What a key prices.
pub(super) enum Key<'a> {
    Rate(Variant),
    /// Hits of a prompt cache: LiteLLM's older word for cached reads, which yields to the newer one.
    CacheHit,
    Size(Unit, &'a str),
}

/// Takes a key apart: `input_cost_per_token_above_200k_tokens_priority` is input over 200,000 tokens at the priority tier.
pub(super) fn price_key(key: &str) -> Option<Key<'_>> {
    let (mut rest, mut over, mut tier) = (key, 0, ServiceTier::Standard);
    loop {
        if let Some(found) = rest_of_tier(rest).filter(|_| tier == ServiceTier::Standard) {
            (rest, tier) = found;
        } else if let Some((unit, tokens)) = rest_of_threshold(rest).filter(|_| over == 0) {
            (rest, over) = (unit, tokens);
        } else {
            break;
        }
    }
    if let Some(unit) = Unit::of_name(rest) {
        // Thresholds of other units are of lengths and contexts that are not counted with them.
        return (over == 0 || unit.is_token()).then_some(Key::Rate(Variant { unit, over, tier }));
    }
    if key == "input_cost_per_token_cache_hit" {
        return Some(Key::CacheHit);
    }
    [Unit::PerImageOutput, Unit::SecondOutput].into_iter().find_map(|unit| {
        let size = key.strip_prefix(unit.name())?.strip_prefix('_')?;
        let is_size = size.starts_with(|first: char| first.is_ascii_digit())
            && size.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        is_size.then_some(Key::Size(unit, size))
    })
}

fn rest_of_tier(key: &str) -> Option<(&str, ServiceTier)> {
    let (rest, tier) = key.rsplit_once('_')?;
    let tier = match tier {
        "batches" => ServiceTier::Batch,
        "flex" => ServiceTier::Flex,
        "priority" => ServiceTier::Priority,
        "balanced" => ServiceTier::Balanced,
        "ultrafast" => ServiceTier::Ultrafast,
        _ => return None,
    };
    Some((rest, tier))
}

fn rest_of_threshold(key: &str) -> Option<(&str, u64)> {
    let (rest, thousands) = key.strip_suffix("k_tokens")?.rsplit_once("_above_")?;
    let thousands = thousands.parse::<u32>().ok().filter(|&thousands| thousands > 0)?;
    Some((rest, u64::from(thousands) * 1000))
}

pub(super) fn base(unit: Unit) -> Variant {
    Variant { unit, over: 0, tier: ServiceTier::Standard }
}

/// A whole number, as price maps and YAML write it (`8192`, `8192.0`, `1e6`).
pub(super) fn tokens(text: &str) -> Option<u64> {
    const ATTO: u128 = 1_000_000_000_000_000_000;
    // A rate is a decimal number too; its bound of a million is not one for tokens.
    match text.parse::<u64>() {
        Ok(count) => Some(count),
        Err(_) => {
            let atto = Rate::per(text, 9).ok()?.as_atto();
            let whole = atto.checked_mul(1_000_000_000)?;
            if whole % ATTO == 0 { u64::try_from(whole / ATTO).ok() } else { None }
        }
    }
}
