//! Of a list of inputs, those are asked for that are not known.

mod support;

use http::Response;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::Layer;
use ziggurat_cache::{Entry, Key, MemoryStore, Store};
use ziggurat_core::Body;

use crate::support::*;

/// Embeds as [`embedded`] does.
fn embedder() -> Boxed {
    tower::util::BoxCloneSyncService::new(tower::service_fn(|request: http::Request<Body>| async {
        let bytes = request.into_body().collect_within(1 << 24).await.expect("is short");
        Ok(embedded(&serde_json::from_slice(&bytes).expect("is JSON")))
    }))
}

/// Embeds each input by its length, and counts a token for each of its bytes.
fn embedded(body: &Value) -> Response<Body> {
    let inputs = match &body["input"] {
        Value::Array(list) if !list[0].is_number() => list.clone(),
        one => vec![one.clone()],
    };
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| json!({"object": "embedding", "index": index, "embedding": [input.to_string().len(), 0.1]}))
        .collect();
    let tokens: usize = inputs.iter().map(|input| input.to_string().len()).sum();
    whole(
        &json!({"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}),
    )
}

fn embed(input: &Value) -> http::Request<Body> {
    post("/v1/embeddings", &json!({"model": "e", "input": input}))
}

/// A service whose provider's inputs are recorded.
fn service() -> (ziggurat_cache::Cached<Boxed>, std::sync::Arc<std::sync::Mutex<Vec<Value>>>) {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let inner = {
        let seen = std::sync::Arc::clone(&seen);
        tower::util::BoxCloneSyncService::new(tower::service_fn(move |request: http::Request<Body>| {
            let seen = std::sync::Arc::clone(&seen);
            async move {
                let bytes = request.into_body().collect_within(1 << 24).await.expect("is short");
                let body: Value = serde_json::from_slice(&bytes).expect("is JSON");
                seen.lock().expect("is sound").push(body["input"].clone());
                Ok(embedded(&body))
            }
        }))
    };
    (layer(&Manual::default()).layer(inner), seen)
}

#[tokio::test]
async fn only_what_is_missing_is_asked_for() {
    let (service, seen) = service();
    ask(&service, embed(&json!(["a", "bb"]))).await;
    let partly = ask(&service, embed(&json!(["ccc", "bb", "a", "ccc"]))).await;
    assert_eq!(partly.cache, MISS);
    let expected = read_body(embedded(&json!({"input": ["ccc", "bb", "a", "ccc"]})).into_body()).await.0;
    assert_eq!(partly.json(), serde_json::from_str::<Value>(&expected).expect("is JSON"));
    let all = ask(&service, embed(&json!(["ccc", "bb"]))).await;
    assert_eq!(all.cache, HIT);
    assert_eq!(all.json()["usage"]["prompt_tokens"], 9);
    // One alone is one of them.
    assert_eq!(ask(&service, embed(&json!("a"))).await.cache, HIT);
    assert_eq!(*seen.lock().expect("is sound"), [json!(["a", "bb"]), json!(["ccc", "ccc"])]);
}

#[tokio::test]
async fn numbers_are_one_input_and_other_parameters_other_answers() {
    let (service, seen) = service();
    for input in [json!([1, 2, 3]), json!([[1, 2, 3], [4]])] {
        assert_eq!(ask(&service, embed(&input)).await.cache, MISS, "{input}");
    }
    assert_eq!(ask(&service, embed(&json!([4]))).await.cache, HIT);
    let smaller = json!({"model": "e", "input": [4], "dimensions": 1});
    assert_eq!(ask(&service, post("/v1/embeddings", &smaller)).await.cache, MISS);
    assert_eq!(*seen.lock().expect("is sound"), [json!([1, 2, 3]), json!([[4]]), json!([4])]);
}

#[tokio::test]
async fn an_answer_of_another_shape_passes_and_is_not_kept() {
    let store = MemoryStore::new(1 << 20);
    let short =
        json!({"object": "list", "data": [{"index": 0, "embedding": [1]}], "usage": {"prompt_tokens": 1}});
    for answer in [short, json!({"error": {"message": "x"}}), json!({"vectors": []})] {
        let upstream = Upstream::new({
            let answer = answer.clone();
            move |_| whole(&answer)
        });
        let service = ziggurat_cache::CacheLayer::new(store.clone()).layer(upstream.service());
        assert_eq!(ask(&service, embed(&json!(["a", "b"]))).await.json(), answer);
        assert!(store.is_empty());
    }
    // Where some were known already, it is no answer.
    let upstream = Upstream::new(|number| match number {
        0 => embedded(&json!({"input": ["a"]})),
        _ => whole(&json!({"data": []})),
    });
    let service = cached(&upstream, &Manual::default());
    ask(&service, embed(&json!(["a"]))).await;
    let broken = ask(&service, embed(&json!(["a", "b"]))).await;
    assert_eq!(broken.status, 502);
}

/// A store that tells its keys.
#[derive(Debug)]
struct Seen {
    store: MemoryStore,
    keys: std::sync::Mutex<Vec<Key>>,
}

impl Store for Seen {
    fn get(&self, key: &Key) -> ziggurat_core::Reply<Option<std::sync::Arc<Entry>>> {
        self.store.get(key)
    }

    fn put(&self, key: Key, entry: std::sync::Arc<Entry>) {
        self.keys.lock().expect("is sound").push(key);
        self.store.put(key, entry);
    }

    fn remove(&self, key: &Key) -> ziggurat_core::Reply<bool> {
        self.store.remove(key)
    }

    fn clear(&self) -> ziggurat_core::Reply<bool> {
        self.store.clear()
    }
}

/// Bytes that are no item are a miss, and are removed.
#[tokio::test]
async fn a_poisoned_item_is_asked_for_again() {
    let store =
        std::sync::Arc::new(Seen { store: MemoryStore::new(1 << 20), keys: std::sync::Mutex::default() });
    let service = ziggurat_cache::CacheLayer::new(std::sync::Arc::clone(&store)).layer(embedder());
    let first = ask(&service, embed(&json!(["a", "bb"]))).await.json();
    let keys = store.keys.lock().expect("is sound").clone();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let kind = http::HeaderValue::from_static("application/json");
        let now = std::time::SystemTime::now();
        let ttl = std::time::Duration::from_secs(60);
        let bad =
            ziggurat_cache::Entry::new(ziggurat_cache::Form::Whole, kind, "{\"tokens\":1}".into(), now, ttl);
        store.store.put(key, std::sync::Arc::new(bad));
    }
    let again = ask(&service, embed(&json!(["a", "bb"]))).await;
    assert_eq!((again.cache, again.json()), (MISS, first));
}

proptest! {
    /// Whatever was asked before: the answer is that of a provider who is asked for all.
    #[test]
    fn the_answer_is_the_providers(lists in prop::collection::vec(prop::collection::vec("[a-d]{1,3}", 1..6), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
        runtime.block_on(async {
            let service = layer(&Manual::default()).layer(embedder());
            for list in lists {
                let expected = ask(&embedder(), embed(&json!(list))).await.json();
                assert_eq!(ask(&service, embed(&json!(list))).await.json(), expected, "{list:?}");
            }
        });
    }
}
