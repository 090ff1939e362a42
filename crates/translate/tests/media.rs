//! Sound, what is heard, and images: forms and answers that pass.

mod support;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, request::Parts};
use serde_json::json;
use ziggurat_core::{Attempt, Body, Credential, CredentialError, Operation, Outcome, Target};
use ziggurat_testkit::{Scripted, Step};

use crate::support::*;

const PATH: &str = "/v1/audio/transcriptions";
const URL: &str = "https://o.example/v1/audio/transcriptions";
const KIND: &str = "multipart/form-data; boundary=b";

fn part(head: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

fn form(model: &str, sound: &str) -> String {
    [
        part("name=\"x-unknown\"", " 1 "),
        part("name=\"model\"", model),
        part("name=\"file\"; filename=\"a b.mp3\"", sound),
        part("name=\"language\"", "de"),
        "--b--\r\n".to_owned(),
    ]
    .concat()
}

fn heard(body: impl Into<Body>) -> Request<Body> {
    Request::post(PATH).header("content-type", KIND).body(body.into()).expect("is a request")
}

fn serving(operation: Operation, url: &str) -> Target {
    target(OPENAI).serves(operation, url).expect("is a URL")
}

/// Asks for a transcription; gives what came of it, and the attempt as it is on the meter.
async fn transcribe(kind: &str, answer: &str) -> (Exchange, Attempt) {
    let recorder: Arc<Recorder> = Arc::default();
    let mut asked = heard(form("alias", "sound"));
    let (_meter, end) = recorder.join(&mut asked);
    let answer = answering(200, kind, answer.to_owned());
    let exchange = exchange(serving(Operation::Transcription, URL), asked, answer).await;
    drop(end);
    (exchange, recorder.ends()[0][0].clone())
}

#[tokio::test]
async fn a_form_passes_with_its_model_alone_changed() {
    let answer = r#"{"text":"Hi","usage":{"type":"duration","seconds":3}}"#;
    let (exchange, attempt) = transcribe("application/json", answer).await;
    let sent = exchange.sent();
    assert_eq!((sent.parts.uri.to_string().as_str(), sent.body.as_str()), (URL, &*form("gpt", "sound")));
    assert_eq!((sent.header("content-type"), sent.header("accept")), (Some(KIND), Some("*/*")));
    assert_eq!((exchange.status.as_u16(), &*exchange.body), (200, answer));
    assert_eq!(attempt.usage.and_then(|usage| usage.heard), Some(Duration::from_secs(3)));
    assert_eq!(attempt.outcome, Some(Outcome::Complete));
}

/// A form that comes in pieces.
fn coming(form: &str) -> Body {
    let pieces = form.as_bytes().chunks(1000).map(|it| String::from_utf8_lossy(it).into_owned());
    Body::from(Scripted::new(pieces.map(Step::data)))
}

#[tokio::test]
async fn a_long_form_passes_as_it_comes() {
    let sound = "s".repeat(2 << 20);
    let asked = heard(coming(&form("alias", &sound)));
    let exchange = exchange(serving(Operation::Transcription, URL), asked, json("{\"text\":\"Hi\"}")).await;
    assert!(exchange.sent().body == form("gpt", &sound));
    assert_eq!(exchange.status, 200);
}

struct Signing;

impl Credential for Signing {
    fn apply<'a>(
        &'a self,
        parts: &'a mut Parts,
        body: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<(), CredentialError>> + Send + 'a>> {
        parts.headers.insert("x-signed", body.len().into());
        Box::pin(std::future::ready(Ok(())))
    }

    fn signs_body(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_form_is_signed_whole_or_refused() {
    let signing = || serving(Operation::Transcription, URL).credential(Signing);
    let held = exchange(signing(), heard(coming(&form("alias", "sound"))), json("{}")).await;
    let signed = form("gpt", "sound");
    assert_eq!(held.sent().body, signed);
    assert_eq!(held.sent().header("x-signed"), Some(&*signed.len().to_string()));
    let long = form("alias", &"s".repeat(2 << 20));
    let passing = exchange(signing(), heard(coming(&long)), json("{}")).await;
    assert!(passing.sent.is_none());
    let message =
        "a form of this size is passed on as it comes, and the deployment signs all of what it is sent";
    assert_eq!((passing.status.as_u16(), &passing.json()["error"]["message"]), (413, &json!(message)));
}

#[tokio::test]
async fn what_was_heard_passes_in_every_form_that_it_may_be_asked_in() {
    let subtitles = "1\n00:00:00,000 --> 00:00:02,500\n<i>Hi</i>\n";
    for (kind, answer, length) in [
        ("text/plain; charset=utf-8", "{ no JSON\n", None),
        ("text/plain", "<laughs>", None),
        ("application/x-subrip", subtitles, Some(2500)),
        ("text/vtt", "WEBVTT\n\n00:00.000 --> 00:09.000\nHi\n", Some(9000)),
        (
            "application/json",
            r#"{"task":"transcribe","duration":8.25,"text":"Hi","segments":[]}"#,
            Some(8250),
        ),
    ] {
        let (exchange, attempt) = transcribe(kind, answer).await;
        assert_eq!((exchange.status.as_u16(), &*exchange.body), (200, answer));
        assert_eq!(exchange.header("content-type"), Some(kind));
        let heard = attempt.usage.and_then(|usage| usage.heard);
        assert_eq!(heard, length.map(Duration::from_millis), "{kind}");
    }
    for (kind, answer, message) in [
        ("text/html", "<html>", "the provider answered with HTML"),
        ("application/json", "", "the provider answered with nothing"),
        ("application/json", r#"{"error":{"message":"no sound"}}"#, "no sound"),
    ] {
        let (exchange, attempt) = transcribe(kind, answer).await;
        assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["message"]), (502, &json!(message)));
        assert_eq!(attempt.outcome, Some(Outcome::Failed));
    }
}

#[tokio::test]
async fn a_streamed_transcription_passes_and_ends_with_its_last_event() {
    let delta =
        "event: transcript.text.delta\ndata: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\n";
    let done = "event: transcript.text.done\ndata: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"audio_tokens\":10,\"text_tokens\":4},\"output_tokens\":2,\"total_tokens\":16}}\n\n";
    for end in ["", "data: [DONE]\n\n"] {
        let events = format!("{delta}{done}{end}");
        let (exchange, attempt) = transcribe("text/event-stream; charset=utf-8", &events).await;
        assert_eq!(exchange.body, events);
        let usage = attempt.usage.expect("is stated");
        assert_eq!((usage.input, usage.audio_input, usage.output), (Some(14), Some(10), Some(2)));
        assert_eq!(attempt.outcome, Some(Outcome::Complete));
    }
    let (cut, attempt) = transcribe("text/event-stream", delta).await;
    assert!(cut.body.starts_with(delta) && cut.body.contains("\"error\""), "{}", cut.body);
    assert_eq!(attempt.outcome, Some(Outcome::Truncated));
    let failed = "data: {\"type\":\"error\",\"error\":{\"message\":\"too loud\"}}\n\n";
    let (told, attempt) = transcribe("text/event-stream", failed).await;
    assert!(told.body.contains("too loud"), "{}", told.body);
    assert_eq!(attempt.outcome, Some(Outcome::Failed));
}

#[tokio::test]
async fn images_are_counted_whole_and_streamed() {
    let url = "https://o.example/v1/images/generations";
    let ask = |answer| {
        let recorder: Arc<Recorder> = Arc::default();
        async move {
            let body = r#"{"model":"alias","prompt":"a cat","n":2}"#;
            let mut asked = Request::post("/v1/images/generations").body(Body::from(body)).expect("is one");
            let (_meter, end) = recorder.join(&mut asked);
            let exchange = exchange(serving(Operation::Images, url), asked, answer).await;
            drop(end);
            (exchange, recorder.ends()[0][0].clone())
        }
    };
    let answer = r#"{"created":7,"data":[{"b64_json":"AA=="},{"b64_json":"AA=="}],"usage":{"input_tokens":5,"output_tokens":200,"total_tokens":205}}"#;
    let (exchange, attempt) = ask(json_of(answer)).await;
    assert_eq!(exchange.sent().body, r#"{"model":"gpt","prompt":"a cat","n":2}"#);
    assert_eq!(exchange.body, answer);
    let usage = attempt.usage.expect("is stated");
    assert_eq!((usage.images, usage.input, usage.image_output), (Some(2), Some(5), Some(200)));

    let partial = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA==\"}\n\n";
    let whole = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA==\",\"usage\":{\"input_tokens\":5,\"output_tokens\":100,\"total_tokens\":105}}\n\n";
    let events = format!("{partial}{whole}{whole}");
    let (exchange, attempt) = ask(answering(200, "text/event-stream", events.clone())).await;
    assert_eq!(exchange.body, events);
    let usage = attempt.usage.expect("is stated");
    assert_eq!((usage.images, usage.input, usage.image_output), (Some(2), Some(10), Some(200)));
    assert_eq!(attempt.outcome, Some(Outcome::Complete));
}

fn json_of(answer: &'static str) -> http::Response<Body> {
    json(answer)
}

#[tokio::test]
async fn speech_is_sound_or_events_and_an_error_is_neither() {
    let url = "https://o.example/v1/audio/speech";
    let ask = |answer| async {
        let body = r#"{"model":"alias","input":"Hi","voice":"v"}"#;
        let asked = Request::post("/v1/audio/speech").body(Body::from(body)).expect("is one");
        exchange(serving(Operation::Speech, url), asked, answer).await
    };
    let events = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AA==\"}\n\ndata: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"total_tokens\":3}}\n\n";
    assert_eq!(ask(answering(200, "text/event-stream", events)).await.body, events);
    let error =
        r#"{"error":{"message":"no such voice","type":"invalid_request_error","param":"voice","code":null}}"#;
    let refused = ask(answering(400, "application/json", error)).await;
    assert_eq!((refused.status.as_u16(), &*refused.body), (400, error));
    let hidden = ask(answering(200, "application/json", error)).await;
    assert_eq!((hidden.status.as_u16(), &hidden.json()["error"]["message"]), (400, &json!("no such voice")));
}

#[tokio::test]
async fn a_form_for_who_does_not_serve_it_is_refused_unread() {
    let exchange = exchange(target(OPENAI), heard(form("alias", "s")), json("{}")).await;
    assert!(exchange.sent.is_none());
    let message = "the model's provider cannot be asked for transcriptions";
    assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["message"]), (404, &json!(message)));
}
