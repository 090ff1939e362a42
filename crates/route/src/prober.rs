//! Probes: tiny requests that find out whether a deployment answers again.

use std::{
    collections::HashSet,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;
use ziggurat_core::{Body, BoxError, Cause, Clock, Dialect, Problem, Rejection, json::write_string};
use ziggurat_dialect::{decode_answer_error, decode_error, retry_after};

use crate::{
    Deployment, Event, Group, Permit, Routes, State,
    layer::{Report, random},
    moment::Moment,
    random::unit,
};

/// Asks deployments that cool down whether they answer again, so that no call has to try.
///
/// Each round asks those that cool down, or have cooled down, for one token; one that answers may be called again at once, and one that
/// fails is as a call that failed. One whose provider has said when to come again is not asked before. A deployment of several groups is asked as one of the first of them; those of wildcards are not asked.
///
/// # Example
/// ```no_run
/// # use ziggurat_core::{Body, BoxError};
/// # async fn example<S>(routes: ziggurat_route::Routes, upstream: S)
/// # where
/// #     S: tower_service::Service<http::Request<Body>, Response = http::Response<Body>, Error = BoxError>,
/// #     S: Clone + Send + Sync + 'static,
/// #     S::Future: Send,
/// # {
/// // The service that the attempts of calls go to.
/// let prober = ziggurat_route::Prober::new(routes, upstream);
/// tokio::spawn(async move { prober.run().await });
/// # }
/// ```
///
/// # Position
/// Its service stands where that of [`Route`](crate::Route) does: it reads the [`Target`](ziggurat_core::Target) extension. Outside of it
/// there is nobody: no budget counts what a probe costs, unless the requests that [`Prober::request`] makes bring what that needs.
///
/// # Limits
/// So many probes at once as [`Prober::most`] says, each with a deadline; a whole answer of a megabyte. Whoever is refused by a layer inside
/// was not asked, and nothing is known of it.
#[derive(Clone)]
#[must_use = "it probes while it is run"]
pub struct Prober<S> {
    routes: Routes,
    inner: S,
    every: Duration,
    all: bool,
    most: usize,
    timeout: Duration,
    request: Arc<MakeRequest>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    report: Arc<Report>,
    clock: Clock,
}

type MakeRequest = dyn Fn(&Group, &Deployment) -> Option<Request<Body>> + Send + Sync;

/// What a probe has found out.
enum Found {
    Answers,
    /// Nobody was asked.
    Nothing,
    Fails(Problem),
}

// ===== impl Prober =====

impl<S> Prober<S> {
    /// Probes the deployments of these routes through `inner`: every 10 seconds, 4 at once, each for 10 seconds.
    pub fn new(routes: Routes, inner: S) -> Self {
        Self {
            routes,
            inner,
            every: Duration::from_secs(10),
            all: false,
            most: 4,
            timeout: Duration::from_secs(10),
            request: Arc::new(|group, deployment| Some(ping(group, deployment))),
            random: random(),
            report: Arc::new(|_| {}),
            clock: Clock::system(),
        }
    }

    /// Sets the mean time between two rounds: each waits for half of it to one and a half, so that nodes do not probe together.
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Probes those that are well, too: they cool down without a call that failed.
    pub fn all(mut self, all: bool) -> Self {
        self.all = all;
        self
    }

    /// Sets how many probes run at once: one at least.
    pub fn most(mut self, probes: usize) -> Self {
        self.most = probes.max(1);
        self
    }

    /// Sets how long an answer is waited for, to its end.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Sets what a deployment is asked; `None` leaves it alone. Unless set, a chat of one word to the group, with an answer of one token.
    pub fn request(
        mut self,
        make: impl Fn(&Group, &Deployment) -> Option<Request<Body>> + Send + Sync + 'static,
    ) -> Self {
        self.request = Arc::new(make);
        self
    }

    /// Sets where random choices come from, for tests that are to repeat.
    pub fn random(mut self, draw: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(draw);
        self
    }

    /// Tells what probes find out ([`Event::Recovered`], [`Event::Failed`]): must not block.
    pub fn report(mut self, report: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
        self
    }

    /// Sets the clock that dates in a provider's hints are read by.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Those that are to be probed, each once.
    fn due(&self) -> Vec<(Arc<Group>, usize)> {
        let now = Moment::of(Instant::now());
        let mut seen = HashSet::new();
        let mut due = Vec::new();
        for group in self.routes.groups() {
            for (index, deployment) in group.deployments().iter().enumerate() {
                let health = &deployment.live().health;
                let is_due = match health.state(now) {
                    // Who says itself when to come again is not asked before.
                    State::Cooling(_) => !health.is_hinted(now),
                    State::Cooled => true,
                    State::Healthy => self.all,
                    // A call finds out.
                    State::Trial => false,
                };
                if is_due && deployment.settings().probed && seen.insert(Arc::as_ptr(deployment.live())) {
                    due.push((Arc::clone(group), index));
                }
            }
        }
        due
    }
}

impl<S, ResBody> Prober<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + Sync,
    S::Future: Send,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    /// Makes one round after the other, with a wait ahead of each. Never ends: the host spawns it, and drops it when it stops.
    pub async fn run(&self) {
        loop {
            sleep(self.every.mul_f64(0.5 + unit((self.random)()))).await;
            self.round().await;
        }
    }

    /// Makes one round: returns when all that were to be probed have answered, or failed to.
    pub async fn round(&self) {
        let mut due = self.due().into_iter();
        let mut running: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
        poll_fn(|cx| {
            loop {
                let free = self.most - running.len();
                running.extend(
                    due.by_ref().take(free).map(|(group, index)| Box::pin(self.probe(group, index)) as _),
                );
                let before = running.len();
                running.retain_mut(|probe| probe.as_mut().poll(cx).is_pending());
                match running.len() {
                    0 if due.len() == 0 => return Poll::Ready(()),
                    after if after == before => return Poll::Pending,
                    _ => {}
                }
            }
        })
        .await;
    }

    async fn probe(&self, group: Arc<Group>, index: usize) {
        let deployment = &group.deployments()[index];
        let Some(mut request) = (self.request)(&group, deployment) else { return };
        let start = Moment::of(Instant::now());
        let was_well = deployment.live().health.state(start) == State::Healthy;
        let Some(mut permit) = Permit::new(&group.members[index].hold, true, 0, start) else { return };
        request.extensions_mut().insert(deployment.target().clone());
        let asked = timeout(self.timeout, ask(self.inner.clone(), request, &self.clock)).await;
        let found = asked.unwrap_or_else(|_| {
            Found::Fails(Problem::new(Cause::Timeout, format!("no answer within {:?}", self.timeout)))
        });
        let (group, deployment) = (group.name(), deployment.id());
        match found {
            Found::Nothing => {}
            Found::Answers => {
                // It tells nothing of how fast answers are, or how long.
                permit.answered(Instant::now());
                if !was_well {
                    (self.report)(&Event::Recovered { group, deployment });
                }
            }
            Found::Fails(problem) => {
                let cause = problem.cause;
                let cools = permit.failed(cause, problem.retry_after, Instant::now());
                (self.report)(&Event::Failed { group, deployment, cause, cools });
            }
        }
    }
}

