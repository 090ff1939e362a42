//! What LiteLLM makes of the same input, row by row, and where we differ.

use std::fs;

use serde_json::Value;

use crate::shared_dir;

/// The rows of a file of vectors beside the workspace (see [`shared_dir`] for where), where they are there.
///
/// # Panics
/// When the file cannot be read, and when it is not there and the environment has `CI=true`.
#[must_use]
pub fn vectors(file: &str) -> Option<Vec<Value>> {
    let text = fs::read(shared_dir()?.join("vectors").join(file)).expect("the vectors are there");
    Some(serde_json::from_slice(&text).expect("the vectors read"))
}

/// The ids of the rows that a list has deviate, in its order.
///
/// # Panics
/// When the list cannot be read, and when it gives no reason for one of them.
#[must_use]
pub fn deviations(list: &str) -> Vec<String> {
    let deviations: Vec<Value> = serde_json::from_str(list).expect("the deviations read");
    let row = |deviation: &Value| {
        assert!(deviation["why"].as_str().is_some_and(|why| why.len() > 20), "a deviation has a reason");
        deviation["row"].as_str().expect("names a row").to_owned()
    };
    deviations.iter().map(row).collect()
}
