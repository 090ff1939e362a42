//! What LiteLLM's cache tells apart, this one does too.

mod support;

use serde_json::{Value, json};
use ziggurat_testkit::{deviations, vectors};

use crate::support::*;

const DEVIATIONS: &str = include_str!("deviations.json");

#[tokio::test]
async fn rows_of_litellms_key() {
    let Some(rows) = vectors("cache_key.json") else { return };
    let deviations = deviations(DEVIATIONS);
    let base = rows.iter().find(|row| row["id"] == "cachekey.same").expect("is there")["kwargs"].clone();
    let mut deviated = Vec::new();
    for row in &rows {
        let id = row["id"].as_str().expect("has one");
        let upstream = Upstream::new(|_| whole(&completion("x")));
        let service = cached(&upstream, &Manual::default());
        let ask_for = async |kwargs: &Value| {
            // What stands beside the body, at the provider's or in the key's place.
            let mut body = kwargs.clone();
            let key = body.as_object_mut().expect("is one").remove("api_key");
            let mut request = chat(&body);
            if let Some(key) = key.as_ref().and_then(Value::as_str) {
                request
                    .headers_mut()
                    .insert("authorization", format!("Bearer {key}").parse().expect("is a value"));
            }
            ask(&service, request).await.cache
        };
        assert_eq!(ask_for(&base).await, MISS);
        let differs = ask_for(&row["kwargs"]).await == MISS;
        if json!(differs) != row["differs_from_base"] {
            deviated.push(id.to_owned());
        }
    }
    assert_eq!(deviated, deviations);
    assert!(rows.len() >= 25);
}
