//! Files of credentials: of a person, and of a workload that somebody else vouches for.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use serde_json::{Value, json};
use tower::{Service, service_fn};
use ziggurat_core::{Away, Body, Clock};
use ziggurat_google::{AccountFile, ExternalAccount, Token, TokenSource};

/// What was asked: the URL, the header `authorization`, another, and the body.
type Seen = Arc<Mutex<Vec<(String, Option<String>, Option<String>, String)>>>;

/// A host, and the status and the body that it answers with.
type Answers = &'static [(&'static str, u16, &'static str)];

/// Answers by the host, and keeps what was asked.
fn client(
    seen: &Seen,
    answers: Answers,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let seen = Arc::clone(seen);
    service_fn(move |request: Request<Body>| {
        let seen = Arc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let text = |name: &str| Some(parts.headers.get(name)?.to_str().expect("is text").to_owned());
            let body = body.collect_within(1 << 16).await.expect("is whole");
            let body = String::from_utf8(body.to_vec()).expect("is text");
            let asked = (parts.uri.to_string(), text("authorization"), text("x-own"), body);
            seen.lock().expect("nobody panics").push(asked);
            let (_, status, answer) =
                answers.iter().find(|(host, ..)| parts.uri.host() == Some(*host)).expect("is a known host");
            Ok(Response::builder().status(*status).body(Body::from(*answer)).expect("is a response"))
        }
    })
}

fn no_file(_: &str) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::NotFound.into())
}

/// The token's header, as nothing else shows it.
fn bearer(token: &Token) -> String {
    let value = token.bearer().expect("can be sent");
    assert!(value.is_sensitive());
    value.to_str().expect("is text").to_owned()
}

const GIVEN: &str = r#"{"access_token":"ya29.x","expires_in":3599}"#;

#[tokio::test]
async fn a_person_is_known_by_a_refresh_token() {
    let seen = Seen::default();
    let file = json!({
        "type": "authorized_user", "client_id": "app 1", "client_secret": "s&canary", "refresh_token": "1//canary",
        "quota_project_id": "acme",
    });
    let file = AccountFile::from_json(
        &file.to_string(),
        client(&seen, &[("oauth2.googleapis.com", 200, GIVEN)]),
        no_file,
    );
    let file = file.expect("is one");
    assert_eq!((file.project(), file.token_file()), (Some("acme"), None));
    assert_eq!(file.quota_project().expect("is named"), "acme");
    assert!(!format!("{file:?}").contains("canary"));
    assert_eq!(bearer(&file.fetch().await.expect("is given")), "Bearer ya29.x");
    let form =
        "grant_type=refresh_token&client_id=app%201&client_secret=s%26canary&refresh_token=1%2F%2Fcanary";
    let asked = ("https://oauth2.googleapis.com/token".to_owned(), None, None, form.to_owned());
    assert_eq!(*seen.lock().unwrap(), [asked]);
}

/// A file with more members.
fn with(file: &mut Value, more: &Value) -> String {
    let more = more.as_object().expect("is an object").clone();
    file.as_object_mut().expect("is an object").extend(more);
    file.to_string()
}

fn external(source: &Value, more: &Value) -> String {
    let mut file = json!({
        "type": "external_account", "audience": "//iam/p", "subject_token_type": "urn:jwt",
        "token_url": "https://sts.test/v1/token", "credential_source": source,
    });
    with(&mut file, more)
}

const EXCHANGE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&audience=%2F%2Fiam%2Fp&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&subject_token_type=urn%3Ajwt";

#[tokio::test]
async fn a_file_of_a_workload_is_read_each_time_and_exchanged() {
    let seen = Seen::default();
    let count = Mutex::new(0);
    let read = move |path: &str| {
        assert_eq!(path, "/run/token");
        let mut count = count.lock().unwrap();
        *count += 1;
        Ok(format!("  jwt.{count}\n").into_bytes())
    };
    let json = external(&json!({"file": "/run/token"}), &json!({}));
    let file =
        AccountFile::from_json(&json, client(&seen, &[("sts.test", 200, GIVEN)]), read).expect("is one");
    assert_eq!((file.project(), file.quota_project(), file.token_file()), (None, None, Some("/run/token")));
    for at in 1..=2 {
        assert_eq!(bearer(&file.fetch().await.expect("is given")), "Bearer ya29.x");
        let form = format!("{EXCHANGE}&subject_token=jwt.{at}");
        let asked = ("https://sts.test/v1/token".to_owned(), None, None, form);
        assert_eq!(seen.lock().unwrap().pop(), Some(asked));
    }
}

