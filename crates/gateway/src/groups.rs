//! From the model that a caller names to the deployments that may answer: the config's groups, as routes.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderName, HeaderValue, header};
use ziggurat_catalog::{Asked, Catalog};
use ziggurat_core::{Clock, Dialect, Feature, ParamPolicy, Target, TargetError};
use ziggurat_redis::Cooldowns;
use ziggurat_route::{
    Cooldown, Group, GroupBuilder, InvalidGroup, InvalidRoutes, Kind, LeastBusy, List, LowestCost,
    LowestLatency, LowestUsage, RetryBudget, RetryPolicy, Routes, Shuffle, TagRules, Timeouts,
};

use crate::{
    config::{
        Auth, Config, Deployment, Resolved, Reworded,
        routing::{ByCause, DeploymentRouting, Fallback, FallbackLists, Routing, Strategy},
    },
    credentials::Credentials,
    takes, upstream,
};

/// The deployments as targets, and the routes to them.
#[derive(Debug)]
pub(crate) struct Groups {
    routes: Routes,
    /// All deployments that are not made per call, and what wildcards share of theirs, by id.
    members: Arc<HashMap<String, ziggurat_route::Deployment>>,
}

/// What groups are made of.
struct Made {
    config: Arc<Config>,
    catalog: Catalog,
    credentials: Credentials,
    members: Arc<HashMap<String, ziggurat_route::Deployment>>,
    shared: Option<Cooldowns>,
    /// What all names that one wildcard finds may spend on retries, by its alias.
    budgets: HashMap<String, Arc<RetryBudget>>,
}

/// The groups of names that only a wildcard finds.
struct Wildcards {
    of: Made,
    /// Those that were made, so that calls of one name share what they may spend on retries.
    made: Mutex<HashMap<String, Arc<Group>>>,
}

/// What cannot be called.
#[derive(Debug)]
pub(crate) enum Unusable {
    Target { alias: String, source: TargetError },
    Group(InvalidGroup),
    Routes(InvalidRoutes),
}

// ===== impl Groups =====

impl Groups {
    pub(crate) fn new(
        config: &Arc<Config>,
        catalog: &Catalog,
        timeouts: upstream::Timeouts,
        shared: Option<&Cooldowns>,
    ) -> Result<Self, Unusable> {
        let (mut members, credentials) = (HashMap::new(), Credentials::default());
        for deployment in &config.deployments {
            let unusable = |source| Unusable::Target { alias: deployment.alias.clone(), source };
            // What a wildcard shares has a name in the place of its model, which is never called.
            let model = deployment.model.replace('*', "any");
            let target = target(deployment, &model, config.drop_params, &credentials).map_err(unusable)?;
            let target = knowing(target, deployment, catalog);
            members.insert(deployment.id.clone(), member(deployment, target, config, catalog));
        }
        let members = Arc::new(members);
        let wildcards = config.deployments.iter().filter(|deployment| deployment.is_wildcard());
        let budgets = wildcards.map(|it| (it.alias.clone(), Arc::new(retry_budget(config)))).collect();
        let (config, shared) = (Arc::clone(config), shared.cloned());
        let catalog = catalog.clone();
        let made = Made { config, catalog, credentials, members: Arc::clone(&members), shared, budgets };
        let routes = routes(made, timeouts)?;
        Ok(Self { routes, members })
    }

    /// The target of a deployment, unless it is a wildcard.
    pub(crate) fn of(&self, deployment: &Deployment) -> Option<&Target> {
        let member = self.member(deployment).filter(|_| !deployment.is_wildcard())?;
        Some(member.target())
    }

    /// Where calls may go.
    pub(crate) const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// A deployment with its health.
    pub(crate) fn member(&self, deployment: &Deployment) -> Option<&ziggurat_route::Deployment> {
        self.members.get(&deployment.id)
    }
}

