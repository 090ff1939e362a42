//! Limits of requests, and what is told of them.

mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};
use ziggurat_core::{Body, Clock, Limit, Measure, Principal, Rejection, Scope, ScopeKind};
use ziggurat_limit::{LimitLayer, Quota};

use crate::support::*;

fn gateway(most: u64) -> Limit {
    Limit::requests_per_minute(Scope::gateway(), most)
}

/// R1.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_200_requests_at_once_exactly_as_many_pass_as_may() {
    let (time, provider) = (Manual::default(), Provider::new());
    let service = of(&layer(&time).fixed(gateway(30)), provider.clone());
    let permits = Arc::new(tokio::sync::Semaphore::new(64));
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        let (service, permits) = (service.clone(), Arc::clone(&permits));
        clients.spawn(async move {
            let _one_of_64 = permits.acquire().await.expect("is open");
            status(&service, chat("")).await
        });
    }
    let statuses = clients.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 30);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 170);
    assert_eq!(provider.calls(), 30);
}

/// R2: a burst at the end of one minute and another at the beginning of the next.
#[tokio::test]
async fn no_window_has_an_edge() {
    for start in [0.0, 0.9, 17.3, 59.9] {
        let (time, provider) = (Manual::default(), Provider::new());
        time.seconds(start);
        let service = of(&layer(&time).fixed(gateway(30)), provider.clone());
        assert_eq!(status(&service, chat("")).await, 200);
        let mut passed = vec![0.0];
        for at in (0..400).map(|step| 50.0 + f64::from(step) / 4.0) {
            time.seconds(0.25 + if at == 50.0 { 49.75 } else { 0.0 });
            while status(&service, chat("")).await == 200 {
                passed.push(at);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            let within = passed[first..].iter().take_while(|at| **at < from + 60.0).count();
            assert!(within <= 30, "{within} from {from}");
        }
        assert!(passed.len() >= 60, "{}", passed.len());
    }
}

/// 64 clients that ask for an answer of half a second again and again, through three minutes: as a whole they get the limit, and in no
/// stretch of a minute more.
#[tokio::test(start_paused = true)]
async fn of_64_clients_no_minute_passes_more_than_may_and_hardly_any_less() {
    const MOST: usize = 600;
    let start = tokio::time::Instant::now();
    let clock =
        Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000) + start.elapsed());
    let passed = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&passed);
    let provider = tower::service_fn(move |_: Request<Body>| {
        times.lock().expect("is sound").push(start.elapsed());
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok::<_, Infallible>(Response::new(Body::from("{}")))
        }
    });
    let service = LimitLayer::new().clock(clock).fixed(gateway(MOST as u64)).layer(provider);
    let mut clients = JoinSet::new();
    for client in 0..64_u64 {
        let service = service.clone();
        clients.spawn(async move {
            // They do not ask in step.
            tokio::time::sleep(Duration::from_millis(client * 7)).await;
            let mut refused = 0;
            while start.elapsed() < 3 * MINUTE {
                let Ok(response) = service.clone().oneshot(chat("")).await;
                if response.status() == 429 {
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(400 + client)).await;
                }
                drop(text(response).await);
            }
            refused
        });
    }
    let refused: usize = clients.join_all().await.into_iter().sum();
    assert!(refused > 1000, "they ask for more than there is: {refused}");
    let mut passed = passed.lock().expect("is sound").clone();
    passed.retain(|at| *at < 3 * MINUTE);
    for (first, from) in passed.iter().enumerate() {
        let within = passed[first..].iter().take_while(|at| **at < *from + MINUTE).count();
        assert!(within <= MOST, "{within} from {from:?}");
    }
    assert!(passed.len() <= 3 * MOST && passed.len() * 100 >= 3 * MOST * 95, "{}", passed.len());
}

