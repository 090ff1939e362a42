//! What becomes of a stream that has failed in its middle, where another deployment goes on with it.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use ziggurat_core::{Body, Dialect, Outcome, Principal};
use ziggurat_route::{Deployment, Group, List, Ordered, RetryPolicy, RouteLayer, Routes, Timeouts};
use ziggurat_testkit::{
    conformance::{Check, Conformance},
    samples::{self, DIALECTS},
};

use crate::support::{
    meter::{Listener, heard},
    sse::*,
    *,
};

const COMMENT: &str = ": continued on another deployment\n\n";

/// The events of a stream with these words, of another id than [`events`] are.
fn words(dialect: Dialect, words: &[&str]) -> Vec<String> {
    let all = events(dialect);
    let [begin, _, end] = marks(dialect);
    let other = |event: &String| {
        event.replace(r#""id":"c""#, r#""id":"d""#).replace(r#""id":"msg""#, r#""id":"other""#)
    };
    let says = words.iter().map(|word| match dialect {
        Dialect::Anthropic => delta(&format!(r#"{{"type":"text_delta","text":"{word}"}}"#)),
        _ => says(word),
    });
    // What closes the block stands ahead of the reason why it ends.
    let end = if dialect == Dialect::Anthropic { end - 2 } else { end - 1 };
    let says = says.map(|event| other(&event)).collect::<Vec<_>>();
    all[..begin - 1].iter().map(other).chain(says).chain(all[end..].iter().map(other)).collect()
}

/// A beginning that says these words.
fn begins(dialect: Dialect, said: &[&str]) -> Vec<String> {
    let mut events = words(dialect, said);
    events.truncate(marks(dialect)[0] - 1 + said.len());
    events
}

fn goes_on(dialect: Dialect, id: &str) -> Deployment {
    Deployment::new(target_in(dialect, id)).prefill(true)
}

fn layer(group: ziggurat_route::GroupBuilder) -> RouteLayer {
    let routes = Routes::builder().group(group.build().expect("is a group")).build().expect("are routes");
    RouteLayer::new(routes).random(|| 1 << 63)
}

/// Two deployments, of which the second can go on.
fn two([first, second]: [Dialect; 2]) -> ziggurat_route::GroupBuilder {
    let first = Deployment::new(target_in(first, "a"));
    let group = Group::new("g").deployment(first).deployment(goes_on(second, "b")).strategy(Ordered);
    group.continue_streams(true)
}

/// The one answer that a caller makes of a stream; ids of all of its chunks.
fn seen(dialect: Dialect, body: &str) -> (Seen, Vec<String>) {
    let mut ids = Vec::new();
    let mut blocks = Vec::new();
    for data in body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
        let json: Value = serde_json::from_str(data).expect("is JSON");
        ids.extend(json["id"].as_str().or(json["message"]["id"].as_str()).map(str::to_owned));
        if json["type"].as_str().is_some_and(|kind| kind.starts_with("content_block")) {
            assert_eq!(json["index"], 0, "{data}");
            blocks.extend(json["type"].as_str().map(str::to_owned));
        }
    }
    ids.dedup();
    blocks.dedup();
    if dialect == Dialect::Anthropic {
        assert_eq!(blocks, ["content_block_start", "content_block_delta", "content_block_stop"], "{body}");
    }
    (Seen::of(dialect, body), ids)
}

/// What the conversation ends with that a deployment was given.
fn last_message(body: &str) -> Value {
    let json: Value = serde_json::from_str(body).expect("is JSON");
    json["messages"].as_array().and_then(|all| all.last()).expect("is a message").clone()
}

fn content(message: &Value) -> &str {
    message["content"].as_str().or(message["content"][0]["text"].as_str()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn no_text_is_lost_or_said_twice_wherever_it_breaks_however_it_is_cut() {
    let all = ["Hel", "lo", " wor", "ld", "!"];
    for caller in DIALECTS {
        for first in DIALECTS {
            for second in DIALECTS {
                for alone in [true, false] {
                    if alone && [first, second] != [caller; 2] {
                        continue;
                    }
                    for (broken, size) in
                        (1..all.len()).flat_map(|at| [0, 1, 7, 100_000].map(|size| (at, size)))
                    {
                        let upstream = Upstream::default();
                        upstream.does("a", [Act::Breaks(cut(&begins(first, &all[..broken]), size))]);
                        upstream.does("b", [Act::Stream(cut(&words(second, &all[broken..]), size))]);
                        let layer = layer(two([first, second]));
                        let service = if alone { support::alone } else { around }(&layer, &upstream);
                        let got = call(&service, request_in(caller, "g", true)).await;
                        let what = format!("{caller:?} {first:?} {second:?} {broken} {size} {}", got.body);
                        assert_eq!(got.status, 200, "{what}");
                        let (said, ids) = seen(caller, &got.body);
                        assert_eq!((said, ids.len()), (Seen::whole("Hello world!"), 1), "{what}");
                        assert_eq!(got.body.matches(COMMENT).count(), 1, "{what}");
                        assert_eq!(upstream.called(), ["a", "b"]);
                        let message = last_message(&upstream.bodies()[1]);
                        assert_eq!(
                            (message["role"].as_str(), content(&message)),
                            (Some("assistant"), &*all[..broken].concat())
                        );
                        assert_eq!(upstream.open(), 0);
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_failure_of_the_provider_is_gone_on_from_and_paid_for() {
    let second = Duration::from_secs(1);
    let told = Arc::new(Mutex::new(Vec::new()));
    for dialect in DIALECTS {
        let begun = || begins(dialect, &["Hel"]);
        let error = [begun(), vec![overloaded(dialect)]].concat();
        for (act, outcome) in [
            (Act::Breaks(begun()), Outcome::Truncated),
            (Act::Stream(begun()), Outcome::Truncated),
            (Act::Stream(error), Outcome::Failed),
            (Act::Stalls(begun()), Outcome::Cancelled),
        ] {
            let upstream = Upstream::default();
            upstream.does("a", [act.clone()]).does("b", [Act::Stream(words(dialect, &["lo"]))]);
            let noted = Arc::clone(&told);
            let layer = layer(two([dialect; 2]).timeouts(Timeouts::none().idle(second)))
                .report(move |event| noted.lock().unwrap().push(format!("{event:?}")));
            let listener = Listener::default();
            let got =
                call(&heard(&alone(&layer, &upstream), &listener), request_in(dialect, "g", true)).await;
            assert_eq!(seen(dialect, &got.body).0, Seen::whole("Hello"), "{act:?} {}", got.body);
            let attempts = [("a".to_owned(), outcome), ("b".to_owned(), Outcome::Complete)];
            assert_eq!(listener.attempts(), attempts, "{act:?}");
            let told = std::mem::take(&mut *told.lock().unwrap());
            assert!(told[0].starts_with("Failed"), "{told:?}");
            assert!(told[1].starts_with(r#"Continued { group: "g", from: "a", to: "b""#), "{told:?}");
            let failures =
                layer.routes().groups()[0].deployments()[0].figures(tokio::time::Instant::now()).failures;
            assert_eq!(failures, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn white_space_at_the_end_is_neither_sent_nor_lost_nor_said_twice() {
    for (caller, begin, rest, text) in DIALECTS.into_iter().flat_map(|caller| {
        [
            (caller, &["Hello", " "][..], &[" world"][..], "Hello world"),
            (caller, &["Hello "], &["world"], "Hello world"),
            (caller, &["Hello\\n", "\\n"], &["\\n", "\\nworld"], "Hello\n\nworld"),
            (caller, &["Hello \\n"], &[" ", "", "world"], "Hello \nworld"),
            (caller, &["Hello "], &["  world"], "Hello  world"),
            (caller, &[" "], &[" world"], " world"),
        ]
    }) {
        let upstream = Upstream::default();
        upstream.does("a", [Act::Breaks(begins(caller, begin))]);
        upstream.does("b", [Act::Stream(words(Dialect::Anthropic, rest))]);
        let layer = layer(two([caller, Dialect::Anthropic]));
        let got = call(&around(&layer, &upstream), request_in(caller, "g", true)).await;
        assert_eq!(seen(caller, &got.body).0, Seen::whole(text), "{}", got.body);
        let message = last_message(&upstream.bodies()[1]);
        let begun = begin.concat().replace("\\n", "\n");
        let expected = match begun.trim_end() {
            "" => ("user", "Hi"),
            kept => ("assistant", kept),
        };
        assert_eq!((message["role"].as_str().unwrap(), content(&message)), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_third_goes_on_where_the_second_fails_too_and_none_is_asked_twice() {
    for dialect in DIALECTS {
        let upstream = Upstream::default();
        upstream.does("a", [Act::Breaks(begins(dialect, &["Hel"]))]);
        upstream.does("b", [fails(500)]);
        upstream.does("c", [Act::Breaks(begins(dialect, &["lo", " wo"]))]);
        upstream.does("d", [Act::Stream(words(dialect, &["rld"]))]);
        let ids = ["a", "b", "c"].map(|id| goes_on(dialect, id));
        let group = Group::new("g").deployments(ids).strategy(Ordered).continue_streams(true);
        let behind = Group::new("h").deployment(goes_on(dialect, "d"));
        let routes = Routes::builder().group(group.build().unwrap()).group(behind.build().unwrap());
        let routes = routes.fall_back(List::General, "g", ["h"]).build().unwrap();
        let layer = RouteLayer::new(routes).random(|| 1 << 63);
        let got = call(&alone(&layer, &upstream), request_in(dialect, "g", true)).await;
        assert_eq!(seen(dialect, &got.body).0, Seen::whole("Hello world"), "{}", got.body);
        assert_eq!(
            (upstream.called(), got.body.matches(COMMENT).count()),
            (["a", "b", "c", "d"].map(str::to_owned).into(), 2)
        );
        assert_eq!(content(&last_message(&upstream.bodies()[3])), "Hello wo");

        // Who may not use the other group gets the error.
        let upstream = Upstream::default();
        for id in ["a", "b", "c"] {
            upstream.does(id, [Act::Breaks(begins(dialect, &["x"]))]);
        }
        let mut request = request_in(dialect, "g", true);
        let mut principal = Principal::default();
        principal.models = Some(["g".into()].into());
        request.extensions_mut().insert(principal);
        let got = call(&alone(&layer, &upstream), request).await;
        assert_eq!(Seen::of(dialect, &got.body), Seen::broken("xxx"), "{}", got.body);
        assert_eq!(upstream.called(), ["a", "b", "c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_text_or_nobodys_fault_ends_in_one_error() {
    let openai = |delta: &str| vec![role(), says("Hel"), chunk(delta, None)];
    let policy =
        "data: {\"error\":{\"message\":\"no\",\"code\":\"content_policy_violation\"}}\n\n".to_owned();
    let whole_block =
        [begins(Dialect::Anthropic, &["Hel"]), vec![event(r#"{"type":"content_block_stop","index":0}"#)]];
    let chat = |fields: &str, last: &str| {
        let messages = format!(r#"[{{"role":"user","content":"Hi"}}{last}]"#);
        let body = format!(r#"{{"model":"g","stream":true,{fields}"messages":{messages}}}"#);
        Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request")
    };
    let usual = || request("g", true);
    let tool =
        r#"{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}"#;
    let begun = || Act::Breaks(vec![role(), says("Hel")]);
    for (dialect, act, request) in [
        (Dialect::OpenAi, Act::Breaks(openai(tool)), usual()),
        (Dialect::OpenAi, Act::Breaks(openai(r#"{"reasoning_content":"hm"}"#)), usual()),
        (Dialect::OpenAi, Act::Breaks(openai(r#"{"refusal":"no"}"#)), usual()),
        (Dialect::OpenAi, Act::Breaks(openai(r#"{"audio":{"id":"x"}}"#)), usual()),
        (Dialect::OpenAi, Act::Stream([openai("{}"), vec![policy]].concat()), usual()),
        (Dialect::OpenAi, begun(), chat("\"n\":2,", "")),
        (Dialect::OpenAi, begun(), chat("", r#",{"role":"assistant","content":"O"}"#)),
        (Dialect::Anthropic, Act::Breaks(whole_block.concat()), request_in(Dialect::Anthropic, "g", true)),
    ] {
        let upstream = Upstream::default();
        upstream.does("a", [act.clone()]).does("b", [Act::Stream(words(dialect, &["lo"]))]);
        let got = call(&alone(&layer(two([dialect; 2])), &upstream), request).await;
        assert_eq!(Seen::of(dialect, &got.body), Seen::broken("Hel"), "{act:?} {}", got.body);
        assert_eq!(upstream.called(), ["a"], "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_on_unless_asked_or_where_none_can_or_the_call_is_over() {
    let begun = || Act::Breaks(vec![role(), says("Hel")]);
    let second = Duration::from_secs(1);
    let stalls = || Act::Stalls(vec![role(), says("Hel")]);
    let dialects = [Dialect::OpenAi; 2];
    let upstream = |act: Act| {
        let upstream = Upstream::default();
        upstream.does("a", [act]).does("b", [Act::Stream(words(Dialect::OpenAi, &["lo"]))]);
        upstream
    };
    for (act, group) in [
        (begun(), two(dialects).continue_streams(false)),
        (begun(), group("g", &["a", "b"]).continue_streams(true)),
        (stalls(), two(dialects).timeouts(Timeouts::none().total(second))),
    ] {
        let upstream = upstream(act);
        let got = call(&alone(&layer(group), &upstream), request("g", true)).await;
        assert_eq!(Seen::of(Dialect::OpenAi, &got.body), Seen::broken("Hel"), "{}", got.body);
        assert_eq!(upstream.called(), ["a"]);
    }
    // A budget that is spent, in the middle or ahead of the next attempt.
    for listener in [Listener::default().stops_behind(4), Listener::default().stops_attempt(2)] {
        let upstream = upstream(Act::Breaks(vec![role(), says("Hel"), says("lo you")]));
        let service = heard(&alone(&layer(two(dialects)), &upstream), &listener);
        let got = call(&service, request("g", true)).await;
        let said = Seen::of(Dialect::OpenAi, &got.body);
        assert_eq!((said.errors, said.terminators, said.ends_in_error), (1, 0, true), "{}", got.body);
        assert_eq!((upstream.called(), listener.ends()), (vec!["a".to_owned()], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_cap_is_what_is_left_and_the_mark_is_set_where_it_is_wanted() {
    let upstream = Upstream::default();
    upstream.does("a", [Act::Breaks(vec![role(), says("Hello wonderful")])]).does("b", [stream(&[" world"])]);
    let first = Deployment::new(target("a"));
    let group = Group::new("g").deployment(first).deployment(goes_on(Dialect::OpenAi, "b").mark_prefix(true));
    let layer = layer(group.strategy(Ordered).continue_streams(true));
    let body = r#"{"model":"g","stream":true,"max_tokens":50,"messages": [ {"role":"user","content":"Hi"} ] ,"x":1}"#;
    let request = Request::post("/v1/chat/completions").header("content-length", body.len());
    let got = call(&alone(&layer, &upstream), request.body(Body::from(body)).unwrap()).await;
    assert_eq!(Seen::of(Dialect::OpenAi, &got.body), Seen::whole("Hello wonderful world"));
    let [first, second] = &upstream.bodies()[..] else { panic!("two") };
    assert_eq!(first, body);
    let expected = concat!(
        r#"{"model":"g","stream":true,"max_tokens":45,"messages": [ {"role":"user","content":"Hi"} "#,
        r#",{"role":"assistant","content":"Hello wonderful","prefix":true}] ,"x":1}"#
    );
    assert_eq!(second, expected);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_while_somebody_is_asked_leaves_nothing_behind() {
    for polls in 1..6 {
        let upstream = Upstream::default();
        upstream.does("a", [Act::Breaks(vec![role(), says("Hel")])]);
        upstream.does("b", [Act::After(Duration::from_secs(9), Box::new(stream(&["lo"])))]);
        let layer = layer(two([Dialect::OpenAi; 2]));
        let listener = Listener::default();
        let service = heard(&alone(&layer, &upstream), &listener);
        let response = service.oneshot(request("g", true)).await.unwrap();
        let mut body = response.into_body();
        for _ in 0..polls {
            // At the third at last, the second deployment is waited for.
            let _late = tokio::time::timeout(Duration::from_secs(1), body.frame()).await;
        }
        assert_eq!(listener.ends(), 0);
        drop(body);
        assert_eq!((upstream.open(), listener.ends()), (0, 1), "{polls}");
        let left = layer.routes().groups()[0].deployments().iter();
        let running = left.map(|deployment| deployment.figures(tokio::time::Instant::now()).in_flight);
        assert_eq!(running.collect::<Vec<_>>(), [0, 0], "{polls}");
        let last = listener.attempts().pop().unwrap();
        assert_eq!(last.1 == Outcome::Cancelled, last.0 == "b" || polls < 3, "{polls} {last:?}");
    }
}

#[tokio::test]
async fn conforms() {
    let only =
        Group::new("g").deployment(goes_on(Dialect::OpenAi, "a").max_parallel(1)).continue_streams(true);
    let layer = layer(only.retry(RetryPolicy::new(0)));
    let routes = layer.routes().clone();
    let bytes = |model| {
        let (parts, body) = request(model, true).into_parts();
        Request::from_parts(parts, body.as_bytes().cloned().expect("is whole"))
    };
    let report = Conformance::new(layer)
        .request(move || bytes("g"))
        .response(|| Response::new(samples::stream(Dialect::OpenAi).into()))
        .refused(move || bytes("unknown"))
        .settled(move || {
            match routes.groups()[0].deployments()[0].figures(tokio::time::Instant::now()).in_flight {
                0 => Ok(()),
                running => Err(format!("{running} calls are in flight")),
            }
        })
        .without(Check::SharedState, "seen elsewhere")
        .without(Check::Trailers, "a stream is read")
        .without(Check::SizeHint, "a stream is read")
        .run()
        .await;
    report.assert();
    assert_eq!(report.passed().len(), 8);
}