fn routes(made: Made, timeouts: upstream::Timeouts) -> Result<Routes, Unusable> {
    let Made { config, members, .. } = &made;
    let Routing { fallbacks, timeouts: own, .. } = &config.routing;
    let mut defaults = Timeouts::none().first_byte(timeouts.answer);
    defaults = defaults.idle(own.idle.unwrap_or(timeouts.idle));
    (defaults.first_token, defaults.total) = (own.first_token, own.total);
    let mut builder = Routes::builder().timeouts(defaults);
    let mut names: Vec<&str> = Vec::new();
    for deployment in config.deployments.iter().filter(|deployment| !deployment.is_wildcard()) {
        let name = deployment.alias.as_str();
        if !names.contains(&name) {
            names.push(name);
            let of = config.deployments.iter().filter(|it| it.alias == name);
            let own = of.map(|it| members[&it.id].clone());
            builder = builder.group(made.group(name, name).deployments(own).build()?);
        }
    }
    // Single deployments that are fallen back to by their id.
    let lists = [
        (List::General, &fallbacks.general),
        (List::ContextWindow, &fallbacks.context_window),
        (List::ContentPolicy, &fallbacks.content_policy),
    ];
    let all = lists.iter().flat_map(|(_, lists)| lists.of.values().flatten().chain(&lists.others));
    let mut single: Vec<&str> = Vec::new();
    for fallback in all {
        if let Fallback::Deployment(id) = fallback
            && !single.contains(&id.as_str())
            && let Some(member) = members.get(id)
        {
            single.push(id);
            let deployment = config.deployments.iter().find(|it| it.id == *id);
            let alias = deployment.map_or(id.as_str(), |deployment| deployment.alias.as_str());
            // By another name it is no other allowance.
            let group = made.group(id, alias).part_of(alias);
            builder = builder.group(group.deployment(member.clone()).build()?);
        }
    }
    for alias in &config.aliases {
        builder = builder.alias(alias.name.as_str(), alias.target.as_str());
    }
    for (list, FallbackLists { of, others }) in lists {
        for (from, to) in of {
            let from = config.aliased(from).unwrap_or(from);
            builder = builder.fall_back(list, from, to.iter().map(name_of));
        }
        builder = builder.default_fallbacks_for(list, others.iter().map(name_of));
    }
    if let Some(most) = fallbacks.most {
        builder = builder.max_fallbacks(most as usize);
    }
    for wildcard in config.deployments.iter().filter(|deployment| deployment.is_wildcard()) {
        builder = builder.deployment(members[&wildcard.id].clone());
    }
    let wildcards = Wildcards { of: made, made: Mutex::default() };
    Ok(builder.otherwise(move |model| wildcards.group(model)).build()?)
}

fn name_of(fallback: &Fallback) -> &str {
    let (Fallback::Group(name) | Fallback::Deployment(name)) = fallback;
    name
}

/// What a group may spend on retries.
fn retry_budget(config: &Config) -> RetryBudget {
    let Some(budget) = &config.routing.retries.budget else { return RetryBudget::default() };
    let share = budget.share.map_or(SHARE, |share| share.get().into());
    RetryBudget::ten_thousandths(share, budget.per_second.unwrap_or(PER_SECOND))
}

/// A deployment with what is known of it.
fn member(
    deployment: &Deployment,
    target: Target,
    config: &Config,
    catalog: &Catalog,
) -> ziggurat_route::Deployment {
    let DeploymentRouting { weight, order, tags, retries, .. } = &deployment.routing;
    let model = catalog.for_target(&target);
    let takes = target.model_capabilities().and_then(|takes| takes.takes(Feature::Prefill));
    let mut member = ziggurat_route::Deployment::new(target)
        .tags(tags.iter().map(String::as_str))
        .order(order.unwrap_or_default())
        .probed(deployment.routing.is_probed)
        .cooldown(cooldown(config, Some(&deployment.routing)))
        .timeouts(timeouts(deployment, config));
    if takes == Some(true) {
        member = member.prefill(true).mark_prefix(MARKS_PREFIX.contains(&&*deployment.provider.id));
    }
    if let Some(weight) = weight {
        member = member.weight(*weight);
    }
    if let Some(times) = retries {
        member = member.retries(*times);
    }
    if let Some(requests) = deployment.rates.requests {
        member = member.requests_per_minute(requests);
    }
    if let Some(tokens) = deployment.rates.tokens {
        member = member.tokens_per_minute(tokens);
    }
    if let Some(most) = deployment.rates.parallel {
        member = member.max_parallel(most);
    }
    let Some(model) = model else { return member };
    if let (true, Some(window)) = (config.routing.pre_call_checks, model.max_input) {
        member = member.context_window(window);
    }
    let text = Asked { text_input: true, text_output: true, ..Asked::default() };
    if model.prices.is_priced_for_text() {
        member = member.price(model.prices.worst_case(A_MILLION, A_MILLION, &text));
    }
    member
}

