//! A model group: the deployments that answer to one name.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use ziggurat_core::Clock;

use crate::{
    affinity::Affinity,
    deployment::{Deployment, Settings},
    health::{Cooldown, SharedCooldowns},
    live::Live,
    permit::Hold,
    retry::RetryPolicy,
    retry_budget::RetryBudget,
    shares::Shares,
    strategy::{Shuffle, Strategy},
    tags::TagRules,
    timeouts::Timeouts,
};

/// The deployments that answer to one name, and how one of them is chosen.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use ziggurat_core::{Cause, Target};
/// use ziggurat_route::{Ask, Deployment, Group, Picked, Sample};
///
/// let first = Deployment::new(Target::openai("gpt-4o-mini", "sk-example")?);
/// let second = Deployment::new(Target::anthropic("claude-haiku-4-5", "sk-example")?).order(1);
/// let group = Group::new("fast").deployment(first).deployment(second).build()?;
///
/// let now = Instant::now();
/// let Picked::One { index: 0, permit, .. } = group.pick(&Ask::new(now, 42)) else { panic!("the first is well") };
/// permit.failed(Cause::Overloaded, Some(Duration::from_secs(7)), now);
///
/// let Picked::One { index: 1, permit, .. } = group.pick(&Ask::new(now, 43)) else { panic!("the first cools down") };
/// permit.succeeded(&Sample::new(Duration::from_secs(2)), now);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Group {
    name: Arc<str>,
    deployments: Box<[Deployment]>,
    pub(crate) members: Box<[Member]>,
    /// The lowest first.
    pub(crate) levels: Box<[Level]>,
    strategy: Arc<dyn Strategy>,
    retry: RetryPolicy,
    budget: Arc<RetryBudget>,
    tags: TagRules,
    timeouts: Timeouts,
    hedge_after: Option<Duration>,
    continues: bool,
    family: Option<Arc<str>>,
    model: Option<Arc<str>>,
}

/// Makes a [`Group`].
#[must_use]
pub struct GroupBuilder {
    name: Arc<str>,
    deployments: Vec<Deployment>,
    strategy: Arc<dyn Strategy>,
    retry: RetryPolicy,
    budget: Arc<RetryBudget>,
    cooldown: Cooldown,
    tags: TagRules,
    timeouts: Timeouts,
    hedge_after: Option<Duration>,
    continues: bool,
    family: Option<Arc<str>>,
    model: Option<Arc<str>>,
    shared: Option<(Arc<dyn SharedCooldowns>, Clock)>,
}

/// Why a group cannot be made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum InvalidGroup {
    /// It has no deployments.
    #[non_exhaustive]
    NoDeployments {
        /// Its name.
        group: Arc<str>,
    },
    /// A weight is negative, infinite or no number.
    #[non_exhaustive]
    Weight {
        /// Its name.
        group: Arc<str>,
        /// The deployment's id.
        deployment: Arc<str>,
        /// The weight.
        weight: f64,
    },
    /// Two deployments have one id.
    #[non_exhaustive]
    Duplicate {
        /// Its name.
        group: Arc<str>,
        /// The deployments' id.
        deployment: Arc<str>,
    },
}

/// What is looked at of a deployment when one is chosen, side by side for the processor's caches.
pub(crate) struct Member {
    pub(crate) live: Arc<Live>,
    pub(crate) order: u32,
    pub(crate) max_parallel: u64,
    pub(crate) context_window: u64,
    pub(crate) tags: Arc<[Arc<str>]>,
    pub(crate) limits: Limits,
    pub(crate) hold: Arc<Hold>,
}

/// What a deployment is good for in a minute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Its own; as many as can be said where it has none.
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
    /// What share a request, or a token, is: of its own limit, else of the mean of its siblings'.
    pub(crate) per_request: f64,
    pub(crate) per_token: f64,
}

/// The members of one order.
pub(crate) struct Level {
    pub(crate) order: u32,
    /// Their indices.
    pub(crate) members: Box<[u32]>,
    /// Hashes of their ids, the same on all nodes.
    pub(crate) keys: Box<[u64]>,
    pub(crate) shares: Shares,
    /// The indices of those of one price, the cheapest first.
    pub(crate) by_price: Box<[Box<[u32]>]>,
}

// ===== impl Group =====

