//! Opening a database, and its schema.

use super::{DirectoryError, Options, store::Store};

/// What a URL names.
enum At<'a> {
    /// A file, or a database in memory.
    Sqlite(&'a str),
    Postgres,
}

fn at(url: &str) -> Result<At<'_>, DirectoryError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Ok(At::Sqlite(path.strip_prefix("//").unwrap_or(path)));
    }
    match url.starts_with("postgres://") || url.starts_with("postgresql://") {
        true => Ok(At::Postgres),
        false => {
            Err(DirectoryError::invalid("url", "begins with none of sqlite:, postgres:// and postgresql://"))
        }
    }
}

/// Opens a database and brings its schema up to date.
pub(super) async fn open(url: &str, options: &Options) -> Result<Store, DirectoryError> {
    match at(url)? {
        At::Sqlite(path) => sqlite::open(path, options).await,
        #[cfg(feature = "postgres")]
        At::Postgres => {
            let to = crate::postgres::Options::default()
                .max_connections(options.most_connections.max(1))
                .acquire_timeout(options.admin_deadline)
                .statement_timeout(options.admin_deadline);
            Ok(Store::Postgres(crate::postgres::connect(url, to).await.map_err(unusable)?))
        }
        #[cfg(not(feature = "postgres"))]
        At::Postgres => {
            Err(DirectoryError::invalid("url", "of a database that this program was built without"))
        }
    }
}

#[cfg(feature = "postgres")]
fn unusable(error: crate::postgres::ConnectError) -> DirectoryError {
    use crate::postgres::ConnectError;
    match error {
        ConnectError::Url(_) => DirectoryError::invalid("url", "not the URL of a PostgreSQL database"),
        ConnectError::Newer { found, known } => DirectoryError::Newer { found, known },
        ConnectError::Elapsed => DirectoryError::Away("no answer in time".to_owned()),
        ConnectError::Database(source) => match source.downcast::<sqlx::Error>() {
            Ok(error) => super::store::failed(*error),
            Err(_) => DirectoryError::Other("the database could not be used".to_owned()),
        },
        other => DirectoryError::Other(other.to_string()),
    }
}

mod sqlite {
    use std::{path::Path, time::Duration};

    use sqlx::{
        Connection, SqliteConnection,
        migrate::MigrateError,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    };

    use super::super::{
        DirectoryError, Options,
        store::{Store, failed},
    };
    use crate::schema;

    pub(super) async fn open(path: &str, options: &Options) -> Result<Store, DirectoryError> {
        if path.is_empty() {
            return Err(DirectoryError::invalid("url", "names no file"));
        }
        let in_memory = path == ":memory:";
        let to = SqliteConnectOptions::new()
            .filename(Path::new(path))
            .create_if_missing(true)
            .busy_timeout(options.admin_deadline)
            .foreign_keys(true);
        let to = match in_memory {
            true => to,
            // A revocation that was acknowledged is on the disk.
            false => to.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full),
        };
        // Connections are never idle for too long, as a database in memory is gone with its own.
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(options.admin_deadline.max(Duration::from_secs(1)))
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        if in_memory {
            let one = pool().max_connections(1).connect_with(to).await.map_err(failed)?;
            migrate(&mut *one.acquire().await.map_err(failed)?).await?;
            return Ok(Store::Sqlite { writer: one.clone(), readers: one });
        }
        let mut first = SqliteConnection::connect_with(&to).await.map_err(failed)?;
        let migrated = migrate(&mut first).await;
        first.close().await.map_err(failed)?;
        migrated?;
        let writer = pool().max_connections(1).connect_with(to.clone()).await.map_err(failed)?;
        let readers = options.most_connections.saturating_sub(1).max(1);
        let readers = pool().max_connections(readers).connect_with(to).await.map_err(failed)?;
        Ok(Store::Sqlite { writer, readers })
    }

    async fn migrate(connection: &mut SqliteConnection) -> Result<(), DirectoryError> {
        schema::migrate(connection).await.map_err(|error| match error {
            MigrateError::VersionMissing(found) => DirectoryError::Newer { found, known: schema::KNOWN },
            MigrateError::VersionMismatch(version) => {
                DirectoryError::Other(format!("schema version {version} is not the one of this name"))
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
            _ => DirectoryError::Other("the schema could not be brought up to date".to_owned()),
        })
    }
}
