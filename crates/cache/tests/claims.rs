//! Several nodes that share a store make one call of what they are asked at once. In paused time; `ziggurat-redis` has the same over a server.

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{Request, Response};
use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_cache::{CacheLayer, Cached, Claim, Entry, Held, Key, MemoryStore, Store};
use ziggurat_core::{Body, Reply};

use crate::support::*;

const LONGEST: Duration = Duration::from_secs(60);

/// A store elsewhere, that several nodes share.
#[derive(Clone, Debug)]
struct Elsewhere {
    answers: MemoryStore,
    marks: Arc<Mutex<HashMap<Key, u128>>>,
    log: Arc<Mutex<Vec<&'static str>>>,
}

struct Guard(Elsewhere, Key);

impl Elsewhere {
    fn new() -> Self {
        Self { answers: MemoryStore::new(64 << 20), marks: Arc::default(), log: Arc::default() }
    }

    fn log(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.log.lock().expect("is sound")
    }

    /// A node that has a provider of its own.
    fn node(&self, upstream: &Upstream) -> Cached<Boxed> {
        self.layer().layer(upstream.service())
    }

    fn layer(&self) -> CacheLayer {
        CacheLayer::new(self.clone()).clock(Manual::default().clock()).share_in_flight(LONGEST)
    }
}

impl Store for Elsewhere {
    fn get(&self, key: &Key) -> Reply<Option<Arc<Entry>>> {
        let (this, key) = (self.clone(), *key);
        Reply::Later(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            this.answers.get(&key).wait().await
        }))
    }

    fn put(&self, key: Key, entry: Arc<Entry>) {
        self.log().push("put");
        self.answers.put(key, entry);
    }

    fn remove(&self, key: &Key) -> Reply<bool> {
        self.answers.remove(key)
    }

    fn clear(&self) -> Reply<bool> {
        self.answers.clear()
    }

    fn claim(&self, key: &Key) -> Reply<Claim> {
        let (this, key) = (self.clone(), *key);
        Reply::Later(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut marks = this.marks.lock().expect("is sound");
            if let Some(owner) = marks.get(&key) {
                return Claim::Theirs(*owner);
            }
            let number = this.log().len() as u128;
            this.log().push("claim");
            marks.insert(key, number);
            drop(marks);
            Claim::Ours(Held::new(Guard(this, key)))
        }))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.log().push("release");
        self.0.marks.lock().expect("is sound").remove(&self.1);
    }
}

/// Asks so often at once, each as a task of its own.
fn asks(node: &Cached<Boxed>, count: usize) -> Vec<JoinHandle<Answered>> {
    let ask_one = |_| {
        let node = node.clone();
        tokio::spawn(async move { ask(&node, chat(&json!({"stream": true}))).await })
    };
    (0..count).map(ask_one).collect()
}

async fn answered(tasks: Vec<JoinHandle<Answered>>) -> Vec<Answered> {
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.expect("is answered"));
    }
    all
}

/// A provider of which each answer is made of what is sent through a pipe.
fn piped() -> (Upstream, Piped) {
    let pipe = Piped::default();
    let body = pipe.clone();
    (Upstream::new(move |_| answer("text/event-stream", body.body())), pipe)
}

/// A provider that takes a second, and calls a function for the answer.
fn slow(upstream: &Upstream) -> Boxed {
    let inner = upstream.service();
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            inner.oneshot(request).await
        }
    }))
}

