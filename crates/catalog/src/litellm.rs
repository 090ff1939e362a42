//! The keys of LiteLLM's price map and config, and what they mean here.

mod custom;
mod key;

use std::{collections::BTreeMap, error::Error, fmt};

use serde_json::value::RawValue;

pub(crate) use self::custom::{custom, is_custom_key};
use self::key::{Key, base, price_key, tokens};
use crate::{
    BasisPoints, Capability, InvalidShare, Mode, Model, ParseRateError, Prices, Rate, Unit, data,
    prices::Variant,
};

/// What was read from a price map.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The models, by name.
    pub models: Vec<Model>,
    /// What in the map was not understood, by model: prices of units that are not counted here, words that are new.
    pub unknown: Vec<Unknown>,
}

/// A key of a price map that was not understood, and so is not in the import.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Unknown {
    /// The model's name.
    pub model: String,
    /// The key, or `key: word` where the word is what was not understood.
    pub key: String,
}

/// Why a price map cannot be imported.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportError {
    /// The model's name; `None` when the text is no map.
    pub model: Option<String>,
    /// The key; `None` when the entry is no object, or has a name that cannot be kept.
    pub key: Option<String>,
    /// What was expected.
    pub expected: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

type Entry<'a> = BTreeMap<String, &'a RawValue>;

// ===== impl Catalog =====

impl crate::Catalog {
    /// Reads LiteLLM's price map, `model_prices_and_context_window.json`: numbers are taken from their text, not through a float.
    ///
    /// Keys about prices that are not understood are named in [`Imported::unknown`]. Left out without a word are `sample_spec` and keys
    /// that are about neither prices, windows nor capabilities (`source`, `supported_endpoints`, `rpm` and the like).
    ///
    /// # Errors
    /// [`ImportError`] names the model and the key whose value cannot be read: half a map would give wrong prices.
    pub fn import(text: &str) -> Result<Imported, ImportError> {
        let map: BTreeMap<String, &RawValue> = serde_json::from_str(text)
            .map_err(|error| ImportError::new("an object of models").because(error))?;
        let mut imported = Imported::default();
        for (id, entry) in map {
            if id == "sample_spec" {
                continue;
            }
            let model = model(&id, entry, &mut imported.unknown).map_err(|error| error.of_model(&id))?;
            imported.models.push(model);
        }
        imported.unknown.sort();
        Ok(imported)
    }
}

// ===== impl Imported =====

impl Imported {
    /// Writes the models in this crate's own format, as the facts of a day (`2026-11-22`).
    #[must_use]
    pub fn to_text(&self, version: &str) -> String {
        data::write(version, &self.models)
    }
}

fn model(id: &str, entry: &RawValue, unknown: &mut Vec<Unknown>) -> Result<Model, ImportError> {
    if !data::can_hold(id) {
        return Err(ImportError::new("a name without blanks"));
    }
    let entry: Entry<'_> =
        serde_json::from_str(entry.get()).map_err(|error| ImportError::new("an object").because(error))?;
    let mut not_understood = |key: String| unknown.push(Unknown { model: id.to_owned(), key });
    let provider = entry.get("litellm_provider").and_then(|value| string(value)).unwrap_or_default();
    if !data::can_hold(&provider) && !provider.is_empty() {
        return Err(ImportError::new("a provider without blanks").at("litellm_provider"));
    }
    let mut model = Model::new(id, &provider);
    let mut max_tokens = None;
    for (key, &value) in &entry {
        let (key, text) = (key.as_str(), value.get());
        match key {
            _ if text == "null" => {}
            "mode" => {
                let word = string(value).unwrap_or_default();
                model.mode = Mode::of_name(&word).unwrap_or_else(|| {
                    not_understood(format!("mode: {word}"));
                    Mode::Other
                });
            }
            "max_input_tokens" => model.max_input = count(key, value)?,
            "max_output_tokens" => model.max_output = count(key, value)?,
            "max_tokens" => max_tokens = count(key, value)?,
            "deprecation_date" => {
                let day = string(value).filter(|day| data::can_hold(day));
                model.deprecated = day.map(String::into_boxed_str);
            }
            "search_context_cost_per_query" => {
                for (context, price) in object(key, value)? {
                    match price_key(&context) {
                        Some(Key::Rate(variant)) => model.prices.set(variant, rate(&context, price)?),
                        _ => not_understood(format!("{key}: {context}")),
                    }
                }
            }
            "provider_specific_entry" => {
                for (name, factor) in object(key, value)? {
                    set_multiplier(&mut model.prices, key, &name, factor)?;
                }
            }
            "regional_endpoint_uplift_multiplier" => {
                set_multiplier(&mut model.prices, key, "regional_endpoint", value)?;
            }
            _ if key.starts_with(UPLIFT) => {
                set_multiplier(&mut model.prices, key, &key[UPLIFT.len()..], value)?
            }
            "tiered_pricing" => bands(key, value, &mut model.prices, &mut not_understood)?,
            _ if IGNORED.contains(&key) => {}
            _ => match (key.strip_prefix("supports_"), price_key(key)) {
                (Some(capability), _) if text == "true" => match Capability::of_name(capability) {
                    Some(capability) => model.supports = model.supports.with(capability),
                    None => not_understood(key.to_owned()),
                },
                (Some(_), _) if text == "false" => {}
                (_, Some(Key::Rate(variant))) => model.prices.set(variant, rate(key, value)?),
                (_, Some(Key::Size(unit, size))) => model.prices.set_size(unit, size, rate(key, value)?),
                (_, Some(Key::CacheHit)) if !entry.contains_key(Unit::CachedRead.name()) => {
                    model.prices.set(base(Unit::CachedRead), rate(key, value)?);
                }
                (_, Some(Key::CacheHit)) => {}
                (_, None) => not_understood(key.to_owned()),
            },
        }
    }
    one_web_search(&mut model.prices);
    // The older word for the most output tokens, of a model that writes.
    if model.mode.writes() {
        model.max_output = model.max_output.or(max_tokens);
    } else {
        model.max_input = model.max_input.or(max_tokens);
    }
    Ok(model)
}

