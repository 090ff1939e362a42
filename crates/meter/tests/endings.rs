//! How a stream ends that passes through: whole, cut, broken, or in an error.

mod support;

use std::io;

use http::{HeaderMap, HeaderValue};
use ziggurat_core::{Body, Cause, Dialect, Outcome, Problem, Rejection};
use ziggurat_meter::{Confidential, MeteredBody, Options};

use crate::support::*;

#[tokio::test]
async fn a_cut_at_any_byte_is_an_error_and_never_a_made_up_end() {
    for dialect in DIALECTS {
        let whole = stream(dialect);
        // From here on the answer is whole but for its terminator: what OpenAI's dialect forgives.
        let finished = match dialect {
            Dialect::Anthropic => whole.len(),
            _ => whole.find(CHAT_FINISH).expect("is there") + CHAT_FINISH.len() - 2,
        };
        let stop =
            whole.find("{\"type\":\"message_stop\"}").map(|at| at + "{\"type\":\"message_stop\"}".len());
        for cut in 0..whole.len() {
            let (out, attempt) =
                pass_listened(Options::new(dialect), [Step::data(whole[..cut].to_owned())]).await;
            assert_eq!(out, pass(Options::new(dialect), [Step::data(whole[..cut].to_owned())]).await);
            if cut >= stop.unwrap_or(finished) {
                assert!(out.ends_with(if stop.is_some() { MESSAGE_STOP } else { DONE }), "{cut}: {out}");
                assert_eq!(attempt.outcome, Some(Outcome::Complete), "{cut}");
                assert!(!out.contains("\"error\""), "{cut}: {out}");
                continue;
            }
            let kept = out.strip_suffix(&truncated(dialect)).unwrap_or_else(|| panic!("{cut}: {out}"));
            let events = whole[..cut].rfind("\n\n").map_or(0, |at| at + 2);
            // An event that lacks nothing but its blank line counts.
            assert!(
                kept == &whole[..events] || (kept.trim_end() == whole[..cut].trim_end()),
                "{cut}: {kept}"
            );
            assert_eq!(attempt.outcome, Some(Outcome::Truncated), "{cut}");
        }
    }
}

#[tokio::test]
async fn a_missing_terminator_is_added_when_all_answers_have_ended() {
    let text = [&*chat("Hi"), CHAT_FINISH].concat();
    let (out, attempt) = pass_listened(Options::new(Dialect::OpenAi), [Step::data(text.clone())]).await;
    assert_eq!(out, format!("{text}{DONE}"));
    assert_eq!(attempt.outcome, Some(Outcome::Complete));

    let mut two = Options::new(Dialect::OpenAi);
    two.choices = 2;
    assert_eq!(pass(two, [Step::data(text.clone())]).await, text.clone() + &truncated(Dialect::OpenAi));
    let second = CHAT_FINISH.replace("\"index\":0", "\"index\":1");
    assert_eq!(pass(two, [Step::data(text.clone() + &second)]).await, [&*text, &second, DONE].concat());
    // The same answer twice is one.
    assert_eq!(
        pass(two, [Step::data(text.clone() + CHAT_FINISH)]).await,
        [&*text, CHAT_FINISH, &truncated(Dialect::OpenAi)].concat()
    );
}

#[tokio::test]
async fn the_last_blank_line_is_completed_whatever_the_line_ends() {
    for (end, completed) in [("", "\n\n"), ("\n", "\n\n"), ("\r\n", "\r\n\n"), ("\r", "\r\r\n")] {
        let text = [&*chat("Hi"), CHAT_FINISH.trim_end()].concat();
        let out = pass(Options::new(Dialect::OpenAi), [Step::data(text.clone() + end)]).await;
        assert_eq!(out, [&*text, completed, DONE].concat(), "{end:?}");
        let done = [&*text, "\n\ndata: [DONE]"].concat();
        let out = pass(Options::new(Dialect::OpenAi), [Step::data(done.clone() + end)]).await;
        assert_eq!(out, [&*done, completed].concat(), "{end:?}");
    }
}

