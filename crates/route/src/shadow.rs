//! Mirrors calls to another model group, beside what their callers get.

mod seen;
mod tee;

use std::{
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_core::{
    Body, BoxError, Call, Cause, Dialect, Field, Limits, Operation, Principal, Problem, Rejection,
};

pub use self::seen::{Compare, End, Mirrored, Seen};
use self::{seen::Record, tee::TeedBody};
use crate::{layer::random, random::unit};

/// Mirrors a share of calls to another model group, in the background: the caller's answer and its latency stay as they are.
///
/// # Example
/// ```
/// use ziggurat_core::Principal;
/// use ziggurat_route::{Mirrored, ShadowLayer};
///
/// // What the shadow costs is this key's, whoever called.
/// let mut principal = Principal::default();
/// principal.key = Some("shadow".into());
/// let compare = |mirrored: Mirrored| {
///     println!("{:?} and {:?}", mirrored.original.elapsed, mirrored.shadow.elapsed);
/// };
/// let shadow = ShadowLayer::new("claude-haiku", principal, compare, |mirror| {
///     tokio::spawn(mirror);
/// })
/// .share(0.01)
/// .when(|call| call.model() == Some("gpt-4o-mini"));
/// assert_eq!(shadow.counts(), Default::default());
/// ```
///
/// # Position
/// Inside auth, which says who calls; outside [`PlanLayer`](crate::PlanLayer), limit, redact, cache, budget and route, which the mirrored
/// call passes as one of its own: by another model's name, and by the shadow's own [`Principal`]. Of the original's extensions it has what
/// its path means ([`Operation`], [`Dialect`]) and nothing else, and of its body no `user` and no `metadata`: no account of the caller's is
/// charged for it, and no tag of the caller's routes it. [`Route`](crate::Route) makes no retry, hedge or continuation of it, and its failures
/// neither cool a deployment down nor spend a retry budget. Several of these layers may stand around each other: no shadow is mirrored.
///
/// # Streaming
/// Both answers pass as they come. The caller's is copied on its way, up to a bound; the shadow's is read by the [`Mirror`] that the host
/// drives, and a stream is mirrored as a stream. The comparison is made there too, once both have ended: nobody who called waits for it.
///
/// # Limits
/// A call is mirrored once its answer has begun: what a layer inside refuses, and what its caller left before, costs nothing more. As many
/// mirrors as [`ShadowLayer::most`] says run at once, of twice [`ShadowLayer::max_body`] and the request's bytes each; what comes
/// beyond that is not mirrored, and counted. Calls whose path names the model are not mirrored, nor are those without a JSON body.
#[derive(Clone)]
pub struct ShadowLayer {
    config: Config,
}

#[derive(Clone)]
struct Config {
    to: Arc<str>,
    principal: Principal,
    share: f64,
    when: Arc<dyn Fn(&Call) -> bool + Send + Sync>,
    left_out: Arc<[&'static str]>,
    request: Limits,
    max_body: usize,
    timeout: Duration,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    compare: Arc<dyn Compare>,
    spawn: Arc<dyn Fn(Mirror) + Send + Sync>,
    places: Arc<Semaphore>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    mirrored: AtomicU64,
    skipped: AtomicU64,
}

/// What a [`ShadowLayer`] has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowCounts {
    /// Calls that were mirrored.
    pub mirrored: u64,
    /// Calls that were not, because as many as may ran already.
    pub skipped: u64,
}

/// A mirrored call, which the host drives: asks the shadow, reads its answer, waits for the end of the caller's, and has them compared.
/// Dropped earlier, it leaves the shadow, and nothing is compared.
#[must_use = "it calls the shadow only while it is polled"]
pub struct Mirror(Pin<Box<dyn Future<Output = ()> + Send>>);

/// Request extension: what is asked is a shadow already, and has none of its own. It is not tried again, and where it fails nobody else is
/// worse off.
#[derive(Clone, Copy)]
pub(crate) struct IsShadow;

/// The service of [`ShadowLayer`].
#[derive(Clone)]
pub struct Shadow<S> {
    inner: S,
    config: Arc<Config>,
}

// ===== impl ShadowLayer =====

impl ShadowLayer {
    /// Mirrors calls to the model group `to`, as calls of `principal`; both answers go to `compare`, and `spawn` drives what there is to
    /// do in the background: `|mirror| { tokio::spawn(mirror); }`. All calls are mirrored unless [`ShadowLayer::share`] says otherwise.
    #[must_use]
    pub fn new(
        to: impl Into<Arc<str>>,
        principal: Principal,
        compare: impl Compare,
        spawn: impl Fn(Mirror) + Send + Sync + 'static,
    ) -> Self {
        let config = Config {
            to: to.into(),
            principal,
            share: 1.0,
            when: Arc::new(|_| true),
            left_out: ["user", "metadata"].into(),
            request: Limits::default(),
            max_body: MAX_BODY,
            timeout: TIMEOUT,
            random: random(),
            compare: Arc::new(compare),
            spawn: Arc::new(spawn),
            places: Arc::new(Semaphore::new(MOST)),
            tally: Arc::default(),
        };
        Self { config }
    }

    /// Sets the share of calls that are mirrored, from 0 to 1.
    #[must_use]
    pub fn share(mut self, share: f64) -> Self {
        self.config.share = share;
        self
    }

    /// Mirrors only calls of which `mirrors` says so; the share is one of these.
    #[must_use]
    pub fn when(mut self, mirrors: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        self.config.when = Arc::new(mirrors);
        self
    }

    /// Leaves these top-level fields out of what the shadow is asked, too: what a caller says there of its own way, such as other fallbacks,
    /// is not the shadow's.
    #[must_use]
    pub fn leave_out(mut self, fields: impl IntoIterator<Item = &'static str>) -> Self {
        self.config.left_out = self.config.left_out.iter().copied().chain(fields).collect();
        self
    }

    /// Sets how many mirrored calls run at once, from the caller's first byte to the comparison: 32 by default. What comes beyond that is
    /// not mirrored.
    #[must_use]
    pub fn most(mut self, mirrors: usize) -> Self {
        self.config.places = Arc::new(Semaphore::new(mirrors.min(Semaphore::MAX_PERMITS)));
        self
    }

    /// Sets how many bytes of each answer are kept for the comparison: 1 MiB by default. The shadow's is left there.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.config.max_body = bytes;
        self
    }

    /// Sets how long the shadow may take, to the end of its answer: 10 minutes by default.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.config.timeout = time;
        self
    }

    /// Sets the bounds for reading a request.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.request = limits;
        self
    }

    /// Sets where random choices come from, for tests that are to repeat.
    #[must_use]
    pub fn random(mut self, draw: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.config.random = Arc::new(draw);
        self
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> ShadowCounts {
        let Tally { mirrored, skipped } = &*self.config.tally;
        ShadowCounts { mirrored: mirrored.load(Ordering::Relaxed), skipped: skipped.load(Ordering::Relaxed) }
    }
}

