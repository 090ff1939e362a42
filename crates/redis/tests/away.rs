//! A server that is away, frozen, new, or not as it should be.

use std::{
    env, fs, process,
    sync::Arc,
    time::{Duration, Instant},
};

use ziggurat_budget::{Claim, HoldId, remote::Backend as _};
use ziggurat_core::{Away, Budget, Limit, Scope, Usd, Window};
use ziggurat_limit::{
    Ask,
    remote::{Backend as _, Correction, TakeId},
};
use ziggurat_redis::{InvalidOptions, Options, Redis};
use ziggurat_testkit::redis::RedisServer;

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_secs(30);

fn connect(address: String) -> Redis {
    Redis::connect(Options::new(address).response_timeout(RESPONSE_TIMEOUT)).expect("valid options")
}

/// One decision; how long it took.
async fn decide(redis: &Redis) -> (Result<(), Away>, Duration) {
    let asks = [Ask::new(Limit::requests_per_minute(Scope::tenant("a"), 1_000_000), 1)];
    let began = Instant::now();
    let result = redis.limits().take(TakeId(1), &asks, LEASE).await.map(|taken| assert!(taken.is_ok()));
    (result, began.elapsed())
}

/// How long it takes until decisions are made again.
async fn recovery(redis: &Redis) -> Duration {
    let began = Instant::now();
    while decide(redis).await.0.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "it recovers");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_without_the_server_and_finds_it_within_two_seconds() {
    let Some(mut server) = RedisServer::start() else { return };
    server.kill();
    let redis = connect(server.url());
    let (first, took) = decide(&redis).await;
    assert_eq!(first.expect_err("is away").to_string(), "redis: the connection was refused");
    assert!(took < RESPONSE_TIMEOUT * 2, "{took:?}");
    // Nobody waits for what is known to be away.
    let began = Instant::now();
    for _ in 0..1000 {
        assert!(decide(&redis).await.0.is_err());
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    server.restart();
    let took = recovery(&redis).await;
    println!("connected {took:?} after the first start");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_found_again_within_two_seconds() {
    let Some(mut server) = RedisServer::start() else { return };
    let redis = connect(server.url());
    recovery(&redis).await;
    for idle in [0, 700] {
        server.kill();
        tokio::time::sleep(Duration::from_millis(idle)).await;
        let (result, took) = decide(&redis).await;
        assert!(result.is_err() && took < RESPONSE_TIMEOUT * 2, "{took:?}");
        server.restart();
        let took = recovery(&redis).await;
        println!("back {took:?} after the restart");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_keeps_nobody_longer_than_the_timeout() {
    let Some(server) = RedisServer::start() else { return };
    let redis = connect(server.url());
    recovery(&redis).await;
    server.stop();
    // Before and after the connection is given up, and many at once.
    for round in 0..4 {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let redis = redis.clone();
            calls.spawn(async move { decide(&redis).await });
        }
        while let Some(call) = calls.join_next().await {
            let (result, took) = call.expect("does not panic");
            assert!(result.is_err());
            assert!(took < RESPONSE_TIMEOUT * 3, "round {round}: {took:?}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    server.cont();
    let took = recovery(&redis).await;
    println!("back {took:?} after it goes on");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_answers_nothing_even_where_nothing_changes() {
    let Some(server) = RedisServer::start() else { return };
    let redis = connect(server.url());
    recovery(&redis).await;
    let asks: Arc<[Ask]> = [Ask::new(Limit::requests_per_minute(Scope::tenant("a"), 1), 1)].into();
    let unanswered = [Correction::new(TakeId(7), Arc::clone(&asks), None, None)];
    assert_eq!(redis.limits().settle(&unanswered).await, Ok(()));
    assert_eq!(redis.limits().renew(&[(TakeId(7), Arc::clone(&asks))], LEASE).await, Ok(()));
    server.stop();
    assert!(redis.limits().settle(&unanswered).await.is_err());
    assert!(redis.limits().renew(&[(TakeId(7), asks)], LEASE).await.is_err());
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let Some(server) = RedisServer::start() else { return };
    let redis = connect(server.url());
    recovery(&redis).await;
    assert!(server.command(&["SCRIPT", "FLUSH"]).starts_with("+OK"));
    assert_eq!(decide(&redis).await.0, Ok(()));
    let budgets = [Budget::new(Scope::tenant("a"), Usd::dollars(1), Window::Lifetime)];
    let claim = Claim::new(HoldId(1), HoldId(1), budgets.clone().into(), Usd::cents(1), Usd::cents(1));
    for _ in 0..2 {
        assert!(server.command(&["SCRIPT", "FLUSH"]).starts_with("+OK"));
        assert!(redis.budgets().reserve(&claim, LEASE).await.expect("there").is_ok());
    }
    assert_eq!(redis.budgets().balances(&budgets).await.expect("there")[0].held, Usd::cents(1));
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "hunter2"]) else { return };
    let with = |password: &str| connect(server.url().replace("redis://", &format!("redis://:{password}@")));
    let redis = with("hunter2");
    recovery(&redis).await;
    let wrong = with("hunter3");
    let mut why = String::new();
    for _ in 0..20 {
        why = decide(&wrong).await.0.expect_err("is not let in").to_string();
    }
    assert!(why.starts_with("redis: ") && !why.contains("hunter"), "{why}");
    assert!(!format!("{redis:?} {:?} {:?}", redis.limits(), redis.budgets()).contains("hunter"));
}

#[tokio::test]
async fn a_unix_socket_is_an_address_too() {
    let socket = env::temp_dir().join(format!("ziggurat-redis-{}.socket", process::id()));
    let path = socket.to_str().expect("is UTF-8");
    let Some(server) = RedisServer::start_with(&["--unixsocket", path]) else { return };
    let redis = connect(format!("unix://{path}"));
    recovery(&redis).await;
    drop(server);
    let _removed = fs::remove_file(socket);
}

#[test]
fn what_cannot_be_connected_to_is_told_at_once() {
    assert_eq!(Redis::connect("redis://localhost").expect_err("no runtime"), InvalidOptions::NoRuntime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let refused = |options: Options| Redis::connect(options).expect_err("not valid");
    assert_eq!(refused("http://localhost".into()), InvalidOptions::Address);
    assert_eq!(refused(Options::cluster::<String>([])), InvalidOptions::NoAddress);
    assert_eq!(refused(Options::cluster(["redis://:a@one", "redis://:b@two"])), InvalidOptions::Address);
    assert_eq!(refused("rediss://localhost".into()), InvalidOptions::NoTls);
}
