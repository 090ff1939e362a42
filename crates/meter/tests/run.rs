//! A lone subscriber around a service that knows nothing of meters.

mod support;

use std::{
    convert::Infallible,
    future::{Future, ready},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tower::service_fn;
use ziggurat_core::{
    Body, BoxError, Call, Cause, Decision, Dialect, Limits, Meter, Metered, Outcome, Rejection, Unsent,
};
use ziggurat_meter::{Options, run};

use crate::support::*;

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
const ANSWER: &str = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;

async fn request(path: &str) -> Request<Body> {
    request_of(path, CHAT).await
}

async fn request_of(path: &str, body: &'static str) -> Request<Body> {
    let request =
        Request::post(path).header("accept-encoding", "gzip").body(Body::from(body)).expect("is valid");
    Call::read(request, &Limits::default()).await.expect("is valid").0
}

fn respond(kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .header("content-type", kind)
        .header("x-own", "1")
        .body(Body::from(body))
        .expect("is valid")
}

/// Runs a call and reads its answer.
async fn call<F>(
    recorder: &Arc<Recorder>,
    request: Request<Body>,
    answer: impl FnMut(Request<Body>) -> F + Send,
) -> Response<String>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Send,
{
    let subscriber = Arc::clone(recorder) as Arc<dyn ziggurat_core::Subscriber>;
    let response = run(&mut service_fn(answer), request, subscriber, 1000).await.expect("is valid");
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, read_body(body).await.0)
}

#[tokio::test]
async fn a_stream_is_read_as_it_passes() {
    for (dialect, path) in [(Dialect::OpenAi, "/v1/chat/completions"), (Dialect::Anthropic, "/v1/messages")] {
        let recorder = Arc::default();
        let text = stream(dialect);
        let response = call(&recorder, request(path).await, |_| {
            ready(Ok(respond("Text/Event-Stream; charset=utf-8", text.clone())))
        });
        let response = response.await;
        assert_eq!((response.headers()["x-own"].as_bytes(), response.body()), (&b"1"[..], &text));
        let ends = recorder.ends();
        assert_eq!((ends.len(), ends[0].len()), (1, 1));
        assert_eq!((ends[0][0].outcome, ends[0][0].content_bytes), (Some(Outcome::Complete), 2));
        assert_eq!(ends[0][0].usage.and_then(|usage| usage.output), Some(5));
        assert!(ends[0][0].sent);
    }
}

#[tokio::test]
async fn a_whole_answer_is_read_and_may_be_stopped() {
    let answer = |request: Request<Body>| {
        assert!(!request.headers().contains_key(header::ACCEPT_ENCODING));
        ready(Ok(respond("application/json", ANSWER)))
    };
    let recorder = Arc::default();
    let response = call(&recorder, request("/v1/chat/completions").await, answer).await;
    assert_eq!((response.headers()["x-own"].as_bytes(), &**response.body()), (&b"1"[..], ANSWER));
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Complete)]]);
    assert_eq!(recorder.progress()[0].usage.and_then(|usage| usage.input), Some(3));

    let stop = Rejection::new(Cause::Quota, "spent");
    let recorder = Recorder::on_progress(move |_| Decision::Stop(stop.clone()));
    let response = call(&recorder, request("/v1/chat/completions").await, answer).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.extensions().get::<Rejection>().is_some());
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Stopped)]]);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_an_error_in_the_callers_dialect() {
    let recorder = Arc::default();
    let response = call(&recorder, request("/v1/messages").await, |_| {
        ready(Ok(respond("application/json", " ".repeat(1001))))
    });
    let response = response.await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(
        response.body(),
        r#"{"type":"error","error":{"type":"api_error","message":"the provider's answer is larger than 1000 bytes"}}"#
    );
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Truncated)]]);
}

#[tokio::test]
async fn what_cannot_be_read_passes_as_it_is() {
    let gzip = |_| {
        let mut response = respond("text/event-stream", "");
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        ready(Ok(response.map(|_| Body::from("zipped"))))
    };
    for (path, outcome) in [("/v1/chat/completions", Outcome::Complete), ("/v1/files", Outcome::Complete)] {
        let recorder = Arc::default();
        let response = call(&recorder, request(path).await, gzip).await;
        assert_eq!(response.body(), "zipped");
        assert_eq!(recorder.outcomes(), [[Some(outcome)]]);
        assert_eq!(recorder.ends()[0][0].usage, None);
    }
    // An answer that is no conversation.
    let recorder = Arc::default();
    let response = call(&recorder, request("/v1/messages/count_tokens").await, |_| {
        ready(Ok(respond("application/json", r#"{"input_tokens":5}"#)))
    });
    assert_eq!(response.await.body(), r#"{"input_tokens":5}"#);
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Complete)]]);
}

