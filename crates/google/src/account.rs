//! Tokens for the key of a service account.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body as HttpBody;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use tower_service::Service;
use ziggurat_core::{Asked, Away, Body, BoxError, Clock};
use ziggurat_oauth::{Token, TokenSource, ask, post, secure_url};

use crate::file::{InvalidAccount, SCOPE, TOKEN_URI, invalid};

/// A service account, by the key file that Google gives for it.
pub struct ServiceAccount<S> {
    email: String,
    key_id: Option<String>,
    key: EncodingKey,
    token_uri: Uri,
    project: Option<String>,
    client: S,
    clock: Clock,
}

#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    project_id: Option<String>,
}

/// What the account says of itself (RFC 7523, section 3).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: String,
    iat: u64,
    exp: u64,
}

const ASSERTION: Duration = Duration::from_secs(600);

// ===== impl ServiceAccount =====

impl<S> ServiceAccount<S> {
    /// Reads a key file; `client` makes the requests to the token endpoint that it names.
    ///
    /// # Errors
    /// [`InvalidAccount`] when it is none, or its key cannot be read.
    pub fn from_json(json: &str, client: S) -> Result<Self, InvalidAccount> {
        let file: KeyFile =
            serde_json::from_str(json).map_err(|_| invalid("it is no key file of a service account"))?;
        if file.kind.is_some_and(|kind| kind != "service_account") {
            return Err(invalid("it is of another type than `service_account`"));
        }
        let key = EncodingKey::from_rsa_pem(file.private_key.as_bytes())
            .map_err(|_| invalid("its `private_key` cannot be read"))?;
        let token_uri = secure_url(file.token_uri.as_deref().unwrap_or(TOKEN_URI))
            .ok_or_else(|| invalid("its `token_uri` is no URL that begins with https://"))?;
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            key,
            token_uri,
            project: file.project_id,
            client,
            clock: Clock::system(),
        })
    }

    /// Sets the clock that dates what the account says.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The project that the file names.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    fn request(&self) -> Result<Request<Body>, Away> {
        let now = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = Claims {
            iss: &self.email,
            scope: SCOPE,
            aud: self.token_uri.to_string(),
            iat: now,
            exp: now + ASSERTION.as_secs(),
        };
        let mut header = Header::new(Algorithm::RS256);
        header.kid.clone_from(&self.key_id);
        let assertion = jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|_| Away::new("the key of the service account does not sign"))?;
        // All of it is plain in a form: letters, digits, `.`, `-` and `_`.
        let form =
            format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        Ok(post(self.token_uri.clone(), form))
    }
}

impl<S, ResBody> TokenSource for ServiceAccount<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn fetch(&self) -> Asked<'_, Token> {
        Box::pin(async {
            let request = self.request()?;
            ask(self.client.clone(), request).await
        })
    }
}

impl<S> fmt::Debug for ServiceAccount<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("token_uri", &self.token_uri).finish_non_exhaustive()
    }
}
