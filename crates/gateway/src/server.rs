//! The listener: accepts, bounds and drains connections.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};
use ziggurat_core::Body;

use crate::{app::App, deadline::Deadline, server::stalled::WriteDeadline};

mod stalled;

/// How the listener behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    /// How long open calls may go on after the signal to stop.
    pub(crate) drain: Duration,
}

/// Serves until SIGTERM or SIGINT, then lets open calls end within the drain time.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) async fn serve(
    app: Arc<App>,
    settings: Settings,
    listening: impl FnOnce(SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::bind(settings.address).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    listening(listener.local_addr()?);
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, _)| (stream, permit))
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, as a rule: the next one fails too unless some are given back first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let connection = connection(Arc::clone(&app), stream, &graceful);
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    app.drain();
    drop(listener);
    tracing::info!("draining {} connections", graceful.count());
    if tokio::time::timeout(settings.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("calls were still open after {} seconds", settings.drain.as_secs());
    }
    Ok(())
}

fn connection(
    app: Arc<App>,
    stream: TcpStream,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    let nodelay = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let app = Arc::clone(&app);
        let request = request.map(|body| Body::new(Deadline::new(body, BODY_DEADLINE)));
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(WriteDeadline::new(stream, WRITE_STALL)), service);
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, ?nodelay, "a connection ended early");
        }
    }
}

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// From the first byte of a request, or the end of the one before, to the end of its head.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// From the head of a request to the end of its body.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is written to it.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// Longest head, and bytes of an answer that wait for a slow client.
const MAX_BUFFER: usize = 64 << 10;
