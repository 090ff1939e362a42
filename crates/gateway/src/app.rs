//! What the gateway answers: its own routes, and the layers for all that is a model's.

use std::{
    collections::hash_map::RandomState,
    future::{Future, poll_fn},
    hash::{BuildHasher, Hasher},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use tokio::runtime::{Handle, RuntimeFlavor};
use tower::{Layer, ServiceExt};
use ziggurat_budget::Spending;
use ziggurat_core::{Body, Call, Cause, Dialect, Limits, Problem, Rejection};
use ziggurat_translate::{Translate, TranslateLayer};

use crate::{
    access,
    caught::{Panicked, caught},
    config::Config,
    drain::Drain,
    groups::Groups,
    guards::{Guarded, Guards},
    headers, models,
    routes::Route,
    upstream::{OwnTimeout, RequestId, Upstream},
};

/// The gateway's state and its stack of layers.
#[derive(Debug)]
pub(crate) struct App {
    config: Config,
    groups: Groups,
    limits: Limits,
    guards: Guards,
    stack: Guarded<Translate<Upstream>>,
    drain: Drain,
    ids: Ids,
}

// ===== impl App =====

impl App {
    pub(crate) fn new(
        config: Config,
        groups: Groups,
        guards: Guards,
        upstream: Upstream,
        max_request: usize,
        drain: Drain,
    ) -> Self {
        let limits = Limits::default().body(max_request);
        let stack = guards.layer(TranslateLayer::new().limits(limits).layer(upstream), limits);
        Self { config, groups, limits, guards, stack, drain, ids: Ids::default() }
    }

    /// Waits until nothing is done any more for callers who have left.
    pub(crate) fn finished(&self) -> impl Future<Output = ()> + Send + use<> {
        self.guards.finished()
    }

    /// How far a stop has come.
    pub(crate) fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Answers a request, whatever it is.
    pub(crate) async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let id = self.ids.next();
        request.extensions_mut().insert(RequestId(id.clone()));
        let (route, dialect) = Route::of(request.method(), request.uri().path());
        let mut response = caught(self.route(route, dialect, request)).await.unwrap_or_else(|Panicked| {
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

    async fn route(&self, route: Route, dialect: Dialect, request: Request<Body>) -> Response<Body> {
        // Refuses the unknown first and cheaply: key, path, body, model. What is left goes through the layers.
        if !route.is_open()
            && let Err(rejection) = access::check(request.headers(), self.config.master_key.as_ref())
        {
            return rejection.into_response(dialect);
        }
        match route {
            Route::Liveness => json(StatusCode::OK, r#""I'm alive!""#),
            Route::Readiness if self.drain.has_begun() => {
                json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
            }
            Route::Readiness => json(StatusCode::OK, r#"{"status":"healthy","db":"Not connected"}"#),
            Route::Models => models::list(&self.config.model_names(), request.headers()),
            // The bytes are awaited here: aside, each wait would wander to another thread, with buffers of its own.
            Route::Call => match Call::collect(request, &self.limits).await {
                Ok(mut request) => {
                    request.extensions_mut().insert(self.guards.principal());
                    aside(self.is_large(request.body()), self.call(dialect, request)).await
                }
                Err(rejection) => rejection.into_response(dialect),
            },
            Route::WrongMethod { allow } => {
                let message = format!("{} answers to {allow} only", request.uri().path());
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

    /// Whether reading, counting and translating a body may take long enough for others to notice.
    fn is_large(&self, body: &Body) -> bool {
        body.size_hint().upper().is_none_or(|bytes| bytes > self.guards.large())
    }

    async fn call(&self, dialect: Dialect, request: Request<Body>) -> Response<Body> {
        let mut said = HeaderMap::new();
        let request = match self.aim(request, &mut said).await {
            Ok(request) => request,
            Err(rejection) => return rejection.into_response(dialect),
        };
        let mut response = match self.guards.run(self.stack.clone().oneshot(request)).await {
            Ok(response) => response,
            Err(infallible) => match infallible {},
        };
        if let Some(spending) = response.extensions().get::<Spending>() {
            headers::of_spending(&mut said, spending);
        }
        response.headers_mut().extend(said);
        response
    }

    /// Reads the request and finds who answers it, which the headers of the response are to say.
    async fn aim(&self, request: Request<Body>, said: &mut HeaderMap) -> Result<Request<Body>, Rejection> {
        let (mut request, call) = Call::read(request, &self.limits).await?;
        let model = call.model().unwrap_or_default();
        let Some((target, timeout)) = self.groups.target(&self.config, model, call.stream()) else {
            let message = format!("no model answers to the name {:?}", beginning(model));
            return Err(Problem::new(Cause::ModelNotFound, message).param("model").into());
        };
        tracing::debug!(
            model = beginning(model),
            deployment = target.deployment(),
            stream = call.stream(),
            "call"
        );
        headers::of_target(said, model, &target);
        if let Some(timeout) = timeout {
            request.extensions_mut().insert(OwnTimeout(timeout));
        }
        request.extensions_mut().insert(target);
        Ok(request)
    }
}

fn json(status: StatusCode, body: &'static str) -> Response<Body> {
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
    use ziggurat_budget::Ledger;
    use ziggurat_catalog::Catalog;

    use super::*;
    use crate::{demo, drain};

    async fn panicking(path: &str) -> (StatusCode, String) {
        let config = demo::config();
        let groups = Groups::new(&config).expect("one model");
        let (_drainer, drain) = drain::channel();
        let guards = Guards::new(&config, Catalog::empty(), Ledger::in_memory());
        let app = App::new(config, groups, guards, Upstream::Panicking, 1 << 20, drain);
        let body = r#"{"model":"demo","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
        let request = Request::builder().method(Method::POST).uri(path).body(Body::from(body));
        let response = app.answer(request.expect("valid")).await;
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
