//! The layer: its configuration.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;
use tower_layer::Layer;
use ziggurat_catalog::tokens::{ByLength, CountTokens};
use ziggurat_core::{Clock, Limit, Limits, Measure, Scope, ScopeKind, Target};

use crate::{
    Limited, MemoryStore, Store,
    scopes::{LimitsOf, ScopesOf},
};

/// Limits calls: how many, how many tokens, and how many at the same time, for every scope that a call is under.
///
/// Cheap to clone; clones, and all services that it makes, share what they count.
#[derive(Clone)]
pub struct LimitLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) scopes: Vec<ScopesOf>,
    /// Limits of kinds of scope; their own ids mean nothing.
    pub(crate) rules: Vec<Limit>,
    /// Limits of all calls.
    pub(crate) fixed: Vec<Limit>,
    pub(crate) targets: Option<LimitsOf>,
    /// Whether it stands around one attempt: the caller's limits are counted further out then.
    pub(crate) per_attempt: bool,
    pub(crate) counter: Arc<dyn CountTokens>,
    /// Output tokens of an answer for which the caller states no cap.
    pub(crate) output_guess: u64,
    pub(crate) headers: bool,
    pub(crate) request: Limits,
    pub(crate) max_response: usize,
}

// ===== impl LimitLayer =====

impl LimitLayer {
    /// A layer around a whole call, that keeps its counts in memory: enforces the limits of the request's
    /// [`Principal`](ziggurat_core::Principal), and what is added here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config {
                store: Arc::new(MemoryStore::new()),
                clock: Clock::system(),
                scopes: Vec::new(),
                rules: Vec::new(),
                fixed: Vec::new(),
                targets: None,
                per_attempt: false,
                counter: Arc::new(ByLength),
                output_guess: 1024,
                headers: true,
                request: Limits::default(),
                max_response: 64 << 20,
            }),
        }
    }

    /// A layer around each attempt of a call, inside of what chooses the [`Target`]: it enforces what is added here, and nothing that
    /// the principal or the client brings, as that is counted once a call.
    #[must_use]
    pub fn per_attempt() -> Self {
        Self::new().change(|config| config.per_attempt = true)
    }

    /// Names the scopes of a request, from its head: none, one, or any number of them. What limits them is said by
    /// [`LimitLayer::limit`].
    #[must_use]
    pub fn scope<I>(self, scopes: impl Fn(&Parts) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator<Item = Scope>,
    {
        let name: ScopesOf = Arc::new(move |parts, named| named.extend(scopes(parts)));
        self.change(|config| config.scopes.push(name))
    }

    /// Limits each scope of a kind to `most` in any stretch of `per` (which means nothing for [`Measure::Concurrency`]), unless its
    /// principal has a limit of its own for that scope and measure.
    ///
    /// Keys, users, teams, members, organisations and tags are those of the principal; end users, and further tags, those that the
    /// client names; models those that it asks for; deployments and providers those of the request's [`Target`]; and the gateway is
    /// everything. To these come the scopes that closures name ([`LimitLayer::scope`]).
    #[must_use]
    pub fn limit(self, kind: ScopeKind, measure: Measure, most: u64, per: Duration) -> Self {
        let rule = Limit::new(Scope::new(kind, ""), measure, most, per);
        self.change(|config| config.rules.push(rule))
    }

    /// Adds a limit that every call is under, or every call that names its models.
    #[must_use]
    pub fn fixed(self, limit: Limit) -> Self {
        self.change(|config| config.fixed.push(limit))
    }

    /// Says which limits a [`Target`] has; a request without one has none of them.
    #[must_use]
    pub fn targets(self, limits: impl Fn(&Target) -> Arc<[Limit]> + Send + Sync + 'static) -> Self {
        self.change(|config| config.targets = Some(Arc::new(limits)))
    }

    /// Counts in this store.
    #[must_use]
    pub fn store(self, store: impl Store) -> Self {
        self.change(|config| config.store = Arc::new(store))
    }

    /// Tells the time by this clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.change(|config| config.clock = clock)
    }

    /// Estimates input tokens with this; by their length, unless set.
    #[must_use]
    pub fn counter(self, counter: impl CountTokens) -> Self {
        self.change(|config| config.counter = Arc::new(counter))
    }

    /// Sets how many output tokens are set aside for an answer without a stated cap, a quarter of the limit at most; 1,024 unless set.
    #[must_use]
    pub fn output_guess(self, tokens: u64) -> Self {
        self.change(|config| config.output_guess = tokens)
    }

    /// Sets whether responses carry `x-ratelimit-*` headers; they do unless set.
    #[must_use]
    pub fn headers(self, wanted: bool) -> Self {
        self.change(|config| config.headers = wanted)
    }

    /// Sets the bounds of a request, where no outer layer has read it yet.
    #[must_use]
    pub fn request_limits(self, limits: Limits) -> Self {
        self.change(|config| config.request = limits)
    }

    /// Sets the longest whole answer in bytes, where this layer reads it; 64 MiB unless set.
    #[must_use]
    pub fn max_response(self, bytes: usize) -> Self {
        self.change(|config| config.max_response = bytes)
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl Default for LimitLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for LimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer")
            .field("rules", &self.config.rules)
            .field("fixed", &self.config.fixed)
            .field("per_attempt", &self.config.per_attempt)
            .finish_non_exhaustive()
    }
}
