//! Keys of the container or the instance that this process runs in.

mod fetch;

use std::{env, error::Error, fmt, future::Future, pin::Pin};

use http::{Request, Response};
use tower_service::Service;
use ziggurat_core::{Body, Clock};

use self::fetch::{Fetcher, Place};
use crate::{KeySource, Keys, NoKeys, renewal::Renewal};

/// Keys that the platform gives to what runs on it: a container of ECS or EKS, or an instance of EC2 (`IMDSv2`). Every request shares them.
///
/// The first request waits for them. From then on a task renews them five minutes before they end, off every request's path; it starts with the
/// first request, within tokio, and ends with this value. Where it fails it tries again after a second, then after two, up to a minute, while
/// the keys before still hold; once they do not, requests are told what failed.
pub struct Metadata(Renewal);

// ===== impl Metadata =====

impl Metadata {
    /// Those of the container that the environment of this process names (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`, or
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` with `AWS_CONTAINER_AUTHORIZATION_TOKEN` or `.._TOKEN_FILE`), over an HTTP client.
    ///
    /// # Errors
    /// [`NoKeys`], when it names none, or one that keys must not come from.
    pub fn container<S>(client: S) -> Result<Self, NoKeys>
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Self::container_from_variables(client, |name| env::var(name).ok())
    }

    /// Those of the container that such variables name.
    ///
    /// # Errors
    /// [`NoKeys`], when they name none, or one that keys must not come from.
    pub fn container_from_variables<S>(
        client: S,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NoKeys>
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Ok(Self::new(client, Place::container(get)?))
    }

    /// Those of the instance's role, over an HTTP client.
    #[must_use]
    pub fn instance<S>(client: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Self::new(client, Place::Instance)
    }

    /// Tells the time by another clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self(self.0.clock(clock))
    }

    fn new<S>(client: S, place: Place) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        Self(Renewal::new(Fetcher { client, place }))
    }
}

impl KeySource for Metadata {
    fn keys(&self) -> Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        Box::pin(self.0.keys())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}
