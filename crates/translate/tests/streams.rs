//! Streams that end as they should not.

mod support;

use std::io;

use ziggurat_core::{Attempt, Cause, Meter, Outcome, Rejection, Subscriber, Usd};
use ziggurat_translate::TranslateLayer;

use crate::support::*;

fn ending(caller: ziggurat_core::Dialect) -> &'static str {
    if caller == ANTHROPIC { MESSAGE_STOP } else { DONE }
}

/// What of a stream is enough to know that the answer is whole.
fn finished(provider: ziggurat_core::Dialect) -> usize {
    let whole = stream(provider);
    match provider {
        ANTHROPIC => whole.len() - 2,
        _ => whole.find(CHAT_FINISH).expect("is there") + CHAT_FINISH.len() - 2,
    }
}

#[tokio::test]
async fn a_stream_cut_at_any_byte_never_ends_as_if_it_were_whole() {
    for (caller, provider) in DIRECTIONS {
        let whole = stream(provider);
        // Less than that is no event.
        for cut in "data".len()..whole.len() {
            let exchange = through(caller, provider, [Step::data(whole[..cut].to_owned())]).await;
            if provider == ANTHROPIC && cut < "event".len() {
                assert_eq!(exchange.status, 502);
                continue;
            }
            let body = &exchange.body;
            assert_eq!(exchange.status, 200);
            if cut >= finished(provider) {
                assert!(body.ends_with(ending(caller)) && !body.contains("\"error\""), "{cut}: {body}");
                continue;
            }
            assert!(body.ends_with(&truncated(caller)), "{cut}: {body}");
            assert_eq!(body.matches("\"error\":").count(), 1, "{cut}: {body}");
            assert!(!body.contains("[DONE]") && !body.contains("message_stop"), "{cut}: {body}");
            let finishes =
                body.contains("\"finish_reason\":\"stop\"") || body.contains("\"stop_reason\":\"end_turn\"");
            let stated = whole[..cut].contains("\"end_turn\"");
            assert!(!finishes || stated, "{cut}: {body}");
        }
    }
}

#[tokio::test]
async fn a_missing_done_is_added_where_the_answer_has_ended() {
    for caller in DIALECTS {
        let exchange = through(caller, OPENAI, [Step::data([&*chat("Hi"), CHAT_FINISH].concat())]).await;
        assert!(
            exchange.body.ends_with(ending(caller)) && !exchange.body.contains("\"error\""),
            "{}",
            exchange.body
        );
    }
    // Anthropic's says why it stopped before it stops: that alone is no end.
    let text = [MESSAGE_START, MESSAGE_TEXT, MESSAGE_END].concat();
    for caller in DIALECTS {
        let exchange = through(caller, ANTHROPIC, [Step::data(text.clone())]).await;
        assert!(exchange.body.ends_with(&truncated(caller)), "{}", exchange.body);
    }
}

#[tokio::test]
async fn every_way_to_break_is_one_error_event() {
    for (caller, provider) in DIRECTIONS {
        let start = match provider {
            ANTHROPIC => [MESSAGE_START, MESSAGE_TEXT].concat(),
            _ => chat("Hi"),
        };
        let error = match provider {
            ANTHROPIC => {
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"later\"}}\n\n"
            }
            _ => "data: {\"error\":{\"message\":\"later\",\"type\":\"overloaded_error\"}}\n\n",
        };
        let stalled = io::Error::new(io::ErrorKind::TimedOut, "idle");
        for (step, words) in [
            (Step::reset(), "the provider's stream ended before the answer was complete"),
            (Step::data("data: {\"ty"), "the provider's stream ended before the answer was complete"),
            (Step::Fail(stalled.into()), "the provider's stream stalled"),
            (Step::data(error), "later"),
            (Step::data("data: {oops\n\n"), "the provider sent an event that is no JSON of its dialect"),
            (
                Step::data(&b"data: {\"a\":\"\xFF\"}\n\n"[..]),
                "the provider sent an event that is no JSON of its dialect",
            ),
            (Step::data("{\"error\":{\"message\":\"bare\"}}\n\n"), "bare"),
        ] {
            let behind = Step::data([ending(provider), &stream(provider)].concat());
            let cut = matches!(&step, Step::Data(data) if !data.ends_with(b"\n\n"));
            let steps = [Some(Step::data(start.clone())), Some(step), (!cut).then_some(behind)];
            let exchange = through(caller, provider, steps.into_iter().flatten()).await;
            let body = &exchange.body;
            assert_eq!(body.matches("\"error\":").count(), 1, "{caller:?} {provider:?} {words}: {body}");
            assert!(body.contains(words), "{caller:?} {provider:?} {words}: {body}");
            assert!(!body.contains("[DONE]") && !body.contains("message_stop"), "{words}: {body}");
            assert!(body.contains("Hi"), "{words}: {body}");
        }
    }
}