#[tokio::test]
async fn a_reset_is_one_error_event_and_nothing_behind_it() {
    for dialect in DIALECTS {
        let whole = stream(dialect);
        for cut in [0, 1, whole.len() / 2] {
            let steps = || [Step::data(whole[..cut].to_owned()), Step::reset()];
            let (out, attempt) = pass_listened(Options::new(dialect), steps()).await;
            assert_eq!(out.matches("\"error\":").count(), 1, "{out}");
            assert!(out.ends_with(&truncated(dialect)) && !out.contains(DONE), "{out}");
            assert_eq!(attempt.outcome, Some(Outcome::Truncated));
        }
    }
}

#[tokio::test]
async fn a_stall_is_told_as_one() {
    let stalled = io::Error::new(io::ErrorKind::TimedOut, "idle");
    let out = pass(Options::new(Dialect::OpenAi), [Step::data(chat("Hi")), Step::Fail(stalled.into())]).await;
    assert_eq!(
        out,
        chat("Hi")
            + "data: {\"error\":{\"message\":\"the provider's stream stalled\",\"type\":\"server_error\",\"param\":null,\"code\":\"timeout\"}}\n\n"
    );
}

#[tokio::test]
async fn a_refusal_of_ours_ends_the_stream_in_its_own_words() {
    for dialect in DIALECTS {
        let whole = stream(dialect);
        let refusal = Rejection::new(Cause::Overloaded, "closing");
        let expected = [whole[..whole.len() / 2].rsplit_once("\n\n").expect("has events").0, "\n\n"].concat()
            + std::str::from_utf8(&refusal.problem().to_event(dialect)).expect("is UTF-8");
        let failure = io::Error::other(refusal);
        let steps = [Step::data(whole[..whole.len() / 2].to_owned()), Step::Fail(failure.into())];
        let (out, attempt) = pass_listened(Options::new(dialect), steps).await;
        assert_eq!(out, expected);
        assert_eq!(attempt.outcome, Some(Outcome::Stopped));
    }
}

#[tokio::test]
async fn what_fails_behind_the_terminator_changes_nothing() {
    for dialect in DIALECTS {
        let steps = [Step::data(stream(dialect)), Step::reset()];
        let (out, attempt) = pass_listened(Options::new(dialect), steps).await;
        assert_eq!(out, stream(dialect));
        assert_eq!(attempt.outcome, Some(Outcome::Complete));
    }
}

#[tokio::test]
async fn behind_the_terminator_only_signs_of_life_are_given_on() {
    let behind = "\n: x\n\ndata: {\"error\":{\"message\":\"at https://internal.host\"}}\n\nevent: ping\n\n<html>sk-upstream\n\n\n: y\n\ndata: no JSON\n\n: bye";
    for dialect in DIALECTS {
        let text = stream(dialect) + behind;
        for size in [1, 7, usize::MAX] {
            let scripted = Scripted::chunked(&text.clone().into(), size);
            let (out, _) = read_body(MeteredBody::new(scripted.into(), Options::new(dialect), None)).await;
            assert_eq!(out, stream(dialect) + "\n: x\n\n\n: y\n\n: bye", "{size}");
        }
        // What it lacks at its end makes it none the better.
        let text = stream(dialect) + "data: {\"error\":{\"message\":\"sk-upstream\"}}\n";
        assert_eq!(pass(Options::new(dialect), [Step::data(text)]).await, stream(dialect));
    }
}

#[tokio::test]
async fn a_terminator_alone_is_a_cut_answer() {
    let usage = CHAT_USAGE.to_owned();
    for (dialect, ahead, end) in [
        (Dialect::OpenAi, String::new(), DONE),
        (Dialect::OpenAi, usage, DONE),
        (Dialect::Anthropic, "event: ping\ndata: {\"type\":\"ping\"}\n\n".to_owned(), MESSAGE_STOP),
    ] {
        for end in [end, end.trim_end()] {
            let (out, attempt) =
                pass_listened(Options::new(dialect), [Step::data(ahead.clone() + end)]).await;
            assert_eq!(out, ahead.clone() + &truncated(dialect));
            assert_eq!(attempt.outcome, Some(Outcome::Truncated));
        }
    }
}

