//! The way to the providers.

use std::{
    error::Error,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{CaptureConnection, HttpConnector, capture_connection, dns::GaiResolver},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::crypto::aws_lc_rs;
use tokio::time::{Instant, timeout, timeout_at};
use tower::Service;
use ziggurat_core::{Body, BoxError, Call, Target, Unsent};
use ziggurat_route::AttemptTimes;

use crate::{
    app::beginning,
    deadline::Idle,
    demo,
    drain::{Drain, Stage, shutting_down},
};

/// How long each stage of a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the name of a host to an open connection, TLS included.
    pub(crate) connect: Duration,
    /// From the call, connecting included, to the head of the answer.
    pub(crate) answer: Duration,
    /// Between two pieces of its body.
    pub(crate) idle: Duration,
}

/// Request extension: the id that its response is given, for the log.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

/// Sends requests to whatever their URI names.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// Over HTTP/1.1, one connection a call in flight.
    Http(Arc<Pool>),
    /// To the built-in model.
    Demo,
    /// To something that panics.
    #[cfg(test)]
    Panicking,
}

#[derive(Debug)]
pub(crate) struct Pool {
    client: Client<Bounded<HttpsConnector<HttpConnector>>, Body>,
    timeouts: Timeouts,
    drain: Drain,
}

/// A connector that takes no longer than a while for all of it: the name, the connection and the TLS handshake.
#[derive(Clone, Debug)]
struct Bounded<C> {
    connector: C,
    limit: Duration,
}

// ===== impl Timeouts =====

/// LiteLLM's own default for an answer is 6000 seconds, and its users set 600.
impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), answer: seconds(600), idle: seconds(300) }
    }
}

// ===== impl Upstream =====

impl Upstream {
    /// # Errors
    /// When the crypto provider cannot do what TLS asks of it.
    pub(crate) fn http(timeouts: Timeouts, drain: Drain) -> io::Result<Self> {
        let connector = connector()?;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .http1_max_buf_size(MAX_BUFFER)
            .build(Bounded { connector, limit: timeouts.connect });
        Ok(Self::Http(Arc::new(Pool { client, timeouts, drain })))
    }

    pub(crate) const fn demo() -> Self {
        Self::Demo
    }
}

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
            #[cfg(test)]
            Self::Panicking => Box::pin(async { panic!("as asked") }),
        }
    }
}

/// Connects by TCP, and by TLS where a URL says so.
pub(crate) fn connector() -> io::Result<HttpsConnector<HttpConnector>> {
    connector_with(GaiResolver::new())
}

/// The same, where somebody else says what names resolve to.
pub(crate) fn connector_with<R>(resolver: R) -> io::Result<HttpsConnector<HttpConnector<R>>> {
    let mut http = HttpConnector::new_with_resolver(resolver);
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_recv_buffer_size(Some(RECEIVE_BUFFER));
    let provider = aws_lc_rs::default_provider;
    // The system's roots, and the bundled ones where a bare container has none.
    let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider()) {
        Ok(builder) => builder,
        Err(_) => HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider())
            .map_err(io::Error::other)?,
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

async fn send(pool: Arc<Pool>, mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let AttemptTimes { head, idle, .. } = request.extensions().get().copied().unwrap_or_default();
    let head = head.unwrap_or_else(|| Instant::now() + pool.timeouts.answer);
    let whose = Whose::of(&request);
    let connection = capture_connection(&mut request);
    let sent = timeout_at(head, pool.client.request(request));
    let answered = tokio::select! {
        answered = sent => answered,
        () = pool.drain.clone().reached(Stage::Cutting) => {
            return Err(given_up(shutting_down(), &connection));
        }
    };
    let answer = match answered {
        Ok(answer) => answer.map_err(failed),
        Err(_) => {
            let late = io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            Err(given_up(late, &connection))
        }
    };
    let answer = answer.inspect_err(|error| whose.log_failure(&**error))?;
    let idle = idle.unwrap_or(pool.timeouts.idle);
    Ok(answer.map(|body| Body::new(Idle::new(body, idle, pool.drain.clone()))))
}

/// Whose call it is, for the log.
struct Whose {
    target: Option<Target>,
    call: Option<Call>,
    id: Option<RequestId>,
}

// ===== impl Whose =====

impl Whose {
    fn of(request: &Request<Body>) -> Self {
        let extensions = request.extensions();
        Self {
            target: extensions.get().cloned(),
            call: extensions.get().cloned(),
            id: extensions.get().cloned(),
        }
    }

