//! A server that many nodes share, and that may go away.

use std::time::Instant;

use ziggurat_testkit::postgres::Postgres;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_start_at_once_all_find_the_schema_made() {
    let Some(server) = Postgres::start() else { return };
    let url = server.url();
    let opened: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Directory::open(&url, options()).await })
        })
        .collect();
    for directory in opened {
        directory.await.unwrap().unwrap().ping().await.unwrap();
    }
    Directory::migrate(&url).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', true, '', 0)";
    let _ = server.psql("postgres", newer);
    let refused = Directory::open(&url, options()).await.unwrap_err();
    assert_eq!(refused, DirectoryError::Newer { found: 99, known: 5 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn both_databases_have_the_same_tables_and_columns() {
    let Some(server) = Postgres::start() else { return };
    Directory::migrate(&server.url()).await.unwrap();
    let theirs = server.psql(
        "postgres",
        "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name IN
           ('api_key', 'team', 'team_member', 'app_user', 'customer', 'budget_template') ORDER BY 1",
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    Directory::migrate(&format!("sqlite:{}", path.display())).await.unwrap();
    let to = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut ours = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&to).await.unwrap();
    let ours: Vec<String> = sqlx::query_scalar(
        "SELECT m.name || '.' || c.name || iif(c.\"notnull\", ' not null', '') FROM sqlite_schema m, pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name IN
           ('api_key', 'team', 'team_member', 'app_user', 'customer', 'budget_template') ORDER BY 1",
    )
    .fetch_all(&mut ours)
    .await
    .unwrap();
    assert_eq!(theirs.lines().collect::<Vec<_>>(), ours);
    assert_eq!(ours.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_frozen_or_killed_holds_nobody_up_and_is_found_again() {
    let Some(mut server) = Postgres::start() else { return };
    let options = Options::default().admin_deadline(Duration::from_secs(2));
    let directory = Directory::open(&server.url(), options).await.unwrap();
    directory.insert_key(key("sk-1")).await.unwrap();
    let known = hash("sk-1");
    assert!(directory.key(&known).await.unwrap().is_some());

    server.freeze();
    let from = Instant::now();
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let directory = directory.clone();
            tokio::spawn(async move { directory.key(&known).await })
        })
        .collect();
    for answer in asked {
        assert!(answer.await.unwrap().is_err());
    }
    assert!(from.elapsed() < Duration::from_secs(1), "{:?}", from.elapsed());
    server.thaw();
    found_again(&directory, &known).await;

    server.kill();
    assert!(directory.key(&known).await.is_err());
    server.restart();
    found_again(&directory, &known).await;
    directory.set_key_blocked(&known, true).await.unwrap();
    assert!(directory.key(&known).await.unwrap().unwrap().blocked);
}

async fn found_again(directory: &Directory, known: &KeyHash) {
    let from = Instant::now();
    while directory.key(known).await.is_err() {
        assert!(from.elapsed() < Duration::from_secs(2), "not found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Prints what one look-up takes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn look_up_takes() {
    let Some(server) = Postgres::start() else { return };
    super::sqlite::measure(&Directory::open(&server.url(), options()).await.unwrap(), "PostgreSQL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_made_before_anybody_asks() {
    let Some(server) = Postgres::start() else { return };
    let directory = Directory::open(&server.url(), options()).await.unwrap();
    let super::super::store::Store::Postgres(pool) = &directory.0.store else { panic!("is on PostgreSQL") };
    let all_are_there = async {
        while pool.inner().num_idle() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_are_there).await.expect("they are made ahead");
    directory.close().await;
}
