//! Which attempts are made, and what the caller gets of them.

mod support;

use std::time::Duration;

use http_body_util::BodyExt;
use tower::ServiceExt;
use ziggurat_route::{Left, List, RouteLayer, Routes, Timeouts};

use crate::support::*;

fn routes(groups: &[(&str, &[&str])], fallbacks: &[(&str, &[&str])]) -> RouteLayer {
    let mut builder = Routes::builder();
    for (name, ids) in groups {
        builder = builder.group(group(name, ids).build().expect("is a group"));
    }
    for (from, to) in fallbacks {
        builder = builder.fall_back(List::General, *from, to.iter().copied());
    }
    RouteLayer::new(builder.build().expect("are routes")).random(|| 1 << 63)
}

#[tokio::test(start_paused = true)]
async fn another_deployment_answers_at_once_where_one_fails() {
    for service in [around, alone] {
        let upstream = Upstream::default();
        upstream.does("a", [fails(500)]).does("b", [ok("Hello")]);
        let layer = routes(&[("g", &["a", "b"])], &[]);
        let got = call(&service(&layer, &upstream), request("g", false)).await;
        assert_eq!(
            (got.status, got.body.as_str(), got.took),
            (200, answer("Hello").as_str(), Duration::ZERO)
        );
        assert_eq!(upstream.called(), ["a", "b"]);
        let served = got.served.unwrap();
        assert_eq!((served.attempts, served.retries, served.fallbacks), (2, 1, 0));
        assert_eq!(served.target.unwrap().deployment(), "b");
        assert_eq!(served.group.as_deref(), Some("g"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_group_behind_answers_where_one_has_failed_to() {
    for service in [around, alone] {
        let upstream = Upstream::default();
        upstream.does("a", [fails(500)]).does("b", [ok("Hello")]);
        let layer = routes(&[("g", &["a"]), ("h", &["b"])], &[("g", &["h"])]);
        let got = call(&service(&layer, &upstream), request("g", false)).await;
        assert_eq!((got.status, got.body), (200, answer("Hello")));
        assert_eq!(upstream.called().last().map(String::as_str), Some("b"));
        let served = got.served.unwrap();
        assert_eq!((served.fallbacks, served.group.as_deref()), (1, Some("h")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_request_is_passed_on_at_once() {
    for (status, service) in
        [400, 413, 422].into_iter().flat_map(|status| [(status, around as fn(&_, &_) -> _), (status, alone)])
    {
        let upstream = Upstream::default();
        upstream.does("a", [fails(status)]).does("b", [ok("Hello")]);
        let layer = routes(&[("g", &["a"]), ("h", &["b"])], &[("g", &["h"])]);
        let got = call(&service(&layer, &upstream), request("g", false)).await;
        assert_eq!((got.status, upstream.called()), (status, vec!["a".to_owned()]), "{}", got.body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_is_no_answer_is_another_deployments() {
    for service in [around, alone] {
        for body in ["<html>", r#"{"error":{"message":"overloaded"}}"#, r#"{"choices":["#, ""] {
            let upstream = Upstream::default();
            upstream.does("a", [Act::Answer(200, vec![], body.to_owned())]).does("b", [ok("Hello")]);
            let got =
                call(&service(&routes(&[("g", &["a", "b"])], &[]), &upstream), request("g", false)).await;
            assert_eq!((got.status, got.body), (200, answer("Hello")), "{body}");
            assert_eq!(upstream.called(), ["a", "b"], "{body}");
        }
        let upstream = Upstream::default();
        upstream.does("a", [Act::Answer(200, vec![], "<html>".to_owned())]);
        let got = call(&service(&routes(&[("g", &["a"])], &[]), &upstream), request("g", false)).await;
        assert_eq!(got.status, 502, "{}", got.body);
        assert!(got.body.starts_with(r#"{"error":"#), "{}", got.body);
        assert_eq!(got.served.unwrap().target.unwrap().deployment(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_ahead_of_its_first_content_is_another_deployments() {
    for service in [around, alone] {
        for act in [
            Act::Stream(vec![]),
            Act::Stream(vec![role()]),
            Act::Breaks(vec![role()]),
            Act::Stream(vec!["data: {\"error\":{\"message\":\"overloaded\"}}\n\n".to_owned()]),
            Act::Stream(vec![role(), "data: {\"error\":{\"message\":\"overloaded\"}}\n\n".to_owned()]),
            Act::Answer(200, vec![], "<html>".to_owned()),
            Act::Refuses,
        ] {
            let upstream = Upstream::default();
            upstream.does("a", [act.clone()]).does("b", [stream(&["Hel", "lo"])]);
            let layer = routes(&[("g", &["a", "b"])], &[]);
            let got = call(&service(&layer, &upstream), request("g", true)).await;
            assert_eq!(got.status, 200, "{act:?} {}", got.body);
            let expected = [role(), says("Hel"), says("lo")].concat() + &ends().concat();
            assert_eq!(got.body, expected, "{act:?}");
            assert_eq!(upstream.called(), ["a", "b"], "{act:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_behind_its_first_content_ends_in_one_error() {
    for service in [around, alone] {
        let upstream = Upstream::default();
        upstream.does("a", [Act::Breaks(vec![role(), says("Hel")])]).does("b", [stream(&["Hel", "lo"])]);
        let layer = routes(&[("g", &["a", "b"])], &[]);
        let got = call(&service(&layer, &upstream), request("g", true)).await;
        assert_eq!(got.status, 200);
        let rest = got.body.strip_prefix(&([role(), says("Hel")].concat())).unwrap();
        assert!(rest.starts_with("data: {\"error\":") && !got.body.contains("[DONE]"), "{rest}");
        assert_eq!(upstream.called(), ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn each_timeout_says_which_it_was() {
    let second = Duration::from_secs(1);
    let none = Timeouts::none();
    let slow = || Act::Stalls(vec![role(), says("Hel")]);
    for (timeouts, act, code) in [
        (none.first_byte(second), Act::Hangs, "first_byte_timeout"),
        (none.first_token(second), Act::Stalls(vec![role()]), "first_token_timeout"),
        (none.idle(second), slow(), "idle_timeout"),
        (none.attempt(second), slow(), "attempt_timeout"),
        (none.total(second), slow(), "total_timeout"),
        (none.total(second), Act::Hangs, "total_timeout"),
    ] {
        for service in [around, alone] {
            let upstream = Upstream::default();
            upstream.does("a", [act.clone()]);
            let group = group("g", &["a"]).retry(ziggurat_route::RetryPolicy::new(0)).timeouts(timeouts);
            let routes = Routes::builder().group(group.build().unwrap()).build().unwrap();
            let got = call(&service(&RouteLayer::new(routes), &upstream), request("g", true)).await;
            assert_eq!(got.took, second, "{code}");
            assert!(got.body.contains(code), "{code} {}", got.body);
            let begun = got.body.contains("Hel");
            assert_eq!(got.status, if begun { 200 } else { 504 }, "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_was_read_is_given_on_ahead_of_the_timeout() {
    for service in [around, alone] {
        let upstream = Upstream::default();
        let chunks = vec![role(), says("Hel"), says("lo"), says("!")];
        upstream.does("a", [Act::Stream(chunks)]);
        let timeouts = Timeouts::none().total(Duration::from_secs(1));
        let group = group("g", &["a"]).timeouts(timeouts).build().unwrap();
        let layer = RouteLayer::new(Routes::builder().group(group).build().unwrap());
        let response = service(&layer, &upstream).oneshot(request("g", true)).await.unwrap();
        let mut body = response.into_body();
        let mut got = String::new();
        while let Some(frame) = body.frame().await {
            got.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
            if got.ends_with(&says("Hel")) {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
        let rest = got.strip_prefix(&[role(), says("Hel"), says("lo")].concat()).expect(&got);
        assert!(rest.starts_with("data: {\"error\":") && rest.contains("total_timeout"), "{rest}");
        assert_eq!(rest.matches("data: ").count(), 1, "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempt_that_runs_when_the_caller_leaves_is_the_last() {
    for (service, stream) in
        [(around as fn(&_, &_) -> _, false), (around, true), (alone, false), (alone, true)]
    {
        let upstream = Upstream::default();
        let slow = Act::After(Duration::from_secs(2), Box::new(fails(500)));
        upstream.does("a", [slow]).does("b", [ok("Hello")]).does("c", [ok("Hello")]);
        let g = group("g", &["a", "b"]).hedge_after(Duration::from_millis(1500)).build().unwrap();
        let all = Routes::builder().group(g).group(group("h", &["c"]).build().unwrap());
        let layer = RouteLayer::new(all.fall_back(List::General, "g", ["h"]).build().unwrap());
        let left = Left::default();
        let mut request = request("g", stream);
        request.extensions_mut().insert(left.clone());
        let leaves = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            left.say();
        };
        let service = service(&layer, &upstream);
        let (got, ()) = tokio::join!(call(&service, request), leaves);
        assert_eq!((got.status, got.took), (500, Duration::from_secs(2)), "{}", got.body);
        assert_eq!(upstream.called(), ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_goes_out_after_a_while_and_attempts_go_on() {
    for service in [around, alone] {
        let upstream = Upstream::default();
        let slow = Act::After(Duration::from_secs(7), Box::new(fails(500)));
        upstream.does("a", [slow]).does("b", [Act::After(Duration::from_secs(7), Box::new(stream(&["Hi"])))]);
        let layer = routes(&[("g", &["a", "b"])], &[]);
        let got = call(&service(&layer, &upstream), request("g", true)).await;
        assert_eq!((got.status, got.head, got.took), (200, Duration::from_secs(5), Duration::from_secs(14)));
        assert!(got.served.is_none());
        let comment = ": waiting for the provider\n\n";
        assert_eq!(got.body, comment.repeat(2) + &[role(), says("Hi")].concat() + &ends().concat());
    }
}

#[tokio::test(start_paused = true)]
async fn who_will_not_wait_is_told_so_and_no_deployment_is_to_blame() {
    let limit = Timeouts::none().first_token(Duration::from_secs(1)).idle(Duration::from_secs(1));
    for (act, callers) in [
        (Act::Stalls(vec![role()]), true),
        (Act::Stalls(vec![role()]), false),
        (Act::Stalls(vec![role(), says("Hel")]), true),
        (Act::Stalls(vec![role(), says("Hel")]), false),
    ] {
        for service in [around, alone] {
            let upstream = Upstream::default();
            upstream.does("a", [act.clone()]).does("b", [act.clone()]);
            let deployments = ["a", "b"].map(deployment);
            let mut group = ziggurat_route::Group::new("g").deployments(deployments.clone());
            group = group.strategy(ziggurat_route::Ordered).retry(ziggurat_route::RetryPolicy::new(1));
            let mut asked = request("g", true);
            if callers {
                asked.extensions_mut().insert(limit);
            } else {
                group = group.timeouts(limit);
            }
            let routes = Routes::builder().group(group.build().unwrap()).build().unwrap();
            let got = call(&service(&RouteLayer::new(routes), &upstream), asked).await;
            assert!(got.body.contains("_timeout"), "{}", got.body);
            let failures = deployments.map(|it| it.figures(tokio::time::Instant::now()).failures);
            let begun = got.body.contains("Hel");
            let expected = match (callers, begun) {
                (true, _) => [0, 0],
                (false, true) => [1, 0],
                (false, false) => [1, 1],
            };
            assert_eq!((failures, upstream.called().len()), (expected, if callers || begun { 1 } else { 2 }));
        }
    }
}
