//! A database that is full, locked, damaged, newer, or somebody else's.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use ziggurat_core::{ScopeKind, Usd};

use crate::{
    OpenError, Options, SqliteJournal, StoreError,
    holds::NoRoom,
    record::Record,
    tests::{account, all, open, small},
};

async fn connect(path: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

fn text(opened: Result<impl Sized, OpenError>) -> String {
    opened.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn a_database_that_is_locked_fills_the_slots_and_then_refuses_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let options = Options::default().slots(8).busy_timeout(Duration::from_millis(5));
    let (journal, _) = SqliteJournal::open(&path, options).unwrap();
    let mut other = connect(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let one = account(ScopeKind::Key, "k");
    for id in 0..8 {
        let slot = journal.hold(id, 10, &[Arc::clone(&one)]);
        journal.settle(&slot, id, 7, &[(Arc::clone(&one), 0)]);
    }
    assert!(matches!(journal.flush().await, Err(StoreError::Database(_))));
    assert!(matches!(journal.take(Record::default(), &[]), Err(NoRoom::Full)));
    assert!(matches!(journal.flush().await, Err(StoreError::Database(_))));
    other.execute("ROLLBACK").await.unwrap();

    // Nobody asks: it tries again by itself.
    let until = Instant::now() + Duration::from_secs(20);
    while journal.free_slots() < 8 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(journal.total(&one).await.unwrap(), Usd::pico(56));
    assert_eq!(all(&journal).await.len(), 8);
    let _room_again = journal.hold(9, 1, &[one]);
}

#[tokio::test]
async fn a_disk_that_is_full_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    drop(open(&path));
    let mut options = small();
    // As large as the empty database is.
    options.most_pages = Some(u32::try_from(fs::metadata(&path).unwrap().len() / 4096).unwrap());
    let (journal, _) = SqliteJournal::open(&path, options).unwrap();
    let accounts: Vec<_> = (0..3).map(|at| account(ScopeKind::Key, &at.to_string().repeat(300))).collect();
    let (mut id, mut kept) = (0, Vec::new());
    while let Ok(slot) = journal.take(Record { id, amount: 5, ..Record::default() }, &accounts) {
        if id % 4 == 0 {
            kept.push(id);
        } else {
            let lines: Vec<_> = accounts.iter().map(|account| (Arc::clone(account), id as i64)).collect();
            journal.settle(&slot, id, id, &lines);
        }
        id += 1;
        if id % 16 == 0 {
            let _ = journal.flush().await;
        }
    }
    let failed = journal.flush().await.unwrap_err();
    let source = std::error::Error::source(&failed).unwrap().to_string();
    assert!(source.contains("full"), "{source}");
    drop(journal);

    let (journal, recovered) = open(&path);
    let found = all(&journal).await;
    let held: Vec<_> = recovered.holds.iter().map(|hold| hold.id.0).collect();
    assert_eq!(
        {
            let mut held = held;
            held.sort_unstable();
            held
        },
        kept
    );
    let wanted = (0..id).filter(|id| id % 4 != 0);
    assert_eq!(
        found.iter().map(|(&id, posting)| (id, posting.amount.as_pico())).collect::<Vec<_>>(),
        wanted.map(|id| (id, id)).collect::<Vec<_>>()
    );
    assert_eq!(journal.total(&accounts[1]).await.unwrap(), Usd::pico((0..id).filter(|id| id % 4 != 0).sum()));
}

#[tokio::test]
async fn two_cannot_have_it_open_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let (journal, _) = open(&path);
    assert_eq!(
        text(SqliteJournal::open(&path, small())),
        format!("{}-holds is open already", fs::canonicalize(&path).unwrap().display())
    );
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    assert!(matches!(SqliteJournal::open(dir.path().join("link"), small()), Err(OpenError::Locked { .. })));
    journal.close().await.unwrap();
    // What is held may still be settled.
    assert!(matches!(SqliteJournal::open(&path, small()), Err(OpenError::Locked { .. })));
    drop(journal);
    drop(open(&path));
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    drop(open(&path));
    let mut other = connect(&path).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (3, 'x', 1, x'00', 0)";
    other.execute(newer).await.unwrap();
    other.close().await.unwrap();
    let refused = SqliteJournal::open(&path, small());
    assert!(matches!(refused, Err(OpenError::Newer { found: 3, known: 2, .. })));
    assert!(text(refused).ends_with("db has schema version 3, made by a newer version; this one knows 2"));
    let mut other = connect(&path).await;
    other
        .execute(
            "DELETE FROM _sqlx_migrations WHERE version = 3; UPDATE _sqlx_migrations SET checksum = x'00'",
        )
        .await
        .unwrap();
    other.close().await.unwrap();
    assert!(
        text(SqliteJournal::open(&path, small()))
            .ends_with("its schema version 1 is not the one of this name")
    );
}

#[test]
fn a_damaged_database_is_refused_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    fs::write(&path, "this is no database, and long enough to be none".repeat(100)).unwrap();
    assert!(text(SqliteJournal::open(&path, small())).contains("db is damaged: "));
    fs::remove_file(&path).unwrap();
    fs::remove_file(dir.path().join("db-holds")).unwrap();

    drop(open(&path));
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..2_000].fill(0xee);
    fs::write(&path, bytes).unwrap();
    assert!(text(SqliteJournal::open(&path, small())).contains("db is damaged: "));
    assert!(matches!(SqliteJournal::open(dir.path(), small()), Err(OpenError::Io { .. })));
    assert!(matches!(SqliteJournal::open(dir.path().join("no/db"), small()), Err(OpenError::Io { .. })));
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let (journal, _) = open(&one);
    let key = account(ScopeKind::Key, "k");
    let slot = journal.hold(1, 1, &[Arc::clone(&key)]);
    drop((journal, slot));
    drop(open(&two));
    fs::rename(dir.path().join("one-holds"), dir.path().join("two-holds")).unwrap();
    assert!(
        text(SqliteJournal::open(&two, small()))
            .ends_with("two-holds belongs to another database than the one beside it")
    );

    // A database that was lost, or a file of holds, can be begun anew beside the other.
    fs::remove_file(&two).unwrap();
    assert_eq!(open(&two).1.holds.len(), 1);
    assert_eq!(open(&one).1.holds.len(), 0);
}

#[test]
fn opens_and_closes_within_a_runtime_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    drop(open(&path));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async { drop(open(&path)) });
    let journal = runtime.block_on(async { open(&path).0 });
    drop(runtime);
    let slot = journal.hold(1, 1, &[]);
    journal.settle(&slot, 1, 1, &[]);
    drop(journal);
    assert_eq!(open(&path).0.free_slots(), 64);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_hold_up_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("db"));
    for _ in 0..20 {
        let asked = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { journal.flush().await }
        });
        tokio::task::yield_now().await;
        asked.abort();
    }
    journal.flush().await.unwrap();
}
