//! Tokens of an identity provider, whose key set is served here.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    client::{Answer, get, post},
    harness::{Gateway, MASTER_KEY},
    paid::{Gate, Paid, body, key},
    samples::CHAT,
};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<EncodingKey> = LazyLock::new(new_key);

fn new_key() -> EncodingKey {
    EncodingKey::from_ed_der(
        Ed25519KeyPair::generate_pkcs8v1(&aws_lc_rs::rand::SystemRandom::new()).unwrap().as_ref(),
    )
}

/// A provider that serves its key set, and counts how often.
struct Provider {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn start() -> Self {
        let mut jwk = Jwk::from_encoding_key(&KEY, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some("one".to_owned());
        let set = json!({ "keys": [jwk] }).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let asked = Arc::<AtomicUsize>::default();
        let counting = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counting.fetch_add(1, Ordering::SeqCst);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                assert!(head.starts_with(b"GET /keys HTTP/1.1\r\n"));
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", set.len());
                stream.write_all((head + &set).as_bytes()).await.unwrap();
            }
        });
        Self { url, asked }
    }

    fn env(&self) -> [(&str, &str); 3] {
        [("JWT_PUBLIC_KEY_URL", &*self.url), ("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", "gateway")]
    }
}

/// A gateway that believes its tokens; further lines of `general_settings`.
async fn start(upstream: &Paid, provider: &Provider, lines: &str) -> Gateway {
    let config = upstream.config(&[], "");
    let settings = format!("general_settings:\n  enable_jwt_auth: true\n{lines}");
    Gateway::start(&config.replace("general_settings:\n", &settings), &[], &provider.env()).await
}

const IN_DATABASE: &str = "  database_url: 'sqlite:keys.db'\n  litellm_jwtauth:\n    user_id_jwt_field: sub\n    \
                           team_id_jwt_field: team\n    end_user_id_jwt_field: customer\n    \
                           admin_jwt_scope: boss\n";

