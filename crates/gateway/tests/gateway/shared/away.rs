//! Stores that are stopped, killed and started again, in the middle of load.

use std::time::{Duration, Instant};

use serde_json::json;
use ziggurat_core::Usd;
use ziggurat_testkit::{postgres::Postgres, redis::RedisServer};

use super::{
    BACK, Standing, budgets::on_postgres, call_as, gateways, is_alive, new_key, on_redis, readiness,
};
use crate::{
    harness::Gateway,
    paid::{Gate, Paid, body, call, calls, statuses},
};

/// How late a gateway answers at most, with a store that does not: what it adds (the deadline, which is wider here than it is unless set),
/// and what these machines need for the rest.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The status of a call, and whether it came at once.
async fn status(gateway: &Gateway, body: &str) -> u16 {
    let start = Instant::now();
    let answer = call(gateway.addr, body).await;
    assert!(start.elapsed() < AT_ONCE, "{:?} for {}", start.elapsed(), answer.body);
    answer.status
}

/// Calls until one is answered with this status; within the time that a store that is back may stay unnoticed.
async fn becomes(gateway: &Gateway, body: &str, expected: u16) {
    let start = Instant::now();
    while status(gateway, body).await != expected {
        assert!(start.elapsed() < BACK, "is not {expected} after {BACK:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn lines(text: &str, of: &str) -> usize {
    text.lines().filter(|line| line.contains(of)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_freezes_nobody_and_calls_are_refused() {
    let Some(mut server) = RedisServer::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = format!(
        "litellm_settings: {{max_budget: 1.00}}\nziggurat_settings:\n  store_deadline: 0.3\n  rpm: 1000\n  redis: {}\n",
        server.url()
    );
    let gateway = gateways(1, &upstream, &sections).await.remove(0);
    let body = body("paid", false, Some(100));
    assert_eq!(status(&gateway, &body).await, 200);
    assert_eq!(readiness(&gateway).await.0, 200);
    server.stop();
    for _ in 0..20 {
        assert_eq!(status(&gateway, &body).await, 503);
    }
    assert_eq!(
        readiness(&gateway).await,
        (503, json!({"status": "unavailable", "db": "Not connected", "redis": "away"}))
    );
    assert!(is_alive(&gateway).await);
    server.cont();
    becomes(&gateway, &body, 200).await;
    assert_eq!(readiness(&gateway).await.0, 200);
    // Gone, and another that knows nothing in its place.
    server.kill();
    becomes(&gateway, &body, 503).await;
    server.restart();
    becomes(&gateway, &body, 200).await;
    let ended = gateway.stop().await;
    assert_eq!(ended.code, Some(0));
    // A line each, however many calls there were: of limits, which are asked first, and perhaps of budgets, once or twice.
    let (away, back) = (lines(&ended.stderr, "the store is away"), lines(&ended.stderr, "the store is back"));
    assert!((1..=4).contains(&away) && back == away, "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_calls_go_by_a_share_where_policy_says_so() {
    let Some(server) = RedisServer::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = format!(
        "ziggurat_settings:\n  store_deadline: 0.3\n  rpm: 30\n  redis: {}\n  on_limits_away: local:3\n",
        server.url()
    );
    let gateway = gateways(1, &upstream, &sections).await.remove(0);
    let body = body("paid", false, Some(100));
    assert_eq!(status(&gateway, &body).await, 200);
    server.stop();
    assert_eq!(statuses(&calls(gateway.addr, 40, &body).await), [(200, 10), (429, 30)]);
    // Those who ask at the same time find out once; three times in a row, and nobody waits any more.
    for _ in 0..3 {
        assert_eq!(status(&gateway, &body).await, 429);
    }
    assert_eq!(
        readiness(&gateway).await,
        (200, json!({"status": "degraded", "db": "Not connected", "redis": "away"}))
    );
    server.cont();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_calls_pass_where_policy_says_so_and_are_posted_later() {
    let Some(server) = RedisServer::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = format!(
        "litellm_settings: {{max_budget: 1.00}}\nziggurat_settings:\n  store_deadline: 0.3\n  redis: {}\n  on_budgets_away: allow\n",
        server.url()
    );
    let gateway = gateways(1, &upstream, &sections).await.remove(0);
    let body = body("paid", false, Some(100));
    assert_eq!(status(&gateway, &body).await, 200);
    server.stop();
    assert_eq!(statuses(&calls(gateway.addr, 10, &body).await), [(200, 10)]);
    server.cont();
    let start = Instant::now();
    while on_redis(&server).await != Standing::spent(Usd::cents(22)) {
        assert!(start.elapsed() < BACK * 2, "{:?}", on_redis(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(statuses(&calls(gateway.addr, 50, &body).await), [(200, 39), (429, 11)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_freezes_nobody_and_known_keys_go_on() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    // The ledger is in memory: this is of keys.
    let sections = format!(
        "environment_variables: {{DATABASE_URL: '{}'}}\nziggurat_settings: {{ledger: memory, store_deadline: 0.3}}\n",
        server.url()
    );
    let gateway = gateways(1, &upstream, &sections).await.remove(0);
    let (known, unknown) = (new_key(gateway.addr, json!({})).await, new_key(gateway.addr, json!({})).await);
    let body = body("paid", false, Some(100));
    assert_eq!(call_as(gateway.addr, &known, &body).await.status, 200);
    for kill in [false, true] {
        if kill {
            server.kill();
        } else {
            server.freeze();
        }
        // Each another: that there is no such key is known for a while.
        let mut number = 0;
        let mut wrong = || {
            number += 1;
            format!("sk-{}-{number:032}", if kill { "killed" } else { "frozen" })
        };
        // Longer than a key is fresh.
        let until = Instant::now() + Duration::from_secs(6);
        while Instant::now() < until {
            let start = Instant::now();
            assert_eq!(call_as(gateway.addr, &known, &body).await.status, 200);
            let answer = call_as(gateway.addr, &wrong(), &body).await;
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(answer.header("retry-after").is_some());
            assert!(start.elapsed() < AT_ONCE * 2, "{:?}", start.elapsed());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(readiness(&gateway).await, (200, json!({"status": "degraded", "db": "away"})));
        assert!(is_alive(&gateway).await);
        if kill {
            server.restart();
        } else {
            server.thaw();
        }
        let start = Instant::now();
        while call_as(gateway.addr, &wrong(), &body).await.status != 401 {
            assert!(start.elapsed() < BACK, "is not back after {BACK:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(call_as(gateway.addr, &unknown, &body).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_ledger_freezes_nobody_and_calls_go_by_policy() {
    let body = body("paid", false, Some(100));
    // Of what is left, $0.98, one of two nodes may spend a half: 24 calls of $0.02. Whether more would fit nobody can tell.
    for (policy, expected, spent) in [
        ("deny", vec![(503, 40)], 2),
        ("local:2", vec![(200, 24), (503, 16)], 50),
        ("allow", vec![(200, 40)], 82),
    ] {
        let Some(server) = Postgres::start() else { return };
        let upstream = Paid::start(Gate::Open).await;
        let sections = format!(
            "litellm_settings: {{max_budget: 1.00}}\nenvironment_variables: {{DATABASE_URL: '{}'}}\n\
             ziggurat_settings: {{store_deadline: 0.3, on_budgets_away: '{policy}'}}\n",
            server.url()
        );
        let gateway = gateways(1, &upstream, &sections).await.remove(0);
        assert_eq!(status(&gateway, &body).await, 200);
        posted(&server, 2, policy).await;
        server.freeze();
        assert_eq!(statuses(&calls(gateway.addr, 40, &body).await), expected, "{policy}");
        // Nobody waits for what is known to be away.
        for _ in 0..3 {
            status(&gateway, &body).await;
        }
        assert!(is_alive(&gateway).await);
        let by_now = if policy == "allow" { spent + 6 } else { spent };
        server.thaw();
        posted(&server, by_now, policy).await;
        becomes(&gateway, &body, 200).await;
    }
}

/// Waits until so many cents are spent.
async fn posted(server: &Postgres, cents: u64, policy: &str) {
    let start = Instant::now();
    while on_postgres(server).await != Some(Standing::spent(Usd::cents(cents))) {
        assert!(start.elapsed() < BACK * 2, "{policy}: {:?}", on_postgres(server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How long calls take, one after another: the median and the longest.
async fn taken(gateway: &Gateway, body: &str, count: usize) -> (Duration, Duration) {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        call(gateway.addr, body).await;
        all.push(start.elapsed());
    }
    all.sort_unstable();
    (all[count / 2], all[count - 1])
}

/// What a frozen store adds to calls, with the deadlines that there are unless they are set. Printed, not asserted: a machine that does much
/// else adds its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measured_calls_with_frozen_stores() {
    let (Some(redis), Some(postgres)) = (RedisServer::start(), Postgres::start()) else { return };
    let upstream = Paid::start(Gate::Open).await;
    let body = body("paid", false, Some(100));
    for (name, sections) in [
        (
            "redis, local",
            format!(
                "ziggurat_settings: {{rpm: 100000, redis: {}, on_limits_away: local, on_budgets_away: local}}\n",
                redis.url()
            ),
        ),
        ("redis, deny", format!("ziggurat_settings: {{rpm: 100000, redis: {}}}\n", redis.url())),
        (
            "postgres, allow",
            format!(
                "environment_variables: {{DATABASE_URL: '{}'}}\nziggurat_settings: {{on_budgets_away: allow}}\n",
                postgres.url()
            ),
        ),
    ] {
        let sections = format!("litellm_settings: {{max_budget: 1000}}\n{sections}");
        let gateway = gateways(1, &upstream, &sections).await.remove(0);
        taken(&gateway, &body, 50).await;
        let well = taken(&gateway, &body, 300).await;
        redis.stop();
        postgres.freeze();
        let frozen = taken(&gateway, &body, 300).await;
        redis.cont();
        postgres.thaw();
        println!("{name}: well {well:?}, frozen {frozen:?} (median, longest of 300)");
        drop(gateway);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_is_told_by_its_place_and_never_with_its_password() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let said = async |url: &str| {
        let config = upstream.config(&[], "");
        let config =
            config.replace("general_settings:\n", &format!("general_settings:\n  database_url: '{url}'\n"));
        let ended = crate::harness::run(&config, &["--config", "config.yaml", "--port", "0"], &[]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
        ended.stderr.lines().last().unwrap().to_owned()
    };
    let url = server.url();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (at, _) = rest.rsplit_once('@').unwrap_or(("", rest)).1.split_once('/').unwrap();
    let user = rest.rsplit_once('@').map_or("postgres", |(user, _)| user.split(':').next().unwrap());
    let key = "ziggurat: general_settings.database_url:";
    assert_eq!(
        said(&format!("{scheme}://{user}:canary@{at}/nowhere")).await,
        format!(
            "{key} PostgreSQL at {at}, database \"nowhere\": the database cannot be used: it has no database of that name (3D000)"
        )
    );
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(
        said(&format!("postgresql://u:canary@{gone}/ledger")).await,
        format!(
            "{key} PostgreSQL at {gone}, database \"ledger\": the database cannot be used: the connection failed: connection refused"
        )
    );
    let ended = said("postgresql://u:can/ary@host:x/ledger").await;
    assert_eq!(
        ended,
        format!(
            "{key} not the URL of a PostgreSQL database: expected postgresql://user:password@host:5432/name, special characters of the password written as %xx"
        )
    );
    assert_eq!(
        said("sqlite:no/such/folder/keys.db").await,
        format!("{key} SQLite file no/such/folder/keys.db: the directory failed: the file cannot be opened")
    );
}
