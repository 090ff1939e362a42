//! Two throwaway layers, as somebody would write them who has read the contract: one that watches calls, one that tries targets in turn.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower::{Layer, Service, ServiceExt};
use ziggurat_core::{Body, BoxError, Call, Limits, Rejection, Subscriber, Target};

/// Subscribes to every call, and counts them.
#[derive(Clone)]
pub(crate) struct Watch {
    subscriber: Arc<dyn Subscriber>,
    calls: Arc<AtomicUsize>,
}

#[derive(Clone)]
pub(crate) struct Watching<S> {
    inner: S,
    watch: Watch,
}

impl Watch {
    pub(crate) fn new(subscriber: Arc<dyn Subscriber>) -> Self {
        Self { subscriber, calls: Arc::default() }
    }

    pub(crate) fn calls(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.calls)
    }
}

impl<S> Layer<S> for Watch {
    type Service = Watching<S>;

    fn layer(&self, inner: S) -> Watching<S> {
        Watching { inner, watch: self.clone() }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Watching<S>
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
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let watch = self.watch.clone();
        watch.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let dialect = Call::dialect_of(&parts);
            let request = Request::from_parts(parts, body);
            match Call::read(request, &Limits::default()).await {
                Ok((request, _)) => {
                    ziggurat_meter::run(&mut inner, request, watch.subscriber, 64 << 20).await
                }
                Err(rejection) => Ok(rejection.into_response(dialect)),
            }
        })
    }
}

/// Tries its targets in turn until one answers.
#[derive(Clone)]
pub(crate) struct InTurn(pub(crate) Vec<Target>);

#[derive(Clone)]
pub(crate) struct Trying<S> {
    inner: S,
    targets: Vec<Target>,
}

impl<S> Layer<S> for InTurn {
    type Service = Trying<S>;

    fn layer(&self, inner: S) -> Trying<S> {
        Trying { inner, targets: self.0.clone() }
    }
}

impl<S> Service<Request<Body>> for Trying<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let mut last = None;
            let bytes = request.body().as_bytes().cloned().unwrap_or_default();
            for target in this.targets {
                let mut attempt = Request::new(Body::from(bytes.clone()));
                *attempt.method_mut() = request.method().clone();
                *attempt.uri_mut() = request.uri().clone();
                *attempt.extensions_mut() = request.extensions().clone();
                attempt.extensions_mut().insert(target);
                let response = this.inner.clone().oneshot(attempt).await?;
                let refused = response.extensions().get::<Rejection>().is_some();
                if !refused && !response.status().is_server_error() {
                    return Ok(response);
                }
                last = Some(response);
            }
            Ok(last.unwrap_or_default())
        })
    }
}
