//! How a database gets its schema.

use std::time::Duration;

use ziggurat_sql::postgres::{ConnectError, Options, connect};
use ziggurat_testkit::postgres::Postgres;

use super::{cents, dollar, ledger};

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_start_at_once_and_a_newer_schema_is_refused() {
    let Some(server) = Postgres::start() else { return };
    let url = server.url();
    let unmade = connect(&url, Options::default().migrate(false)).await.expect_err("is not made");
    let ConnectError::Older { found: 0, known } = unmade else { panic!("{unmade:?}") };
    let started = futures_util::future::join_all((0..10).map(|_| ledger(&url))).await;
    for ledger in &started {
        assert_eq!(cents(ledger, &dollar("a")).await, (0, 0));
    }
    connect(&url, Options::default().migrate(false)).await.expect("is up to date");
    let made = server.psql("postgres", "SELECT count(*), max(version) FROM _sqlx_migrations");
    assert_eq!(made, format!("{known}|{known}"));

    let _ = server.psql(
        "postgres",
        "INSERT INTO _sqlx_migrations SELECT 999, 'later', now(), true, checksum, 0 FROM _sqlx_migrations LIMIT 1",
    );
    for migrate in [true, false] {
        let newer = connect(&url, Options::default().migrate(migrate)).await.expect_err("is newer");
        assert!(
            matches!(newer, ConnectError::Newer { found: 999, known: ours } if ours == known),
            "{newer:?}"
        );
        assert!(newer.to_string().contains("schema version 999"));
    }
    let _ = server.psql("postgres", "DELETE FROM _sqlx_migrations WHERE version = 999; UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1");
    let foreign = connect(&url, Options::default()).await.expect_err("is foreign");
    assert!(matches!(foreign, ConnectError::Foreign { version: 1 }), "{foreign:?}");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_an_error_without_its_password() {
    let options = || Options::default().start_timeout(Duration::from_secs(5));
    let not_a_url = connect("postgres//secret", options()).await.expect_err("is no URL");
    assert!(matches!(not_a_url, ConnectError::Url(_)));
    let nobody =
        connect("postgres://user:secret@127.0.0.1:1/x", options()).await.expect_err("nobody is there");
    assert!(matches!(nobody, ConnectError::Database(_)));
    for error in [not_a_url, nobody] {
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
