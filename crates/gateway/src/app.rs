//! What the gateway answers: its own routes, and the layers for all that is a model's.

use std::{
    collections::hash_map::RandomState,
    convert::Infallible,
    future::{Future, pending, poll_fn},
    hash::{BuildHasher, Hasher},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tokio::runtime::{Handle, RuntimeFlavor};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use ziggurat_auth::{Auth, AuthLayer, Identity};
use ziggurat_budget::Spending;
use ziggurat_cache::Lookup;
use ziggurat_core::{
    Body, Budget, Call, Cause, Clock, Dialect, Field, Limits, Operation, Principal, Problem, Profile,
    Rejection, RespondErrorLayer, Served, Target, json::find_member,
};
use ziggurat_limit::Limited;
use ziggurat_route::{Course, Prober, ShadowLayer};
use ziggurat_translate::{ArrayLayer, Translate, TranslateLayer};

use crate::{
    admin::{Admin, Caller, Changed, Standing},
    caught::{Panicked, caught},
    config::{Config, encode},
    drain::Drain,
    forbidden,
    groups::Groups,
    guards::{Guarded, Guards, MASTER},
    headers, health,
    media::Fetcher,
    models,
    options::Options,
    route,
    routes::Route,
    server::Passage,
    stores::{Health, Stores},
    upstream::{RequestId, Upstream},
};

/// The gateway: the layers that tell who calls, and what is behind them.
#[derive(Debug)]
pub(crate) struct App {
    behind: Behind,
    /// Where there is no master key, whoever reaches the gateway may use it.
    auth: Option<Auth<Behind>>,
    prober: Option<Prober<Limited<Translate<Upstream>>>>,
    drain: Drain,
    ids: Ids,
}

/// The ways out: to the providers, and to media at URLs, where that is fetched.
pub(crate) type Out = (Upstream, Option<Fetcher>);

/// Through which port a request came, and so what it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// All there is.
    All,
    /// All but the admin API.
    Calls,
    /// The admin API, and what probers ask.
    Admin,
}

/// What answers when it is known who calls.
#[derive(Clone, Debug)]
struct Behind(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    groups: Groups,
    limits: Limits,
    guards: Guards,
    stores: Arc<Stores>,
    admin: Admin,
    /// Sees to what known callers may call; `None` where nobody is asked who they are.
    rights: Option<AuthLayer>,
    stack: Guarded<Translate<Upstream>>,
    /// For what is asked of a provider and costs nothing.
    attempts: Limited<Translate<Upstream>>,
    /// For shadows, where there are any.
    shadowed: Option<Guarded<Translate<Upstream>>>,
    /// What is also asked of other groups, to compare.
    shadows: Vec<ShadowLayer>,
    drain: Drain,
}

// ===== impl App =====

impl App {
    pub(crate) fn new(
        config: Arc<Config>,
        groups: Groups,
        guards: Guards,
        stores: Arc<Stores>,
        (upstream, media): Out,
        limits: Limits,
        drain: Drain,
    ) -> Self {
        let limits = limits.part(forbidden::part);
        let translate = TranslateLayer::new().limits(limits);
        let translate = match media {
            Some(media) => translate.fetch_media(media),
            None => translate,
        };
        let attempts = guards.attempts(translate.layer(upstream), limits);
        let prober = route::prober(&config, &groups, attempts.clone());
        let (route, shadows) = (route::layer(&config, &groups), route::shadows(&config, &guards));
        let shadowed = (!shadows.is_empty()).then(|| guards.layer_shadows(&route, attempts.clone(), limits));
        let stack = guards.layer(&route, attempts.clone(), limits);
        let auth = config.master_key.as_ref().map(|master| {
            let layer = AuthLayer::new(guards.authenticate(master, config.tokens.as_ref(), &stores));
            layer.default_routes(ROUTES).limits(limits).split()
        });
        let (auth, rights) = auth.unzip();
        let admin = admin(&config, &stores);
        let inner = Inner {
            config,
            groups,
            limits,
            guards,
            stores,
            admin,
            rights,
            stack,
            attempts,
            shadowed,
            shadows,
            drain: drain.clone(),
        };
        let behind = Behind(Arc::new(inner));
        let auth = auth.map(|layer: AuthLayer| layer.layer(behind.clone()));
        Self { behind, auth, prober, drain, ids: Ids::default() }
    }

