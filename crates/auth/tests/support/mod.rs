//! What the tests of the layer share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_auth::{
    AuthLayer, CachePolicy, CustomerRecord, KeyHash, KeyRecord, KeyStore, Owner, VirtualKeys,
};
use ziggurat_core::{Asked, Away, Body, Clock};

/// Time that passes when it is told to.
#[derive(Clone, Default)]
pub(crate) struct Manual(Arc<AtomicU64>);

impl Manual {
    pub(crate) fn clock(&self) -> Clock {
        let nanos = Arc::clone(&self.0);
        Clock::new(move || start() + Duration::from_nanos(nanos.load(Ordering::SeqCst)))
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
    }

    pub(crate) fn seconds(&self, seconds: f64) {
        self.pass(Duration::from_secs_f64(seconds));
    }
}

/// When the clock starts.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A store in memory that counts what it is asked, and fails or freezes on request. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Inner>);

#[derive(Default)]
struct Inner {
    keys: Mutex<HashMap<KeyHash, KeyRecord>>,
    customers: Mutex<HashMap<String, CustomerRecord>>,
    owners: Mutex<HashMap<Owner, KeyRecord>>,
    asked: AtomicUsize,
    mood: Mutex<Mood>,
}

#[derive(Clone, Default)]
pub(crate) enum Mood {
    #[default]
    Answers,
    /// Says at once that it is away.
    Away,
    /// Never says anything.
    Frozen,
    /// Reads what it has, and says it when there is a permit.
    Slow(Arc<Semaphore>),
}

impl Store {
    pub(crate) fn with(key: &str, record: KeyRecord) -> Self {
        let store = Self::default();
        store.set(key, record);
        store
    }

    pub(crate) fn set(&self, key: &str, record: KeyRecord) {
        self.0.keys.lock().expect("is sound").insert(KeyHash::of(key.as_bytes()), record);
    }

    pub(crate) fn delete(&self, key: &str) {
        self.0.keys.lock().expect("is sound").remove(&KeyHash::of(key.as_bytes()));
    }

    pub(crate) fn set_customer(&self, id: &str, record: CustomerRecord) {
        self.0.customers.lock().expect("is sound").insert(id.to_owned(), record);
    }

    pub(crate) fn set_owner(&self, owner: Owner, record: KeyRecord) {
        self.0.owners.lock().expect("is sound").insert(owner, record);
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.0.mood.lock().expect("is sound") = mood;
    }

    pub(crate) fn slow(&self) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        self.mood(Mood::Slow(Arc::clone(&permits)));
        permits
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn answer<T: Send + 'static>(&self, value: T) -> Asked<'_, T> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let mood = self.0.mood.lock().expect("is sound").clone();
        Box::pin(async move {
            match mood {
                Mood::Answers => Ok(value),
                Mood::Away => Err(Away::new("it is a test")),
                Mood::Frozen => pending().await,
                Mood::Slow(permits) => {
                    permits.acquire().await.expect("is open").forget();
                    Ok(value)
                }
            }
        })
    }
}

impl KeyStore for Store {
    fn key<'a>(&'a self, hash: &'a KeyHash) -> Asked<'a, Option<KeyRecord>> {
        let record = self.0.keys.lock().expect("is sound").get(hash).cloned();
        self.answer(record)
    }

    fn customer<'a>(&'a self, id: &'a str) -> Asked<'a, Option<CustomerRecord>> {
        let record = self.0.customers.lock().expect("is sound").get(id).cloned();
        self.answer(record)
    }

    fn owner<'a>(&'a self, owner: &'a Owner) -> Asked<'a, KeyRecord> {
        let record = self.0.owners.lock().expect("is sound").get(owner).cloned();
        self.answer(record.unwrap_or_default())
    }
}

/// What stands behind the layer: keeps the requests that reach it.
#[derive(Clone, Default)]
pub(crate) struct Model(Arc<Mutex<Vec<Request<Body>>>>);

impl Model {
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().expect("is sound").len()
    }

    /// The last request that came.
    pub(crate) fn last(&self) -> Request<Body> {
        self.0.lock().expect("is sound").pop().expect("a request came")
    }
}

impl Service<Request<Body>> for Model {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.lock().expect("is sound").push(request);
        Box::pin(async { Ok(Response::new(Body::from("{}"))) })
    }
}

pub(crate) const KEY: &str = "sk-0123456789abcdef";

pub(crate) fn keys(store: &Store, time: &Manual) -> VirtualKeys<Store> {
    VirtualKeys::with_policy(store.clone(), CachePolicy::default(), time.clock())
}

/// A record with a change.
pub(crate) fn record(change: impl FnOnce(&mut KeyRecord)) -> KeyRecord {
    let mut record = KeyRecord::default();
    record.principal.user = Some("ada".into());
    change(&mut record);
    record
}

/// A call that names this model.
pub(crate) fn call(model: &str) -> Request<Body> {
    let body = serde_json::json!({ "model": model, "messages": [{ "role": "user", "content": "Hello" }] });
    Request::post("/v1/chat/completions").body(Body::from(body.to_string())).expect("is a request")
}

pub(crate) fn keyed(mut request: Request<Body>, key: &str) -> Request<Body> {
    let value = http::HeaderValue::from_bytes(format!("Bearer {key}").as_bytes()).expect("is a value");
    request.headers_mut().insert("authorization", value);
    request
}

/// A request without a body.
pub(crate) fn at(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).expect("is a request")
}

pub(crate) async fn ask(layer: &AuthLayer, model: &Model, request: Request<Body>) -> Response<Body> {
    layer.layer(model.clone()).oneshot(request).await.expect("is answered")
}

pub(crate) fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().as_bytes().expect("is whole").to_vec()).expect("is UTF-8")
}