impl<S> Layer<S> for ShadowLayer {
    type Service = Shadow<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Shadow { inner, config: Arc::new(self.config.clone()) }
    }
}

impl fmt::Debug for ShadowLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowLayer")
            .field("to", &self.config.to)
            .field("share", &self.config.share)
            .finish_non_exhaustive()
    }
}

// ===== impl Shadow =====

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Shadow<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
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
        // The ready service goes into the future; a clone that is not ready stays, and another one asks the shadow.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let request = request.map(Body::new);
        let is_shadow = request.extensions().get::<IsShadow>().is_some();
        let drawn = !is_shadow && unit((self.config.random)()) < self.config.share;
        if !drawn {
            return Box::pin(async move { Ok(inner.call(request).await?.map(Body::new)) });
        }
        Box::pin(run(inner, self.inner.clone(), request, Arc::clone(&self.config)))
    }
}

impl<S: fmt::Debug> fmt::Debug for Shadow<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadow").field("inner", &self.inner).finish_non_exhaustive()
    }
}

async fn run<S, ResBody>(
    mut inner: S,
    other: S,
    request: Request<Body>,
    config: Arc<Config>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let dialect = Call::dialect_of(&parts);
    let read = Call::read(Request::from_parts(parts, body), &config.request).await;
    let (request, call) = match read {
        Ok(read) => read,
        Err(rejection) => return Ok(rejection.into_response(dialect)),
    };
    let shadow = config.request_of(&request, &call);
    let model = call.model().unwrap_or_default().into();
    let mut record = Record::new(model, config.max_body, Instant::now());
    let response = inner.call(request).await?.map(Body::new);
    let is_refused = response.extensions().get::<Rejection>().is_some();
    let Some(shadow) = shadow.filter(|_| !is_refused) else { return Ok(response) };
    let Some(place) = config.place() else { return Ok(response) };
    record.head(&response);
    let (told, original) = oneshot::channel();
    (config.spawn)(Mirror(Box::pin(mirror(other, shadow, call, original, place, Arc::clone(&config)))));
    Ok(response.map(|body| Body::new(TeedBody::new(body, record, told))))
}

