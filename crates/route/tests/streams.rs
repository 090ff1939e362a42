//! What becomes of a stream that fails at whatever event, in both dialects.

mod support;

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;
use ziggurat_core::{Dialect, Outcome};
use ziggurat_route::{Deployment, Group, Ordered, RetryPolicy, RouteLayer, Routes, Timeouts};
use ziggurat_testkit::samples::DIALECTS;

use crate::support::{
    meter::{Listener, heard},
    sse::*,
    *,
};

/// Who calls, what the deployments speak, and what is around them.
struct Case {
    caller: Dialect,
    deployments: [Deployment; 2],
    service: Service,
    upstream: Upstream,
}

/// Callers of both dialects, with deployments of both: where a caller's is not theirs, with a translation between them.
fn cases() -> Vec<([Dialect; 3], bool)> {
    let mut cases = Vec::new();
    for caller in DIALECTS {
        cases.push(([caller; 3], false));
        for first in DIALECTS {
            cases.extend(DIALECTS.map(|second| ([caller, first, second], true)));
        }
    }
    cases
}

fn case([caller, first, second]: [Dialect; 3], translates: bool, timeouts: Timeouts) -> Case {
    let deployments = [target_in(first, "a"), target_in(second, "b")].map(Deployment::new);
    let group = Group::new("g").deployments(deployments.clone()).strategy(Ordered).timeouts(timeouts);
    let only = Group::new("only").deployment(deployments[0].clone()).retry(RetryPolicy::new(0));
    let routes = [group, only].into_iter().fold(Routes::builder(), |routes, group| {
        routes.group(group.timeouts(timeouts).build().expect("is a group"))
    });
    let layer = RouteLayer::new(routes.build().expect("are routes")).random(|| 1 << 63);
    let upstream = Upstream::default();
    let service = if translates { around(&layer, &upstream) } else { alone(&layer, &upstream) };
    Case { caller, deployments, service, upstream }
}

impl Case {
    async fn call(&self) -> Got {
        call(&self.service, request_in(self.caller, "g", true)).await
    }

    fn nothing_is_held(&self) {
        assert_eq!(self.upstream.open(), 0, "streams of the upstream's");
        for deployment in &self.deployments {
            assert_eq!(deployment.figures(Instant::now()).in_flight, 0, "{}", deployment.id());
        }
    }
}

