//! Keys of roles, over a client that answers by hand, in paused time.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode, request::Parts};
use tokio::time::{Instant, sleep};
use tower::{service_fn, util::BoxCloneSyncService};
use ziggurat_aws::{AssumedRole, KeySource, Keys, NoKeys, Role};
use ziggurat_core::{Away, Body, Clock};

/// What was asked: heads and forms.
type Asked = Arc<Mutex<Vec<(Parts, String)>>>;
/// A token that is read.
type Reading = ziggurat_core::Asked<'static, String>;
type Client = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A client that answers with what `answer` says to the so many-th request.
fn client(answer: impl Fn(usize) -> (u16, String) + Clone + Send + Sync + 'static) -> (Client, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        let (parts, body) = request.into_parts();
        let form = String::from_utf8(body.as_bytes().expect("is whole").to_vec()).expect("is text");
        let mut log = log.lock().expect("is sound");
        let (status, body) = answer(log.len());
        log.push((parts, form));
        async move {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).expect("is a status");
            Ok::<_, Infallible>(response)
        }
    });
    (BoxCloneSyncService::new(service), asked)
}

/// Noon of the first of January 2026 when it is made; runs with tokio's time.
fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_268_800) + start.elapsed())
}

/// The service's answer with keys number `number` that end at this hour.
fn answer(action: &str, number: usize, hour: usize) -> (u16, String) {
    let xml = format!(
        r#"<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <{action}Result>
    <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/me</Arn><AssumedRoleId>A:me</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ID{number}</AccessKeyId>
      <SecretAccessKey>secret/canary+</SecretAccessKey>
      <SessionToken>token/canary==</SessionToken>
      <Expiration>2026-01-01T{hour:02}:00:00Z</Expiration>
    </Credentials>
  </{action}Result>
</{action}Response>"#
    );
    (200, xml)
}

/// The hour at which the keys end.
async fn end(source: &AssumedRole) -> Result<u64, NoKeys> {
    let end = source.keys().await?.expires().expect("end");
    Ok(end.duration_since(SystemTime::UNIX_EPOCH).expect("is later").as_secs() % 86_400 / 3_600)
}

fn role() -> Role {
    Role::new("arn:aws:iam::1:role/r", "me", "eu-west-1")
}

#[tokio::test(start_paused = true)]
async fn a_role_is_assumed_with_signed_keys_and_renewed_ahead_of_its_end() {
    let (client, asked) = client(|count| answer("AssumeRole", count, 13 + count));
    let keys = Keys::session("AKIDEXAMPLE", "secret", "session-token", None).expect("is one");
    let source = AssumedRole::with_keys(client, role().external_id("x/1"), keys).clock(clock());
    let (one, other) = tokio::join!(end(&source), end(&source));
    assert_eq!((one, other), (Ok(13), Ok(13)));
    {
        let asked = asked.lock().expect("is sound");
        let [(head, form)] = &asked[..] else { panic!("{}", asked.len()) };
        assert_eq!(
            (head.method.as_str(), head.uri.to_string()),
            ("POST", "https://sts.eu-west-1.amazonaws.com/".to_owned())
        );
        assert_eq!(
            form,
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me&ExternalId=x%2F1"
        );
        let signed = head.headers["authorization"].to_str().expect("is text");
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/sts/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=";
        assert!(signed.starts_with(scope), "{signed}");
        assert_eq!(head.headers["x-amz-security-token"], "session-token");
    }
    // Five minutes ahead, without anybody who asks.
    sleep(Duration::from_secs(55 * 60 - 1)).await;
    assert_eq!(asked.lock().expect("is sound").len(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(asked.lock().expect("is sound").len(), 2);
    assert_eq!(end(&source).await, Ok(14));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_identity_provider_is_shown_as_it_is_then_and_nothing_is_signed() {
    let (client, asked) = client(|count| answer("AssumeRoleWithWebIdentity", count, 13 + count));
    let count = Mutex::new(0);
    let token = move || -> Reading {
        let mut count = count.lock().expect("is sound");
        *count += 1;
        Box::pin(ready(Ok(format!("web.{count}"))))
    };
    let role = role().endpoint("http://127.0.0.1:1/sts").expect("is one").external_id("x");
    let source = AssumedRole::with_web_identity(client, role, token).clock(clock());
    assert_eq!(end(&source).await, Ok(13));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(end(&source).await, Ok(14));
    let asked = asked.lock().expect("is sound");
    for (at, (head, form)) in asked.iter().enumerate() {
        assert_eq!(head.uri, "http://127.0.0.1:1/sts");
        assert!(!head.headers.contains_key("authorization"));
        assert_eq!(
            *form,
            format!(
                "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me&WebIdentityToken=web.{}",
                at + 1
            )
        );
    }
    assert_eq!(asked.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_no_answer_is_told_without_its_words() {
    let refused = r#"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>canary is not authorized</Message></Error></ErrorResponse>"#;
    let keys = |inner: &str| format!("<R><Credentials>{inner}</Credentials></R>");
    let whole =
        "<AccessKeyId>canary</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>";
    let cases = [
        (403, refused.to_owned(), "answered 403 (AccessDenied)"),
        (500, "<Code>canary canary</Code>".to_owned(), "answered 500"),
        (200, "{}".to_owned(), "answered no keys"),
        (200, keys("<Expiration>2026-01-01T13:00:00Z</Expiration>"), "answered no keys"),
        (200, keys(&format!("{whole}<Expiration>canary</Expiration>")), "answered keys without a valid end"),
        (
            200,
            keys(&format!("{whole}<Expiration>2026-01-01T13:00:00Z</Expiration>").replace(">s<", ">&amp;<")),
            "answered no keys",
        ),
        (
            200,
            keys(&format!("{whole}<Expiration>2026-01-01T11:00:00Z</Expiration>")),
            "gave keys that have ended: a clock may be wrong",
        ),
    ];
    for (status, body, why) in cases {
        let (client, _) = client(move |_| (status, body.clone()));
        let source = AssumedRole::with_keys(client, role(), Keys::new("id", "canary")).clock(clock());
        let told = source.keys().await.map(drop);
        assert_eq!(told, Err(NoKeys::new(format!("AWS's security token service {why}"))));
        assert!(!format!("{source:?}").contains("canary"));
    }
}

#[tokio::test(start_paused = true)]
async fn without_keys_or_a_token_the_service_is_not_asked() {
    let (client, asked) = client(|count| answer("AssumeRole", count, 13));
    let lost = || -> Reading { Box::pin(ready(Err(Away::new("the token cannot be read")))) };
    let source = AssumedRole::with_web_identity(client.clone(), role(), lost).clock(clock());
    assert_eq!(source.keys().await.map(drop), Err(NoKeys::new("the token cannot be read")));
    let source = AssumedRole::with_keys(client, role(), ziggurat_aws::Chain::new()).clock(clock());
    assert_eq!(source.keys().await.map(drop), Err(NoKeys::new("no source")));
    assert!(asked.lock().expect("is sound").is_empty());
}
