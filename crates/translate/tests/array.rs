//! Google's callers who ask for no server-sent events.

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{Body, Cause, Dialect, Problem};
use ziggurat_dialect::{json_array::Decoder, sse::Frame};
use ziggurat_testkit::conformance::{Check, Conformance, axum_takes};
use ziggurat_translate::ArrayLayer;

use crate::support::*;

const ARRAY: &str = "/v1beta/models/alias:streamGenerateContent";
const FIRST: &str = r#"{"candidates":[{"content":{"parts":[{"text":"a]"}],"role":"model"},"index":0}]}"#;
const LAST: &str =
    r#"{"candidates":[{"content":{"parts":[{"text":"b"}],"role":"model"},"finishReason":"STOP","index":0}]}"#;

fn asked(path: &str) -> Request<Body> {
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}"#;
    Request::post(path).body(Body::from(body)).expect("is a request")
}

/// What is answered at a path, where this comes from within.
async fn answer(path: &str, within: Response<Body>) -> Response<Body> {
    let within = std::sync::Mutex::new(Some(within));
    let inner = service_fn(|_: Request<Body>| {
        let within = within.lock().expect("is sound").take().expect("is called once");
        async move { Ok::<_, Infallible>(within) }
    });
    ArrayLayer::new().layer(inner).oneshot(asked(path)).await.expect("is infallible")
}

async fn read(response: Response<Body>) -> String {
    read_body(response.into_body()).await.0
}

async fn array_of(steps: Vec<Step>) -> String {
    read(answer(ARRAY, events(steps)).await).await
}

#[tokio::test]
async fn a_stream_is_one_array() {
    let within = events([
        Step::data(format!(": waiting\n\ndata: {FIRST}\r\n\r\n")),
        Step::data(format!("data: {LAST}\n\ndata:\n\n")),
    ]);
    let response = answer(ARRAY, within).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(read(response).await, format!("[{FIRST},\r\n{LAST}]"));
    assert_eq!(array_of(vec![]).await, "[]");
    // An event that lacks its blank line is whole all the same, or none.
    assert_eq!(array_of(vec![Step::data(format!("data: {FIRST}"))]).await, format!("[{FIRST}]"));
    let cut = r#"{"error":{"code":502,"message":"the provider's stream ended before the answer was complete","status":"INTERNAL"}}"#;
    let told = array_of(vec![Step::data(format!("data: {FIRST}\n\ndata: {{\"cand"))]).await;
    assert_eq!(told, format!("[{FIRST},\r\n{cut}]"));
}

#[tokio::test]
async fn each_element_goes_with_its_event() {
    let steps = [format!("data: {FIRST}\n"), "\n".to_owned(), format!("data: {LAST}\n\n")];
    let mut body = answer(ARRAY, events(steps.map(Step::data))).await.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        frames.push(frame.expect("is sound").into_data().expect("is data"));
    }
    assert_eq!(frames, [format!("[{FIRST}"), format!(",\r\n{LAST}"), "]".to_owned()]);
}

#[tokio::test]
async fn only_googles_callers_who_ask_for_no_events_get_one() {
    let stream = format!("data: {FIRST}\n\n");
    let events_at =
        ["?alt=sse", "?key=k&alt=sse", "?$alt=sse", "?%24alt=sse"].map(|query| format!("{ARRAY}{query}"));
    for path in events_at.iter().map(String::as_str).chain(["/v1/messages", "/v1/chat/completions"]) {
        let response = answer(path, answering(200, "text/event-stream", stream.clone())).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{path}");
        assert_eq!(read(response).await, stream, "{path}");
    }
    for query in ["", "?alt=json", "?alt=", "?x=alt=sse", "?alt=ssex"] {
        let response = answer(&format!("{ARRAY}{query}"), events([Step::data(stream.clone())])).await;
        assert_eq!(read(response).await, format!("[{FIRST}]"), "{query}");
    }
    // What is neither a stream nor an error in its place is not touched.
    for (status, kind, body) in [(200, "application/json", "{}"), (502, "text/html", "<p>")] {
        assert_eq!(read(answer(ARRAY, answering(status, kind, body)).await).await, body);
    }
}

#[tokio::test]
async fn errors_are_elements() {
    let problem = Problem::new(Cause::RateLimit, "slow down");
    let error = String::from_utf8(problem.to_json(Dialect::Gemini)).expect("is text");
    let event = String::from_utf8(problem.to_event(Dialect::Gemini)).expect("is text");
    let told = array_of(vec![Step::data(format!("data: {FIRST}\n\n")), Step::data(event)]).await;
    assert_eq!(told, format!("[{FIRST},\r\n{error}]"));
    let mut refused = problem.into_response(Dialect::Gemini);
    refused.headers_mut().insert("content-length", HeaderValue::from(error.len()));
    let response = answer(ARRAY, refused).await;
    assert_eq!((response.status().as_u16(), response.headers().get("content-length")), (429, None));
    assert_eq!(read(response).await, format!("[{error}]"));
    let mebibyte = Bytes::from(vec![b'x'; 1 << 20]);
    let steps = std::iter::once(Step::data("data: ")).chain((0..65).map(|_| Step::data(mebibyte.clone())));
    let told: Value = serde_json::from_str(&array_of(steps.collect()).await).expect("is JSON");
    assert_eq!(told[0]["error"]["message"], "the provider sent an event of more than 67108864 bytes");
}