impl<S> fmt::Debug for Prober<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("routes", &self.routes)
            .field("every", &self.every)
            .field("all", &self.all)
            .finish_non_exhaustive()
    }
}

/// The least that both dialects take.
fn ping(group: &Group, deployment: &Deployment) -> Request<Body> {
    let mut body = br#"{"model":"#.to_vec();
    write_string(&mut body, group.name());
    body.extend_from_slice(br#","max_tokens":1,"messages":[{"role":"user","content":"ping"}]}"#);
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(match deployment.target().dialect() {
        Dialect::Anthropic => "/v1/messages",
        _ => "/v1/chat/completions",
    });
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(http::header::CONTENT_TYPE, json);
    request
}

async fn ask<S, ResBody>(mut inner: S, request: Request<Body>, clock: &Clock) -> Found
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let answered = async {
        poll_fn(|cx| inner.poll_ready(cx)).await?;
        inner.call(request).await
    };
    let response = match answered.await {
        Ok(response) => response.map(Body::new),
        Err(error) => return of_error(&error.into()),
    };
    if response.extensions().get::<Rejection>().is_some() {
        return Found::Nothing;
    }
    let (head, body) = response.into_parts();
    let bytes = match body.collect_within(MAX_ANSWER).await {
        Ok(bytes) => bytes,
        Err(error) => return of_error(&error.into()),
    };
    if head.status.is_success() {
        return decode_answer_error(&bytes).map_or(Found::Answers, Found::Fails);
    }
    let mut problem = decode_error(Some(head.status), &bytes);
    if problem.cause.is_transient() {
        problem.retry_after = retry_after(&head.headers, &bytes, clock.now());
    }
    Found::Fails(problem)
}

fn of_error(error: &BoxError) -> Found {
    match Rejection::find_in(error.as_ref()) {
        Some(_) => Found::Nothing,
        None => Found::Fails(Problem::of_error(error.as_ref())),
    }
}

/// Longest answer to a probe that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
