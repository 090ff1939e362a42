//! The contract between layers, proven before anybody builds on it: a subscriber, two attempts, a stream that is extended and then
//! stopped, and one end for every call.

#[path = "contract/layers.rs"]
mod layers;
mod support;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending, poll_fn, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{
    Attempt, Body, Cause, Decision, Dialect, Metered, Outcome, Rejection, Served, Subscriber, Target, Tier,
};
use ziggurat_testkit::conformance::{Check, Conformance, axum_takes, client_takes};
use ziggurat_translate::TranslateLayer;

use crate::{
    layers::{InTurn, Watch},
    support::*,
};

fn watch(recorder: &Arc<Recorder>) -> Watch {
    Watch::new(Arc::clone(recorder) as Arc<dyn Subscriber>)
}

/// A call through the watching layer, the one that tries the targets, and translate, to upstreams that answer in turn.
async fn call(
    recorder: &Arc<Recorder>,
    targets: &[Target],
    request: Request<Body>,
    answers: impl IntoIterator<Item = Response<Body>>,
) -> Response<Body> {
    let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
    let upstream = service_fn(move |_| {
        let answer = answers.lock().expect("is sound").pop_front().expect("is expected");
        ready(Ok::<_, Infallible>(answer))
    });
    let inner = InTurn(targets.to_vec()).layer(TranslateLayer::new().layer(upstream));
    watch(recorder).layer(inner).oneshot(request).await.expect("is infallible")
}

fn busy() -> Response<Body> {
    answering(503, "application/json", r#"{"error":{"message":"busy"}}"#)
}

fn spent() -> Rejection {
    Rejection::new(Cause::Quota, "spent")
}

fn spent_event(dialect: Dialect) -> String {
    String::from_utf8(spent().problem().to_event(dialect)).expect("is UTF-8")
}

fn summary(attempt: &Attempt) -> (Option<&str>, bool, u64, Option<u64>, Option<Outcome>) {
    let target = attempt.target.as_ref().map(|target| target.deployment());
    (
        target,
        attempt.sent,
        attempt.content_bytes,
        attempt.usage.and_then(|usage| usage.output),
        attempt.outcome,
    )
}

#[tokio::test]
async fn the_tier_that_was_served_is_on_record_in_all_directions() {
    for (caller, provider) in DIRECTIONS {
        let named = |text: &str| match provider {
            Dialect::Anthropic => text.replacen("\"usage\":{", "\"usage\":{\"service_tier\":\"flex\",", 1),
            _ => text.replacen("{\"id\":\"c\",", "{\"id\":\"c\",\"service_tier\":\"flex\",", 1),
        };
        for stream in [false, true] {
            let recorder: Arc<Recorder> = Default::default();
            let answered = match stream {
                true => events([Step::data(named(&support::stream(provider)))]),
                false => json(named(support::answer(provider))),
            };
            let request = post(caller, hello(caller, stream));
            let response = call(&recorder, &[target(provider)], request, [answered]).await;
            assert_eq!(response.status(), 200);
            drop(read_body(response.into_body()).await);
            let usage = recorder.ends()[0][0].usage.expect("is stated");
            assert_eq!((usage.output, usage.tier), (Some(5), Tier::new("flex")), "{caller:?}, {provider:?}");
        }
    }
}

#[tokio::test]
async fn two_attempts_over_two_targets_are_both_seen() {
    for caller in DIALECTS {
        for stream in [false, true] {
            let recorder: Arc<Recorder> = Default::default();
            let answered =
                if stream { events([Step::data(support::stream(ANTHROPIC))]) } else { json(MESSAGE_ANSWER) };
            let request = post(caller, hello(caller, stream));
            let response =
                call(&recorder, &[target(OPENAI), target(ANTHROPIC)], request, [busy(), answered]).await;
            assert_eq!(response.status(), 200);
            assert!(response.extensions().get::<Metered>().is_some());
            let served = response.extensions().get::<Served>().and_then(|served| served.target.clone());
            assert_eq!(served.as_ref().map(Target::deployment), Some("anthropic/claude"));
            assert_eq!(recorder.ends(), Vec::<Vec<_>>::new());
            let body = read_body(response.into_body()).await.0;
            assert!(body.contains("Hi"));

            assert_eq!(
                recorder.before(),
                [Some("openai/gpt".to_owned()), Some("anthropic/claude".to_owned())]
            );
            let ends = recorder.ends();
            assert_eq!(ends.len(), 1);
            assert_eq!(
                ends[0].iter().map(summary).collect::<Vec<_>>(),
                [
                    (Some("openai/gpt"), true, 0, None, Some(Outcome::Failed)),
                    (Some("anthropic/claude"), true, 2, Some(5), Some(Outcome::Complete)),
                ]
            );
        }
    }
}

#[tokio::test]
async fn an_attempt_that_is_not_granted_is_not_made() {
    let recorder = Recorder::on_attempt(|earlier| match earlier {
        [] => Decision::Go,
        _ => Decision::Stop(spent()),
    });
    // The second answer is not there: that it is not asked for is the proof.
    let request = post(ANTHROPIC, hello(ANTHROPIC, true));
    let response = call(&recorder, &[target(OPENAI), target(ANTHROPIC)], request, [busy()]).await;
    assert_eq!(response.extensions().get::<Rejection>(), Some(&spent()));
    assert_eq!(
        read_body(response.into_body()).await.0,
        String::from_utf8(spent().problem().to_json(ANTHROPIC)).expect("is UTF-8")
    );
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Failed)]]);
}

