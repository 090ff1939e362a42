//! The cache layer in an axum service. See `README.md`.

use std::time::Duration;

use axum::{Json, Router, http::request::Parts, routing::post};
use serde_json::{Value, json};
use ziggurat_cache::CacheLayer;

/// An application that answers as OpenAI's API does, and does not think twice.
pub fn app() -> Router {
    let cache = CacheLayer::in_memory(64 << 20)
        .tenant(|parts: &Parts| {
            let tenant = parts.headers.get("x-tenant").and_then(|value| value.to_str().ok());
            tenant.unwrap_or_default().to_owned()
        })
        .ttl(Duration::from_secs(300));
    Router::new().route("/v1/chat/completions", post(answer)).layer(cache)
}

/// In place of a model.
async fn answer(Json(asked): Json<Value>) -> Json<Value> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = asked["messages"].as_array().map_or(0, Vec::len);
    let text = format!("You have sent {count} messages.");
    Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 6, "total_tokens": 14},
    }))
}
