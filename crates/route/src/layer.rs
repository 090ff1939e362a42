//! The layers: what is configured, and made once.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::request::Parts;
use tower_layer::Layer;
use ziggurat_catalog::tokens::{ByLength, CountTokens};
use ziggurat_core::{Clock, Limits, Target};

use crate::{Affinity, Course, Deployment, Event, Group, Pins, RetryPolicy, Route, Routes, Timeouts};

/// Chooses a deployment for each call, tries again, and falls back to other groups: wraps any service that reads the
/// [`Target`] extension.
#[derive(Clone)]
pub struct RouteLayer {
    config: Arc<Config>,
}

/// What the services of a layer share.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) routes: Routes,
    /// The course of all calls that have none of their own, whatever model they name.
    pub(crate) fixed: Option<Course>,
    pub(crate) request: Limits,
    pub(crate) max_response: usize,
    pub(crate) hold: Duration,
    pub(crate) pins: Pins,
    pub(crate) counter: Arc<dyn CountTokens>,
    pub(crate) clock: Clock,
    pub(crate) random: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) report: Arc<Report>,
    pub(crate) affinity: Option<Arc<NameAffinity>>,
}

pub(crate) type Report = dyn Fn(&Event<'_>) + Send + Sync;
pub(crate) type NameAffinity = dyn Fn(&Parts) -> Option<Affinity> + Send + Sync;

// ===== impl RouteLayer =====

impl RouteLayer {
    /// Calls go where the routes say: each by its [`Course`](crate::Course), if it has one, else by the model it names.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self {
            config: Arc::new(Config {
                routes,
                fixed: None,
                request: Limits::default(),
                max_response: 64 << 20,
                hold: Duration::from_secs(5),
                pins: Pins::default(),
                counter: Arc::new(ByLength),
                clock: Clock::system(),
                random: random(),
                report: Arc::new(|_| {}),
                affinity: None,
            }),
        }
    }

    /// Sets the bounds for reading a request.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        Arc::make_mut(&mut self.config).request = limits;
        self
    }

    /// Sets the longest whole answer, in bytes, that is read where no layer inside does. 64 MiB by default.
    #[must_use]
    pub fn max_response(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.config).max_response = bytes;
        self
    }

    /// Sets how long the head of a stream waits for the first content. After that it goes out, and comments keep the connection alive
    /// while attempts go on: what fails then is told in an event. 5 seconds by default.
    #[must_use]
    pub fn hold(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.config).hold = time;
        self
    }

    /// Sets which calls go to the same deployment.
    #[must_use]
    pub fn pins(mut self, pins: Pins) -> Self {
        Arc::make_mut(&mut self.config).pins = pins;
        self
    }

    /// Sends the calls for which `name` gives the same value to the same deployment of their group, while it can be called.
    #[must_use]
    pub fn affinity(mut self, name: impl Fn(&Parts) -> Option<Affinity> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.config).affinity = Some(Arc::new(name));
        self
    }

    /// Counts the tokens of a call's input, where a group has deployments with a known context window.
    #[must_use]
    pub fn counter(mut self, counter: impl CountTokens + 'static) -> Self {
        Arc::make_mut(&mut self.config).counter = Arc::new(counter);
        self
    }

    /// Sets the clock by which dates are read, at which a provider says to come back.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.config).clock = clock;
        self
    }

    /// Sets where random choices come from, for tests that are to repeat.
    #[must_use]
    pub fn random(mut self, draw: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.config).random = Arc::new(draw);
        self
    }

    /// Tells what happens to calls, as it happens: must not block.
    #[must_use]
    pub fn report(mut self, report: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.config).report = Arc::new(report);
        self
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.config.routes
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Route::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for RouteLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteLayer").field("routes", &self.config.routes).finish_non_exhaustive()
    }
}

/// Calls one target, and where it fails, the next: whatever model a call names.
#[derive(Clone, Debug)]
#[must_use]
pub struct FallbackLayer {
    targets: Arc<[Target]>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    route: RouteLayer,
}

// ===== impl FallbackLayer =====

impl FallbackLayer {
    /// Calls the first of these, and where it fails, the second, and so on.
    ///
    /// # Panics
    /// Without a target.
    pub fn new(targets: impl IntoIterator<Item = Target>) -> Self {
        let targets: Arc<[Target]> = targets.into_iter().collect();
        let (retry, timeouts) = (RetryPolicy::default(), Timeouts::none());
        let route = route(&targets, &retry, timeouts);
        Self { targets, retry, timeouts, route }
    }

    /// Sets how often each of them is tried again, and when.
    pub fn retry(self, retry: RetryPolicy) -> Self {
        let route = route(&self.targets, &retry, self.timeouts);
        Self { retry, route, ..self }
    }

    /// Sets how long each stage of a call may take.
    pub fn timeouts(self, timeouts: Timeouts) -> Self {
        let route = route(&self.targets, &self.retry, timeouts);
        Self { timeouts, route, ..self }
    }
}

impl<S> Layer<S> for FallbackLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.route.layer(inner)
    }
}

/// A route of groups of one target each.
fn route(targets: &[Target], retry: &RetryPolicy, timeouts: Timeouts) -> RouteLayer {
    let group = |target: &Target| {
        let group = Group::new(target.deployment()).deployment(Deployment::new(target.clone()));
        let built = group.retry(retry.clone()).timeouts(timeouts).build();
        built.expect("invariant: one deployment of one weight")
    };
    let mut groups = targets.iter().map(group);
    let first = groups.next().expect("a fallback layer needs a target");
    let course = Course::new(first, [groups.collect(), Vec::new(), Vec::new()]);
    let mut layer = RouteLayer::new(Routes::default());
    Arc::make_mut(&mut layer.config).fixed = Some(course);
    layer
}

/// Draws that nobody foresees.
pub(crate) fn random() -> Arc<dyn Fn() -> u64 + Send + Sync> {
    let (keys, count) = (RandomState::new(), AtomicU64::new(0));
    Arc::new(move || {
        let mut hasher = keys.build_hasher();
        hasher.write_u64(count.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    })
}
