//! Tokens for a person's own account.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body as HttpBody;
use serde::Deserialize;
use tower_service::Service;
use ziggurat_core::{Asked, Body, BoxError, percent_encoded};
use ziggurat_oauth::{Token, TokenSource, ask, post, secure_url};

use crate::file::{InvalidAccount, TOKEN_URI, invalid};

/// A person who has logged in with `gcloud auth application-default login`, by the refresh token that this leaves
/// ([RFC 6749, section 6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
pub struct AuthorizedUser<S> {
    file: UserFile,
    token_uri: Uri,
    client: S,
}

#[derive(Deserialize)]
struct UserFile {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    token_uri: Option<String>,
}

// ===== impl AuthorizedUser =====

impl<S> AuthorizedUser<S> {
    /// Reads the file that `gcloud` has written; `client` makes the requests to the token endpoint.
    ///
    /// # Errors
    /// [`InvalidAccount`] when it is none.
    pub fn from_json(json: &str, client: S) -> Result<Self, InvalidAccount> {
        let file: UserFile =
            serde_json::from_str(json).map_err(|_| invalid("it is no file of an authorized user"))?;
        let token_uri = secure_url(file.token_uri.as_deref().unwrap_or(TOKEN_URI))
            .ok_or_else(|| invalid("its `token_uri` is no URL that begins with https://"))?;
        Ok(Self { file, token_uri, client })
    }

    fn request(&self) -> Request<Body> {
        let UserFile { client_id, client_secret, refresh_token, .. } = &self.file;
        let form = format!(
            "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
            percent_encoded(client_id),
            percent_encoded(client_secret),
            percent_encoded(refresh_token)
        );
        post(self.token_uri.clone(), form)
    }
}

impl<S, ResBody> TokenSource for AuthorizedUser<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn fetch(&self) -> Asked<'_, Token> {
        Box::pin(ask(self.client.clone(), self.request()))
    }
}

impl<S> fmt::Debug for AuthorizedUser<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedUser").field("token_uri", &self.token_uri).finish_non_exhaustive()
    }
}
