//! Tokens by which a workload shows who it is.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body::Body as HttpBody;
use serde_json::Value;
use tower_service::Service;
use ziggurat_core::{Away, Body, BoxError, percent_encoded};

use crate::source::{answer, secure_url};

/// Where a platform gives a workload the token by which that shows others who it is: at a URL, as a text or in a member of a JSON object.
#[derive(Clone)]
pub struct WorkloadToken {
    uri: Uri,
    headers: HeaderMap,
    member: Option<String>,
}

// ===== impl WorkloadToken =====

impl WorkloadToken {
    /// The text at a URL.
    #[must_use]
    pub fn at(uri: Uri) -> Self {
        Self { uri, headers: HeaderMap::new(), member: None }
    }

    /// The one that a job of GitHub Actions is given for an audience, by what stands in its `ACTIONS_ID_TOKEN_REQUEST_URL` and
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN` ([GitHub's documentation][docs]); `None` where the first is no URL that begins with `https://`, or no
    /// header can hold the second.
    ///
    /// [docs]: https://docs.github.com/en/actions/reference/security/oidc
    #[must_use]
    pub fn of_github_job(url: &str, bearer: &str, audience: &str) -> Option<Self> {
        let separator = if url.contains('?') { '&' } else { '?' };
        let uri = secure_url(&format!("{url}{separator}audience={}", percent_encoded(audience)))?;
        let bearer = HeaderValue::try_from(format!("Bearer {bearer}")).ok()?;
        Some(Self::at(uri).header(header::AUTHORIZATION, bearer).member("value"))
    }

    /// Asks with this header, whose value is shown nowhere.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// Takes the token from a member of the JSON object that is there.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.member = Some(name.into());
        self
    }

    /// Asks `client` for it.
    ///
    /// # Errors
    /// [`Away`], without a word of what was answered.
    pub async fn read<S, ResBody>(&self, client: S) -> Result<String, Away>
    where
        S: Service<Request<Body>, Response = Response<ResBody>>,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let answered = answer(client, request).await;
        let token = answered.and_then(|answered| workload_token(&answered, self.member.as_deref()));
        token.map_err(|away| Away::new(format!("the workload's token: {away}")))
    }
}

impl fmt::Debug for WorkloadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadToken").field("host", &self.uri.host()).finish_non_exhaustive()
    }
}

/// The token in what was read: all of it without blanks around it, or a member of a JSON object.
///
/// # Errors
/// [`Away`], when there is none.
pub fn workload_token(bytes: &[u8], member: Option<&str>) -> Result<String, Away> {
    let none = || Away::new("there is none");
    let text = match member {
        None => std::str::from_utf8(bytes).map_err(|_| none())?.trim().to_owned(),
        Some(name) => {
            let object: Value = serde_json::from_slice(bytes).map_err(|_| none())?;
            object.get(name).and_then(Value::as_str).ok_or_else(none)?.to_owned()
        }
    };
    if text.is_empty() { Err(none()) } else { Ok(text) }
}
