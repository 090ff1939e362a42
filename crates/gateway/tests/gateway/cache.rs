//! Answers that are given again: for nothing, to those who may have them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    client::{Answer, get, post},
    harness::{Gateway, run, until},
    paid::{Gate, Paid, body, key},
    samples::CHAT,
};

const CACHE: &str = "litellm_settings: {cache: true}\n";

fn bearer(secret: &str) -> String {
    format!("authorization: Bearer {secret}")
}

/// A gateway with keys in a database.
async fn start(upstream: &Paid, sections: &str) -> Gateway {
    let config = upstream.config(&[], sections);
    let settings = "general_settings:\n  database_url: 'sqlite:keys.db'\n";
    Gateway::start(&config.replace("general_settings:\n", settings), &[], &[]).await
}

async fn admin(addr: SocketAddr, path: &str, body: Value) -> Value {
    let answer = post(addr, path, &[&key()], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn new_key(addr: SocketAddr, body: Value) -> String {
    admin(addr, "/key/generate", body).await["key"].as_str().unwrap().to_owned()
}

/// What the cache has done, and what the answer cost.
fn said(answer: &Answer) -> (u16, Option<&str>, Option<&str>) {
    (answer.status, answer.header("x-litellm-cache-hit"), answer.header("x-litellm-response-cost"))
}

async fn spent(addr: SocketAddr, secret: &str) -> Value {
    let info = get(addr, "/key/info", &[&bearer(secret)]).await;
    serde_json::from_str::<Value>(&info.body).unwrap()["info"]["spend"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_costs_nothing_and_is_had_with_an_empty_budget() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, CACHE).await;
    let addr = gateway.addr;
    let secret = new_key(addr, json!({"max_budget": 0.02})).await;
    let ask =
        async |stream: bool| post(addr, CHAT, &[&bearer(&secret)], &body("paid", stream, Some(100))).await;
    let first = ask(false).await;
    assert_eq!(said(&first), (200, Some("False"), Some("0.02")));
    let again = ask(false).await;
    assert_eq!(said(&again), (200, Some("True"), Some("0")));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("x-ziggurat-saved-cost"), Some("0.02"));
    assert_eq!(again.header("x-litellm-cache-key"), first.header("x-litellm-cache-key"));
    let streamed = ask(true).await;
    assert_eq!(said(&streamed), (200, Some("True"), Some("0")));
    assert!(streamed.body.ends_with("data: [DONE]\n\n"), "{}", streamed.body);
    // Another question has to be paid.
    let other = body("paid", false, Some(99));
    assert_eq!(post(addr, CHAT, &[&bearer(&secret)], &other).await.status, 429);
    assert_eq!((spent(addr, &secret).await, upstream.begun()), (json!(0.02), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_refused_to_whom_the_call_is_refused() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, CACHE).await;
    let addr = gateway.addr;
    let team = admin(addr, "/team/new", json!({})).await["team_id"].clone();
    let of_team = |models: Value| json!({"team_id": team, "models": models});
    let one = new_key(addr, of_team(json!([]))).await;
    let other = new_key(addr, of_team(json!([]))).await;
    let narrow = new_key(addr, of_team(json!(["free"]))).await;
    let alone = new_key(addr, json!({})).await;
    let ask =
        async |secret: &str| post(addr, CHAT, &[&bearer(secret)], &body("paid", false, Some(100))).await;
    assert_eq!(said(&ask(&one).await).1, Some("False"));
    assert_eq!(said(&ask(&other).await).1, Some("True"));
    assert_eq!(said(&ask(&alone).await).1, Some("False"));
    assert_eq!(ask(&narrow).await.status, 403);
    admin(addr, "/key/block", json!({"key": other})).await;
    assert_eq!(ask(&other).await.status, 401);
    assert_eq!(upstream.begun(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_counts_as_a_call_and_not_as_tokens() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, CACHE).await;
    let addr = gateway.addr;
    let secret = new_key(addr, json!({"rpm_limit": 3, "tpm_limit": 1000})).await;
    let ask = async || post(addr, CHAT, &[&bearer(&secret)], &body("paid", false, Some(100))).await;
    let first = ask().await;
    assert_eq!(said(&first).1, Some("False"));
    for _ in 0..2 {
        assert_eq!(said(&ask().await).1, Some("True"));
    }
    let fourth = ask().await;
    assert_eq!(fourth.status, 429);
    assert!(fourth.body.contains("requests"), "{}", fourth.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_are_one_call_and_paid_once() {
    let upstream = Paid::start(Gate::HALF).await;
    let gateway = start(&upstream, CACHE).await;
    let addr = gateway.addr;
    let secret = new_key(addr, json!({"max_budget": 1})).await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (header, body) = (bearer(&secret), body("paid", true, Some(100)));
        calls.spawn(async move { post(addr, CHAT, &[&header], &body).await });
    }
    until(|| upstream.pieces() == 5).await;
    upstream.open(Gate::Open);
    let answers = calls.join_all().await;
    let first = &answers[0];
    assert!(answers.iter().all(|answer| (answer.status, &answer.body) == (200, &first.body)));
    let began = answers.iter().filter(|answer| said(answer).1 == Some("False")).count();
    assert_eq!((began, upstream.begun(), spent(addr, &secret).await), (1, 1, json!(0.02)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_use_other_models_and_who_goes_another_way_shares_nothing() {
    let upstream = Paid::start(Gate::Shut).await;
    let gateway = start(&upstream, CACHE).await;
    let addr = gateway.addr;
    let team = admin(addr, "/team/new", json!({})).await["team_id"].clone();
    let of_team = |models: Value| json!({"team_id": team, "models": models});
    let all = new_key(addr, of_team(json!([]))).await;
    let narrow = new_key(addr, of_team(json!(["paid"]))).await;
    let asked: Value = serde_json::from_str(&body("paid", false, Some(100))).unwrap();
    let mut hasty = asked.clone();
    hasty["num_retries"] = json!(0);
    let mut calls = JoinSet::new();
    for (secret, body) in [(&all, &asked), (&narrow, &asked), (&all, &hasty)] {
        let (header, body) = (bearer(secret), body.to_string());
        calls.spawn(async move { post(addr, CHAT, &[&header], &body).await });
    }
    until(|| upstream.begun() == 3).await;
    upstream.open(Gate::Open);
    for answer in calls.join_all().await {
        assert_eq!(said(&answer), (200, Some("False"), Some("0.02")));
    }
    // By what is kept it is answered all the same.
    let again = post(addr, CHAT, &[&bearer(&all)], &hasty.to_string()).await;
    assert_eq!(said(&again).1, Some("True"));
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_ask_after_it_and_empty_it() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, CACHE).await;
    let addr = gateway.addr;
    let secret = new_key(addr, json!({})).await;
    let ask = async || post(addr, CHAT, &[&key()], &body("paid", false, Some(100))).await;
    let cache_key = ask().await.header("x-litellm-cache-key").unwrap().to_owned();
    assert_eq!(said(&ask().await).1, Some("True"));
    let ping = get(addr, "/cache/ping", &[&key()]).await;
    ping.is(200, r#"{"status":"healthy","cache_type":"local","ping_response":true}"#);
    assert_eq!(
        admin(addr, "/cache/delete", json!({"keys": [cache_key]})).await,
        json!({"status": "success"})
    );
    assert_eq!(said(&ask().await).1, Some("False"));
    assert_eq!(said(&ask().await).1, Some("True"));
    assert_eq!(admin(addr, "/cache/flushall", json!({})).await, json!({"status": "success"}));
    assert_eq!(said(&ask().await).1, Some("False"));
    for path in ["/cache/flushall", "/cache/delete"] {
        assert_eq!(post(addr, path, &[&bearer(&secret)], "{}").await.status, 403, "{path}");
        assert_eq!(post(addr, path, &[], "{}").await.status, 401, "{path}");
        assert_eq!(get(addr, path, &[&key()]).await.status, 405, "{path}");
    }
    let bad = post(addr, "/cache/delete", &[&key()], r#"{"keys": ["x"]}"#).await;
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("`keys` holds what is no key of an answer"), "{}", bad.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_config_says_of_it_is_heeded() {
    let upstream = Paid::start(Gate::Open).await;
    let sections = "litellm_settings:\n  cache: true\n  cache_params: {type: local, mode: default_off, ttl: 60, namespace: mine, supported_call_types: [acompletion]}\nziggurat_settings: {cache: {share: everyone}}\n";
    let gateway = start(&upstream, sections).await;
    let addr = gateway.addr;
    let asked: Value = serde_json::from_str(&body("paid", false, Some(100))).unwrap();
    let with = |cache: Value| {
        let mut asked = asked.clone();
        asked["cache"] = cache;
        asked.to_string()
    };
    let secrets = [new_key(addr, json!({})).await, new_key(addr, json!({})).await];
    let ask = async |secret: &str, body: String| post(addr, CHAT, &[&bearer(secret)], &body).await;
    assert_eq!(said(&ask(&secrets[0], asked.to_string()).await).1, None);
    assert_eq!(said(&ask(&secrets[0], with(json!({"use-cache": true}))).await).1, Some("False"));
    assert_eq!(said(&ask(&secrets[1], with(json!({"use-cache": true}))).await).1, Some("True"));
    assert!(upstream.bodies().iter().all(|body| !body.contains("use-cache")));
    let bad = ask(&secrets[0], with(json!({"ttl": "x"}))).await;
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("the cache control `ttl` must be a number of seconds"), "{}", bad.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_what_a_call_says_of_it_goes_nowhere() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "").await;
    let addr = gateway.addr;
    let mut asked: Value = serde_json::from_str(&body("paid", false, Some(100))).unwrap();
    asked["cache"] = json!({"no-cache": true});
    let answer = post(addr, CHAT, &[&key()], &asked.to_string()).await;
    assert_eq!(said(&answer).1, None);
    assert!(!upstream.bodies()[0].contains("cache"), "{}", upstream.bodies()[0]);
    let ping = get(addr, "/cache/ping", &[&key()]).await;
    assert_eq!(ping.status, 503);
    assert!(ping.body.contains("`litellm_settings.cache` is not true"), "{}", ping.body);
}

#[tokio::test]
async fn what_is_wrong_in_a_config_is_told() {
    let upstream = Paid::start(Gate::Open).await;
    let check = async |settings: &str| {
        let config = upstream.config(&[], settings);
        let ended = run(&config, &["check", "--config", "config.yaml"], &[]).await;
        ended.stdout + &ended.stderr
    };
    for (settings, message) in [
        (
            "litellm_settings: {cache: true, cache_params: {type: disc}}\n",
            "cache_params.type: expected `local` or `redis`",
        ),
        (
            "litellm_settings: {cache: true, cache_params: {type: redis}}\n",
            "cache_params.type: no Redis is named",
        ),
        (
            "litellm_settings: {cache: true, cache_params: {type: s3}}\n",
            "cache_params.type: known to LiteLLM, not supported yet: ignored",
        ),
        (
            "litellm_settings: {cache: true, cache_params: {mode: off_by_default}}\n",
            "cache_params.mode: expected `default_on` or `default_off`",
        ),
        (
            "litellm_settings: {cache: true, cache_params: {ttl: 0}}\n",
            "cache_params.ttl: expected a positive number of seconds",
        ),
        (
            "litellm_settings: {cache_params: {type: local}}\n",
            "cache_params: does nothing: `litellm_settings.cache` is not true",
        ),
        (
            "litellm_settings: {cache: true}\nziggurat_settings: {cache: {share: all}}\n",
            "cache.share: expected `key`, `user`, `team`, `organisation` or `everyone`",
        ),
        (
            "litellm_settings: {cache: true}\nziggurat_settings: {cache: {shar: team}}\n",
            "cache.shar: unknown key, did you mean `share`?",
        ),
    ] {
        let told = check(settings).await;
        assert!(told.contains(message), "{settings}: {told}");
    }
}