impl Group {
    /// A group of this name, to which deployments are added.
    #[expect(clippy::new_ret_no_self, reason = "a group has a deployment at least, and is shared")]
    pub fn new(name: impl Into<Arc<str>>) -> GroupBuilder {
        GroupBuilder {
            name: name.into(),
            deployments: Vec::new(),
            strategy: Arc::new(Shuffle),
            retry: RetryPolicy::default(),
            budget: Arc::default(),
            cooldown: Cooldown::default(),
            tags: TagRules::default(),
            timeouts: Timeouts::none(),
            hedge_after: None,
            continues: false,
            family: None,
            model: None,
            shared: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its deployments, in the order of their indices.
    #[must_use]
    pub fn deployments(&self) -> &[Deployment] {
        &self.deployments
    }

    /// How failed calls are tried again.
    #[must_use]
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// What it may spend on that.
    #[must_use]
    pub fn retry_budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// What the tags of a call do.
    #[must_use]
    pub fn tag_rules(&self) -> TagRules {
        self.tags
    }

    /// How long each stage of a call may take, where its deployment does not say it itself.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// After how long without an answer a second deployment is asked beside the first.
    #[must_use]
    pub fn hedge_after(&self) -> Option<Duration> {
        self.hedge_after
    }

    /// Whether another deployment goes on with a stream that has failed behind its first content.
    #[must_use]
    pub fn continues_streams(&self) -> bool {
        self.continues
    }

    /// The wildcard that its name was found by, if it was.
    #[must_use]
    pub fn family(&self) -> Option<&str> {
        self.family.as_deref()
    }

    /// The name that callers' rights and budgets go by.
    #[must_use]
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.name)
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn strategy(&self) -> &dyn Strategy {
        &*self.strategy
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("deployments", &self.deployments)
            .field("retry", &self.retry)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

// ===== impl GroupBuilder =====

impl GroupBuilder {
    /// Adds a deployment.
    pub fn deployment(mut self, deployment: Deployment) -> Self {
        self.deployments.push(deployment);
        self
    }

    /// Adds deployments.
    pub fn deployments(mut self, deployments: impl IntoIterator<Item = Deployment>) -> Self {
        self.deployments.extend(deployments);
        self
    }

    /// Sets how one is chosen. [`Shuffle`] by default.
    pub fn strategy(mut self, strategy: impl Strategy) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// Sets how failed calls are tried again.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets what it may spend on that.
    pub fn retry_budget(mut self, budget: impl Into<Arc<RetryBudget>>) -> Self {
        self.budget = budget.into();
        self
    }

    /// Sets when those of its deployments cool down that do not say it themselves.
    pub fn cooldown(mut self, cooldown: Cooldown) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets what the tags of a call do. Nothing by default.
    pub fn tags(mut self, rules: TagRules) -> Self {
        self.tags = rules;
        self
    }

    /// Sets how long each stage of a call may take, where its deployment does not say it itself.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the model that it is a part of, by the name that callers' rights and budgets go by. Its own name unless set.
    pub fn part_of(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sets the wildcard that the group's name was found by: what the wildcard falls back to, it does.
    pub fn family(mut self, wildcard: impl Into<Arc<str>>) -> Self {
        self.family = Some(wildcard.into());
        self
    }

    /// Asks a second deployment where the first has not begun to answer after this time, and takes the answer that comes first. It
    /// counts as a retry in the retry budget, and what both cost is paid for. Never by default.
    pub fn hedge_after(mut self, time: Duration) -> Self {
        self.hedge_after = Some(time);
        self
    }

    /// Lets another deployment go on with a stream that has failed behind its first content, by giving it the text so far as the beginning
    /// of its answer: one of this group, or of its general fallbacks, that can do that ([`Deployment::prefill`]). Only plain text is gone
    /// on with, and not where the prompt or a policy is to blame. The caller gets one answer, by its first id; a comment marks the place,
    /// and [`Event::Continued`](crate::Event::Continued) tells of it. Each attempt is paid for; usage in the stream is that of the last, which
    /// counts the text so far as input. It counts as a retry in the retry budget. Never by default.
    pub fn continue_streams(mut self, continues: bool) -> Self {
        self.continues = continues;
        self
    }

    /// Tells other nodes of deployments that cool down, by this clock.
    pub fn share(mut self, with: Arc<dyn SharedCooldowns>, clock: Clock) -> Self {
        self.shared = Some((with, clock));
        self
    }

    /// Makes the group.
    ///
    /// # Errors
    /// [`InvalidGroup`] without deployments, with a weight that is none, or with two deployments of one id.
    pub fn build(mut self) -> Result<Arc<Group>, InvalidGroup> {
        self.check()?;
        for deployment in &mut self.deployments {
            let name = self.model.as_ref().unwrap_or(&self.name);
            let target = deployment.target().clone().group(Arc::clone(name));
            *deployment = deployment.sharing(target);
        }
        let mut orders: Vec<_> =
            self.deployments.iter().map(|deployment| deployment.settings().order).collect();
        orders.sort_unstable();
        orders.dedup();
        let levels = orders.into_iter().map(|order| Level::new(order, &self.deployments));
        let requests = mean(&self.deployments, |settings| settings.requests_per_minute);
        let tokens = mean(&self.deployments, |settings| settings.tokens_per_minute);
        let members = self.deployments.iter().map(|deployment| self.member(deployment, requests, tokens));
        Ok(Arc::new(Group {
            levels: levels.collect(),
            members: members.collect(),
            name: self.name,
            deployments: self.deployments.into(),
            strategy: self.strategy,
            retry: self.retry,
            budget: self.budget,
            tags: self.tags,
            timeouts: self.timeouts,
            hedge_after: self.hedge_after,
            continues: self.continues,
            family: self.family,
            model: self.model,
        }))
    }

    fn check(&self) -> Result<(), InvalidGroup> {
        let group = || Arc::clone(&self.name);
        if self.deployments.is_empty() {
            return Err(InvalidGroup::NoDeployments { group: group() });
        }
        let mut ids = HashSet::new();
        for deployment in &self.deployments {
            let id = || Arc::from(deployment.id());
            if !ids.insert(deployment.id()) {
                return Err(InvalidGroup::Duplicate { group: group(), deployment: id() });
            }
            match deployment.settings().weight {
                Some(weight) if !weight.is_finite() || weight < 0.0 => {
                    return Err(InvalidGroup::Weight { group: group(), deployment: id(), weight });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn member(&self, deployment: &Deployment, requests: Option<f64>, tokens: Option<f64>) -> Member {
        let settings = deployment.settings();
        let max_parallel = settings.max_parallel.unwrap_or(u64::MAX);
        let share = |own: Option<u64>, mean: Option<f64>| match own.map(|own| own as f64).or(mean) {
            Some(limit) => 1.0 / limit.max(1.0),
            None => 0.0,
        };
        Member {
            live: Arc::clone(deployment.live()),
            order: settings.order,
            max_parallel,
            context_window: settings.context_window.unwrap_or(u64::MAX),
            tags: Arc::clone(&settings.tags),
            limits: Limits {
                requests: settings.requests_per_minute.unwrap_or(u64::MAX),
                tokens: settings.tokens_per_minute.unwrap_or(u64::MAX),
                per_request: share(settings.requests_per_minute, requests),
                per_token: share(settings.tokens_per_minute, tokens),
            },
            hold: Arc::new(Hold {
                id: deployment.id().into(),
                live: Arc::clone(deployment.live()),
                cooldown: settings.cooldown.clone().unwrap_or_else(|| self.cooldown.clone()),
                half_life: settings.half_life,
                max_parallel,
                shared: self.shared.clone(),
            }),
        }
    }
}

impl fmt::Debug for GroupBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The mean of those that have it.
fn mean(deployments: &[Deployment], limit: impl Fn(&Settings) -> Option<u64>) -> Option<f64> {
    let known = deployments.iter().filter_map(|deployment| limit(deployment.settings()));
    let count = known.clone().count();
    (count > 0).then(|| known.map(|limit| limit as f64 / count as f64).sum())
}

// ===== impl Level =====

impl Level {
    fn new(order: u32, deployments: &[Deployment]) -> Self {
        let own = || {
            let numbered = (0..).zip(deployments);
            numbered.filter(move |(_, deployment)| deployment.settings().order == order)
        };
        // `None` is the least of all, and comes last here.
        let price = |index: u32| {
            let price = deployments[index as usize].settings().price;
            (price.is_none(), price)
        };
        let mut by_price: Vec<u32> = own().map(|(index, _)| index).collect();
        by_price.sort_by_key(|index| price(*index));
        let same = by_price.chunk_by(|one, other| price(*one) == price(*other));
        Self {
            order,
            members: own().map(|(index, _)| index).collect(),
            keys: own().map(|(_, deployment)| Affinity::of([deployment.id()]).0).collect(),
            shares: Shares::new(own().map(|(_, deployment)| deployment.settings())),
            by_price: same.map(Box::from).collect(),
        }
    }
}

// ===== impl InvalidGroup =====

impl fmt::Display for InvalidGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDeployments { group } => write!(f, "the group {group:?} has no deployments"),
            Self::Weight { group, deployment, weight } => {
                write!(
                    f,
                    "the weight {weight} of {deployment:?} in the group {group:?} is not a positive number or 0"
                )
            }
            Self::Duplicate { group, deployment } => {
                write!(f, "the group {group:?} has two deployments of the id {deployment:?}")
            }
        }
    }
}

impl std::error::Error for InvalidGroup {}
