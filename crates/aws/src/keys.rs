//! Keys, and where they come from.

use std::{env, fmt, future::Future, pin::Pin, sync::Arc, time::SystemTime};

use http::HeaderValue;

/// An access key of AWS's, with what belongs to it. Clones share it.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    id: String,
    secret: String,
    token: Option<HeaderValue>,
    expires: Option<SystemTime>,
}

/// Gives the keys to sign with.
///
/// An implementation caches what it fetches: it is asked for every request.
pub trait KeySource: Send + Sync + 'static {
    /// The keys that hold now.
    ///
    /// # Errors
    /// [`NoKeys`], when there are none.
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>>;
}

/// A source had no keys. Says nothing of them, nor of where they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoKeys {
    /// Why.
    pub why: String,
}

/// Asks one source after another: the first that has keys gives them.
#[derive(Default)]
pub struct Chain(Vec<Box<dyn KeySource>>);

// ===== impl Keys =====

impl Keys {
    /// Keys that hold until they are revoked.
    #[must_use]
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self(Arc::new(Inner { id: id.into(), secret: secret.into(), token: None, expires: None }))
    }

    /// Keys of a session: with its token, and the time at which they end, if that is known.
    ///
    /// # Errors
    /// [`NoKeys`], when the token cannot stand in a header.
    pub fn session(
        id: impl Into<String>,
        secret: impl Into<String>,
        token: &str,
        expires: Option<SystemTime>,
    ) -> Result<Self, NoKeys> {
        Self::of(id.into(), secret.into(), Some(token), expires)
    }

    /// Keys from the environment of this process: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for a session, `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    /// [`NoKeys`], with the variable that is missing.
    pub fn from_environment() -> Result<Self, NoKeys> {
        Self::from_variables(|name| env::var(name).ok())
    }

    /// Keys from such variables, wherever they stand.
    ///
    /// # Errors
    /// [`NoKeys`], with the variable that is missing.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, NoKeys> {
        let given =
            |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let needed = |name: &str| given(name).ok_or_else(|| NoKeys::new(format!("{name} is not set")));
        let token = given("AWS_SESSION_TOKEN");
        Self::of(needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?, token.as_deref(), None)
    }

    /// Keys of which all is known; an empty token is none.
    pub(crate) fn of(
        id: String,
        secret: String,
        token: Option<&str>,
        expires: Option<SystemTime>,
    ) -> Result<Self, NoKeys> {
        let value = |token| {
            let mut token = HeaderValue::from_str(token)
                .map_err(|_| NoKeys::new("the session token is no header value"))?;
            token.set_sensitive(true);
            Ok(token)
        };
        let token = token.filter(|token| !token.is_empty()).map(value).transpose()?;
        Ok(Self(Arc::new(Inner { id, secret, token, expires })))
    }

    /// When they end, if that is known.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.0.expires
    }

    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0.secret
    }

    pub(crate) fn token(&self) -> Option<&HeaderValue> {
        self.0.token.as_ref()
    }
}

impl KeySource for Keys {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("expires", &self.0.expires).finish_non_exhaustive()
    }
}

// ===== impl Chain =====

impl Chain {
    /// No source yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks this one after those before.
    #[must_use]
    pub fn then(mut self, source: impl KeySource) -> Self {
        self.0.push(Box::new(source));
        self
    }
}

impl<T: KeySource + ?Sized> KeySource for Arc<T> {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        (**self).keys()
    }
}

impl KeySource for Chain {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        Box::pin(async {
            let mut reasons = Vec::new();
            for source in &self.0 {
                match source.keys().await {
                    Ok(keys) => return Ok(keys),
                    Err(none) => reasons.push(none.why),
                }
            }
            Err(NoKeys::new(if reasons.is_empty() { "no source".to_owned() } else { reasons.join("; ") }))
        })
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("sources", &self.0.len()).finish()
    }
}

// ===== impl NoKeys =====

impl NoKeys {
    /// For this reason, which must hold nothing secret.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

impl fmt::Display for NoKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no AWS keys: {}", self.why)
    }
}

impl std::error::Error for NoKeys {}
