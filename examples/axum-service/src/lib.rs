//! The translate layer in an axum service. See `README.md`.

use axum::{Router, routing::get};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tower::ServiceBuilder;
use ziggurat_core::{Body, BoxError, RespondErrorLayer, Target};
use ziggurat_translate::TranslateLayer;

/// An application with a route of its own and two that answer as OpenAI's and Anthropic's APIs do.
///
/// # Errors
/// When the system's root certificates cannot be read.
pub fn app(target: Target) -> Result<Router, BoxError> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    let client =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build::<_, Body>(connector);
    let model = ServiceBuilder::new()
        // axum wants services that do not fail: what the client cannot reach is answered in the caller's dialect.
        .layer(RespondErrorLayer::new())
        .layer(TranslateLayer::new().target(target))
        .service(client);
    Ok(Router::new()
        .route("/", get(|| async { "my own service" }))
        .route_service("/v1/chat/completions", model.clone())
        .route_service("/v1/messages", model))
}
