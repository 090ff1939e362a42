//! Tokens: what is believed of them, and what is not.

mod support;

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::Instant};
use ziggurat_auth::{
    AuthLayer, Authenticate, Credential, CustomerRecord, Denied, Identity, KeyHash, MasterKey, Owner,
    jwt::{Algorithm, ClaimNames, JwksPolicy, JwksSource, Jwt, JwtKeys, OwnedTokens},
};
use ziggurat_core::{Asked, Away, Body, Budget, Principal, Reply, Scope, ScopeKind, Usd, Window};

use crate::support::*;

const ISSUER: &str = "https://issuer.example";
const SECRET: &[u8] = b"a secret of more than 32 bytes, as it must be";

static ED: LazyLock<EncodingKey> = LazyLock::new(new_ed);
static EC: LazyLock<EncodingKey> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    EncodingKey::from_ec_der(key.expect("is made").as_ref())
});
/// With its public part in PEM.
static RSA: LazyLock<(EncodingKey, String)> = LazyLock::new(|| {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("is made");
    let own: Pkcs8V1Der = key.as_der().expect("is written");
    let public: PublicKeyX509Der = key.public_key().as_der().expect("is written");
    let own = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", own.as_ref()).as_bytes());
    (own.expect("is read"), pem("PUBLIC KEY", public.as_ref()))
});

fn new_ed() -> EncodingKey {
    let key = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("is made");
    EncodingKey::from_ed_der(key.as_ref())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A key of a set.
fn jwk(key: &EncodingKey, algorithm: Algorithm, id: Option<&str>) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("is a key");
    jwk.common.key_id = id.map(str::to_owned);
    serde_json::to_value(jwk).expect("is JSON")
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// Seconds of the epoch, from the start of the clock.
fn at(seconds: i64) -> i64 {
    1_800_000_000 + seconds
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "gateway", "sub": "ada", "exp": at(600) })
}