/// Good for an hour, with these changes; `null` takes a claim out.
fn claims(changes: &Value) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({ "iss": ISSUER, "aud": "gateway", "sub": "ada", "exp": now + 3600 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn signed_by(key: &EncodingKey, algorithm: Algorithm, changes: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = Some("one".to_owned());
    encode(&header, &claims(changes), key).unwrap()
}

fn token(changes: &Value) -> String {
    signed_by(&KEY, Algorithm::EdDSA, changes)
}

async fn call(gateway: &Gateway, model: &str, token: &str) -> Answer {
    post(gateway.addr, CHAT, &[&format!("authorization: Bearer {token}")], &body(model, false, Some(100)))
        .await
}

async fn admin(gateway: &Gateway, path: &str, body: Value) {
    let answer = post(gateway.addr, path, &[&key()], &body.to_string()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_what_its_team_its_user_and_its_customer_may() {
    let (upstream, provider) = (Paid::start(Gate::Open).await, Provider::start().await);
    let gateway = start(&upstream, &provider, IN_DATABASE).await;
    admin(&gateway, "/team/new", json!({"team_id": "red", "max_budget": 0.05, "models": ["paid"]})).await;
    admin(&gateway, "/user/new", json!({"user_id": "ada", "auto_create_key": false, "models": ["free"]}))
        .await;
    admin(&gateway, "/customer/new", json!({"user_id": "c", "max_budget": 0.01})).await;
    admin(&gateway, "/customer/new", json!({"user_id": "d", "blocked": true})).await;

    // In a team, its models and its budget: two calls of $0.02 fit, a third does not.
    let of_team = token(&json!({"team": "red"}));
    assert_eq!(call(&gateway, "free", &of_team).await.status, 403);
    for status in [200, 200, 429] {
        let answer = call(&gateway, "paid", &of_team).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let info = get(gateway.addr, "/team/info", &[&format!("authorization: Bearer {of_team}")]).await;
    let info: Value = serde_json::from_str(&info.body).unwrap();
    assert_eq!((&info["team_id"], &info["team_info"]["spend"]), (&json!("red"), &json!(0.04)));
    // Without one, the user's own.
    let own = token(&json!({}));
    assert_eq!(
        (call(&gateway, "free", &own).await.status, call(&gateway, "paid", &own).await.status),
        (200, 403)
    );
    // For a customer, whomever the request names.
    admin(&gateway, "/team/new", json!({"team_id": "blue"})).await;
    let of = |customer: &str| token(&json!({"team": "blue", "customer": customer}));
    assert_eq!(call(&gateway, "paid", &of("e")).await.status, 200);
    assert_eq!(call(&gateway, "paid", &of("c")).await.status, 429);
    assert_eq!(call(&gateway, "paid", &of("d")).await.status, 403);
    // What changes holds with the next call.
    admin(&gateway, "/team/block", json!({"team_id": "blue"})).await;
    assert_eq!(call(&gateway, "paid", &of("e")).await.status, 401);
    admin(&gateway, "/team/unblock", json!({"team_id": "blue"})).await;
    assert_eq!(call(&gateway, "paid", &of("e")).await.status, 200);
    assert_eq!((provider.asked.load(Ordering::SeqCst), upstream.served()), (1, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_manages_where_it_says_so_by_the_word_of_the_config() {
    let (upstream, provider) = (Paid::start(Gate::Open).await, Provider::start().await);
    let gateway = start(&upstream, &provider, IN_DATABASE).await;
    // The role of a user in the database makes no token an administrator's.
    admin(
        &gateway,
        "/user/new",
        json!({"user_id": "ada", "user_role": "proxy_admin", "auto_create_key": false}),
    )
    .await;
    let ask = async |token: &str| {
        post(gateway.addr, "/key/generate", &[&format!("authorization: Bearer {token}")], "{}").await
    };
    for scope in [json!(null), json!("openid"), json!("bossy"), json!("litellm_proxy_admin")] {
        let answer = ask(&token(&json!({"scope": scope}))).await;
        assert_eq!(answer.status, 403, "{scope}: {}", answer.body);
    }
    // An administrator need not be known.
    let answer = ask(&token(&json!({"sub": "root", "scope": "openid boss"}))).await;
    let made: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &made["created_by"]), (200, &json!("root")), "{}", answer.body);
    let ended = gateway.stop().await;
    assert!(
        ended.stderr.contains(r#"action=/key/generate entity="key" by="token of an administrator""#),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_token_is_told_as_every_wrong_key() {
    let (upstream, provider) = (Paid::start(Gate::Open).await, Provider::start().await);
    let gateway = start(&upstream, &provider, IN_DATABASE).await;
    admin(&gateway, "/user/new", json!({"user_id": "ada", "auto_create_key": false})).await;
    let good = token(&json!({}));
    assert_eq!(call(&gateway, "free", &good).await.status, 200);
    let unsigned = |algorithm: &str| {
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.", part(json!({"alg": algorithm, "typ": "JWT"})), part(claims(&json!({}))))
    };
    let (head, signature) = good.rsplit_once('.').unwrap();
    // The public key as a secret.
    let public = Jwk::from_encoding_key(&KEY, Algorithm::EdDSA).unwrap();
    let public = serde_json::to_value(public).unwrap()["x"].as_str().unwrap().to_owned();
    let confused = signed_by(
        &EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(public).unwrap()),
        Algorithm::HS256,
        &json!({}),
    );
    let wrong = call(&gateway, "free", "sk-0123456789abcdef0").await;
    assert_eq!((wrong.status, wrong.header("www-authenticate").is_some()), (401, true));
    for (what, token) in [
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("no signature", format!("{head}.")),
        ("another's signature", format!("{head}.{}", signature.chars().rev().collect::<String>())),
        ("the wrong key", signed_by(&new_key(), Algorithm::EdDSA, &json!({}))),
        ("another algorithm", confused),
        ("the wrong audience", token(&json!({"aud": "other"}))),
        ("no audience", token(&json!({"aud": null}))),
        ("another issuer", token(&json!({"iss": "https://evil.example"}))),
        ("expired", token(&json!({"exp": 1_700_000_000}))),
        ("no end", token(&json!({"exp": null}))),
        ("not yet", token(&json!({"nbf": 9_000_000_000_u64}))),
        ("an unknown user", token(&json!({"sub": "eve"}))),
        ("an unknown team", token(&json!({"team": "none"}))),
        ("NUL in its user", token(&json!({"sub": "a\0b"}))),
        ("SQL in its team", token(&json!({"team": "x' OR 1=1; --"}))),
        ("cut", good[..good.len() - 3].to_owned()),
    ] {
        let answer = call(&gateway, "free", &token).await;
        assert_eq!((answer.status, &answer.body), (401, &wrong.body), "{what}");
        assert_eq!(answer.headers.len(), wrong.headers.len(), "{what}");
    }
    assert_eq!(call(&gateway, "free", &good).await.status, 200);
    assert_eq!((provider.asked.load(Ordering::SeqCst), upstream.served()), (1, 2));
    let ended = gateway.stop().await;
    for secret in [&*good, head, signature, MASTER_KEY] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_a_token_is_who_it_says() {
    let (upstream, provider) = (Paid::start(Gate::Open).await, Provider::start().await);
    let gateway = start(&upstream, &provider, "").await;
    assert_eq!(call(&gateway, "free", &token(&json!({}))).await.status, 200);
    assert_eq!(call(&gateway, "free", &token(&json!({"sub": null}))).await.status, 401);
    assert_eq!(call(&gateway, "free", MASTER_KEY).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_that_is_away_is_no_wrong_token() {
    let (upstream, mut provider) = (Paid::start(Gate::Open).await, Provider::start().await);
    // Nobody listens there.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    provider.url = format!("http://{gone}/secret-path");
    let gateway = start(&upstream, &provider, "").await;
    let answer = call(&gateway, "free", &token(&json!({}))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.body);
    assert_eq!(call(&gateway, "free", MASTER_KEY).await.status, 200);
    let ended = gateway.stop().await;
    assert_eq!(
        ended.stderr.matches("the key set of tokens cannot be fetched").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("secret-path"));
}

#[tokio::test(flavor = "multi_thread")]
async fn most_calls_at_a_time_of_each_key_hold_for_each_user_too() {
    let (upstream, provider) = (Paid::start(Gate::Shut).await, Provider::start().await);
    let gateway = start(&upstream, &provider, "  max_parallel_requests: 1\n").await;
    let (ada, eve) = (token(&json!({})), token(&json!({"sub": "eve"})));
    // The key set is fetched.
    let models = get(gateway.addr, "/v1/models", &[&format!("authorization: Bearer {ada}")]).await;
    assert_eq!(models.status, 200, "{}", models.body);
    let first = async {
        let answers = tokio::join!(call(&gateway, "free", &ada), call(&gateway, "free", &eve));
        assert_eq!((answers.0.status, answers.1.status), (200, 200));
    };
    let second = async {
        crate::harness::until(|| upstream.begun() == 2).await;
        // Another token of the same user.
        let answer = call(&gateway, "free", &token(&json!({"jti": 2}))).await;
        assert_eq!(answer.status, 429, "{}", answer.body);
        upstream.open(Gate::Open);
    };
    tokio::join!(first, second);
}
