//! The way to the providers.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::crypto::aws_lc_rs;
use tower::Service;
use ziggurat_core::{Body, BoxError};

use crate::{deadline::Idle, demo};

/// How long each stage of a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the first packet to an open connection.
    pub(crate) connect: Duration,
    /// From there to the head of the answer.
    pub(crate) answer: Duration,
    /// Between two pieces of its body.
    pub(crate) idle: Duration,
}

/// Request extension: a deployment's own time to begin its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerTimeout(pub(crate) Duration);

/// Sends requests to whatever their URI names.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// Over HTTP/1.1, one connection a call in flight.
    Http(Arc<Pool>),
    /// To the built-in model.
    Demo,
}

#[derive(Debug)]
pub(crate) struct Pool {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    timeouts: Timeouts,
}

// ===== impl Upstream =====

impl Upstream {
    /// # Errors
    /// When the crypto provider cannot do what TLS asks of it.
    pub(crate) fn http(timeouts: Timeouts) -> io::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeouts.connect));
        let provider = aws_lc_rs::default_provider;
        // The system's roots, and the bundled ones where a bare container has none.
        let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider()) {
            Ok(builder) => builder,
            Err(_) => HttpsConnectorBuilder::new()
                .with_provider_and_webpki_roots(provider())
                .map_err(io::Error::other)?,
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build(connector);
        Ok(Self::Http(Arc::new(Pool { client, timeouts })))
    }

    pub(crate) const fn demo() -> Self {
        Self::Demo
    }
}

/// Below the minute after which the providers' front ends close a connection.
const POOL_IDLE: Duration = Duration::from_secs(50);
const MAX_IDLE_PER_HOST: usize = 256;

impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Http(pool) => Box::pin(send(Arc::clone(pool), request)),
            Self::Demo => Box::pin(demo::answer(request)),
        }
    }
}

async fn send(pool: Arc<Pool>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let own = request.extensions().get().map(|AnswerTimeout(own)| *own);
    let sent = pool.client.request(request);
    let answer = match tokio::time::timeout(own.unwrap_or(pool.timeouts.answer), sent).await {
        Ok(answer) => answer.inspect_err(|error| tracing::warn!(%error, "the upstream did not answer"))?,
        Err(_) => {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the upstream did not answer in time").into());
        }
    };
    Ok(answer.map(|body| Body::new(Idle::new(body, pool.timeouts.idle))))
}
