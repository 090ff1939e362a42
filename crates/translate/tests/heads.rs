//! What of a head goes out, what comes back, and where keys go.

mod support;

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header, request::Parts};
use ziggurat_core::{Body, Credential, CredentialError, HeaderKey, Outcome, Rejection};

use crate::support::*;

fn noisy(caller: ziggurat_core::Dialect) -> Request<Body> {
    let mut request = post(caller, hello(caller, false));
    for (name, value) in [
        ("authorization", "Bearer callers-key"),
        ("x-api-key", "callers-key"),
        ("anthropic-version", "2024-01-01"),
        ("anthropic-beta", "one,two"),
        ("openai-organization", "callers"),
        ("cookie", "a=b"),
        ("host", "gateway.example"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-for", "10.0.0.1"),
        ("user-agent", "sdk/1"),
        ("content-length", "7"),
        ("te", "trailers"),
    ] {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request.headers_mut().append("anthropic-beta", HeaderValue::from_static("three"));
    request
}

#[tokio::test]
async fn nothing_of_the_callers_head_goes_out_but_anthropics_version_and_betas() {
    for (caller, provider) in DIRECTIONS {
        let exchange = exchange(target(provider), noisy(caller), json(answer(provider))).await;
        let sent = &exchange.sent().parts.headers;
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected: &[&str] = match (caller, provider) {
            (ANTHROPIC, ANTHROPIC) => {
                &["accept", "anthropic-beta", "anthropic-version", "content-type", "user-agent"]
            }
            (_, ANTHROPIC) => &["accept", "anthropic-version", "content-type", "user-agent"],
            _ => &["accept", "content-type", "user-agent"],
        };
        assert_eq!(names, expected, "{caller:?} {provider:?}");
        assert_eq!(sent["user-agent"], concat!("ziggurat/", env!("CARGO_PKG_VERSION")));
        if provider == ANTHROPIC {
            let version = if caller == ANTHROPIC { "2024-01-01" } else { "2023-06-01" };
            assert_eq!(sent["anthropic-version"], version);
        }
        if caller == ANTHROPIC && provider == ANTHROPIC {
            let betas: Vec<_> = sent.get_all("anthropic-beta").iter().collect();
            assert_eq!(betas, ["one,two", "three"]);
        }
    }
}

#[tokio::test]
async fn the_targets_headers_and_key_go_out_and_the_key_is_sensitive() {
    let target = target(OPENAI)
        .header(HeaderName::from_static("openai-organization"), HeaderValue::from_static("ours"))
        .key(header::AUTHORIZATION, "Bearer our-key")
        .expect("is a key");
    let exchange = exchange(target, noisy(OPENAI), json(CHAT_ANSWER)).await;
    let sent = &exchange.sent().parts.headers;
    assert_eq!(
        (&sent["authorization"], &sent["openai-organization"]),
        (&HeaderValue::from_static("Bearer our-key"), &HeaderValue::from_static("ours"))
    );
    assert!(sent["authorization"].is_sensitive());
    assert!(!format!("{sent:?}").contains("our-key"));
}

#[tokio::test]
async fn a_key_goes_to_its_own_origin_only() {
    let elsewhere = HeaderKey::new(
        http::uri::Authority::from_static("other.example"),
        header::AUTHORIZATION,
        HeaderValue::from_static("Bearer our-key"),
    );
    for (caller, provider) in DIRECTIONS {
        let elsewhere = HeaderKey::new(
            http::uri::Authority::from_static("other.example"),
            header::AUTHORIZATION,
            HeaderValue::from_static("Bearer our-key"),
        );
        let exchange = exchange(target(provider).credential(elsewhere), noisy(caller), json("")).await;
        assert!(exchange.sent.is_none());
        assert_eq!(exchange.status, 500);
        assert_eq!(
            exchange.json()["error"]["message"],
            "the deployment has no usable credential: it is for another origin"
        );
    }
    assert!(!format!("{elsewhere:?}").contains("our-key"));
}

struct Broken;

impl Credential for Broken {
    fn apply<'a>(
        &'a self,
        _parts: &'a mut Parts,
        _body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        let why = "token endpoint https://sts.internal.example said no to sk-secret".to_owned();
        Box::pin(std::future::ready(Err(CredentialError::Unavailable(why))))
    }
}

#[tokio::test]
async fn why_there_is_no_credential_is_the_operators_business() {
    let recorder: std::sync::Arc<Recorder> = Default::default();
    let mut request = post(ANTHROPIC, hello(ANTHROPIC, false));
    let (_meter, end) = recorder.join(&mut request);
    let exchange = exchange(target(OPENAI).credential(Broken), request, json("")).await;
    assert_eq!(
        exchange.body,
        r#"{"type":"error","error":{"type":"api_error","message":"the deployment has no usable credential"}}"#
    );
    assert!(exchange.extensions.get::<Rejection>().is_some());
    // Nothing was sent: there was no attempt.
    drop(end);
    assert_eq!(recorder.outcomes(), [Vec::<Option<Outcome>>::new()]);
}

#[derive(Clone, Default)]
struct Signature(std::sync::Arc<std::sync::Mutex<Vec<Bytes>>>);

impl Credential for Signature {
    fn apply<'a>(
        &'a self,
        parts: &'a mut Parts,
        body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        assert_eq!(parts.uri.host(), Some("a.example"));
        self.0.lock().expect("is sound").push(body.clone());
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn a_signature_is_made_over_what_is_sent() {
    for caller in DIALECTS {
        let signature = Signature::default();
        let target = target(ANTHROPIC).credential(signature.clone());
        let exchange = exchange(target, noisy(caller), json(MESSAGE_ANSWER)).await;
        assert_eq!(*signature.0.lock().expect("is sound"), [exchange.sent().body.clone()]);
    }
}

#[tokio::test]
async fn of_the_answers_head_comes_back_what_speaks_of_the_answer() {
    for (caller, provider) in DIRECTIONS {
        let mut reply = json(answer(provider));
        for (name, value) in [
            ("x-request-id", "req_1"),
            ("request-id", "req_1"),
            ("x-ratelimit-remaining-tokens", "7"),
            ("anthropic-ratelimit-requests-remaining", "7"),
            ("openai-organization", "operators"),
            ("set-cookie", "a=b"),
            ("server", "x"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("access-control-allow-origin", "*"),
        ] {
            reply.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let exchange = exchange(target(provider), noisy(caller), reply).await;
        let mut names: Vec<_> = exchange.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected: &[&str] = match caller == provider {
            true => &["content-type", "request-id", "x-request-id"],
            false => &["content-type"],
        };
        assert_eq!(names, expected, "{caller:?} {provider:?}");
    }
}
