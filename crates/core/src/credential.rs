//! What a provider wants to see before it answers.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, request::Parts, uri::Authority};

/// Puts a deployment's credential on a request whose body is final: a key header, a fresh token, a signature.
///
/// An implementation caches what it fetches, is bound to one origin, and shows its secret neither in `Debug` nor in errors; this
/// trait deliberately does not ask for `Debug`.
pub trait Credential: Send + Sync + 'static {
    /// Adds the credential to `parts`, which carry the final URI; `body` is what will be sent.
    ///
    /// # Errors
    /// [`CredentialError`] when there is none to give, or when the request goes to another origin than the credential's.
    fn apply<'a>(
        &'a self,
        parts: &'a mut Parts,
        body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>>;

    /// Whether it needs all of the body, as a signature over it does; of a form that is passed on as it comes, `body` is the beginning. Not
    /// unless an implementation says so.
    fn signs_body(&self) -> bool {
        false
    }
}

/// Why a request got no credential. Says nothing of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialError {
    /// The request goes to an origin that the credential is not for.
    WrongOrigin,
    /// The source of the credential failed; says how.
    Unavailable(String),
}

/// A fixed key in a header, for one origin.
pub struct HeaderKey {
    authority: Authority,
    name: HeaderName,
    value: HeaderValue,
}

/// For upstreams that ask for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCredential;

// ===== impl HeaderKey =====

impl HeaderKey {
    /// `value` under `name`, for requests to `authority` only. The value is marked sensitive.
    #[must_use]
    pub fn new(authority: Authority, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self { authority, name, value }
    }
}

impl Credential for HeaderKey {
    fn apply<'a>(
        &'a self,
        parts: &'a mut Parts,
        _body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        let fits = parts.uri.authority() == Some(&self.authority);
        if fits {
            parts.headers.insert(self.name.clone(), self.value.clone());
        }
        Box::pin(std::future::ready(if fits { Ok(()) } else { Err(CredentialError::WrongOrigin) }))
    }
}

impl std::fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderKey")
            .field("authority", &self.authority)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// ===== impl NoCredential =====

impl Credential for NoCredential {
    fn apply<'a>(
        &'a self,
        _parts: &'a mut Parts,
        _body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

// ===== impl CredentialError =====

impl std::fmt::Display for CredentialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WrongOrigin => f.write_str("the credential is for another origin"),
            Self::Unavailable(why) => write!(f, "no credential: {why}"),
        }
    }
}

impl std::error::Error for CredentialError {}