#[tokio::test]
async fn a_body_that_breaks_breaks_here_too() {
    let steps = [Step::data(format!("data: {FIRST}\n\n")), Step::reset()];
    let mut body = answer(ARRAY, events(steps)).await.into_body();
    let first = body.frame().await.expect("is there").expect("is sound").into_data().expect("is data");
    assert_eq!(first, format!("[{FIRST}"));
    assert!(body.frame().await.expect("is there").is_err());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn trailers_come_behind_the_array() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-t", HeaderValue::from_static("1"));
    let steps = [Step::data(format!("data: {FIRST}\n\n")), Step::Trailers(trailers.clone())];
    let collected = answer(ARRAY, events(steps)).await.into_body().collect().await.expect("is sound");
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), format!("[{FIRST}]"));
}

#[tokio::test]
async fn a_caller_who_leaves_lets_go_of_what_is_within() {
    let stalled = Scripted::new([Step::data(format!("data: {FIRST}\n\n")), Step::Stall]);
    let dropped = stalled.dropped();
    let within = answering(200, "text/event-stream", Body::new(stalled));
    let mut body = answer(ARRAY, within).await.into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
    assert!(!dropped.load(Ordering::Relaxed));
    drop(body);
    assert!(dropped.load(Ordering::Relaxed));
}

#[tokio::test]
async fn every_providers_stream_reaches_googles_caller_as_an_array() {
    for dialect in [ANTHROPIC, OPENAI] {
        let translated = exchange(target(dialect), asked(ARRAY), events([Step::data(stream(dialect))])).await;
        let within = answering(200, "text/event-stream", translated.body);
        let told: Value = serde_json::from_str(&read(answer(ARRAY, within).await).await).expect("is JSON");
        let elements = told.as_array().expect("is an array");
        let text: String = elements
            .iter()
            .filter_map(|element| element["candidates"][0]["content"]["parts"][0]["text"].as_str())
            .collect();
        let last = &elements.last().expect("is one")["candidates"][0]["finishReason"];
        assert_eq!((&*text, last), ("Hi", &json!("STOP")), "{dialect:?}");
    }
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_the_array_is_the_same(
        words in prop::collection::vec("[a\"\\[\\]{},:\\n\u{e9} ]{0,6}", 0..5),
        cuts in prop::collection::vec(0_usize..400, 0..12),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let elements: Vec<String> = words.iter().map(|word| json!({"text": word}).to_string()).collect();
        let events = elements.iter().map(|element| format!(": c{end}data: {element}{end}{end}"));
        let stream = events.collect::<String>().into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < stream.len()).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let steps = cuts.windows(2).map(|cut| Step::data(stream[cut[0]..cut[1]].to_vec())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runs");
        let told = runtime.block_on(array_of(steps));
        prop_assert_eq!(&told, &format!("[{}]", elements.join(",\r\n")));
        // And as we read one ourselves.
        let mut decoder = Decoder::new(1 << 20);
        decoder.push(told.into());
        let mut read = Vec::new();
        for frame in &mut decoder {
            if let Frame::Event(event) = frame.expect("is not long") {
                read.push(String::from_utf8(event.data.to_vec()).expect("is text"));
            }
        }
        prop_assert_eq!(read, elements);
    }
}

#[tokio::test]
async fn conforms() {
    for (path, kind, body) in [
        (ARRAY, "text/event-stream", format!("data: {FIRST}\n\n")),
        ("/v1/messages", "application/json", "{}".to_owned()),
    ] {
        let is_array = path == ARRAY;
        let mut conformance = Conformance::new(ArrayLayer::new())
            .request(move || Request::post(path).body(Bytes::from("{}")).expect("is a request"))
            .response(move || {
                let mut reply = Response::new(Bytes::from(body.clone()));
                reply.headers_mut().insert("content-type", HeaderValue::from_static(kind));
                reply
            })
            .without(Check::Refusal, "it refuses nothing")
            .without(Check::SharedState, "it has none");
        if is_array {
            conformance = conformance.without(Check::SizeHint, "what is handed on has another length");
        }
        conformance.run().await.assert();
    }
    let _router = axum_takes(ArrayLayer::new());
}