/// R8.
#[tokio::test]
async fn a_refusal_takes_nothing_and_its_wait_is_true() {
    let (time, provider) = (Manual::default(), Provider::new());
    let service = of(&layer(&time).fixed(gateway(2)), provider.clone());
    for wait in [0.0, 7.3] {
        time.seconds(wait);
        assert_eq!(status(&service, chat("")).await, 200);
    }
    for _ in 0..50 {
        let refused = ask(&service, chat("")).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(header(&refused, "retry-after"), "55");
        assert_eq!(header(&refused, "x-should-retry"), "");
    }
    assert_eq!(provider.calls(), 2);
    time.seconds(54.0);
    assert_eq!(status(&service, chat("")).await, 429);
    time.seconds(1.0);
    assert_eq!(status(&service, chat("")).await, 200);
    assert_eq!(status(&service, chat("")).await, 429);
}

#[tokio::test]
async fn a_refusal_is_in_the_callers_dialect_and_names_no_id() {
    let time = Manual::default();
    let limits = [Limit::requests_per_minute(Scope::new(ScopeKind::Key, "hash-of-a-key"), 0)];
    let mut principal = Principal::default();
    principal.limits = limits.into();
    let service = of(&layer(&time), Provider::new());
    let with = |mut request: Request<Body>| {
        request.extensions_mut().insert(principal.clone());
        request
    };
    let refused = ask(&service, with(chat(""))).await;
    let rejection = refused.extensions().get::<Rejection>().expect("is typed");
    assert_eq!(rejection.problem().kind.as_deref(), Some("requests"));
    assert!(refused.extensions().get::<Quota>().is_some());
    assert_eq!((header(&refused, "retry-after"), header(&refused, "x-should-retry")), ("", "false"));
    assert_eq!(
        text(refused).await,
        r#"{"error":{"message":"the limit of this key allows no requests","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#
    );
    let refused = ask(&service, with(post("/v1/messages", "\"max_tokens\":5,"))).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(
        text(refused).await,
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"the limit of this key allows no requests"}}"#
    );
}

#[tokio::test]
async fn the_message_says_whose_limit_what_and_how_long() {
    let time = Manual::default();
    let service = of(&layer(&time).fixed(gateway(1)), Provider::new());
    status(&service, chat("")).await;
    let refused = text(ask(&service, chat("")).await).await;
    let message = "rate limit of this gateway reached: 1 requests per 60s; try again in 62s";
    assert!(refused.contains(message), "{refused}");
}

#[tokio::test]
async fn headers_are_of_the_tightest_limit_and_replace_a_providers() {
    let time = Manual::default();
    let answer = || {
        Response::builder()
            .header("x-ratelimit-limit-requests", "9999")
            .header("x-ratelimit-remaining-tokens", "8888")
            .body(Body::from("{}"))
            .expect("is a response")
    };
    let layer = layer(&time).fixed(gateway(1000)).limit(ScopeKind::Model, Measure::Requests, 4, MINUTE);
    let service = of(&layer, Provider::answering([answer(), answer()]));
    let first = ask(&service, chat("")).await;
    assert_eq!(header(&first, "x-ratelimit-limit-requests"), "4");
    assert_eq!(header(&first, "x-ratelimit-remaining-requests"), "3");
    assert_eq!(header(&first, "x-ratelimit-reset-requests"), "1m2s");
    // Ours limits no tokens.
    assert_eq!(header(&first, "x-ratelimit-remaining-tokens"), "8888");
    let quota = first.extensions().get::<Quota>().expect("is told");
    assert_eq!(quota.requests.map(|level| (level.scope, level.most)), Some((ScopeKind::Model, 4)));
    let silent = of(&layer.clone().headers(false), Provider::answering([answer()]));
    let second = ask(&silent, chat("")).await;
    assert_eq!(header(&second, "x-ratelimit-limit-requests"), "9999");
    // The clone shares the counts.
    assert_eq!(
        second.extensions().get::<Quota>().and_then(|quota| quota.requests).map(|l| l.remaining),
        Some(2)
    );
}

