//! Keys of the platform, over a client that answers by hand, in paused time.

use std::{
    convert::Infallible,
    fs,
    future::pending,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, advance, sleep};
use tower::{Service, service_fn, util::BoxCloneSyncService};
use ziggurat_aws::{KeySource, Metadata, NoKeys};
use ziggurat_core::{Body, Clock};

/// What was asked: method, URL, and the token shown.
type Asked = Arc<Mutex<Vec<(Method, String, String)>>>;

/// A client that answers with what `answer` says to the so many-th request.
fn client(
    answer: impl Fn(usize, &str) -> Option<(u16, String)> + Clone + Send + Sync + 'static,
) -> (BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        let shown = ["authorization", "x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"];
        let shown = shown.iter().find_map(|name| request.headers().get(*name));
        let shown = shown.map(|value| value.to_str().expect("is text").to_owned()).unwrap_or_default();
        let url = request.uri().to_string();
        let mut log = log.lock().expect("is sound");
        let answer = answer(log.len(), &url);
        log.push((request.method().clone(), url, shown));
        async move {
            let Some((status, body)) = answer else { return pending().await };
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).expect("is a status");
            Ok::<_, Infallible>(response)
        }
    });
    (BoxCloneSyncService::new(service), asked)
}

const NOON: u64 = 1_767_268_800;

/// Noon of the first of January 2026 when it is made; runs with tokio's time.
fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(NOON) + start.elapsed())
}

/// Keys number `number` that end at this hour.
fn keys(number: usize, hour: u32) -> (u16, String) {
    let json = format!(
        r#"{{"Code":"Success","AccessKeyId":"ID{number}","SecretAccessKey":"S","Token":"T","Expiration":"2026-01-01T{hour:02}:00:00Z"}}"#
    );
    (200, json)
}

fn container<S>(client: S) -> Metadata
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let get = |name: &str| match name {
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" => Some("/v2/credentials/x".to_owned()),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN" => Some("shown".to_owned()),
        _ => None,
    };
    Metadata::container_from_variables(client, get).expect("names one").clock(clock())
}

fn count(asked: &Asked) -> usize {
    asked.lock().expect("is sound").len()
}

/// When the keys of a source end, in hours.
async fn end(source: &Metadata) -> Result<u64, NoKeys> {
    let end = source.keys().await?.expires().expect("end");
    Ok(end.duration_since(SystemTime::UNIX_EPOCH).expect("is later").as_secs() % 86_400 / 3_600)
}

