//! The schema of a SQLite file, which the ledger and the directory share.

use sqlx::{
    Connection, SqlSafeStr, SqliteConnection,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

/// Brings the schema up to date. One connection at a time does; others wait for it as long as their `busy_timeout` says.
pub(crate) async fn migrate(connection: &mut SqliteConnection) -> Result<(), MigrateError> {
    let migrations = MIGRATIONS.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    // The migrator has no lock for SQLite of its own.
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    migrator.run_direct(None, &mut *tx, false).await?;
    tx.commit().await?;
    Ok(())
}

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "ledger", include_str!("../migrations/sqlite/1_ledger.sql")),
    (2, "directory", include_str!("../migrations/sqlite/2_directory.sql")),
];

/// The newest version.
pub(crate) const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;
