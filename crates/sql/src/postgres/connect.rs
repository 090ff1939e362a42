//! Connections to a database.

use std::{error::Error, fmt, str::FromStr, time::Duration};

use futures_util::future::try_join_all;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{decide, migrate};
use crate::error::BoxError;

/// How a database is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    max_connections: u32,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    lock_timeout: Duration,
    start_timeout: Duration,
    migrate: bool,
}

/// Connections to one database, its schema up to date. Clones share them.
#[derive(Clone)]
pub struct Pool {
    inner: PgPool,
    statement_timeout: Duration,
    lock_timeout: Duration,
}

/// Why a database cannot be used. Says nothing of the password.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none of a PostgreSQL database.
    Url(BoxError),
    /// The schema was made by a newer version of this crate.
    Newer {
        /// The version of the schema.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The schema is an older one, and was not to be migrated.
    Older {
        /// The version of the schema; 0 when there is none.
        found: i64,
        /// The version that is known here.
        known: i64,
    },
    /// A version of the schema is not the one of that number.
    Foreign {
        /// Which.
        version: i64,
    },
    /// It did not answer in time, or another node did not end its migration.
    Elapsed,
    /// It refused, or could not be reached.
    Database(BoxError),
}

/// Connects to a database by its URL (`postgres://user:password@host:5432/name?sslmode=verify-full`), and brings its schema up to date.
/// Many nodes may do so at once: one migrates, the others wait for it.
///
/// # Errors
/// [`ConnectError`] when it cannot be reached, or its schema is a newer one.
pub async fn connect(url: &str, options: Options) -> Result<Pool, ConnectError> {
    // The URL is not told: it has the password.
    let at = PgConnectOptions::from_str(url).map_err(|error| ConnectError::Url(error.into()))?;
    let at = at.application_name("ziggurat");
    let prepared = prepare(&at, options.migrate);
    tokio::time::timeout(options.start_timeout, prepared).await.map_err(|_| ConnectError::Elapsed)??;

    let at = at.options([
        ("statement_timeout", format!("{}ms", options.statement_timeout.as_millis().max(1))),
        ("idle_in_transaction_session_timeout", "10s".to_owned()),
        // What is decided under a lock is decided on what there is then, whatever this database's default is.
        ("default_transaction_isolation", "read committed".to_owned()),
    ]);
    let inner = PgPoolOptions::new()
        .max_connections(options.max_connections)
        // Made ahead: who waits for a decision has no time to wait for a connection.
        .min_connections(options.max_connections.min(READY))
        // With either of these, the pool makes them ahead only in the place of others that were too old, and at the start none.
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(options.acquire_timeout)
        // A round trip before each statement is one too many: only what was idle for a while may be dead without having been told.
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move {
                if known.idle_for > IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(decide::warm(connection)))
        .connect_lazy_with(at);
    ready(&inner, options.start_timeout).await?;
    let Options { statement_timeout, lock_timeout, .. } = options;
    Ok(Pool { inner, statement_timeout, lock_timeout })
}

/// Where a URL leads, for whoever has to find out what is wrong with it: host, port and database, never the user or the password. `None` for
/// what is no URL of a PostgreSQL database.
#[must_use]
pub fn place(url: &str) -> Option<String> {
    let at = PgConnectOptions::from_str(url).ok()?;
    let server = match at.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", at.get_host(), at.get_port()),
    };
    // Without a name it is that of the user.
    let database = at.get_database().map_or_else(String::new, |name| format!(", database {name:?}"));
    Some(format!("PostgreSQL at {server}{database}"))
}

async fn prepare(at: &PgConnectOptions, migrate: bool) -> Result<(), ConnectError> {
    let failed = |error: sqlx::Error| ConnectError::Database(error.into());
    // Of its own: a lock that is not given back goes with it.
    let mut connection = PgConnection::connect_with(at).await.map_err(failed)?;
    match migrate {
        true => migrate::run(&mut connection).await?,
        false => migrate::check(&mut connection).await?,
    }
    connection.close().await.map_err(failed)
}

