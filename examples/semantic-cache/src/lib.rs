//! A cache that answers also what was asked in other words. See `README.md`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Json, Router, extract::State, routing::post};
use http::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::{Value, json};
use ziggurat_cache::{CacheLayer, EmbedderService, InvalidThreshold, Semantic, Trigrams};
use ziggurat_core::Body;

/// An application whose answers are given again, and which asks for embeddings at an address.
///
/// # Errors
/// When the threshold is no cosine.
pub fn app(embeddings: Uri, model: String, threshold: f32) -> Result<Router, InvalidThreshold> {
    let client: Client<HttpConnector, Body> =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
    let embedder = EmbedderService::new(client, model).uri(embeddings);
    let cache = CacheLayer::in_memory(64 << 20).semantic(Semantic::new(embedder, threshold)?);
    let answers = Router::new()
        .route("/v1/chat/completions", post(answer))
        .with_state(Arc::new(AtomicU64::new(1)))
        .layer(cache);
    Ok(answers.merge(embeddings_in_letters()))
}

/// In place of a model of embeddings: an endpoint as OpenAI's that counts letters.
fn embeddings_in_letters() -> Router {
    Router::new().route(
        "/v1/embeddings",
        post(|Json(asked): Json<Value>| async move {
            let vector = Trigrams::new(384).vector(asked["input"].as_str().unwrap_or_default());
            let item = json!({"object": "embedding", "index": 0, "embedding": vector});
            Json(json!({"object": "list", "model": "letters", "data": [item]}))
        }),
    )
}

/// In place of a model of text.
async fn answer(State(count): State<Arc<AtomicU64>>) -> Json<Value> {
    let number = count.fetch_add(1, Ordering::Relaxed);
    Json(json!({
        "id": number.to_string(), "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": format!("Answer {number}.")}, "finish_reason": "stop"}],
    }))
}
