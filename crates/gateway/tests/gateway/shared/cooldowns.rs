//! What one gateway finds out about a provider, the others know.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use ziggurat_testkit::redis::RedisServer;

use crate::{
    client::{get, post},
    harness::{Gateway, SOON, guarded},
    paid::{body, key},
    samples::{Api, CHAT},
    vendor::{Says, Vendor},
};

async fn state(gateway: &Gateway) -> Value {
    let answer = get(gateway.addr, "/health", &[&key()]).await;
    let health: Value = serde_json::from_str(&answer.body).unwrap();
    health["unhealthy_endpoints"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_a_cooldown() {
    share_a_cooldown("m", "openai/gpt-4o", "m").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_a_wildcards_cooldown() {
    share_a_cooldown("w/*", "openai/*", "w/gpt-4o").await;
}

/// Of the first of two deployments of this name and model, by calls for `asked`.
async fn share_a_cooldown(name: &str, model: &str, asked: &str) {
    let Some(server) = RedisServer::start() else { return };
    let [one, two] = Vendor::several(["one", "two"]).await;
    let config = [
        "model_list:\n",
        &one.entry(name, model, &["order: 1"], &[]),
        &two.entry(name, model, &["order: 2"], &[]),
        &guarded(),
        "router_settings: {num_retries: 0}\n",
        &format!("ziggurat_settings: {{store_deadline: 10, redis: '{}'}}\n", server.url()),
    ]
    .concat();
    let all = [Gateway::start(&config, &[], &[]).await, Gateway::start(&config, &[], &[]).await];
    let call =
        async |gateway: &Gateway| post(gateway.addr, CHAT, &[&key()], &body(asked, false, Some(1))).await;
    // Both are connected and know of nothing.
    for gateway in &all {
        assert!(call(gateway).await.body.contains(&one.hello()));
        assert_eq!(state(gateway).await, Value::Null);
    }
    one.says(Says::busy(Api::OpenAi, "50"));
    assert_eq!(call(&all[0]).await.status, 429);
    assert_eq!(state(&all[0]).await["state"], "cooling");
    // It comes to the other one by itself.
    let deadline = Instant::now() + SOON;
    let told = loop {
        let told = state(&all[1]).await;
        if told["state"] == "cooling" {
            break told;
        }
        assert!(Instant::now() < deadline, "never told: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(told["model_id"], format!("{name}@one"));
    let seconds = told["cooldown_seconds"].as_f64().unwrap();
    assert!((20.0..=51.0).contains(&seconds), "{told}");
    let before = one.asked();
    for gateway in &all {
        assert!(call(gateway).await.body.contains(&two.hello()));
    }
    assert_eq!((one.asked(), two.asked()), (before, 2));
    // One that starts now learns of it, too.
    let late = Gateway::start(&config, &[], &[]).await;
    let deadline = Instant::now() + SOON;
    while state(&late).await["state"] != "cooling" {
        assert!(Instant::now() < deadline, "never told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
