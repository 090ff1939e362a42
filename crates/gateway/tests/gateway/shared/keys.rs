//! One set of keys, several gateways.

use std::time::{Duration, Instant};

use serde_json::json;
use ziggurat_testkit::postgres::Postgres;

use super::{admin, call_as, gateways, new_key};
use crate::{
    client::{get, post},
    paid::{Gate, Paid, body, key, statuses},
    samples::CHAT,
};

/// Keys in a database; its deadline is wide, on machines that do much else.
fn on_database(server: &Postgres) -> String {
    format!(
        "environment_variables: {{DATABASE_URL: '{}'}}\nziggurat_settings: {{store_deadline: 10}}\n",
        server.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_at_once_here_and_soon_elsewhere() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = on_database(&server);
    let both = gateways(2, &upstream, &sections).await;
    let body = body("paid", false, Some(100));
    for path in ["/key/delete", "/key/block"] {
        let secret = new_key(both[0].addr, json!({"max_budget": 1})).await;
        for gateway in &both {
            assert_eq!(call_as(gateway.addr, &secret, &body).await.status, 200);
        }
        let ask = if path == "/key/delete" { json!({"keys": [secret]}) } else { json!({"key": secret}) };
        admin(both[0].addr, path, ask).await;
        assert_eq!(call_as(both[0].addr, &secret, &body).await.status, 401);
        let start = Instant::now();
        while call_as(both[1].addr, &secret, &body).await.status != 401 {
            // Five seconds, and the moment that a call takes here.
            assert!(start.elapsed() < Duration::from_secs(7));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_budget_is_one_for_all_gateways() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = on_database(&server);
    let both = gateways(2, &upstream, &sections).await;
    let team = admin(both[0].addr, "/team/new", json!({"team_alias": "red", "max_budget": 0.5})).await;
    let secret =
        new_key(both[1].addr, json!({"team_id": team["team_id"], "max_budget": 1, "rpm_limit": 1000})).await;
    let body = body("paid", false, Some(100));
    let mut answers = Vec::new();
    for turn in 0..30 {
        answers.push(call_as(both[turn % 2].addr, &secret, &body).await);
    }
    // The team's is the smaller one.
    assert_eq!(statuses(&answers), [(200, 25), (429, 5)]);
    let mut info = serde_json::Value::Null;
    // What calls came to takes a moment to arrive.
    for _ in 0..100 {
        let told = get(both[0].addr, &format!("/key/info?key={secret}"), &[&key()]).await;
        info = serde_json::from_str(&told.body).unwrap();
        if info["info"]["spend"] == json!(0.5) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(info["info"]["spend"], json!(0.5));
    assert_eq!(info["info"]["max_budget"], json!(1.0));
    // Another team's key is not held by it.
    let other = new_key(both[0].addr, json!({})).await;
    assert_eq!(call_as(both[1].addr, &other, &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_told_apart_by_nothing() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = on_database(&server);
    let gateway = gateways(1, &upstream, &sections).await.remove(0);
    let blocked = new_key(gateway.addr, json!({"blocked": true})).await;
    let deleted = new_key(gateway.addr, json!({})).await;
    admin(gateway.addr, "/key/delete", json!({"keys": [deleted]})).await;
    let long = format!("sk-{}", "a".repeat(50_000));
    let body = body("paid", false, Some(100));
    let mut seen = Vec::new();
    for secret in ["", "sk-1", "nonsense", "sk-' OR 1=1; --", &"sk-0".repeat(9), &long, &blocked, &deleted] {
        seen.push(post(gateway.addr, CHAT, &[&format!("authorization: Bearer {secret}")], &body).await);
    }
    seen.push(post(gateway.addr, CHAT, &[], &body).await);
    seen.push(post(gateway.addr, CHAT, &["authorization: Basic c2s6MQ=="], &body).await);
    let two = ["authorization: Bearer sk-0123456789abcdef0", "x-api-key: sk-other0123456789abcdef"];
    seen.push(post(gateway.addr, CHAT, &two, &body).await);
    let first = &seen[0];
    assert!(first.header("www-authenticate").is_some());
    for answer in &seen {
        assert_eq!((answer.status, &answer.body), (401, &first.body));
    }
    assert_eq!(upstream.begun(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_has_a_port_of_its_own_where_it_is_told_so() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], "ziggurat_settings: {admin_port: 1}\n");
    // Somebody else's, as a rule: the port is named in what is said.
    let config =
        config.replace("general_settings:\n", "general_settings:\n  database_url: 'sqlite:keys.db'\n");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut gateway = crate::harness::Gateway::start(
        &config.replace("admin_port: 1", &format!("admin_port: {port}")),
        &[],
        &[],
    )
    .await;
    let said = gateway.next_line().await.unwrap();
    let admin_addr = said.rsplit(' ').next().unwrap().parse().unwrap();
    let secret = new_key(admin_addr, json!({})).await;
    let body = body("paid", false, Some(100));
    assert_eq!(call_as(gateway.addr, &secret, &body).await.status, 200);
    for path in [
        "/key/generate",
        "/team/new",
        "/user/new",
        "/customer/new",
        "/budget/new",
        "/key/info",
        "/key/generate/",
        "/key/generate//",
        "/key/list//",
    ] {
        let answer = post(gateway.addr, path, &[&key()], "{}").await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        // Nor does it matter who asks.
        assert_eq!(post(gateway.addr, path, &[], "{}").await.body, answer.body);
    }
    assert_eq!(call_as(admin_addr, &secret, &body).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_of_a_model_is_no_other_allowance() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(
        &[],
        "router_settings:\n  model_group_alias: {cheap: paid, quiet: {model: paid, hidden: true}}\nziggurat_settings: {store_deadline: 10}\n",
    );
    let config =
        config.replace("general_settings:\n", "general_settings:\n  database_url: 'sqlite:keys.db'\n");
    let gateway = crate::harness::Gateway::start(&config, &[], &[]).await;
    for limits in [json!({"model_rpm_limit": {"paid": 2}}), json!({"model_max_budget": {"paid": 0.04}})] {
        let secret = new_key(gateway.addr, limits).await;
        let mut seen = Vec::new();
        for name in ["paid", "cheap", "quiet", "paid", "cheap"] {
            seen.push(call_as(gateway.addr, &secret, &body(name, false, Some(100))).await.status);
        }
        assert_eq!(seen, [200, 200, 429, 429, 429]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_its_prefix_is_no_other_allowance() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], "ziggurat_settings: {store_deadline: 10}\n");
    let config = config
        .replace("model_name: paid", "model_name: openai/*")
        .replace("openai/my-paid", "openai/*")
        .replace("general_settings:\n", "general_settings:\n  database_url: 'sqlite:keys.db'\n");
    let gateway = crate::harness::Gateway::start(&config, &[], &[]).await;
    for limits in [
        json!({"model_rpm_limit": {"openai/gpt-4o": 2}}),
        json!({"model_max_budget": {"openai/gpt-4o": 0.04}}),
    ] {
        let secret = new_key(gateway.addr, limits).await;
        let mut seen = Vec::new();
        for name in ["openai/gpt-4o", "gpt-4o", "openai/gpt-4o", "gpt-4o"] {
            seen.push(call_as(gateway.addr, &secret, &body(name, false, Some(100))).await.status);
        }
        assert_eq!(seen, [200, 200, 429, 429]);
    }
}
