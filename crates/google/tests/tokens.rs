//! Tokens: shared, fetched ahead, and told when there are none.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose};
use bytes::Bytes;
use http::{Request, Response, header, request::Parts, uri::Authority};
use tokio::time::{Instant, advance, sleep};
use tower::service_fn;
use ziggurat_core::{Asked, Away, Body, Clock, Credential, CredentialError};
use ziggurat_google::{AccessToken, MetadataServer, ServiceAccount, Token, TokenSource};

/// Gives `token-1`, `token-2` and so on, each after a while, or fails where it is told to.
#[derive(Clone, Default)]
struct Counted {
    asked: Arc<AtomicU32>,
    fails: Arc<AtomicU32>,
    takes: Duration,
    lasts: Duration,
}

impl TokenSource for Counted {
    fn fetch(&self) -> Asked<'_, Token> {
        Box::pin(async {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            sleep(self.takes).await;
            let fails =
                self.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            match fails {
                Ok(_) => Err(Away::new("it answers with 503")),
                Err(_) => Ok(Token::new(format!("token-{number}"), self.lasts)),
            }
        })
    }
}

const HOST: &str = "vertex.test";

fn parts(host: &str) -> Parts {
    Request::post(format!("https://{host}/x")).body(()).expect("is a request").into_parts().0
}

async fn applied(credential: &AccessToken) -> Result<String, CredentialError> {
    let mut parts = parts(HOST);
    credential.apply(&mut parts, &Bytes::new()).await?;
    let value = &parts.headers[header::AUTHORIZATION];
    assert!(value.is_sensitive());
    Ok(value.to_str().expect("is text").to_owned())
}

