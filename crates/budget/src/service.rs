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
    CLAMPED, Charge, Disconnect, Held, HoldId, Refused, Reply,
    applies::Applying,
    drain::DrainedBody,
    estimate::{Estimate, Output},
    layer::Config,
    refusal::rejection,
    store::Balance,
    tab::Tab,
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
        let applying = config.applying(named.as_deref(), extensions.get(), extensions.get(), &call);
        let applying = match applying {
            Ok(applying) => applying,
            Err(rejection) => return Ok(rejection.into_response(call.dialect())),
        };
        if applying.is_empty(&config) && !config.report {
            return Ok(inner.call(request).await?.map(Body::new));
        }
        let reported = config.report.then(|| applying.call.to_vec());
        let (opening, reply) = match Opening::new(&config, &mut request, &call, applying) {
            Ok(opening) => opening,
            Err(rejection) => return Ok(rejection.into_response(call.dialect())),
        };
        let held = match reply {
            Some(reply) => match reply.wait().await {
                Ok(held) => Some(held),
                Err(refused) => return Ok(rejection(&refused, config.refusal).into_response(call.dialect())),
            },
            None => None,
        };
        let (tab, clamped) = match opening.open(held, &config, &mut request, &call) {
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
}

// ===== impl Opening =====

impl Opening {
    /// Sets aside what a call may cost: gives the ledger's answer, or none where there is nothing to set aside.
    #[expect(clippy::type_complexity, reason = "a pair and what may go wrong, taken apart at once")]
    fn new(
        config: &Config,
        request: &mut Request<Body>,
        call: &Call,
        mut applying: Applying,
    ) -> Result<(Self, Option<Reply<Result<Held, Refused>>>), Rejection> {
        let bounded = applying.is_bounded(config);
        let mut by_target = Some(mem::take(&mut applying.targets));
        let extensions = request.extensions();
        if let (None, Some(target)) = (extensions.get::<Plan>(), extensions.get::<Target>()) {
            // There is one to go to, whether an inner layer says so or not: what depends on it is the call's.
            let own = by_target.take().unwrap_or_default();
            applying.call.extend(config.by_target(&own, target));
        }
        let estimate = Estimate::new(config, request, call, bounded)?;
        let id = HoldId::unique(config.ledger.now());
        let (least, most) = estimate.first_claim();
        let patience = config.ledger.may_wait().then(|| Patience::of(request.extensions_mut()));
        let reply = match applying.call.is_empty() || most.is_zero() {
            true => None,
            false => {
                let patience = patience.clone();
                Some(config.ledger.reserve_call(id, applying.call, (least, most), patience))
            }
        };
        Ok((Self { estimate, id, patience, bounded, by_target }, reply))
    }

    /// Opens the tab, and clamps the output where policy says so: then gives the cap in tokens.
    fn open(
        self,
        held: Option<Held>,
        config: &Arc<Config>,
        request: &mut Request<Body>,
        call: &Call,
    ) -> Result<(Arc<Tab>, Option<u64>), Rejection> {
        let Self { mut estimate, id, patience, bounded, by_target } = self;
        let clamped = match estimate.output {
            Output::Clamp(most) => {
                let cap = held.as_ref().map_or(most, |held| estimate.affordable(held.amount, most));
                estimate.output = Output::AtMost(cap);
                bounded.then_some(cap)
            }
            _ => None,
        };
        if let Some(cap) = clamped
            && let Err(rejection) = clamp(request, call, cap)
        {
            release(held);
            return Err(rejection);
        }
        Ok((Tab::new(Arc::clone(config), estimate, (id, patience), held, bounded, by_target), clamped))
    }
}

/// Writes a cap of the output into the request, under the name that its API has for it.
fn clamp(request: &mut Request<Body>, call: &Call, cap: u64) -> Result<(), Rejection> {
    let field = call.output_cap_field();
    let bytes = call.edit().set(field, cap.to_string().into_bytes()).finish();
    Call::replace(request, bytes).map(drop)
}

fn release(held: Option<Held>) {
    if let Some(held) = held {
        held.hold.settle(Charge::new(Usd::ZERO));
    }
}

// ===== impl Config =====

impl Config {
    /// What budgets stand at, where that is known.
    fn balances(&self, budgets: &[Budget]) -> Arc<[(Budget, Balance)]> {
        let known = |budget: &Budget| Some((budget.clone(), self.ledger.balance(budget)?));
        budgets.iter().filter_map(known).collect()
    }
}
