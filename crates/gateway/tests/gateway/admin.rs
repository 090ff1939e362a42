//! The admin API as its users meet it: keys in a file, over sockets.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    client::{Raw, get, post},
    harness::{Gateway, until},
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
async fn what_nobody_caps_is_counted_and_shown() {
    let upstream = Paid::start(Gate::Open).await;
    // Where something is capped, calls without a cap of their own are refused by this; what is counted alone refuses nothing.
    let gateway = start(&upstream, "ziggurat_settings: {uncapped: refuse, uncapped_streams: refuse}\n").await;
    let addr = gateway.addr;
    ask(addr, "/team/new", json!({"team_id": "t"})).await;
    ask(addr, "/team/member_add", json!({"team_id": "t", "member": {"role": "user", "user_id": "u"}})).await;
    let personal = new_key(addr, json!({"user_id": "u"})).await;
    let shared = new_key(addr, json!({"user_id": "u", "team_id": "t"})).await;
    let of =
        async |path: &str| -> Value { serde_json::from_str(&get(addr, path, &[&key()]).await.body).unwrap() };
    assert_eq!(of(&format!("/key/info?key={personal}")).await["info"]["spend"], json!(0.0));
    for (secret, streams, capped) in
        [(&personal, false, true), (&shared, false, false), (&shared, true, false)]
    {
        let answer =
            post(addr, CHAT, &[&bearer(secret)], &body("paid", streams, capped.then_some(100))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("x-litellm-key-max-budget"), None);
        assert!(answer.header("x-litellm-key-spend").is_some());
    }
    // Each cost $0.02; what is a team's is its and its member's, not the user's own.
    let info = of(&format!("/key/info?key={personal}")).await;
    assert_eq!((&info["info"]["spend"], &info["info"]["max_budget"]), (&json!(0.02), &Value::Null));
    assert_eq!(of(&format!("/key/info?key={shared}")).await["info"]["spend"], json!(0.04));
    let team = of("/team/info?team_id=t").await;
    assert_eq!(team["team_info"]["spend"], json!(0.04));
    assert_eq!(team["team_memberships"][0]["spend"], json!(0.04));
    assert_eq!(of("/user/info?user_id=u").await["user_info"]["spend"], json!(0.02));
    // A cap that comes later finds what was spent.
    ask(addr, "/key/update", json!({"key": shared, "max_budget": 0.05})).await;
    let answer = post(addr, CHAT, &[&bearer(&shared)], &body("paid", false, Some(100))).await;
    assert_eq!(answer.status, 429, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_an_administrators_only_if_it_was_made_as_one() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "").await;
    let addr = gateway.addr;
    let may = async |secret: &str| get(addr, "/key/list", &[&bearer(secret)]).await.status == 200;
    let role = async |role: &str| ask(addr, "/user/update", json!({"user_id": "u", "user_role": role})).await;
    let first = ask(addr, "/user/new", json!({"user_id": "u"})).await["key"].as_str().unwrap().to_owned();
    let second = new_key(addr, json!({"user_id": "u"})).await;
    ask(addr, "/user/new", json!({"user_id": "root", "user_role": "proxy_admin", "auto_create_key": false}))
        .await;
    let moved = new_key(addr, json!({})).await;
    // Its user becomes one, or it becomes an administrator's: it may be in anybody's hands.
    role("proxy_admin").await;
    ask(addr, "/key/update", json!({"key": moved, "user_id": "root"})).await;
    let renewed =
        ask(addr, "/key/regenerate", json!({"key": second})).await["key"].as_str().unwrap().to_owned();
    for secret in [&first, &renewed, &moved] {
        assert!(!may(secret).await);
    }
    // One that is made now may, for as long as its user does, and however often it is renewed.
    let made = new_key(addr, json!({"user_id": "u"})).await;
    assert!(may(&made).await);
    let made = ask(addr, "/key/regenerate", json!({"key": made})).await["key"].as_str().unwrap().to_owned();
    assert!(may(&made).await);
    role("internal_user").await;
    assert!(!may(&made).await);
    role("proxy_admin").await;
    assert!(may(&made).await);
    // Not one of a team.
    ask(addr, "/team/new", json!({"team_id": "t"})).await;
    let of_team = new_key(addr, json!({"user_id": "u", "team_id": "t"})).await;
    assert!(!may(&of_team).await);
    ask(addr, "/key/update", json!({"key": of_team, "team_id": null})).await;
    assert!(!may(&of_team).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_that_a_caller_names_add_to_those_of_its_key_and_take_none_away() {
    let upstream = Paid::start(Gate::Open).await;
    let sections = "litellm_settings:\n  tag_budget_config:\n    own: {max_budget: 0.05}\n    \
                    other: {max_budget: 0.03}\n    team: {max_budget: 0.09}\n";
    let gateway = start(&upstream, sections).await;
    let addr = gateway.addr;
    ask(addr, "/team/new", json!({"team_id": "t", "tags": ["team"]})).await;
    let new = async || new_key(addr, json!({"team_id": "t", "tags": ["own"]})).await;
    let call = async |secret: &str, metadata: Value| {
        let mut asked: Value = serde_json::from_str(&body("paid", false, Some(100))).unwrap();
        asked["metadata"] = metadata;
        post(addr, CHAT, &[&bearer(secret)], &asked.to_string()).await
    };
    let key = new().await;
    // Each costs $0.02. By its own word, one more applies.
    assert_eq!(call(&key, json!({"tags": ["other"]})).await.status, 200);
    let refused = call(&key, json!({"tags": ["other", "no budget"]})).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.body.contains("tag"), "{}", refused.body);
    // However it words it, what its key has stays: $0.05 are good for one more.
    assert_eq!(call(&key, json!({"tags": []})).await.status, 200);
    for metadata in [
        json!(null),
        json!({}),
        json!({"tags": []}),
        json!({"tags": null}),
        json!({"tags": "none"}),
        json!({"tags": ["-own", "!own", "own", "own"]}),
        json!({"tags": {"own": false}}),
    ] {
        assert_eq!(call(&key, metadata.clone()).await.status, 429, "{metadata}");
    }
    // Another key of the tag has no more either, nor of the team's.
    assert_eq!(call(&new().await, json!(null)).await.status, 429);
    let of_team = new_key(addr, json!({"team_id": "t"})).await;
    for status in [200, 200, 429] {
        assert_eq!(call(&of_team, json!({"tags": ["unheard of"]})).await.status, status);
    }
    assert_eq!(upstream.served(), 4);
}

/// A key under an allowance, which is that of whoever the path makes.
async fn key_under(addr: SocketAddr, path: &str, allowance: &Value) -> String {
    let with = |mut body: Value| {
        body.as_object_mut().unwrap().extend(allowance.as_object().unwrap().clone());
        body
    };
    match path {
        "/key/generate" => new_key(addr, with(json!({}))).await,
        "/team/new" => {
            ask(addr, path, with(json!({"team_id": "t"}))).await;
            new_key(addr, json!({"team_id": "t"})).await
        }
        "/team/member_add" => {
            ask(addr, "/team/new", json!({"team_id": "m"})).await;
            ask(addr, path, with(json!({"team_id": "m", "member": {"user_id": "u", "role": "user"}}))).await;
            new_key(addr, json!({"team_id": "m", "user_id": "u"})).await
        }
        "/user/new" => {
            ask(addr, path, with(json!({"user_id": "v", "auto_create_key": false}))).await;
            new_key(addr, json!({"user_id": "v"})).await
        }
        _ => {
            ask(addr, "/budget/new", with(json!({"budget_id": "b"}))).await;
            ask(addr, path, json!({"user_id": "c", "budget_id": "b"})).await;
            new_key(addr, json!({})).await
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_minute_are_those_of_whoever_calls() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "").await;
    let mut asked: Value = serde_json::from_str(&body("paid", false, Some(100))).unwrap();
    asked["user"] = json!("c");
    for path in ["/key/generate", "/team/new", "/team/member_add", "/user/new", "/customer/new"] {
        let secret = key_under(gateway.addr, path, &json!({"tpm_limit": 150})).await;
        let call = async || post(gateway.addr, CHAT, &[&bearer(&secret)], &asked.to_string()).await;
        // 100 tokens are said, and more heard.
        assert_eq!(call().await.status, 200, "{path}");
        let refused = call().await;
        assert_eq!(refused.status, 429, "{path}: {}", refused.body);
        assert!(refused.body.contains("tokens"), "{path}: {}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_are_those_of_whoever_calls() {
    let upstream = Paid::start(Gate::Shut).await;
    let gateway = start(&upstream, "").await;
    let mut hanging = Vec::new();
    for path in ["/key/generate", "/team/new", "/user/new"] {
        let secret = key_under(gateway.addr, path, &json!({"max_parallel_requests": 1})).await;
        let mut first = Raw::connect(gateway.addr).await;
        first.post(CHAT, &[&bearer(&secret)], &body("paid", false, Some(100))).await;
        hanging.push(first);
        until(|| upstream.now() == hanging.len()).await;
        assert_eq!(call(gateway.addr, &secret).await, 429, "{path}");
    }
    upstream.open(Gate::Open);
    for mut first in hanging {
        assert_eq!(first.answer().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_has_limits_too() {
    let upstream = Paid::start(Gate::Open).await;
    let sections = "litellm_settings:\n  tag_budget_config:\n    few: {rpm_limit: 2, soft_budget: 0.01}\n";
    let gateway = start(&upstream, sections).await;
    let call =
        async |key: &str| post(gateway.addr, CHAT, &[&bearer(key)], &body("paid", false, Some(100))).await;
    let new = async |tags: &[&str]| new_key(gateway.addr, json!({"tags": tags})).await;
    let (one, other, none) = (new(&["few"]).await, new(&["few"]).await, new(&[]).await);
    // What alerts refuses nothing.
    assert_eq!(call(&one).await.status, 200);
    assert_eq!(call(&other).await.status, 200);
    let refused = call(&one).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(refused.body.contains("tag"), "{}", refused.body);
    assert_eq!(call(&none).await.status, 200);
    assert_eq!(upstream.served(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_callers_can_be_refused() {
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], "").replace(
        "general_settings:\n",
        "general_settings:\n  database_url: 'sqlite:keys.db'\n  reject_clientside_metadata_tags: true\n",
    );
    let gateway = Gateway::start(&config, &[], &[]).await;
    let secret = new_key(gateway.addr, json!({"tags": ["own"]})).await;
    let call = async |metadata: &str| {
        let asked = body("paid", false, Some(100)).replacen('{', &format!(r#"{{"metadata":{metadata},"#), 1);
        post(gateway.addr, CHAT, &[&bearer(&secret)], &asked).await
    };
    for metadata in
        [r#"{"tags":["own"]}"#, r#"{"a":1,"tags":[]}"#, r#"{"tags":"x"}"#, r#"{"t\u0061gs":["x"]}"#]
    {
        call(metadata).await.is(
            400,
            r#"{"error":{"message":"tags are for the key to say here, not for a request","type":"invalid_request_error","param":"metadata.tags","code":null}}"#,
        );
    }
    assert_eq!(upstream.begun(), 0);
    for metadata in ["{}", "null", r#"{"tagged":true}"#] {
        assert_eq!(call(metadata).await.status, 200, "{metadata}");
    }
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