/// Those claims with others in their place; `null` takes one out.
fn but(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("is an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("is an object").retain(|_, value| !value.is_null());
    claims
}

fn header(algorithm: Algorithm, id: Option<&str>) -> Header {
    let mut header = Header::new(algorithm);
    header.kid = id.map(str::to_owned);
    header
}

fn token(key: &EncodingKey, header: &Header, claims: &Value) -> String {
    encode(header, claims, key).expect("is signed")
}

fn ed(claims: &Value) -> String {
    token(&ED, &header(Algorithm::EdDSA, Some("ed")), claims)
}

fn ed_keys() -> JwtKeys {
    JwtKeys::jwks(&set(&[jwk(&ED, Algorithm::EdDSA, Some("ed"))])).expect("are keys")
}

fn jwt(keys: JwtKeys, time: &Manual) -> Jwt {
    Jwt::new(keys, ISSUER, "gateway").clock(time.clock())
}

async fn ask(auth: &impl Authenticate, token: &str) -> Result<Option<Identity>, Denied> {
    auth.authenticate(&Credential::new(token.as_bytes())?).wait().await
}

async fn user(auth: &impl Authenticate, token: &str) -> Result<Option<String>, Denied> {
    ask(auth, token).await.map(|known| Some(known?.principal().user.as_deref()?.to_owned()))
}

const INVALID: Result<Option<String>, Denied> = Err(Denied::Invalid);

fn ada() -> Result<Option<String>, Denied> {
    Ok(Some("ada".to_owned()))
}

#[tokio::test]
async fn tokens_of_each_kind_of_key_are_believed() {
    let time = Manual::default();
    let all = set(&[
        jwk(&ED, Algorithm::EdDSA, Some("ed")),
        jwk(&EC, Algorithm::ES256, Some("ec")),
        jwk(&RSA.0, Algorithm::RS256, Some("rsa")),
        // What is of no use is left out.
        json!({ "kty": "RSA", "use": "enc", "kid": "rsa", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "unheard-of", "kid": "x" }),
        json!("no key"),
    ]);
    let jwks = jwt(JwtKeys::jwks(&all).expect("are keys"), &time);
    for (key, algorithm, id) in
        [(&*ED, Algorithm::EdDSA, "ed"), (&*EC, Algorithm::ES256, "ec"), (&RSA.0, Algorithm::RS256, "rsa")]
    {
        for id in [Some(id), None] {
            assert_eq!(user(&jwks, &token(key, &header(algorithm, id), &claims())).await, ada());
        }
        // By the id of another key.
        let other = if id == "ed" { "ec" } else { "ed" };
        assert_eq!(user(&jwks, &token(key, &header(algorithm, Some(other)), &claims())).await, INVALID);
    }
    let given = jwt(JwtKeys::pem(RSA.1.as_bytes()).expect("is a key"), &time);
    for algorithm in [Algorithm::RS256, Algorithm::RS512, Algorithm::PS256] {
        assert_eq!(user(&given, &token(&RSA.0, &header(algorithm, Some("any")), &claims())).await, ada());
    }
    let secret = jwt(JwtKeys::secret(SECRET).expect("is long"), &time);
    let signed = |algorithm| token(&EncodingKey::from_secret(SECRET), &header(algorithm, None), &claims());
    assert_eq!(user(&secret, &signed(Algorithm::HS256)).await, ada());
    assert_eq!(user(&secret, &signed(Algorithm::HS512)).await, INVALID);
}

#[tokio::test]
async fn what_a_token_says_of_its_signature_is_not_believed() {
    let time = Manual::default();
    let forged = |header: Value, claims: &Value, signature: &str| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{signature}", part(&header), part(claims))
    };
    let ed_jwt = jwt(ed_keys(), &time);
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS256"] {
        for signature in ["", "AAAA"] {
            let token = forged(json!({ "alg": algorithm, "typ": "JWT" }), &claims(), signature);
            assert_eq!(user(&ed_jwt, &token).await, INVALID, "{algorithm}");
        }
    }
    // The public key as a secret (CVE-2015-9235), even where the host has let the algorithm in.
    let rsa = jwt(JwtKeys::pem(RSA.1.as_bytes()).expect("is a key"), &time);
    let confused =
        token(&EncodingKey::from_secret(RSA.1.as_bytes()), &header(Algorithm::HS256, None), &claims());
    assert_eq!(user(&rsa, &confused).await, INVALID);
    assert_eq!(user(&rsa.algorithms([Algorithm::HS256, Algorithm::RS256]), &confused).await, INVALID);
    // A key of its own.
    let own = new_ed();
    let mut with_key = header(Algorithm::EdDSA, Some("ed"));
    with_key.jwk = serde_json::from_value(jwk(&own, Algorithm::EdDSA, Some("ed"))).ok();
    assert_eq!(user(&ed_jwt, &token(&own, &with_key, &claims())).await, INVALID);
    // What must be understood, and is not.
    let mut critical = header(Algorithm::EdDSA, Some("ed"));
    critical.crit = Some(vec!["b64".to_owned()]);
    assert_eq!(user(&ed_jwt, &token(&ED, &critical, &claims())).await, INVALID);
    // Claims, header or signature of another.
    let good = ed(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let eve = URL_SAFE_NO_PAD.encode(but(&json!({ "sub": "eve" })).to_string());
    assert_eq!(user(&ed_jwt, &format!("{}.{eve}.{}", parts[0], parts[2])).await, INVALID);
    assert_eq!(user(&ed_jwt, &format!("{}.{}.", parts[0], parts[1])).await, INVALID);
    assert_eq!(user(&ed_jwt, &good).await, ada());
    // An algorithm that the host does not want.
    assert_eq!(
        user(&ed_jwt.clone().algorithms([Algorithm::ES256]), &ed(&but(&json!({"n": 1})))).await,
        INVALID
    );
    // No secrets in key sets, and no short ones.
    let oct = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256" });
    assert!(JwtKeys::jwks(&set(&[oct])).is_err());
    assert!(JwtKeys::secret(&SECRET[..31]).is_err() && JwtKeys::pem(b"no key").is_err());
    assert!(JwtKeys::jwks(b"{}").is_err() && JwtKeys::jwks(b"no JSON").is_err());
}

