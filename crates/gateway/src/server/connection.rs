//! One connection, from its first byte to its last.

use std::{convert::Infallible, pin, sync::Arc};

use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use ziggurat_core::{Body, Cause, Dialect, Problem};

use super::{
    Deadlines,
    held::{Answered, Held},
    line::{Line, Turn},
    request::{Passage, RequestBody},
};
use crate::{
    app::{App, Door},
    drain::Stage,
};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    app: Arc<App>,
    door: Door,
    deadlines: Deadlines,
    /// The bytes that request bodies may take together.
    bytes: Arc<Semaphore>,
}

// ===== impl Shared =====

impl Shared {
    pub(super) fn new(app: Arc<App>, door: Door, deadlines: Deadlines, max_in_flight: usize) -> Self {
        let bytes = Arc::new(Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS)));
        Self { app, door, deadlines, bytes }
    }

    async fn answer(&self, request: Request<Incoming>, turn: &Arc<Turn>) -> Response<Answered> {
        let held = Arc::new(Held::new(Arc::clone(turn), Arc::clone(&self.bytes)));
        let passage = Passage::new(&held);
        let (deadline, share) = (self.deadlines.body, Arc::clone(&held));
        let mut request = request.map(|it| Body::new(RequestBody::new(it, deadline, share, passage.clone())));
        request.extensions_mut().insert(passage);
        let mut response = self.app.answer(self.door, request).await;
        if turn.is_unread() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Answered::new(body, held))
    }
}

/// Serves a connection to its end.
pub(super) async fn run<T>(io: T, shared: Arc<Shared>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let turn = Arc::new(Turn::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, turn) = (&shared, &turn);
        async move { Ok::<_, Infallible>(shared.answer(request, turn).await) }
    });
    let deadlines = shared.deadlines;
    let line = Line::new(io, Arc::clone(&turn), deadlines);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The line has deadlines of its own. This one, which is later than all of them, has hyper look for the next request as soon as an
        // answer has ended, and so the line's clock run.
        .header_read_timeout((deadlines.head + deadlines.keep_alive) * 2)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(line), service);
    let closing = shared.app.drain().reached(Stage::Closing);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = closing => {
            pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let mut line = connection.into_parts().io.into_inner();
    if line.head_was_late() {
        line.say(&late_head()).await;
    }
    if let Err(error) = &ended {
        tracing::debug!(%error, "a connection ended early");
    }
    // Answered before all was read: by us, or by hyper to what is no HTTP.
    if line.head_was_late() || turn.is_unread() || ended.is_err_and(|error| error.is_parse()) {
        line.linger().await;
    }
}

/// The answer to a head that is too slow to say which dialect its sender reads.
fn late_head() -> Vec<u8> {
    let problem = Problem::new(Cause::RequestTimeout, "the request head did not arrive in time");
    let body = problem.to_json(Dialect::OpenAi);
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// Longest head of a request.
const MAX_HEAD: usize = 64 << 10;
/// Bytes of a request that wait to be read, and of an answer that wait for a slow client.
const MAX_BUFFER: usize = 64 << 10;