#[tokio::test(start_paused = true)]
async fn all_share_what_the_first_waits_for() {
    let (client, asked) = client(|_, _| Some(keys(1, 18)));
    let source = container(client);
    assert_eq!(count(&asked), 0);
    let (a, b) = tokio::join!(end(&source), end(&source));
    assert_eq!((a, b, end(&source).await), (Ok(18), Ok(18), Ok(18)));
    let url = "http://169.254.170.2/v2/credentials/x".to_owned();
    assert_eq!(*asked.lock().expect("is sound"), [(Method::GET, url, "shown".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_ahead_of_their_end_without_a_request() {
    let (client, asked) = client(|number, _| Some(keys(number, if number == 0 { 13 } else { 20 })));
    let source = container(client);
    assert_eq!(end(&source).await, Ok(13));
    sleep(Duration::from_secs(54 * 60)).await;
    assert_eq!(count(&asked), 1);
    sleep(Duration::from_secs(61)).await;
    assert_eq!((count(&asked), end(&source).await), (2, Ok(20)));
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_told_and_tried_again_with_longer_pauses() {
    let (client, asked) =
        client(|number, _| if number < 3 { Some((500, "secret".into())) } else { Some(keys(1, 18)) });
    let source = container(client);
    let told = NoKeys::new("the container's credential service answered 500");
    assert_eq!(end(&source).await, Err(told.clone()));
    assert_eq!((count(&asked), end(&source).await), (1, Err(told.clone())));
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(count(&asked), 2);
    sleep(Duration::from_secs(2)).await;
    assert_eq!((count(&asked), end(&source).await), (3, Err(told)));
    sleep(Duration::from_millis(4_100)).await;
    assert_eq!((count(&asked), end(&source).await), (4, Ok(18)));
}

#[tokio::test(start_paused = true)]
async fn keys_hold_to_their_end_while_renewal_fails() {
    let (client, asked) = client(|number, _| if number == 0 { Some(keys(1, 13)) } else { None });
    let source = container(client);
    assert_eq!(end(&source).await, Ok(13));
    sleep(Duration::from_secs(59 * 60)).await;
    assert!(count(&asked) > 2);
    assert_eq!(end(&source).await, Ok(13));
    sleep(Duration::from_secs(61)).await;
    let late = NoKeys::new("the container's credential service did not answer in time");
    assert_eq!(end(&source).await, Err(late));
}

#[tokio::test(start_paused = true)]
async fn keys_that_ended_in_the_tasks_sleep_are_renewed_at_once() {
    let shift = Arc::new(Mutex::new(Duration::ZERO));
    let jump = Arc::clone(&shift);
    let start = clock();
    let clock = Clock::new(move || start.now() + *jump.lock().expect("is sound"));
    let (client, asked) = client(|number, _| Some(keys(number, if number == 0 { 13 } else { 20 })));
    let source = container(client).clock(clock);
    assert_eq!(end(&source).await, Ok(13));
    // As after a machine's sleep, through which its timers do not run.
    *shift.lock().expect("is sound") = Duration::from_secs(2 * 60 * 60);
    assert_eq!((end(&source).await, count(&asked)), (Ok(20), 2));
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_asked_for_a_token_its_role_and_the_keys() {
    let (client, asked) = client(|_, url| {
        Some(match url.strip_prefix("http://169.254.169.254/latest/").expect("is the service's") {
            "api/token" => (200, "t0k\n".to_owned()),
            "meta-data/iam/security-credentials/" => (200, "role\n".to_owned()),
            _ => keys(1, 18),
        })
    });
    let source = Metadata::instance(client).clock(clock());
    assert_eq!(end(&source).await, Ok(18));
    let asked = asked.lock().expect("is sound").clone();
    let asked: Vec<(&str, &str, &str)> = asked
        .iter()
        .map(|(method, url, shown)| {
            (method.as_str(), url.rsplit_once("latest/").expect("has it").1, &**shown)
        })
        .collect();
    assert_eq!(
        asked,
        [
            ("PUT", "api/token", "21600"),
            ("GET", "meta-data/iam/security-credentials/", "t0k"),
            ("GET", "meta-data/iam/security-credentials/role", "t0k"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn answers_that_hold_no_keys_say_what_they_are() {
    let end_of = async |answer: (u16, String)| {
        let (client, _) = client(move |_, _| Some(answer.clone()));
        end(&container(client))
            .await
            .map_err(|none| none.why.replace("the container's credential service ", ""))
    };
    assert_eq!(end_of((200, "{}".into())).await, Err("answered no keys".into()));
    assert_eq!(end_of((404, String::new())).await, Err("answered 404".into()));
    assert_eq!(end_of((200, "x".repeat(70_000))).await, Err("broke off or answered too much".into()));
    let failed = keys(1, 1).1.replace("Success", "Failed");
    assert_eq!(end_of((200, failed)).await, Err("answered that it has no keys".into()));
    let ended = "gave keys that have ended: a clock may be wrong";
    assert_eq!(end_of(keys(1, 11)).await, Err(ended.into()));
    let endless = keys(1, 1).1.replace("2026", "soon");
    assert_eq!(end_of((200, endless)).await, Err("answered keys without a valid end".into()));
    let (client, _) = client(|_, _| Some((200, String::new())));
    let none = end(&Metadata::instance(client).clock(clock())).await;
    assert_eq!(none, Err(NoKeys::new("the instance has no role")));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_source() {
    let held = Arc::new(());
    let watched = Arc::downgrade(&held);
    let (client, asked) = client(move |_, _| {
        let _held = &held;
        Some(keys(1, 13))
    });
    let source = container(client);
    assert_eq!(end(&source).await, Ok(13));
    drop(source);
    advance(Duration::from_secs(3 * 60 * 60)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!((count(&asked), watched.upgrade()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn keys_come_over_tls_or_from_this_machine_alone() {
    let of = |uri: &'static str| {
        let (client, _) = client(|_, _| None);
        let get = move |name: &str| (name == "AWS_CONTAINER_CREDENTIALS_FULL_URI").then(|| uri.to_owned());
        Metadata::container_from_variables(client, get).map(|_| ())
    };
    for uri in [
        "https://a.example/x",
        "http://127.0.0.1:80/x",
        "http://[::1]/",
        "http://169.254.170.23/v1/credentials",
    ] {
        assert_eq!(of(uri), Ok(()), "{uri}");
    }
    for uri in [
        "http://a.example/x",
        "http://169.254.169.254/x",
        "ftp://127.0.0.1/",
        "/x",
        "http://127.0.0.1.a.example/",
    ] {
        assert!(of(uri).is_err(), "{uri}");
    }
    assert!(of("").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_token_file_is_read_each_time_and_nothing_secret_is_shown() {
    let path = std::env::temp_dir().join(format!("ziggurat-aws-token-{}", std::process::id()));
    fs::write(&path, "one\n").expect("writes");
    let file = path.to_str().expect("is text").to_owned();
    let get = move |name: &str| match name {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some("http://169.254.170.23/v1/credentials".to_owned()),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" => Some(file.clone()),
        _ => None,
    };
    let (client, asked) = client(|number, _| Some(keys(number, 13 + number as u32)));
    let source = Metadata::container_from_variables(client, get).expect("names one").clock(clock());
    assert_eq!(end(&source).await, Ok(13));
    fs::write(&path, "two\n").expect("writes");
    sleep(Duration::from_secs(56 * 60)).await;
    fs::remove_file(&path).expect("removes");
    let shown: Vec<String> =
        asked.lock().expect("is sound").iter().map(|(.., shown)| shown.clone()).collect();
    assert_eq!(shown, ["one", "two"]);
    let text = format!("{source:?} {:?}", source.keys().await);
    assert!(!text.contains("ID1") && !text.contains("169.254"), "{text}");
}