#[tokio::test]
async fn an_event_that_is_no_json_ends_the_stream_in_an_error() {
    let broken = "{\"message\":\"the provider sent an event that is no JSON of its dialect\"";
    for event in [
        "data: {\"id\":\"c\",\"cho\n\n",
        "data: Internal Server Error\n\n",
        "data: <html>\n\n",
        "data: {}x\n\n",
    ] {
        let text = [&*chat("Hi"), event, CHAT_FINISH, DONE].concat();
        let (out, attempt) = pass_listened(Options::new(Dialect::OpenAi), [Step::data(text.clone())]).await;
        assert_eq!(out, pass(Options::new(Dialect::OpenAi), [Step::data(text)]).await);
        let error = out.strip_prefix(&chat("Hi")).expect("what came before is kept");
        assert!(error.contains(broken) && error.matches("data:").count() == 1, "{error}");
        assert_eq!(attempt.outcome, Some(Outcome::Failed));
    }
    let mut bytes = chat("Hi").into_bytes();
    bytes.extend_from_slice(b"data: {\"a\":\"\xFF\"}\n\n");
    let out = pass(Options::new(Dialect::OpenAi), [Step::data(bytes)]).await;
    assert!(out.contains(broken), "{out}");
}

#[tokio::test]
async fn an_error_event_passes_and_nothing_follows_it() {
    let error = "data: {\"id\":\"c\",\"error\":{\"code\":502,\"message\":\"gone\"},\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n";
    let text = [&*chat("Hi"), error].concat();
    let behind = [&*chat("more"), CHAT_USAGE, CHAT_FINISH].concat();
    let steps = [Step::data(text.clone() + &behind), Step::data(DONE)];
    let (out, attempt) = pass_listened(Options::new(Dialect::OpenAi), steps).await;
    assert_eq!(out, text);
    assert_eq!(attempt.outcome, Some(Outcome::Failed));

    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"later\"}}\n\n";
    let text = [MESSAGE_START, error].concat();
    let (out, attempt) =
        pass_listened(Options::new(Dialect::Anthropic), [Step::data(text.clone() + MESSAGE_STOP)]).await;
    assert_eq!(out, text);
    assert_eq!(attempt.outcome, Some(Outcome::Failed));

    // Without `type` and without `error`: the shapes of other servers, told in that of the caller's.
    for error in ["data: {\"message\":\"gone\",\"code\":500}\n\n", "data: {\"detail\":\"gone\"}\n\n"] {
        let out = pass(Options::new(Dialect::OpenAi), [Step::data([error, DONE].concat())]).await;
        assert!(out.starts_with("data: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\""), "{out}");
        assert_eq!(out.matches("data:").count(), 1);
    }
}

#[tokio::test]
async fn an_error_in_plain_json_becomes_an_event() {
    let bare = "{\n  \"error\": {\n    \"message\": \"quota\",\n    \"code\": 429\n  }\n}\n";
    let expected = chat("Hi")
        + "data: {\"error\":{\"message\":\"quota\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}\n\n";
    let list = format!("[{}]\n", bare.trim_end());
    let detail = "{\"detail\":\"quota\",\"code\":429}\n";
    for text in [bare, &list, detail] {
        for text in [chat("Hi") + text, chat("Hi") + text + "\n" + CHAT_FINISH] {
            let (out, attempt) = pass_listened(Options::new(Dialect::OpenAi), [Step::data(text)]).await;
            assert_eq!((out, attempt.outcome), (expected.clone(), Some(Outcome::Failed)));
        }
    }
}