#[tokio::test]
async fn an_error_status_is_a_failed_attempt_and_a_refusal_of_ours_is_none() {
    let recorder = Arc::default();
    let response = call(&recorder, request("/v1/chat/completions").await, |_| {
        let mut response = respond("application/json", "{}");
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        ready(Ok(response))
    });
    assert_eq!(response.await.body(), "{}");
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Failed)]]);

    let recorder = Arc::default();
    let response = call(&recorder, request("/v1/chat/completions").await, |_| {
        ready(Ok(Rejection::new(Cause::RateLimit, "later").into_response(Dialect::OpenAi)))
    });
    assert_eq!(response.await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(recorder.ends(), [vec![]]);
}

#[tokio::test]
async fn what_an_inner_layer_feeds_is_not_fed_twice() {
    let recorder: Arc<Recorder> = Arc::default();
    let response = call(&recorder, request("/v1/chat/completions").await, |request| async move {
        let meter = request.extensions().get::<Meter>().unwrap().clone();
        let handle = meter.attempt(None).await.unwrap();
        let body = Body::from(stream(Dialect::OpenAi));
        let body = ziggurat_meter::MeteredBody::new(body, Options::new(Dialect::OpenAi), Some(handle));
        let mut response = respond("text/event-stream", "").map(|_| Body::new(body));
        response.extensions_mut().insert(Metered);
        Ok(response)
    });
    assert_eq!(*response.await.body(), stream(Dialect::OpenAi));
    let ends = recorder.ends();
    assert_eq!((ends.len(), ends[0].len()), (1, 1));
    assert_eq!((ends[0][0].content_bytes, ends[0][0].outcome), (2, Some(Outcome::Complete)));
}

#[tokio::test]
async fn a_second_subscriber_joins_the_meter_of_the_first() {
    let (outer, inner): (Arc<Recorder>, Arc<Recorder>) = Default::default();
    let subscriber = Arc::clone(&inner);
    let response = call(&outer, request("/v1/chat/completions").await, move |request| {
        let subscriber = Arc::clone(&subscriber) as Arc<dyn ziggurat_core::Subscriber>;
        async move {
            let answer = |_| ready(Ok(respond("text/event-stream", stream(Dialect::OpenAi))));
            run(&mut service_fn(answer), request, subscriber, 1000).await
        }
    });
    assert_eq!(*response.await.body(), stream(Dialect::OpenAi));
    assert_eq!(outer.ends(), inner.ends());
    assert_eq!(outer.outcomes(), [[Some(Outcome::Complete)]]);
    assert_eq!(outer.ends()[0][0].content_bytes, 2);
}

#[tokio::test]
async fn the_end_is_told_once_when_the_caller_leaves_before_headers() {
    let recorder: Arc<Recorder> = Arc::default();
    let subscriber = Arc::clone(&recorder) as Arc<dyn ziggurat_core::Subscriber>;
    let mut never = service_fn(|_| std::future::pending::<Result<Response<Body>, Infallible>>());
    let request = request("/v1/chat/completions").await;
    {
        let mut call = std::pin::pin!(run(&mut never, request, subscriber, 1000));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert_eq!(recorder.ends(), Vec::<Vec<_>>::new());
    }
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Cancelled)]]);
    assert!(recorder.ends()[0][0].sent);
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_a_failed_attempt() {
    let recorder: Arc<Recorder> = Arc::default();
    let subscriber = Arc::clone(&recorder) as Arc<dyn ziggurat_core::Subscriber>;
    let mut fails = service_fn(|_| ready(Err::<Response<Body>, _>("refused")));
    let result = run(&mut fails, request("/v1/chat/completions").await, subscriber, 1000).await;
    assert_eq!(result.unwrap_err(), "refused");
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Failed)]]);
}

