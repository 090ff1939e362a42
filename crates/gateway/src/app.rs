//! What the gateway answers: its own routes, and the layers for all that is a model's.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower::{Layer, ServiceExt};
use ziggurat_core::{
    Body, Call, Cause, Dialect, Limits, Operation, Problem, Rejection, RespondError, RespondErrorLayer,
};
use ziggurat_translate::{Translate, TranslateLayer};

use crate::{
    access,
    config::Config,
    groups::Groups,
    models,
    upstream::{AnswerTimeout, Upstream},
};

/// The gateway's state and its stack of layers.
#[derive(Debug)]
pub(crate) struct App {
    config: Config,
    groups: Groups,
    limits: Limits,
    stack: RespondError<Translate<Upstream>>,
    draining: AtomicBool,
    ids: Ids,
}

// ===== impl App =====

impl App {
    pub(crate) fn new(config: Config, groups: Groups, upstream: Upstream, max_request: usize) -> Self {
        let limits = Limits::default().body(max_request);
        let stack = RespondErrorLayer::new().layer(TranslateLayer::new().limits(limits).layer(upstream));
        Self { config, groups, limits, stack, draining: AtomicBool::new(false), ids: Ids::default() }
    }

    /// From here on the gateway says that it is not ready.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers a request, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let id = self.ids.next();
        let mut response = self.route(request).await;
        response.headers_mut().insert("x-request-id", id.clone());
        response.headers_mut().insert("x-litellm-call-id", id);
        response
    }

    async fn route(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        match (request.method(), path.strip_suffix('/').unwrap_or(path)) {
            (&Method::GET, "/health/liveliness" | "/health/liveness") => {
                json(StatusCode::OK, r#""I'm alive!""#)
            }
            (&Method::GET, "/health/readiness") => self.readiness(),
            _ => self.serve(request).await,
        }
    }

    fn readiness(&self) -> Response<Body> {
        match self.draining.load(Ordering::Relaxed) {
            true => json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#),
            false => json(StatusCode::OK, r#"{"status":"healthy","db":"Not connected"}"#),
        }
    }

    /// Refuses the unknown first and cheaply: path, key, body, model. What is left goes through the layers.
    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let (operation, dialect, _) = Operation::of_path(request.method(), request.uri().path());
        let served = match self.admit(operation, dialect, request).await {
            Ok(Admitted::Models(response)) => return response,
            Ok(Admitted::Call(request)) => self.stack.clone().oneshot(request).await,
            Err(rejection) => return rejection.into_response(dialect),
        };
        match served {
            Ok(response) => response,
            Err(infallible) => match infallible {},
        }
    }

    async fn admit(
        &self,
        operation: Operation,
        dialect: Dialect,
        request: Request<Body>,
    ) -> Result<Admitted, Rejection> {
        access::check(request.headers(), self.config.master_key.as_ref())?;
        match operation {
            Operation::Models => {
                let names = self.config.model_names();
                return Ok(Admitted::Models(models::list(&names, request.headers())));
            }
            Operation::Chat | Operation::Messages => {}
            _ => return Err(self.unknown(&request)),
        }
        let (mut request, call) = Call::read(request, &self.limits).await?;
        let model = call.model().unwrap_or_default();
        let Some((target, timeout)) = self.groups.target(&self.config, model, call.stream()) else {
            let message = format!("no model answers to the name {model:?}");
            return Err(Problem::new(Cause::ModelNotFound, message).param("model").into());
        };
        tracing::debug!(%model, deployment = target.deployment(), stream = call.stream(), ?dialect, "call");
        if let Some(timeout) = timeout {
            request.extensions_mut().insert(AnswerTimeout(timeout));
        }
        request.extensions_mut().insert(target);
        Ok(Admitted::Call(request))
    }

    fn unknown(&self, request: &Request<Body>) -> Rejection {
        let path = request.uri().path();
        let posted = Operation::of_path(&Method::POST, path).0;
        let gotten = Operation::of_path(&Method::GET, path).0;
        let known = matches!(posted, Operation::Chat | Operation::Messages) || gotten == Operation::Models;
        match known {
            true => {
                let method = if gotten == Operation::Models { "GET" } else { "POST" };
                Rejection::new(Cause::MethodNotAllowed, format!("{path} answers to {method} only"))
            }
            false => {
                Rejection::new(Cause::NotFound, format!("nothing answers at {} {path}", request.method()))
            }
        }
    }
}

enum Admitted {
    Models(Response<Body>),
    Call(Request<Body>),
}

fn json(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

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
