//! The connection: made and made again in the background, so that nobody waits for a server that is known to be away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use ziggurat_core::Away;

use crate::options::{InvalidOptions, Options, Servers};

/// One connection that all share, and the task that keeps it.
pub(crate) struct Link {
    state: watch::Receiver<State>,
    broken: Arc<Broken>,
    /// Commands that are on their way.
    places: Semaphore,
    response_timeout: Duration,
    keeper: AbortHandle,
}

#[derive(Clone)]
enum State {
    /// It is being connected to: it is worth to wait a moment.
    Connecting,
    /// So many connections there were, and this is the latest.
    Here(u64, Connection),
    /// It could not be connected to, for this reason.
    Away(Arc<str>),
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

enum Server {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// Where a command goes on a Cluster; on one server, all is there.
pub(crate) enum To {
    /// To the nodes that have its keys.
    Keys,
    /// To all nodes that have any, whose answers are a map by their addresses.
    All,
    /// To one of them.
    Node(String, u16),
}

/// What commands have found out of the connection.
#[derive(Default)]
struct Broken {
    /// The latest one that is broken.
    number: AtomicU64,
    told: Notify,
    /// How many answers came.
    answers: AtomicU64,
}

// ===== impl Link =====

impl Link {
    /// Begins to connect, and does not wait for it. `probe` is sent now and then to find out whether the server is there.
    pub(crate) fn new(options: &Options, probe: Cmd) -> Result<Self, InvalidOptions> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| InvalidOptions::NoRuntime)?;
        let server = Server::new(options)?;
        let (sender, state) = watch::channel(State::Connecting);
        let broken = Arc::new(Broken::default());
        let response_timeout = options.response_timeout;
        let silence = response_timeout.max(PROBE_TIMEOUT);
        let keeper = runtime.spawn(keep(server, probe, silence, sender, Arc::clone(&broken))).abort_handle();
        Ok(Self { state, broken, places: Semaphore::new(MOST_UNDER_WAY), response_timeout, keeper })
    }

    /// Sends a command and waits for its answer, as long as the options say.
    ///
    /// # Errors
    /// [`Away`] when the server is away, does not answer in time or cannot do it; the [`RedisError`] that `take` takes.
    pub(crate) async fn send<T>(
        &self,
        cmd: &Cmd,
        take: impl FnOnce(RedisResult<Value>) -> Result<T, RedisError>,
    ) -> Result<T, Away> {
        self.send_to(&To::Keys, cmd, take).await
    }

    /// As [`Link::send`], to other nodes of a Cluster.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub(crate) async fn send_to<T>(
        &self,
        to: &To,
        cmd: &Cmd,
        take: impl FnOnce(RedisResult<Value>) -> Result<T, RedisError>,
    ) -> Result<T, Away> {
        match timeout(self.response_timeout, self.ask(to, cmd, take)).await {
            Ok(answer) => answer,
            Err(_) => Err(Away::new("redis did not answer in time")),
        }
    }

    async fn ask<T>(
        &self,
        to: &To,
        cmd: &Cmd,
        take: impl FnOnce(RedisResult<Value>) -> Result<T, RedisError>,
    ) -> Result<T, Away> {
        let _place = self.places.acquire().await.map_err(|_| Away::new("redis is not used any more"))?;
        let (number, mut connection) = self.connection().await?;
        let answer = connection.send(to, cmd).await;
        if answer.is_ok() {
            self.broken.answers.fetch_add(1, Ordering::Relaxed);
        } else if let Err(error) = &answer
            && is_broken(error)
        {
            self.broken.number.fetch_max(number, Ordering::AcqRel);
            self.broken.told.notify_one();
        }
        take(answer).map_err(|error| Away::new(describe(&error)))
    }

    async fn connection(&self) -> Result<(u64, Connection), Away> {
        if let State::Here(number, connection) = &*self.state.borrow() {
            return Ok((*number, connection.clone()));
        }
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        match state.as_deref() {
            Ok(State::Here(number, connection)) => Ok((*number, connection.clone())),
            Ok(State::Away(why)) => Err(Away::new(&**why)),
            Ok(State::Connecting) | Err(_) => Err(Away::new("redis is not used any more")),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

// ===== impl Server =====

impl Server {
    fn new(options: &Options) -> Result<Self, InvalidOptions> {
        let addresses = match &options.servers {
            Servers::One(address) => std::slice::from_ref(address),
            Servers::Cluster(addresses) => addresses.as_slice(),
        };
        let secure =
            addresses.iter().any(|address| address.starts_with("rediss:") || address.starts_with("valkeys:"));
        if secure && rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(InvalidOptions::NoTls);
        }
        // The library's own errors may say what is in the address.
        match &options.servers {
            Servers::One(address) => {
                let client = Client::open(address.as_str()).map_err(|_| InvalidOptions::Address)?;
                Ok(Self::One(Box::new(client)))
            }
            Servers::Cluster(addresses) if addresses.is_empty() => Err(InvalidOptions::NoAddress),
            Servers::Cluster(addresses) => {
                let client = ClusterClientBuilder::new(addresses.iter().map(String::as_str))
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(PROBE_TIMEOUT.max(options.response_timeout))
                    .retries(CLUSTER_RETRIES)
                    .min_retry_wait(10)
                    .max_retry_wait(200)
                    .build()
                    .map_err(|_| InvalidOptions::Address)?;
                Ok(Self::Cluster(Box::new(client)))
            }
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::One(client) => {
                // Answers are waited for above; a probe finds a connection on which none come.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(None)
                    .set_pipeline_buffer_size(MOST_UNDER_WAY);
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::One)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

// ===== impl Connection =====

impl Connection {
    async fn send(&mut self, to: &To, cmd: &Cmd) -> RedisResult<Value> {
        let connection = match self {
            Self::One(connection) => return cmd.query_async(connection).await,
            Self::Cluster(connection) => connection,
        };
        let to = match to {
            To::Keys => return cmd.query_async(connection).await,
            To::All => RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None)),
            To::Node(host, port) => {
                RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port })
            }
        };
        connection.route_command(cmd.clone(), to).await
    }
}

