//! The service: a call, told from top to bottom.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, response::Parts};
use http_body::Body as HttpBody;
use tower::{Service, ServiceExt};
use ziggurat_core::{
    Body, BoxError, CacheStatus, Call, Field, Meter, Metered, Operation, Rejection, Reply, Served, Usd,
};
use ziggurat_meter::{MeteredBody, Options, carry, no_answer, options_with_usage, unreadable};

use crate::{
    Entry, Form, Key,
    asked::Asked,
    body::{FlightBody, OwnCall},
    claims::claimed,
    controls::Controls,
    flight::{Calling, Flight, Keep, Landed, Present},
    forms::in_form,
    items::Items,
    key::Realm,
    layer::Config,
    semantic::Near,
};

/// The service of [`CacheLayer`](crate::CacheLayer).
///
/// It is always ready, as what it has needs no inner service; a call that goes on waits until a clone of that is ready.
#[derive(Clone)]
pub struct Cached<S> {
    inner: S,
    config: Arc<Config>,
}

/// Request extension: the call goes a way of its own (other retries, less time), which nobody else is to share. It is answered by what is kept all
/// the same, and what it is answered is kept.
#[derive(Clone, Copy, Debug)]
pub struct GoesAlone;

/// What the cache did with a call: a response extension.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Lookup {
    /// What the answer is kept under.
    pub key: Key,
    /// What was done.
    pub status: CacheStatus,
    /// How old the answer is, where it was given before.
    pub age: Option<Duration>,
    /// What the call would have cost, where that is known of an answer that was given before.
    pub saved: Option<Usd>,
    /// The cosine of the question and that one whose answer it was given, where that was asked in other words.
    pub score: Option<f32>,
}

/// A call that may be answered again.
pub(crate) struct Asking {
    pub(crate) key: Key,
    pub(crate) asked: Asked,
    pub(crate) controls: Controls,
    /// How many answers are asked for.
    n: u64,
    /// Whether no other shares its call.
    goes_alone: bool,
    /// Inputs that are embedded one by one, with the key of what they have in common.
    pub(crate) items: Option<(Items, Key)>,
    /// Whose it is.
    pub(crate) tenant: Vec<u8>,
    /// Set when an answer to another question was looked for.
    pub(crate) was_looked_for: AtomicBool,
    /// Where its question stands among those that are compared by their meaning, once that is known.
    pub(crate) near: OnceLock<Near>,
}

// ===== impl Cached =====

impl<S> Cached<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Cached<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    ReqBody: HttpBody<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (inner, config) = (self.inner.clone(), Arc::clone(&self.config));
        Box::pin(run(inner, request.map(Body::new), config))
    }
}

impl<S: fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("inner", &self.inner).finish_non_exhaustive()
    }
}

async fn run<S, ResBody>(
    inner: S,
    mut request: Request<Body>,
    config: Arc<Config>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    if !config.operations.contains(&Call::operation_of_request(&request)) {
        let unheard = Call::of(&request).filter(|call| call.has(Field::Cache)).map(Controls::without);
        if let Some(bytes) = unheard
            && let Err(rejection) = Call::replace(&mut request, bytes)
        {
            return Ok(rejection.into_response(Call::dialect_of_request(&request)));
        }
        return Ok(inner.oneshot(request).await?.map(Body::new));
    }
    let asking = match config.begin(&mut request).await {
        Ok(Some(asking)) => asking,
        Ok(None) => return Ok(inner.oneshot(request).await?.map(Body::new)),
        Err(rejection) => return Ok(rejection.into_response(Call::dialect_of_request(&request))),
    };
    match asking.items {
        Some(_) => embed(inner, request, &config, asking).await,
        None => answer(inner, request, &config, &asking).await,
    }
}

