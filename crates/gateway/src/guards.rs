//! What a config limits: made once, as layers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use http::{Request, Response};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};
use tower::{
    Layer, Service, ServiceExt,
    util::{Either, MapRequest},
};
use ziggurat_auth::{Authenticate, MasterKey};
use ziggurat_budget::{BudgetLayer, Budgeted, Disconnect, Ledger};
use ziggurat_cache::{CacheLayer, Cached};
use ziggurat_catalog::{Catalog, tokens::count_input};
use ziggurat_core::{Body, Budget, Call, Limit, Limits, Measure, Principal, Scope, ScopeKind, Window};
use ziggurat_limit::{LimitLayer, Limited};
use ziggurat_route::{Left, Mirror, Route, RouteLayer};

use crate::{
    config::{Config, OnDisconnect, Rates, Spending, TagAllowance, Tokens},
    jwt,
    secret::Secret,
    stores::Stores,
    tokens::Counter,
};

/// Limits and budgets: those of a call around the whole of it, those of a deployment around each attempt.
#[derive(Debug)]
pub(crate) struct Guards {
    calls: LimitLayer,
    cache: Option<CacheLayer>,
    budget: BudgetLayer,
    attempts: LimitLayer,
    counter: Counter,
    principal: Principal,
    /// What may be spent by tag.
    tags: BTreeMap<String, TagAllowance>,
    drained: Drained,
    drains: bool,
}

/// Answers that are read for their usage when their callers have left.
#[derive(Clone, Debug)]
struct Drained {
    places: Arc<Semaphore>,
    bound: Option<Duration>,
}

/// A call that goes on, for so long at most, when it is dropped before its answer.
struct Outliving<F: Future + Send + 'static> {
    call: Option<Pin<Box<F>>>,
    left: Left,
    drained: Drained,
}

/// Says that the caller has left when the body that has it is dropped.
struct Leaves(Left);

/// A service within its guards.
pub(crate) type Guarded<S> = Limited<Either<Cached<Nobodys<Spent<S>>>, Spent<S>>>;

/// A service of which no one caller is waiting.
type Nobodys<S> = MapRequest<S, fn(Request<Body>) -> Request<Body>>;

/// A service of which all costs are within budgets.
type Spent<S> = Budgeted<Route<Limited<S>>>;

// ===== impl Guards =====

impl Guards {
    /// The guards of a config. Nothing that it sets is optional here: a config with a budget or a limit cannot be served without.
    pub(crate) fn new(config: &Config, catalog: Catalog, stores: &Stores) -> Self {
        let mut principal = Principal::default();
        let counter = Counter::of(config);
        let mut calls = limits(&Scope::gateway(), &config.gateway_rates)
            .into_iter()
            .fold(LimitLayer::new(), LimitLayer::fixed)
            .counter(counter.clone());
        match (&config.master_key, config.key_rates.parallel) {
            (Some(_), parallel) => {
                principal.key = Some(MASTER.into());
                if let Some(most) = parallel {
                    calls = calls.limit(ScopeKind::Key, Measure::Concurrency, most, Duration::ZERO);
                }
            }
            // All calls are one nameless caller's.
            (None, Some(most)) => calls = calls.fixed(Limit::concurrency(Scope::gateway(), most)),
            (None, None) => {}
        }
        let mut attempts = attempts(config);
        if let Some(shared) = stores.limits() {
            calls = calls.store(shared.clone());
            attempts = attempts.store(shared);
        }
        let (drains, bound) = match config.spending.on_disconnect {
            OnDisconnect::Cancel => (false, None),
            OnDisconnect::Drain(bound) => (true, bound),
        };
        let drained = Drained { places: Arc::new(Semaphore::new(MAX_DRAINED)), bound };
        Self {
            calls,
            cache: stores.cache(config),
            budget: budget(config, catalog, stores.ledger(), &drained).counter(counter.clone()),
            attempts: attempts.counter(counter.clone()),
            counter,
            principal,
            tags: config.spending.tags.clone(),
            drained,
            drains,
        }
    }

    /// Begins to load what tokens are counted with.
    pub(crate) fn warm(&self) {
        self.counter.warm();
    }

    /// Counts input tokens.
    pub(crate) fn counter(&self) -> impl Fn(&Call) -> u64 + Clone + Send + Sync + use<> {
        let counter = self.counter.clone();
        move |call| count_input(call, &counter).tokens
    }

    /// Puts what costs nothing within the limits of its callers.
    pub(crate) fn limited<S>(&self, inner: S, request: Limits) -> Limited<S> {
        self.calls.clone().request_limits(request).layer(inner)
    }

    /// Bytes from which on reading and counting a body may take long enough for others to notice.
    pub(crate) const fn large(&self) -> u64 {
        self.counter.large()
    }

    /// Who calls with the master key, or without one where there is none.
    pub(crate) fn principal(&self) -> Principal {
        self.principal.clone()
    }