fn set_multiplier(prices: &mut Prices, key: &str, name: &str, factor: &RawValue) -> Result<(), ImportError> {
    let text = string(factor);
    let text = text.as_deref().unwrap_or(factor.get());
    let factor: BasisPoints =
        text.parse().map_err(|error: InvalidShare| ImportError::new("a factor").because(error).at(key))?;
    if !data::can_hold(name) || name.contains('=') {
        return Err(ImportError::new("a name without blanks").at(key));
    }
    prices.set_multiplier(name, factor);
    Ok(())
}

/// Web searches that cost the same with any context have one price.
fn one_web_search(prices: &mut Prices) {
    let usual = prices.rate(Unit::WebSearch);
    if usual.is_some()
        && [Unit::WebSearchLow, Unit::WebSearchHigh].iter().all(|&unit| prices.rate(unit) == usual)
    {
        prices.remove(Unit::WebSearchLow);
        prices.remove(Unit::WebSearchHigh);
    }
}

/// Bands of prices by the size of the context (`range`, in tokens) or by how many results a query asks for (`max_results_range`). A
/// band starts behind its lower bound.
fn bands(
    key: &str,
    value: &RawValue,
    prices: &mut Prices,
    not_understood: &mut impl FnMut(String),
) -> Result<(), ImportError> {
    let bands: Vec<Entry<'_>> = serde_json::from_str(value.get())
        .map_err(|error| ImportError::new("a list of bands").because(error).at(key))?;
    for band in bands {
        let (of_results, range) = match (band.get("range"), band.get("max_results_range")) {
            (Some(range), None) => (false, range),
            (None, Some(range)) => (true, range),
            _ => return Err(ImportError::new("a band with a range").at(key)),
        };
        let range: Vec<&RawValue> = serde_json::from_str(range.get())
            .map_err(|error| ImportError::new("a range").because(error).at(key))?;
        let from = range.first().ok_or_else(|| ImportError::new("a range").at(key))?;
        let from = count(key, from)?.unwrap_or(0);
        let over = if of_results { from.saturating_sub(1) } else { from };
        for (name, &price) in &band {
            match price_key(name) {
                _ if name == "range" || name == "max_results_range" => {}
                Some(Key::Rate(variant))
                    if variant.over == 0 && (variant.unit == Unit::Query) == of_results =>
                {
                    prices.set(Variant { over, ..variant }, rate(name, price)?);
                }
                _ => not_understood(format!("{key}: {name}")),
            }
        }
    }
    Ok(())
}

/// A number, or a number in a string.
fn rate(key: &str, value: &RawValue) -> Result<Rate, ImportError> {
    let text = string(value);
    let text = text.as_deref().unwrap_or(value.get());
    text.parse().map_err(|error: ParseRateError| ImportError::new("a price").because(error).at(key))
}

/// A count of tokens; zero is none.
fn count(key: &str, value: &RawValue) -> Result<Option<u64>, ImportError> {
    let text = string(value);
    let text = text.as_deref().unwrap_or(value.get());
    let count = tokens(text).ok_or_else(|| ImportError::new("a number of tokens").at(key))?;
    Ok(Some(count).filter(|&count| count > 0))
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn object<'a>(key: &str, value: &'a RawValue) -> Result<Entry<'a>, ImportError> {
    serde_json::from_str(value.get()).map_err(|error| ImportError::new("an object").because(error).at(key))
}

// ===== impl Prices =====

impl Prices {
    /// What is peculiar to a provider's prices.
    pub(crate) fn of_provider(mut self, provider: &str, id: &str) -> Self {
        self.reached_switches |= provider == "xai";
        self.writes_when_asked |= provider == "anthropic" || id.contains("claude");
        self
    }
}

// ===== impl ImportError =====

impl ImportError {
    fn new(expected: &'static str) -> Self {
        Self { model: None, key: None, expected, source: None }
    }

    fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    fn at(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    fn of_model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(model) = &self.model {
            write!(f, "`{model}`: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        write!(f, "not {}", self.expected)
    }
}

impl Error for ImportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What stands before a region in the key of its multiplier.
const UPLIFT: &str = "regional_processing_uplift_multiplier_";

/// What a price map says beside prices, windows and capabilities.
const IGNORED: [&str; 16] = [
    "comment",
    "comments",
    "display_name",
    "litellm_provider",
    "metadata",
    "model_vendor",
    "model_version",
    "notes",
    "output_vector_size",
    "rpm",
    "source",
    "supported_endpoints",
    "supported_modalities",
    "supported_output_modalities",
    "supported_regions",
    "tpm",
];
