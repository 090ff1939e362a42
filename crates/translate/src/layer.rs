//! The layer: its configuration.

use std::{fmt, sync::Arc, time::SystemTime};

use tower_layer::Layer;
use ziggurat_core::{Dialect, Limits, Target};

use crate::{FetchMedia, Translate};

/// Translates calls into the dialect of their target, and the answers back.
#[derive(Clone)]
pub struct TranslateLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) target: Option<Target>,
    pub(crate) request: Limits,
    pub(crate) max_response: usize,
    pub(crate) max_event: Option<usize>,
    pub(crate) media: Option<Arc<dyn FetchMedia>>,
    pub(crate) now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

// ===== impl TranslateLayer =====

impl TranslateLayer {
    /// A layer that sends each call to the [`Target`] in its extensions, and leaves calls without one alone.
    #[must_use]
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config {
                target: None,
                request: Limits::default(),
                max_response: 64 << 20,
                max_event: None,
                media: None,
                now: Arc::new(SystemTime::now),
            }),
        }
    }

    /// Sends calls without a target in their extensions to this one.
    #[must_use]
    pub fn target(self, target: Target) -> Self {
        self.change(|config| config.target = Some(target))
    }

    /// Sets the bounds of a request, where no outer layer has read it yet.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.change(|config| config.request = limits)
    }

    /// Sets the longest whole answer in bytes; 64 MiB unless set.
    #[must_use]
    pub fn max_response(self, bytes: usize) -> Self {
        self.change(|config| config.max_response = bytes)
    }

    /// Sets the longest event of a stream in bytes; unless set, 1 MiB, and 16 MiB where events hold images or whole answers (Gemini, Responses).
    #[must_use]
    pub fn max_event(self, bytes: usize) -> Self {
        self.change(|config| config.max_event = Some(bytes))
    }

    /// Sets who fetches images and files that stand at URLs, for providers that take only their bytes (Bedrock's Converse, Ollama); unless set,
    /// they are refused by name.
    #[must_use]
    pub fn fetch_media(self, fetch: impl FetchMedia + 'static) -> Self {
        self.change(|config| config.media = Some(Arc::new(fetch)))
    }

    /// Sets the clock that dates answers of providers that do not.
    #[must_use]
    pub fn clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.change(|config| config.now = Arc::new(now))
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl Default for TranslateLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for TranslateLayer {
    type Service = Translate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Translate::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for TranslateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TranslateLayer").field("target", &self.config.target).finish_non_exhaustive()
    }
}

// ===== impl Config =====

impl Config {
    /// The longest event of a stream of a provider of some dialect, in bytes.
    pub(crate) fn max_event_of(&self, dialect: Dialect) -> usize {
        self.max_event.unwrap_or(match dialect {
            Dialect::Gemini | Dialect::Responses => 16 << 20,
            _ => 1 << 20,
        })
    }

    /// Seconds of the Unix epoch.
    pub(crate) fn epoch_seconds(&self) -> u64 {
        (self.now)().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
