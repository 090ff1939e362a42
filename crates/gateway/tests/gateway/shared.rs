//! Several gateways that share limits and budgets, and stores that go away.

mod away;
mod budgets;
mod keys;
mod limits;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;

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

/// How long a store that is back may stay unnoticed.
const BACK: Duration = Duration::from_secs(2);