    /// Who is believed to be who: the holder of the master key, those of keys in a database, and of tokens.
    pub(crate) fn authenticate(
        &self,
        master: &Secret,
        tokens: Option<&Tokens>,
        stores: &Stores,
    ) -> Vec<Arc<dyn Authenticate>> {
        let master = MasterKey::new(master.expose()).principal(self.principal());
        let mut all: Vec<Arc<dyn Authenticate>> = vec![Arc::new(master)];
        if let Some(keys) = stores.keys() {
            all.push(Arc::new(keys.clone()));
        }
        all.extend(tokens.map(|tokens| jwt::authenticate(tokens, stores)));
        all
    }

    /// Adds the budgets and limits of the tags that a call has, by its key or by its own word, where tags have any.
    pub(crate) fn tag(&self, request: &mut Request<Body>, call: &Call) {
        if self.tags.is_empty() {
            return;
        }
        let Some(principal) = request.extensions_mut().get_mut::<Principal>() else { return };
        let named = call.tags();
        let all = principal.tags.iter().map(|tag| &**tag).chain(named.iter().map(|tag| &**tag));
        let all: BTreeSet<&str> = all.collect();
        let allowances =
            all.into_iter().filter_map(|tag| Some((Scope::new(ScopeKind::Tag, tag), self.tags.get(tag)?)));
        let (mut budgets, mut rates) = (Vec::new(), Vec::new());
        for (scope, allowance) in allowances {
            rates.extend(limits(&scope, &allowance.rates));
            budgets.extend(tag_budget(scope, allowance));
        }
        principal.budgets = principal.budgets.iter().cloned().chain(budgets).collect();
        principal.limits = principal.limits.iter().cloned().chain(rates).collect();
    }

    /// Puts what goes to a provider within the guards: those of a call around the route, those of a deployment within. A refusal by these
    /// is an attempt's, and never reaches the provider.
    pub(crate) fn layer<S>(&self, route: &RouteLayer, inner: Limited<S>, request: Limits) -> Guarded<S> {
        let Self { calls, cache, budget, counter, .. } = self;
        let routed = route.clone().limits(request).counter(counter.clone()).layer(inner);
        let spent = budget.clone().limits(request).layer(routed);
        // What is answered again is counted as a call, and costs nothing.
        let answered = match cache {
            Some(cache) => {
                let spent = MapRequest::new(spent, nobodys as fn(Request<Body>) -> _);
                Either::Left(cache.clone().limits(request).layer(spent))
            }
            None => Either::Right(spent),
        };
        calls.clone().request_limits(request).layer(answered)
    }

    /// As [`Guards::layer`], for shadows: what callers may do at once and in a minute is theirs alone.
    pub(crate) fn layer_shadows<S>(
        &self,
        route: &RouteLayer,
        inner: Limited<S>,
        request: Limits,
    ) -> Guarded<S> {
        let Self { budget, counter, .. } = self;
        let routed = route.clone().limits(request).counter(counter.clone()).layer(inner);
        let limits = LimitLayer::new().counter(counter.clone()).request_limits(request);
        limits.layer(Either::Right(budget.clone().limits(request).layer(routed)))
    }

    /// Puts what goes to a provider within the limits of its deployment.
    pub(crate) fn attempts<S>(&self, inner: S, request: Limits) -> Limited<S> {
        self.attempts.clone().request_limits(request).layer(inner)
    }

    /// Does something that no caller waits for, and for which a stop does.
    pub(crate) fn behind(&self) -> impl Fn(Mirror) + Send + Sync + use<> {
        let drained = Drained { bound: None, ..self.drained.clone() };
        move |mirror| drained.run(mirror)
    }

    /// Makes a call, which ends with its caller, or without where policy says so: what it costs is known at its end only.
    pub(crate) async fn run<S>(&self, stack: S, mut request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        if !self.drains {
            let Ok(response) = stack.oneshot(request).await;
            return response;
        }
        let left = Left::default();
        request.extensions_mut().insert(left.clone());
        let call = Some(Box::pin(stack.oneshot(request)));
        let Ok(response) = Outliving { call, left: left.clone(), drained: self.drained.clone() }.await;
        // Behind the head of a stream, too, there may be attempts to come.
        response.map(|body| if body.as_bytes().is_some() { body } else { body.guarded(Leaves(left)) })
    }

    /// Waits until nothing is read any more whose caller has left.
    pub(crate) fn finished(&self) -> impl Future<Output = ()> + Send + use<> {
        let places = Arc::clone(&self.drained.places);
        async move {
            // It is never closed.
            let _all = places.acquire_many(u32::try_from(MAX_DRAINED).unwrap_or(u32::MAX)).await;
        }
    }
}

/// A request of which the one who made it is not the one who waits: that they have left says nothing of others who share its answer.
fn nobodys(mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().remove::<Left>();
    request
}