/// Connects, again and again, and finds out when the connection does not serve any more.
async fn keep(
    server: Server,
    probe: Cmd,
    silence: Duration,
    state: watch::Sender<State>,
    broken: Arc<Broken>,
) {
    let mut number = 0;
    let mut wait = SHORTEST_WAIT;
    loop {
        let why = match timeout(CONNECT_TIMEOUT, server.connect()).await {
            Ok(Ok(connection)) => {
                number += 1;
                wait = SHORTEST_WAIT;
                let since = Instant::now();
                state.send_replace(State::Here(number, connection.clone()));
                serve(number, connection, &probe, silence, &broken).await;
                state.send_replace(State::Connecting);
                if since.elapsed() < LONGEST_WAIT {
                    // One that serves for nothing, as a replica's does, is not made again and again.
                    sleep(wait).await;
                }
                continue;
            }
            Ok(Err(error)) => describe_without_text(&error),
            Err(_) => "redis cannot be connected to in time".to_owned(),
        };
        state.send_replace(State::Away(why.into()));
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Returns when the connection is broken, or nothing answers on it.
async fn serve(number: u64, mut connection: Connection, probe: &Cmd, silence: Duration, broken: &Broken) {
    loop {
        if timeout(PROBE_EVERY, broken.told.notified()).await.is_ok() {
            if broken.number.load(Ordering::Acquire) >= number {
                return;
            }
            continue;
        }
        let answers = broken.answers.load(Ordering::Relaxed);
        match timeout(silence, connection.send(&To::Keys, probe)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if !is_broken(&error) => {}
            // It is busy, and not away.
            Err(_) if broken.answers.load(Ordering::Relaxed) != answers => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Whether another connection is needed: it is closed, or leads to a replica since.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// For the log. What a server says of one of our commands holds nothing that a caller sent: names are hashed.
fn describe(error: &RedisError) -> String {
    match error.detail() {
        Some(detail) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => {
            format!("redis: {}: {detail}", error.code().unwrap_or_else(|| error.category()))
        }
        _ => describe_without_text(error),
    }
}

/// For the log. What a server says while it is connected to may repeat the password.
fn describe_without_text(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("redis: {code}"),
        None if error.is_connection_refusal() => "redis: the connection was refused".to_owned(),
        None => format!("redis: {}", error.category()),
    }
}

/// Commands that wait for their answers on one connection; more wait for a place.
const MOST_UNDER_WAY: usize = 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(400);
const PROBE_EVERY: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_millis(800);
const CLUSTER_RETRIES: u32 = 3;
