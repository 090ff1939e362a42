//! What is probed, when, and what comes of it.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout};
use tower::service_fn;
use ziggurat_core::{Body, BoxError, Cause, Dialect, Rejection, Target};
use ziggurat_route::{Cooldown, Deployment, Group, Prober, Routes, State};

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn routes(groups: impl IntoIterator<Item = Arc<Group>>) -> Routes {
    groups.into_iter().fold(Routes::builder(), |all, group| all.group(group)).build().expect("are routes")
}

/// One group of these, of which all cool down for a minute.
fn cooling(ids: &[&str]) -> Routes {
    let group = group("g", ids).build().expect("is a group");
    let now = Instant::now();
    group.deployments().iter().for_each(|deployment| deployment.cool_until(now + MINUTE, now));
    routes([group])
}

fn state(routes: &Routes, index: usize) -> State {
    routes.groups()[0].deployments()[index].figures(Instant::now()).state
}

#[tokio::test(start_paused = true)]
async fn who_answers_a_probe_may_be_called_again() {
    let upstream = Upstream::default();
    upstream.does("a", [fails(500), ok("")]).does("b", [ok("")]);
    let routes = cooling(&["a", "b"]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let prober = Prober::new(routes.clone(), upstream.service())
        .random(|| 1 << 63)
        .report(move |event| noted.lock().unwrap().push(format!("{event:?}")));
    let start = Instant::now();
    let _never = timeout(seconds(35), prober.run()).await.expect_err("never ends");
    let times: Vec<_> = upstream.times().iter().map(|at| *at - start).collect();
    // Both, then the one that has failed; and nobody who is well.
    assert_eq!(upstream.called(), ["a", "b", "a"]);
    assert_eq!(times, [10, 10, 20].map(seconds));
    assert_eq!([0, 1].map(|index| state(&routes, index)), [State::Healthy; 2]);
    let body = r#"{"model":"g","max_tokens":1,"messages":[{"role":"user","content":"ping"}]}"#;
    assert!(upstream.bodies().iter().all(|it| it == body));
    assert_eq!(
        *told.lock().unwrap(),
        [
            "Failed { group: \"g\", deployment: \"a\", cause: Internal, cools: None }",
            "Recovered { group: \"g\", deployment: \"b\" }",
            "Recovered { group: \"g\", deployment: \"a\" }",
        ]
    );
    let figures = routes.groups()[0].deployments()[0].figures(Instant::now());
    // A probe is a request, and tells nothing of how fast answers are.
    assert_eq!((figures.requests, figures.failures, figures.in_flight, figures.first_token), (2, 1, 0, None));
}

#[tokio::test(start_paused = true)]
async fn who_has_cooled_down_and_fails_a_probe_cools_down_again() {
    let upstream = Upstream::default();
    upstream.does("a", [fails(500)]);
    let cooldown = Cooldown::default().lasting(seconds(7), MINUTE).hint_at_most(seconds(1000));
    let group = group("g", &["a"]).cooldown(cooldown).build().unwrap();
    let now = Instant::now();
    group.deployments()[0].cool_until(now + MINUTE, now);
    let routes = routes([group]);
    let prober = Prober::new(routes.clone(), upstream.service());
    prober.round().await;
    assert_eq!(state(&routes, 0), State::Cooling(MINUTE));
    sleep(MINUTE).await;
    assert_eq!(state(&routes, 0), State::Cooled);
    prober.round().await;
    assert_eq!(state(&routes, 0), State::Cooling(seconds(7)));
    // What the provider says of when it answers is heard.
    upstream.does("a", [fails_with(429, ("retry-after", "500"))]);
    prober.round().await;
    assert_eq!(state(&routes, 0), State::Cooling(seconds(500)));
}

#[tokio::test(start_paused = true)]
async fn those_that_are_well_are_asked_where_that_is_wanted() {
    let upstream = Upstream::default();
    upstream.does("a", [fails(500)]).does("b", [ok("")]);
    let cooldown = Cooldown::default().consecutive(Some(2));
    let group = group("g", &["a", "b"]).cooldown(cooldown).build().unwrap();
    let routes = routes([group]);
    let prober = Prober::new(routes.clone(), upstream.service());
    prober.round().await;
    assert_eq!(upstream.called().len(), 0);
    let prober = prober.all(true);
    prober.round().await;
    assert_eq!([0, 1].map(|index| state(&routes, index)), [State::Healthy; 2]);
    prober.round().await;
    assert!(matches!(state(&routes, 0), State::Cooling(_)));
    assert_eq!(state(&routes, 1), State::Healthy);
    assert_eq!(upstream.called(), ["a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn so_many_run_at_once_as_may_and_each_as_long_as_it_may() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&running), Arc::clone(&most));
    let service = service_fn(move |request: Request<Body>| {
        let (running, most) = (Arc::clone(&counted), Arc::clone(&peak));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let hangs = request.extensions().get::<Target>().expect("has a target").deployment() == "c";
            sleep(seconds(if hangs { 1000 } else { 3 })).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, BoxError>(Response::new(Body::from("{}")))
        }
    });
    let routes = cooling(&["a", "b", "c", "d", "e"]);
    let prober = Prober::new(routes.clone(), service).most(2).timeout(seconds(7));
    let start = Instant::now();
    prober.round().await;
    // a and b; c to its timeout, beside d and e.
    assert_eq!((most.load(Ordering::SeqCst), start.elapsed()), (2, seconds(10)));
    let well = [0, 1, 2, 3, 4].map(|index| state(&routes, index) == State::Healthy);
    assert_eq!(well, [true, true, false, true, true]);
    let failure = routes.groups()[0].deployments()[2].figures(Instant::now()).last_failure.unwrap();
    assert_eq!(failure.cause, Cause::Timeout);
}

#[tokio::test(start_paused = true)]
async fn each_is_asked_once_in_its_own_dialect_and_not_where_the_host_does_not_want_it() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        let id = request.extensions().get::<Target>().expect("has a target").deployment().to_owned();
        noted.lock().unwrap().push((id, request.uri().path().to_owned()));
        async { Ok::<_, BoxError>(Response::new(Body::from("{}"))) }
    });
    let claude =
        Target::new("anthropic", Dialect::Anthropic, "c", "http://upstream.test/v1/messages").unwrap();
    let both = deployment("a");
    let one = group("g", &["b"]).deployment(both.clone()).deployment(Deployment::new(claude.id("c")));
    let other = Group::new("h").deployment(both);
    let routes = routes([one.build().unwrap(), other.build().unwrap()]);
    let prober = Prober::new(routes, service).all(true);
    prober.round().await;
    let chat = "/v1/chat/completions".to_owned();
    let all =
        [("b".to_owned(), chat.clone()), ("a".to_owned(), chat), ("c".to_owned(), "/v1/messages".to_owned())];
    assert_eq!(*asked.lock().unwrap(), all);
    asked.lock().unwrap().clear();
    let own = |_: &Group, deployment: &Deployment| {
        (deployment.id() != "b").then(|| Request::post("/own").body(Body::empty()).expect("is a request"))
    };
    prober.request(own).round().await;
    let own = ["a", "c"].map(|id| (id.to_owned(), "/own".to_owned()));
    assert_eq!(*asked.lock().unwrap(), own);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_nothing_of_the_deployment_changes_nothing() {
    for round in 0..3 {
        let service = service_fn(move |_: Request<Body>| async move {
            let rejection = Rejection::new(Cause::RateLimit, "too many");
            match round {
                0 => Ok(rejection.into_response(Dialect::OpenAi)),
                1 => Err::<_, BoxError>(rejection.into()),
                // A wrong key cools nothing down, and is no answer.
                _ => Ok(Response::builder().status(401).body(Body::from("{}")).expect("is a response")),
            }
        });
        let routes = cooling(&["a"]);
        Prober::new(routes.clone(), service).round().await;
        assert_eq!(state(&routes, 0), State::Cooling(MINUTE), "{round}");
    }
    // A whole answer that is an error, and one that breaks off.
    let upstream = Upstream::default();
    upstream.does("a", [Act::Answer(200, vec![], r#"{"error":{"message":"overloaded"}}"#.to_owned())]);
    upstream.does("b", [Act::Breaks(vec!["{".to_owned()])]);
    let routes = cooling(&["a", "b"]);
    Prober::new(routes.clone(), upstream.service()).round().await;
    assert_eq!([0, 1].map(|index| state(&routes, index)), [State::Cooling(MINUTE); 2]);
}

#[tokio::test(start_paused = true)]
async fn who_says_when_to_come_again_is_not_probed_before() {
    let upstream = Upstream::default();
    upstream.does("a", [fails_with(429, ("retry-after", "30")), ok("")]);
    let routes = cooling(&["a"]);
    let prober = Prober::new(routes.clone(), upstream.service());
    sleep(seconds(40)).await;
    // It cools down without a hint, and the probe gets one that is longer than what is left.
    prober.round().await;
    assert_eq!(state(&routes, 0), State::Cooling(seconds(30)));
    sleep(seconds(29)).await;
    prober.round().await;
    assert_eq!((upstream.called().len(), state(&routes, 0)), (1, State::Cooling(seconds(1))));
    sleep(seconds(1)).await;
    prober.round().await;
    assert_eq!((upstream.called().len(), state(&routes, 0)), (2, State::Healthy));
}

#[tokio::test(start_paused = true)]
async fn nodes_do_not_probe_together() {
    for (draw, first) in
        [(0, seconds(5)), (1 << 63, seconds(10)), (u64::MAX, Duration::from_nanos(14_999_999_999))]
    {
        let upstream = Upstream::default();
        upstream.does("a", [ok("")]);
        let prober = Prober::new(cooling(&["a"]), upstream.service()).random(move || draw);
        let start = Instant::now();
        let _never = timeout(seconds(40), prober.run()).await.expect_err("never ends");
        let waited = upstream.times()[0] - start;
        assert!(waited.abs_diff(first) <= Duration::from_millis(1), "{waited:?} {first:?}");
    }
}
