//! Two instances of a service that share limits over Redis. See `README.md`.

use std::{num::NonZeroU32, time::Duration};

use axum::{Json, Router, extract::Request, routing::post};
use http::request::Parts;
use serde_json::json;
use ziggurat_core::{BoxError, Measure, OnAway, Scope, ScopeKind};
use ziggurat_limit::{LimitLayer, remote::Remote};
use ziggurat_redis::{Limits, Redis};

/// Counters that all instances share. While Redis is away each goes by its own half.
///
/// # Errors
/// When the URL is not one of a Redis server. The server itself may be away.
pub fn shared(redis: &str) -> Result<Remote<Limits>, BoxError> {
    Ok(Remote::new(Redis::connect(redis)?.limits()).on_away(OnAway::Local(INSTANCES)))
}

/// An application whose tenants have six calls a minute.
pub fn app(counters: &Remote<Limits>) -> Router {
    let limits = LimitLayer::new().store(counters.clone()).scope(tenant).limit(
        ScopeKind::Tenant,
        Measure::Requests,
        6,
        Duration::from_secs(60),
    );
    Router::new().route("/v1/chat/completions", post(answer)).layer(limits)
}

/// Who calls, from the head alone; all who do not say are one.
fn tenant(parts: &Parts) -> Option<Scope> {
    let name = parts.headers.get("x-tenant").and_then(|name| name.to_str().ok());
    Some(Scope::tenant(name.unwrap_or("nobody")))
}

/// In place of a model.
async fn answer(_: Request) -> Json<serde_json::Value> {
    Json(json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "any",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }))
}

/// How many run.
const INSTANCES: NonZeroU32 = NonZeroU32::new(2).expect("is not zero");
