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
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;
use ziggurat_core::{Body, BoxError, Call, Meter, Metered, OpenAttempt, Outcome, Rejection, Served, Target};
use ziggurat_meter::{feed_error, is_unsent};

use crate::{
    layer::Config,
    request::{Outgoing, Way, unserved},
    response,
    reworded::ask_on,
};

/// The service of [`TranslateLayer`](crate::TranslateLayer).
#[derive(Clone)]
pub struct Translate<S> {
    inner: S,
    config: Arc<Config>,
}

// ===== impl Translate =====

impl<S> Translate<S> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Translate<S>
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
        Box::pin(run(inner, request.map(Body::new), Arc::clone(&self.config)))
    }
}

impl<S: fmt::Debug> fmt::Debug for Translate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translate").field("inner", &self.inner).finish_non_exhaustive()
    }
}

async fn run<S, ResBody>(
    mut inner: S,
    request: Request<Body>,
    config: Arc<Config>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    S::Error: 'static,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    let Some(target) = request.extensions().get::<Target>().or(config.target.as_ref()).cloned() else {
        return Ok(inner.call(request).await?.map(Body::new));
    };
    let (parts, body) = request.into_parts();
    let dialect = Call::dialect_of(&parts);
    let request = Request::from_parts(parts, body);
    let (request, call) = match Call::read(request, &config.request).await {
        Ok(read) => read,
        Err(rejection) => return Ok(rejection.into_response(dialect)),
    };
    let Some(way) = Way::of(&call, &target) else {
        return Ok(unserved(call.operation()).into_response(dialect));
    };
    let meter = request.extensions().get::<Meter>().cloned();
    let open = request.extensions().get::<OpenAttempt>().cloned();
    let wants_usage = meter.as_ref().is_some_and(Meter::has_subscribers);
    let media = config.media.as_deref();
    let (request, rest, mut expected) =
        match Outgoing::new(request, &call, &target, way, wants_usage, media).await {
            Ok(Outgoing { request, rest, expected }) => (request, rest, expected),
            Err(rejection) => return Ok(rejection.into_response(dialect)),
        };
    let mut handle = open.and_then(|open| open.take());
    if let (None, Some(meter)) = (&handle, &meter) {
        match meter.attempt(Some(&target)).await {
            Ok(attempt) => handle = Some(attempt),
            Err(rejection) => return Ok(rejection.into_response(dialect)),
        }
    }
    if let Some(handle) = &mut handle {
        handle.sent();
    }
    let answer = match inner.call(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => {
            if let Some(handle) = &mut handle {
                feed_error(handle, &error);
            }
            return Err(error);
        }
    };
    if let Some(handle) = &mut handle {
        handle.answered(answer.status());
    }
    let metered = handle.is_some();
    let answer = match rest {
        None => Ok(answer),
        Some(rest) => {
            let asked = ask_on(&mut inner, answer, rest, (&mut expected, &target), &mut handle, &config);
            match asked.await {
                Ok(answer) => answer,
                Err(error) => {
                    // Not as one that was not sent: what came before was. A call that was sent may be billed, and nobody told for what.
                    let outcome = if is_unsent(&error) { Outcome::Failed } else { Outcome::Truncated };
                    response::end(&mut handle, outcome, None);
                    return Err(error);
                }
            }
        }
    };
    let mut response = match answer {
        Ok(answer) => response::translate(answer, expected, handle, &config).await,
        Err(broken) => {
            response::end(&mut handle, broken.outcome, Some(&broken.problem));
            broken.into_response(dialect)
        }
    };
    if metered {
        response.extensions_mut().insert(Metered);
    }
    let extensions = response.extensions();
    if extensions.get::<Served>().is_none() && extensions.get::<Rejection>().is_none() {
        response.extensions_mut().insert(Served::by(target, 1));
    }
    Ok(response)
}
