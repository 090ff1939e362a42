//! An OpenAI-shaped caller around an outbound hyper client. See `README.md`.

use http::Request;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use ziggurat_core::{Body, BoxError, Target};
use ziggurat_dialect::sse;
use ziggurat_translate::{Translate, TranslateLayer};

/// A caller of one model.
#[derive(Clone, Debug)]
pub struct Caller {
    service: Translate<Client<HttpsConnector<HttpConnector>, Body>>,
}

impl Caller {
    /// Reaches `target`, whatever dialect it speaks.
    ///
    /// # Errors
    /// When the system's root certificates cannot be read.
    pub fn new(target: Target) -> Result<Self, BoxError> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { service: TranslateLayer::new().target(target).layer(client) })
    }

    /// Asks in OpenAI's shape and gives the text on as it comes.
    ///
    /// # Errors
    /// When the provider cannot be reached, refuses, or breaks off.
    pub async fn ask(&self, prompt: &str, mut text: impl FnMut(&str)) -> Result<(), BoxError> {
        let body = json!({
            "model": "any",
            "stream": true,
            "max_completion_tokens": 1024,
            "messages": [{"role": "user", "content": prompt}],
        });
        let request = Request::post("/v1/chat/completions").body(Body::from(body.to_string()))?;
        let response = self.service.clone().oneshot(request).await?;
        let (parts, mut body) = response.into_parts();
        if !parts.status.is_success() {
            let error = body.collect().await?.to_bytes();
            return Err(format!("{}: {}", parts.status, String::from_utf8_lossy(&error)).into());
        }
        let mut events = sse::Decoder::new(1 << 20);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            events.push(data);
            for event in &mut events {
                let sse::Frame::Event(event) = event? else { continue };
                if event.data == "[DONE]" {
                    return Ok(());
                }
                let chunk: Value = serde_json::from_slice(&event.data)?;
                if let Some(message) = chunk["error"]["message"].as_str() {
                    return Err(message.to_owned().into());
                }
                if let Some(content) = chunk["choices"][0]["delta"]["content"].as_str() {
                    text(content);
                }
            }
        }
        Err("the answer ended without its end".into())
    }
}