fn cooldown(config: &Config, own: Option<&DeploymentRouting>) -> Cooldown {
    let cooldowns = &config.routing.cooldowns;
    let time = own.and_then(|own| own.cooldown).or(cooldowns.time);
    if cooldowns.disabled || time == Some(Duration::ZERO) {
        return Cooldown::disabled();
    }
    let allowed = own.and_then(|own| own.allowed_fails).or(cooldowns.allowed_fails);
    let by_cause = own.map(|own| own.allowed_fails_by_cause).filter(|own| *own != ByCause::default());
    let by_cause = by_cause.unwrap_or(cooldowns.by_cause);
    let mut cooldown = match (allowed, time) {
        (Some(allowed), time) => Cooldown::allowed_fails(allowed, time.unwrap_or(COOLDOWN)),
        (None, Some(time)) => Cooldown::default().lasting(time, time.saturating_mul(LONGER)),
        (None, None) => Cooldown::default(),
    };
    for (kind, allowed) in kinds(&by_cause) {
        cooldown = cooldown.allowed_fails_for(kind, allowed);
    }
    cooldown
}

/// What a deployment's own timeouts are, else the file's: of a stream they bound the first token and each silence, of an answer in one
/// piece all of it.
fn timeouts(deployment: &Deployment, config: &Config) -> Timeouts {
    let of_file = &config.routing.timeouts;
    let whole = deployment.timeout.or(of_file.attempt);
    let stream = deployment.stream_timeout.or(deployment.timeout).or(of_file.stream).or(of_file.attempt);
    let mut timeouts = Timeouts::none();
    timeouts.whole = whole;
    // What bounds streams alone says nothing of the head of an answer in one piece, which may come with its end.
    timeouts.first_byte = stream.zip(whole).map(|(stream, whole)| stream.max(whole));
    timeouts.first_token = of_file.first_token.or(stream);
    timeouts.idle = of_file.idle.or(stream);
    timeouts
}

/// LiteLLM's kinds of failures as the layer's.
fn kinds(by_cause: &ByCause) -> impl Iterator<Item = (Kind, u32)> + use<> {
    let kinds = [
        (Kind::BadRequest, by_cause.bad_request),
        (Kind::Authentication, by_cause.authentication),
        (Kind::NotFound, by_cause.not_found),
        (Kind::Timeout, by_cause.timeout),
        (Kind::RateLimit, by_cause.rate_limit),
        (Kind::ContentPolicy, by_cause.content_policy),
        (Kind::Internal, by_cause.internal),
        (Kind::Unavailable, by_cause.unavailable),
        (Kind::BadGateway, by_cause.bad_gateway),
    ];
    kinds.into_iter().filter_map(|(kind, times)| Some((kind, times?)))
}

/// A target that says what its model takes.
fn knowing(target: Target, deployment: &Deployment, catalog: &Catalog) -> Target {
    let takes = takes::of(deployment, target.model(), catalog.for_target(&target).as_deref());
    target.capabilities(takes)
}

