//! What LiteLLM does with the same input: its users' programs rely on it.
//!
//! The vectors stay outside the repository; without them (and outside CI) these tests print that they are skipped. Rows of providers that
//! speak other dialects are left out.
//!
//! Where we differ on purpose, `deviations.json` says by row where and why. Rows that are marked `suspect` are no truth: for each of them
//! `decisions.json` says what we do, and why, and where that is not what LiteLLM does. What differs elsewhere, or no more, fails, so that both
//! lists stay true. What is left out of the comparison for all rows is said where it is left out.

mod bridge;
mod error;
mod request;
mod request_converse;
mod response;
mod responses;
mod stream;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use serde::Deserialize;
use serde_json::Value;
use ziggurat_core::Dialect;
use ziggurat_testkit::vectors;

/// A row on which we differ from LiteLLM.
#[derive(Deserialize)]
struct Deviation {
    /// File and id.
    row: String,
    /// Where: members, all that is below them included.
    at: Vec<String>,
    /// Why ours is right.
    why: String,
}

/// What we do about rows of which LiteLLM's way is suspected to be wrong.
#[derive(Deserialize)]
struct Decision {
    /// Files and ids.
    rows: Vec<String>,
    /// Where we differ from LiteLLM, as of a [`Deviation`]; nowhere, where its way is right after all.
    at: Vec<String>,
    /// Why ours is right.
    why: String,
}

/// The rows of one file, and what came of them.
struct Rows {
    file: &'static str,
    rows: Vec<Value>,
    /// Those that were decided on included.
    deviations: Vec<Deviation>,
    met: RefCell<BTreeSet<String>>,
    counts: Cell<[usize; 3]>,
    failures: RefCell<Vec<String>>,
}

impl Rows {
    fn load(file: &'static str) -> Option<Self> {
        let rows = vectors(&format!("{file}.json"))?;
        let mut all: Vec<Deviation> =
            serde_json::from_str(include_str!("../deviations.json")).expect("the deviations read");
        let decisions: Vec<Decision> =
            serde_json::from_str(include_str!("../decisions.json")).expect("the decisions read");
        for Decision { rows, at, why } in decisions {
            all.extend(rows.into_iter().map(|row| Deviation { row, at: at.clone(), why: why.clone() }));
        }
        assert!(all.iter().all(|deviation| deviation.why.len() > 20), "a deviation has a reason");
        let deviations = all.into_iter().filter(|d| d.row.split('/').next() == Some(file)).collect();
        Some(Self {
            file,
            rows,
            deviations,
            met: RefCell::default(),
            counts: Cell::default(),
            failures: RefCell::default(),
        })
    }

    /// Runs over the rows of the two dialects, those without a dialect of their own included.
    fn run(&self, check: impl Fn(&Self, &Value)) {
        for row in self.rows.iter().filter(|row| row["model"].is_null() || dialect(row).is_some()) {
            check(self, row);
        }
        for deviation in self.deviations.iter().filter(|d| !self.met.borrow().contains(&d.row)) {
            self.failures.borrow_mut().push(format!("{}: deviates no more", deviation.row));
        }
        let [same, deviating, suspect] = self.counts.get();
        println!(
            "{}: {same} as expected, {deviating} deviate for a reason, {suspect} suspect and decided",
            self.file
        );
        assert!(same > 0, "{}: there is no such row", self.file);
        assert!(self.failures.borrow().is_empty(), "{}", self.failures.borrow().join("\n"));
    }

    /// Compares what we make of a row with what is expected.
    fn compare(&self, row: &Value, expected: &Value, ours: &Value) {
        let id = format!("{}/{}", self.file, row["id"].as_str().expect("has an id"));
        let differing = differences(expected, ours);
        let mut counts = self.counts.get();
        let deviation = self.deviations.iter().find(|deviation| deviation.row == id);
        let covers = |at: &String, path: &String| {
            path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_as_told = |deviation: &Deviation| {
            differing.iter().all(|path| deviation.at.iter().any(|at| covers(at, path)))
                && deviation.at.iter().all(|at| differing.iter().any(|path| covers(at, path)))
        };
        match deviation {
            Some(decision) if is_suspect(row) && is_as_told(decision) => counts[2] += 1,
            None if differing.is_empty() && !is_suspect(row) => counts[0] += 1,
            Some(deviation) if !differing.is_empty() && is_as_told(deviation) => counts[1] += 1,
            _ => {
                let failure = format!("{id}: differs at {differing:?}\n  {expected}\n  {ours}");
                self.failures.borrow_mut().push(failure);
            }
        }
        if deviation.is_some() && (is_suspect(row) || !differing.is_empty()) {
            self.met.borrow_mut().insert(id);
        }
        self.counts.set(counts);
    }
}

fn is_suspect(row: &Value) -> bool {
    row["suspect"].as_array().is_some_and(|suspicions| !suspicions.is_empty())
}

/// The dialect of the provider that a row's model names.
fn dialect(row: &Value) -> Option<Dialect> {
    match row["model"].as_str()?.split('/').next()? {
        "anthropic" => Some(Dialect::Anthropic),
        "bedrock" => Some(Dialect::Converse),
        "gemini" => Some(Dialect::Gemini),
        "openai" | "azure" | "groq" | "deepseek" | "xai" | "openrouter" | "mistral" => Some(Dialect::OpenAi),
        "ollama_chat" => Some(Dialect::Ollama),
        "cohere_chat" => Some(Dialect::Cohere),
        _ => None,
    }
}

/// The model's name at its provider.
fn model(row: &Value) -> &str {
    let name = row["model"].as_str().expect("names a model");
    name.split_once('/').map_or(name, |(_, model)| model)
}

/// The paths of all leaves that differ; `null` is absent.
fn differences(left: &Value, right: &Value) -> BTreeSet<String> {
    let (mut all, mut paths) = ([BTreeMap::new(), BTreeMap::new()], BTreeSet::new());
    leaves("", left, &mut all[0]);
    leaves("", right, &mut all[1]);
    for path in all[0].keys().chain(all[1].keys()) {
        if all[0].get(path) != all[1].get(path) {
            paths.insert(path.clone());
        }
    }
    paths
}

fn leaves(at: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let separator = if at.is_empty() { "" } else { "." };
                leaves(&format!("{at}{separator}{name}"), value, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                leaves(&format!("{at}[{index}]"), item, out);
            }
        }
        // Whole numbers are the same with and without a fraction.
        value => {
            let value = value.as_f64().map_or_else(|| value.clone(), |number| number.to_string().into());
            out.insert(at.to_owned(), value);
        }
    }
}

/// Arguments are JSON in a string: compared as what they are.
fn parse_arguments(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().filter(|_| name == "arguments").map(serde_json::from_str) {
                    Some(Ok(parsed)) => *value = parsed,
                    _ => parse_arguments(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(parse_arguments),
        _ => {}
    }
}