    fn log_failure(&self, error: &(dyn Error + 'static)) {
        let deployment = self.target.as_ref().map(Target::deployment);
        let model = self.call.as_ref().and_then(Call::model).map(beginning);
        let request_id = self.id.as_ref().and_then(|RequestId(id)| id.to_str().ok());
        tracing::warn!(deployment, model, request_id, error, "the upstream did not answer");
    }
}

/// An error of the client's; without a connection (its own time limit included) nothing was sent.
fn failed(error: legacy::Error) -> BoxError {
    if error.is_connect() { Unsent::new(error).into() } else { error.into() }
}

/// Why we no longer wait, be it for the connection or for the answer.
fn given_up(why: impl Into<BoxError>, connection: &CaptureConnection) -> BoxError {
    match *connection.connection_metadata() {
        Some(_) => why.into(),
        None => Unsent::new(why).into(),
    }
}

// ===== impl Bounded =====

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = timeout(self.limit, self.connector.call(uri));
        Box::pin(async {
            match connected.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into()),
            }
        })
    }
}

/// Below the minute after which the providers' front ends close a connection.
const POOL_IDLE: Duration = Duration::from_secs(50);
const MAX_IDLE_PER_HOST: usize = 256;
/// Bytes of an answer that the kernel takes while nobody reads: left to itself it takes megabytes a stream before a provider feels that a
/// client is slow. About 2 MB a second still come over a way of 100 ms.
const RECEIVE_BUFFER: usize = 256 << 10;
/// Bytes of an answer that wait to be taken; also the longest head of one.
const MAX_BUFFER: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{io::AsyncReadExt, net::TcpListener};
    use ziggurat_core::{Rejection, is_timeout};

    use super::*;
    use crate::drain;

    /// What is said of a call to this URL: whether it was not sent, and whether it is a timeout. Times are in milliseconds.
    async fn error_of(url: String, connect: u64, answer: u64) -> (bool, bool) {
        let timeouts = Timeouts {
            connect: Duration::from_millis(connect),
            answer: Duration::from_millis(answer),
            idle: LONG,
        };
        let (_drainer, drain) = drain::channel();
        let upstream = Upstream::http(timeouts, drain).expect("has a crypto provider");
        let request = Request::post(url).body(Body::from("{}")).expect("is a request");
        let error = tower::ServiceExt::oneshot(upstream, request).await.expect_err("is not answered");
        (Unsent::is_in(&*error), is_timeout(&*error))
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let addr = listener.local_addr().expect("is bound");
        (listener, addr)
    }

    #[tokio::test]
    async fn without_a_connection_nothing_was_sent() {
        // A port that was free a moment ago.
        let (_, gone) = listen().await;
        assert_eq!(error_of(format!("http://{gone}"), 60_000, 60_000).await, (true, false));
        // Where nobody says a word of TLS, whichever limit comes first.
        let (_silent, addr) = listen().await;
        for (connect, answer) in [(100, 60_000), (60_000, 100)] {
            assert_eq!(error_of(format!("https://{addr}"), connect, answer).await, (true, true));
        }
    }

    #[tokio::test]
    async fn what_is_not_answered_was_sent() {
        let (listener, addr) = listen().await;
        assert_eq!(error_of(format!("http://{addr}"), 60_000, 100).await, (false, true));
        let closing = async {
            loop {
                drop(listener.accept().await);
            }
        };
        tokio::select! {
            said = error_of(format!("http://{addr}"), 60_000, 60_000) => assert_eq!(said, (false, false)),
            () = closing => {}
        }
    }

    #[tokio::test]
    async fn what_a_stop_cuts_was_sent_if_there_was_a_connection() {
        for (scheme, unsent) in [("http", false), ("https", true)] {
            let (listener, addr) = listen().await;
            let timeouts = Timeouts { connect: LONG, answer: LONG, idle: LONG };
            let (drainer, drain) = drain::channel();
            let upstream = Upstream::http(timeouts, drain).expect("has a crypto provider");
            let request = Request::post(format!("{scheme}://{addr}")).body(Body::from("{}"));
            let cut = async {
                let (mut stream, _) = listener.accept().await.expect("connects");
                // The first byte of the request, or of TLS.
                assert!(stream.read_u8().await.is_ok());
                drainer.advance(Stage::Cutting);
                stream
            };
            let sent = tower::ServiceExt::oneshot(upstream, request.expect("is a request"));
            let (answer, _stream) = tokio::join!(sent, cut);
            let error = answer.expect_err("is cut");
            assert_eq!(Unsent::is_in(&*error), unsent, "{scheme}");
            assert_eq!(Rejection::find_in(&*error), Some(&shutting_down()));
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn connecting_is_bounded_as_a_whole() {
        let never = tower::service_fn(|_: Uri| std::future::pending::<Result<(), io::Error>>());
        let mut bounded = Bounded { connector: never, limit: Duration::from_secs(10) };
        let started = tokio::time::Instant::now();
        let error = bounded.call(Uri::from_static("https://h")).await.expect_err("never connects");
        assert_eq!(error.downcast_ref::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::TimedOut));
        assert_eq!(started.elapsed(), Duration::from_secs(10));
    }
}
