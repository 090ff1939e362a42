//! What LiteLLM makes of the same usage and the same prices, to the pico-dollar.
//!
//! The vectors stay outside the repository; without them (and outside CI) this prints that it is skipped. Rows that are marked
//! `suspect` are no truth. Where we differ on purpose, `deviations.json` says where and why; a deviation that is none any more fails.

#![expect(clippy::unwrap_used, reason = "clippy does not see that helpers of tests are tests")]

use std::{collections::BTreeSet, fs, time::Duration};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use ziggurat_catalog::{Catalog, Cost, Model, Quantities, Rate, ServiceTier};
use ziggurat_core::{Convention, Usage, Usd};
use ziggurat_testkit::shared_dir;

#[derive(Deserialize)]
struct Row<'a> {
    id: &'a str,
    #[serde(default)]
    suspect: Vec<Value>,
    #[serde(borrow)]
    price_map_rates: &'a RawValue,
    custom_llm_provider: Option<&'a str>,
    #[serde(default)]
    usage: Value,
    service_tier: Option<&'a str>,
    #[serde(default)]
    extra: Value,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    seconds: Option<f64>,
    characters: Option<u64>,
    #[serde(default)]
    expected_error: Value,
    #[serde(borrow)]
    expected_cost_usd: Option<&'a RawValue>,
    #[serde(borrow)]
    expected_prompt_cost_usd: Option<&'a RawValue>,
    #[serde(borrow)]
    expected_completion_cost_usd: Option<&'a RawValue>,
    #[serde(borrow)]
    independent_recomputation_usd: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Deviation {
    row: String,
    at: BTreeSet<String>,
    why: String,
}

#[test]
fn chat_costs_what_litellm_says() {
    run("cost", 40);
}

#[test]
fn embeddings_audio_and_batches_cost_what_litellm_says() {
    run("cost_nonchat", 6);
}

fn run(file: &str, at_least: usize) {
    let Some(shared) = shared_dir() else { return };
    let text = fs::read_to_string(shared.join("vectors").join(format!("{file}.json"))).unwrap();
    let rows: Vec<Row<'_>> = serde_json::from_str(&text).unwrap();
    let deviations: Vec<Deviation> = serde_json::from_str(include_str!("deviations.json")).unwrap();
    assert!(deviations.iter().all(|deviation| deviation.why.len() > 20), "a deviation has a reason");
    let (mut same, mut met) = (0, BTreeSet::new());
    for row in rows.iter().filter(|row| row.suspect.is_empty()) {
        let id = format!("{file}/{}", row.id);
        let differing: BTreeSet<String> = differences(row).into_iter().map(str::to_owned).collect();
        let deviation = deviations.iter().find(|deviation| deviation.row == id);
        let expected = deviation.map(|deviation| deviation.at.clone()).unwrap_or_default();
        assert_eq!(differing, expected, "{id}: differs elsewhere than the deviations say: {:?}", charge(row));
        same += usize::from(deviation.is_none());
        met.extend(deviation.map(|_| id));
    }
    let listed = deviations.iter().filter(|deviation| deviation.row.split('/').next() == Some(file));
    assert_eq!(
        listed.map(|deviation| deviation.row.clone()).collect::<BTreeSet<_>>(),
        met,
        "rows that are no more"
    );
    println!("{file}: {same} as expected, {} deviate for a reason", met.len());
    assert!(same + met.len() >= at_least, "{same} rows only");
}

/// Where our cost of a row is not the expected one.
fn differences(row: &Row<'_>) -> Vec<&'static str> {
    let cost = charge(row);
    if !row.expected_error.is_null() {
        return if cost.is_none() { vec![] } else { vec!["unpriced"] };
    }
    let Some(cost) = cost else { return vec!["priced"] };
    let parts = [
        ("total", cost.total, row.expected_cost_usd),
        ("total", cost.total, row.independent_recomputation_usd),
        ("prompt", cost.input + cost.cached_read + cost.cached_write, row.expected_prompt_cost_usd),
        ("completion", cost.output + cost.reasoning, row.expected_completion_cost_usd),
    ];
    let differs =
        parts.into_iter().filter(|(_, ours, theirs)| theirs.is_some_and(|theirs| *ours != pico(theirs)));
    differs.map(|(part, ..)| part).collect()
}

/// `None` when the model has no price.
fn charge(row: &Row<'_>) -> Option<Cost> {
    let map = format!(r#"{{"model":{}}}"#, row.price_map_rates.get());
    let imported = Catalog::import(&map).unwrap();
    assert_eq!(imported.unknown, [], "{}: all prices are understood", row.id);
    let mut model = imported.models.into_iter().next().unwrap();
    if let Some(price) = row.extra["custom_cost_per_second"].as_f64() {
        model = Model::custom(Some(&model), [("input_cost_per_second", price.to_string().as_str())]).unwrap();
    }
    if !model.prices.is_priced() {
        return None;
    }
    assert!(row.custom_llm_provider != Some("xai"), "the provider decides on thresholds");
    let mut tier: ServiceTier = row.service_tier.unwrap_or_default().parse().unwrap();
    if row.id.starts_with("batch.") {
        tier = ServiceTier::Batch;
    }
    let milliseconds = row.extra["total_time"].as_f64();
    let seconds = row.seconds.or(milliseconds.map(|time| time / 1000.0)).unwrap_or(0.0);
    let used = Quantities {
        tier,
        time: Duration::from_secs_f64(seconds),
        characters: row.characters.unwrap_or(0),
        ..Quantities::default()
    };
    Some(model.prices.cost_of_both(&usage(row), &used))
}

fn usage(row: &Row<'_>) -> Usage {
    let mut usage = Usage::new(Convention::OPENAI);
    let (input, output) = (&row.usage["prompt_tokens_details"], &row.usage["completion_tokens_details"]);
    usage.input = row.usage["prompt_tokens"].as_u64().or(row.prompt_tokens);
    usage.output = row.usage["completion_tokens"].as_u64().or(row.completion_tokens);
    usage.cached_read = input["cached_tokens"].as_u64();
    usage.cached_write = input["cache_creation_tokens"].as_u64();
    usage.cached_write_1h = input["cache_creation_token_details"]["ephemeral_1h_input_tokens"].as_u64();
    usage.audio_input = input["audio_tokens"].as_u64();
    usage.image_input = input["image_tokens"].as_u64();
    usage.reasoning = output["reasoning_tokens"].as_u64();
    usage.audio_output = output["audio_tokens"].as_u64();
    usage.image_output = output["image_tokens"].as_u64();
    usage
}

/// A float's text to the nearest pico-dollar.
fn pico(text: &RawValue) -> Usd {
    let atto = text.get().parse::<Rate>().unwrap().as_atto();
    Usd::pico((atto + 500_000) / 1_000_000)
}
