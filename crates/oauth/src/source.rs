//! Where tokens come from.

use std::{fmt, future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body as HttpBody;
use serde::{Deserialize, Deserializer, de::Error};
use tower_service::Service;
use ziggurat_core::{Asked, Away, Body, BoxError};

/// Gives access tokens.
pub trait TokenSource: Send + Sync + 'static {
    /// A new token. May be given up when it takes too long.
    ///
    /// # Errors
    /// [`Away`], which says why there is none, without a word of a secret.
    fn fetch(&self) -> Asked<'_, Token>;
}

/// An access token, and how long it is good for. Its text is shown nowhere.
#[derive(Clone)]
pub struct Token {
    text: String,
    pub(crate) lasts: Duration,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// In seconds; some endpoints write it as a string.
    #[serde(deserialize_with = "seconds")]
    expires_in: u64,
}

// ===== impl Token =====

impl Token {
    /// A token that is good for `lasts` from now on.
    #[must_use]
    pub fn new(text: impl Into<String>, lasts: Duration) -> Self {
        Self { text: text.into(), lasts }
    }

    /// What a request bears with it in `authorization`.
    ///
    /// # Errors
    /// [`Away`], when no header can hold it.
    pub fn bearer(&self) -> Result<HeaderValue, Away> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.text))
            .map_err(|_| Away::new("it is none that a header can hold"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("lasts", &self.lasts).finish_non_exhaustive()
    }
}

/// Asks `client` for a token, and reads its answer.
///
/// # Errors
/// As [`answer`], and [`Away`] where that holds no token.
pub async fn ask<S, ResBody>(client: S, request: Request<Body>) -> Result<Token, Away>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let body = answer(client, request).await?;
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| Away::new("its answer holds no token"))?;
    Ok(Token::new(answer.access_token, Duration::from_secs(answer.expires_in)))
}

/// Asks `client` for what only a success holds. What is told of a failure is its status alone: the words may hold what was sent.
///
/// # Errors
/// [`Away`], with that.
pub async fn answer<S, ResBody>(mut client: S, request: Request<Body>) -> Result<Bytes, Away>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let answered = async {
        poll_fn(|cx| client.poll_ready(cx)).await?;
        client.call(request).await
    };
    let response = answered.await.map_err(|_| Away::new("there is no connection to it"))?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(Away::new(format!("it answers with {}", status.as_u16())));
    }
    let body = Body::new(response.into_body()).collect_within(MOST_BYTES).await;
    body.map_err(|_| Away::new("its answer is too long, or broke off"))
}

/// A request that posts a form, as token endpoints want it.
#[must_use]
pub fn post(endpoint: Uri, form: String) -> Request<Body> {
    let mut request = Request::new(Body::from(form));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint;
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    request
}

/// A URL that secrets may be sent to: over TLS, or on this machine (`127.0.0.1`), and without user info; `None` for what is none.
#[must_use]
pub fn secure_url(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let is_secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => uri.host() == Some("127.0.0.1"),
        _ => false,
    };
    (is_plain && is_secure).then_some(uri)
}

/// A whole number, in quotes or not.
fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Written::deserialize(value)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

/// Bytes of an answer.
const MOST_BYTES: usize = 64 << 10;