fn target(
    deployment: &Deployment,
    model: &str,
    drop_params: bool,
    credentials: &Credentials,
) -> Result<Target, TargetError> {
    let provider = deployment.provider;
    let mut policy = ParamPolicy::default();
    policy.drop_params = deployment.drop_params.unwrap_or(drop_params);
    policy.additional_drop_params = deployment.additional_drop_params.clone().into();
    policy.allowed_openai_params = deployment.allowed_openai_params.clone().into();
    let defaults = deployment.extra.iter().map(|extra| (extra.key.clone(), extra.value.to_string()));
    let mut target =
        Target::new(&provider.id, deployment.dialect(model), model, &deployment.chat_url(model))?
            .id(&deployment.id)
            .policy(policy)
            .quirks(provider.quirks())
            .defaults(defaults);
    if matches!(target.dialect(), Dialect::Gemini | Dialect::Converse) {
        target = target.names_model_in_url();
    }
    if let Some(url) = deployment.stream_url(model) {
        target = target.stream_url(&url)?;
    }
    for (operation, url) in deployment.other_urls(model) {
        target = target.serves(operation, &url)?;
    }
    for Reworded { operation, url, wording } in deployment.reworded(model) {
        target = target.serves_as(operation, &url, wording)?;
    }
    if !deployment.converses(model) {
        target = target.without_conversations();
    }
    if let Some(project) = deployment.vertex.as_ref().and_then(|vertex| vertex.quota_project.clone()) {
        target = target.header(HeaderName::from_static("x-goog-user-project"), project);
    }
    for (name, value) in &deployment.extra_headers {
        target = target.header(name.clone(), value.clone());
    }
    if let Some(organization) = &deployment.organization {
        let value = HeaderValue::from_str(organization).map_err(|_| TargetError::Key)?;
        target = target.header(HeaderName::from_static("openai-organization"), value);
    }
    if deployment.invoked {
        let version = ("anthropic_version".to_owned(), "\"bedrock-2023-05-31\"".to_owned());
        target = target.names_model_in_url().adds([version]).wraps_events();
    }
    if let Some(vertex) = &deployment.vertex {
        if target.dialect() == Dialect::Anthropic {
            // In the place of the header of that name.
            let version = ("anthropic_version".to_owned(), "\"vertex-2023-10-16\"".to_owned());
            target = target.names_model_in_url().adds([version]);
        }
        let authority = target.uri().authority().cloned().ok_or(TargetError::Key)?;
        return Ok(target.credential(credentials.google(&vertex.account, authority)?));
    }
    if let Some(aws) = &deployment.aws {
        let authority = target.uri().authority().cloned().ok_or(TargetError::Key)?;
        return Ok(target.credential(credentials.aws(aws, authority)?));
    }
    if let Some(entra) = &deployment.entra {
        let authority = target.uri().authority().cloned().ok_or(TargetError::Key)?;
        return Ok(target.credential(credentials.entra(entra, authority)?));
    }
    let Some(key) = &deployment.api_key else { return Ok(target) };
    match deployment.auth() {
        Auth::Bearer => target.key(header::AUTHORIZATION, &format!("Bearer {}", key.expose())),
        Auth::XApiKey => target.key(HeaderName::from_static("x-api-key"), key.expose()),
        Auth::ApiKey => target.key(HeaderName::from_static("api-key"), key.expose()),
        Auth::XGoogApiKey => target.key(HeaderName::from_static("x-goog-api-key"), key.expose()),
        Auth::ApiSubscriptionKey => target.key(HeaderName::from_static("api-subscription-key"), key.expose()),
    }
}

// ===== impl Made =====

