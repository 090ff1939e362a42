//! The layer: its configuration.

use std::{fmt, sync::Arc};

use http::request::Parts;
use tower_layer::Layer;
use ziggurat_core::Limits;

use crate::{Auth, Authenticate};

/// Lets calls pass whose callers are known, and tells the layers behind it who they are.
#[derive(Clone)]
pub struct AuthLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) auth: Arc<dyn Authenticate>,
    /// Requests that need no credential.
    pub(crate) open: Option<Arc<IsOpen>>,
    pub(crate) trusts_principal: bool,
    pub(crate) keeps_credentials: bool,
    /// What those may call of whom no routes are known.
    pub(crate) routes: Arc<[Arc<str>]>,
    pub(crate) request: Limits,
    pub(crate) part: Part,
}

/// Which part of it a layer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Both, one after the other.
    Whole,
    /// Who calls, by the head alone.
    Head,
    /// What they may call, by the body.
    Rights,
}

pub(crate) type IsOpen = dyn Fn(&Parts) -> bool + Send + Sync;

// ===== impl AuthLayer =====

impl AuthLayer {
    /// A layer that believes what `auth` says of a credential.
    #[must_use]
    pub fn new(auth: impl Authenticate) -> Self {
        Self {
            config: Arc::new(Config {
                auth: Arc::new(auth),
                open: None,
                trusts_principal: false,
                keeps_credentials: false,
                routes: Arc::new(["llm_api_routes".into()]),
                request: Limits::default(),
                part: Part::Whole,
            }),
        }
    }

    /// Lets requests pass without a credential of which `open` says so: health checks, say. Nothing is known of who makes them.
    #[must_use]
    pub fn open(self, open: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.change(|config| config.open = Some(Arc::new(open)))
    }

    /// Believes a [`Principal`](ziggurat_core::Principal), and an [`Identity`](crate::Identity), that an outer layer of the host's has put
    /// into the request's extensions: then no credential is looked at. Unless set, both are replaced.
    #[must_use]
    pub fn trust_principal(self) -> Self {
        self.change(|config| config.trusts_principal = true)
    }

    /// Leaves the headers that hold the credential in the request, marked as sensitive. Unless set they are taken out once it is known:
    /// no inner service then sends them to a provider.
    #[must_use]
    pub fn keep_credentials(self) -> Self {
        self.change(|config| config.keeps_credentials = true)
    }

    /// Sets what those may call of whom no routes are known ([`KeyRecord::routes`](crate::KeyRecord::routes)), administrators apart;
    /// `llm_api_routes` unless set. A host with paths of its own names them, or says what they are with an
    /// [`Operation`](ziggurat_core::Operation) in the extensions.
    #[must_use]
    pub fn default_routes<R: Into<Arc<str>>>(self, routes: impl IntoIterator<Item = R>) -> Self {
        let routes = routes.into_iter().map(Into::into).collect();
        self.change(|config| config.routes = routes)
    }

    /// Sets the bounds of a request.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.change(|config| config.request = limits)
    }

    /// Splits it in two layers, for a host that does something in between, as to wait for a body in a way of its own: the first tells by the
    /// head alone who calls; the second, further in, reads the call and sees to it that they may make it.
    #[must_use]
    pub fn split(self) -> (Self, Self) {
        let rights = self.clone().change(|config| config.part = Part::Rights);
        (self.change(|config| config.part = Part::Head), rights)
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer").field("default_routes", &self.config.routes).finish_non_exhaustive()
    }
}
