//! Who is asked again, when, and what a caller is told in the end.

mod support;

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use ziggurat_core::Clock;
use ziggurat_route::{
    Cooldown, Group, GroupBuilder, Kind, List, MaxRetries, RetryPolicy, RouteLayer, Routes, Timeouts,
};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);
const HALF: Duration = Duration::from_millis(250);

/// Half of all jitter.
fn layer(routes: Routes) -> RouteLayer {
    RouteLayer::new(routes).random(|| 1 << 63)
}

fn of(groups: impl IntoIterator<Item = GroupBuilder>) -> RouteLayer {
    let add = |routes: ziggurat_route::RoutesBuilder, group: GroupBuilder| {
        routes.group(group.build().expect("is a group"))
    };
    layer(groups.into_iter().fold(Routes::builder(), add).build().expect("are routes"))
}

/// A group `g` that falls back to `h`.
fn with_fallback(first: GroupBuilder, second: GroupBuilder) -> RouteLayer {
    let [first, second] = [first, second].map(|group| group.build().expect("is a group"));
    let routes = Routes::builder().group(first).group(second).fall_back(List::General, "g", ["h"]);
    layer(routes.build().expect("are routes"))
}

fn never_cools(group: GroupBuilder) -> GroupBuilder {
    group.cooldown(Cooldown::disabled())
}

