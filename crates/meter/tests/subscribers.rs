//! What a subscriber is asked and told while a stream passes.

mod support;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use http_body::Body as _;
use http_body_util::BodyExt;
use ziggurat_core::{Attempt, Body, Cause, Decision, Dialect, Outcome, Rejection};
use ziggurat_meter::{MeteredBody, Options};

use crate::support::*;

fn stop() -> Decision {
    Decision::Stop(Rejection::new(Cause::Quota, "spent"))
}

fn spent(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => {
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"spent\"}}\n\n"
        }
        _ => {
            "data: {\"error\":{\"message\":\"spent\",\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}\n\n"
        }
    }
}

fn counts(attempt: &Attempt) -> (u64, Option<u64>) {
    (attempt.content_bytes, attempt.usage.and_then(|usage| usage.output))
}

#[tokio::test]
async fn is_asked_before_the_bytes_go_on_and_only_when_more_was_used() {
    let call = Listened::new(Arc::default());
    let steps = [
        Step::data(chat("Hi")),
        Step::data(": ping\n\n"),
        Step::data(CHAT_FINISH),
        Step::data(CHAT_USAGE),
        Step::data(DONE),
    ];
    let body = Body::new(Scripted::new(steps));
    let mut body = MeteredBody::new(body, Options::new(Dialect::OpenAi), Some(call.handle)).ends(call.end);
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        assert!(frame.is_ok());
        seen.push(call.recorder.progress().len());
    }
    assert_eq!(seen, [1, 1, 1, 2, 2]);
    assert_eq!(call.recorder.progress().iter().map(counts).collect::<Vec<_>>(), [(2, None), (2, Some(5))]);
    // Told when the body has ended, not only when it is dropped.
    assert_eq!(call.recorder.outcomes(), [[Some(Outcome::Complete)]]);
    drop(body);
    assert_eq!(call.recorder.ends().len(), 1);
}

#[tokio::test]
async fn a_stop_ends_the_stream_in_its_own_error_and_cancels_the_upstream() {
    for dialect in DIALECTS {
        let text = stream(dialect);
        let call = Listened::new(Recorder::on_progress(|attempt| match attempt.content_bytes {
            0 => Decision::Go,
            _ => stop(),
        }));
        let first = text.find("\n\n").expect("has events") + 2;
        let first = if dialect == Dialect::Anthropic { first } else { 0 };
        let scripted = Scripted::new([
            Step::data(text[..first].to_owned()),
            Step::data(text[first..].to_owned()),
            Step::Stall,
        ]);
        let dropped = scripted.dropped();
        let body = MeteredBody::new(Body::new(scripted), Options::new(dialect), Some(call.handle));
        let out = read_body(body.ends(call.end)).await.0;
        // Event by event, not chunk by chunk: what came before the one that is too much is given on.
        let allowed = match dialect {
            Dialect::Anthropic => text.find("event: content_block_delta").expect("has text"),
            _ => 0,
        };
        assert_eq!(out, [&text[..allowed], spent(dialect)].concat());
        assert!(dropped.load(Ordering::SeqCst));
        assert_eq!(call.recorder.outcomes(), [[Some(Outcome::Stopped)]]);
    }
}

#[tokio::test]
async fn is_asked_about_what_the_last_bytes_used_though_the_stream_has_ended() {
    // The last event lacks its blank line, so that it is read when the upstream has gone.
    for tail in ["", DONE, "data: {oops\n\n"] {
        let text = [&*chat("Hi"), CHAT_FINISH, CHAT_USAGE.trim_end()].concat();
        let text = if tail.is_empty() { text } else { format!("{text}\n\n{tail}") };
        let call = Listened::new(Recorder::on_progress(|attempt| match attempt.usage {
            None => Decision::Go,
            Some(_) => stop(),
        }));
        let steps = [
            Step::data([&*chat("Hi"), CHAT_FINISH].concat()),
            Step::data(text[chat("Hi").len() + CHAT_FINISH.len()..].to_owned()),
        ];
        let body = MeteredBody::new(
            Body::new(Scripted::new(steps)),
            Options::new(Dialect::OpenAi),
            Some(call.handle),
        );
        let out = read_body(body.ends(call.end)).await.0;
        assert_eq!(out, [&*chat("Hi"), CHAT_FINISH, spent(Dialect::OpenAi)].concat(), "{tail}");
        assert_eq!(call.recorder.outcomes(), [[Some(Outcome::Stopped)]], "{tail}");
    }
}

