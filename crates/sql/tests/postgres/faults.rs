//! A server that is frozen, or dies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ziggurat_budget::{Charge, remote::Backend};
use ziggurat_core::Usd;
use ziggurat_sql::postgres::{Options, PostgresLedger, connect};
use ziggurat_testkit::postgres::Postgres;

use super::{TTL, cents, claim, dollar, settlement};

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_freezes_nobody() {
    let Some(server) = Postgres::start() else { return };
    let options = Options::default()
        .max_connections(4)
        .acquire_timeout(Duration::from_millis(300))
        .statement_timeout(Duration::from_millis(300));
    let ledger = PostgresLedger::new(connect(&server.url(), options).await.expect("connects"));
    let budget = [dollar("a")];
    ledger.reserve(&claim(1, &budget, Usd::cents(1)), TTL).await.expect("answers").expect("fits");

    server.freeze();
    for round in 0..5 {
        let since = Instant::now();
        let asked = (0..20_u128).map(|id| {
            let claim = claim(100 + 20 * round + id, &budget, Usd::cents(1));
            let ledger = &ledger;
            async move { ledger.reserve(&claim, TTL).await }
        });
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| answer.is_err()));
        // To get a connection, and to get an answer; and what a busy machine adds.
        assert!(since.elapsed() < Duration::from_millis(1_200), "{:?}", since.elapsed());
    }
    // A caller that gives up sooner is let go at once.
    let soon = tokio::time::timeout(Duration::from_millis(50), ledger.balances(&budget)).await;
    assert!(soon.is_err());

    server.thaw();
    let since = Instant::now();
    while ledger.balances(&budget).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(2));
    }
    // Nobody knows which of the lost ones were made: their callers release them.
    let lost: Vec<_> = (100..200).map(|id| settlement(id, &budget, Charge::new(Usd::ZERO))).collect();
    ledger.settle(&lost).await.expect("is settled");
    assert_eq!(cents(&ledger, &budget[0]).await, (0, 1));
}

/// What was acknowledged is there, once, when a server that was killed in the middle of load is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_loses_nothing_and_is_found_again() {
    // It syncs to the disk.
    let Some(mut server) = Postgres::start_with(&[]) else { return };
    let ledger =
        Arc::new(PostgresLedger::new(connect(&server.url(), Options::default()).await.expect("connects")));
    let (stop, settled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut budgets = vec![dollar("gateway"), dollar("a"), dollar("b"), dollar("c")];
    budgets.iter_mut().for_each(|budget| budget.cap = Usd::dollars(1_000_000));
    let clients: Vec<_> = (0..8_u128)
        .map(|client| {
            let (ledger, stop, settled) = (Arc::clone(&ledger), Arc::clone(&stop), Arc::clone(&settled));
            let mut budgets = budgets.clone();
            // In any order: nobody waits in a circle.
            budgets.rotate_left(client as usize % 4);
            tokio::spawn(async move {
                let mut id = client * 1_000_000;
                while !stop.load(Relaxed) {
                    id += 1;
                    let claim = claim(id, &budgets, Usd::cents(2));
                    if ledger.reserve(&claim, TTL).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    let end = [settlement(id, &budgets, Charge::new(Usd::cents(1)))];
                    // It is repeated until it is acknowledged, as the queue of a node does.
                    while ledger.settle(&end).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    settled.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill();
        let before = settled.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.restart();
        let since = Instant::now();
        while settled.load(Relaxed) <= before + 8 {
            assert!(since.elapsed() < Duration::from_secs(2), "it is back");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    stop.store(true, Relaxed);
    for client in clients {
        client.await.expect("ends");
    }
    let settled = settled.load(Relaxed);
    for budget in &budgets {
        assert_eq!(cents(&ledger, budget).await, (settled.into(), 0));
    }
    assert_eq!(
        server.psql("postgres", "SELECT count(*), count(DISTINCT hold) FROM posting"),
        format!("{settled}|{settled}")
    );
    assert_eq!(
        server.psql("postgres", "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"),
        "0"
    );
}