#[tokio::test]
async fn what_comes_for_a_call_that_has_ended_ends_the_stream() {
    let piece = |json: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{{\"type\":\"input_json_delta\",\"partial_json\":\"{json}\"}}}}\n\n"
        )
    };
    let open = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n";
    let stop = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n";
    let given =
        [MESSAGE_START, open, &piece("{}"), stop, &piece(""), &piece("{}"), MESSAGE_END, MESSAGE_STOP]
            .concat();
    let recorder: std::sync::Arc<Recorder> = Default::default();
    let mut request = post(OPENAI, hello(OPENAI, true));
    let (_meter, end) = recorder.join(&mut request);
    let body = exchange(target(ANTHROPIC), request, events([Step::data(given)])).await.body;
    drop(end);
    assert!(body.contains(r#""arguments":"{}""#) && !body.contains("[DONE]"), "{body}");
    let words = "the provider went on with a part of the answer that it had ended";
    assert!(body.lines().rfind(|line| !line.is_empty()).is_some_and(|last| last.contains(words)), "{body}");
    assert_eq!(body.matches("\"error\":").count(), 1, "{body}");
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Failed)]]);
}

#[tokio::test]
async fn no_terminator_follows_an_error_chunk() {
    let error = "data: {\"id\":\"c\",\"error\":{\"code\":502,\"message\":\"gone\"},\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n";
    let text = [&*chat("Hi"), error, DONE].concat();
    let same = through(OPENAI, OPENAI, [Step::data(text.clone())]).await;
    assert_eq!(same.body, [&*chat("Hi"), error].concat());
    let other = through(ANTHROPIC, OPENAI, [Step::data(text)]).await;
    assert!(other.body.ends_with("\"message\":\"gone\"}}\n\n"), "{}", other.body);
}

#[tokio::test]
async fn a_terminator_alone_is_a_cut_answer() {
    for (caller, provider) in DIRECTIONS {
        let recorder: std::sync::Arc<Recorder> = Default::default();
        let mut request = post(caller, hello(caller, true));
        let (_meter, end) = recorder.join(&mut request);
        let body = exchange(target(provider), request, events([Step::data(ending(provider))])).await.body;
        drop(end);
        assert_eq!(body, truncated(caller), "{caller:?} {provider:?}");
        assert_eq!(recorder.outcomes(), [[Some(Outcome::Truncated)]]);
    }
}

#[tokio::test]
async fn a_line_without_end_is_stopped_at_the_limit() {
    for (caller, provider) in DIRECTIONS {
        let start = if provider == ANTHROPIC { MESSAGE_START.to_owned() } else { chat("Hi") };
        let flood = std::iter::repeat_with(|| Step::data(&[b'x'; 1 << 16][..])).take(800);
        let steps = [Step::data(start), Step::data("data: ")].into_iter().chain(flood);
        let exchange = through(caller, provider, steps).await;
        assert!(exchange.body.contains("\"the provider sent an event of more than 1048576 bytes\""));
        assert!(exchange.body.len() < 1000);
    }
}