#[tokio::test]
async fn a_token_at_a_url_becomes_a_service_accounts() {
    let seen = Seen::default();
    let source = json!({
        "url": "http://169.254.169.254/token?api-version=1", "headers": {"X-Own": "true"},
        "format": {"type": "json", "subject_token_field_name": "access_token"},
    });
    let impersonation = "https://iam.test/v1/projects/-/serviceAccounts/bot@acme.test:generateAccessToken";
    let more = json!({
        "service_account_impersonation_url": impersonation,
        "service_account_impersonation": {"token_lifetime_seconds": 600},
        "client_id": "id", "client_secret": "canary", "workforce_pool_user_project": "7",
    });
    const ANSWERS: Answers = &[
        ("169.254.169.254", 200, r#"{"access_token":"azure.jwt","expires_in":"1"}"#),
        ("sts.test", 200, GIVEN),
        ("iam.test", 200, r#"{"accessToken":"ya29.bot","expireTime":"2027-01-15T08:10:00Z"}"#),
    ];
    let account = ExternalAccount::from_json(&external(&source, &more), client(&seen, ANSWERS), no_file);
    let account = account.expect("is one");
    assert!(!format!("{account:?}").contains("canary"));
    let at = |seconds| Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let account = account.clock(at(1_800_000_000));
    let token = account.fetch().await.expect("is given");
    assert_eq!(bearer(&token), "Bearer ya29.bot");
    assert_eq!(format!("{token:?}"), "Token { lasts: 600s, .. }");
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        ("http://169.254.169.254/token?api-version=1".to_owned(), None, text("true"), String::new()),
        (
            "https://sts.test/v1/token".to_owned(),
            text("Basic aWQ6Y2FuYXJ5"),
            None,
            format!("{EXCHANGE}&subject_token=azure.jwt"),
        ),
        (
            impersonation.to_owned(),
            text("Bearer ya29.x"),
            None,
            r#"{"scope":["https://www.googleapis.com/auth/cloud-platform"],"lifetime":"600s"}"#.to_owned(),
        ),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
    // By the clock of a machine that is ahead it has ended.
    let ended = account.clock(at(1_800_000_600)).fetch().await;
    let why = "the token of the service account: its answer holds a token that has ended";
    assert_eq!(ended.map(drop), Err(Away::new(why)));
}

#[tokio::test]
async fn whoever_has_no_client_says_whose_project_is_charged() {
    let seen = Seen::default();
    let json = external(&json!({"file": "/f"}), &json!({"workforce_pool_user_project": "7"}));
    let client = client(&seen, &[("sts.test", 200, GIVEN)]);
    let account = ExternalAccount::from_json(&json, client, |_| Ok(b"t".to_vec())).expect("is one");
    account.fetch().await.expect("is given");
    let form = format!("{EXCHANGE}&options=%7B%22userProject%22%3A%227%22%7D&subject_token=t");
    assert_eq!(seen.lock().unwrap()[0].3, form);
}

#[tokio::test]
async fn who_fails_is_told_and_no_word_of_what_was_said() {
    let url =
        json!({"url": "https://own.test/t", "format": {"type": "json", "subject_token_field_name": "t"}});
    let impersonated = json!({"service_account_impersonation_url": "https://iam.test/x"});
    const OWN: (&str, u16, &str) = ("own.test", 200, r#"{"t":"jwt"}"#);
    const STS: (&str, u16, &str) = ("sts.test", 200, GIVEN);
    let cases: [(Answers, &str); 7] = [
        (&[("own.test", 403, "canary")], "the workload's token: it answers with 403"),
        (&[("own.test", 200, r#"{"x":"canary"}"#)], "the workload's token: there is none"),
        (&[("own.test", 200, "canary")], "the workload's token: there is none"),
        (&[OWN, ("sts.test", 400, "canary")], "the exchange of the workload's token: it answers with 400"),
        (&[OWN, ("sts.test", 200, "{}")], "the exchange of the workload's token: its answer holds no token"),
        (&[OWN, STS, ("iam.test", 403, "canary")], "the token of the service account: it answers with 403"),
        (
            &[OWN, STS, ("iam.test", 200, r#"{"accessToken":"canary","expireTime":"soon"}"#)],
            "the token of the service account: its answer holds no token",
        ),
    ];
    for (answers, why) in cases {
        let account = ExternalAccount::from_json(
            &external(&url, &impersonated),
            client(&Seen::default(), answers),
            no_file,
        );
        assert_eq!(account.expect("is one").fetch().await.map(drop), Err(Away::new(why)));
    }
    for (read, why) in [
        (Err(io::ErrorKind::NotFound), "the workload's token: its file: entity not found"),
        (Ok(" \n"), "the workload's token: there is none"),
    ] {
        let read = move |_: &str| read.map(|text| text.as_bytes().to_vec()).map_err(io::Error::from);
        let client = client(&Seen::default(), &[]);
        let account = ExternalAccount::from_json(&external(&json!({"file": "/f"}), &json!({})), client, read);
        assert_eq!(account.expect("is one").fetch().await.map(drop), Err(Away::new(why)));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_told_without_a_word_of_it() {
    let why = |json: &str| AccountFile::from_json(json, (), no_file).map(drop).unwrap_err().why;
    assert_eq!(why("canary"), "it is no JSON object of such a file");
    let unknown = "its `type` is none of `service_account`, `authorized_user` and `external_account`";
    assert_eq!(why(r#"{"type":"canary"}"#), unknown);
    assert_eq!(
        why(r#"{"type":"authorized_user","client_id":"canary"}"#),
        "it is no file of an authorized user"
    );
    assert_eq!(
        why(r#"{"type":"external_account","audience":"canary"}"#),
        "it is no file of an external account"
    );
    let user = |more: Value| {
        let mut file =
            json!({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"});
        why(&with(&mut file, &more))
    };
    let no_token_uri = "its `token_uri` is no URL that begins with https://";
    assert_eq!(user(json!({"token_uri": "http://canary/"})), no_token_uri);
    assert_eq!(user(json!({"token_uri": "https://u:p@canary/"})), no_token_uri);
    assert_eq!(user(json!({"quota_project_id": "a\nb"})), "its `quota_project_id` cannot be sent");
    let source = |source: Value| why(&external(&source, &json!({})));
    let neither = "its `credential_source` is neither a `file` nor a `url`";
    for other in [
        json!({}),
        json!({"executable": {"command": "canary"}}),
        json!({"environment_id": "aws1", "url": "http://169.254.169.254/x"}),
        json!({"file": "/f", "url": "https://h/"}),
    ] {
        assert_eq!(source(other), neither);
    }
    assert_eq!(source(json!({"url": "canary"})), "its `credential_source.url` is no URL");
    assert_eq!(
        source(json!({"url": "https://h/", "headers": {"a b": "canary"}})),
        "its `credential_source.headers` cannot be sent"
    );
    assert_eq!(
        source(json!({"file": "/f", "format": {"type": "xml"}})),
        "its `format` is neither `text` nor `json`"
    );
    assert_eq!(
        source(json!({"file": "/f", "format": {"type": "json"}})),
        "its `format` names no `subject_token_field_name`"
    );
    let more = |more: Value| why(&external(&json!({"file": "/f"}), &more));
    assert_eq!(
        more(json!({"token_url": "http://h/"})),
        "its `token_url` is no URL that begins with https://"
    );
    assert_eq!(
        more(json!({"service_account_impersonation_url": "ftp://127.0.0.1/"})),
        "its `service_account_impersonation_url` is no URL that begins with https://"
    );
}
