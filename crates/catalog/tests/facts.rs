//! The embedded data says what the shared facts say, read by other code than wrote it.
//!
//! The facts stay outside the repository; without them (and outside CI) this prints that it is skipped.

#![expect(clippy::unwrap_used, reason = "clippy does not see that helpers of tests are tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;
use ziggurat_catalog::{Capability, Catalog, Model, ServiceTier, Unit};
use ziggurat_testkit::shared_dir;

/// Prices of what is not counted here.
const NOT_PRICED: [&str; 7] = [
    "dbu",
    "_decisions",
    "_interval",
    "per_text_message",
    "per_credit",
    "explicit_cache_read",
    "_above_128k_tokens",
];

#[test]
fn the_embedded_data_agrees_with_the_shared_facts() {
    let Some(shared) = shared_dir() else { return };
    let text = fs::read_to_string(shared.join("catalog/models.jsonl")).unwrap();
    let catalog = Catalog::embedded();
    let corrections: Vec<Value> = include_str!("../data/corrections.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (mut ids, mut wrong) = (BTreeSet::new(), Vec::new());
    for line in text.lines() {
        let mut fact: Value = serde_json::from_str(line).unwrap();
        let id = fact["id"].clone();
        for correction in corrections.iter().filter(|correction| correction["id"] == id) {
            let price = &mut fact["usd"][correction["key"].as_str().unwrap()];
            assert_eq!(*price, correction["facts"], "{correction}");
            *price = correction["is"].clone();
        }
        if fact["mode"].is_null() {
            continue; // A class of prices, no model.
        }
        let id = fact["id"].as_str().unwrap();
        ids.insert(id.to_owned());
        match catalog.named(id) {
            Some(model) if *model.id == *id => wrong.extend(differences(&fact, &model)),
            found => wrong.push(format!("{id}: found {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    let embedded: BTreeSet<String> = catalog.models().map(|model| model.id.to_string()).collect();
    assert_eq!(embedded, ids);
    assert!(ids.len() > 4000);
}

fn differences(fact: &Value, model: &Model) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, ours: Option<&str>, theirs: Option<&str>| {
        if ours != theirs {
            wrong.push(format!("{} {what}: {ours:?} is {theirs:?}", model.id));
        }
    };
    let number = |value: &Value| value.as_u64().filter(|&count| count > 0);
    let (max_input, max_output) = (number(&fact["max_input_tokens"]), number(&fact["max_output_tokens"]));
    let max_tokens = number(&fact["max_tokens"]);
    let mode = fact["mode"].as_str().unwrap();
    let (max_input, max_output) = match mode {
        "chat" | "completion" | "responses" | "realtime" => (max_input, max_output.or(max_tokens)),
        _ => (max_input.or(max_tokens), max_output),
    };
    let text = |count: Option<u64>| count.map(|count| count.to_string());
    same("mode", Some(model.mode.name()), Some(mode));
    same("provider", Some(&*model.provider), fact["provider"].as_str());
    same("max_input", text(model.max_input).as_deref(), text(max_input).as_deref());
    same("max_output", text(model.max_output).as_deref(), text(max_output).as_deref());
    same("deprecated", model.deprecated.as_deref(), fact["deprecation_date"].as_str());
    let theirs = fact["supports"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let ours: BTreeSet<&str> = model.supports.iter().map(Capability::name).collect();
    if ours != theirs.clone().collect() {
        wrong.push(format!("{} supports {ours:?}: {:?}", model.id, theirs.collect::<Vec<_>>()));
    }
    let (ours, theirs) = (our_prices(model), their_prices(fact));
    if ours != theirs {
        wrong.push(format!("{} prices\n  {ours:?}\n  {theirs:?}", model.id));
    }
    wrong
}

/// Our prices, written as LiteLLM's map writes them.
fn our_prices(model: &Model) -> BTreeMap<String, String> {
    let key = |(unit, over, tier, _): (Unit, u64, ServiceTier, _)| {
        let over = if over > 0 { format!("_above_{}k_tokens", over as f64 / 1000.0) } else { String::new() };
        let tier = match tier {
            ServiceTier::Standard => "",
            ServiceTier::Batch => "_batches",
            ServiceTier::Flex => "_flex",
            ServiceTier::Priority => "_priority",
            ServiceTier::Balanced => "_balanced",
            ServiceTier::Ultrafast => "_ultrafast",
            other => panic!("a new tier {other}"),
        };
        format!("{}{over}{tier}", unit.name())
    };
    let rates = model.prices.iter().map(|rate| (key(rate), rate.3.to_string()));
    let sizes = model.prices.sizes();
    let sizes = sizes.map(|(unit, size, rate)| (format!("{}_{size}", unit.name()), rate.to_string()));
    let mut prices: BTreeMap<String, String> = rates.chain(sizes).collect();
    if let Some(price) = prices.get("search_context_size_medium").cloned() {
        for context in ["low", "high"] {
            prices.entry(format!("search_context_size_{context}")).or_insert_with(|| price.clone());
        }
    }
    prices
}

/// The facts' prices, as their bands and older words would be written in the newer.
fn their_prices(fact: &Value) -> BTreeMap<String, String> {
    let mut prices = BTreeMap::new();
    let objects = [&fact["usd"], &fact["search_context_cost_per_query"]];
    for (key, price) in objects.into_iter().filter_map(Value::as_object).flatten() {
        let zero_tier = key.ends_with("_above_128k_tokens") && key.contains("per_token");
        if zero_tier || !NOT_PRICED.iter().any(|unit| key.contains(unit)) {
            prices.insert(key.clone(), decimal(price));
        }
    }
    for band in fact["tiered_pricing"].as_array().into_iter().flatten() {
        let (range, less) = match band.get("range") {
            Some(range) => (range, 0.0),
            None => (&band["max_results_range"], 1.0),
        };
        let from: f64 = decimal(&range[0]).parse().unwrap();
        let over =
            if from > less { format!("_above_{}k_tokens", (from - less) / 1000.0) } else { String::new() };
        for (key, price) in band.as_object().unwrap().iter().filter(|(key, _)| !key.ends_with("range")) {
            prices.insert(format!("{key}{over}"), decimal(price));
        }
    }
    if let Some(price) = prices.remove("input_cost_per_token_cache_hit") {
        prices.entry("cache_read_input_token_cost".into()).or_insert(price);
    }
    prices
}

/// A decimal text without zeros at its end, rounded to 18 decimals by hand where it has more.
fn decimal(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let Some(next) = fraction.as_bytes().get(18) else {
        let fraction = fraction.trim_end_matches('0');
        return if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
    };
    let digits: u128 = format!("{whole}{}", &fraction[..18]).parse().unwrap();
    let digits = format!("{:019}", digits + u128::from(*next >= b'5'));
    let (whole, fraction) = digits.split_at(digits.len() - 18);
    decimal(&Value::String(format!("{whole}.{fraction}")))
}
