//! The layer: its configuration.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, request::Parts};
use tower_layer::Layer;
use ziggurat_core::{Clock, Limits, Operation};

use crate::{Cached, MemoryStore, Semantic, Share, Store, flight::Flights, tenant::tenant};

/// Answers calls again that were answered before, and lets identical calls under way share one answer.
///
/// Cheap to clone; clones, and all services that it makes, share the store and the calls under way.
#[derive(Clone)]
pub struct CacheLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) flights: Flights,
    pub(crate) clock: Clock,
    tenant: TenantOf,
    pub(crate) operations: Arc<[Operation]>,
    pub(crate) vary: Arc<[HeaderName]>,
    pub(crate) namespace: Arc<str>,
    pub(crate) salt: Arc<str>,
    pub(crate) opt_in: bool,
    pub(crate) ttl: Duration,
    pub(crate) patience: Duration,
    /// How long another node's call is waited for, where nodes share them.
    pub(crate) in_flight: Option<Duration>,
    pub(crate) ask_usage: bool,
    pub(crate) max_entry: usize,
    pub(crate) max_request: usize,
    pub(crate) max_response: usize,
    pub(crate) request: Limits,
    pub(crate) semantic: Option<Semantic>,
}

type TenantOf = Arc<dyn Fn(&Parts) -> Vec<u8> + Send + Sync>;

// ===== impl CacheLayer =====

impl CacheLayer {
    /// A layer that keeps answers in this store, for ten minutes unless said otherwise, each team's apart.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        let patience = store.patience();
        Self {
            config: Arc::new(Config {
                store: Arc::new(store),
                flights: Flights::default(),
                clock: Clock::system(),
                tenant: Arc::new(|parts| tenant(Share::default(), parts)),
                operations: OPERATIONS.into(),
                vary: Arc::new(VARY),
                namespace: "".into(),
                salt: "".into(),
                opt_in: false,
                ttl: Duration::from_secs(600),
                patience,
                in_flight: None,
                ask_usage: true,
                max_entry: 1 << 20,
                max_request: 4 << 20,
                max_response: 64 << 20,
                request: Limits::default(),
                semantic: None,
            }),
        }
    }

    /// A layer that keeps so many bytes of answers in memory.
    #[must_use]
    pub fn in_memory(bytes: u64) -> Self {
        Self::new(MemoryStore::new(bytes))
    }

    /// Says who shares answers, by the request's [`Principal`](ziggurat_core::Principal): the members of a team unless set. Where nobody
    /// says who calls, those who show the same credentials share.
    #[must_use]
    pub fn share(self, share: Share) -> Self {
        self.change(|config| config.tenant = Arc::new(move |parts| tenant(share, parts)))
    }

    /// Names the tenant of a request in the host's own way: those of one name share answers.
    #[must_use]
    pub fn tenant(self, name: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.change(|config| {
            config.tenant = Arc::new(move |parts| [b"host\0", name(parts).as_bytes()].concat());
        })
    }

    /// Names, beside the tenant that was set before, what tells the answers to a request apart: those of other names are never given. Where several are set, all of
    /// them do.
    #[must_use]
    pub fn apart_by(self, name: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.change(|config| {
            let tenant = Arc::clone(&config.tenant);
            config.tenant = Arc::new(move |parts| {
                let (tenant, name) = (tenant(parts), name(parts));
                [&(tenant.len() as u64).to_le_bytes(), &*tenant, name.as_bytes()].concat()
            });
        })
    }

    /// Tells the time by this clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.change(|config| config.clock = clock)
    }

    /// Sets which operations are answered again; chat, messages, responses, content, completions, embeddings, rerank and transcriptions unless
    /// set.
    #[must_use]
    pub fn operations(self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.change(|config| config.operations = operations.into_iter().collect())
    }

    /// Adds headers of the request that decide the answer. `anthropic-beta`, `anthropic-version` and `openai-beta` always do.
    #[must_use]
    pub fn vary(self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.change(|config| config.vary = config.vary.iter().cloned().chain(headers).collect())
    }

    /// Sets the part of a tenant's cache that is used where the caller names none.
    #[must_use]
    pub fn namespace(self, name: impl Into<Arc<str>>) -> Self {
        self.change(|config| config.namespace = name.into())
    }

    /// Sets what tells answers apart that were made under other rules: the version of a policy, of what is redacted.
    #[must_use]
    pub fn version(self, version: impl Into<Arc<str>>) -> Self {
        self.change(|config| config.salt = version.into())
    }

    /// Uses the cache for those calls alone that ask for it (`use-cache`).
    #[must_use]
    pub fn opt_in(self) -> Self {
        self.change(|config| config.opt_in = true)
    }

    /// Sets how long an answer counts, where its caller does not say.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.change(|config| config.ttl = ttl)
    }

    /// Sets how long a store is waited for, before its answer is a miss; as [`Store::patience`] says unless set.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        self.change(|config| config.patience = patience)
    }

    /// Shares calls under way with other nodes too, where the store can tell who makes them ([`Store::claim`]): who finds that another node does
    /// waits for its answer, so long at most. Off unless set.
    #[must_use]
    pub fn share_in_flight(self, longest: Duration) -> Self {
        self.change(|config| config.in_flight = Some(longest))
    }

    /// Sets whether OpenAI's streams are asked for their usage where their callers do not (and do not see it), so that it is there for callers
    /// who do; they are unless set.
    #[must_use]
    pub fn ask_usage(self, ask: bool) -> Self {
        self.change(|config| config.ask_usage = ask)
    }

    /// Sets the longest answer in bytes that is kept, and so how far a caller who shares one may lag behind; 1 MiB unless set.
    #[must_use]
    pub fn max_entry(self, bytes: usize) -> Self {
        self.change(|config| config.max_entry = bytes)
    }

    /// Sets the longest request in bytes that is answered again; 4 MiB unless set. Longer ones pass.
    #[must_use]
    pub fn max_request(self, bytes: usize) -> Self {
        self.change(|config| config.max_request = bytes)
    }

    /// Sets the bounds of a request, where no outer layer has read it yet.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.change(|config| config.request = limits)
    }

    /// Answers also what was asked in other words, in conversations, where the threshold is reached.
    #[must_use]
    pub fn semantic(self, semantic: Semantic) -> Self {
        self.change(|config| config.semantic = Some(semantic))
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cached<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Cached::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("operations", &self.config.operations)
            .field("opt_in", &self.config.opt_in)
            .field("ttl", &self.config.ttl)
            .field("semantic", &self.config.semantic)
            .finish_non_exhaustive()
    }
}

// ===== impl Config =====

impl Config {
    pub(crate) fn tenant_of(&self, parts: &Parts) -> Vec<u8> {
        (self.tenant)(parts)
    }
}

const OPERATIONS: [Operation; 11] = [
    Operation::Chat,
    Operation::Messages,
    Operation::Responses,
    Operation::Generate,
    Operation::StreamGenerate,
    Operation::Completions,
    Operation::Embeddings,
    Operation::EmbedContent,
    Operation::BatchEmbedContents,
    Operation::Rerank,
    Operation::Transcription,
];

const VARY: [HeaderName; 3] = [
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("openai-beta"),
];
