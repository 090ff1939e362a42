//! Several gateways that share limits and budgets, and stores that go away.

mod answers;
mod away;
mod budgets;
mod cooldowns;
mod keys;
mod limits;
mod secure;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use ziggurat_core::{Budget, Scope, Usd, Window};
use ziggurat_redis::Redis;
use ziggurat_testkit::redis::RedisServer;

use crate::{
    client::{Answer, get, post},
    harness::Gateway,
    paid::{Paid, key},
    samples::CHAT,
};

/// The same gateway several times, with one upstream.
async fn gateways(count: usize, upstream: &Paid, sections: &str) -> Vec<Gateway> {
    let config = upstream.config(&[], sections);
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Gateway::start(&config, &[], &[]).await);
    }
    all
}

/// One call with a virtual key.
async fn call_as(addr: SocketAddr, secret: &str, body: &str) -> Answer {
    post(addr, CHAT, &[&format!("authorization: Bearer {secret}")], body).await
}

/// What the admin API answers to the master key.
async fn admin(addr: SocketAddr, path: &str, body: Value) -> Value {
    let answer = post(addr, path, &[&key()], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// A new key, by the admin API.
async fn new_key(addr: SocketAddr, body: Value) -> String {
    admin(addr, "/key/generate", body).await["key"].as_str().unwrap().to_owned()
}

/// What a gateway says of itself to probers.
async fn readiness(gateway: &Gateway) -> (u16, Value) {
    let answer = get(gateway.addr, "/health/readiness", &[]).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

async fn is_alive(gateway: &Gateway) -> bool {
    get(gateway.addr, "/health/liveness", &[]).await.status == 200
}

/// What the budget of all calls stands at, by the store's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    spent: Usd,
    held: Usd,
    /// What of it nobody has settled.
    unreconciled: Usd,
}

impl Standing {
    fn spent(spent: Usd) -> Self {
        Self { spent, held: Usd::ZERO, unreconciled: Usd::ZERO }
    }
}

fn of_gateway() -> Budget {
    Budget::new(Scope::gateway(), Usd::dollars(1), Window::Lifetime)
}

async fn on_redis(server: &RedisServer) -> Standing {
    let budgets = Redis::connect(server.url()).unwrap().budgets();
    let (one, mut tries) = ([of_gateway()], 0);
    let found = loop {
        // It connects in the background.
        match budgets.standings(&one).await {
            Ok(found) => break found,
            Err(away) => assert!(tries < 100, "{away}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    Standing {
        spent: found[0].balance.spent,
        held: found[0].balance.held,
        unreconciled: found[0].unreconciled,
    }
}

/// How long a store that is back may stay unnoticed: two seconds, and one for machines that do much else.
const BACK: Duration = Duration::from_secs(3);