fn budget(config: &Config, catalog: Catalog, ledger: Ledger, drained: &Drained) -> BudgetLayer {
    let spending = &config.spending;
    let Spending { end_users, refusal, uncapped, uncapped_streams, unpriced, on_disconnect, .. } = spending;
    let mut layer = BudgetLayer::new(ledger, catalog)
        .refusal_status(*refusal)
        .uncapped(*uncapped)
        .uncapped_streams(*uncapped_streams)
        .unpriced(*unpriced)
        .on_disconnect(match on_disconnect {
            OnDisconnect::Cancel => Disconnect::Cancel,
            OnDisconnect::Drain(_) => drained.disconnect(),
        })
        .report();
    if spending.cost_in_streams {
        layer = layer.tell_cost();
    }
    if let Some(cap) = end_users {
        layer = layer.cap(ScopeKind::EndUser, *cap, Window::Lifetime);
    }
    let of_all = spending.budget.iter().map(|budget| (Scope::gateway(), budget));
    let of_providers = spending
        .providers
        .iter()
        .map(|(provider, budget)| (Scope::new(ScopeKind::Provider, provider.as_str()), budget));
    let of_deployments = config.deployments.iter().filter_map(|deployment| {
        Some((Scope::new(ScopeKind::Deployment, deployment.id.as_str()), deployment.budget.as_ref()?))
    });
    // A refusal by the budget of a deployment, or of its provider, is an attempt's.
    let all = of_all.chain(of_providers).chain(of_deployments);
    all.fold(layer, |layer, (scope, (cap, window))| layer.budget(Budget::new(scope, *cap, window.clone())))
}

fn attempts(config: &Config) -> LimitLayer {
    let limited = config.deployments.iter().filter(|deployment| !deployment.rates.is_empty());
    let by_id: HashMap<String, Arc<[Limit]>> = limited
        .map(|deployment| {
            let scope = Scope::new(ScopeKind::Deployment, deployment.id.as_str());
            (deployment.id.clone(), limits(&scope, &deployment.rates).into())
        })
        .collect();
    let none: Arc<[Limit]> = Arc::new([]);
    // Where a deployment stands is the operator's: callers are told of their own limits.
    LimitLayer::per_attempt()
        .headers(false)
        .targets(move |target| by_id.get(target.deployment()).unwrap_or(&none).clone())
}

fn tag_budget(scope: Scope, TagAllowance { cap, soft, window, .. }: &TagAllowance) -> Option<Budget> {
    let budget =
        cap.or(*soft).map(|_| Budget::new(scope, cap.unwrap_or(Budget::UNCAPPED), window.clone()))?;
    Some(match soft {
        Some(amount) => budget.soft(*amount),
        None => budget,
    })
}

fn limits(scope: &Scope, rates: &Rates) -> Vec<Limit> {
    let Rates { requests, tokens, input_tokens, output_tokens, parallel } = *rates;
    let a_minute = [
        (Measure::Requests, requests),
        (Measure::Tokens, tokens),
        (Measure::InputTokens, input_tokens),
        (Measure::OutputTokens, output_tokens),
    ];
    let a_minute = a_minute.into_iter().filter_map(|(measure, most)| {
        Some(Limit::new(scope.clone(), measure, most?, Duration::from_secs(60)))
    });
    a_minute.chain(parallel.map(|most| Limit::concurrency(scope.clone(), most))).collect()
}

// ===== impl Drained =====

impl Drained {
    fn disconnect(&self) -> Disconnect {
        let this = self.clone();
        Disconnect::drain(move |rest| this.run(rest))
    }

    /// Polls to its end, or to its bound, what has lost its caller; drops it where there is no place for it.
    fn run(&self, rest: impl Future<Output: Send> + Send + 'static) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let (Ok(place), Ok(runtime)) = (place, Handle::try_current()) else { return };
        let bound = self.bound;
        // Owned by its place, for which a stop waits.
        runtime.spawn(async move {
            match bound {
                Some(bound) => drop(timeout(bound, rest).await),
                None => drop(rest.await),
            }
            drop(place);
        });
    }
}

// ===== impl Outliving =====

impl<F: Future<Output: Send> + Send + 'static> Future for Outliving<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let call = self.call.as_mut().expect("invariant: polled until it is ready");
        let output = ready!(call.as_mut().poll(cx));
        self.call = None;
        Poll::Ready(output)
    }
}

impl<F: Future + Send + 'static> Drop for Outliving<F> {
    fn drop(&mut self) {
        // What has panicked is not polled again.
        if let Some(call) = self.call.take().filter(|_| !thread::panicking()) {
            // Whatever comes of the attempt that runs, nobody waits for another one.
            self.left.say();
            self.drained.run(async move { drop(call.await) });
        }
    }
}

// ===== impl Leaves =====

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.say();
    }
}

/// The id of the master key in limits, budgets and logs.
pub(crate) const MASTER: &str = "master";
/// Streams at a time that are read on without a caller.
const MAX_DRAINED: usize = 1000;
