//! The schema, and how a database gets it.

use sqlx::{
    PgConnection, SqlSafeStr,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use super::ConnectError;

/// Brings the schema up to date. Nodes that start at once wait for each other: the migrator holds an advisory lock, which goes with
/// its connection.
pub(super) async fn run(connection: &mut PgConnection) -> Result<(), ConnectError> {
    let migrations = MIGRATIONS.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    match migrator.run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(ConnectError::Newer { found, known: KNOWN }),
        Err(MigrateError::VersionMismatch(version)) => Err(ConnectError::Foreign { version }),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(ConnectError::Database(error.into()))
        }
        Err(error) => Err(ConnectError::Database(error.into())),
    }
}

/// Sees to it that the schema is the one that is known here, and changes nothing.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), ConnectError> {
    let failed = |error: sqlx::Error| ConnectError::Database(error.into());
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let found: i64 = match is_there {
        true => sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
            .fetch_one(connection)
            .await
            .map_err(failed)?,
        false => 0,
    };
    match found.cmp(&KNOWN) {
        std::cmp::Ordering::Less => Err(ConnectError::Older { found, known: KNOWN }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(ConnectError::Newer { found, known: KNOWN }),
    }
}

/// What makes the schema, oldest first. What has been released is never changed: a change is a migration of its own.
const MIGRATIONS: [(i64, &str, &str); 5] = [
    (1, "ledger", include_str!("../../migrations/postgres/1_ledger.sql")),
    (2, "directory", include_str!("../../migrations/postgres/2_directory.sql")),
    (3, "told", include_str!("../../migrations/postgres/3_told.sql")),
    (4, "decide", include_str!("../../migrations/postgres/4_decide.sql")),
    (5, "idle", include_str!("../../migrations/postgres/5_idle.sql")),
];
const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;
