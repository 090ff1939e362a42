//! One statement, under a deadline.

use std::time::Duration;

use sqlx::{
    Connection, Error, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::time::timeout;
use ziggurat_core::Away;

use super::Pool;

/// What may be done again when nobody knows whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// To do it twice is to do it once.
    Same,
    /// It is not.
    Never,
}

/// A connection that is in use. One that is dropped before it has answered goes back to the pool if it answers soon, and is closed if it
/// does not: what is left behind for a server that is frozen must not use up the pool.
struct Lease {
    connection: Option<PoolConnection<Postgres>>,
    answered: bool,
}

// ===== impl Pool =====

impl Pool {
    /// The rows of one statement. It is repeated a few times when the server undid it for the sake of another one; and when the connection
    /// was lost, if that does no harm.
    pub(super) async fn rows<'q>(
        &self,
        repeat: Repeat,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments> + Send,
    ) -> Result<Vec<PgRow>, Error> {
        let mut tries = TRIES;
        loop {
            let failed = match self.once(statement()).await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            tries -= 1;
            if tries == 0 || !(is_undone(&failed) || (repeat == Repeat::Same && is_lost(&failed))) {
                return Err(failed);
            }
        }
    }

    /// The row of a statement that has one.
    pub(super) async fn row<'q>(
        &self,
        repeat: Repeat,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments> + Send,
    ) -> Result<PgRow, Away> {
        let rows = self.rows(repeat, statement).await.map_err(|error| away(&error))?;
        rows.into_iter().next().ok_or_else(|| Away::new("PostgreSQL: no row"))
    }

    async fn once(&self, statement: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Error> {
        let connection = self.inner().acquire().await?;
        let mut lease = Lease { connection: Some(connection), answered: false };
        let Some(connection) = lease.connection.as_mut() else { return Err(Error::WorkerCrashed) };
        let rows = timeout(self.statement_timeout(), statement.fetch_all(&mut **connection)).await;
        lease.answered = rows.is_ok();
        rows.unwrap_or(Err(Error::PoolTimedOut))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take().filter(|_| !self.answered) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if !matches!(timeout(GRACE, connection.ping()).await, Ok(Ok(()))) {
                drop(connection.detach());
            }
        });
    }
}

/// Whether the server undid the statement, as it does when two wait for each other.
fn is_undone(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, DEADLOCK | SERIALIZATION))
}

/// Whether the connection was lost.
fn is_lost(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) => true,
        Error::Database(error) => error.code().is_some_and(|code| matches!(&*code, SHUTDOWN | CRASH)),
        _ => false,
    }
}

/// For the log: what it is, without what was asked.
pub(super) fn away(error: &Error) -> Away {
    match error {
        Error::PoolTimedOut => Away::new("PostgreSQL: no answer in time"),
        Error::Io(error) => Away::new(format!("PostgreSQL: {}", error.kind())),
        Error::Database(error) => {
            let code = error.code();
            Away::new(format!("PostgreSQL: error {}", code.as_deref().unwrap_or("without a code")))
        }
        Error::Tls(_) => Away::new("PostgreSQL: no TLS connection"),
        Error::PoolClosed => Away::new("PostgreSQL: the connections are closed"),
        _ => Away::new("PostgreSQL: not as it should be"),
    }
}

/// How often a statement is run.
const TRIES: usize = 4;

/// How long a connection has to come to the end of what it was left with.
const GRACE: Duration = Duration::from_millis(500);

// Codes of PostgreSQL, appendix A of its manual.
const DEADLOCK: &str = "40P01";
const SERIALIZATION: &str = "40001";
const SHUTDOWN: &str = "57P01";
const CRASH: &str = "57P02";