/// Embeds those inputs of a list that are not known, and answers for all.
async fn embed<S, ResBody>(
    inner: S,
    mut request: Request<Body>,
    config: &Arc<Config>,
    mut asking: Asking,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let (dialect, key) = (asking.asked.dialect, asking.key);
    if let Some((items, base)) = &mut asking.items {
        if !asking.controls.no_cache {
            items.find(config, asking.controls.max_age).await;
        }
        if items.all_known()
            && let Some(response) = items.response(key)
        {
            return Ok(response);
        }
        let call = Call::of(&request).cloned();
        if let Some(call) = call
            && let Err(rejection) = items.missing(&call, &mut request)
        {
            return Ok(rejection.into_response(dialect));
        }
        asking.key = items.key(base).unwrap_or(key);
    }
    let mut response = answer(inner, request, config, &asking).await?;
    if let Some(lookup) = response.extensions_mut().get_mut::<Lookup>() {
        lookup.key = key;
    }
    let items = asking.items.as_ref().map(|(items, _)| items).filter(|items| items.any_known());
    let Some(items) = items.filter(|_| response.status().is_success()) else { return Ok(response) };
    let (mut parts, body) = response.into_parts();
    let bytes = match body.collect_within(config.max_response).await {
        Ok(bytes) => bytes,
        Err(error) => return Ok(unreadable(&error).into_response(dialect)),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    match items.together(Some(&bytes)) {
        Some(all) => Ok(Response::from_parts(parts, all.into())),
        None => Ok(Rejection::from(no_answer()).into_response(dialect)),
    }
}

/// Answers a call: by what is kept, by a call under way, or by one of its own.
async fn answer<S, ResBody>(
    inner: S,
    request: Request<Body>,
    config: &Arc<Config>,
    asking: &Asking,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    for _ in 0..MOST_SHARED {
        if !asking.controls.no_cache
            && let Some(response) = config.find(asking).await
        {
            return Ok(response);
        }
        if let Some(response) = config.find_similar(asking, &request).await {
            return Ok(response);
        }
        if asking.goes_alone || asking.controls.no_cache || asking.controls.no_store {
            break;
        }
        let failed = Failed::default();
        let begin = || {
            // Between the look and this, the call of another may have ended.
            let ended = config.has(asking);
            (!ended).then(|| {
                claimed(config, asking, config.call(asking, inner.clone(), again(&request), &failed))
            })
        };
        let Some(present) = config.flights.join(asking.key, begin, config.max_entry) else { continue };
        let own = || Box::pin(own_call(inner.clone(), again(&request))) as OwnCall;
        let own = (!present.began()).then(own);
        if let Some(answered) = config.land(asking, present, own).await {
            return Ok(answered);
        }
        if let Some(error) = failed.take() {
            return Err(error);
        }
    }
    let failed = Failed::default();
    let present = Flight::alone(config.call(asking, inner, request, &failed), config.max_entry);
    match (config.land(asking, present, None).await, failed.take()) {
        (Some(answered), _) => Ok(answered),
        (None, Some(error)) => Err(error),
        (None, None) => {
            let message = "the call ended without an answer";
            Ok(Rejection::new(ziggurat_core::Cause::Internal, message).into_response(asking.asked.dialect))
        }
    }
}

/// How often a call shares another's before it is made by itself, whatever others do.
const MOST_SHARED: usize = 3;

/// The error of a call, for the one who began it.
struct Failed<E>(Arc<Mutex<Option<E>>>);

// ===== impl Failed =====

impl<E> Failed<E> {
    fn set(&self, error: E) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Option<E> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<E> Clone for Failed<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Default for Failed<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// The same request again: its body is whole in memory, and shared.
fn again(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(request.body().as_bytes().cloned().unwrap_or_default().into());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}

async fn own_call<S, ResBody>(inner: S, request: Request<Body>) -> Option<Response<Body>>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    Some(inner.oneshot(request).await.ok()?.map(Body::new))
}

// ===== impl Config =====

impl Config {
    /// Reads a request: what is looked for, if it may be answered again.
    async fn begin(&self, request: &mut Request<Body>) -> Result<Option<Asking>, Rejection> {
        let mut call = Call::attach(request, &self.request).await?;
        let controls = Controls::take(request, &mut call)?;
        let is_short = call.length().is_some_and(|length| length <= self.max_request as u64);
        if !is_short || (self.opt_in && !controls.use_cache) || is_of_a_moment(&call) {
            return Ok(None);
        }
        let (parts, body) = std::mem::take(request).into_parts();
        let tenant = self.tenant_of(&parts);
        let realm = Realm {
            tenant: &tenant,
            namespace: controls.namespace.as_deref().unwrap_or(&self.namespace),
            salt: &self.salt,
        };
        let head = (&parts.headers, &parts.uri);
        let key = Key::of(realm, &call, head, &self.vary);
        let goes_alone = parts.extensions.get::<GoesAlone>().is_some();
        let embeds = call.operation() == Operation::Embeddings;
        let base = embeds.then(|| Key::of_items(realm, &call, head, &self.vary)).flatten();
        let items = base.and_then(|base| Some((Items::of(&call, &base)?, base)));
        *request = Request::from_parts(parts, body);
        // What is to be read, and given to others, must not come compressed.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        let asked = Asked::of(&call);
        let asks_usage = self.ask_usage && asked.form == Form::Events && asked.operation == Operation::Chat;
        if asks_usage && !asked.usage {
            let bytes = call.edit().set(Field::StreamOptions, options_with_usage(&call)).finish();
            call = Call::replace(request, bytes)?;
        }
        let (n, was_looked_for, near) = (call.n(), AtomicBool::new(false), OnceLock::new());
        Ok(key.map(|key| Asking { key, asked, controls, n, items, goes_alone, tenant, was_looked_for, near }))
    }

    /// The answer that is kept, if there is one for this caller.
    async fn find(&self, asking: &Asking) -> Option<Response<Body>> {
        let (entry, now) = (self.fetch(&asking.key).await?, self.clock.now());
        if !entry.is_fresh(now) {
            // Whether it was there matters to nobody.
            drop(self.store.remove(&asking.key));
            return None;
        }
        let age = entry.age(now);
        if asking.controls.max_age.is_some_and(|most| age > most) {
            return None;
        }
        self.give(asking, &entry, CacheStatus::Hit, age)
    }

    /// What the store has under a key, if it says so in time.
    pub(crate) async fn fetch(&self, key: &Key) -> Option<Arc<Entry>> {
        match self.store.get(key) {
            Reply::Ready(found) => found,
            later => tokio::time::timeout(self.patience, later.wait()).await.ok().flatten(),
        }
    }

    /// Whether there is an answer now, in a store that need not be waited for.
    fn has(&self, asking: &Asking) -> bool {
        match self.store.get(&asking.key) {
            Reply::Ready(Some(entry)) => self.serves(&entry, &asking.asked, asking.controls.max_age),
            Reply::Ready(None) | Reply::Later(_) => false,
        }
    }

    /// Whether an entry answers a call.
    pub(crate) fn serves(&self, entry: &Entry, asked: &Asked, max_age: Option<Duration>) -> bool {
        let now = self.clock.now();
        let is_young = max_age.is_none_or(|most| entry.age(now) <= most);
        entry.is_fresh(now) && is_young && (entry.form == asked.form || asked.generates_text())
    }

    /// A response of what is kept, in the form that is asked for.
    pub(crate) fn give(
        &self,
        asking: &Asking,
        entry: &Entry,
        status: CacheStatus,
        age: Duration,
    ) -> Option<Response<Body>> {
        let mut response = Response::new(in_form(entry, &asking.asked)?.into());
        let kind = match (asking.asked.form, entry.form == asking.asked.form) {
            (_, true) => entry.content_type.clone(),
            (Form::Events, false) => HeaderValue::from_static("text/event-stream"),
            (Form::Whole, false) => HeaderValue::from_static("application/json"),
        };
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().insert(header::AGE, age.as_secs().into());
        let lookup = Lookup { key: asking.key, status, age: Some(age), saved: entry.cost, score: None };
        mark(&mut response, lookup);
        Some(self.hide_usage(asking, asking.asked.form, response))
    }

    /// Makes the call that is to be shared.
    fn call<S, ResBody>(
        &self,
        asking: &Asking,
        inner: S,
        mut request: Request<Body>,
        failed: &Failed<S::Error>,
    ) -> (Calling, Meter, Keep)
    where
        S: Service<Request<Body>, Response = Response<ResBody>> + Send + 'static,
        S::Error: Send + 'static,
        S::Future: Send,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
    {
        let (meter, end) = Meter::join(&mut request);
        let (joined, failed, max_response) = ((meter.clone(), end), failed.clone(), self.max_response);
        let calling = Box::pin(async move {
            let mut inner = inner;
            let answered = match inner.ready().await {
                Ok(inner) => carry(inner, request, joined, max_response).await,
                Err(error) => Err(error),
            };
            match answered {
                Ok(response) => Some((response, None)),
                Err(error) => {
                    failed.set(error);
                    None
                }
            }
        });
        (calling, meter.clone(), self.keep(asking, meter))
    }

    /// Judges the answer, and keeps it where it is good.
    fn keep(&self, asking: &Asking, meter: Meter) -> Keep {
        let (store, clock) = (Arc::clone(&self.store), self.clock.clone());
        let (key, asked, max_entry) = (asking.key, asking.asked, self.max_entry);
        let ttl = asking.controls.ttl.unwrap_or(self.ttl);
        let no_store = asking.controls.no_store;
        if let Some((items, _)) = &asking.items {
            return items.keep(self, ttl, no_store);
        }
        let near = self.semantic.clone().zip(asking.near.get().cloned());
        Box::new(move |parts, form, body| {
            let kind = parts.headers.get(header::CONTENT_TYPE);
            let is_good = parts.status == StatusCode::OK
                && !parts.headers.contains_key(header::CONTENT_ENCODING)
                && body.len() <= max_entry
                && !no_store;
            let good = if is_good { asked.judge(form, &body)? } else { return None };
            let kind = kind.cloned().unwrap_or_else(|| HeaderValue::from_static("application/json"));
            let mut entry = Entry::new(form, kind, body, clock.now(), ttl);
            entry.cost = meter.spent();
            let entry = Arc::new(entry);
            store.put(key, Arc::clone(&entry));
            if let Some((semantic, near)) = near.as_ref().filter(|_| !good.calls) {
                semantic.index.put(near.partition, key, &near.vector, entry.stored..entry.expires);
            }
            Some(entry)
        })
    }

    /// What somebody gets of a call that is shared; nothing where they are to make one of their own.
    async fn land(&self, asking: &Asking, present: Present, own: Option<OwnCall>) -> Option<Response<Body>> {
        let Landed::Head(mut parts, present) = present.head().await else { return None };
        let began = present.began();
        let success = parts.status.is_success();
        if !began && success && present.form() != asking.asked.form {
            let entry = present.kept().await?;
            return self.give(asking, &entry, CacheStatus::Shared, Duration::ZERO);
        }
        let status = if began { CacheStatus::Miss } else { CacheStatus::Shared };
        let form = present.form();
        if !began {
            parts = theirs(&parts);
        } else if success {
            // It may be longer or shorter than was said, by a piece that only some see.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let own = own.filter(|_| success);
        let body = Body::new(FlightBody::new(present, asking.asked.dialect, form, own));
        let mut response = Response::from_parts(parts, body);
        mark(&mut response, Lookup { key: asking.key, status, age: None, saved: None, score: None });
        Some(if success { self.hide_usage(asking, form, response) } else { response })
    }

    /// Takes out of a stream of OpenAI's the usage that was asked for by us.
    fn hide_usage(&self, asking: &Asking, form: Form, response: Response<Body>) -> Response<Body> {
        let Asked { operation, dialect, usage, .. } = asking.asked;
        if operation != Operation::Chat || form != Form::Events || usage {
            return response;
        }
        let mut options = Options::new(dialect);
        options.hide_usage = true;
        options.choices = asking.n;
        response.map(|body| Body::new(MeteredBody::new(body, options, None)))
    }
}

/// Whether an answer counts for the moment alone, or is about what is kept elsewhere and changes.
fn is_of_a_moment(call: &Call) -> bool {
    call.operation() == Operation::Responses
        && [["background"], ["conversation"]].iter().any(|path| {
            let found = ziggurat_core::json::find_member(call.text(), path);
            found.is_some_and(|range| !call.text()[range].trim_end_matches([',', ' ']).ends_with("false"))
        })
}

/// What others are told of a response that is not theirs.
fn theirs(parts: &Parts) -> Parts {
    let mut response = Response::new(());
    *response.status_mut() = parts.status;
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::RETRY_AFTER] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response.into_parts().0
}

/// Says what the cache did.
pub(crate) fn mark(response: &mut Response<Body>, lookup: Lookup) {
    let said = match lookup.status {
        CacheStatus::Hit => "ziggurat; hit",
        CacheStatus::Shared => "ziggurat; fwd=uri-miss; collapsed",
        _ => "ziggurat; fwd=uri-miss",
    };
    response.headers_mut().insert("cache-status", HeaderValue::from_static(said));
    let extensions = response.extensions_mut();
    if lookup.status.is_given_again() {
        extensions.insert(Served::again(lookup.status));
        extensions.insert(Metered);
    } else if let Some(served) = extensions.get_mut::<Served>() {
        served.cache = lookup.status;
    }
    extensions.insert(lookup);
}
