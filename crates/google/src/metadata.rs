//! Tokens of the machine's own account.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{Asked, Body, BoxError};
use ziggurat_oauth::{Token, TokenSource, ask};

/// The metadata server of a machine on Google Cloud ([Compute Engine's documentation][docs]), which knows the account that the machine
/// runs as.
///
/// [docs]: https://cloud.google.com/compute/docs/access/authenticate-workloads
#[derive(Clone, Debug)]
pub struct MetadataServer<S> {
    client: S,
}

// ===== impl MetadataServer =====

impl<S> MetadataServer<S> {
    /// Asked by `client`.
    #[must_use]
    pub const fn new(client: S) -> Self {
        Self { client }
    }
}

impl<S, ResBody> TokenSource for MetadataServer<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn fetch(&self) -> Asked<'_, Token> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(URI);
        request.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
        Box::pin(ask(self.client.clone(), request))
    }
}

const URI: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