    /// Waits until nothing is done any more for callers who have left.
    pub(crate) fn finished(&self) -> impl Future<Output = ()> + Send + use<> {
        self.behind.0.guards.finished()
    }

    /// Asks deployments that cool down whether they are back, where the config says so: never ends.
    pub(crate) async fn probe(&self) {
        match &self.prober {
            Some(prober) => prober.run().await,
            None => pending().await,
        }
    }

    /// How far a stop has come.
    pub(crate) fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Answers a request, whatever it is.
    pub(crate) async fn answer(&self, door: Door, mut request: Request<Body>) -> Response<Body> {
        let id = self.ids.next();
        let (route, dialect) = Route::of(request.method(), request.uri().path());
        let is_reachable = door.reaches(route);
        request.extensions_mut().insert(RequestId(id.clone()));
        request.extensions_mut().insert((if is_reachable { route } else { Route::Nothing }, dialect));
        let answer = async {
            // The unknown is refused first and cheaply: key, path, body, model. What is left goes through the layers.
            let array = ArrayLayer::new();
            let answered = match &self.auth {
                Some(auth) if is_reachable && route.needs_key() => {
                    array.layer(auth.clone()).oneshot(request).await
                }
                _ => array.layer(self.behind.clone()).oneshot(request).await,
            };
            match answered {
                Ok(response) => response,
                Err(infallible) => match infallible {},
            }
        };
        let mut response = caught(answer).await.unwrap_or_else(|Panicked| {
            Problem::new(Cause::Internal, "the gateway failed").into_response(dialect)
        });
        let headers = response.headers_mut();
        headers.insert("x-request-id", id.clone());
        headers.insert("x-litellm-call-id", id);
        if self.drain.has_begun() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

// ===== impl Door =====

impl Door {
    const fn reaches(self, route: Route) -> bool {
        // Whatever the method: where the paths are not, nobody is told that they are elsewhere.
        let is_admin =
            matches!(route, Route::Admin(_) | Route::Cache(_) | Route::WrongMethod { admin: true, .. });
        match (self, route) {
            (Self::All, _) | (_, Route::Liveness | Route::Readiness) => true,
            (Self::Calls, _) => !is_admin,
            (Self::Admin, _) => is_admin,
        }
    }
}

// ===== impl Behind =====

impl Service<Request<Body>> for Behind {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let aim = request.extensions_mut().remove();
            let (route, dialect) = aim.expect("invariant: the app says where a request goes");
            Ok(inner.route(route, dialect, request).await)
        })
    }
}

// ===== impl Inner =====