#[tokio::test]
async fn a_stream_is_extended_then_stopped_in_the_callers_dialect_and_the_upstream_is_cancelled() {
    for (caller, provider) in DIRECTIONS {
        let whole = stream(provider);
        let more = match provider {
            ANTHROPIC => MESSAGE_TEXT.split_inclusive("\n\n").nth(1).expect("is the delta").to_owned(),
            _ => chat("Hi"),
        };
        let start = whole
            .find("Hi")
            .and_then(|at| whole[at..].find("\n\n").map(|end| at + end + 2))
            .expect("has text");
        // Granted: 2 bytes, then 2 more by a store that is asked; the third time is one too many.
        let recorder = Recorder::on_progress(|attempt| match attempt.content_bytes {
            0..=2 => Decision::Go,
            3..=4 => Decision::Wait(Box::pin(ready(Ok(())))),
            _ => Decision::Wait(Box::pin(ready(Err(spent())))),
        });
        let scripted = Scripted::new([
            Step::data(whole[..start].to_owned()),
            Step::data(more.clone()),
            Step::data(more.clone()),
            Step::Stall,
        ]);
        let dropped = scripted.dropped();
        let request = post(caller, hello(caller, true));
        let response =
            call(&recorder, &[target(provider)], request, [events([]).map(|_| Body::from(scripted))]).await;
        let body = read_body(response.into_body()).await.0;
        assert!(body.ends_with(&spent_event(caller)), "{body}");
        assert_eq!((body.matches("\"Hi\"").count(), body.matches("\"error\":").count()), (2, 1), "{body}");
        assert!(dropped.load(Ordering::SeqCst));
        let ends = recorder.ends();
        assert_eq!((ends.len(), ends[0].len()), (1, 1));
        assert_eq!((ends[0][0].content_bytes, ends[0][0].outcome), (6, Some(Outcome::Stopped)));
    }
}

#[tokio::test]
async fn a_wait_is_polled_within_poll_frame() {
    for (caller, provider) in DIRECTIONS {
        let open = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&open);
        let recorder = Recorder::on_progress(move |_| {
            let gate = Arc::clone(&gate);
            Decision::Wait(Box::pin(poll_fn(move |_| match gate.load(Ordering::SeqCst) {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            })))
        });
        let request = post(caller, hello(caller, true));
        let reply = events([Step::data(stream(provider))]);
        let mut body = call(&recorder, &[target(provider)], request, [reply]).await.into_body();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(std::pin::Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        }
        assert_eq!(recorder.progress().len(), 1);
        open.store(true, Ordering::SeqCst);
        assert!(read_body(body).await.0.contains("Hi"));
        assert_eq!(recorder.outcomes(), [[Some(Outcome::Complete)]]);
    }
}