#[tokio::test]
async fn a_limit_of_zero_refuses_every_operation() {
    let time = Manual::default();
    for measure in [Measure::Requests, Measure::Tokens, Measure::OutputTokens, Measure::Concurrency] {
        let service = of(&layer(&time).limit(ScopeKind::Gateway, measure, 0, MINUTE), Provider::new());
        for request in [chat(""), chat("\"max_tokens\":1,"), files()] {
            let refused = ask(&service, request).await;
            assert_eq!(refused.status(), 429, "{measure}");
            assert_eq!(header(&refused, "retry-after"), "");
            assert_eq!(header(&refused, "x-should-retry"), "false");
        }
    }
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused_and_others_are_not_read() {
    let (time, provider) = (Manual::default(), Provider::new());
    let service = of(&layer(&time).fixed(gateway(2)), provider.clone());
    for body in ["no JSON", "{}", "[]", "{\"model\":1}"] {
        let request = Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request");
        let refused = ask(&service, request).await;
        assert_eq!(refused.status(), 400, "{body}");
        assert!(refused.extensions().get::<Rejection>().is_some());
    }
    assert_eq!(provider.calls(), 0);
    // They took nothing; what is no JSON by its operation passes as it is, and counts.
    assert_eq!(status(&service, files()).await, 200);
    assert_eq!(status(&service, files()).await, 200);
    assert_eq!(status(&service, files()).await, 429);
    assert_eq!(*provider.bodies.lock().expect("is sound"), [b"any bytes", b"any bytes"]);
}

#[tokio::test]
async fn a_call_that_a_layer_within_refuses_is_given_back() {
    let time = Manual::default();
    let refusal =
        || Rejection::new(ziggurat_core::Cause::Quota, "no money").into_response(Default::default());
    for measure in [Measure::Requests, Measure::Tokens] {
        let layer = layer(&time).fixed(gateway(1)).limit(ScopeKind::Gateway, measure, 1000, MINUTE);
        let service = of(&layer, Provider::answering([refusal(), refusal()]));
        for expected in [429, 429, 200, 429] {
            let answer = ask(&service, chat("\"max_tokens\":10,")).await;
            assert_eq!(answer.status(), expected);
            text(answer).await;
        }
    }
}

#[tokio::test]
async fn without_limits_a_call_passes_as_it_is() {
    let service = of(&layer(&Manual::default()), Provider::new());
    let answer = ask(&service, chat("")).await;
    assert_eq!((answer.status().as_u16(), answer.headers().len()), (200, 0));
    assert!(answer.extensions().get::<Quota>().is_none());
}

#[tokio::test]
async fn services_of_one_layer_share_and_layers_do_not() {
    let time = Manual::default();
    let layer = layer(&time).fixed(gateway(1));
    assert_eq!(status(&of(&layer, Provider::new()), chat("")).await, 200);
    assert_eq!(status(&of(&layer.clone(), Provider::new()), chat("")).await, 429);
    let other = support::layer(&time).fixed(gateway(1));
    assert_eq!(status(&of(&other, Provider::new()), chat("")).await, 200);
}

#[tokio::test]
async fn a_store_without_room_fails_closed() {
    let (time, provider) = (Manual::default(), Provider::new());
    let layer = layer(&time)
        .store(ziggurat_limit::MemoryStore::with_capacity(16))
        .scope(|parts| Some(Scope::tenant(parts.headers["x-tenant"].to_str().expect("is text"))))
        .limit(ScopeKind::Tenant, Measure::Requests, 1, MINUTE);
    let service = of(&layer, provider.clone());
    let mut statuses = Vec::new();
    for tenant in 0..200 {
        let mut request = chat("");
        request.headers_mut().insert("x-tenant", tenant.into());
        let answer = ask(&service, request).await;
        if answer.status() == 503 {
            assert_eq!(header(&answer, "retry-after"), "1");
        }
        statuses.push(answer.status().as_u16());
    }
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert!((1..=16).contains(&passed), "{passed}");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 200 - passed);
    assert_eq!(provider.calls.load(Ordering::SeqCst), passed);
}

fn files() -> Request<Body> {
    Request::post("/v1/files").body(Body::from("any bytes")).expect("is a request")
}
