//! Embeddings of a service that answers as OpenAI's `/v1/embeddings` does.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::Body as HttpBody;
use serde::Deserialize;
use serde_json::json;
use tower::{Service, ServiceExt};
use ziggurat_core::{Body, BoxError, Principal};

use super::{Embedder, Embedding};

/// Asks a service for embeddings: the host's own stack, so that what they cost is counted and limited as all else, or a client.
///
/// The caller's [`Principal`] goes along in the extensions, and nothing else of the call. A [`CacheLayer`](crate::CacheLayer) in that stack
/// embeds a text once that several ask at once.
#[derive(Clone)]
pub struct EmbedderService<S> {
    service: S,
    model: Arc<str>,
    uri: Uri,
    headers: HeaderMap,
}

/// An answer that is no embedding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoEmbedding {
    /// Its status.
    pub status: StatusCode,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    embedding: Vec<f32>,
}

/// Longest answer in bytes: a vector of 16,384 numbers, generously written.
const MAX_ANSWER: usize = 1 << 20;

// ===== impl EmbedderService =====

impl<S> EmbedderService<S> {
    /// Asks `service` for embeddings by a model.
    #[must_use]
    pub fn new(service: S, model: impl Into<Arc<str>>) -> Self {
        let uri = Uri::from_static("/v1/embeddings");
        Self { service, model: model.into(), uri, headers: HeaderMap::new() }
    }

    /// Asks at this address: a client needs all of it, `http://127.0.0.1:8080/v1/embeddings`.
    #[must_use]
    pub fn uri(mut self, uri: Uri) -> Self {
        self.uri = uri;
        self
    }

    /// Adds a header to what is asked, as a provider's key.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn request(&self, text: &str, call: &Extensions) -> Request<Body> {
        let body = json!({"model": &*self.model, "input": text, "encoding_format": "float"}).to_string();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(principal) = call.get::<Principal>() {
            request.extensions_mut().insert(principal.clone());
        }
        request
    }
}

impl<S, ResBody> Embedder for EmbedderService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn name(&self) -> &str {
        &self.model
    }

    fn embed(&self, text: &str, call: &Extensions) -> Embedding {
        let (service, request) = (self.service.clone(), self.request(text, call));
        Box::pin(async move {
            let response = service.oneshot(request).await.map_err(Into::into)?;
            let status = response.status();
            let bytes = Body::new(response.into_body()).collect_within(MAX_ANSWER).await?;
            if !status.is_success() {
                return Err(NoEmbedding { status }.into());
            }
            let answer: Answer = serde_json::from_slice(&bytes)?;
            let item = answer.data.into_iter().next().ok_or(NoEmbedding { status })?;
            Ok(item.embedding)
        })
    }
}

impl<S> fmt::Debug for EmbedderService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedderService")
            .field("model", &self.model)
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for NoEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "asked for an embedding, it answered with status {} and none", self.status)
    }
}

impl std::error::Error for NoEmbedding {}
