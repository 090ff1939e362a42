//! The listener: accepts, bounds and drains connections.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    app::{App, Door},
    drain::{Drainer, Stage},
    server::connection::Shared,
};

mod connection;
mod held;
mod line;
mod request;

pub(crate) use self::request::Passage;

#[cfg(test)]
mod tests;

/// How the listener behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    /// Where the admin API answers, and no longer at the other address then.
    pub(crate) admin: Option<SocketAddr>,
    /// How long open calls may go on after the signal to stop.
    pub(crate) drain: Duration,
    pub(crate) deadlines: Deadlines,
    /// Bytes of request bodies that all calls together may hold.
    pub(crate) max_in_flight: usize,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// From the connection, or the first byte of a later request, to the end of the request's head.
    pub(crate) head: Duration,
    /// From there to the end of its body.
    pub(crate) body: Duration,
    /// From the end of an answer to the next request.
    pub(crate) keep_alive: Duration,
    /// In which it must take something of what is written to it.
    pub(crate) write: Duration,
}

/// Serves until SIGTERM or SIGINT, then lets open calls end within the drain time. A second signal ends it at once.
///
/// # Errors
/// Says which address cannot be listened on.
pub(crate) async fn serve(
    app: Arc<App>,
    settings: Settings,
    drainer: Drainer,
    listening: impl FnOnce(SocketAddr, Option<SocketAddr>),
) -> Result<(), String> {
    let (listener, address) = listen(settings.address)?;
    let (admin, admin_address) = settings.admin.map(listen).transpose()?.unzip();
    let unheard = |error| format!("cannot hear signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    listening(address, admin_address);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let finished = app.finished();
    let door = if admin.is_some() { Door::Calls } else { Door::All };
    let shared = Arc::new(Shared::new(Arc::clone(&app), door, settings.deadlines, settings.max_in_flight));
    let managing = tokio::spawn(manage(admin, app, settings));
    tokio::select! {
        never = accept(&listener, &connections, &shared) => match never {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drainer.advance(Stage::Draining);
    // Who is in the queue already has connected, and would be reset. Runs into its limit, as it has no end.
    let _ = timeout(LAST_ACCEPTS, accept(&listener, &connections, &shared)).await;
    drop(listener);
    // Who manages keys can do so elsewhere, or later.
    managing.abort();
    tokio::select! {
        () = drain(&connections, finished, || Arc::strong_count(&shared) - 1, &drainer, settings.drain) => {}
        _ = terminate.recv() => tracing::warn!("asked a second time to stop: open calls are lost"),
        _ = interrupt.recv() => tracing::warn!("asked a second time to stop: open calls are lost"),
    }
    Ok(())
}

/// Serves the admin API at a port of its own, where it has one, with few connections.
async fn manage(listener: Option<TcpListener>, app: Arc<App>, settings: Settings) {
    let Some(listener) = listener else { return };
    let connections = Arc::new(Semaphore::new(MAX_ADMIN_CONNECTIONS));
    let shared = Arc::new(Shared::new(app, Door::Admin, settings.deadlines, MAX_ADMIN_BYTES));
    match accept(&listener, &connections, &shared).await {}
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port is free again at once for the process that follows.
        socket.set_reuseaddr(true)?;
        // Connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        io::Result::Ok((listener, address))
    };
    listen().map_err(|error| format!("cannot listen on {address}: {error}"))
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    shared: &Arc<Shared>,
) -> std::convert::Infallible {
    loop {
        let permit = Arc::clone(connections).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    connection::run(stream, shared).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, as a rule: the next one fails too unless some are given back first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ends all connections: those without a call after a moment, the others when their call has ended, or at the limit; and what is
/// `finished` behind them.
async fn drain(
    connections: &Semaphore,
    finished: impl Future<Output = ()>,
    open: impl Fn() -> usize,
    drainer: &Drainer,
    limit: Duration,
) {
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let mut all_ended = std::pin::pin!(async {
        // It is never closed.
        let _all = connections.acquire_many(all).await;
        finished.await;
    });
    tracing::info!("stopping: {} connections are open", open());
    let grace = IDLE_GRACE.min(limit);
    if ends_within(grace, all_ended.as_mut()).await {
        return;
    }
    drainer.advance(Stage::Closing);
    if ends_within(limit - grace, all_ended.as_mut()).await {
        return;
    }
    tracing::warn!("{} connections were still open after {limit:?}: their calls are cut", open());
    drainer.advance(Stage::Cutting);
    ends_within(LAST_WORDS, all_ended).await;
}

async fn ends_within(limit: Duration, all_ended: impl Future) -> bool {
    timeout(limit, all_ended).await.is_ok()
}

// ===== impl Deadlines =====

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            // Above the minute that load balancers keep a connection: who closes first must be the client.
            keep_alive: Duration::from_secs(75),
            write: Duration::from_secs(60),
        }
    }
}

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// Connections at once at the port of the admin API.
const MAX_ADMIN_CONNECTIONS: usize = 100;
/// Bytes that the bodies of requests there may take together.
const MAX_ADMIN_BYTES: usize = 64 << 20;
/// How long that queue may be.
const BACKLOG: u32 = 1024;
/// Bytes of an answer that the kernel keeps for a client that is slow to take them; left to itself, megabytes.
const SEND_BUFFER: u32 = 128 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections are still taken from the queue at a stop.
const LAST_ACCEPTS: Duration = Duration::from_millis(10);
/// How long connections without a call stay open at a stop, so that a request that is on its way is answered, and a prober told.
const IDLE_GRACE: Duration = Duration::from_millis(500);
/// How long the error events of cut calls may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);
