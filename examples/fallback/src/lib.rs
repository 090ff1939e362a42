//! An outbound client that asks a second provider where the first fails. See `README.md`.

use http::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt};
use ziggurat_core::{Body, BoxError, Target};
use ziggurat_route::{FallbackLayer, Route};
use ziggurat_translate::{Translate, TranslateLayer};

/// A client of several providers.
pub type Caller = Route<Translate<Client<HttpsConnector<HttpConnector>, Body>>>;

/// A client that asks the first of these, and where it fails the next.
///
/// # Errors
/// When the system's root certificates cannot be read.
pub fn caller(targets: impl IntoIterator<Item = Target>) -> Result<Caller, BoxError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
    let connector = connector.https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    Ok(ServiceBuilder::new().layer(FallbackLayer::new(targets)).layer(TranslateLayer::new()).service(client))
}

/// Asks in OpenAI's shape, whoever answers.
///
/// # Errors
/// When the request cannot be made: what fails on its way is a response.
pub async fn ask(caller: &Caller, prompt: &str) -> Result<Response<Body>, BoxError> {
    let body = json!({"model": "any", "messages": [{"role": "user", "content": prompt}]});
    let request = Request::post("/v1/chat/completions").body(Body::from(body.to_string()))?;
    Ok(caller.clone().oneshot(request).await?)
}