#[tokio::test]
async fn a_whole_answer_may_be_stopped_before_it_is_given() {
    for (caller, provider) in DIRECTIONS {
        let recorder = Recorder::on_progress(|_| Decision::Stop(spent()));
        let request = post(caller, hello(caller, false));
        let response = call(&recorder, &[target(provider)], request, [json(answer(provider))]).await;
        assert_eq!(response.status(), 429);
        assert_eq!(response.extensions().get::<Rejection>(), Some(&spent()));
        let body = read_body(response.into_body()).await.0;
        assert_eq!(body.as_bytes(), spent().problem().to_json(caller));
        assert_eq!(recorder.outcomes(), [[Some(Outcome::Stopped)]]);
    }
}

#[tokio::test]
async fn the_end_is_told_once_when_the_caller_leaves_before_headers() {
    for (before_call, sent) in [(true, false), (false, true)] {
        let recorder: Arc<Recorder> = match before_call {
            true => Recorder::on_attempt(|_| Decision::Wait(Box::pin(pending()))),
            false => Arc::default(),
        };
        let upstream = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let service = watch(&recorder).layer(TranslateLayer::new().target(target(OPENAI)).layer(upstream));
        {
            let mut call = std::pin::pin!(service.oneshot(post(OPENAI, hello(OPENAI, true))));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(call.as_mut().poll(&mut cx).is_pending());
            assert_eq!(recorder.ends(), Vec::<Vec<_>>::new());
        }
        assert_eq!(recorder.ends().len(), 1);
        let attempts = recorder.ends().remove(0);
        assert_eq!(attempts.iter().any(|attempt| attempt.sent), sent);
        assert!(attempts.iter().all(|attempt| attempt.outcome == Some(Outcome::Cancelled)));
    }
}

#[tokio::test]
async fn the_end_is_told_once_whenever_the_caller_leaves_a_stream() {
    for (caller, provider) in DIRECTIONS {
        let whole = stream(provider);
        let total = whole.matches("\n\n").count();
        for frames in 0..=total + 1 {
            let recorder: Arc<Recorder> = Default::default();
            let mut steps: Vec<Step> =
                whole.split_inclusive("\n\n").map(|event| Step::data(event.to_owned())).collect();
            steps.push(Step::Stall);
            let scripted = Scripted::new(steps);
            let dropped = scripted.dropped();
            let reply = events([]).map(|_| Body::from(scripted));
            let request = post(caller, hello(caller, true));
            let mut body = call(&recorder, &[target(provider)], request, [reply]).await.into_body();
            let mut cx = Context::from_waker(Waker::noop());
            let mut ended = false;
            for _ in 0..frames {
                if let Poll::Ready(Some(Ok(frame))) = std::pin::Pin::new(&mut body).poll_frame(&mut cx) {
                    let data = frame.into_data().expect("is data");
                    ended |= [DONE, MESSAGE_STOP].iter().any(|end| data.ends_with(end.as_bytes()));
                }
            }
            assert_eq!(recorder.ends().len(), 0);
            assert!(!dropped.load(Ordering::SeqCst));
            drop(body);
            assert!(dropped.load(Ordering::SeqCst), "the upstream is cancelled");
            let outcome = if ended { Outcome::Complete } else { Outcome::Cancelled };
            assert_eq!(recorder.outcomes(), [[Some(outcome)]], "{caller:?} {provider:?} after {frames}");
        }
    }
}

#[tokio::test]
async fn a_lone_subscriber_reads_for_itself() {
    for dialect in DIALECTS {
        let recorder: Arc<Recorder> = Default::default();
        let upstream = service_fn(move |request: Request<Body>| {
            // Nobody asks the provider for more than the caller did.
            assert_eq!(request.body().as_bytes().map(Bytes::len), Some(hello(dialect, true).len()));
            ready(Ok::<_, Infallible>(events([Step::data(stream(dialect))])))
        });
        let request = post(dialect, hello(dialect, true));
        let response = watch(&recorder).layer(upstream).oneshot(request).await.expect("is infallible");
        assert_eq!(read_body(response.into_body()).await.0, stream(dialect));
        let attempts = recorder.ends().remove(0);
        assert_eq!(
            attempts.iter().map(summary).collect::<Vec<_>>(),
            [(None, true, 2, Some(5), Some(Outcome::Complete))]
        );
    }
}

