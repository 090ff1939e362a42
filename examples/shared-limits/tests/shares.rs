//! What the README says happens, with a Redis server of the test's own.

use std::time::{Duration, Instant};

use axum::{Router, body::Body};
use example_shared_limits::{app, shared};
use http::Request;
use tokio::task::JoinSet;
use tower::ServiceExt;
use ziggurat_limit::remote::Remote;
use ziggurat_redis::Limits;
use ziggurat_testkit::redis::RedisServer;

/// An instance of the service: its worker ends with it.
struct Instance {
    app: Router,
    counters: Remote<Limits>,
    _worker: JoinSet<()>,
}

impl Instance {
    fn start(counters: Remote<Limits>) -> Self {
        let mut worker = JoinSet::new();
        worker.spawn(counters.run());
        Self { app: app(&counters), counters, _worker: worker }
    }
}

async fn call(app: Router, tenant: &'static str) -> u16 {
    let request = Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .header("x-tenant", tenant)
        .body(Body::from(r#"{"model":"any","messages":[{"role":"user","content":"Hello!"}]}"#))
        .expect("is a request");
    app.oneshot(request).await.expect("answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_together_never_pass_more_than_the_limit() {
    let Some(server) = RedisServer::start() else { return };
    // A loaded machine is not one that is away.
    let counters = || shared(&server.url()).expect("is a URL").deadline(Duration::from_secs(10));
    let instances = [Instance::start(counters()), Instance::start(counters())];
    let mut calls = JoinSet::new();
    for at in 0..40 {
        calls.spawn(call(instances[at % 2].app.clone(), "acme"));
    }
    let statuses = calls.join_all().await;
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(200), count(429)), (6, 34));
    for instance in &instances {
        assert_eq!(call(instance.app.clone(), "acme").await, 429);
        assert_eq!(call(instance.app.clone(), "another").await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_frozen_each_instance_answers_by_its_half_at_once() {
    let Some(server) = RedisServer::start() else { return };
    let instances = [0, 1].map(|_| Instance::start(shared(&server.url()).expect("is a URL")));
    for instance in &instances {
        assert_eq!(call(instance.app.clone(), "warm").await, 200);
    }
    server.stop();
    for instance in &instances {
        for expected in [200, 200, 200, 429, 429] {
            let began = Instant::now();
            assert_eq!(call(instance.app.clone(), "acme").await, expected);
            let took = began.elapsed();
            println!("{expected} within {took:?}");
            assert!(took < Duration::from_millis(100), "{took:?}");
        }
        assert!(!instance.counters.is_here());
    }
    server.cont();
    let patience = Instant::now() + Duration::from_secs(10);
    while !instances.iter().all(|instance| instance.counters.is_here()) {
        assert!(Instant::now() < patience, "is not found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
