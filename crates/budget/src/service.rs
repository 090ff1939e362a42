//! The service: a call, told from top to bottom.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, Budget, Call, Patience, Plan, Rejection, Target, Usd};
use ziggurat_meter::Reading;

use crate::{
    CLAMPED, Charge, Claim, Disconnect, Held, HoldId, Refused, Reply,
    applies::Applying,
    drain::DrainedBody,
    estimate::{Estimate, Output},
    layer::Config,
    refusal::rejection,
    store::Balance,
    tab::{Of, Part, Parts, Tab},
};

/// The service of [`BudgetLayer`](crate::BudgetLayer).
#[derive(Clone)]
pub struct Budgeted<S> {
    inner: S,
    config: Arc<Config>,
}

/// Response extension: what a call cost and where its budgets stand, attached on request
/// ([`BudgetLayer::report`](crate::BudgetLayer::report)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Spending {
    /// What the answer cost, where that is known when its headers go out: not for a stream.
    pub charge: Option<Charge>,
    /// The budgets that apply, the most specific first, and what they stood at when the call was let through: with what is set
    /// aside for it.
    pub budgets: Arc<[(Budget, Balance)]>,
}

// ===== impl Budgeted =====

impl<S> Budgeted<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Budgeted<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: 'static,
    ReqBody: HttpBody<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The ready service goes into the future; a clone that is not ready stays.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        Box::pin(run(inner, request.map(Body::new), Arc::clone(&self.config)))
    }
}

impl<S: fmt::Debug> fmt::Debug for Budgeted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgeted").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[expect(clippy::manual_async_fn, reason = "a block keeps what it captures once, an `async fn` twice")]
fn run<S, ResBody>(
    mut inner: S,
    mut request: Request<Body>,
    config: Arc<Config>,
) -> impl Future<Output = Result<Response<Body>, S::Error>>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    async move {
        let named = match config.named_scopes(&mut request) {
            Ok(named) => named,
            Err(rejection) => {
                // A service that was ready and is not called frees what it reserved.
                drop(inner);
                return Ok(rejection.into_response(Call::dialect_of_request(&request)));
            }
        };
        let call = match Call::attach(&mut request, &config.request).await {
            Ok(call) => call,
            Err(rejection) => return Ok(rejection.into_response(Call::dialect_of_request(&request))),
        };
        if !call.operation().is_billed() {
            return Ok(inner.call(request).await?.map(Body::new));
        }
        let extensions = request.extensions();
        let way = (extensions.get(), extensions.get());
        let applying = config.applying(named.as_deref(), extensions.get(), way, &call);
        let applying = match applying {
            Ok(applying) => applying,
            Err(rejection) => return Ok(rejection.into_response(call.dialect())),
        };
        if applying.is_empty(&config) && !config.report {
            return Ok(inner.call(request).await?.map(Body::new));
        }
        let reported = config.report.then(|| applying.of_call().cloned().collect::<Vec<_>>());
        let (opening, mut applying) = match Opening::new(&config, &mut request, &call, applying) {
            Ok(opening) => opening,
            Err(rejection) => return Ok(rejection.into_response(call.dialect())),
        };
        let mut reserved = Reserved::default();
        while let Some((of, reply)) = opening.next_claim(&config, &mut applying) {
            match reply.wait().await {
                Ok(held) => reserved.0.push(Part::new(of, held)),
                Err(refused) => return Ok(rejection(&refused, config.refusal).into_response(call.dialect())),
            }
        }
        let (tab, clamped) = match opening.open(reserved, &config, &mut request, &call) {
            Ok(opened) => opened,
            Err(rejection) => return Ok(rejection.into_response(call.dialect())),
        };
        let budgets = reported.map(|budgets| config.balances(&budgets));
        let subscriber = Arc::clone(&tab) as _;
        let reading = Reading::from(config.max_response).ask_usage(config.ask_usage && call.stream());
        let mut response = ziggurat_meter::run(&mut inner, request, subscriber, reading).await?;
        if let Some(cap) = clamped {
            response.headers_mut().insert(CLAMPED, HeaderValue::from(cap));
        }
        let streamed = call.stream() && response.status().is_success();
        if let Some(budgets) = budgets {
            let charge = if streamed { None } else { tab.known_charge() };
            response.extensions_mut().insert(Spending { charge, budgets });
        }
        Ok(match &config.disconnect {
            Disconnect::Drain(drive) if streamed => {
                response.map(|body| Body::new(DrainedBody::new(body, Arc::clone(drive))))
            }
            _ => response,
        })
    }
}