#[tokio::test]
async fn an_answer_is_fed_once_however_many_listen() {
    let (outer, inner): (Arc<Recorder>, Arc<Recorder>) = Default::default();
    let upstream =
        service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(events([Step::data(stream(OPENAI))]))));
    let translate = TranslateLayer::new().target(target(OPENAI)).layer(upstream);
    let service = watch(&outer).layer(watch(&inner).layer(translate));
    let response = service.oneshot(post(ANTHROPIC, hello(ANTHROPIC, true))).await.expect("is infallible");
    read_body(response.into_body()).await;
    assert_eq!(outer.ends(), inner.ends());
    let attempts = outer.ends().remove(0);
    assert_eq!(
        attempts.iter().map(summary).collect::<Vec<_>>(),
        [(Some("openai/gpt"), true, 2, Some(5), Some(Outcome::Complete))]
    );
}

#[tokio::test]
async fn usage_is_seen_before_the_last_bytes_go_on() {
    for (caller, provider) in DIRECTIONS {
        let recorder: Arc<Recorder> = Default::default();
        let request = post(caller, hello(caller, true));
        let steps = stream(provider)
            .split_inclusive("\n\n")
            .map(|event| Step::data(event.to_owned()))
            .collect::<Vec<_>>();
        let mut body = call(&recorder, &[target(provider)], request, [events(steps)]).await.into_body();
        while let Some(frame) = body.frame().await {
            let data = frame.expect("does not fail").into_data().expect("is data");
            if [DONE, MESSAGE_STOP].iter().any(|end| data.ends_with(end.as_bytes())) {
                let seen = recorder.progress();
                assert_eq!(
                    seen.last().and_then(|attempt| attempt.usage).and_then(|usage| usage.output),
                    Some(5)
                );
            }
        }
    }
}

#[tokio::test]
async fn the_watching_layer_conforms_alone_and_over_translate() {
    fn request(body: &str) -> Request<Bytes> {
        Request::post(path(OPENAI)).body(Bytes::from(body.to_owned())).expect("is a request")
    }
    let recorder: Arc<Recorder> = Default::default();
    let layer = watch(&recorder);
    let calls = layer.calls();
    let settled = Arc::clone(&recorder);
    let counted = Arc::clone(&calls);
    let report = Conformance::new(layer)
        .request(|| request(&hello(OPENAI, true)))
        .response(|| {
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(stream(OPENAI).into())
                .expect("is a response")
        })
        .refused(|| request("no JSON"))
        .untouched(|| {
            let mut request = request("anything");
            *request.uri_mut() = http::Uri::from_static("/v1/files");
            request
        })
        .settled(move || {
            // Refused calls and calls that were dropped unread have no end, as nobody had subscribed: never more than one.
            let ends = settled.ends();
            let open = ends.iter().flatten().filter(|attempt| attempt.outcome.is_none()).count();
            let told = ends.len() <= counted.load(Ordering::SeqCst);
            if open == 0 && told {
                Ok(())
            } else {
                Err(format!("{open} attempts are open, {} ends told", ends.len()))
            }
        })
        .shared(move |first, second| {
            let calls = Arc::clone(&calls);
            async move {
                let before = calls.load(Ordering::SeqCst);
                for service in [first, second] {
                    let _answer = service.oneshot(request(&hello(OPENAI, true)).map(Body::from)).await;
                }
                calls.load(Ordering::SeqCst) == before + 2
            }
        })
        .run()
        .await;
    report.assert();
    assert_eq!(report.passed().len(), 11);

    let stack =
        tower::layer::util::Stack::new(TranslateLayer::new().target(target(ANTHROPIC)), watch(&recorder));
    let report = Conformance::new(stack)
        .request(|| request(&hello(OPENAI, true)))
        .response(|| Response::new(stream(ANTHROPIC).into()))
        .refused(|| request("no JSON"))
        .without(Check::Trailers, "translated")
        .without(Check::SizeHint, "translated")
        .without(Check::SharedState, "seen above")
        .run()
        .await;
    report.assert();

    let _router = axum_takes(watch(&recorder));
    let _client = client_takes(watch(&recorder));
}
