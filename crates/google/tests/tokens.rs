//! Where tokens of Google Cloud come from.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
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
use tower::service_fn;
use ziggurat_core::{Body, Clock, Credential, CredentialError};
use ziggurat_google::{AccessToken, MetadataServer, ServiceAccount};

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

    let client = answering(&seen, 200, "eyJ.a.b\n");
    let identity = MetadataServer::new(client).identity("https://a.test/?x&y").await;
    assert_eq!(identity.as_deref(), Ok("eyJ.a.b"));
    let request = seen.lock().unwrap().pop().unwrap();
    assert_eq!(request.headers()["metadata-flavor"], "Google");
    let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
    let query = "audience=https%3A%2F%2Fa.test%2F%3Fx%26y";
    assert_eq!((request.uri().path(), request.uri().query()), (path, Some(query)));

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
    assert_eq!(read("{"), "not a file of Google's credentials: it is no key file of a service account");
    let file = |kind: &str, key: &str, uri: &str| {
        serde_json::json!({"type": kind, "client_email": "e", "private_key": key, "token_uri": uri})
            .to_string()
    };
    assert!(read(&file("authorized_user", "canary", "")).ends_with("of another type than `service_account`"));
    assert!(read(&file("service_account", "canary", "")).ends_with("its `private_key` cannot be read"));
}