/// Waits until some connections are there: the first calls would wait for them.
async fn ready(pool: &PgPool, timeout: Duration) -> Result<(), ConnectError> {
    let one = async |_| loop {
        match pool.acquire().await {
            // A start has more time than a call.
            Err(sqlx::Error::PoolTimedOut) => {}
            acquired => return acquired,
        }
    };
    let all = try_join_all((0..pool.options().get_min_connections()).map(one));
    let ready = tokio::time::timeout(timeout, all).await.map_err(|_| ConnectError::Elapsed)?;
    ready.map(drop).map_err(|error| ConnectError::Database(error.into()))
}

/// Connections that are kept open.
const READY: u32 = 4;

// ===== impl Options =====

impl Options {
    /// Sets how many connections there may be at most; 16 unless set.
    #[must_use]
    pub const fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets how long it may take to get a connection, also a new one; a second unless set.
    #[must_use]
    pub const fn acquire_timeout(mut self, after: Duration) -> Self {
        self.acquire_timeout = after;
        self
    }

    /// Sets how long a statement may take, here and by the server; 2 seconds unless set.
    #[must_use]
    pub const fn statement_timeout(mut self, after: Duration) -> Self {
        self.statement_timeout = after;
        self
    }

    /// Sets how long a decision of the ledger waits for an account that somebody else has locked, before it is given up there; 150 ms
    /// unless set. Whoever asked has given up before by a deadline of its own, and the next ones need the connection.
    #[must_use]
    pub const fn lock_timeout(mut self, after: Duration) -> Self {
        self.lock_timeout = after;
        self
    }

    /// Sets how long [`connect`] may take, with the migration of the schema or the wait for another node's; a minute unless set.
    #[must_use]
    pub const fn start_timeout(mut self, after: Duration) -> Self {
        self.start_timeout = after;
        self
    }

    /// Sets whether [`connect`] brings the schema up to date; else it only sees to it that it is. It does unless set.
    #[must_use]
    pub const fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(2),
            lock_timeout: Duration::from_millis(150),
            start_timeout: Duration::from_secs(60),
            migrate: true,
        }
    }
}

// ===== impl Pool =====

impl Pool {
    /// The connections.
    pub(crate) const fn inner(&self) -> &PgPool {
        &self.inner
    }

    /// How long a statement may take.
    pub(crate) const fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// How long a decision waits for a lock.
    pub(crate) const fn lock_timeout(&self) -> Duration {
        self.lock_timeout
    }

    /// Closes the connections, once they are given back.
    pub async fn close(&self) {
        self.inner.close().await;
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("connections", &self.inner.size()).finish_non_exhaustive()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("not the URL of a PostgreSQL database"),
            Self::Newer { found, known } => {
                write!(
                    f,
                    "the database has schema version {found}, made by a newer version; this one knows {known}"
                )
            }
            Self::Older { found, known } => {
                write!(f, "the database has schema version {found} and is to be migrated to {known}")
            }
            Self::Foreign { version } => {
                write!(f, "schema version {version} of the database is not the one of this number")
            }
            Self::Elapsed => f.write_str("the database did not answer in time"),
            Self::Database(source) => {
                f.write_str("the database cannot be used")?;
                match source.downcast_ref::<sqlx::Error>().and_then(why) {
                    Some(why) => write!(f, ": {why}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Url(source) | Self::Database(source) => Some(&**source),
            _ => None,
        }
    }
}

/// Why a database refuses connections, by kinds and codes alone: its own words quote what is not to be told.
fn why(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code()?;
            Some(match crate::error::refusal(&code) {
                Some(words) => format!("{words} ({code})"),
                None => format!("it refused with {code}"),
            })
        }
        sqlx::Error::Io(error) => Some(format!("the connection failed: {}", error.kind())),
        _ => None,
    }
}

/// A connection that was not used for longer is asked whether it lives.
const IDLE: Duration = Duration::from_millis(500);