#[tokio::test]
async fn a_flood_of_nothing_is_stopped() {
    for (caller, provider) in DIRECTIONS {
        let nothing =
            [": x\n\n", "\n", "data:\n\n", "data:  \n\n", "event: ping\n\n", "id: 1\n\n", "<p>\n\n"];
        for nothing in nothing {
            let layer = TranslateLayer::new().target(target(provider)).max_event(1 << 10);
            let steps = [Step::data(": x\n\n".to_owned() + &nothing.repeat(2 << 10))];
            let exchange = exchange_through(layer, post(caller, hello(caller, true)), events(steps)).await;
            let body = exchange.body;
            assert!(
                body.contains("more than 1024 bytes") && !body.contains("[DONE]"),
                "{caller:?} {nothing:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_limits_are_the_layers() {
    let layer = || TranslateLayer::new().target(target(OPENAI)).max_event(200).max_response(300);
    let long = chat(&"x".repeat(200));
    let exchange =
        exchange_through(layer(), post(OPENAI, hello(OPENAI, true)), events([Step::data(long)])).await;
    assert!(exchange.body.contains("more than 200 bytes"), "{}", exchange.body);
    let exchange = exchange_through(layer(), post(OPENAI, hello(OPENAI, false)), json(" ".repeat(301))).await;
    assert_eq!(
        (exchange.status.as_u16(), &*exchange.json()["error"]["message"].to_string()),
        (502, "\"the provider's answer is larger than 300 bytes\"")
    );
}

#[tokio::test]
async fn a_stream_that_is_none_is_a_502_before_any_event() {
    for (caller, provider) in DIRECTIONS {
        for (body, words) in [
            ("", "the provider answered with nothing"),
            (" \r\n\n", "the provider answered with nothing"),
            ("<!doctype html><html>", "the provider answered with HTML"),
            ("  <html>", "the provider answered with HTML"),
            ("Internal Server Error", "the provider answered with what is no JSON"),
            ("dat", "the provider answered with what is no JSON"),
            ("{\"ok\":true}", "the provider answered with JSON that is no answer"),
            (answer(provider), "the provider answered whole where a stream was asked for"),
        ] {
            for kind in ["text/event-stream", "application/json"] {
                for size in [1, usize::MAX] {
                    let scripted = Scripted::chunked(&bytes::Bytes::from(body), size);
                    let reply = answering(200, kind, scripted);
                    let exchange = exchange(target(provider), post(caller, hello(caller, true)), reply).await;
                    assert_eq!(exchange.status, 502, "{body}");
                    assert_eq!(exchange.header("content-type"), Some("application/json"));
                    assert_eq!(exchange.json()["error"]["message"], words, "{body}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_error_in_a_200_is_told_by_its_cause() {
    for stream in [false, true] {
        let reply = json(r#"{"error":{"message":"slow down","code":429}}"#);
        let exchange = exchange(target(OPENAI), post(ANTHROPIC, hello(ANTHROPIC, stream)), reply).await;
        assert_eq!(exchange.status, 429);
        assert_eq!(
            exchange.body,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#
        );
    }
}

#[tokio::test]
async fn streams_are_known_by_their_first_bytes_whatever_their_label() {
    for kind in ["application/json", "text/plain", "text/event-stream; charset=utf-8"] {
        let text = ["\u{feff}\n\n: hello\n\n", &stream(OPENAI)].concat();
        for size in [1, 3, usize::MAX] {
            let scripted = Scripted::chunked(&bytes::Bytes::from(text.clone()), size);
            let exchange =
                exchange(target(OPENAI), post(OPENAI, hello(OPENAI, true)), answering(200, kind, scripted))
                    .await;
            assert_eq!(exchange.body, text, "{kind}");
            let labelled = if kind.starts_with("text/event") { kind } else { "text/event-stream" };
            assert_eq!(exchange.header("content-type"), Some(labelled));
        }
    }
}

#[tokio::test]
async fn an_upstream_that_fails_before_its_first_byte_is_an_error_status() {
    for (caller, provider) in DIRECTIONS {
        let exchange = through(caller, provider, [Step::reset()]).await;
        assert_eq!((exchange.status.as_u16(), exchange.headers.contains_key("cache-control")), (502, false));
        let stalled = io::Error::new(io::ErrorKind::TimedOut, "idle");
        let exchange = through(caller, provider, [Step::Fail(stalled.into())]).await;
        assert_eq!(exchange.status, 504);
    }
}

#[tokio::test]
async fn what_fails_behind_the_end_changes_nothing() {
    for (caller, provider) in DIRECTIONS {
        let whole = through(caller, provider, [Step::data(stream(provider))]).await.body;
        for behind in [Step::reset(), Step::data("data: oops\n\n"), Step::data("x".repeat(2 << 20))] {
            let recorder: std::sync::Arc<Recorder> = Default::default();
            let mut request = post(caller, hello(caller, true));
            let (_meter, end) = recorder.join(&mut request);
            let reply = events([Step::data(stream(provider)), behind]);
            let body = exchange(target(provider), request, reply).await.body;
            assert_eq!(body, whole.replace(CHAT_USAGE, ""));
            drop(end);
            assert_eq!(recorder.outcomes(), [[Some(Outcome::Complete)]]);
        }
    }
}

#[tokio::test]
async fn an_upstream_that_goes_on_behind_its_end_is_left() {
    for (caller, provider) in [(OPENAI, ANTHROPIC), (ANTHROPIC, OPENAI)] {
        let flood = std::iter::repeat_with(|| Step::data(&[b'\n'; 1 << 10][..])).take(65);
        let steps = [Step::data(stream(provider))].into_iter().chain(flood).chain([Step::Stall]);
        let exchange = through(caller, provider, steps).await;
        assert!(exchange.body.ends_with(ending(caller)));
    }
}

#[tokio::test]
async fn a_refusal_of_ours_ends_the_stream_in_its_own_words() {
    for (caller, provider) in DIRECTIONS {
        let whole = stream(provider);
        let words = whole.find("Hi").expect("has text") + 2;
        for cut in [0, words] {
            let refusal = Rejection::new(Cause::Overloaded, "closing");
            let failure = io::Error::other(refusal.clone());
            let recorder: std::sync::Arc<Recorder> = Default::default();
            let mut request = post(caller, hello(caller, true));
            let (_meter, end) = recorder.join(&mut request);
            let steps = [Step::data(whole[..cut].to_owned()), Step::Fail(failure.into())];
            let exchange = exchange(target(provider), request, events(steps)).await;
            drop(end);
            assert_eq!(recorder.outcomes(), [[Some(Outcome::Stopped)]], "{caller:?} {provider:?} {cut}");
            if cut == 0 {
                assert_eq!(exchange.status.as_u16(), if caller == ANTHROPIC { 529 } else { 503 });
                assert_eq!(exchange.body.as_bytes(), refusal.problem().to_json(caller));
                assert_eq!(exchange.extensions.get::<Rejection>(), Some(&refusal));
                continue;
            }
            let event = String::from_utf8(refusal.problem().to_event(caller)).expect("is UTF-8");
            assert!(exchange.body.ends_with(&event), "{}", exchange.body);
            assert!(!exchange.body.contains(DONE) && !exchange.body.contains("upstream_truncated"));
        }
    }
}

#[tokio::test]
async fn a_cost_is_told_in_the_usage_of_an_openai_caller() {
    struct Priced;
    impl Subscriber for Priced {
        fn cost(&self, attempt: &Attempt) -> Option<Usd> {
            let output = attempt.usage.and_then(|usage| usage.output_total())?;
            Some(Usd::cents(1) * output)
        }
    }
    for provider in [OPENAI, ANTHROPIC] {
        let body = hello(OPENAI, true)
            .replace(r#""stream":true"#, r#""stream":true,"stream_options":{"include_usage":true}"#);
        let mut request = post(OPENAI, body);
        let (meter, end) = Meter::join(&mut request);
        meter.subscribe(std::sync::Arc::new(Priced));
        let reply = events([Step::data(stream(provider))]);
        let told = exchange(target(provider), request, reply).await.body;
        assert_eq!(told.matches(r#""usage":{"cost":0.05,"#).count(), 1, "{told}");
        drop(end);
    }
}