#[tokio::test]
async fn a_line_without_end_is_stopped_at_the_limit() {
    let mut options = Options::new(Dialect::OpenAi);
    options.max_event = 1000;
    let flood = (0..50).map(|_| Step::data("x".repeat(100)));
    let scripted = Scripted::new([Step::data(chat("Hi")), Step::data("data: ")].into_iter().chain(flood));
    let dropped = scripted.dropped();
    let body = MeteredBody::new(Body::new(scripted), options, None);
    let (out, _) = read_body(body).await;
    let error = out.strip_prefix(&chat("Hi")).expect("what came before is kept");
    assert_eq!(
        error,
        "data: {\"error\":{\"message\":\"the provider sent an event of more than 1000 bytes\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_error\"}}\n\n"
    );
    assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn trailers_come_last_and_only_behind_a_whole_answer() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    let pass = |text: String| {
        let steps = [Step::data(text), Step::Trailers(trailers.clone())];
        let body = Body::new(Scripted::new(steps));
        read_body(MeteredBody::new(body, Options::new(Dialect::OpenAi), None))
    };
    let finished = [&*chat("Hi"), CHAT_FINISH].concat();
    assert_eq!(pass(finished.clone()).await, (finished + DONE, Some(trailers.clone())));
    assert_eq!(pass(chat("Hi")).await, (chat("Hi") + &truncated(Dialect::OpenAi), None));
}

#[tokio::test]
async fn an_error_event_is_told_without_the_operators_words() {
    let error = "data: {\"error\":{\"message\":\"see https://internal.host/x for sk-upstream-1\",\"type\":\"server_error\"}}\n\n";
    let out = pass(Options::new(Dialect::OpenAi), [Step::data(chat("Hi") + error)]).await;
    let said = out.strip_prefix(&chat("Hi")).expect("what came before is kept");
    assert!(said.starts_with("data: {\"error\":{\"message\":\"see [URL] for [key]\""), "{said}");

    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"sk-ant-upstream\"}}\n\n";
    let out = pass(Options::new(Dialect::Anthropic), [Step::data(MESSAGE_START.to_owned() + error)]).await;
    let said = out.strip_prefix(MESSAGE_START).expect("what came before is kept");
    assert_eq!(
        said,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"[key]\"}}\n\n"
    );
}

#[tokio::test]
async fn an_error_event_that_lacks_its_blank_line_is_told_without_them_too() {
    for end in ["", "\n", "\r"] {
        let error =
            "data: {\"error\":{\"message\":\"bad key sk-live-canary at https://internal.example/x\"}}";
        let (out, attempt) =
            pass_listened(Options::new(Dialect::OpenAi), [Step::data(chat("Hi") + error + end)]).await;
        let said = out.strip_prefix(&chat("Hi")).expect("what came before is kept");
        assert_eq!(
            said,
            "data: {\"error\":{\"message\":\"bad key [key] at [URL]\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_error\"}}\n\n"
        );
        assert_eq!(attempt.outcome, Some(Outcome::Failed));
    }
}

#[tokio::test]
async fn an_error_event_passes_only_as_name_and_data() {
    let data = "data: {\"error\":{\"message\":\"gone\"}}\n";
    let alone = chat("Hi") + data + "\n";
    assert_eq!(pass(Options::new(Dialect::OpenAi), [Step::data(alone.clone())]).await, alone);
    for beside in [
        "id: sk-upstream\n",
        ": at https://internal.host\n",
        "event: sk-upstream\n",
        "note: no field\n",
        "data\n",
    ] {
        for event in [[data, beside, "\n"].concat(), ["event: error\n", beside, data, "\n"].concat()] {
            let out = pass(Options::new(Dialect::OpenAi), [Step::data(chat("Hi") + &event)]).await;
            let said = out.strip_prefix(&chat("Hi")).expect("what came before is kept");
            assert!(said.starts_with("data: {\"error\":{\"message\":\"gone\",\"type\":"), "{event}: {said}");
            assert_eq!(said.lines().count(), 2, "{said}");
        }
    }
}