/// A call for which something is being set aside.
struct Opening {
    estimate: Estimate,
    id: HoldId,
    /// How long stores may still be waited for.
    patience: Option<Patience>,
    /// Whether a budget applies.
    bounded: bool,
    /// The budgets that depend on the target, where that is not known before.
    by_target: Option<Vec<Budget>>,
    plan: Option<Plan>,
}

// ===== impl Opening =====

impl Opening {
    /// Finds out what a call may cost. Gives back the budgets for which that is to be set aside.
    fn new(
        config: &Config,
        request: &mut Request<Body>,
        call: &Call,
        mut applying: Applying,
    ) -> Result<(Self, Applying), Rejection> {
        let bounded = applying.is_bounded(config);
        let mut by_target = Some(mem::take(&mut applying.targets));
        let extensions = request.extensions();
        let plan = extensions.get::<Plan>().cloned();
        if let (None, Some(target)) = (&plan, extensions.get::<Target>()) {
            // There is one to go to, whether an inner layer says so or not: what depends on it is the call's.
            let own = by_target.take().unwrap_or_default();
            applying.call.extend(config.by_target(&own, target));
        }
        let estimate = Estimate::new(config, request, call, bounded)?;
        let id = HoldId::unique(config.ledger.now());
        let patience = config.ledger.may_wait().then(|| Patience::of(request.extensions_mut()));
        Ok((Self { estimate, id, patience, bounded, by_target, plan }, applying))
    }

    /// Sets aside what a call may cost, the most specific budgets first: gives the ledger's answer for some, and none once there is
    /// nothing more to set aside. Nothing is set aside for what is free of charge; where that may turn out otherwise, a hold of zero is
    /// made: it grows before the attempt, or is refused, and is posted to.
    fn next_claim(
        &self,
        config: &Config,
        applying: &mut Applying,
    ) -> Option<(Of, Reply<Result<Held, Refused>>)> {
        let first = |of: &Of| self.estimate.first_claim(&|target| of.counts(self.plan.as_ref(), target));
        let counts = |most: Usd| !most.is_zero() || self.estimate.is_open();
        let patience = self.patience.clone();
        while let Some(budget) = applying.named.pop() {
            let of = Of::Named(budget.account.clone());
            let (least, most) = first(&of);
            if counts(most) {
                let id = HoldId::unique(config.ledger.now());
                let claim = Claim::new(id, self.id, [budget].into(), least, most).patience(patience);
                return Some((of, config.ledger.reserve(claim)));
            }
        }
        let budgets = mem::take(&mut applying.call);
        if budgets.is_empty() {
            return None;
        }
        let claim = first(&Of::Call);
        counts(claim.1).then(|| (Of::Call, config.ledger.reserve_call(self.id, budgets, claim, patience)))
    }

    /// Opens the tab, and clamps the output where policy says so: then gives the cap in tokens.
    fn open(
        self,
        mut reserved: Reserved,
        config: &Arc<Config>,
        request: &mut Request<Body>,
        call: &Call,
    ) -> Result<(Arc<Tab>, Option<u64>), Rejection> {
        let Self { mut estimate, id, patience, bounded, by_target, plan } = self;
        let clamped = match estimate.output {
            Output::Clamp(most) => {
                let affordable = |part: &Part| {
                    let of = |target: Option<&Target>| part.of.counts(plan.as_ref(), target);
                    estimate.affordable(&of, part.held.amount, most)
                };
                let cap = reserved.0.iter().map(affordable).min().unwrap_or(most);
                estimate.output = Output::AtMost(cap);
                bounded.then_some(cap)
            }
            _ => None,
        };
        if let Some(cap) = clamped {
            clamp(request, call, cap)?;
        }
        let parts = mem::take(&mut reserved.0);
        let depending = (by_target, plan);
        Ok((Tab::new(Arc::clone(config), estimate, (id, patience), parts, bounded, depending), clamped))
    }
}

/// What is set aside for a call that is not made yet: dropped, it is free again.
#[derive(Default)]
struct Reserved(Parts);

impl Drop for Reserved {
    fn drop(&mut self) {
        for part in mem::take(&mut self.0) {
            part.held.hold.settle(Charge::new(Usd::ZERO));
        }
    }
}

/// Writes a cap of the output into the request, under the name that its API has for it.
fn clamp(request: &mut Request<Body>, call: &Call, cap: u64) -> Result<(), Rejection> {
    let field = call.output_cap_field();
    let bytes = call.edit().set(field, cap.to_string().into_bytes()).finish();
    Call::replace(request, bytes).map(drop)
}

// ===== impl Config =====

impl Config {
    /// What budgets stand at, where that is known.
    fn balances(&self, budgets: &[Budget]) -> Arc<[(Budget, Balance)]> {
        let known = |budget: &Budget| Some((budget.clone(), self.ledger.balance(budget)?));
        budgets.iter().filter_map(known).collect()
    }
}
