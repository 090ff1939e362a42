//! Answers that are given again: the layer of a config, and what administrators do with what is kept.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, request::Parts};
use serde::Deserialize;
use tokio::time::timeout;
use ziggurat_cache::{CacheLayer, Key, Store};
use ziggurat_core::{Body, Call, Cause, Dialect, Principal, Problem, Rejection, Reply};

use crate::{
    app::json,
    config::{CachePlace, CacheSettings, Config},
};

/// What an administrator does with what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Asks whether the store answers.
    Ping,
    /// Forgets some answers.
    Delete,
    /// Forgets all.
    Flush,
}

#[derive(Deserialize)]
struct Deleted {
    keys: Vec<String>,
}

/// The layer of a config that has one.
pub(crate) fn layer(config: &Config, settings: &CacheSettings, store: Arc<dyn Store>) -> CacheLayer {
    let CacheSettings { ttl, namespace, opt_in, operations, share, max_entry, .. } = settings;
    // Where a call falls back, another model answers than was asked: only those who may use the same ones share.
    let mut layer = CacheLayer::new(store).share(*share).apart_by(models);
    if settings.place == CachePlace::Redis {
        layer = layer.share_in_flight(LONGEST_SHARED);
    }
    if config.routing.tags.enabled {
        layer = layer.apart_by(tags);
    }
    if let Some(ttl) = ttl {
        layer = layer.ttl(*ttl);
    }
    if let Some(namespace) = namespace {
        layer = layer.namespace(namespace.as_str());
    }
    if *opt_in {
        layer = layer.opt_in();
    }
    if let Some(operations) = operations {
        layer = layer.operations(operations.iter().copied());
    }
    match max_entry {
        Some(bytes) => layer.max_entry(*bytes),
        None => layer,
    }
}

/// The models that a caller may use.
fn models(parts: &Parts) -> String {
    let models = parts.extensions.get::<Principal>().and_then(|principal| principal.models.clone());
    let all = models.map(|models| models.iter().map(|model| model.to_string()).collect::<BTreeSet<_>>());
    serde_json::to_string(&all).unwrap_or_default()
}

/// The tags of a call, where they say which deployments may answer it.
fn tags(parts: &Parts) -> String {
    let of_key = parts.extensions.get::<Principal>().map(|principal| principal.tags.clone());
    let of_call = parts.extensions.get::<Call>().map(Call::tags);
    let all: BTreeSet<String> = of_key
        .iter()
        .flat_map(|tags| tags.iter().map(|tag| tag.to_string()))
        .chain(of_call.into_iter().flatten())
        .collect();
    serde_json::to_string(&all).unwrap_or_default()
}

// ===== impl Action =====

impl Action {
    /// What is done at a path, or the method that it answers to; `None` where it is none of these.
    pub(crate) fn of(method: &http::Method, path: &str) -> Option<Result<Self, &'static str>> {
        let action = match path.strip_suffix('/').unwrap_or(path) {
            "/cache/ping" => Self::Ping,
            "/cache/delete" => Self::Delete,
            "/cache/flushall" => Self::Flush,
            _ => return None,
        };
        let allow = if action == Self::Ping { "GET" } else { "POST" };
        Some(if method.as_str() == allow { Ok(action) } else { Err(allow) })
    }

    /// Does it.
    pub(crate) async fn run(
        self,
        store: Option<&Arc<dyn Store>>,
        settings: Option<&CacheSettings>,
        request: Request<Body>,
    ) -> Response<Body> {
        let Some((store, CacheSettings { place, .. })) = store.zip(settings) else {
            return refused(Cause::Overloaded, "no answers are kept: `litellm_settings.cache` is not true");
        };
        let done = match self {
            Self::Ping => within(store.ping()).await == Some(true),
            // It may take long where there is much.
            Self::Flush => timeout(LONGEST_FLUSH, store.clear().wait()).await == Ok(true),
            Self::Delete => {
                let keys = match read(request).await {
                    Ok(keys) => keys,
                    Err(rejection) => return rejection.into_response(Dialect::OpenAi),
                };
                // What is removed from a store that is away is not.
                let removed = async {
                    for key in &keys {
                        store.remove(key).wait().await;
                    }
                };
                within(store.ping()).await == Some(true) && timeout(LONGEST_FLUSH, removed).await.is_ok()
            }
        };
        let kind = match place {
            CachePlace::Memory => "local",
            CachePlace::Redis => "redis",
        };
        match (self, done) {
            (Self::Ping, true) => {
                let body = format!(r#"{{"status":"healthy","cache_type":"{kind}","ping_response":true}}"#);
                json(StatusCode::OK, body)
            }
            (_, true) => json(StatusCode::OK, r#"{"status":"success"}"#.to_owned()),
            (_, false) => refused(Cause::Overloaded, "the store of answers does not answer"),
        }
    }
}

/// The keys of a body.
async fn read(request: Request<Body>) -> Result<Vec<Key>, Rejection> {
    let invalid = |message: &str| Rejection::from(Problem::new(Cause::InvalidRequest, message).param("keys"));
    let bytes = request.into_body().collect_within(MAX_BODY).await;
    let bytes = bytes.map_err(|_| invalid("the body is too long, or did not arrive whole"))?;
    let read: Deleted = serde_json::from_slice(&bytes)
        .map_err(|_| invalid("`keys` must be a list of the keys of answers"))?;
    read.keys
        .iter()
        .map(|key| key.parse().map_err(|_| invalid("`keys` holds what is no key of an answer")))
        .collect()
}

/// The answer of a store, if it comes in time.
async fn within<T>(reply: Reply<T>) -> Option<T> {
    timeout(DEADLINE, reply.wait()).await.ok()
}

fn refused(cause: Cause, message: &str) -> Response<Body> {
    Rejection::new(cause, message).into_response(Dialect::OpenAi)
}

/// How long a call waits for another gateway that makes the same.
const LONGEST_SHARED: Duration = Duration::from_secs(60);

const MAX_BODY: usize = 1 << 20;
/// How long an administrator waits until all is done.
const LONGEST_FLUSH: Duration = Duration::from_secs(60);
/// How long an administrator waits for one answer.
const DEADLINE: Duration = Duration::from_secs(5);
