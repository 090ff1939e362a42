//! Tokens: shared, fetched ahead, and told when there are none.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, Uri, header, request::Parts, uri::Authority};
use tokio::time::{Instant, advance, sleep};
use tower::service_fn;
use ziggurat_core::{Asked, Away, Body, Credential, CredentialError};
use ziggurat_oauth::{AccessToken, ClientCredentials, Proof, Token, TokenSource, WorkloadToken};

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

const HOST: &str = "acme.test";

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

const ENDPOINT: &str = "https://login.test/t/oauth2/v2.0/token";

/// The token that a client gets from an endpoint that answers so.
fn client(
    seen: &Arc<Mutex<Vec<Request<Body>>>>,
    status: u16,
    answer: &'static str,
    proof: Proof,
) -> AccessToken {
    let endpoint = Uri::from_static(ENDPOINT);
    let client = ClientCredentials::new(
        endpoint,
        "app 1",
        "https://c/.default",
        proof,
        answering(seen, status, answer),
    );
    assert!(!format!("{client:?}").contains("app"));
    AccessToken::new(Authority::from_static(HOST), client)
}

/// The form that an endpoint was sent.
async fn form(seen: &Arc<Mutex<Vec<Request<Body>>>>) -> String {
    let request = seen.lock().expect("nobody panics").pop().expect("it was asked");
    assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", ENDPOINT.to_owned()));
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    let form = request.into_body().collect_within(1 << 16).await.expect("is whole");
    String::from_utf8(form.to_vec()).expect("is text")
}

#[tokio::test(start_paused = true)]
async fn a_client_shows_its_secret_and_gets_a_token() {
    let seen = Arc::default();
    // Some endpoints write numbers as strings.
    for answer in [
        r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"eyJ.x"}"#,
        r#"{"token_type":"Bearer","expires_in":"3599","access_token":"eyJ.x"}"#,
    ] {
        let token = client(&seen, 200, answer, Proof::Secret("s/e+c~r&t".to_owned()));
        assert_eq!(applied(&token).await.unwrap(), "Bearer eyJ.x");
        let expected = "grant_type=client_credentials&client_id=app%201&scope=https%3A%2F%2Fc%2F.default&client_secret=s%2Fe%2Bc~r%26t";
        assert_eq!(form(&seen).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_assertion_is_asked_for_each_time() {
    let (seen, count) = (Arc::default(), AtomicU32::new(0));
    let assertion = move || -> Asked<'static, String> {
        let count = count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(format!("workload.{count}")) })
    };
    let answer = r#"{"expires_in":60,"access_token":"a"}"#;
    let token = client(&seen, 200, answer, Proof::Assertion(Box::new(assertion)));
    for at in 0..2 {
        assert_eq!(applied(&token).await.unwrap(), "Bearer a");
        let expected = format!(
            "grant_type=client_credentials&client_id=app%201&scope=https%3A%2F%2Fc%2F.default&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=workload.{at}"
        );
        assert_eq!(form(&seen).await, expected);
        sleep(Duration::from_secs(61)).await;
    }
}

#[tokio::test]
async fn a_job_of_githubs_is_given_its_token() {
    let seen = Arc::default();
    let job = |url| WorkloadToken::of_github_job(url, "canary", "a/b c");
    for (url, asked) in [
        ("https://acme.test/t?v=2", "https://acme.test/t?v=2&audience=a%2Fb%20c"),
        ("http://127.0.0.1:9/t", "http://127.0.0.1:9/t?audience=a%2Fb%20c"),
    ] {
        let token = job(url).expect("is one");
        assert!(!format!("{token:?}").contains("canary"));
        let read = token.read(answering(&seen, 200, r#"{"value":"jwt"}"#)).await;
        assert_eq!(read.as_deref(), Ok("jwt"));
        let request = seen.lock().unwrap().pop().unwrap();
        assert_eq!((request.method(), &*request.uri().to_string()), (&Method::GET, asked));
        let bearer = &request.headers()[header::AUTHORIZATION];
        assert!(bearer.is_sensitive() && bearer == "Bearer canary");
    }
    for url in ["http://acme.test/t", "ftp://127.0.0.1/", "acme.test", ""] {
        assert!(job(url).is_none(), "{url}");
    }
    assert!(WorkloadToken::of_github_job("https://acme.test/", "a\nb", "c").is_none());
    for (status, answer, why) in [
        (500, "canary", "it answers with 500"),
        (200, "canary", "there is none"),
        (200, r#"{"value":7}"#, "there is none"),
        (200, r#"{"value":""}"#, "there is none"),
    ] {
        let read = job("https://acme.test/").expect("is one").read(answering(&seen, status, answer)).await;
        assert_eq!(read, Err(Away::new(format!("the workload's token: {why}"))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_says_of_a_refusal_is_not_told() {
    let seen = Arc::default();
    let cases = [
        (401, r#"{"error":"invalid_client","error_description":"secret-canary"}"#, "it answers with 401"),
        (200, r#"{"access_token":"a","expires_in":"canary"}"#, "its answer holds no token"),
        (200, r#"{"access_token":"a b"}"#, "its answer holds no token"),
        (200, r#"{"access_token":"a\nb","expires_in":100}"#, "it is none that a header can hold"),
    ];
    for (status, answer, why) in cases {
        let token = client(&seen, status, answer, Proof::Secret("secret-canary".to_owned()));
        let why = CredentialError::Unavailable(format!("an access token cannot be fetched: {why}"));
        assert_eq!(applied(&token).await, Err(why));
    }
    seen.lock().unwrap().clear();
    let lost = || -> Asked<'static, String> { Box::pin(async { Err(Away::new("its file cannot be read")) }) };
    let token = client(&seen, 200, "{}", Proof::Assertion(Box::new(lost)));
    let why = "an access token cannot be fetched: its file cannot be read".to_owned();
    assert_eq!(applied(&token).await, Err(CredentialError::Unavailable(why)));
    assert!(seen.lock().unwrap().is_empty());
}