#[tokio::test]
async fn issuer_audience_and_times_must_be_there_and_fit() {
    let time = Manual::default();
    let jwt = jwt(ed_keys(), &time);
    for bad in [
        json!({ "aud": null }),
        json!({ "aud": "another" }),
        json!({ "aud": ["another", "third"] }),
        json!({ "aud": 7 }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "exp": at(-30) }),
        json!({ "exp": -1 }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": at(31) }),
        json!({ "nbf": "now" }),
        json!({ "sub": null }),
    ] {
        assert_eq!(user(&jwt, &ed(&but(&bad))).await, INVALID, "{bad}");
    }
    for good in [
        json!({ "aud": ["another", "gateway"] }),
        json!({ "exp": at(-29) }),
        json!({ "exp": at(100) as f64 + 0.5 }),
        json!({ "nbf": at(30) }),
    ] {
        assert_eq!(user(&jwt, &ed(&but(&good))).await, ada(), "{good}");
    }
    // Another issuer's, or none's, is left to the next.
    for other in
        [json!({ "iss": "https://other.example" }), json!({ "iss": null }), json!({ "iss": [ISSUER] })]
    {
        assert_eq!(user(&jwt, &ed(&but(&other))).await, Ok(None), "{other}");
    }
    for none in ["sk-0123456789abcdef", "ey", "eyJ.b", "eyJ.b.c.d", "eyJ..", "eyJ.b.c", "a.b.c"] {
        assert_eq!(user(&jwt, none).await, Ok(None), "{none}");
    }
    assert_eq!(
        user(&jwt.audiences(["third", "another"]), &ed(&but(&json!({ "aud": "another" })))).await,
        ada()
    );
}

#[tokio::test]
async fn a_verified_token_is_remembered_by_all_of_its_bytes_and_never_beyond_its_end() {
    let (time, mapped) = (Manual::default(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&mapped);
    let names = ClaimNames::default();
    let jwt = jwt(ed_keys(), &time).map(move |claims| {
        count.fetch_add(1, Ordering::SeqCst);
        names.record(claims)
    });
    let short = ed(&but(&json!({ "exp": at(40) })));
    for _ in 0..3 {
        assert_eq!(user(&jwt, &short).await, ada());
    }
    assert_eq!(mapped.load(Ordering::SeqCst), 1);
    // The same beginning, another end.
    let (last, rest) = short.as_bytes().split_last().expect("is long");
    let other = [rest, &[if *last == b'A' { b'g' } else { b'A' }]].concat();
    assert_eq!(user(&jwt, str::from_utf8(&other).expect("is ASCII")).await, INVALID);
    // Beyond its end it is verified again, which the leeway lets pass for a while.
    time.seconds(40.0);
    assert_eq!(user(&jwt, &short).await, ada());
    assert_eq!(mapped.load(Ordering::SeqCst), 2);
    time.seconds(30.0);
    assert_eq!(user(&jwt, &short).await, INVALID);
    // And after a minute in any case.
    let long = ed(&but(&json!({ "exp": at(6000) })));
    for (seconds, times) in [(0.0, 3), (60.0, 3), (0.1, 4)] {
        time.seconds(seconds);
        assert_eq!(user(&jwt, &long).await, ada());
        assert_eq!(mapped.load(Ordering::SeqCst), times);
    }
}

/// A provider of key sets: counts what it is asked, and says what it is told to.
#[derive(Clone)]
struct Provider {
    set: Arc<Mutex<Result<Vec<u8>, Away>>>,
    asked: Arc<AtomicUsize>,
    /// Answers while it has permits; all at once unless it is to wait.
    permits: Option<Arc<Semaphore>>,
}

impl Provider {
    fn new(keys: &[Value]) -> Self {
        Self { set: Arc::new(Mutex::new(Ok(set(keys)))), asked: Arc::default(), permits: None }
    }

    fn says(&self, answer: Result<Vec<u8>, Away>) {
        *self.set.lock().expect("is sound") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl JwksSource for Provider {
    fn fetch(&self) -> Asked<'_, Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            if let Some(permits) = &self.permits {
                permits.acquire().await.expect("is open").forget();
            }
            self.set.lock().expect("is sound").clone()
        })
    }
}

fn fetched(provider: &Provider, time: &Manual) -> Jwt {
    jwt(JwtKeys::fetched(provider.clone(), JwksPolicy::default()), time)
}

