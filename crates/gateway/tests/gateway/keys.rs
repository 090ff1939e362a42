//! Keys that nobody has, and what they tell: `cargo test --release -p ziggurat-gateway keys::measured -- --ignored --nocapture --test-threads=1`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use ziggurat_testkit::postgres::Postgres;

use crate::{
    client::{Answer, Raw, get, post},
    harness::Gateway,
    paid::{Gate, Paid, body, key},
    samples::CHAT,
};

fn bearer(secret: &str) -> String {
    format!("authorization: Bearer {secret}")
}

async fn start(upstream: &Paid, database: &str) -> Gateway {
    let config = upstream.config(&[], "ziggurat_settings: {store_deadline: 5}\n");
    let settings = format!("general_settings:\n  database_url: '{database}'\n");
    Gateway::start(&config.replace("general_settings:\n", &settings), &[], &[]).await
}

async fn admin(addr: SocketAddr, path: &str, body: Value) -> Value {
    let answer = post(addr, path, &[&key()], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn new_key(addr: SocketAddr, body: Value) -> String {
    admin(addr, "/key/generate", body).await["key"].as_str().unwrap().to_owned()
}

/// A key of the right form that nobody has.
fn random(number: u128) -> String {
    format!("sk-{:032x}", number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_wrong_key_is_told_in_the_same_words_and_changes_nothing() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "sqlite:keys.db").await;
    let addr = gateway.addr;
    let good = new_key(addr, json!({"models": ["free"], "allowed_routes": ["/v1/chat/completions"]})).await;
    let blocked = new_key(addr, json!({})).await;
    admin(addr, "/key/block", json!({"key": blocked})).await;
    let deleted = new_key(addr, json!({})).await;
    admin(addr, "/key/delete", json!({"keys": [deleted]})).await;
    let expired = new_key(addr, json!({"duration": "1s"})).await;
    crate::harness::soon(async {
        while get(addr, "/v1/models", &[&bearer(&expired)]).await.status != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let before = get(addr, "/key/list?return_full_object=true", &[&key()]).await.body;
    let asked = body("free", false, Some(100));
    let call = async |headers: &[&str]| -> Answer { post(addr, CHAT, headers, &asked).await };
    let unknown = call(&[&bearer(&random(1))]).await;
    assert_eq!((unknown.status, unknown.header("www-authenticate").is_some()), (401, true));
    let same = |answer: &Answer, what: &str| {
        assert_eq!((answer.status, &answer.body), (401, &unknown.body), "{what}");
        assert_eq!(answer.headers.len(), unknown.headers.len(), "{what}");
    };
    for (what, headers) in [
        ("none", vec![]),
        ("malformed", vec![bearer("sk-1")]),
        ("no key at all", vec![bearer("hello")]),
        ("SQL", vec![bearer("x' OR 1=1; --")]),
        ("SQL in the form of a key", vec![bearer("sk-'; DROP TABLE api_key; --")]),
        ("other letters", vec![bearer("sk-\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}")]),
        ("17 KiB", vec![bearer(&format!("sk-{}", "a".repeat(17 << 10)))]),
        ("blocked", vec![bearer(&blocked)]),
        ("deleted", vec![bearer(&deleted)]),
        ("expired", vec![bearer(&expired)]),
        ("another scheme", vec![format!("authorization: Basic {good}")]),
        ("two", vec![bearer(&good), format!("x-api-key: {blocked}")]),
        ("two in one header", vec![bearer(&good), bearer(&random(2))]),
        ("its hash", vec![bearer(&ziggurat_auth::KeyHash::of(good.as_bytes()).to_string())]),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        same(&call(&headers).await, what);
    }
    // What no HTTP may hold, or too much of it, never comes so far.
    for (key, status) in [("sk-a\0b".to_owned(), 400), (format!("sk-{}", "a".repeat(100 << 10)), 431)] {
        let mut raw = Raw::connect(addr).await;
        raw.try_send(format!("GET /v1/models HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\n\r\n"))
            .await;
        assert_eq!(raw.head().await.status, status);
    }
    // Who is known and may not is told so.
    let wrong_model = post(addr, CHAT, &[&bearer(&good)], &body("paid", false, Some(100))).await;
    let wrong_route = get(addr, "/v1/models", &[&bearer(&good)]).await;
    assert_eq!((wrong_model.status, wrong_route.status), (403, 403));
    assert_eq!((upstream.begun(), call(&[&bearer(&good)]).await.status), (0, 200));
    let after = get(addr, "/key/list?return_full_object=true", &[&key()]).await.body;
    assert_eq!(after, before);
    let ended = gateway.stop().await;
    for secret in [&good, &blocked, &deleted, &expired] {
        assert!(!ended.stderr.contains(&secret[3..]), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_key_is_no_question_to_the_database() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let config = upstream.config(&[], "ziggurat_settings: {ledger: memory, store_deadline: 0.3}\n");
    let settings = format!("general_settings:\n  database_url: '{}'\n", server.url());
    let gateway = Gateway::start(&config.replace("general_settings:\n", &settings), &[], &[]).await;
    server.kill();
    let status = async |key: &str| get(gateway.addr, "/v1/models", &[&bearer(key)]).await.status;
    // Nobody answers, so that whoever asks cannot know.
    assert_eq!(status(&random(1)).await, 503);
    for malformed in
        ["sk-1", "hello", "x' OR 1=1; --", "sk-with blanks in it, but long", &"a".repeat(10 << 10)]
    {
        assert_eq!(status(malformed).await, 401, "{malformed:.40}");
    }
}

/// Half by one connection in hand each, as an attacker would.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn measured_a_million_random_keys() {
    let count: u128 = std::env::var("ZIGGURAT_KEYS").map_or(1_000_000, |count| count.parse().unwrap());
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "sqlite:keys.db").await;
    let addr = gateway.addr;
    // What the first thousands of calls take of memory, they take once.
    let ask = async |from: u128, count: u128| {
        let mut all = JoinSet::new();
        for worker in 0..CONNECTIONS {
            all.spawn(async move {
                let mut raw = Raw::connect(addr).await;
                for number in (from + worker..from + count).step_by(CONNECTIONS as usize) {
                    raw.get("/v1/models", &[&bearer(&random(number))]).await;
                    assert_eq!(raw.answer().await.status, 401);
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
    };
    ask(0, 10_000).await;
    let before = gateway.memory().0;
    let started = Instant::now();
    ask(10_000, count).await;
    let (after, most) = gateway.memory();
    let (grown, most) = (after.saturating_sub(before) >> 10, most.saturating_sub(before) >> 10);
    println!("{count} random keys in {:?}: {grown} KiB more resident, {most} KiB at most", started.elapsed());
    assert!(most < 64 << 10, "{most} KiB");
}

const CONNECTIONS: u128 = 16;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measured_what_the_time_of_a_refusal_tells() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "sqlite:keys.db").await;
    let addr = gateway.addr;
    let blocked = new_key(addr, json!({})).await;
    admin(addr, "/key/block", json!({"key": blocked})).await;
    let known = new_key(addr, json!({})).await;
    let mut raw = Raw::connect(addr).await;
    let mut asked = async |secret: &str, status: u16| {
        let started = Instant::now();
        raw.get("/key/list", &[&bearer(secret)]).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status);
        started.elapsed()
    };
    let unknown = random(0);
    let kinds: [(&str, &str, u16); 4] = [
        ("one that is blocked", &blocked, 401),
        ("one that nobody has, asked before", &unknown, 401),
        ("one of no form", "sk-1", 401),
        ("one that is good (and is refused by its rights)", &known, 403),
    ];
    let mut times = vec![Vec::new(); kinds.len() + 1];
    // In turn, and each behind each of the others, so that what the machine does meets all of them.
    for round in 0..20_000 {
        for at in 0..kinds.len() {
            let at = (at * (1 + 2 * (round % 2)) + round / 2) % kinds.len();
            let (_, secret, status) = kinds[at];
            times[at].push(asked(secret, status).await);
        }
    }
    for number in 0..2_000 {
        times[kinds.len()].push(asked(&random(1_000_000 + number), 401).await);
    }
    let names = kinds.iter().map(|(name, _, _)| *name).chain(["one that nobody has, asked first"]);
    let mut halves = Vec::new();
    for (name, times) in names.zip(&mut times) {
        times.sort_unstable();
        let of = |share: usize| times[times.len() * share / 100];
        println!("{name}: p50 {:?}, p90 {:?}", of(50), of(90));
        halves.push(of(50));
    }
    let apart = halves[0].abs_diff(halves[1]);
    println!("blocked and unknown are {apart:?} apart");
    assert!(apart < Duration::from_micros(20), "{apart:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_or_a_host_leads_past_the_key() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "sqlite:keys.db").await;
    let addr = gateway.addr;
    // One that may call models, and nothing else.
    let low = new_key(addr, json!({"allowed_routes": ["/v1/*", "*"]})).await;
    let before = get(addr, "/key/list", &[&key()]).await.body;
    let status = async |method: &str, target: &str, host: &str, key: Option<&str>| {
        let key = key.map_or_else(String::new, |key| format!("{}\r\n", bearer(key)));
        let mut raw = Raw::connect(addr).await;
        raw.send(format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{key}content-length: 2\r\n\r\n{{}}"))
            .await;
        raw.answer().await.status
    };
    let targets = [
        "/key/list",
        "/key/list/",
        "//key/list",
        "/key//list",
        "/./key/list",
        "/v1/../key/list",
        "/health/liveness/../../key/list",
        "/health/liveness;/key/list",
        "/%6bey/list",
        "/key%2flist",
        "/v1/%2e%2e/key/list",
        "/KEY/list",
        "/key/list?x=/health/liveness",
        "/key/list#/health/liveness",
        "http://h/key/list",
        "http://h/health/liveness/../../key/list",
        "/v1/key/list",
        "/key/list%00",
        "/key/list%20",
    ];
    for target in targets {
        for host in ["h", "h/health/liveness?", "127.0.0.1:1/health/liveness#", "localhost"] {
            for (method, target) in [("GET", target), ("POST", &*target.replace("list", "generate"))] {
                let told = status(method, target, host, None).await;
                assert!(matches!(told, 400 | 401 | 404 | 405), "{method} {target} {host}: {told}");
                let told = status(method, target, host, Some(&low)).await;
                assert!(matches!(told, 400 | 403 | 404 | 405), "{method} {target} {host}: {told}");
            }
        }
    }
    assert_eq!(get(addr, "/key/list", &[&key()]).await.body, before);
    assert_eq!(upstream.begun(), 0);
    // Nor does a header that says who, where or which way.
    let claims = [
        "x-forwarded-user: admin",
        "x-litellm-user-role: proxy_admin",
        "x-original-url: /health/liveness",
        "x-rewrite-url: /health/liveness",
        "x-http-method-override: GET",
        "x-real-ip: 127.0.0.1",
        "x-forwarded-for: 127.0.0.1",
    ];
    for claim in claims {
        assert_eq!(get(addr, "/key/list", &[claim]).await.status, 401, "{claim}");
        assert_eq!(get(addr, "/key/list", &[claim, &bearer(&low)]).await.status, 403, "{claim}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_and_nul_in_every_field_of_the_admin_api_are_text_or_refused() {
    let upstream = Paid::start(Gate::Open).await;
    let gateway = start(&upstream, "sqlite:keys.db").await;
    let addr = gateway.addr;
    admin(addr, "/team/new", json!({"team_id": "t"})).await;
    let before = get(addr, "/team/list", &[&key()]).await.body;
    let fields = |of: &str| -> &[&str] {
        match of {
            "/key/generate" => &[
                "key_alias",
                "user_id",
                "team_id",
                "organization_id",
                "budget_id",
                "duration",
                "budget_duration",
                "key",
            ],
            "/team/new" => &["team_id", "team_alias", "organization_id", "budget_id", "budget_duration"],
            "/user/new" => &[
                "user_id",
                "user_email",
                "user_alias",
                "user_role",
                "budget_id",
                "budget_duration",
                "key_alias",
            ],
            "/customer/new" => &["user_id", "alias", "budget_id", "budget_duration"],
            _ => &["budget_id", "budget_duration"],
        }
    };
    for path in ["/key/generate", "/team/new", "/user/new", "/customer/new", "/budget/new"] {
        for field in fields(path) {
            let mut asked = json!({"user_id": "c", "budget_id": "b"});
            if matches!(path, "/key/generate" | "/team/new" | "/user/new") {
                asked = json!({});
            }
            asked[*field] = json!("a\0b");
            let answer = post(addr, path, &[&key()], &asked.to_string()).await;
            // What has words of its own is told as LiteLLM tells it.
            let expected = if *field == "user_role" { 422 } else { 400 };
            assert_eq!(answer.status, expected, "{path} {field}: {}", answer.body);
            assert!(!answer.body.contains('\0'), "{path} {field}");
            asked[*field] = json!(format!("x'; DROP TABLE api_key; DROP TABLE team; -- {path} {field}"));
            let answer = post(addr, path, &[&key()], &asked.to_string()).await;
            assert!(matches!(answer.status, 200 | 400 | 404 | 422), "{path} {field}: {}", answer.body);
        }
    }
    for path in
        ["/key/info?key=", "/team/info?team_id=", "/user/info?user_id=", "/customer/info?end_user_id="]
    {
        for hostile in ["%00", "x'%20OR%201=1;%20--", "%27%3B%20DROP%20TABLE%20team%3B--"] {
            let answer = get(addr, &format!("{path}{hostile}"), &[&key()]).await;
            assert!(matches!(answer.status, 400 | 404), "{path}{hostile}: {}", answer.body);
        }
    }
    // All is there that was there, and a key works.
    let after: Value = serde_json::from_str(&get(addr, "/team/list", &[&key()]).await.body).unwrap();
    let before: Value = serde_json::from_str(&before).unwrap();
    assert_eq!(after[0], before[0]);
    let secret = new_key(addr, json!({})).await;
    assert_eq!(post(addr, CHAT, &[&bearer(&secret)], &body("free", false, Some(100))).await.status, 200);
}