fn credential(source: &Counted) -> AccessToken {
    AccessToken::new(Authority::from_static(HOST), source.clone())
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn calls_share_one_token_and_one_fetch() {
    let source = Counted { takes: Duration::from_millis(50), lasts: HOUR, ..Counted::default() };
    let credential = credential(&source);
    let (one, other) = tokio::join!(applied(&credential), applied(&credential));
    assert_eq!((one.unwrap(), other.unwrap()), ("Bearer token-1".to_owned(), "Bearer token-1".to_owned()));
    assert_eq!(source.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_ahead_of_its_end_and_nobody_waits() {
    let source = Counted { takes: Duration::from_secs(2), lasts: HOUR, ..Counted::default() };
    let credential = credential(&source);
    assert_eq!(applied(&credential).await.unwrap(), "Bearer token-1");
    advance(HOUR - Duration::from_secs(290)).await;
    let start = Instant::now();
    assert_eq!(applied(&credential).await.unwrap(), "Bearer token-1");
    assert_eq!(start.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(applied(&credential).await.unwrap(), "Bearer token-2");
    assert_eq!(source.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn short_lived_tokens_are_not_fetched_for_each_call() {
    let source = Counted { lasts: Duration::from_secs(60), ..Counted::default() };
    let credential = credential(&source);
    for _ in 0..10 {
        assert_eq!(applied(&credential).await.unwrap(), "Bearer token-1");
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(source.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_and_then_told() {
    let source = Counted { lasts: HOUR, ..Counted::default() };
    source.fails.store(2, Ordering::Relaxed);
    assert_eq!(applied(&credential(&source)).await.unwrap(), "Bearer token-3");
    source.fails.store(4, Ordering::Relaxed);
    let credential = credential(&source);
    let why =
        CredentialError::Unavailable("an access token cannot be fetched: it answers with 503".to_owned());
    assert_eq!(applied(&credential).await, Err(why.clone()));
    let asked = source.asked.load(Ordering::Relaxed);
    assert_eq!(applied(&credential).await, Err(why), "nobody asks again at once");
    assert_eq!(source.asked.load(Ordering::Relaxed), asked);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(applied(&credential).await.unwrap(), format!("Bearer token-{}", asked + 2));
}

#[tokio::test(start_paused = true)]
async fn what_fails_or_hangs_leaves_nobody_waiting() {
    struct Panics;
    impl TokenSource for Panics {
        fn fetch(&self) -> Asked<'_, Token> {
            Box::pin(async { panic!("on purpose") })
        }
    }
    let credential = AccessToken::new(Authority::from_static(HOST), Panics);
    let why = "what fetches the access token has failed".to_owned();
    assert_eq!(applied(&credential).await, Err(CredentialError::Unavailable(why)));

    let hangs = Counted { takes: HOUR, lasts: HOUR, ..Counted::default() };
    let credential = self::credential(&hangs);
    let why = "an access token cannot be fetched: it does not answer".to_owned();
    assert_eq!(applied(&credential).await, Err(CredentialError::Unavailable(why)));
}

#[tokio::test(start_paused = true)]
async fn a_token_goes_to_its_origin_only() {
    let source = Counted { lasts: HOUR, ..Counted::default() };
    let credential = credential(&source);
    let mut elsewhere = parts("evil.test");
    assert_eq!(credential.apply(&mut elsewhere, &Bytes::new()).await, Err(CredentialError::WrongOrigin));
    assert!(elsewhere.headers.is_empty());
    let other = credential.also_for(Authority::from_static("evil.test"));
    assert_eq!(other.apply(&mut elsewhere, &Bytes::new()).await, Ok(()));
    assert_eq!(applied(&credential).await.unwrap(), "Bearer token-1");
}

/// What was asked, and an answer to it.
fn answering(
    seen: &Arc<Mutex<Vec<Request<Body>>>>,
    status: u16,
    answer: &'static str,
) -> impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let seen = Arc::clone(seen);
    service_fn(move |request| {
        seen.lock().expect("nobody panics").push(request);
        let response = Response::builder().status(status).body(Body::from(answer)).expect("is a response");
        async { Ok(response) }
    })
}

#[tokio::test]
async fn a_service_account_signs_what_it_says_and_gets_a_token_for_it() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'static> = key.as_der().unwrap();
    let der = general_purpose::STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let file = serde_json::json!({
        "type": "service_account", "project_id": "acme", "private_key_id": "k1", "private_key": pem,
        "client_email": "bot@acme.test", "token_uri": "https://oauth2.test/token",
    });
    let seen = Arc::default();
    let client =
        answering(&seen, 200, r#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#);
    let account = ServiceAccount::from_json(&file.to_string(), client).unwrap();
    let account = account.clock(Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
    assert_eq!(account.project(), Some("acme"));
    assert!(!format!("{account:?}").contains("bot@acme"));
    let credential = AccessToken::new(Authority::from_static(HOST), account);
    assert_eq!(applied(&credential).await.unwrap(), "Bearer ya29.x");

    let request = seen.lock().unwrap().pop().unwrap();
    assert_eq!(request.uri(), "https://oauth2.test/token");
    let form = request.into_body().collect_within(1 << 16).await.unwrap();
    let form = std::str::from_utf8(&form).unwrap();
    let assertion = form
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .unwrap();
    let [head, claims, signature] = assertion.split('.').collect::<Vec<_>>()[..] else {
        panic!("{assertion}")
    };
    let decode = |part: &str| general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part| serde_json::from_slice::<serde_json::Value>(&decode(part)).unwrap();
    assert_eq!(json(head), serde_json::json!({"typ": "JWT", "alg": "RS256", "kid": "k1"}));
    assert_eq!(
        json(claims),
        serde_json::json!({
            "iss": "bot@acme.test", "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.test/token", "iat": 1_800_000_000, "exp": 1_800_000_600,
        })
    );
    let public = aws_lc_rs::signature::KeyPair::public_key(&key);
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref());
    public.verify(format!("{head}.{claims}").as_bytes(), &decode(signature)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_metadata_server_is_asked_as_it_wants_and_its_refusal_is_told() {
    let seen = Arc::default();
    let client = answering(&seen, 200, r#"{"access_token":"m","expires_in":100}"#);
    let credential = AccessToken::new(Authority::from_static(HOST), MetadataServer::new(client));
    assert_eq!(applied(&credential).await.unwrap(), "Bearer m");
    let request = seen.lock().unwrap().pop().unwrap();
    assert_eq!(request.headers()["metadata-flavor"], "Google");
    assert_eq!(request.uri().host(), Some("metadata.google.internal"));

    for (status, answer, why) in [
        (404, "no account", "it answers with 404"),
        (200, "<html>", "its answer holds no token"),
        (200, r#"{"access_token":"a\nb","expires_in":100}"#, "it is none that a header can hold"),
    ] {
        let client = answering(&seen, status, answer);
        let credential = AccessToken::new(Authority::from_static(HOST), MetadataServer::new(client));
        let why = CredentialError::Unavailable(format!("an access token cannot be fetched: {why}"));
        assert_eq!(applied(&credential).await, Err(why));
    }
}

#[test]
fn a_file_that_is_none_is_told_without_a_word_of_it() {
    let read = |json: &str| ServiceAccount::from_json(json, ()).map(drop).unwrap_err().to_string();
    assert_eq!(read("{"), "not the key file of a service account: it is no key file of a service account");
    let file = |kind: &str, key: &str, uri: &str| {
        serde_json::json!({"type": kind, "client_email": "e", "private_key": key, "token_uri": uri})
            .to_string()
    };
    assert!(read(&file("authorized_user", "canary", "")).ends_with("of another type than `service_account`"));
    assert!(read(&file("service_account", "canary", "")).ends_with("its `private_key` cannot be read"));
}