#[tokio::test(start_paused = true)]
async fn retries_wait_for_half_of_a_limit_that_doubles() {
    let upstream = Upstream::default();
    upstream.does("a", [fails(500)]);
    let retry = RetryPolicy::new(6);
    let got =
        call(&around(&of([never_cools(group("g", &["a"]).retry(retry))]), &upstream), request("g", false))
            .await;
    assert_eq!(got.status, 500);
    let times = upstream.times();
    let waits: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 4000]);
    let served = got.served.expect("was asked");
    assert_eq!((served.attempts, served.retries, served.fallbacks), (7, 6, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_did_wrong_is_asked_once_and_cools_nothing_down() {
    for service in [around, alone] {
        // A key, or a model's name, is the deployment's; what is wrong with a request is no failure of its.
        for (status, failures) in [(400, 0), (401, 20), (403, 20), (404, 20), (413, 0), (422, 0)] {
            let upstream = Upstream::default();
            upstream.does("a", [fails(status)]);
            let layer = of([group("g", &["a"])]);
            let service = service(&layer, &upstream);
            for done in 1..=20 {
                let got = call(&service, request("g", false)).await;
                assert_eq!((got.status, upstream.called().len()), (status, done), "{}", got.body);
            }
            let deployment = &layer.routes().groups()[0].deployments()[0];
            let figures = deployment.figures(Instant::now());
            assert_eq!(figures.state, ziggurat_route::State::Healthy, "{status}");
            assert_eq!((figures.failures, figures.in_flight), (failures, 0), "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_waited_for_in_all_forms_and_only_there() {
    const SINCE: Duration = Duration::from_secs(784_111_777);
    let clock = || SystemTime::UNIX_EPOCH + SINCE;
    let around = |layer: &_, upstream: &_| around_at(layer, upstream, SINCE);
    for (name, value, wait) in [
        ("retry-after", "1", Some(SECOND + HALF)),
        ("retry-after", "1.5", Some(SECOND * 3 / 2 + HALF)),
        ("retry-after-ms", "1500", Some(SECOND * 3 / 2 + HALF)),
        ("retry-after-ms", "0", Some(HALF)),
        ("retry-after", "60", Some(60 * SECOND + HALF)),
        ("retry-after", "61", None),
        ("retry-after", "120", None),
        ("retry-after", "1000000000", None),
        ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT", Some(20 * SECOND + HALF)),
        ("retry-after", "Sun, 06 Nov 1994 09:49:57 GMT", None),
        ("retry-after", "Sun, 06 Nov 1994 07:49:57 GMT", Some(HALF)),
        ("retry-after", "garbage", Some(HALF)),
        ("retry-after", "-5", Some(HALF)),
        ("retry-after", "NaN", Some(HALF)),
        ("retry-after", "inf", Some(HALF)),
    ] {
        for service in [&around as &dyn Fn(&_, &_) -> Service, &alone] {
            let upstream = Upstream::default();
            upstream.does("a", [fails_with(429, (name, value)), ok("Hello")]);
            let layer = of([never_cools(group("g", &["a"]))]).clock(Clock::new(clock));
            let got = call(&service(&layer, &upstream), request("g", false)).await;
            match wait {
                Some(wait) => assert_eq!((got.status, got.took), (200, wait), "{name}: {value}"),
                None => {
                    assert_eq!((got.status, got.took), (429, Duration::ZERO), "{name}: {value}");
                    // What is not waited for here, the caller may.
                    assert_eq!(got.headers[name], value);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_in_the_message_is_one() {
    for service in [around, alone] {
        let body = r#"{"error":{"message":"Rate limit reached. Please try again in 1.5s.","type":"requests","code":"rate_limit_exceeded"}}"#;
        let upstream = Upstream::default();
        upstream.does("a", [Act::Answer(429, vec![], body.to_owned()), ok("Hello")]);
        let got =
            call(&service(&of([never_cools(group("g", &["a"]))]), &upstream), request("g", false)).await;
        assert_eq!((got.status, got.took), (200, SECOND * 3 / 2 + HALF));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_does_not_fit_the_deadline_ends_the_call_at_once() {
    for (total, expected) in [(30, (200, 20 * SECOND + HALF)), (20, (429, Duration::ZERO))] {
        let upstream = Upstream::default();
        upstream.does("a", [fails_with(429, ("retry-after", "20")), ok("Hello")]);
        let timeouts = Timeouts::none().total(Duration::from_secs(total));
        let layer = of([never_cools(group("g", &["a"]).timeouts(timeouts))]);
        let got = call(&around(&layer, &upstream), request("g", false)).await;
        assert_eq!((got.status, got.took), expected);
        if got.status == 429 {
            assert_eq!(got.headers["retry-after"], "20");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_where_another_can_be_asked() {
    for act in [fails_with(429, ("retry-after", "30")), fails_with(503, ("retry-after", "2"))] {
        let upstream = Upstream::default();
        upstream.does("a", [act.clone()]).does("b", [ok("Hello")]);
        for layer in [of([group("g", &["a", "b"])]), with_fallback(group("g", &["a"]), group("h", &["b"]))] {
            let got = call(&around(&layer, &upstream), request("g", false)).await;
            assert_eq!((got.status, got.took), (200, Duration::ZERO), "{act:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_quota_is_asked_nothing_again_but_others_are() {
    let body = r#"{"error":{"message":"no","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let spent = Act::Answer(429, vec![("x-should-retry", "true".to_owned())], body.to_owned());
    for service in [around, alone] {
        let upstream = Upstream::default();
        upstream.does("a", [spent.clone()]).does("b", [ok("Hello")]);
        let many = RetryPolicy::new(5).times_for(Kind::RateLimit, 5);
        let layer = of([never_cools(group("g", &["a"]).retry(many.clone()))]);
        let got = call(&service(&layer, &upstream), request("g", false)).await;
        assert_eq!((got.status, upstream.called().len()), (429, 1), "{}", got.body);
        for layer in [
            of([group("g", &["a", "b"]).retry(many.clone())]),
            with_fallback(group("g", &["a"]).retry(many.clone()), group("h", &["b"])),
        ] {
            let before = upstream.called().len();
            let got = call(&service(&layer, &upstream), request("g", false)).await;
            assert_eq!((got.status, got.took), (200, Duration::ZERO));
            assert_eq!(upstream.called()[before..], ["a", "b"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_knows_best_whether_to_ask_again() {
    let cases = [
        (500, Some("false"), 1),
        (500, Some("true"), 3),
        (500, None, 3),
        (400, Some("true"), 3),
        (400, Some("maybe"), 1),
    ];
    for (status, should, attempts) in cases {
        for service in [around, alone] {
            let upstream = Upstream::default();
            let act =
                should.map_or_else(|| fails(status), |should| fails_with(status, ("x-should-retry", should)));
            upstream.does("a", [act]);
            let got =
                call(&service(&of([never_cools(group("g", &["a"]))]), &upstream), request("g", false)).await;
            assert_eq!((got.status, upstream.called().len()), (status, attempts), "{should:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_failure_has_its_own_count() {
    let retry = RetryPolicy::new(1)
        .times_for(Kind::RateLimit, 3)
        .times_for(Kind::Authentication, 2)
        .times_for(Kind::BadRequest, 4)
        .times_for(Kind::NotFound, 1)
        .times_for(Kind::Internal, 0)
        .times_for(Kind::Unavailable, 2)
        .times_for(Kind::BadGateway, 3);
    let expected = [(429, 4), (401, 3), (400, 5), (404, 2), (500, 1), (503, 3), (529, 3), (502, 4), (408, 2)];
    for (status, attempts) in expected {
        let upstream = Upstream::default();
        upstream.does("a", [fails(status)]);
        let layer = of([never_cools(group("g", &["a"]).retry(retry.clone()))]);
        let got = call(&around(&layer, &upstream), request("g", false)).await;
        assert_eq!((got.status, upstream.called().len()), (status, attempts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_can_lower_retries_and_timeouts_and_raise_neither() {
    for (wanted, attempts) in [(0, 1), (1, 2), (2, 3), (20, 3)] {
        let upstream = Upstream::default();
        upstream.does("a", [fails(500)]);
        let mut request = request("g", false);
        request.extensions_mut().insert(MaxRetries(wanted));
        call(&around(&of([never_cools(group("g", &["a"]))]), &upstream), request).await;
        assert_eq!(upstream.called().len(), attempts);
    }
    for (wanted, took) in [(1, SECOND), (2, 2 * SECOND), (20, 2 * SECOND)] {
        let upstream = Upstream::default();
        upstream.does("a", [Act::Hangs]);
        let layer = of([group("g", &["a"]).timeouts(Timeouts::none().total(2 * SECOND))]);
        let mut request = request("g", false);
        request.extensions_mut().insert(Timeouts::none().total(Duration::from_secs(wanted)));
        let got = call(&around(&layer, &upstream), request).await;
        assert_eq!((got.status, got.took), (504, took));
    }
}

#[tokio::test(start_paused = true)]
async fn the_count_is_that_of_the_deployment_that_failed() {
    for (own, expected) in [
        ([None, None], "ab"),
        ([None, Some(5)], "aba"),
        ([Some(5), None], "ab"),
        ([None, Some(0)], "ab"),
        ([Some(0), None], "a"),
        ([Some(2), Some(2)], "aba"),
    ] {
        let upstream = Upstream::default();
        let deployments = ["a", "b"].into_iter().zip(1..).zip(own).map(|((id, order), own)| {
            upstream.does(id, [fails(500)]);
            let made = deployment(id).order(order);
            if let Some(times) = own { made.retries(times) } else { made }
        });
        let group = Group::new("g").deployments(deployments).retry(RetryPolicy::new(1));
        let got = call(&around(&of([never_cools(group)]), &upstream), request("g", false)).await;
        assert_eq!((got.status, &*upstream.called().concat()), (500, expected), "{own:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_wherever_the_time_goes() {
    let late = |time| Act::After(time, Box::new(Act::Stalls(vec![role(), says("x")])));
    let bytes = answer("Hello").chars().map(String::from).collect();
    let words = std::iter::once(role()).chain((0..99).map(|_| says("x"))).collect();
    for (act, stream) in [
        (Act::Hangs, false),
        (Act::Hangs, true),
        (Act::Stalls(vec!["{".to_owned()]), false),
        (Act::Drips(SECOND / 2, bytes), false),
        (Act::Drips(SECOND * 3 / 10, words), true),
        (late(SECOND), true),
        (late(SECOND * 5 / 3), true),
    ] {
        for service in [around, alone] {
            let upstream = Upstream::default();
            upstream.does("a", [act.clone()]);
            let group = group("g", &["a"]).timeouts(Timeouts::none().total(2 * SECOND));
            let layer = of([never_cools(group.retry(RetryPolicy::new(9)))]);
            let got = call(&service(&layer, &upstream), request("g", stream)).await;
            let streams = got.body.contains('x');
            assert_eq!((got.status, streams), if streams { (200, true) } else { (504, false) }, "{act:?}");
            assert!(got.body.contains("total_timeout"), "{act:?} {}", got.body);
            assert_eq!((got.took, upstream.open()), (2 * SECOND, 0), "{act:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_are_down_each_is_asked_once_a_pass_and_the_last_cause_is_told() {
    let statuses = [("a", 500), ("b", 503), ("c", 502), ("d", 504), ("e", 500), ("f", 503)];
    let upstream = Upstream::default();
    for (id, status) in statuses {
        upstream.does(id, [fails(status)]);
    }
    let groups = [("g", ["a", "b"]), ("h", ["c", "d"]), ("i", ["e", "f"])];
    let routes = groups
        .into_iter()
        .fold(Routes::builder(), |routes, (name, ids)| {
            routes.group(group(name, &ids).retry(RetryPolicy::new(1)).build().expect("is a group"))
        })
        .fall_back(List::General, "g", ["h", "i"]);
    let got =
        call(&around(&layer(routes.build().expect("are routes")), &upstream), request("g", false)).await;
    assert_eq!((got.status, got.took), (503, Duration::ZERO));
    assert_eq!(upstream.called(), ["a", "b", "c", "d", "e", "f"]);
    let served = got.served.expect("was asked");
    assert_eq!((served.attempts, served.retries, served.fallbacks), (6, 1, 2));
    assert_eq!((served.target.expect("is known").deployment(), served.group.as_deref()), ("f", Some("i")));
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_leave_a_deployment_alone_and_one_call_tries_it_again() {
    let upstream = Upstream::default();
    upstream.does("a", [fails(500)]).does("b", [ok("Hello")]);
    let service = around(&of([group("g", &["a", "b"])]), &upstream);
    let asked = || upstream.called().iter().filter(|id| *id == "a").count();
    for _ in 0..20 {
        assert_eq!(call(&service, request("g", false)).await.status, 200);
    }
    assert_eq!(asked(), 5);
    for (wait, expected) in [(29, 5), (1, 6), (59, 6), (1, 7)] {
        tokio::time::sleep(wait * SECOND).await;
        for _ in 0..10 {
            assert_eq!(call(&service, request("g", false)).await.status, 200);
        }
        assert_eq!(asked(), expected);
    }
    // Well again, and slow: one call tries it, and the others go elsewhere until it has answered.
    upstream.does("a", [Act::After(SECOND, Box::new(ok("Back")))]);
    tokio::time::sleep(90 * SECOND).await;
    let calls = (0..10).map(|_| call(&service, request("g", false)));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|got| got.body.contains("Back")).count(), 1);
    assert_eq!(asked(), 8);
    assert!(call(&service, request("g", false)).await.body.contains("Back"));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_failures_meets_a_bounded_load() {
    let (one, three) = (&["a"][..], &["a", "b", "c"][..]);
    let cooling = [Cooldown::default(), Cooldown::disabled()];
    let [default, never] = &cooling;
    for (ids, status, cooldown, seconds) in
        [(one, 500, default, 60), (three, 500, never, 60), (one, 500, never, 9), (three, 429, default, 9)]
    {
        let upstream = Upstream::default();
        for id in ids {
            upstream.does(id, [fails(status)]);
        }
        let layer = of([group("g", ids).cooldown(cooldown.clone())]);
        let service = around(&layer, &upstream);
        let mut calls = Vec::new();
        for _ in 0..seconds * 100 {
            let service = service.clone();
            calls.push(tokio::spawn(async move { call(&service, request("g", false)).await.status }));
            tokio::time::sleep(SECOND / 100).await;
        }
        for call in calls {
            assert_eq!(call.await.expect("ends"), status);
        }
        let times = upstream.times();
        // 30 retries are there from the start, and each second brings 3.
        let (least, most) = (seconds * 100, seconds * 100 + 30 + 3 * seconds);
        assert!((least..=most).contains(&times.len()), "{ids:?} {status} {cooldown:?} {}", times.len());
        let mut each = vec![0; seconds + 10];
        for at in &times {
            each[usize::try_from((*at - times[0]).as_secs()).expect("is short")] += 1;
        }
        assert!(each[0] <= 133 && each[1..].iter().all(|load| *load <= 104), "{each:?}");
    }
}
