//! The service: a call, told from top to bottom.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::AtomicU32},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;
use ziggurat_catalog::tokens::count_input;
use ziggurat_core::{
    Body, BoxError, Call, Cause, Meter, Metered, Plan, Problem, Rejection, Resend, RespondErrorLayer,
};

use crate::{
    Course, MaxRetries, Timeouts,
    attempt::Asked,
    body::EarlyBody,
    layer::Config,
    shadow::IsShadow,
    story::{Story, Tally},
    tags::Tags,
};

/// The service of [`RouteLayer`](crate::RouteLayer).
///
/// It is always ready, as it knows only by the request whom it asks; each attempt waits until a clone of the inner service is. It does
/// not fail: what fails is answered in the caller's dialect.
#[derive(Clone)]
pub struct Route<S> {
    inner: S,
    config: Arc<Config>,
}

/// What a request has come to before any attempt.
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation more for every call")]
enum Begun<S> {
    Call(Story<S>),
    Answered(Response<Body>),
}

// ===== impl Route =====

impl<S> Route<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Route<S>
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
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (inner, config) = (self.inner.clone(), Arc::clone(&self.config));
        let request = request.map(Body::new);
        Box::pin(run(inner, request, config))
    }
}

impl<S: fmt::Debug> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("inner", &self.inner).finish_non_exhaustive()
    }
}

async fn run<S, ResBody>(
    inner: S,
    request: Request<Body>,
    config: Arc<Config>,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let story = match begin(inner, request, config).await {
        Begun::Call(story) => story,
        Begun::Answered(response) => return Ok(response),
    };
    if !story.asked.is_followed() {
        return Ok(story.tell().await.response);
    }
    let (hold, dialect) = (story.asked.config.hold, story.asked.call.dialect());
    let mut attempts = Box::pin(story.tell());
    Ok(tokio::select! {
        biased;
        told = &mut attempts => told.response,
        () = tokio::time::sleep(hold) => early(EarlyBody::new(attempts, hold, dialect)),
    })
}

/// Reads a request: a call for a model, or what was answered at once.
async fn begin<S, ResBody>(inner: S, request: Request<Body>, config: Arc<Config>) -> Begun<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let dialect = Call::dialect_of(&parts);
    let read = Call::read(Request::from_parts(parts, body), &config.request).await;
    let (mut request, call) = match read {
        Ok(read) => read,
        Err(rejection) => return Begun::Answered(rejection.into_response(dialect)),
    };
    let course = match config.course(&mut request, &call) {
        Ok(Some(course)) => course,
        // In a box: what else is asked is not carried by calls for a model.
        Ok(None) => return Begun::Answered(Box::pin(pass(inner, request)).await),
        Err(rejection) => return Begun::Answered(rejection.into_response(dialect)),
    };
    let (meter, end) = Meter::join(&mut request);
    let (parts, body) = request.into_parts();
    // What is neither JSON nor a form was not read.
    let body = match Resend::new(body, config.request.body).await {
        Ok(body) => body,
        Err(_) => {
            let message =
                format!("the request body is larger than {} bytes, or broke off", config.request.body);
            return Begun::Answered(Rejection::new(Cause::TooLarge, message).into_response(dialect));
        }
    };
    let extensions = &parts.extensions;
    Begun::Call(Story {
        timeouts: extensions.get().copied().unwrap_or_else(Timeouts::none),
        max_retries: match extensions.get::<IsShadow>() {
            Some(_) => Some(0),
            None => extensions.get().map(|MaxRetries(most)| *most),
        },
        tags: if course.reads_tags() { Tags::of(extensions.get(), &call) } else { Tags::default() },
        affinity: config
            .affinity
            .as_ref()
            .and_then(|name| name(&parts))
            .or_else(|| config.pins.of(&parts, &call)),
        input_tokens: course.counts_input().then(|| count_input(&call, &*config.counter).tokens),
        course,
        inner,
        end,
        tally: Tally::default(),
        asked: Asked { parts, body, call, meter, config, made: AtomicU32::new(0) },
    })
}

/// The head of a stream that nobody has begun to answer.
fn early(body: EarlyBody) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // What comes is read by those who make the attempts.
    response.extensions_mut().insert(Metered);
    response
}

/// Hands a request on that is for no model.
async fn pass<S, ResBody>(inner: S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let mut answers = RespondErrorLayer::new().layer(inner);
    let Ok(()) = poll_fn(|cx| <_ as Service<Request<Body>>>::poll_ready(&mut answers, cx)).await;
    let Ok(response) = answers.call(request).await;
    response
}

// ===== impl Config =====

impl Config {
    /// Where a call goes; nowhere in particular if it is for no model.
    fn course(&self, request: &mut Request<Body>, call: &Call) -> Result<Option<Course>, Rejection> {
        let extensions = request.extensions_mut();
        if !call.operation().is_billed() {
            return Ok(None);
        }
        // An attempt has a target in the place of a plan.
        extensions.remove::<Plan>();
        if let Some(course) = extensions.remove().or_else(|| self.fixed.clone()) {
            return Ok(Some(course));
        }
        let model = call.model().unwrap_or_default();
        let course = self.routes.course(model, extensions.get());
        course.map(Some).ok_or_else(|| Problem::unknown_model(model).param("model").into())
    }
}
