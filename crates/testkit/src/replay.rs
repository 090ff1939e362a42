//! The replay upstream: an HTTP server that answers with recordings and misbehaves on request.

mod choose;
mod chunks;
mod line;
mod log;
mod script;

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::choose::{Choice, Repertoire};
use self::chunks::{Chunks, Framing};
use self::line::{Line, LineStream};
use self::log::{Connected, Running};
pub use self::log::{Ending, Exchange, Log};
use self::script::{Broken, ReplayBody, Script};
use crate::fault::{Chunking, Fate, Faults};
use crate::recording::{Recording, Recordings};

/// A provider made of recordings, on a port of this machine, until it is dropped.
///
/// A request is answered by the recording, and with the [`Faults`], that it names
/// 1. in its path: `/r/<recording>[,<fault>...]/...`, whatever follows;
/// 2. in its header `x-replay: <recording>[,<fault>...]`;
/// 3. else by the one of the same endpoint, model and streaming (of several: of the same path, then successful,
///    then the first by id).
///
/// Where none is found it answers 404, and 400 where a fault is not understood, each with a JSON body that says why.
///
/// Answers have the recorded status, headers and body. The headers of the transfer are its own: bodies that
/// stream or are tampered with go out chunked, others with their `content-length`, and `date` is today's.
/// `GET /_exchanges` answers with the log as JSON, `DELETE /_exchanges` empties it.
#[derive(Debug)]
pub struct Replay {
    addr: SocketAddr,
    log: watch::Sender<Log>,
    server: JoinHandle<()>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    repertoire: Repertoire,
    log: watch::Sender<Log>,
}

// ===== impl Replay =====

impl Replay {
    /// Starts to serve on a free port of 127.0.0.1, on the current tokio runtime.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(recordings: Recordings) -> io::Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), recordings).await
    }

    /// Starts to serve on this address, on the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(addr: SocketAddr, recordings: Recordings) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let log = watch::Sender::new(Log::default());
        let shared = Arc::new(Shared { repertoire: Repertoire::new(recordings), log: log.clone() });
        Ok(Self { addr, log, server: tokio::spawn(accept(listener, shared)) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of its root, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The base URL of a provider that answers everything with one recording and its faults, without a slash at
    /// the end: `url("some-recording,events,pace=5ms")`.
    pub fn url(&self, recording_and_faults: &str) -> String {
        format!("{}/r/{recording_and_faults}", self.base_url())
    }

    /// The exchanges so far, in order of arrival.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.log.borrow().exchanges().iter().cloned().collect()
    }

    /// The log as it is now.
    pub fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    /// Waits until the log is as wanted, and returns it as it was then. It waits as long as it takes.
    pub async fn wait_for(&self, condition: impl FnMut(&Log) -> bool) -> Log {
        let mut changes = self.log.subscribe();
        let log = changes.wait_for(condition).await.expect("invariant: self holds the sender");
        log.clone()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // The connections are owned by the task, and end with it.
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connected = Connected::start(&shared.log);
                    connections.spawn(serve(stream, connected, shared.clone()));
                }
                // Most likely out of file descriptors, which time may bring back.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, _connected: Connected, shared: Arc<Shared>) {
    // Fails only on a socket that is already gone.
    let _ = stream.set_nodelay(true);
    let line = Arc::new(Line::default());
    let stream = LineStream::new(stream, line.clone());
    let service = service_fn(move |request| answer(request, shared.clone(), line.clone()));
    // How it ended is in the log, for each exchange by itself.
    let _ = http1::Builder::new().serve_connection(stream, service).await;
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    line: Arc<Line>,
) -> Result<Response<ReplayBody>, Broken> {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/_exchanges" {
        return Ok(control(&parts.method, &shared.log));
    }
    let body = Limited::new(body, REQUEST_BYTES).collect().await.map_err(|_| Broken)?.to_bytes();
    let (recording, faults, id) = match shared.repertoire.choose(&parts, &body) {
        Ok(Choice { recording, faults }) => {
            let id = Arc::from(recording.id.as_str());
            (recording, faults, Some(id))
        }
        Err(refusal) => (Arc::new(refusal.into_recording()), Faults::default(), None),
    };
    let exchange = Running::start(&shared.log, &parts, body, id);
    match faults.fate {
        Some(Fate::Hang) => pending().await,
        Some(Fate::CloseUnanswered) => {
            exchange.end(Ending::Faulted);
            Err(Broken)
        }
        _ => Ok(respond(&parts, &recording, faults, line, exchange)),
    }
}

fn respond(
    request: &Parts,
    recording: &Recording,
    faults: Faults,
    line: Arc<Line>,
    exchange: Running,
) -> Response<ReplayBody> {
    let status = faults.status.unwrap_or(recording.response.status());
    let mut headers = recording.response.headers().clone();
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_ENCODING, CONNECTION] {
        headers.remove(name);
    }
    let mut body = recording.response.body().clone();
    if faults.html {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        body = Bytes::from_static(HTML.as_bytes());
    }
    let hints = [(RETRY_AFTER, faults.retry_after), (RETRY_AFTER_MS, faults.retry_after_ms)];
    for (name, value) in hints.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        headers.insert(name, value);
    }
    if request.method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        body.clear();
    }
    let content_type = media_type(&headers);
    let chunks = Chunks::new(body, faults.repeat.unwrap_or(1), faults.chunking, Framing::of(&content_type));
    let whole = faults.chunking == Chunking::Unspecified && faults.pace.is_none() && faults.fate.is_none();
    if whole && !STREAMS.contains(&&*content_type) {
        headers.insert(CONTENT_LENGTH, chunks.total().into());
    }
    let body = Script::new(chunks, faults.fate, line, exchange).pace(faults.pace).into_body();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The content type without its parameters.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn control(method: &Method, log: &watch::Sender<Log>) -> Response<ReplayBody> {
    let (status, body) = match *method {
        Method::GET => (StatusCode::OK, log.borrow().to_json().to_string()),
        Method::DELETE => {
            log.send_modify(Log::clear);
            (StatusCode::NO_CONTENT, String::new())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
    };
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const REQUEST_BYTES: usize = 64 * 1024 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const STREAMS: [&str; 4] = [
    "text/event-stream",
    "application/x-ndjson",
    "application/stream+json",
    "application/vnd.amazon.eventstream",
];
const HTML: &str = "<!doctype html>\n<html><head><title>Bad gateway</title></head>\n\
                    <body><h1>Bad gateway</h1><p>The edge could not reach its origin.</p></body></html>\n";