#[tokio::test]
async fn an_error_of_another_shape_is_told_in_that_of_the_dialect() {
    for dialect in DIALECTS {
        let said = "data: {\"detail\":\"at https://internal.host\",\"id\":\"x\"}\n\n";
        let start = if dialect == Dialect::Anthropic { MESSAGE_START.to_owned() } else { chat("Hi") };
        let (out, attempt) = pass_listened(Options::new(dialect), [Step::data(start.clone() + said)]).await;
        assert!(out.contains("\"message\":\"at [URL]\"") && out.matches("\"error\":").count() == 1, "{out}");
        assert_eq!(attempt.outcome, Some(Outcome::Failed));
    }
}

#[tokio::test]
async fn what_is_confidential_is_told_in_no_error() {
    let key = "0123456789abcdef0123456789abcdef";
    let confidential = || Confidential::default().secret(key).host("llm.example").model("gpt-4", "my");
    let words = format!("no {key} for gpt-4 at llm.example, gpt-4o");
    for dialect in DIALECTS {
        let problem = Problem::new(Cause::Internal, words.clone());
        let event = String::from_utf8(problem.to_event(dialect)).expect("is UTF-8");
        let bare = String::from_utf8(problem.to_json(dialect)).expect("is UTF-8");
        for error in [event.clone(), event.trim_end().to_owned(), bare.clone() + "\n\n", bare] {
            let start = if dialect == Dialect::Anthropic { MESSAGE_START.to_owned() } else { chat("Hi") };
            let body = Body::new(Scripted::new([Step::data(start.clone() + &error)]));
            let body = MeteredBody::new(body, Options::new(dialect), None).withholds(confidential());
            let (out, _) = read_body(body).await;
            let expected =
                Problem::new(Cause::Internal, "no [key] for my at [host], gpt-4o").to_event(dialect);
            assert_eq!(out, start + std::str::from_utf8(&expected).expect("is UTF-8"), "{error}");
        }
    }
}

#[tokio::test]
async fn what_is_no_event_stays_here_unless_it_is_of_the_standard() {
    for words in
        ["<html>502 from 10.1.2.3 sk-upstream\n</html>\n\n", "id: 1\nat https://internal.host\n\n", "{}\n\n"]
    {
        let text = [&*chat("Hi"), words, CHAT_FINISH, DONE].concat();
        let out = pass(Options::new(Dialect::OpenAi), [Step::data(text.clone())]).await;
        assert_eq!(out, text.replace(words, ""));
    }
}

#[tokio::test]
async fn a_flood_of_nothing_is_stopped() {
    let nothing = [
        ": x\n\n",
        "\n",
        "data:\n\n",
        "data:  \n\n",
        "event: ping\n\n",
        "id: 1\n\n",
        "event: xxxxxxxxxxxxxxxxxxxxxxx\ndata:\n\n",
        "<p>\n\n",
    ];
    for nothing in nothing {
        let mut options = Options::new(Dialect::OpenAi);
        options.max_event = 1 << 10;
        let flood = nothing.repeat(2 << 10);
        let out = pass(options, [Step::data(chat("Hi")), Step::data(flood), Step::data(DONE)]).await;
        assert!(
            out.contains("more than 1024 bytes") && !out.contains("[DONE]") && out.len() < 2 << 10,
            "{nothing:?}: {}",
            out.len()
        );
    }
}

#[tokio::test]
async fn what_floods_behind_the_terminator_is_left() {
    let whole = [&*chat("Hi"), CHAT_FINISH, DONE].concat();
    let flood = (0..100).map(|_| Step::data(": x\n\n".repeat(1 << 10)));
    let out = pass(Options::new(Dialect::OpenAi), [Step::data(whole)].into_iter().chain(flood)).await;
    assert!(out.len() < 128 << 10, "{}", out.len());
}
