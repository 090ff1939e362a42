//! Tokens that a client gets for itself.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{Asked, Away, Body, BoxError, percent_encoded};

use crate::source::{Token, TokenSource, ask, post};

/// A client that asks a token endpoint for tokens of its own ([RFC 6749, section 4.4][rfc]), as applications do at Microsoft Entra ID.
///
/// [rfc]: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
pub struct ClientCredentials<S> {
    endpoint: Uri,
    client_id: String,
    scope: String,
    proof: Proof,
    client: S,
}

/// By what a client shows who it is.
pub enum Proof {
    /// By a secret that it shares with the endpoint.
    Secret(String),
    /// By a token of another's that the endpoint believes ([RFC 7523, section 2.2](https://www.rfc-editor.org/rfc/rfc7523#section-2.2)): asked
    /// for anew each time, as whoever gives it renews it.
    Assertion(Box<dyn Fn() -> Asked<'static, String> + Send + Sync>),
}

// ===== impl ClientCredentials =====

impl<S> ClientCredentials<S> {
    /// A client of the token endpoint at `endpoint`, which `client` makes the requests to.
    #[must_use]
    pub fn new(endpoint: Uri, client_id: &str, scope: &str, proof: Proof, client: S) -> Self {
        Self { endpoint, client_id: client_id.to_owned(), scope: scope.to_owned(), proof, client }
    }

    async fn request(&self) -> Result<Request<Body>, Away> {
        let (id, scope) = (percent_encoded(&self.client_id), percent_encoded(&self.scope));
        let proof = match &self.proof {
            Proof::Secret(secret) => format!("client_secret={}", percent_encoded(secret)),
            Proof::Assertion(assertion) => {
                format!("{ASSERTION}&client_assertion={}", percent_encoded(&assertion().await?))
            }
        };
        let form = format!("grant_type=client_credentials&client_id={id}&scope={scope}&{proof}");
        let mut request = post(self.endpoint.clone(), form);
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request)
    }
}

impl<S, ResBody> TokenSource for ClientCredentials<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn fetch(&self) -> Asked<'_, Token> {
        Box::pin(async {
            let request = self.request().await?;
            ask(self.client.clone(), request).await
        })
    }
}

impl<S> fmt::Debug for ClientCredentials<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Assertion(_) => "Assertion(..)",
        })
    }
}

const ASSERTION: &str =
    "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
