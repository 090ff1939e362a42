//! One budget, several gateways. The deadline of the stores is wide but where it is what is tested: these are of sums, on machines that do
//! much else.

use std::time::Duration;

use serde_json::json;
use ziggurat_core::Usd;
use ziggurat_sql::postgres::{self, PostgresLedger};
use ziggurat_testkit::{postgres::Postgres, redis::RedisServer};

use super::{Standing, call_as, gateways, new_key, of_gateway, on_redis};
use crate::{
    client::Raw,
    harness::{Gateway, until},
    paid::{Gate, Paid, body, call, calls, key, statuses},
    samples::CHAT,
};

/// 100 calls of $0.02 at each of two gateways, at once, against $1.00.
async fn two_hundred(store: &Store) {
    let upstream = Paid::start(Gate::Open).await;
    let both = gateways(2, &upstream, &store.sections("")).await;
    let body = body("paid", false, Some(100));
    let (one, other) = tokio::join!(calls(both[0].addr, 100, &body), calls(both[1].addr, 100, &body));
    let all: Vec<_> = one.into_iter().chain(other).collect();
    assert_eq!(statuses(&all), [(200, 50), (429, 150)]);
    assert_eq!(upstream.served(), 50);
    store.becomes(Standing::spent(Usd::dollars(1))).await;
}

/// 200 calls of $0.02 at two gateways, one of which is killed among them. What it held is posted as unreconciled when its time is over: no
/// more, no less.
async fn killed(store: &Store) {
    let upstream = Paid::start(Gate::Open).await;
    let mut both = gateways(2, &upstream, &store.sections("  hold_ttl: 2\n")).await.into_iter();
    let (first, second) = (both.next().unwrap(), both.next().unwrap());
    let body = body("paid", false, Some(100));
    assert_eq!(statuses(&calls(first.addr, 5, &body).await), [(200, 5)]);
    upstream.open(Gate::Shut);
    let ask = async |addr| {
        let mut raw = Raw::connect(addr).await;
        raw.post(CHAT, &[&key()], &body).await;
        raw
    };
    let mut hanging = Vec::new();
    for _ in 0..30 {
        hanging.push(ask(first.addr).await);
    }
    until(|| upstream.now() == 30).await;
    let mut asked = Vec::new();
    for _ in 0..165 {
        asked.push(ask(second.addr).await);
    }
    until(|| upstream.now() == 30 + 15).await;
    store.becomes(Standing { spent: Usd::cents(10), held: Usd::cents(90), unreconciled: Usd::ZERO }).await;
    first.signal("KILL");
    first.ended().await;
    until(|| upstream.now() == 15).await;
    upstream.open(Gate::Open);
    let mut answers = Vec::new();
    for mut raw in asked {
        answers.push(raw.answer().await);
    }
    assert_eq!(statuses(&answers), [(200, 15), (429, 150)]);
    assert_eq!(upstream.served(), 5 + 15);
    // What was served is spent, and what nobody can tell of is marked as that: the second gateway sees to it.
    store.becomes(Standing { spent: Usd::dollars(1), held: Usd::ZERO, unreconciled: Usd::cents(60) }).await;
    assert_eq!(statuses(&calls(second.addr, 20, &body).await), [(429, 20)]);
    assert_eq!(upstream.served(), 5 + 15);
}

/// Where the budget is kept.
enum Store {
    Redis(RedisServer),
    Postgres(Postgres),
}

// ===== impl Store =====

impl Store {
    fn sections(&self, settings: &str) -> String {
        let at = match self {
            Self::Redis(server) => format!("ziggurat_settings:\n  redis: {}\n", server.url()),
            Self::Postgres(server) => in_database(&server.url()),
        };
        Self::patient(&at, settings)
    }

    fn patient(at: &str, settings: &str) -> String {
        format!("litellm_settings: {{max_budget: 1.00}}\n{at}  store_deadline: 10\n{settings}")
    }

