//! Writes the embedded facts, `data/models.txt`, from the facts that are shared between developers.
//!
//! ```text
//! cargo run -p ziggurat-catalog --example embed -- 2026-11-22
//! ```
//!
//! The argument is the day of the facts. They are `catalog/models.jsonl` in the folder that `ZIGGURAT_SHARED` names, else in `../shared`
//! beside the workspace. Prices of units that are not counted (Databricks' own units and the like) are left out, and printed. What the facts
//! have wrong is put right by `data/corrections.jsonl`, a price a line; a correction of what they no longer say is an error.

use std::{collections::BTreeMap, env, error::Error, fs, path::Path};

use serde_json::{Map, Value};
use ziggurat_catalog::Catalog;

fn main() -> Result<(), Box<dyn Error>> {
    let version = env::args().nth(1).ok_or("the day of the facts is missing, as 2026-11-22")?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = env::var_os("ZIGGURAT_SHARED").unwrap_or_else(|| "../shared".into());
    let facts = fs::read_to_string(here.join("../..").join(shared).join("catalog/models.jsonl"))?;
    let corrections = fs::read_to_string(here.join("data/corrections.jsonl"))?;

    let mut map = price_map(&facts)?;
    corrections.lines().try_for_each(|line| correct(&mut map, &serde_json::from_str(line)?))?;
    let imported = Catalog::import(&map.to_string())?;
    let text = imported.to_text(&version);
    fs::write(here.join("data/models.txt"), &text)?;

    let mut left_out = BTreeMap::<&str, usize>::new();
    for unknown in &imported.unknown {
        *left_out.entry(&unknown.key).or_default() += 1;
    }
    for (key, models) in left_out {
        println!("left out: {key} of {models} models");
    }
    println!("{} models, {} bytes", imported.models.len(), text.len());
    Ok(())
}

/// Puts one price right.
fn correct(map: &mut Value, correction: &Value) -> Result<(), Box<dyn Error>> {
    let text = |member: &str| correction[member].as_str().ok_or(format!("{correction} has no `{member}`"));
    let price = map.get_mut(text("id")?).and_then(|model| model.get_mut(text("key").ok()?));
    let price = price.filter(|price| **price == correction["facts"]);
    *price.ok_or(format!("the facts do not say this any more: {correction}"))? = text("is")?.into();
    Ok(())
}

/// The facts as a price map, which the import reads.
fn price_map(facts: &str) -> Result<Value, Box<dyn Error>> {
    let mut map = Map::new();
    for line in facts.lines() {
        let Value::Object(mut fact) = serde_json::from_str(line)? else {
            return Err("a fact is an object".into());
        };
        let Some(Value::String(id)) = fact.remove("id") else { return Err("a fact has an id".into()) };
        // Without a mode it is no model but a class of prices.
        if !fact.get("mode").is_some_and(Value::is_string) {
            continue;
        }
        if let Some(provider) = fact.remove("provider") {
            fact.insert("litellm_provider".into(), provider);
        }
        if let Some(Value::Object(prices)) = fact.remove("usd") {
            fact.extend(prices);
        }
        if let Some(Value::Array(capabilities)) = fact.remove("supports") {
            let names = capabilities.iter().filter_map(Value::as_str);
            fact.extend(names.map(|name| (format!("supports_{name}"), Value::Bool(true))));
        }
        map.insert(id, Value::Object(fact));
    }
    Ok(Value::Object(map))
}
