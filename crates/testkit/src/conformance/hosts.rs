//! The hosts that a layer must fit: that these compile is the check.

use std::convert::Infallible;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::Route,
};
use http::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, layer::util::Stack};
use tower_service::Service;
use ziggurat_core::{Body, RespondErrorLayer};

/// A layer that axum takes, with [`RespondErrorLayer`] around it.
///
/// ```
/// ziggurat_testkit::conformance::axum_takes(ziggurat_core::RespondErrorLayer::new());
/// ```
pub fn axum_takes<L>(layer: L) -> Router
where
    L: Clone + Send + Sync + 'static,
    Stack<L, RespondErrorLayer>: Layer<Route>,
    <Stack<L, RespondErrorLayer> as Layer<Route>>::Service:
        Service<axum::extract::Request, Error = Infallible> + Clone + Send + Sync + 'static,
    <<Stack<L, RespondErrorLayer> as Layer<Route>>::Service as Service<axum::extract::Request>>::Response:
        IntoResponse + 'static,
    <<Stack<L, RespondErrorLayer> as Layer<Route>>::Service as Service<axum::extract::Request>>::Future:
        Send + 'static,
{
    let answer = || async { Response::new(axum::body::Body::empty()) };
    Router::new()
        .route("/v1/chat/completions", axum::routing::post(answer))
        .layer(Stack::new(layer, RespondErrorLayer::new()))
}

/// A layer that goes around hyper-util's client; gives the service that a caller would use.
///
/// ```
/// let _client = ziggurat_testkit::conformance::client_takes(ziggurat_core::RespondErrorLayer::new());
/// ```
pub fn client_takes<L>(
    layer: L,
) -> impl Service<Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync + 'static
where
    L: Layer<Client<HttpConnector, Body>>,
    L::Service: Service<Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send + 'static,
{
    let client = Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    layer.layer(client)
}
