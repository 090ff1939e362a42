//! The admin API as its users meet it: keys in a file, over sockets.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    client::{get, post},
    harness::Gateway,
    paid::{Gate, Paid, body, key},
    samples::CHAT,
};

/// A gateway whose keys are in a file.
async fn start(upstream: &Paid, sections: &str) -> Gateway {
    let config = upstream.config(&[], sections);
    let config =
        config.replace("general_settings:\n", "general_settings:\n  database_url: 'sqlite:keys.db'\n");
    Gateway::start(&config, &[], &[]).await
}

fn bearer(secret: &str) -> String {
    format!("authorization: Bearer {secret}")
}

async fn ask(addr: SocketAddr, path: &str, body: Value) -> Value {
    let answer = post(addr, path, &[&key()], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_str(&answer.body).unwrap()
}

async fn new_key(addr: SocketAddr, body: Value) -> String {
    ask(addr, "/key/generate", body).await["key"].as_str().unwrap().to_owned()
}

/// What a call with that key comes to.
async fn call(addr: SocketAddr, secret: &str) -> u16 {
    post(addr, CHAT, &[&bearer(secret)], &body("paid", false, Some(100))).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_holds_with_the_next_call() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "").await;
    let addr = gateway.addr;
    ask(addr, "/team/new", json!({"team_id": "t"})).await;
    let secret = new_key(addr, json!({"team_id": "t"})).await;
    for (path, body, then) in [
        ("/key/block", json!({"key": secret}), 401),
        ("/key/unblock", json!({"key": secret}), 200),
        ("/team/block", json!({"team_id": "t"}), 401),
        ("/team/unblock/", json!({"team_id": "t"}), 200),
        ("/key/update", json!({"key": secret, "max_budget": 0}), 429),
        ("/key/update", json!({"key": secret, "max_budget": null}), 200),
        ("/team/update", json!({"team_id": "t", "models": ["another"]}), 403),
        ("/team/update", json!({"team_id": "t", "models": []}), 200),
        ("/team/update", json!({"team_id": "t", "max_budget": 0.0}), 429),
        ("/team/update", json!({"team_id": "t", "max_budget": 1000}), 200),
    ] {
        ask(addr, path, body.clone()).await;
        assert_eq!(call(addr, &secret).await, then, "{path} {body}");
    }
    let second =
        ask(addr, &format!("/key/{secret}/regenerate"), json!({})).await["key"].as_str().unwrap().to_owned();
    assert_eq!((call(addr, &secret).await, call(addr, &second).await), (401, 200));
    ask(addr, "/team/delete", json!({"team_ids": ["t"]})).await;
    assert_eq!(call(addr, &second).await, 401);

    // Each change is on record, and no key is.
    post(addr, "/key/generate", &[&key()], r#"{"key":"sk-not a key"}"#).await;
    let ended = gateway.stop().await;
    let record = |line: &&str| line.contains("changed by the admin API");
    let recorded: Vec<_> = ended.stderr.lines().filter(record).collect();
    let actions = [
        "/team/new",
        "/key/generate",
        "/key/block",
        "/key/unblock",
        "/team/block",
        "/team/unblock",
        "/key/update",
        "/key/update",
        "/team/update",
        "/team/update",
        "/team/update",
        "/team/update",
        "/key/regenerate",
        "/team/delete",
    ];
    assert_eq!(recorded.len(), actions.len(), "{}", ended.stderr);
    for (line, action) in recorded.iter().zip(actions) {
        let entity = action.split('/').nth(1).unwrap();
        let told = format!(r#"action={action} entity="{entity}" by="master key""#);
        assert!(line.contains(&told), "{line}");
    }
    let hash = |secret: &str| ziggurat_auth::KeyHash::of(secret.as_bytes()).to_string();
    for secret in [&secret[3..], &second[3..], &hash(&secret), &hash(&second), "not a key"] {
        assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_ask_for_itself_and_change_nothing() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "").await;
    let addr = gateway.addr;
    let secret = new_key(addr, json!({"max_budget": 1, "user_id": "u"})).await;
    assert_eq!(call(addr, &secret).await, 200);
    let own = get(addr, "/key/info", &[&bearer(&secret)]).await;
    assert_eq!(own.status, 200, "{}", own.body);
    let info: Value = serde_json::from_str(&own.body).unwrap();
    assert_eq!(info["info"]["user_id"], "u");
    assert!(info["info"]["spend"].as_f64().unwrap() > 0.0, "{}", own.body);
    for (path, body) in [
        ("/key/update", json!({"key": secret, "max_budget": null})),
        ("/key/generate", json!({})),
        ("/user/new", json!({"user_role": "proxy_admin"})),
    ] {
        let answer = post(addr, path, &[&bearer(&secret)], &body.to_string()).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
        assert_eq!(post(addr, path, &[], &body.to_string()).await.status, 401, "{path}");
    }
    for path in ["/key/list", "/customer/list", "/budget/list"] {
        assert_eq!(get(addr, path, &[&bearer(&secret)]).await.status, 403, "{path}");
        assert_eq!(get(addr, path, &[]).await.status, 401, "{path}");
    }
    // An administrator's key may do it all.
    let root = ask(addr, "/user/new", json!({"user_id": "root", "user_role": "proxy_admin"})).await;
    let root = root["key"].as_str().unwrap();
    assert_eq!(post(addr, "/key/generate", &[&bearer(root)], "{}").await.status, 200);
    assert_eq!(get(addr, "/key/list", &[&bearer(root)]).await.status, 200);
    ask(addr, "/user/update", json!({"user_id": "root", "user_role": "internal_user"})).await;
    assert_eq!(post(addr, "/key/generate", &[&bearer(root)], "{}").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_admin_api_says_what_it_needs() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = Gateway::start(&upstream.config(&[], ""), &[], &[]).await;
    for path in ["/key/generate", "/team/new", "/user/new", "/customer/new", "/budget/new"] {
        let answer = post(gateway.addr, path, &[&key()], "{}").await;
        let error: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &error["error"]["type"]), (400, &json!("no_db_connection")), "{path}");
        assert!(answer.body.contains("general_settings.database_url"));
    }
    let answer = get(gateway.addr, "/key/generate", &[&key()]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}