#[tokio::test]
async fn a_wait_holds_the_bytes_and_nothing_more_is_read_meanwhile() {
    let gate = Arc::new(Mutex::new(None::<Result<(), Rejection>>));
    for (answer, expected, outcome) in [
        (Ok(()), stream(Dialect::OpenAi), Outcome::Complete),
        (Err(Rejection::new(Cause::Quota, "spent")), spent(Dialect::OpenAi).to_owned(), Outcome::Stopped),
    ] {
        let waits = Arc::clone(&gate);
        *gate.lock().unwrap() = None;
        let call = Listened::new(Recorder::on_progress(move |attempt| {
            let gate = Arc::clone(&waits);
            match attempt.usage {
                None => Decision::Wait(Box::pin(poll_fn(move |_| match gate.lock().unwrap().clone() {
                    Some(answer) => Poll::Ready(answer),
                    None => Poll::Pending,
                }))),
                Some(_) => Decision::Go,
            }
        }));
        let body = Body::new(Scripted::new([
            Step::data(stream(Dialect::OpenAi).replace(CHAT_USAGE, "")),
            Step::data(""),
        ]));
        let mut body =
            MeteredBody::new(body, Options::new(Dialect::OpenAi), Some(call.handle)).ends(call.end);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(std::pin::Pin::new(&mut body).poll_frame(&mut cx).is_pending());
            assert!(!body.is_end_stream());
        }
        *gate.lock().unwrap() = Some(answer);
        assert_eq!(read_body(body).await.0, expected.replace(CHAT_USAGE, ""));
        assert_eq!(call.recorder.progress().len(), 1);
        assert_eq!(call.recorder.outcomes(), [[Some(outcome)]]);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_told_once_whenever_it_leaves() {
    let whole = stream(Dialect::OpenAi);
    let ends: Vec<usize> = whole.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    for frames in 0..=ends.len() + 1 {
        let call = Listened::new(Arc::default());
        let starts = [0].into_iter().chain(ends.iter().copied());
        let steps = starts.zip(&ends).map(|(start, end)| Step::data(whole[start..*end].to_owned()));
        let scripted = Scripted::new(steps.collect::<Vec<_>>());
        let dropped = scripted.dropped();
        let mut body =
            MeteredBody::new(Body::new(scripted), Options::new(Dialect::OpenAi), Some(call.handle))
                .ends(call.end);
        for _ in 0..frames {
            let _read = body.frame().await;
        }
        drop(body);
        assert!(dropped.load(Ordering::SeqCst));
        // Callers leave as soon as they have seen the terminator: then the answer was whole.
        let outcome = if frames >= ends.len() { Outcome::Complete } else { Outcome::Cancelled };
        assert_eq!(call.recorder.outcomes(), [[Some(outcome)]], "after {frames} frames");
        let used = call.recorder.ends()[0][0].clone();
        let expected = match frames {
            0 => (0, None),
            1 | 2 => (2, None),
            _ => (2, Some(5)),
        };
        assert_eq!(counts(&used), expected, "after {frames} frames");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_close_behind_its_terminator_has_answered_all_the_same() {
    let call = Listened::new(Arc::default());
    let body = Body::new(Scripted::new([Step::data(stream(Dialect::OpenAi)), Step::Stall]));
    let mut body = MeteredBody::new(body, Options::new(Dialect::OpenAi), Some(call.handle)).ends(call.end);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), stream(Dialect::OpenAi));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(std::pin::Pin::new(&mut body).poll_frame(&mut cx).is_pending());
    drop(body);
    assert_eq!(call.recorder.outcomes(), [[Some(Outcome::Complete)]]);
}

#[tokio::test]
async fn json_of_an_unknown_shape_passes_and_counts_as_content() {
    let odd = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":7}]}\n\n";
    let text = [odd, CHAT_FINISH, DONE].concat();
    let (out, attempt) = pass_listened(Options::new(Dialect::OpenAi), [Step::data(text.clone())]).await;
    assert_eq!(out, text);
    assert_eq!(
        (counts(&attempt).0, attempt.outcome),
        (odd.trim_end().len() as u64 - 6, Some(Outcome::Complete))
    );
}

#[tokio::test]
async fn calls_of_every_kind_are_content() {
    for delta in [
        r#"{"tool_calls":[{"index":0,"id":"t","type":"custom","custom":{"name":"n","input":"x"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"n","arguments":""}}]}"#,
        r#"{"function_call":{"name":"n","arguments":"{}"}}"#,
        r#"{"audio":{"id":"a","data":"AAAA"}}"#,
        r#"{"refusal":"no"}"#,
        r#"{"reasoning_content":"hm"}"#,
    ] {
        let text = format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
        let (_, attempt) = pass_listened(Options::new(Dialect::OpenAi), [Step::data(text)]).await;
        assert!(attempt.content_begun, "{delta}");
    }
    let first = r#"{"role":"assistant","content":"","refusal":null}"#;
    let text = format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{first}}}]}}\n\n");
    let (_, attempt) = pass_listened(Options::new(Dialect::OpenAi), [Step::data(text)]).await;
    assert!(!attempt.content_begun);
}