    /// Settlements take a moment to arrive.
    async fn becomes(&self, expected: Standing) {
        let mut found = None;
        for _ in 0..400 {
            found = match self {
                Self::Redis(server) => Some(on_redis(server).await),
                Self::Postgres(server) => on_postgres(server).await,
            };
            if found == Some(expected) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{found:?}, not {expected:?}");
    }
}

/// Beside the master key there is no room for it in the text.
fn in_database(url: &str) -> String {
    format!("environment_variables: {{DATABASE_URL: '{url}'}}\nziggurat_settings:\n  on_budgets_away: deny\n")
}

pub(super) async fn on_postgres(server: &Postgres) -> Option<Standing> {
    let pool = postgres::connect(&server.url(), postgres::Options::default()).await.unwrap();
    let total = PostgresLedger::new(pool).total(&of_gateway().account).await.unwrap()?;
    Some(Standing { spent: total.amount, held: total.held, unreconciled: total.unreconciled })
}

/// Two gateways that share a budget tell of what is spent once, whichever reaches it.
async fn told(store: &Store) {
    let upstream = Paid::start(Gate::Open).await;
    let both = gateways(2, &upstream, &store.sections("")).await;
    let body = body("paid", false, Some(100));
    let (one, other) = tokio::join!(calls(both[0].addr, 25, &body), calls(both[1].addr, 25, &body));
    assert_eq!(statuses(&one.into_iter().chain(other).collect::<Vec<_>>()), [(200, 50)]);
    store.becomes(Standing::spent(Usd::dollars(1))).await;
    let mut lines = Vec::new();
    for gateway in both {
        // It posts, and tells, before it ends.
        lines.extend(gateway.stop().await.stderr.lines().map(str::to_owned));
    }
    for percent in ["80 %", "100 %"] {
        let of = format!("{percent} of the budget of $1");
        assert_eq!(lines.iter().filter(|line| line.contains(&of)).count(), 1, "{percent}: {lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spent_over_redis_is_told_once() {
    let Some(server) = RedisServer::start() else { return };
    told(&Store::Redis(server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spent_over_postgres_is_told_once() {
    let Some(server) = Postgres::start() else { return };
    told(&Store::Postgres(server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_over_redis() {
    let Some(server) = RedisServer::start() else { return };
    two_hundred(&Store::Redis(server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_of_two_hundred_calls_fit_over_postgres() {
    let Some(server) = Postgres::start() else { return };
    two_hundred(&Store::Postgres(server)).await;
}

/// The ledger and the keys are in one database: one set of connections, each of which looks at the schema once when it is made.
#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_and_the_keys_share_connections() {
    let Some(server) = Postgres::start_with(&["fsync=off", "log_statement=all"]) else { return };
    let upstream = Paid::start(Gate::Open).await;
    let gateway = gateways(1, &upstream, &Store::patient(&in_database(&server.url()), "")).await.remove(0);
    let secret = new_key(gateway.addr, json!({})).await;
    let answer = call_as(gateway.addr, &secret, &body("paid", false, Some(100))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.logged("CREATE TABLE IF NOT EXISTS _sqlx_migrations"), 1);
}

/// The first call that passes.
async fn until_passes(gateway: &Gateway, body: &str) {
    let mut tries = 0;
    while call(gateway.addr, body).await.status != 200 {
        tries += 1;
        assert!(tries < 100, "a call passes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// With the deadline that there is unless one is set. A machine that does much else may be too slow for that, now and then: so a few
/// databases are tried. Nowhere do more pass than fit.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_decided_in_time_over_postgres() {
    let Some(server) = Postgres::start() else { return };
    let mut told = Vec::new();
    for round in 0..10 {
        let url = server.create_database(&format!("round{round}"));
        let upstream = Paid::start(Gate::Open).await;
        // Four cents more, for a first call at each, which loads what is loaded once.
        let sections = format!("litellm_settings: {{max_budget: 1.04}}\n{}", in_database(&url));
        let both = gateways(2, &upstream, &sections).await;
        let body = body("paid", false, Some(100));
        for gateway in &both {
            until_passes(gateway, &body).await;
        }
        let (one, other) = tokio::join!(calls(both[0].addr, 100, &body), calls(both[1].addr, 100, &body));
        let statuses = statuses(&one.into_iter().chain(other).collect::<Vec<_>>());
        let passed = statuses.iter().find(|(status, _)| *status == 200).map_or(0, |(_, count)| *count);
        assert!(passed <= 50, "{statuses:?}");
        if statuses == [(200, 50), (429, 150)] {
            return;
        }
        told.push(statuses);
    }
    panic!("{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_held_on_redis_is_posted() {
    let Some(server) = RedisServer::start() else { return };
    killed(&Store::Redis(server)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_gateway_held_in_postgres_is_posted() {
    let Some(server) = Postgres::start() else { return };
    killed(&Store::Postgres(server)).await;
}
