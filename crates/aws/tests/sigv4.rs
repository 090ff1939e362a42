//! Signed requests, from the outside.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, request::Parts, uri::Authority};
use ziggurat_aws::{Chain, KeySource, Keys, NoKeys, SharedFile, SigV4};
use ziggurat_core::{Clock, Credential, CredentialError};

const HOST: &str = "bedrock-runtime.eu-central-1.amazonaws.com";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const BODY: &[u8] = b"{\"messages\":[]}";
const PATH: &str = "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";

/// 2026-01-02 03:04:05 UTC.
fn clock() -> Clock {
    Clock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045))
}

fn credential(authority: &str, keys: impl KeySource) -> SigV4 {
    SigV4::new(authority.parse::<Authority>().expect("is one"), "eu-central-1", keys).clock(clock())
}

fn keys() -> Keys {
    Keys::new("AKIDEXAMPLE", SECRET)
}

fn post(url: &str) -> Parts {
    Request::post(url).body(()).expect("is valid").into_parts().0
}

async fn signed(credential: &SigV4, mut parts: Parts) -> Result<Parts, CredentialError> {
    credential.apply(&mut parts, &Bytes::from_static(BODY)).await.map(|()| parts)
}

fn signature(parts: &Parts) -> (String, String) {
    let text = parts.headers["authorization"].to_str().expect("is text");
    let (head, signature) = text.rsplit_once(", Signature=").expect("has a signature");
    let names = head.rsplit_once("SignedHeaders=").expect("has names").1;
    assert!(
        head.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-central-1/bedrock/aws4_request,"
        )
    );
    (names.to_owned(), signature.to_owned())
}

/// The signatures were computed apart, with Python's `hmac` and `hashlib`.
#[tokio::test]
async fn a_request_to_bedrock_is_signed() {
    let credential = credential(HOST, keys());
    assert!(credential.signs_body());
    let parts = signed(&credential, post(&format!("https://{HOST}{PATH}"))).await.expect("signs");
    assert_eq!(parts.headers["x-amz-date"], "20260102T030405Z");
    assert!(parts.headers["authorization"].is_sensitive());
    let expected = "915a1c9543cb32138797b52d3eca468fa429105ee8b806e2b707197b7fb91291";
    let names = "host;x-amz-content-sha256;x-amz-date";
    assert_eq!(signature(&parts), (names.to_owned(), expected.to_owned()));
    // A retry is signed anew, over what the first left.
    let again = signed(&credential, parts).await.expect("signs");
    assert_eq!(signature(&again).1, expected);
    assert_eq!(again.headers.get_all("authorization").iter().count(), 1);
    let arn =
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fa/converse-stream";
    let parts = signed(&credential, post(&format!("https://{HOST}:443{arn}"))).await;
    assert_eq!(parts.err(), Some(CredentialError::WrongOrigin));
    let parts = signed(&credential, post(&format!("https://{HOST}{arn}"))).await.expect("signs");
    assert_eq!(signature(&parts).1, "551675f55514183b833a276300fc65e06481a2d502409bcdb20a7b1cb92217b3");
}

#[tokio::test]
async fn a_sessions_token_is_signed_and_sent() {
    let session = Keys::session("AKIDEXAMPLE", SECRET, "TOKEN==", None).expect("is a value");
    let parts = post(&format!("https://{HOST}{PATH}"));
    let parts = signed(&credential(HOST, session), parts).await.expect("signs");
    assert!(parts.headers["x-amz-security-token"].is_sensitive());
    let expected = "67dc71aff1ef1a0ef797982ccfa50049201fd7c0486feb4a78a54bd4cc9d1702";
    let names = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
    assert_eq!(signature(&parts), (names.to_owned(), expected.to_owned()));
    // The token of another attempt's keys does not stay.
    let parts = signed(&credential(HOST, keys()), parts).await.expect("signs");
    assert!(!parts.headers.contains_key("x-amz-security-token"));
    assert!(Keys::session("a", "b", "c\n", None).is_err());
}

#[tokio::test]
async fn the_host_is_signed_as_it_is_sent() {
    let local = credential("localhost:8080", keys());
    let parts = signed(&local, post(&format!("http://localhost:8080{PATH}"))).await.expect("signs");
    assert_eq!(signature(&parts).1, "aec378a73667dc9af9f269dc795e9871f12fb2ad5877ea6228fc1c91585d3cb4");
    let port = format!("{HOST}:443");
    let parts =
        signed(&credential(&port, keys()), post(&format!("https://{port}{PATH}"))).await.expect("signs");
    assert_eq!(signature(&parts).1, "915a1c9543cb32138797b52d3eca468fa429105ee8b806e2b707197b7fb91291");
}

