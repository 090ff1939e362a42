//! Who waits for one account is decided together.

use std::time::Duration;

use sqlx::{Connection, PgConnection, query, query_scalar};
use tokio::time::timeout;
use ziggurat_budget::{
    Crossed, HoldId, Refused,
    remote::{Backend, Mark},
};
use ziggurat_core::Usd;
use ziggurat_sql::postgres::{Options, PostgresLedger, connect};
use ziggurat_testkit::postgres::Postgres;

use super::{TTL, claim, dollar, ledger};

/// Somebody else, who has locked all accounts there are.
async fn lock(url: &str) -> PgConnection {
    let mut other = PgConnection::connect(url).await.expect("connects");
    query("BEGIN").execute(&mut other).await.expect("begins");
    query("SELECT id FROM account FOR UPDATE").execute(&mut other).await.expect("locks");
    other
}

/// How many wait for a lock: within a transaction that sees the present.
async fn waiting(other: &mut PgConnection) -> i64 {
    query_scalar("SELECT count(*) FROM pg_locks WHERE NOT granted").fetch_one(other).await.expect("answers")
}

async fn until_one_waits(other: &mut PgConnection) {
    while waiting(other).await == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_waits_for_an_account_is_decided_in_one_statement() {
    let Some(server) = Postgres::start() else { return };
    let ledger = ledger(&server.url()).await;
    let (budget, own) = (dollar("everybody"), dollar("own"));
    ledger
        .reserve(&claim(1000, std::slice::from_ref(&budget), Usd::ZERO), TTL)
        .await
        .expect("answers")
        .expect("fits");
    let mut other = lock(&server.url()).await;
    let ask = |id: u128| {
        let (ledger, claim) = (ledger.clone(), claim(id, std::slice::from_ref(&budget), Usd::cents(2)));
        tokio::spawn(async move { ledger.reserve(&claim, TTL).await.expect("answers") })
    };
    let mut asked = vec![ask(0)];
    until_one_waits(&mut other).await;
    asked.extend((1..200).map(ask));
    // Who leaves before it is asked for is not asked for.
    let left = claim(500, std::slice::from_ref(&budget), Usd::cents(2));
    assert!(timeout(Duration::from_millis(20), ledger.reserve(&left, TTL)).await.is_err());
    // Whoever needs another account waits for none of them; and none of them waits for a lock beside the first.
    let free = claim(600, std::slice::from_ref(&own), Usd::cents(2));
    assert!(ledger.reserve(&free, TTL).await.expect("answers").is_ok());
    assert_eq!(waiting(&mut other).await, 1);
    query("COMMIT").execute(&mut other).await.expect("commits");

    let decided = futures_util::future::join_all(asked).await;
    let granted: Vec<bool> = decided
        .into_iter()
        .map(|decided| match decided.expect("does not panic") {
            Ok(_) => true,
            Err(Refused::Exceeded { balance, .. }) => {
                assert_eq!(balance.held, Usd::dollars(1));
                false
            }
            Err(refused) => panic!("{refused}"),
        })
        .collect();
    // In the order in which they came.
    assert_eq!(granted, [vec![true; 50], vec![false; 150]].concat());
    // The first, and those who waited for it.
    let statements = "SELECT count(DISTINCT xmin::text), count(*) FROM hold WHERE amount > 0 \
         AND accounts = (SELECT array_agg(id) FROM account WHERE scope = 'everybody')";
    assert_eq!(server.psql("postgres", statements), "2|50");
}

#[tokio::test]
async fn a_decision_waits_for_a_lock_as_long_as_the_options_say() {
    let Some(server) = Postgres::start() else { return };
    let options = Options::default().lock_timeout(Duration::from_millis(30));
    let ledger = PostgresLedger::new(connect(&server.url(), options).await.expect("connects"));
    let budget = [dollar("a")];
    ledger.reserve(&claim(1, &budget, Usd::cents(1)), TTL).await.expect("answers").expect("fits");
    let mut other = lock(&server.url()).await;
    let away = ledger.reserve(&claim(2, &budget, Usd::cents(1)), TTL).await.expect_err("is given up");
    assert_eq!(away.to_string(), "PostgreSQL: error 55P03");
    // Nor does who asks what is to be told.
    let mark = Mark::new(budget[0].clone(), Crossed::Percent(80), Usd::ZERO, HoldId(1));
    let away = ledger.tell(std::slice::from_ref(&mark)).await.expect_err("is given up");
    assert_eq!(away.to_string(), "PostgreSQL: error 55P03");
    query("ROLLBACK").execute(&mut other).await.expect("ends");
    ledger.reserve(&claim(2, &budget, Usd::cents(1)), TTL).await.expect("answers").expect("fits");
}