/// What a stream of these events comes to, cut into pieces of so many bytes.
fn ways(events: &[String], dialect: Dialect, size: usize) -> [Act; 4] {
    let with_error: Vec<_> = events.iter().cloned().chain([overloaded(dialect)]).collect();
    [
        Act::Stream(cut(events, size)),
        Act::Breaks(cut(events, size)),
        Act::Stream(cut(&with_error, size)),
        Act::Stalls(cut(events, size)),
    ]
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_stream_fails_over_ahead_of_its_first_content_and_not_behind_it() {
    let timeouts = Timeouts::none().first_token(SECOND).idle(SECOND);
    for (dialects, translates) in cases() {
        let [caller, first, second] = dialects;
        let (all, others) = (events(first), events(second));
        let [begun, more, finished] = marks(first);
        for size in [0, 1, 7] {
            for at in 0..finished {
                for (way, act) in ways(&all[..at], first, size).into_iter().enumerate() {
                    let case = case(dialects, translates, timeouts);
                    case.upstream.does("a", [act]).does("b", [Act::Stream(cut(&others, size))]);
                    let got = case.call().await;
                    let what = format!("{dialects:?} {translates} {size} {at} {way} {}", got.body);
                    let expected = match at {
                        at if at < begun => Seen::whole("Hello"),
                        at if at < more => Seen::broken("Hel"),
                        _ => Seen::broken("Hello"),
                    };
                    assert_eq!((got.status, Seen::of(caller, &got.body)), (200, expected), "{what}");
                    let called: &[&str] = if at < begun { &["a", "b"] } else { &["a"] };
                    assert_eq!(case.upstream.called(), called, "{what}");
                    case.nothing_is_held();
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_is_told_byte_for_byte_as_if_it_had_been_asked_alone() {
    for (dialects, translates) in cases() {
        let [_, first, second] = dialects;
        let alone = case(dialects, translates, Timeouts::none());
        alone.upstream.does("a", [fails(500)]).does("b", [Act::Stream(events(second))]);
        let expected = alone.call().await.body;
        for at in 0..marks(first)[0] {
            let case = case(dialects, translates, Timeouts::none());
            let broken = Act::Breaks(events(first)[..at].to_vec());
            case.upstream.does("a", [broken]).does("b", [Act::Stream(events(second))]);
            assert_eq!(case.call().await.body, expected, "{dialects:?} {translates} {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_openais_that_said_why_it_ends_is_whole() {
    for (dialects, translates) in cases() {
        let [caller, first, _] = dialects;
        if first != Dialect::OpenAi {
            continue;
        }
        let case = case(dialects, translates, Timeouts::none());
        case.upstream.does("a", [Act::Stream(events(first)[..marks(first)[2]].to_vec())]);
        let got = case.call().await;
        assert_eq!(
            Seen::of(caller, &got.body),
            Seen::whole("Hello"),
            "{dialects:?} {translates} {}",
            got.body
        );
        assert_eq!(case.deployments[0].figures(Instant::now()).successes, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_word_is_an_answer() {
    for (dialects, translates) in cases() {
        let [caller, first, _] = dialects;
        for size in [0, 1, 7] {
            let case = case(dialects, translates, Timeouts::none());
            case.upstream.does("a", [Act::Stream(cut(&empty(first), size))]);
            let got = case.call().await;
            assert_eq!(
                Seen::of(caller, &got.body),
                Seen::whole(""),
                "{dialects:?} {translates} {}",
                got.body
            );
            assert_eq!(case.upstream.called(), ["a"]);
            assert_eq!(case.deployments[0].figures(Instant::now()).successes, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tool_calls_and_reasoning_are_content() {
    let tool =
        r#"{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}"#;
    let chunks = [chunk(tool, None), chunk(r#"{"reasoning_content":"Hm"}"#, None)];
    let blocks = [
        vec![block_start(r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#)],
        vec![
            block_start(r#"{"type":"thinking","thinking":"","signature":""}"#),
            delta(r#"{"type":"thinking_delta","thinking":"Hm"}"#),
        ],
    ];
    for (dialects, translates) in cases() {
        let [caller, first, _] = dialects;
        let beginnings = match first {
            Dialect::Anthropic => blocks.clone().map(|block| [vec![message_start()], block].concat()),
            _ => chunks.clone().map(|chunk| vec![role(), chunk]),
        };
        for beginning in beginnings {
            let case = case(dialects, translates, Timeouts::none());
            case.upstream.does("a", [Act::Breaks(beginning.clone())]);
            let got = case.call().await;
            let what = format!("{dialects:?} {translates} {beginning:?} {}", got.body);
            assert_eq!((got.status, Seen::of(caller, &got.body)), (200, Seen::broken("")), "{what}");
            assert_eq!(case.upstream.called(), ["a"], "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_ahead_of_content_has_the_status_of_its_cause_where_nobody_is_left() {
    for (dialects, translates) in cases() {
        let [caller, first, _] = dialects;
        let none = [Dialect::OpenAi, Dialect::Anthropic].map(|dialect| (dialect, 502));
        let overload = [(Dialect::OpenAi, 503), (Dialect::Anthropic, 529)];
        for preamble in [0, 1] {
            let preamble = &events(first)[..preamble];
            for (act, statuses) in ways(preamble, first, 0).into_iter().zip([none, none, overload]) {
                let case = case(dialects, translates, Timeouts::none());
                case.upstream.does("a", [act.clone()]);
                let got = call(&case.service, request_in(caller, "only", true)).await;
                let what = format!("{dialects:?} {translates} {act:?} {}", got.body);
                assert!(statuses.contains(&(caller, got.status)), "{what}");
                assert_eq!(got.headers["content-type"], "application/json", "{what}");
                let json: serde_json::Value = serde_json::from_str(&got.body).expect("is JSON");
                assert!(json["error"]["message"].is_string(), "{what}");
                case.nothing_is_held();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_fails_over_and_is_a_502_where_nobody_is_left() {
    for (dialects, translates) in cases() {
        let [caller, _, second] = dialects;
        for body in ["<html>", "", r#"{"error":{"message":"no","type":"server_error"}}"#] {
            let act = Act::Answer(200, vec![], body.to_owned());
            let case = case(dialects, translates, Timeouts::none());
            case.upstream.does("a", [act.clone()]).does("b", [Act::Stream(events(second))]);
            let got = case.call().await;
            assert_eq!(Seen::of(caller, &got.body), Seen::whole("Hello"), "{dialects:?} {translates} {body}");
            let got = call(&case.service, request_in(caller, "only", true)).await;
            assert!(matches!(got.status, 500 | 502), "{dialects:?} {translates} {body} {got:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_head_goes_out_without_a_preamble_and_fails_over_behind_it() {
    for (dialects, translates) in cases() {
        let [caller, first, second] = dialects;
        let case = case(dialects, translates, Timeouts::none().first_token(7 * SECOND));
        case.upstream.does("a", [Act::Stalls(events(first)[..1].to_vec())]);
        case.upstream.does("b", [Act::After(SECOND, Box::new(Act::Stream(events(second))))]);
        let got = case.call().await;
        assert_eq!((got.status, got.head, got.took), (200, 5 * SECOND, 8 * SECOND));
        let rest = got.body.strip_prefix(": waiting for the provider\n\n").expect("begins with a comment");
        assert_eq!(Seen::of(caller, rest), Seen::whole("Hello"), "{dialects:?} {translates} {rest}");
        assert!(!rest.contains("waiting"), "{rest}");
        case.nothing_is_held();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_behind_a_held_head_is_told_in_one_event() {
    for (dialects, translates) in cases() {
        let [caller, first, _] = dialects;
        let case = case(dialects, translates, Timeouts::none().first_token(12 * SECOND));
        case.upstream.does("a", [Act::Stalls(events(first)[..1].to_vec())]);
        let got = call(&case.service, request_in(caller, "only", true)).await;
        assert_eq!((got.status, got.head, got.took), (200, 5 * SECOND, 12 * SECOND));
        let rest = got.body.strip_prefix(&": waiting for the provider\n\n".repeat(2)).expect("is commented");
        let expected = Seen { preambles: 0, ..Seen::broken("") };
        assert_eq!(Seen::of(caller, rest), expected, "{dialects:?} {translates} {rest}");
        case.nothing_is_held();
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_hold_comments_come_but_once_a_second() {
    let routes = Routes::builder().group(group("g", &["a"]).build().expect("is a group")).build();
    let layer = RouteLayer::new(routes.expect("are routes")).hold(Duration::ZERO);
    let upstream = Upstream::default();
    upstream.does("a", [Act::After(SECOND * 5 / 2, Box::new(stream(&["Hi"])))]);
    let got = call(&around(&layer, &upstream), request("g", true)).await;
    assert_eq!((got.head, got.took), (Duration::ZERO, SECOND * 5 / 2));
    assert_eq!(got.body.matches(": waiting").count(), 3);
    // Google's callers get the head alone, until there is an answer.
    upstream.does("a", [Act::After(SECOND * 5 / 2, Box::new(stream(&["Hi"])))]);
    let asked = http::Request::post("/v1beta/models/g:streamGenerateContent")
        .body(ziggurat_core::Body::from(r#"{"contents":[]}"#));
    let got = call(&around(&layer, &upstream), asked.expect("is a request")).await;
    assert_eq!(
        (got.head, got.took, got.body.matches(": waiting").count()),
        (Duration::ZERO, SECOND * 5 / 2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_lets_all_go_and_the_end_is_told_once() {
    for (dialects, translates) in cases() {
        let [caller, first, _] = dialects;
        for left in 0..8 {
            let case = case(dialects, translates, Timeouts::none());
            let listener = Listener::default();
            case.upstream.does("a", [Act::Stalls(events(first)[..marks(first)[1]].to_vec())]);
            let service = heard(&case.service, &listener);
            let response = service.oneshot(request_in(caller, "g", true)).await.expect("answers");
            let mut body = response.into_body();
            for _ in 0..left {
                // Nothing more comes behind the second content.
                let frame = tokio::time::timeout(SECOND, body.frame()).await;
                assert!(frame.is_err() || matches!(frame, Ok(Some(Ok(_)))));
            }
            assert_eq!((listener.ends(), case.upstream.open()), (0, 1));
            drop(body);
            assert_eq!(listener.attempts(), [("a".to_owned(), Outcome::Cancelled)]);
            case.nothing_is_held();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_a_held_head_lets_all_go() {
    for (dialects, translates) in cases() {
        let [caller, first, _] = dialects;
        for reads in [false, true] {
            let case = case(dialects, translates, Timeouts::none());
            let listener = Listener::default();
            case.upstream.does("a", [Act::Stalls(events(first)[..1].to_vec())]);
            let service = heard(&case.service, &listener);
            let mut response = service.oneshot(request_in(caller, "g", true)).await.expect("answers");
            if reads {
                assert!(matches!(response.body_mut().frame().await, Some(Ok(_))));
            }
            assert_eq!((listener.ends(), case.upstream.open()), (0, 1));
            drop(response);
            assert_eq!(listener.attempts(), [("a".to_owned(), Outcome::Cancelled)]);
            case.nothing_is_held();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_providers_silence_counts_only_while_the_caller_reads() {
    for translates in [false, true] {
        let case = case([Dialect::OpenAi; 3], translates, Timeouts::none().idle(SECOND));
        case.upstream.does("a", [Act::Stalls(events(Dialect::OpenAi)[..3].to_vec())]);
        let response = case.service.clone().oneshot(request("g", true)).await.expect("answers");
        let mut body = response.into_body();
        let mut said = String::new();
        for _ in 0..3 {
            tokio::time::sleep(9 * SECOND).await;
            let frame = body.frame().await.expect("goes on").expect("does not fail");
            said.push_str(std::str::from_utf8(frame.data_ref().expect("is data")).expect("is UTF-8"));
        }
        assert_eq!(Seen::of(Dialect::OpenAi, &said).text, "Hello");
        tokio::time::sleep(9 * SECOND).await;
        let start = Instant::now();
        let last = body.collect().await.expect("does not fail").to_bytes();
        assert_eq!(start.elapsed(), SECOND);
        assert!(std::str::from_utf8(&last).is_ok_and(|last| last.contains("idle_timeout")));
        case.nothing_is_held();
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_stream_that_never_pauses() {
    let case = case([Dialect::OpenAi; 3], true, Timeouts::none().total(2 * SECOND));
    let words = (0..100).map(|_| says("x"));
    case.upstream.does("a", [Act::Stream([role()].into_iter().chain(words).collect())]);
    let mut body = case.service.clone().oneshot(request("g", true)).await.expect("answers").into_body();
    let (start, mut said) = (Instant::now(), String::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("does not fail");
        said.push_str(std::str::from_utf8(frame.data_ref().expect("is data")).expect("is UTF-8"));
        // Whatever time it takes the caller: the upstream has its next event ready.
        tokio::time::advance(SECOND / 10).await;
    }
    // The error, behind the piece that was read then.
    assert_eq!(start.elapsed(), 2 * SECOND + 2 * SECOND / 10);
    assert!(said.contains("total_timeout"), "{said}");
    assert_eq!(Seen::of(Dialect::OpenAi, &said).errors, 1);
    case.nothing_is_held();
}

#[tokio::test(start_paused = true)]
async fn a_flood_without_content_is_not_kept() {
    let case = case([Dialect::OpenAi; 3], false, Timeouts::none().first_token(SECOND));
    // A megabyte, with what it takes to hold it, and much less without.
    case.upstream.does("a", [Act::Stalls(vec![": x\n\n".to_owned(); 20_000])]);
    let start = Instant::now();
    let response = case.service.clone().oneshot(request("g", true)).await.expect("answers");
    assert_eq!((response.status().as_u16(), start.elapsed()), (200, Duration::ZERO));
    drop(response);
    case.nothing_is_held();
}
