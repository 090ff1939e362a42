//! Statements on either database: the same texts, with `$1` for what is bound.

use std::time::Duration;

use sqlx::Row as _;
#[cfg(feature = "postgres")]
use sqlx::{Postgres, pool::PoolConnection};
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::DirectoryError;
use crate::error::refusal;

/// Where the tables are.
pub(super) enum Store {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    #[cfg(feature = "postgres")]
    Postgres(crate::postgres::Pool),
}

/// A value of a statement.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(Option<&'a str>),
    Number(i64),
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
}

/// Changes that are made together. Dropped, none of them is made.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Lease),
}

/// A connection that is closed when it is dropped in the middle of something: what it would answer next is somebody else's answer, and
/// a server that is frozen does not answer at all.
#[cfg(feature = "postgres")]
pub(super) struct Lease {
    connection: PoolConnection<Postgres>,
    busy: bool,
}

/// Binds values; the databases have types of their own for it.
macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match *value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        query
    }};
}

// ===== impl Store =====

impl Store {
    /// The rows of one statement that changes nothing.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, DirectoryError> {
        match self {
            Self::Sqlite { readers, .. } => {
                let rows = bound!(sql, values).fetch_all(readers).await.map_err(failed)?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let mut rows = self::rows(pool, sql, values).await;
                // One that its server closed while it was idle: it is known now, and another is made.
                if matches!(rows, Err(DirectoryError::Away(_))) {
                    rows = self::rows(pool, sql, values).await;
                }
                rows
            }
        }
    }

    /// Begins to change something.
    pub(super) async fn begin(&self) -> Result<Tx, DirectoryError> {
        match self {
            Self::Sqlite { writer, .. } => {
                Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let mut lease = Lease::of(pool).await?;
                sqlx::query("BEGIN").execute(&mut *lease.connection).await.map_err(failed)?;
                Ok(Tx::Postgres(lease))
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// What comes within its time.
pub(super) async fn within<T>(
    deadline: Duration,
    answer: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<T, DirectoryError> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(DirectoryError::Away("no answer in time".to_owned())),
    }
}

// ===== impl Tx =====

impl Tx {
    /// Runs a statement; gives how many rows it changed.
    pub(super) async fn run(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, DirectoryError> {
        match self {
            Self::Sqlite(tx) => {
                bound!(sql, values).execute(&mut **tx).await.map(|done| done.rows_affected()).map_err(failed)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(lease) => bound!(sql, values)
                .execute(&mut *lease.connection)
                .await
                .map(|done| done.rows_affected())
                .map_err(failed),
        }
    }

    /// The first row of a statement.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, DirectoryError> {
        match self {
            Self::Sqlite(tx) => bound!(sql, values)
                .fetch_optional(&mut **tx)
                .await
                .map(|row| row.map(Row::Sqlite))
                .map_err(failed),
            #[cfg(feature = "postgres")]
            Self::Postgres(lease) => bound!(sql, values)
                .fetch_optional(&mut *lease.connection)
                .await
                .map(|row| row.map(Row::Postgres))
                .map_err(failed),
        }
    }

    /// Makes the changes when all of them could be made, and else none.
    pub(super) async fn end<T>(self, done: Result<T, DirectoryError>) -> Result<T, DirectoryError> {
        match self {
            Self::Sqlite(tx) => match &done {
                Ok(_) => tx.commit().await.map_err(failed)?,
                Err(_) => tx.rollback().await.map_err(failed)?,
            },
            #[cfg(feature = "postgres")]
            Self::Postgres(mut lease) => {
                let statement = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
                sqlx::query(statement).execute(&mut *lease.connection).await.map_err(failed)?;
                lease.busy = false;
            }
        }
        done
    }
}

// ===== impl Lease =====

#[cfg(feature = "postgres")]
impl Lease {
    async fn of(pool: &crate::postgres::Pool) -> Result<Self, DirectoryError> {
        Ok(Self { connection: pool.inner().acquire().await.map_err(failed)?, busy: true })
    }
}

#[cfg(feature = "postgres")]
impl Drop for Lease {
    fn drop(&mut self) {
        if self.busy {
            self.connection.close_on_drop();
        }
    }
}

#[cfg(feature = "postgres")]
async fn rows(
    pool: &crate::postgres::Pool,
    sql: &'static str,
    values: &[Value<'_>],
) -> Result<Vec<Row>, DirectoryError> {
    let mut lease = Lease::of(pool).await?;
    let rows = bound!(sql, values).fetch_all(&mut *lease.connection).await.map_err(failed)?;
    lease.busy = false;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

// ===== impl Row =====

impl Row {
    pub(super) fn text(&self, at: usize) -> Result<Option<String>, DirectoryError> {
        match self {
            Self::Sqlite(row) => row.try_get(at).map_err(failed),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(at).map_err(failed),
        }
    }

    pub(super) fn number(&self, at: usize) -> Result<i64, DirectoryError> {
        match self {
            Self::Sqlite(row) => row.try_get(at).map_err(failed),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(at).map_err(failed),
        }
    }
}

/// Says what failed, by kinds and codes alone: a database's own words quote what is stored, and where it is.
#[expect(clippy::needless_pass_by_value, reason = "stands behind `map_err`")]
pub(super) fn failed(error: sqlx::Error) -> DirectoryError {
    let away = |why: &str| DirectoryError::Away(why.to_owned());
    match &error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            if error.is_unique_violation() {
                // SQLite names the column, PostgreSQL the constraint; both have the name of the table.
                let named = error.constraint().unwrap_or_else(|| error.message());
                return DirectoryError::Conflict(
                    NAMES.iter().find(|(name, _)| named.contains(name)).map_or("key", |of| of.1),
                );
            }
            if error.is_foreign_key_violation() {
                // Only PostgreSQL has more than one writer, between whose checks something can go.
                let team = error.constraint().is_some_and(|named| named.contains("team_id"));
                return DirectoryError::Conflict(if team { "team" } else { "budget in use" });
            }
            match code.as_str() {
                // SQLITE_BUSY and its kinds, SQLITE_LOCKED.
                "5" | "6" | "261" | "262" | "517" => away("the database is locked"),
                // Connections, resources, the operator's intervention (also a statement's time that ran out), deadlocks.
                code if ["08", "53", "57", "40"]
                    .iter()
                    .any(|class| code.len() == 5 && code.starts_with(class)) =>
                {
                    away(&format!("the database refused with {code}"))
                }
                "8" | "1032" => DirectoryError::Other("the file cannot be written".to_owned()),
                "11" | "26" => DirectoryError::Other("the file is damaged, or no database".to_owned()),
                "13" => DirectoryError::Other("the disk is full".to_owned()),
                "14" => DirectoryError::Other("the file cannot be opened".to_owned()),
                code => DirectoryError::Other(match refusal(code) {
                    Some(words) => format!("{words} ({code})"),
                    None => format!("the database refused with {code}"),
                }),
            }
        }
        sqlx::Error::Io(error) => away(&format!("the connection failed: {}", error.kind())),
        sqlx::Error::PoolTimedOut => away("no connection in time"),
        sqlx::Error::PoolClosed => away("it was closed"),
        sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            away("the connection failed")
        }
        sqlx::Error::Configuration(_) => DirectoryError::invalid("url", "not the URL of a database"),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            DirectoryError::Other("a row is not what it should be".to_owned())
        }
        _ => DirectoryError::Other("the database could not be used".to_owned()),
    }
}

/// What is unique, by words of a database's refusal; the first that fits.
const NAMES: [(&str, &str); 7] = [
    ("alias", "key_alias"),
    ("api_key", "key"),
    ("team_member", "member"),
    ("team", "team"),
    ("app_user", "user"),
    ("customer", "customer"),
    ("budget_template", "budget"),
];
