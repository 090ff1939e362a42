//! The prices of one deployment.

use std::str::FromStr;

use super::key::{Key, base, price_key, tokens};
use crate::{InvalidPrice, Mode, Model, ParseRateError, Rate, Unit};

/// Puts a deployment's own prices over a model's.
pub(crate) fn custom(mut model: Model, entries: &[(&str, &str)]) -> Result<Model, InvalidPrice> {
    let entries = || entries.iter().copied().filter(|(_, value)| !matches!(*value, "" | "null" | "~"));
    let invalid = |key: &str, why| InvalidPrice { key: key.to_owned(), why };
    let unit = |key: &str| match price_key(key)? {
        Key::Rate(variant) => Some(variant.unit),
        Key::CacheHit => Some(Unit::CachedRead),
        Key::Size(unit, _) => Some(unit),
    };
    let units: Vec<Unit> = entries().filter_map(|(key, _)| unit(key)).collect();
    let by_time = |unit: &Unit| matches!(unit, Unit::SecondInput | Unit::SecondOutput | Unit::Second);
    if units.iter().any(by_time) && !units.iter().any(|unit| unit.is_token()) {
        // A price by time stands in for one by tokens, it does not add to it.
        Unit::ALL.iter().filter(|unit| unit.is_token()).for_each(|&unit| model.prices.remove(unit));
    }
    units.iter().for_each(|&unit| model.prices.remove(unit));
    for (key, value) in entries() {
        let rate = || Rate::from_str(value).map_err(|why| invalid(key, Some(why)));
        let count = || tokens(value).ok_or_else(|| invalid(key, Some(ParseRateError::NotANumber)));
        match (key, price_key(key)) {
            (_, Some(Key::Rate(variant))) => model.prices.set(variant, rate()?),
            (_, Some(Key::Size(unit, size))) => model.prices.set_size(unit, size, rate()?),
            (_, Some(Key::CacheHit)) => model.prices.set(base(Unit::CachedRead), rate()?),
            ("max_input_tokens", _) => model.max_input = Some(count()?),
            ("max_output_tokens" | "max_tokens", _) => model.max_output = Some(count()?),
            ("mode", _) => model.mode = Mode::of_name(value).ok_or_else(|| invalid(key, None))?,
            _ if looks_like_a_price(key) => return Err(invalid(key, None)),
            _ => {}
        }
    }
    Ok(model)
}

pub(crate) fn is_custom_key(key: &str) -> bool {
    matches!(key, "max_input_tokens" | "max_output_tokens" | "max_tokens" | "mode") || looks_like_a_price(key)
}

/// Whether a key is about money, known or not: a misspelt price must not be free.
fn looks_like_a_price(key: &str) -> bool {
    key.contains("_cost_per_") || key.contains("_token_cost") || price_key(key).is_some()
}