/// Fails the test when it is asked.
struct Never;

impl KeySource for Never {
    fn keys(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<Keys, NoKeys>> + Send + '_>> {
        panic!("another origin's request asks for no keys")
    }
}

#[tokio::test]
async fn a_request_to_another_origin_is_refused_and_asks_for_no_keys() {
    let credential = credential(HOST, Never);
    for url in [
        format!("https://evil.example{PATH}"),
        format!("https://{HOST}.evil.example/"),
        format!("https://{HOST}:8443/"),
        "/relative".to_owned(),
    ] {
        assert_eq!(signed(&credential, post(&url)).await.err(), Some(CredentialError::WrongOrigin), "{url}");
    }
    let mut parts = post(&format!("https://{HOST}/"));
    parts.headers.insert("host", "evil.example".parse().expect("is a value"));
    assert_eq!(signed(&credential, parts).await.err(), Some(CredentialError::WrongOrigin));
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let session = Keys::session("AKIDEXAMPLE", SECRET, "TOKEN", None).expect("is a value");
    let chain = Chain::new().then(session.clone());
    let shown = format!("{session:?} {chain:?}");
    let shown = format!("{shown} {:?}", credential(HOST, chain));
    let file = SharedFile::new("/no/such/file", "p");
    let error = file.keys().await.expect_err("there is none");
    let shown = format!("{shown} {file:?} {error:?} {error}");
    for secret in [SECRET, "AKIDEXAMPLE", "TOKEN", "/no/such"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let parts = post(&format!("https://{HOST}{PATH}"));
    let refused = signed(&credential(HOST, file), parts).await.err();
    let why = "the shared credentials file: entity not found".to_owned();
    assert_eq!(refused, Some(CredentialError::Unavailable(why)));
}

#[tokio::test]
async fn a_chain_asks_one_after_another() {
    let none = || SharedFile::new("/no/such/file", "p");
    let found = Chain::new().then(none()).then(keys()).then(Never).keys().await;
    assert!(found.is_ok());
    let why = Chain::new().then(none()).then(none()).keys().await.expect_err("there is none").why;
    assert_eq!(why.matches("entity not found").count(), 2);
    assert_eq!(Chain::new().keys().await.expect_err("there is none").why, "no source");
}

#[test]
fn the_environment_names_keys_and_files() {
    let of = |variables: &'static [(&str, &str)]| {
        move |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }
    };
    let missing = |variables| Keys::from_variables(of(variables)).expect_err("there is none").why;
    assert_eq!(missing(&[]), "AWS_ACCESS_KEY_ID is not set");
    assert_eq!(missing(&[("AWS_ACCESS_KEY_ID", "a")]), "AWS_SECRET_ACCESS_KEY is not set");
    let all = &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_SESSION_TOKEN", "")];
    assert!(Keys::from_variables(of(all)).is_ok());
    assert!(SharedFile::from_variables(of(&[])).is_err());
    assert!(SharedFile::from_variables(of(&[("HOME", "/h")])).is_ok());
}

#[tokio::test]
async fn a_file_is_read_again_after_a_minute_and_what_was_read_stays_when_that_fails() {
    let path = std::env::temp_dir().join(format!("ziggurat-aws-{}", std::process::id()));
    let write = |id: &str| {
        fs::write(&path, format!("[p]\naws_access_key_id={id}\naws_secret_access_key=s\n")).expect("writes");
    };
    let now = Arc::new(AtomicU64::new(1_000));
    let clock = Clock::new({
        let now = Arc::clone(&now);
        move || SystemTime::UNIX_EPOCH + Duration::from_secs(now.load(Ordering::SeqCst))
    });
    let file = SharedFile::new(&path, "p").clock(clock.clone());
    let credential = SigV4::new(HOST.parse().expect("is one"), "r", file).clock(clock);
    let seen = Mutex::new(Vec::new());
    let look = async || {
        let parts = signed(&credential, post(&format!("https://{HOST}/"))).await.expect("signs");
        let text = parts.headers["authorization"].to_str().expect("is text").to_owned();
        let id = text.split(['=', '/']).nth(1).expect("has an id").to_owned();
        seen.lock().expect("is sound").push(id);
    };
    write("one");
    look().await;
    write("two");
    look().await;
    now.fetch_add(60, Ordering::SeqCst);
    look().await;
    fs::remove_file(&path).expect("removes");
    now.fetch_add(60, Ordering::SeqCst);
    look().await;
    assert_eq!(*seen.lock().expect("is sound"), ["one", "one", "two", "two"]);
}
