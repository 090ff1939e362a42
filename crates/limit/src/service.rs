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
use http::{Extensions, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, Call, Dialect, Measure, Meter, Patience, Rejection, Scope};

use crate::{
    Ask, Quota, Refused, Reply, Taken, Ticket, Used,
    estimate::{Answered, Estimate},
    held::{Held, InBody},
    layer::Config,
    refusal,
    scopes::Asks,
};

/// The store's answer.
type Answer = Reply<Result<Taken, Refused>>;

/// The service of [`LimitLayer`](crate::LimitLayer).
#[derive(Clone)]
pub struct Limited<S> {
    inner: S,
    config: Arc<Config>,
}

// ===== impl Limited =====

impl<S> Limited<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Error: 'static,
    S::Future: Send,
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

impl<S: fmt::Debug> fmt::Debug for Limited<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("inner", &self.inner).finish_non_exhaustive()
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
        let named = config.scopes_of(&mut request);
        let call = match Call::attach(&mut request, &config.request).await {
            Ok(call) => call,
            Err(rejection) => return Ok(rejection.into_response(Call::dialect_of_request(&request))),
        };
        let Some((estimate, reply)) = config.take(request.extensions_mut(), &call, &named) else {
            return Ok(inner.call(request).await?.map(Body::new));
        };
        let Taken { quota, ticket, .. } = match reply.wait().await {
            Ok(taken) => taken,
            Err(refused) => return Ok(config.refuse(&refused, call.dialect())),
        };
        let mut response = match estimate {
            Some(estimate) => {
                // What it came to is known at its end, from its meter.
                let corrected = Corrected::new(&request, ticket, estimate.input, &config);
                let held = Arc::clone(&corrected.held) as _;
                let answer = ziggurat_meter::run(&mut inner, request, held, config.max_response).await;
                corrected.answered(answer?, call.stream())
            }
            None => {
                // Nothing of its answer needs to be known but its end.
                let counted = Counted::new(&request, ticket, &quota);
                counted.answered(inner.call(request).await?.map(Body::new), &config)
            }
        };
        config.tell(&quota, &mut response);
        Ok(response)
    }
}

/// A call whose tokens are limited.
struct Corrected {
    held: Arc<Held>,
    /// Where an outer layer ends the call, this one may be an attempt of several: its own end is that of its body.
    in_body: Option<InBody>,
}

/// A call whose tokens are not limited.
struct Counted {
    ticket: Box<dyn Ticket>,
    meter: Option<Meter>,
    /// Whether it counts among the calls that run.
    runs: bool,
}

// ===== impl Corrected =====

impl Corrected {
    fn new(request: &Request<Body>, ticket: Box<dyn Ticket>, input: u64, config: &Config) -> Self {
        let target = request.extensions().get().filter(|_| config.per_attempt).cloned();
        let held = Arc::new(Held::new(ticket, input, target, config.clock.clone()));
        let in_body = request.extensions().get::<Meter>().map(|meter| InBody::new(&held, meter));
        Self { held, in_body }
    }

    fn answered(self, response: Response<Body>, stream: bool) -> Response<Body> {
        if response.extensions().get::<Rejection>().is_some() {
            self.held.answered(Answered::Refused);
        } else if response.status().is_success() && !stream {
            self.held.answered(Answered::Whole);
        }
        match self.in_body {
            Some(in_body) => response.map(|body| body.guarded(in_body)),
            None => response,
        }
    }
}

// ===== impl Counted =====

impl Counted {
    fn new(request: &Request<Body>, ticket: Box<dyn Ticket>, quota: &Quota) -> Self {
        let meter = request.extensions().get::<Meter>().cloned();
        Self { ticket, meter, runs: quota.concurrency.is_some() }
    }

    fn answered(self, response: Response<Body>, config: &Config) -> Response<Body> {
        let Self { ticket, meter, runs } = self;
        let refused = response.extensions().get::<Rejection>().is_some();
        if refused && !meter.is_some_and(|meter| meter.attempts().iter().any(|attempt| attempt.sent)) {
            ticket.settle(Used::new(0, None), config.clock.now());
            return response;
        }
        if runs { response.map(|body| body.guarded(ticket)) } else { response }
    }
}

// ===== impl Config =====

impl Config {
    /// Counts a call under its limits, if it is under any. The asks are not kept: they need no memory of their own.
    fn take(
        &self,
        extensions: &mut Extensions,
        call: &Call,
        named: &[Scope],
    ) -> Option<(Option<Estimate>, Answer)> {
        let mut asks = Asks::new();
        self.asks(extensions, call, named, &mut asks);
        if asks.is_empty() {
            return None;
        }
        let estimate = self.estimate(&mut asks, call);
        let now = self.clock.now();
        let reply = match self.store.may_wait() {
            true => self.store.take_within(&asks, now, &Patience::of(extensions)),
            false => self.store.take(&asks, now),
        };
        Some((estimate, reply))
    }

    /// Puts the amounts into the asks; gives what they were made of where tokens are among them.
    fn estimate(&self, asks: &mut [Ask], call: &Call) -> Option<Estimate> {
        let tokens = |ask: &Ask| !matches!(ask.limit.measure, Measure::Requests | Measure::Concurrency);
        if !asks.iter().any(tokens) {
            asks.iter_mut().for_each(|ask| ask.amount = 1);
            return None;
        }
        let estimate = Estimate::of(call, &*self.counter, self.output_guess);
        for ask in asks {
            ask.amount = estimate.amount(&ask.limit);
        }
        Some(estimate)
    }

    fn refuse(&self, refused: &Refused, dialect: Dialect) -> Response<Body> {
        let mut response = refusal::rejection(refused).into_response(dialect);
        if let Refused::Exceeded(exceeded) = refused {
            self.tell(&exceeded.quota, &mut response);
        }
        response
    }

    fn tell(&self, quota: &Quota, response: &mut Response<Body>) {
        if self.headers {
            quota.write_into(response.headers_mut());
        }
        response.extensions_mut().insert(*quota);
    }
}
