//! A file that is shared with a ledger, with other processes, and with time.

use std::path::Path;

use sqlx::{Connection, Executor, SqliteConnection};

use super::*;
use crate::SqliteJournal;

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

async fn raw(path: &Path) -> SqliteConnection {
    let to = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    SqliteConnection::connect_with(&to).await.unwrap()
}

fn journal(path: &Path) -> std::sync::Arc<SqliteJournal> {
    SqliteJournal::open(path, crate::Options::default().slots(64)).unwrap().0
}

#[tokio::test]
async fn ledger_and_directory_share_a_file_in_either_order() {
    for ledger_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.db");
        let (directory, ledger) = if ledger_first {
            let ledger = journal(&path);
            (Directory::open(&url(&path), options()).await.unwrap(), ledger)
        } else {
            let directory = Directory::open(&url(&path), options()).await.unwrap();
            (directory, journal(&path))
        };
        directory.insert_key(key("sk-1")).await.unwrap();
        ledger.close().await.unwrap();
        drop(ledger);
        directory.close().await;
        drop(journal(&path));
        let directory = Directory::open(&url(&path), options()).await.unwrap();
        assert!(directory.key(&hash("sk-1")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_file_of_a_version_without_directory_gets_one_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.db");
    drop(journal(&path));
    let mut old = raw(&path).await;
    for table in ["api_key", "team_member", "team", "app_user", "customer", "budget_template"] {
        old.execute(sqlx::AssertSqlSafe(format!("DROP TABLE {table}"))).await.unwrap();
    }
    old.execute("DELETE FROM _sqlx_migrations WHERE version = 2").await.unwrap();
    old.execute("INSERT INTO account (kind, scope, period) VALUES ('key', 'k', 'lifetime')").await.unwrap();
    let before: Vec<u8> = sqlx::query_scalar("SELECT checksum FROM _sqlx_migrations WHERE version = 1")
        .fetch_one(&mut old)
        .await
        .unwrap();
    old.close().await.unwrap();

    Directory::migrate(&url(&path)).await.unwrap();
    Directory::migrate(&url(&path)).await.unwrap();
    let mut new = raw(&path).await;
    let accounts: i64 = sqlx::query_scalar("SELECT count(*) FROM account").fetch_one(&mut new).await.unwrap();
    assert_eq!(accounts, 1);
    let after: Vec<u8> = sqlx::query_scalar("SELECT checksum FROM _sqlx_migrations WHERE version = 1")
        .fetch_one(&mut new)
        .await
        .unwrap();
    // As released: whoever has a ledger has this one.
    assert_eq!((&before, hex(&after).len()), (&after, 96));
    assert_eq!(&hex(&after)[..16], LEDGER);
    new.close().await.unwrap();
    let directory = Directory::open(&url(&path), options()).await.unwrap();
    directory.insert_key(key("sk-1")).await.unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_open_a_new_file_at_once_all_find_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.db");
    let opened: Vec<_> = (0..8)
        .map(|_| {
            let url = url(&path);
            tokio::spawn(async move { Directory::open(&url, options()).await })
        })
        .collect();
    for directory in opened {
        directory.await.unwrap().unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn the_file_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.db");
    Directory::migrate(&url(&path)).await.unwrap();
    let mut newer = raw(&path).await;
    newer
        .execute("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (3, 'x', 1, x'00', 0)")
        .await
        .unwrap();
    newer.close().await.unwrap();
    let refused = Directory::open(&url(&path), options()).await.unwrap_err();
    assert_eq!(refused, DirectoryError::Newer { found: 3, known: 2 });
    assert_eq!(
        refused.to_string(),
        "the directory has schema version 3, made by a newer version; this one knows 2"
    );
    let text = dir.path().join("text");
    std::fs::write(&text, "x".repeat(5_000)).unwrap();
    assert!(matches!(Directory::open(&url(&text), options()).await, Err(DirectoryError::Other(_))));
    let nowhere = dir.path().join("no/such/folder");
    assert!(Directory::open(&url(&nowhere), options()).await.is_err());
}

#[tokio::test]
async fn look_ups_go_on_while_another_writes_and_changes_give_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("busy.db");
    let directory =
        Directory::open(&url(&path), options().admin_deadline(Duration::from_millis(300))).await.unwrap();
    directory.insert_key(key("sk-1")).await.unwrap();
    let mut other = raw(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert!(directory.key(&hash("sk-1")).await.unwrap().is_some());
    let refused = directory.insert_key(key("sk-2")).await;
    assert!(matches!(refused, Err(DirectoryError::Away(_))), "{refused:?}");
    other.execute("ROLLBACK").await.unwrap();
    directory.insert_key(key("sk-3")).await.unwrap();
    assert_eq!(directory.list_keys(&KeyFilter::default(), Page::default()).await.unwrap().total, 2);
}

/// Prints what one look-up takes: `cargo test --release -p ziggurat-sql -- --ignored --nocapture look_up_takes`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn look_up_takes() {
    let dir = tempfile::tempdir().unwrap();
    measure(&Directory::open(&url(&dir.path().join("db")), options()).await.unwrap(), "SQLite").await;
}

/// Prints what one look-up takes among 10,000 keys.
pub(super) async fn measure(directory: &Directory, name: &str) {
    let mut team = Team::new("t");
    team.allowance.max_budget = Some(Usd::dollars(50));
    team.allowance.budget_duration = some("30d");
    directory.insert_team(team).await.unwrap();
    directory.add_member(Member::new("t", "u")).await.unwrap();
    for number in 0..10_000 {
        let mut key = key(&number.to_string());
        (key.team, key.user) = (some("t"), some("u"));
        key.allowance.rpm_limit = Some(60);
        key.allowance.max_budget = Some(Usd::dollars(1));
        directory.insert_key(key).await.unwrap();
    }
    let mut took: Vec<_> = Vec::new();
    for number in 0..5_000 {
        let hash = hash(&(number * 7_919 % 10_000).to_string());
        let from = std::time::Instant::now();
        assert!(directory.key(&hash).await.unwrap().is_some());
        took.push(from.elapsed());
    }
    took.sort_unstable();
    println!("{name}: p50 {:?}, p99 {:?}, most {:?}", took[2_500], took[4_950], took[4_999]);
}

/// How the checksum of the ledger's migration begins.
const LEDGER: &str = "b79d610c8e5de95b";