#[tokio::test]
async fn a_set_is_fetched_once_refreshed_in_time_and_asked_for_unknown_keys_at_most_so_often() {
    let (time, next) = (Manual::default(), new_ed());
    let old = jwk(&ED, Algorithm::EdDSA, Some("ed"));
    let provider = Provider::new(std::slice::from_ref(&old));
    let jwt = fetched(&provider, &time);
    let of_next = |n: u32| {
        token(&next, &header(Algorithm::EdDSA, Some("next")), &but(&json!({ "n": n, "exp": at(100_000) })))
    };
    let of_old = |n: u32| ed(&but(&json!({ "n": n, "exp": at(100_000) })));
    // Nothing is fetched for what asks for nothing that is accepted.
    let hs = token(&EncodingKey::from_secret(SECRET), &header(Algorithm::HS256, None), &claims());
    assert_eq!(user(&jwt, &hs).await, INVALID);
    assert_eq!(provider.asked(), 0);
    for n in 0..3 {
        assert_eq!(user(&jwt, &of_old(n)).await, ada());
    }
    assert_eq!(provider.asked(), 1);
    // An unknown id: not more than every 30 s.
    assert_eq!(user(&jwt, &of_next(0)).await, INVALID);
    assert_eq!(provider.asked(), 1);
    provider.says(Ok(set(&[old, jwk(&next, Algorithm::EdDSA, Some("next"))])));
    time.seconds(30.1);
    assert_eq!(user(&jwt, &of_next(1)).await, ada());
    assert_eq!(provider.asked(), 2);
    let unheard_of = token(&new_ed(), &header(Algorithm::EdDSA, Some("x")), &claims());
    for _ in 0..10 {
        assert_eq!(user(&jwt, &unheard_of).await, INVALID);
    }
    assert_eq!(provider.asked(), 2);
    // After ten minutes, and the key that was taken back is no longer believed.
    provider.says(Ok(set(&[jwk(&next, Algorithm::EdDSA, Some("next"))])));
    time.seconds(600.1);
    assert_eq!(user(&jwt, &of_next(2)).await, ada());
    assert_eq!(user(&jwt, &of_old(0)).await, INVALID);
    assert_eq!(provider.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_away_stops_nobody_whose_key_is_known_and_is_no_401() {
    let time = Manual::default();
    let provider = Provider::new(&[jwk(&ED, Algorithm::EdDSA, Some("ed"))]);
    let jwt = fetched(&provider, &time);
    let of = |n: u32| ed(&but(&json!({ "n": n, "exp": at(100_000) })));
    provider.says(Err(Away::new("it is a test")));
    for _ in 0..5 {
        assert_eq!(user(&jwt, &of(0)).await, Err(Denied::unavailable()));
    }
    assert_eq!(provider.asked(), 1);
    // Tried again after a second, as nobody gets in without.
    time.seconds(1.1);
    provider.says(Ok(set(&[jwk(&ED, Algorithm::EdDSA, Some("ed"))])));
    assert_eq!(user(&jwt, &of(0)).await, ada());
    // Away again: known keys serve for an hour.
    for answer in [Err(Away::new("it is a test")), Ok(b"no JSON".to_vec()), Ok(set(&[]))] {
        provider.says(answer);
        time.seconds(900.0);
        let before = provider.asked();
        for n in 0..5 {
            assert_eq!(user(&jwt, &of(n)).await, ada());
        }
        assert_eq!(provider.asked(), before + 1);
    }
    time.seconds(900.1);
    assert_eq!(user(&jwt, &of(1)).await, Err(Denied::unavailable()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_provider_is_asked_once_and_waited_for_by_those_alone_who_need_it() {
    let time = Manual::default();
    let permits = Arc::new(Semaphore::new(0));
    let mut provider = Provider::new(&[jwk(&ED, Algorithm::EdDSA, Some("ed"))]);
    provider.permits = Some(Arc::clone(&permits));
    let jwt = fetched(&provider, &time);
    let began = Instant::now();
    let tokens: Vec<String> = (0..100).map(|n| ed(&but(&json!({ "n": n, "exp": at(100_000) })))).collect();
    let all: Vec<_> = tokens
        .iter()
        .map(|token| {
            tokio::spawn(jwt.authenticate(&Credential::new(token.as_bytes()).expect("is one")).wait())
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    permits.add_permits(1);
    for one in all {
        assert!(one.await.expect("ends").is_ok_and(|known| known.is_some()));
    }
    assert_eq!((provider.asked(), began.elapsed()), (1, Duration::from_millis(100)));
    // A refresh that does not come keeps one caller for a second, and no other.
    time.seconds(601.0);
    let mut waiting: Vec<_> = tokens
        .iter()
        .map(|token| {
            tokio::spawn(jwt.authenticate(&Credential::new(token.as_bytes()).expect("is one")).wait())
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    waiting.retain(|one| !one.is_finished());
    assert_eq!(waiting.len(), 1);
    let began = Instant::now();
    assert!(waiting.remove(0).await.expect("ends").is_ok_and(|known| known.is_some()));
    assert_eq!((provider.asked(), began.elapsed().as_millis()), (2, 999));
}

#[tokio::test]
async fn tokens_keys_and_the_master_key_stand_in_one_list() {
    let (time, model) = (Manual::default(), Model::default());
    let store = Store::with(KEY, record(|_| {}));
    let mut names = ClaimNames::default();
    names.models = Some("models".into());
    let all: Vec<Arc<dyn Authenticate>> = vec![
        Arc::new(MasterKey::new("sk-m")),
        Arc::new(keys(&store, &time)),
        Arc::new(jwt(ed_keys(), &time).claims(names)),
    ];
    let layer = AuthLayer::new(all);
    let of_m = ed(&but(&json!({ "models": ["m"] })));
    for (credential, status) in [
        ("sk-m", 200),
        (KEY, 200),
        (&*of_m, 200),
        (&*ed(&but(&json!({ "models": ["n"] }))), 403),
        (&*ed(&but(&json!({ "exp": at(-31) }))), 401),
        (&*ed(&but(&json!({ "iss": "https://other.example" }))), 401),
        (&*format!("{of_m}{}", "x".repeat(16 << 10)), 401),
    ] {
        let response = support::ask(&layer, &model, keyed(call("m"), credential)).await;
        assert_eq!(response.status(), status, "{credential:.60}");
        if status == 401 {
            let body = r#"{"error":{"message":"missing or invalid API key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
            assert_eq!(text(response), body);
        }
    }
    assert_eq!((model.calls(), store.asked()), (3, 1));
    let known = ask(&jwt(ed_keys(), &time), &of_m).await.expect("is good").expect("is known");
    assert_eq!(known.key(), None::<&KeyHash>);
    assert!(matches!(
        layer_of(&time).authenticate(&Credential::new(of_m.as_bytes()).expect("is one")),
        Reply::Ready(_)
    ));
}

fn layer_of(time: &Manual) -> Jwt {
    jwt(ed_keys(), time)
}

#[tokio::test(start_paused = true)]
async fn a_token_has_what_a_store_knows_of_its_team_and_user() {
    let (time, store) = (Manual::default(), Store::default());
    let owner = |team: &str| Owner::new(Some("ada".into()), vec![team.into()]);
    let known = |team: Option<&str>| {
        record(|record| {
            record.principal.user = Some("ada".into());
            record.principal.team = team.map(Into::into);
            record.principal.organisation = Some("store".into());
            record.principal.tags = ["both".into(), "store".into()].into();
            record.principal.models = Some(["gpt-*".into()].into());
            record.principal.budgets = [budget("red")].into();
            record.aliases = Arc::new([("a".to_owned(), "b".to_owned())].into());
        })
    };
    store.set_owner(owner("red"), known(Some("red")));
    store.set_owner(owner("gone"), known(None));
    let mut names = ClaimNames::default();
    (names.team, names.tags, names.models) =
        (Some("team".into()), Some("tags".into()), Some("models".into()));
    names.admin_scope = Some("boss".into());
    let keys = keys(&store, &time);
    let tokens = OwnedTokens::new(jwt(ed_keys(), &time).claims(names), keys.clone());
    let of = |changes: &Value| ed(&but(changes));
    let red = of(&json!({ "team": "red", "tags": "token both", "models": "gpt-4o o3" }));
    let found = ask(&tokens, &red).await.expect("is good").expect("is known");
    let who = found.principal();
    assert_eq!((who.user.as_deref(), who.team.as_deref()), (Some("ada"), Some("red")));
    assert_eq!(who.organisation.as_deref(), Some("store"));
    assert_eq!(*who.tags, ["token".into(), "both".into(), "store".into()]);
    assert_eq!(who.models.as_deref(), Some(&["gpt-4o".into()][..]));
    assert_eq!(*who.budgets, [budget("red")]);
    assert_eq!((found.record().aliases.len(), found.is_admin()), (1, false));
    // It is asked once, whatever other tokens of the same there are, until what it said is old.
    assert!(ask(&tokens, &of(&json!({ "team": "red" }))).await.is_ok_and(|known| known.is_some()));
    assert_eq!(store.asked(), 1);
    time.seconds(5.1);
    assert!(ask(&tokens, &red).await.is_ok());
    assert_eq!(store.asked(), 2);

    // Who is not known is refused, or let in as he is.
    let gone = of(&json!({ "team": "gone" }));
    assert_eq!(user(&tokens, &gone).await, INVALID);
    let eve = of(&json!({ "sub": "eve" }));
    assert_eq!(user(&tokens, &eve).await, INVALID);
    let lenient = tokens.clone().unknown_teams(true);
    let found = ask(&lenient, &gone).await.expect("is good").expect("is known");
    assert_eq!(found.principal().team.as_deref(), Some("gone"));
    assert_eq!(user(&lenient, &eve).await, INVALID);
    assert_eq!(user(&lenient.unknown_users(true), &eve).await, Ok(Some("eve".to_owned())));
    let boss = of(&json!({ "sub": "boss", "scope": "boss" }));
    assert_eq!(user(&tokens, &boss).await, Ok(Some("boss".to_owned())));

    // A store that is away is no wrong token, and who was known goes on for a while.
    store.mood(Mood::Away);
    time.seconds(10.0);
    assert_eq!(user(&tokens, &of(&json!({ "sub": "new" }))).await, Err(Denied::unavailable()));
    assert_eq!(user(&tokens, &red).await, ada());
    store.mood(Mood::Answers);
    time.seconds(10.0);
    store.set_owner(owner("red"), record(|record| record.blocked = true));
    assert_eq!(user(&tokens, &red).await, INVALID);
    store.set_owner(owner("red"), known(Some("red")));
    assert_eq!(user(&tokens, &red).await, INVALID);
    keys.forget_all();
    assert_eq!(user(&tokens, &red).await, ada());
}

fn budget(team: &str) -> Budget {
    Budget::new(Scope::new(ScopeKind::Team, team), Usd::dollars(1), Window::Lifetime)
}

#[tokio::test]
async fn what_applies_to_the_end_user_of_a_token_applies_whomever_its_call_names() {
    let (time, model, store) = (Manual::default(), Model::default(), Store::default());
    for id in ["own", "other"] {
        let mut customer = CustomerRecord::default();
        customer.budgets =
            [Budget::new(Scope::new(ScopeKind::EndUser, id), Usd::ZERO, Window::Lifetime)].into();
        store.set_customer(id, customer);
    }
    let mut names = ClaimNames::default();
    names.end_user = Some("customer".into());
    let jwt = jwt(ed_keys(), &time).claims(names);
    let layer = AuthLayer::new(OwnedTokens::new(jwt, keys(&store, &time)).unknown_users(true));
    let token = ed(&but(&json!({ "customer": "own" })));
    for (named, applies) in
        [("", &["own"][..]), (r#","user":"own""#, &["own"]), (r#","user":"other""#, &["own", "other"])]
    {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}]{named}}}"#);
        let request = http::Request::post("/v1/chat/completions").body(Body::from(body)).expect("is one");
        assert_eq!(support::ask(&layer, &model, keyed(request, &token)).await.status(), 200);
        let call = model.last();
        let who = call.extensions().get::<Principal>().expect("is known");
        let found: Vec<_> = who.budgets.iter().map(|budget| &*budget.account.scope.id).collect();
        assert_eq!(found, applies, "{named}");
    }
    let mut blocked = CustomerRecord::default();
    blocked.blocked = true;
    store.set_customer("blocked", blocked);
    let token = ed(&but(&json!({ "customer": "blocked" })));
    assert_eq!(support::ask(&layer, &model, keyed(call("m"), &token)).await.status(), 403);
}