/// All that is done in the background.
async fn mirror<S, ResBody>(
    inner: S,
    request: Request<Body>,
    call: Call,
    original: oneshot::Receiver<Seen>,
    _place: OwnedSemaphorePermit,
    config: Arc<Config>,
) where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let mut record = Record::new(Arc::clone(&config.to), config.max_body, Instant::now());
    let asked = tokio::time::timeout(config.timeout, ask(inner, request, &mut record)).await;
    let end = asked.unwrap_or_else(|_| {
        let message = format!("the shadow did not come to the end of its answer within {:?}", config.timeout);
        End::Failed(Problem::new(Cause::Timeout, message))
    });
    let shadow = record.seen(end);
    if let Ok(original) = original.await {
        config.compare.compare(Mirrored { call, original, shadow });
    }
}

/// Asks the shadow, and reads its answer to its end or its bound.
async fn ask<S, ResBody>(mut inner: S, request: Request<Body>, record: &mut Record) -> End
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
        Err(error) => return End::of_error(&error.into()),
    };
    record.head(&response);
    let mut body = response.into_body();
    loop {
        for _ in 0..FRAMES_AT_A_TIME {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => record.frame(&frame),
                Some(Err(error)) => return End::of_error(&error),
                None => return End::Whole,
            }
            if record.is_truncated() {
                return End::Left;
            }
        }
        give_way().await;
    }
}

/// Lets other tasks run.
async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

// ===== impl Config =====

impl Config {
    /// What the shadow is asked, if this call is one to mirror.
    fn request_of(&self, request: &Request<Body>, call: &Call) -> Option<Request<Body>> {
        let is_other = call.model().is_some_and(|model| *model != *self.to);
        if !is_other || call.is_form() || !call.operation().is_billed() || !(self.when)(call) {
            return None;
        }
        let mut shadow = Request::new(Body::empty());
        *shadow.method_mut() = request.method().clone();
        *shadow.uri_mut() = request.uri().clone();
        *shadow.version_mut() = request.version();
        *shadow.headers_mut() = request.headers().clone();
        if let Some(operation) = request.extensions().get::<Operation>() {
            shadow.extensions_mut().insert(*operation);
        }
        if let Some(dialect) = request.extensions().get::<Dialect>() {
            shadow.extensions_mut().insert(*dialect);
        }
        shadow.extensions_mut().insert(self.principal.clone());
        shadow.extensions_mut().insert(IsShadow);
        // Who the end user is, and by what tags, is the caller's.
        let edit = call.edit().set_string(Field::Model, &self.to);
        let edit = self.left_out.iter().fold(edit, |edit, field| edit.remove(&[field]));
        let call = Call::replace(&mut shadow, edit.finish()).ok()?;
        (call.model() == Some(&*self.to)).then_some(shadow)
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let count = if place.is_some() { &self.tally.mirrored } else { &self.tally.skipped };
        count.fetch_add(1, Ordering::Relaxed);
        place
    }
}

// ===== impl Mirror =====

impl Future for Mirror {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").finish_non_exhaustive()
    }
}

/// Unless set.
const MOST: usize = 32;

/// Unless set.
const MAX_BODY: usize = 1 << 20;

/// Unless set.
const TIMEOUT: Duration = Duration::from_secs(600);

const FRAMES_AT_A_TIME: usize = 64;
