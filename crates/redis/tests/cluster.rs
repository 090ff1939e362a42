//! The same on a Redis Cluster of three nodes.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ziggurat_budget::{
    Charge, Claim, HoldId,
    remote::{Backend as _, Settlement},
};
use ziggurat_core::{Budget, Limit, Scope, ScopeKind, Usd, Window};
use ziggurat_limit::{
    Ask, Used,
    remote::{Backend as _, Correction, TakeId},
};
use ziggurat_redis::{Options, Redis};
use ziggurat_testkit::redis::{RedisCluster, RedisServer};

#[tokio::test(flavor = "multi_thread")]
async fn one_decision_over_many_scopes_is_one_script_in_a_cluster() {
    let Some(cluster) = RedisCluster::start() else { return };
    // Prefixes that fall to different nodes.
    for prefix in ["{ziggurat}", "acme", "{c}gateway"] {
        let options =
            Options::cluster(cluster.urls()).prefix(prefix).response_timeout(Duration::from_secs(5));
        let redis = Redis::connect(options).expect("valid options");
        let scopes = || {
            [ScopeKind::Key, ScopeKind::User, ScopeKind::Team, ScopeKind::Organisation]
                .map(|kind| Scope::new(kind, "one"))
        };

        let limits = redis.limits();
        let asks: Arc<[Ask]> = scopes()
            .into_iter()
            .flat_map(|scope| [Limit::tokens_per_minute(scope.clone(), 100), Limit::concurrency(scope, 1)])
            .map(|limit| Ask::new(limit, 1))
            .collect();
        let lease = Duration::from_secs(30);
        let taken = limits.take(TakeId(1), &asks, lease).await.expect("is there").expect("fits");
        assert_eq!(taken.levels.len(), 8);
        assert!(limits.take(TakeId(2), &asks, lease).await.expect("is there").is_err());
        limits.renew(&[(TakeId(1), Arc::clone(&asks))], lease).await.expect("is there");
        let used = Some(Used::new(1, Some((30, 10))));
        limits
            .settle(&[Correction::new(TakeId(1), Arc::clone(&asks), Some(taken.at), used)])
            .await
            .expect("is there");
        let taken = limits.take(TakeId(3), &asks, lease).await.expect("is there").expect("fits");
        assert_eq!(
            taken.levels.iter().map(|level| level.remaining).collect::<Vec<_>>(),
            [59, 0, 59, 0, 59, 0, 59, 0]
        );

        let ledger = redis.budgets();
        let budgets: Arc<[Budget]> =
            scopes().map(|scope| Budget::new(scope, Usd::cents(5), Window::Lifetime)).into();
        let claim =
            |id| Claim::new(HoldId(id), HoldId(id), Arc::clone(&budgets), Usd::cents(2), Usd::cents(2));
        let ttl = Duration::from_millis(50);
        for id in [1, 2] {
            ledger.reserve(&claim(id), ttl).await.expect("is there").expect("fits");
        }
        assert!(ledger.reserve(&claim(3), ttl).await.expect("is there").is_err());
        let settlement = Settlement::new(
            HoldId(1),
            HoldId(1),
            Arc::clone(&budgets),
            Charge::new(Usd::cents(1)),
            SystemTime::now(),
        );
        ledger.settle(&[settlement]).await.expect("is there");
        // The other expires.
        let patience = Instant::now() + Duration::from_secs(5);
        while ledger.expire().await.expect("is there") == 0 {
            assert!(Instant::now() < patience);
        }
        for standing in ledger.standings(&budgets).await.expect("is there") {
            assert_eq!((standing.balance.spent, standing.balance.held), (Usd::cents(3), Usd::ZERO));
            assert_eq!(standing.unreconciled, Usd::cents(2));
        }
    }
    let used = cluster.servers().iter().filter(|server| keys(server) > 0).count();
    assert!(used >= 2, "the prefixes are spread");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_keeps_nobody_and_is_found_again() {
    let Some(mut cluster) = RedisCluster::start() else { return };
    let options = Options::cluster(cluster.urls()).response_timeout(Duration::from_millis(100));
    let limits = Redis::connect(options).expect("valid options").limits();
    let asks = [Ask::new(Limit::requests_per_minute(Scope::tenant("a"), 1_000_000), 1)];
    let decide = async || {
        let began = Instant::now();
        let answered = limits.take(TakeId(1), &asks, Duration::from_secs(30)).await.is_ok();
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
        answered
    };
    let until_answered = async || {
        let began = Instant::now();
        while !decide().await {
            assert!(began.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    };
    until_answered().await;
    let node =
        cluster.servers_mut().iter_mut().find(|server| keys(server) > 0).expect("one node has the slot");
    node.stop();
    for _ in 0..20 {
        assert!(!decide().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.cont();
    let took = until_answered().await;
    println!("back {took:?} after the node goes on");
    assert!(took < Duration::from_secs(2), "{took:?}");
    node.kill();
    for _ in 0..20 {
        assert!(!decide().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.restart();
    let took = until_answered().await;
    println!("back {took:?} after the node's restart");
    // A master of a Cluster refuses writes for two seconds after its start.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A Cluster moves a slot key by key: what is not all there is not half done.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_slot_moves_nothing_expires_by_halves() {
    let Some(cluster) = RedisCluster::start() else { return };
    let budgets: Arc<[Budget]> =
        ["a", "b"].map(|name| Budget::new(Scope::tenant(name), Usd::dollars(1), Window::Lifetime)).into();
    // Whichever of the two accounts is looked at first.
    for moved in [0, 1] {
        let prefix = format!("{{move{moved}}}");
        let options =
            Options::cluster(cluster.urls()).prefix(&prefix).response_timeout(Duration::from_secs(5));
        let ledger = Redis::connect(options).expect("valid options").budgets();
        let cents = Usd::cents(2);
        let claim = Claim::new(HoldId(1), HoldId(1), Arc::clone(&budgets), cents, cents);
        ledger.reserve(&claim, Duration::ZERO).await.expect("is there").expect("fits");

        let slot = number(&cluster.servers()[0].command(&["CLUSTER", "KEYSLOT", &prefix])).to_string();
        let has = |server: &&RedisServer| number(&server.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot])) > 0;
        let from = cluster.servers().iter().find(has).expect("one node has the slot");
        let to = cluster.servers().iter().find(|server| !has(server)).expect("another has not");
        let [from_id, to_id] =
            [from, to].map(|server| words(&server.command(&["CLUSTER", "MYID"]))[0].clone());
        let port = to.addr().port().to_string();
        let migrate = |key: &str| {
            let moved = from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert!(moved.starts_with("+OK"), "{moved}");
        };
        let ok = |server: &RedisServer, command: &[&str]| {
            let said = server.command(command);
            assert!(said.starts_with("+OK"), "{said}");
        };
        ok(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        ok(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        migrate(&words(&from.command(&["KEYS", &format!("{prefix}:a:*")]))[moved]);
        assert!(ledger.expire().await.is_err());

        words(&from.command(&["KEYS", &format!("{prefix}:*")])).iter().for_each(|key| migrate(key));
        for server in [to, from].into_iter().chain(cluster.servers()) {
            ok(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        let patience = Instant::now() + Duration::from_secs(10);
        while !matches!(ledger.expire().await, Ok(1)) {
            assert!(Instant::now() < patience);
        }
        for standing in ledger.standings(&budgets).await.expect("is there") {
            assert_eq!((standing.balance.spent, standing.balance.held), (cents, Usd::ZERO), "{moved}");
        }
    }
}

/// What an answer says, beside how it is written.
fn words(answer: &str) -> Vec<String> {
    answer.lines().filter(|line| !line.starts_with(['$', '*', '+'])).map(str::to_owned).collect()
}

fn number(answer: &str) -> u32 {
    answer[1..].lines().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn keys(server: &RedisServer) -> u32 {
    number(&server.command(&["DBSIZE"]))
}