impl Made {
    /// A group of a name, as the config has it for its alias; without deployments.
    fn group(&self, name: &str, alias: &str) -> GroupBuilder {
        let config = &*self.config;
        let Routing { strategy, strategy_args, retries, tags, hedging, streams, .. } = &config.routing;
        let by_cause = retries.by_group.get(alias).unwrap_or(&retries.by_cause);
        let times = by_cause.other.or(retries.most).unwrap_or(RETRIES);
        let mut retry = RetryPolicy::new(times);
        if let Some(wait) = retries.wait {
            retry = retry.wait_at_least(wait);
        }
        for (kind, times) in kinds(by_cause) {
            retry = retry.times_for(kind, times);
        }
        let mut group = Group::new(name).retry(retry).cooldown(cooldown(config, None));
        group = group.continue_streams(streams.go_on);
        group = match strategy {
            Strategy::Shuffle => group.strategy(Shuffle),
            Strategy::LeastBusy => group.strategy(LeastBusy),
            Strategy::LowestCost => group.strategy(LowestCost),
            Strategy::LowestUsage => group.strategy(LowestUsage),
            Strategy::LowestLatency => {
                let mut latency = LowestLatency::new();
                if let Some(share) = strategy_args.latency_buffer {
                    latency = latency.buffer(share);
                }
                if let Some(time) = strategy_args.ttl {
                    latency = latency.forget_after(time);
                }
                group.strategy(latency)
            }
        };
        if tags.enabled {
            group = group.tags(if tags.all { TagRules::All } else { TagRules::Any });
        }
        if let Some(after) = hedging.of.get(alias).copied().or(hedging.all) {
            group = group.hedge_after(after);
        }
        match self.budgets.get(alias) {
            Some(budget) => group = group.retry_budget(Arc::clone(budget)),
            None => group = group.retry_budget(retry_budget(config)),
        }
        if let Some(shared) = &self.shared {
            group = group.share(Arc::new(shared.clone()), Clock::system());
        }
        group
    }
}

// ===== impl Wildcards =====

impl Wildcards {
    /// The group of a name that only a wildcard finds.
    fn group(&self, model: &str) -> Option<Arc<Group>> {
        if let Some(made) = self.made().get(model) {
            return Some(Arc::clone(made));
        }
        let Made { config, catalog, members, .. } = &self.of;
        let Resolved { name, candidates } = config.resolve(model)?;
        let alias = candidates.first()?.deployment.alias.as_str();
        // A name without its prefix is no other allowance.
        let mut group = self.of.group(model, alias).family(alias).part_of(&*name);
        for candidate in &candidates {
            let target =
                target(candidate.deployment, &candidate.model, config.drop_params, &self.of.credentials)
                    .ok()?;
            let target = knowing(target, candidate.deployment, catalog);
            group = group.deployment(members.get(&candidate.deployment.id)?.sharing(target));
        }
        let group = group.build().ok()?;
        let mut made = self.made();
        // Names are the callers' to make up: those that there is no place for are made anew each time.
        if made.len() < MAX_MADE {
            made.insert(model.to_owned(), Arc::clone(&group));
        }
        Some(group)
    }

    fn made(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Group>>> {
        // Nothing panics while it is held.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Unusable =====

impl From<InvalidGroup> for Unusable {
    fn from(source: InvalidGroup) -> Self {
        Self::Group(source)
    }
}

impl From<InvalidRoutes> for Unusable {
    fn from(source: InvalidRoutes) -> Self {
        Self::Routes(source)
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target { alias, source } => {
                write!(f, "the deployment of {alias:?} cannot be called: {source}")
            }
            Self::Group(source) => source.fmt(f),
            Self::Routes(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for Unusable {}

/// How often a call is tried again unless the config says otherwise: as LiteLLM has it.
const RETRIES: u32 = 2;
/// How long a deployment is left alone that failed more often than is allowed, as LiteLLM has it.
const COOLDOWN: Duration = Duration::from_secs(5);
/// How often longer than the first time a deployment is left alone at most.
const LONGER: u32 = 10;
/// The share of successes that may be retries, and the retries a second in any case, in ten-thousandths.
const SHARE: u64 = 2_000;
const PER_SECOND: u64 = 30_000;
/// Providers that go on with an assistant's message only where it says `prefix: true`.
const MARKS_PREFIX: [&str; 2] = ["mistral", "deepseek"];
/// Groups of names that only wildcards find that are kept.
const MAX_MADE: usize = 1024;
const A_MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests;