fn refused() -> Response<Body> {
    let mut response = whole(&json!({"error": {"message": "broken"}}));
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    response
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_on_two_nodes_are_one_call() {
    let (store, (upstream, pipe)) = (Elsewhere::new(), piped());
    let nodes = [store.node(&upstream), store.node(&upstream)];
    let tasks: Vec<_> = nodes.iter().flat_map(|node| asks(node, 50)).collect();
    // A stream that takes its time.
    for piece in stream(&["Once", " upon", " a", " time"]).split_inclusive("\n\n") {
        tokio::time::sleep(Duration::from_secs(2)).await;
        pipe.send(piece.to_owned());
    }
    pipe.end();
    let all = answered(tasks).await;
    assert_eq!(upstream.calls(), 1);
    assert_eq!(all.iter().filter(|answered| answered.body == all[0].body).count(), 100);
    assert!(all[0].body.ends_with(DONE), "{}", all[0].body);
    let count = |status| all.iter().filter(|answered| answered.cache == status).count();
    assert_eq!([count(MISS), count(SHARED), count(HIT)], [1, 49, 50]);
    assert_eq!(*store.log(), ["claim", "put", "release"]);
}

#[tokio::test(start_paused = true)]
async fn when_all_callers_have_left_exactly_one_other_node_goes_on() {
    let (store, (upstream, pipe)) = (Elsewhere::new(), piped());
    let nodes: Vec<_> = (0..4).map(|_| store.node(&upstream)).collect();
    let first = asks(&nodes[0], 3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let others: Vec<_> = nodes[1..].iter().flat_map(|node| asks(node, 3)).collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((upstream.calls(), pipe.is_dropped()), (1, false));
    first.iter().for_each(JoinHandle::abort);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((upstream.calls(), pipe.is_dropped()), (2, true));
    pipe.send(stream(&["Hi"]));
    pipe.end();
    let all = answered(others).await;
    let count = |status| all.iter().filter(|answered| answered.cache == status).count();
    assert_eq!([count(MISS), count(SHARED), count(HIT)], [1, 2, 6]);
    assert_eq!(upstream.calls(), 2);
    assert_eq!(*store.log(), ["claim", "release", "claim", "put", "release"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_makes_no_queue_of_nodes() {
    let (store, upstream) = (Elsewhere::new(), Upstream::new(|_| refused()));
    let nodes: Vec<_> = (0..10).map(|_| store.layer().layer(slow(&upstream))).collect();
    let began = Instant::now();
    let all = answered(nodes.iter().flat_map(|node| asks(node, 2)).collect()).await;
    assert!(all.iter().all(|answered| answered.status == 500));
    assert_eq!(upstream.calls(), 10);
    // The first, the second, and all others at once.
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(store.log().iter().filter(|what| **what == "put").count(), 0);
    assert!(store.marks.lock().expect("is sound").is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_is_waited_for_no_longer_than_told() {
    let (store, upstream) = (Elsewhere::new(), Upstream::new(|_| events(stream(&["Hi"]))));
    let short = Duration::from_secs(3);
    let node = store.layer().share_in_flight(short).layer(upstream.service());
    let first = ask(&node, chat(&json!({"stream": true}))).await;
    let key = first.lookup.expect("is told").key;
    assert!(store.remove(&key).wait().await);
    // One who never ends.
    store.marks.lock().expect("is sound").insert(key, 7);
    let began = Instant::now();
    let all = answered(asks(&node, 5)).await;
    let took = began.elapsed();
    assert!(took >= short && took < short + Duration::from_millis(100), "{took:?}");
    assert!(all.iter().all(|answered| answered.body == first.body));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_keeps_nobody_waiting() {
    let (store, (first, pipe)) = (Elsewhere::new(), piped());
    let second = Upstream::new(|_| events(stream(&["Hi"])));
    let nodes = [&first, &second].map(|upstream| store.layer().max_entry(1000).layer(upstream.service()));
    let of_first = asks(&nodes[0], 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let of_second = asks(&nodes[1], 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    for _ in 0..2 {
        pipe.send(stream(&[&*"x".repeat(600)]));
    }
    answered(of_second).await;
    // While the first goes on.
    assert_eq!((first.calls(), second.calls(), of_first[0].is_finished()), (1, 1, false));
    pipe.end();
    answered(of_first).await;
    assert_eq!(*store.log(), ["claim", "release", "claim", "put", "release"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_for_whom_the_answer_is_too_old_has_its_own() {
    let (store, upstream, time) =
        (Elsewhere::new(), Upstream::new(|_| whole(&completion("Hi"))), Manual::default());
    let node = store.layer().clock(time.clock()).layer(upstream.service());
    ask(&node, chat(&json!({}))).await;
    time.pass(30);
    let young = chat(&json!({"cache": {"s-maxage": 10}}));
    assert_eq!(ask(&node, young).await.cache, MISS);
    assert_eq!(*store.log(), ["claim", "put", "release"].repeat(2));
}

#[tokio::test(start_paused = true)]
async fn it_is_off_unless_set_and_for_what_is_not_kept_as_one() {
    let (store, upstream) = (Elsewhere::new(), Upstream::new(|_| whole(&completion("Hi"))));
    let off = CacheLayer::new(store.clone()).clock(Manual::default().clock()).layer(upstream.service());
    ask(&off, chat(&json!({}))).await;
    let node = store.node(&upstream);
    for said in ["no-store", "no-cache"] {
        let answered = ask(&node, chat(&json!({"seed": 1, "cache": {said: true}}))).await;
        assert_eq!(answered.cache, MISS, "{answered:?}");
    }
    ask(&node, post("/v1/embeddings", &json!({"model": "e", "input": ["a", "b"]}))).await;
    assert_eq!(upstream.calls(), 4);
    assert_eq!(*store.log(), ["put", "put"]);
    // A store that knows nothing of other nodes.
    let alone = layer(&Manual::default()).share_in_flight(LONGEST).layer(upstream.service());
    assert_eq!(ask(&alone, chat(&json!({}))).await.cache, MISS);
    assert_eq!(ask(&alone, chat(&json!({}))).await.cache, HIT);
}

/// Each look takes a millisecond, and all of them as long as one.
#[tokio::test(start_paused = true)]
async fn inputs_of_a_list_are_looked_for_at_once() {
    let (store, upstream) = (Elsewhere::new(), Upstream::new(|_| embedded(200)));
    let node = store.node(&upstream);
    let inputs: Vec<_> = (0..200).map(|number| format!("input {number}")).collect();
    let list = || post("/v1/embeddings", &json!({"model": "e", "input": inputs}));
    assert_eq!(ask(&node, list()).await.cache, MISS);
    let began = Instant::now();
    let again = ask(&node, list()).await;
    assert_eq!((again.cache, again.json()["data"].as_array().map(Vec::len)), (HIT, Some(200)));
    assert!(began.elapsed() < Duration::from_millis(5), "{:?}", began.elapsed());
    assert_eq!(upstream.calls(), 1);
}

fn embedded(count: usize) -> Response<Body> {
    let one = |index| json!({"object": "embedding", "index": index, "embedding": [0.5]});
    let data: Vec<_> = (0..count).map(one).collect();
    whole(
        &json!({"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 400, "total_tokens": 400}}),
    )
}