/// The one attempt of a call whose inner service fails.
async fn failed<E: 'static>(error: E) -> (bool, Option<Outcome>) {
    let recorder: Arc<Recorder> = Arc::default();
    let subscriber = Arc::clone(&recorder) as Arc<dyn ziggurat_core::Subscriber>;
    let mut error = Some(error);
    let mut fails = service_fn(|_| ready(Err::<Response<Body>, _>(error.take().expect("is called once"))));
    let result = run(&mut fails, request("/v1/chat/completions").await, subscriber, 1000).await;
    assert!(result.is_err());
    let ends = recorder.ends();
    (ends[0][0].sent, ends[0][0].outcome)
}

#[tokio::test]
async fn what_an_error_says_of_the_attempt_is_on_record() {
    let refusal = || Rejection::new(Cause::Overloaded, "no room");
    let unsent = || Unsent::new("connection refused");
    assert_eq!(failed::<BoxError>("reset".into()).await, (true, Some(Outcome::Failed)));
    assert_eq!(failed::<BoxError>(unsent().into()).await, (false, Some(Outcome::Failed)));
    // Further down in the chain.
    let around = std::io::Error::other(std::io::Error::other(unsent()));
    assert_eq!(failed::<BoxError>(around.into()).await, (false, Some(Outcome::Failed)));
    assert_eq!(failed::<BoxError>(refusal().into()).await, (true, Some(Outcome::Stopped)));
    assert_eq!(failed(unsent()).await, (false, Some(Outcome::Failed)));
    assert_eq!(failed(refusal()).await, (true, Some(Outcome::Stopped)));
}

#[tokio::test]
async fn a_stream_is_told_by_its_first_byte_whatever_its_label() {
    let text = stream(Dialect::OpenAi);
    let recorder: Arc<Recorder> = Arc::default();
    let response = call(&recorder, request("/v1/chat/completions").await, |_| {
        // Longer than a whole answer may be, and never whole.
        let steps = [Step::data(text.clone()), Step::data(": x\n\n".repeat(300)), Step::Stall];
        ready(Ok(respond("application/json", "").map(|_| Body::from(Scripted::new(steps)))))
    });
    let mut response = std::pin::pin!(response);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(response.as_mut().poll(&mut cx).is_pending());
    assert_eq!(recorder.progress().last().map(|attempt| attempt.content_bytes), Some(2));

    // And an answer that is none.
    let recorder: Arc<Recorder> = Arc::default();
    let response = call(&recorder, request("/v1/chat/completions").await, |_| {
        ready(Ok(respond("text/event-stream", ANSWER)))
    });
    assert_eq!(response.await.body(), ANSWER);
    assert_eq!(recorder.outcomes(), [[Some(Outcome::Complete)]]);
}

#[tokio::test]
async fn what_ends_before_it_begins_is_an_error_event_where_a_stream_was_asked_for() {
    for beginning in ["", "\n\n", "dat"] {
        for (body, expected, outcome) in [
            (STREAM, truncated(Dialect::OpenAi), Outcome::Truncated),
            (CHAT, beginning.to_owned(), Outcome::Failed),
        ] {
            let recorder = Arc::default();
            let response = call(&recorder, request_of("/v1/chat/completions", body).await, |_| {
                ready(Ok(respond("text/event-stream", beginning)))
            });
            assert!(response.await.body().ends_with(&expected), "{beginning:?}");
            assert_eq!(recorder.outcomes(), [[Some(outcome)]], "{beginning:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_a_layer_of_ours_ends_is_told_in_its_words() {
    // In the first frame, and behind it.
    for skipped in [1, 0] {
        let recorder: Arc<Recorder> = Arc::default();
        let response = call(&recorder, request("/v1/messages").await, |_| {
            let refusal = Rejection::new(Cause::Overloaded, "closing");
            let steps = [Step::data("{"), Step::Fail(std::io::Error::other(refusal).into())];
            let body = Scripted::new(steps.into_iter().skip(skipped));
            ready(Ok(respond("application/json", "").map(|_| Body::from(body))))
        });
        let response = response.await;
        assert_eq!(response.status().as_u16(), 529);
        assert_eq!(
            response.body(),
            r#"{"type":"error","error":{"type":"overloaded_error","message":"closing"}}"#
        );
        assert!(response.extensions().get::<Rejection>().is_some());
        assert_eq!(recorder.outcomes(), [[Some(Outcome::Stopped)]]);
    }
}