impl Inner {
    async fn route(
        self: &Arc<Self>,
        route: Route,
        dialect: Dialect,
        request: Request<Body>,
    ) -> Response<Body> {
        match route {
            Route::Liveness => json(StatusCode::OK, r#""I'm alive!""#.to_owned()),
            Route::Readiness => self.readiness(),
            Route::Health => {
                let principal = request.extensions().get::<Principal>();
                json(StatusCode::OK, health::report(&self.config, &self.groups, principal))
            }
            Route::Models => self.models(dialect, request).await,
            // The bytes are awaited here: aside, each wait would wander to another thread, with buffers of its own.
            Route::Call => match Call::collect(request, &self.limits).await {
                Ok(mut request) => {
                    if request.extensions().get::<Principal>().is_none() {
                        request.extensions_mut().insert(self.guards.principal());
                    }
                    if request.body().as_bytes().is_none()
                        && let Some(passage) = request.extensions_mut().remove::<Passage>()
                    {
                        passage.open();
                    }
                    aside(self.is_large(request.body()), self.admitted(dialect, request)).await
                }
                Err(rejection) => rejection.into_response(dialect),
            },
            Route::Admin(action) => {
                let who = caller(request.extensions().get());
                let this = Arc::clone(self);
                // A task of its own: a change whose caller has left is still made whole, and counts here at once.
                let answered = tokio::spawn(async move { this.admin.answer(action, &who, request).await });
                answered.await.unwrap_or_else(|_| {
                    Problem::new(Cause::Internal, "the gateway failed").into_response(dialect)
                })
            }
            Route::Cache(action) => {
                // Without a master key, whoever reaches the gateway may use it.
                let may = self.rights.is_none() || caller(request.extensions().get()).admin;
                match may {
                    true => action.run(self.stores.answers(), self.config.cache.as_ref(), request).await,
                    false => Rejection::new(Cause::PermissionDenied, "only administrators manage the cache")
                        .into_response(dialect),
                }
            }
            Route::WrongMethod { allow, admin } => {
                // A key may stand in the path of the admin API.
                let path = if admin { "this path" } else { beginning(request.uri().path()) };
                let message = format!("{path} answers to {allow} only");
                let mut response = Rejection::new(Cause::MethodNotAllowed, message).into_response(dialect);
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
                response
            }
            Route::Nothing => {
                let message =
                    format!("nothing answers at {} {}", request.method(), beginning(request.uri().path()));
                Rejection::new(Cause::NotFound, message).into_response(dialect)
            }
        }
    }

    /// The models that the caller may use, or the one that the path names.
    async fn models(&self, dialect: Dialect, request: Request<Body>) -> Response<Body> {
        let (request, call) = match Call::read(request, &self.limits).await {
            Ok(read) => read,
            Err(rejection) => return rejection.into_response(dialect),
        };
        let principal = request.extensions().get::<Principal>();
        let may_use = |name: &str| principal.is_none_or(|principal| principal.may_use(name));
        let shape = models::shape(dialect, request.headers());
        let Some(name) = Operation::of_path(&Method::GET, request.uri().path()).2.and(call.model()) else {
            let names = self.config.model_names().into_iter().filter(|name| may_use(name));
            return models::list(&names.collect::<Vec<_>>(), shape);
        };
        match self.config.resolve(name).filter(|_| may_use(name)) {
            Some(_) => models::one(name, shape),
            None => Rejection::from(Problem::unknown_model(name)).into_response(shape),
        }
    }

    /// Whether new calls are wanted: told with what is away, and why not.
    fn readiness(&self) -> Response<Body> {
        if self.drain.has_begun() {
            return json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#.to_owned());
        }
        let Health { database, redis, refuses } = self.stores.health();
        let away = [database, redis].contains(&Some(false));
        let (status, said) = match (refuses, away) {
            (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            (false, true) => (StatusCode::OK, "degraded"),
            (false, false) => (StatusCode::OK, "healthy"),
        };
        let word = |here| if here { "connected" } else { "away" };
        let redis = redis.map_or_else(String::new, |here| format!(r#","redis":"{}""#, word(here)));
        let body =
            format!(r#"{{"status":"{said}","db":"{}"{redis}}}"#, database.map_or("Not connected", word));
        json(status, body)
    }

    /// Makes a call whose caller is known, if it may make it.
    async fn admitted(self: &Arc<Self>, dialect: Dialect, request: Request<Body>) -> Response<Body> {
        if self.rights.is_none() && self.shadows.is_empty() {
            return self.call(dialect, request).await;
        }
        let this = Arc::clone(self);
        let call = service_fn(move |request| {
            let this = Arc::clone(&this);
            async move { Ok::<_, Infallible>(this.call(dialect, request).await) }
        });
        let answered = match (&self.rights, self.shadows.is_empty()) {
            (Some(rights), true) => rights.layer(call).oneshot(request).await,
            (rights, _) => {
                let call = BoxCloneSyncService::new(call);
                let call =
                    self.shadows.iter().fold(call, |call, it| BoxCloneSyncService::new(it.layer(call)));
                match rights {
                    Some(rights) => rights.layer(call).oneshot(request).await,
                    None => call.oneshot(request).await,
                }
            }
        };
        match answered {
            Ok(response) => response,
            Err(infallible) => match infallible {},
        }
    }

    /// Whether reading, counting and translating a body may take long enough for others to notice.
    fn is_large(&self, body: &Body) -> bool {
        // What is not whole passes, and is not read at once.
        body.as_bytes().is_some_and(|bytes| bytes.len() as u64 > self.guards.large())
    }

    async fn call(&self, dialect: Dialect, request: Request<Body>) -> Response<Body> {
        let mut said = HeaderMap::new();
        let request = match self.aim(request, &mut said).await {
            Ok(request) => request,
            Err(rejection) => return rejection.into_response(dialect),
        };
        let shadowed = self.shadowed.as_ref();
        let shadowed = shadowed.filter(|_| request.extensions().get().is_some_and(route::is_shadow));
        let stack = shadowed.unwrap_or(&self.stack).clone();
        let mut response = match Call::operation_of_request(&request) {
            operation if operation.counts_tokens() => self.count_tokens(request).await,
            _ => self.guards.run(stack, request).await,
        };
        if let Some(served) = response.extensions().get::<Served>() {
            headers::of_served(&mut said, served);
        }
        if let Some(spending) = response.extensions().get::<Spending>() {
            headers::of_spending(&mut said, spending);
        }
        if let Some(lookup) = response.extensions().get::<Lookup>() {
            headers::of_lookup(&mut said, lookup);
        }
        response.headers_mut().extend(said);
        response
    }

    /// Counts what a call would have for its input, within the limits of its caller.
    async fn count_tokens(&self, request: Request<Body>) -> Response<Body> {
        let (attempts, counter) = (self.attempts.clone(), self.guards.counter());
        let counted = service_fn(move |request| {
            let (attempts, counter) = (attempts.clone(), counter.clone());
            async move { Ok::<_, Infallible>(count_tokens(attempts, counter, request).await) }
        });
        let Ok(response) = self.guards.limited(counted, self.limits).oneshot(request).await;
        response
    }

    /// Reads the request and finds who answers it, which the headers of the response are to say.
    async fn aim(&self, request: Request<Body>, said: &mut HeaderMap) -> Result<Request<Body>, Rejection> {
        let (mut request, mut call) = Call::read(request, &self.limits).await?;
        let has_options = forbidden::check(&call)?;
        let mut options = Options::take(&mut request, &mut call, has_options)?;
        if request.extensions().get().is_some_and(route::is_shadow) {
            // Which way a call takes is its caller's word, and not for others.
            options = Options::default();
        }
        if self.config.cache.is_none() && call.has(Field::Cache) {
            // How it is used is nothing to a provider.
            let bytes = call.edit().remove(&[Field::Cache.name()]).finish();
            call = Call::replace(&mut request, bytes)?;
        }
        if self.config.rejects_tags {
            forbidden::check_tags(&call)?;
        }
        self.guards.tag(&mut request, &call);
        let asked = call.model().unwrap_or_default().to_owned();
        if let Some(group) = self.config.aliased(&asked) {
            // What is counted by model is counted by what it is: another name of it is no other allowance.
            call = renamed(&mut request, &call, group)?;
        }
        tracing::debug!(model = beginning(&asked), stream = call.stream(), "call");
        headers::of_model(said, &asked);
        options.route(self.groups.routes(), &call, &mut request)?;
        Ok(request)
    }
}

/// Counts by a provider's word where one of those that may answer gives it, else by ours.
async fn count_tokens(
    attempts: Limited<Translate<Upstream>>,
    counter: impl Fn(&Call) -> u64,
    mut request: Request<Body>,
) -> Response<Body> {
    let (operation, call) = (Call::operation_of_request(&request), Call::of(&request).cloned());
    let course = request.extensions().get::<Course>();
    let members = course.map(|course| course.first().deployments()).unwrap_or_default();
    let mut targets = members.iter().map(ziggurat_route::Deployment::target);
    if let Some(target) =
        targets.find(|target| call.as_ref().is_some_and(|call| counts(target, call))).cloned()
    {
        request.extensions_mut().insert(target);
        let Ok(response) = RespondErrorLayer::new().layer(attempts).oneshot(request).await;
        // What is wrong with the request is the caller's to know; that a provider cannot count now is not.
        if response.status().is_success() || matches!(response.status().as_u16(), 400 | 413 | 422) {
            return response;
        }
    }
    let tokens = call.as_ref().map_or(0, counter);
    let name = if operation == Operation::CountContent { "totalTokens" } else { "input_tokens" };
    let mut response = json(StatusCode::OK, format!(r#"{{"{name}":{tokens}}}"#));
    headers::of_estimate(response.headers_mut());
    response
}

/// Whether a provider counts what a call asks to be counted. Vertex AI counts what stands at the top of the body alone.
fn counts(target: &Target, call: &Call) -> bool {
    let whole = ["generateContentRequest", "generate_content_request"];
    let is_whole = || whole.iter().any(|name| find_member(call.text(), &[name]).is_some());
    target.uri_of(call.operation()).is_some() && !(target.provider() == VERTEX && is_whole())
}

/// Has a call name another model, in its path where that names one, else in its body.
fn renamed(request: &mut Request<Body>, call: &Call, model: &str) -> Result<Call, Rejection> {
    let uri = request.uri();
    let Some(named) = Operation::of_path(request.method(), uri.path()).2 else {
        return Call::replace(request, call.edit().set_string(Field::Model, model).finish());
    };
    let at = named.as_ptr() as usize - uri.path().as_ptr() as usize;
    let (before, behind) = (&uri.path()[..at], &uri.path()[at + named.len()..]);
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = format!("{before}{}{behind}{query}", encode(model));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let bytes = request.body().held().cloned().unwrap_or_default();
    Call::replace(request, bytes)
}

/// What manages the keys, on the stores that calls go by.
fn admin(config: &Config, stores: &Arc<Stores>) -> Admin {
    let directory = stores.keys().map(|keys| keys.store().clone());
    let keys = stores.keys().cloned();
    let revoke = move |changed: &Changed| match (&keys, changed) {
        (Some(keys), Changed::Key(hash)) => keys.forget(hash),
        (Some(keys), Changed::Customer(id)) => keys.forget_customer(id),
        (Some(keys), Changed::All) => keys.forget_all(),
        (None, _) => {}
    };
    let stores = Arc::clone(stores);
    let balance = move |budget: &Budget| -> Standing {
        let (stores, budget) = (Arc::clone(&stores), budget.clone());
        Box::pin(async move { stores.keeper().balance(&budget).await })
    };
    let zone = config.spending.timezone.clone();
    Admin::new(directory, Arc::new(revoke), Arc::new(balance), zone, Clock::system())
}

/// Who asks the admin API; nobody where no key is asked for.
fn caller(identity: Option<&Identity>) -> Caller {
    let Some(identity) = identity else { return Caller::default() };
    let Profile { key, user, team, .. } = &**identity.principal();
    Caller {
        admin: identity.is_admin(),
        master: key.as_deref() == Some(MASTER),
        key: identity.key().copied(),
        user: user.clone(),
        team: team.clone(),
    }
}

pub(crate) fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// As much of a name as anyone wants to read.
pub(crate) fn beginning(name: &str) -> &str {
    name.char_indices().nth(MAX_NAME).map_or(name, |(end, _)| &name[..end])
}

/// Polls a future, aside of the threads that serve everyone where it may take long at a time.
async fn aside<F: Future>(large: bool, future: F) -> F::Output {
    let mut future = pin!(future);
    let can = Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if !(large && can) {
        return future.await;
    }
    poll_fn(|cx| tokio::task::block_in_place(|| future.as_mut().poll(cx))).await
}

/// What keys may reach that are no administrator's: models, and what is told them of themselves.
const ROUTES: [&str; 4] = ["llm_api_routes", "/key/info", "/team/info", "/user/info"];
/// The id of Vertex AI.
const VERTEX: &str = "vertex_ai";
/// Characters of a model's name that are shown.
const MAX_NAME: usize = 200;

/// Request ids: unique within the process, and unlikely to meet those of another.
#[derive(Debug, Default)]
struct Ids {
    keys: RandomState,
    count: AtomicU64,
}

impl Ids {
    fn next(&self) -> HeaderValue {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(count);
        let id = format!("req_{:016x}{count:08x}", hasher.finish());
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("req_0"))
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use ziggurat_catalog::Catalog;

    use super::*;
    use crate::{demo, drain, upstream::Timeouts};

    async fn panicking(path: &str) -> (StatusCode, String) {
        let config = Arc::new(demo::config());
        let groups = Groups::new(&config, &Catalog::empty(), Timeouts::default(), None).expect("one model");
        let (_drainer, drain) = drain::channel();
        let stores = Arc::new(Stores::open(&config).await.expect("needs nothing"));
        let guards = Guards::new(&config, Catalog::empty(), &stores);
        let app =
            App::new(config, groups, guards, stores, (Upstream::Panicking, None), Limits::default(), drain);
        let body = r#"{"model":"demo","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
        let request = Request::builder().method(Method::POST).uri(path).body(Body::from(body));
        let response = app.answer(Door::All, request.expect("valid")).await;
        assert!(response.headers().contains_key("x-request-id"));
        let (parts, body) = response.into_parts();
        let bytes = body.collect_within(1 << 20).await.expect("is whole");
        (parts.status, String::from_utf8(bytes.to_vec()).expect("is UTF-8"))
    }

    #[tokio::test]
    async fn a_panic_is_answered_in_the_dialect_of_the_caller() {
        assert_eq!(
            panicking("/v1/chat/completions").await,
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                r#"{"error":{"message":"the gateway failed","type":"server_error","param":null,"code":"server_error"}}"#
                    .to_owned()
            )
        );
        assert_eq!(
            panicking("/v1/messages").await,
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                r#"{"type":"error","error":{"type":"api_error","message":"the gateway failed"}}"#.to_owned()
            )
        );
    }

    #[test]
    fn a_provider_counts_what_it_takes() {
        let count = |body: &str| {
            let request = Request::post("/v1beta/models/m:countTokens").body(Body::empty());
            Call::replace(&mut request.expect("valid"), body.to_owned().into()).expect("is a call")
        };
        let (plain, whole) =
            (count(r#"{"contents":[]}"#), count(r#"{"generateContentRequest":{"contents":[]}}"#));
        let target = |provider, operation| {
            let target = Target::new(provider, Dialect::Gemini, "m", "https://h/x").expect("is a URL");
            target.serves(operation, "https://h/count").expect("is a URL")
        };
        for (provider, takes) in [("gemini", true), ("vertex_ai", false)] {
            let google = target(provider, Operation::CountContent);
            assert_eq!((counts(&google, &plain), counts(&google, &whole)), (true, takes), "{provider}");
        }
        assert!(!counts(&target("anthropic", Operation::CountTokens), &plain));
    }

    #[test]
    fn ids_differ() {
        let ids = Ids::default();
        assert_ne!(ids.next(), ids.next());
    }

    #[test]
    fn names_are_shown_up_to_a_length_in_characters() {
        assert_eq!(beginning("gpt-4o"), "gpt-4o");
        assert_eq!(beginning(&"é".repeat(300)), "é".repeat(200));
    }
}
