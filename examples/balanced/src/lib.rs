//! A balanced group of deployments in an axum service. See `README.md`.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};
use tower::ServiceBuilder;
use ziggurat_core::{Body, BoxError, Dialect, Target};
use ziggurat_route::{Deployment, Group, RouteLayer, Routes};
use ziggurat_translate::TranslateLayer;

/// An application whose model `fast` is two deployments, the first with three quarters of the calls.
///
/// # Errors
/// When an address makes no URL.
pub fn app(first: SocketAddr, second: SocketAddr) -> Result<Router, BoxError> {
    let deployment = |id: &str, addr: SocketAddr| {
        let url = format!("http://{addr}/v1/chat/completions");
        Ok::<_, BoxError>(Deployment::new(Target::new("local", Dialect::OpenAi, "tiny", &url)?.id(id)))
    };
    let group = Group::new("fast")
        .deployment(deployment("first", first)?.weight(3.0))
        .deployment(deployment("second", second)?.weight(1.0))
        .build()?;
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http::<Body>();
    let model = ServiceBuilder::new()
        .layer(RouteLayer::new(Routes::builder().group(Arc::clone(&group)).build()?))
        .layer(TranslateLayer::new())
        .service(client);
    Ok(Router::new()
        .route_service("/v1/chat/completions", model)
        .route("/health", get(move || async move { Json(health(&group)) })))
}

/// What is known of the deployments.
fn health(group: &Group) -> Value {
    let of = |deployment: &Deployment| {
        let figures = deployment.figures(Instant::now());
        json!({
            "id": deployment.id(),
            "state": format!("{:?}", figures.state),
            "successes": figures.successes,
            "failures": figures.failures,
        })
    };
    group.deployments().iter().map(of).collect()
}

/// Starts a deployment on this machine, which says hello, or nothing but that it is down.
///
/// # Errors
/// When no port can be had.
pub async fn deployment(up: bool) -> io::Result<SocketAddr> {
    let answer = json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "tiny",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
    });
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let answer = if up { answer } else { json!({"error": {"message": "I am down", "type": "server_error"}}) };
    let app =
        Router::new().route("/v1/chat/completions", post(move || async move { (status, Json(answer)) }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(addr)
}
