//! The layer that resolves the model's name, ahead of those that reserve for the call.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, Call, Limits, Problem, Rejection};

use crate::Routes;

/// Finds out where a call may go, and writes it into its extensions: the [`Plan`](ziggurat_core::Plan), for layers that reserve for the
/// dearest candidate, and the [`Course`](crate::Course), for [`Route`](crate::Route).
#[derive(Clone, Debug)]
pub struct PlanLayer {
    routes: Routes,
    request: Limits,
}

/// The service of [`PlanLayer`].
#[derive(Clone)]
pub struct Planned<S> {
    inner: S,
    layer: Arc<PlanLayer>,
}

/// Request extension: the most retries that the caller allows, where that is less than is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxRetries(pub u32);

/// Request extension: says that the caller has left, so that the attempt that runs is the last. For hosts that let a call go on without
/// its caller, to know what it cost: a retry, a hedge or a fallback would be for nobody.
#[derive(Clone, Debug, Default)]
pub struct Left(Arc<AtomicBool>);

// ===== impl Left =====

impl Left {
    /// Says so, to all that have a clone of this.
    pub fn say(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_said(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

// ===== impl PlanLayer =====

impl PlanLayer {
    /// Calls may go where the routes say.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self { routes, request: Limits::default() }
    }

    /// Sets the bounds for reading a request.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.request = limits;
        self
    }
}

impl<S> Layer<S> for PlanLayer {
    type Service = Planned<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Planned { inner, layer: Arc::new(self.clone()) }
    }
}

// ===== impl Planned =====

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Planned<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
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
        Box::pin(run(inner, request.map(Body::new), Arc::clone(&self.layer)))
    }
}

impl<S: fmt::Debug> fmt::Debug for Planned<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").field("inner", &self.inner).finish_non_exhaustive()
    }
}

async fn run<S, ResBody>(
    mut inner: S,
    request: Request<Body>,
    layer: Arc<PlanLayer>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let dialect = Call::dialect_of(&parts);
    let read = Call::read(Request::from_parts(parts, body), &layer.request).await;
    let (mut request, call) = match read {
        Ok(read) => read,
        Err(rejection) => return Ok(rejection.into_response(dialect)),
    };
    if call.operation().is_billed() {
        let model = call.model().unwrap_or_default();
        let Some(course) = layer.routes.course(model, request.extensions().get()) else {
            let rejection = Rejection::from(Problem::unknown_model(model).param("model"));
            return Ok(rejection.into_response(dialect));
        };
        request.extensions_mut().insert(course.plan());
        request.extensions_mut().insert(course);
    }
    Ok(inner.call(request).await?.map(Body::new))
}
