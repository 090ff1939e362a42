//! Tokens of the machine's own account.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{Asked, Away, Body, BoxError, percent_encoded};
use ziggurat_oauth::{Token, TokenSource, WorkloadToken, ask};

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

impl<S, ResBody> MetadataServer<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    /// The token by which the machine's account shows an audience who it is, which is no access token.
    ///
    /// # Errors
    /// [`Away`], when there is none.
    pub async fn identity(&self, audience: &str) -> Result<String, Away> {
        let uri = format!("{ACCOUNT}/identity?audience={}", percent_encoded(audience));
        let uri = uri.try_into().map_err(|_| Away::new("no URL can hold the audience"))?;
        let token = WorkloadToken::at(uri).header(FLAVOR, HeaderValue::from_static("Google"));
        token.read(self.client.clone()).await
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
        *request.uri_mut() = Uri::from_static(TOKEN);
        request.headers_mut().insert(FLAVOR, HeaderValue::from_static("Google"));
        Box::pin(ask(self.client.clone(), request))
    }
}

const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
const ACCOUNT: &str = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default";
const TOKEN: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
