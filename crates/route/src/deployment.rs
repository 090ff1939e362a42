//! One of the deployments that answer for a model.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;
use ziggurat_core::{Target, Usd};

use crate::{
    health::Cooldown,
    live::{Figures, Live},
    moment::Moment,
    timeouts::Timeouts,
};

/// A target with what is to be known for choosing it, and its health. Cheap to clone; all clones share their health and figures, also
/// across groups.
#[derive(Clone)]
pub struct Deployment(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    target: Target,
    settings: Settings,
    live: Arc<Live>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) weight: Option<f64>,
    pub(crate) order: u32,
    pub(crate) tags: Arc<[Arc<str>]>,
    pub(crate) requests_per_minute: Option<u64>,
    pub(crate) tokens_per_minute: Option<u64>,
    pub(crate) context_window: Option<u64>,
    pub(crate) price: Option<Usd>,
    pub(crate) cooldown: Option<Cooldown>,
    pub(crate) retries: Option<u32>,
    pub(crate) max_parallel: Option<u64>,
    pub(crate) prefill: bool,
    pub(crate) marks_prefix: bool,
    pub(crate) half_life: Duration,
    pub(crate) timeouts: Timeouts,
    pub(crate) probed: bool,
}

// ===== impl Deployment =====

impl Deployment {
    /// One that nothing is known of but where it is.
    #[must_use]
    pub fn new(target: Target) -> Self {
        let settings = Settings {
            weight: None,
            order: 0,
            tags: Arc::new([]),
            requests_per_minute: None,
            tokens_per_minute: None,
            context_window: None,
            price: None,
            cooldown: None,
            retries: None,
            max_parallel: None,
            prefill: false,
            marks_prefix: false,
            half_life: Duration::from_secs(60),
            timeouts: Timeouts::none(),
            probed: true,
        };
        Self(Arc::new(Inner { target, settings, live: Arc::new(Live::new()) }))
    }

    /// Sets its share among those of its group, in any unit. Checked where the group is built.
    #[must_use]
    pub fn weight(self, weight: f64) -> Self {
        self.change(|settings| settings.weight = Some(weight))
    }

    /// Sets its level: those of a higher one are called only where none of a lower one can be. 0 by default.
    #[must_use]
    pub fn order(self, order: u32) -> Self {
        self.change(|settings| settings.order = order)
    }

    /// Sets its tags; `default` is that of the calls that have none.
    #[must_use]
    pub fn tags<T: Into<Arc<str>>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        self.change(|settings| settings.tags = tags.into_iter().map(Into::into).collect())
    }

    /// Sets how many requests a minute it is good for: a weight where there is no other, and what [`LowestUsage`](crate::LowestUsage)
    /// compares with. It is no guard.
    #[must_use]
    pub fn requests_per_minute(self, requests: u64) -> Self {
        self.change(|settings| settings.requests_per_minute = Some(requests))
    }

    /// Sets how many tokens a minute it is good for, likewise.
    #[must_use]
    pub fn tokens_per_minute(self, tokens: u64) -> Self {
        self.change(|settings| settings.tokens_per_minute = Some(tokens))
    }

    /// Sets how many tokens of input it takes.
    #[must_use]
    pub fn context_window(self, tokens: u64) -> Self {
        self.change(|settings| settings.context_window = Some(tokens))
    }

    /// Sets what a million tokens of input and a million of output cost, together.
    #[must_use]
    pub fn price(self, price: Usd) -> Self {
        self.change(|settings| settings.price = Some(price))
    }

    /// Sets when it cools down, in place of what its groups say.
    #[must_use]
    pub fn cooldown(self, cooldown: Cooldown) -> Self {
        self.change(|settings| settings.cooldown = Some(cooldown))
    }

    /// Sets how often a call that it failed is tried again, in place of every count of its group's policy.
    #[must_use]
    pub fn retries(self, times: u32) -> Self {
        self.change(|settings| settings.retries = Some(times))
    }

    /// Sets how many calls may run at once, of all groups that share it.
    #[must_use]
    pub fn max_parallel(self, calls: u64) -> Self {
        self.change(|settings| settings.max_parallel = Some(calls))
    }

    /// Says that it goes on with an answer whose beginning it is given.
    #[must_use]
    pub fn prefill(self, prefill: bool) -> Self {
        self.change(|settings| settings.prefill = prefill)
    }

    /// Says that it wants that beginning marked with `"prefix": true`, as Mistral and DeepSeek do. Its callers speak OpenAI's dialect.
    #[must_use]
    pub fn mark_prefix(self, marks: bool) -> Self {
        self.change(|settings| settings.marks_prefix = marks)
    }

    /// Sets the time after which a call counts half in the mean latency. A minute by default.
    #[must_use]
    pub fn half_life(self, time: Duration) -> Self {
        self.change(|settings| settings.half_life = time)
    }

    /// Sets how long each stage of an attempt may take; the whole call's is its group's.
    #[must_use]
    pub fn timeouts(self, timeouts: Timeouts) -> Self {
        self.change(|settings| settings.timeouts = timeouts)
    }

    /// Sets whether a [`Prober`](crate::Prober) asks it. It does by default.
    #[must_use]
    pub fn probed(self, probed: bool) -> Self {
        self.change(|settings| settings.probed = probed)
    }

    /// The same deployment at another target, as where the caller names the model: it shares health and figures.
    #[must_use]
    pub fn sharing(&self, target: Target) -> Self {
        Self(Arc::new(Inner { target, ..Inner::clone(&self.0) }))
    }

    /// Where it is.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// The id under which it is known.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.target.deployment()
    }

    /// Whether it goes on with an answer whose beginning it is given.
    #[must_use]
    pub fn can_prefill(&self) -> bool {
        self.0.settings.prefill
    }

    /// Whether it wants that beginning marked.
    #[must_use]
    pub fn marks_prefix(&self) -> bool {
        self.0.settings.marks_prefix
    }

    /// How many tokens of input it takes, if that is known.
    #[must_use]
    pub fn max_input_tokens(&self) -> Option<u64> {
        self.0.settings.context_window
    }

    /// What is known of it now.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Figures {
        self.0.live.figures(Moment::of(now))
    }

    /// Leaves it alone until then: what another node, or a probe, found out.
    pub fn cool_until(&self, until: Instant, now: Instant) {
        self.0.live.health.cool_until(Moment::of(until), Moment::of(now));
    }

    /// Ends its cooling down: what a probe found out.
    pub fn recovered(&self) {
        self.0.live.health.recovered();
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.0.live
    }

    fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut Arc::make_mut(&mut self.0).settings);
        self
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").field("target", &self.0.target).finish_non_exhaustive()
    }
}
