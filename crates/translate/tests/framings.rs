//! Streams that are no server-sent events, through the layer: to a caller whose stream is.

mod support;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use ziggurat_core::{Dialect, Target};
use ziggurat_testkit::{Recordings, samples};

use crate::support::*;

fn target(dialect: Dialect) -> Target {
    Target::new("vendor", dialect, "model-1", "https://v.example/whole")
        .and_then(|target| target.stream_url("https://v.example/stream"))
        .expect("is a URL")
}

/// What an OpenAI caller hears of a stream that comes in pieces of so many bytes.
async fn heard(dialect: Dialect, kind: &str, stream: &[u8], piece: usize) -> Exchange {
    let steps = stream.chunks(piece).map(|piece| Step::data(Bytes::copy_from_slice(piece)));
    let answer = answering(200, kind, Scripted::new(steps));
    exchange(target(dialect), post(OPENAI, hello(OPENAI, true)), answer).await
}

/// The text of a whole stream, and the model that it names.
fn text(exchange: &Exchange) -> (String, String) {
    let body = exchange.body.strip_suffix(samples::DONE).expect("ends well");
    let chunks =
        body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").expect("is an event"));
    let chunks: Vec<Value> = chunks.map(|chunk| serde_json::from_str(chunk).expect("is JSON")).collect();
    let text = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    (text, chunks[0]["model"].as_str().expect("is named").to_owned())
}

/// The code of the error in which a stream ends.
fn error(exchange: &Exchange) -> String {
    let last = exchange.body.trim_end().rsplit("\n\n").next().expect("there is an event");
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").expect("is one")).expect("is JSON");
    error["error"]["code"].as_str().expect("is an error").to_owned()
}

const LINES: &str = concat!(
    "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\"H\"},\"done\":false}\n",
    "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\"i\"},\"done\":false}\n",
    "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":5}\n",
);

#[tokio::test]
async fn lines_of_json_become_events() {
    for piece in [1, 7, 4096] {
        let exchange = heard(Dialect::Ollama, "application/x-ndjson", LINES.as_bytes(), piece).await;
        assert_eq!(exchange.sent().parts.uri, "https://v.example/stream");
        assert_eq!(exchange.sent().header("accept"), Some("application/x-ndjson"));
        assert_eq!(exchange.header("content-type"), Some("text/event-stream"));
        assert_eq!(text(&exchange), ("Hi".to_owned(), "m".to_owned()));
    }
    let cut = &LINES.as_bytes()[..LINES.len() - 40];
    assert_eq!(error(&heard(Dialect::Ollama, "application/x-ndjson", cut, 7).await), "upstream_truncated");
    let html = heard(Dialect::Ollama, "text/html", b"<html>\n", 7).await;
    assert_eq!(error(&html), "upstream_error");
}

/// A message of AWS's event stream.
fn message(kind: &str, name: &str, payload: &Value) -> Vec<u8> {
    let mut headers = Vec::new();
    for (key, value) in [(":message-type", kind), (&*format!(":{kind}-type"), name)] {
        headers.push(key.len() as u8);
        headers.extend(key.bytes());
        headers.push(7);
        headers.extend((value.len() as u16).to_be_bytes());
        headers.extend(value.bytes());
    }
    let payload = payload.to_string();
    let mut message = (16 + headers.len() as u32 + payload.len() as u32).to_be_bytes().to_vec();
    message.extend((headers.len() as u32).to_be_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

fn events() -> Vec<Vec<u8>> {
    vec![
        message("event", "messageStart", &json!({"role": "assistant"})),
        message("event", "contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": "Hi"}})),
        message("event", "contentBlockStop", &json!({"contentBlockIndex": 0})),
        message("event", "messageStop", &json!({"stopReason": "end_turn"})),
        message(
            "event",
            "metadata",
            &json!({"usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}, "metrics": {"latencyMs": 1}}),
        ),
    ]
}

const AWS: &str = "application/vnd.amazon.eventstream";

#[tokio::test]
async fn binary_messages_become_events_and_name_the_model_that_they_leave_out() {
    for piece in [1, 7, 4096] {
        let exchange = heard(Dialect::Converse, AWS, &events().concat(), piece).await;
        assert_eq!(exchange.sent().header("accept"), Some(AWS));
        assert_eq!(text(&exchange), ("Hi".to_owned(), "model-1".to_owned()));
        // As nobody named the answer, it has an id of ours, in every chunk the same.
        let (_, id) = exchange.body.split_once(r#""id":"chatcmpl-"#).expect("has an id");
        let id = &id[..32];
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(exchange.body.matches(id).count(), exchange.body.matches(r#""id":"#).count());
    }
}

#[tokio::test]
async fn what_breaks_among_binary_messages_is_told() {
    let mut throttled = events()[..2].concat();
    throttled.extend(message("exception", "throttlingException", &json!({"message": "slow down"})));
    assert_eq!(error(&heard(Dialect::Converse, AWS, &throttled, 7).await), "rate_limit_exceeded");
    let cut = events()[..2].concat();
    assert_eq!(error(&heard(Dialect::Converse, AWS, &cut, 7).await), "upstream_truncated");
    let mut broken = events().concat();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    assert_eq!(error(&heard(Dialect::Converse, AWS, &broken, 7).await), "upstream_error");
}

/// Claude, invoked on Bedrock.
fn invoked() -> Target {
    let version = ("anthropic_version".to_owned(), "\"bedrock-2023-05-31\"".to_owned());
    target(ANTHROPIC).names_model_in_url().adds([version]).wraps_events()
}

/// The events of Claude's answer, and each in a message of its own.
fn wrapped() -> (String, Vec<Vec<u8>>) {
    let stream = support::stream(ANTHROPIC);
    let events = stream.split_terminator("\n\n").filter_map(|event| event.split_once("data: "));
    let chunk = |json: &str| message("event", "chunk", &json!({"bytes": STANDARD.encode(json), "p": "abcd"}));
    let messages = events.map(|(_, json)| chunk(json)).collect();
    (stream, messages)
}

async fn heard_of_invoked(caller: Dialect, stream: &[u8], piece: usize) -> Exchange {
    let steps = stream.chunks(piece).map(|piece| Step::data(Bytes::copy_from_slice(piece)));
    exchange(invoked(), post(caller, hello(caller, true)), answering(200, AWS, Scripted::new(steps))).await
}

#[tokio::test]
async fn events_in_binary_messages_are_those_that_they_would_be_elsewhere() {
    let (stream, messages) = wrapped();
    for piece in [1, 7, 4096] {
        let same = heard_of_invoked(ANTHROPIC, &messages.concat(), piece).await;
        assert_eq!((same.status.as_u16(), &same.body), (200, &stream));
        assert_eq!(same.header("content-type"), Some("text/event-stream"));
        let sent = same.sent();
        assert_eq!(
            (&*sent.parts.uri.to_string(), sent.header("accept")),
            ("https://v.example/stream", Some(AWS))
        );
        let body = sent.json();
        assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
        assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
        let other = heard_of_invoked(OPENAI, &messages.concat(), piece).await;
        assert_eq!(text(&other).0, "Hi");
        let body = other.sent().json();
        assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
    }
}

/// As Bedrock has really sent them.
#[tokio::test]
async fn every_recorded_stream_of_claude_on_bedrock_reaches_both_callers() {
    let Some(all) = Recordings::shared() else { return };
    let mut count = 0;
    for recording in all.iter().filter(|it| it.endpoint == "invoke-with-response-stream") {
        let is_claude = recording.model.as_ref().is_some_and(|model| model.contains("claude"));
        if !is_claude || recording.format != "aws-eventstream" {
            continue;
        }
        let stream = recording.response.body();
        let same = heard_of_invoked(ANTHROPIC, stream, 100).await.body;
        let last = same.trim_end().rsplit("\n\n").next().expect("there is an event");
        assert!(
            same.starts_with("event: message_start\ndata: {") && last.starts_with("event: message_stop\n")
        );
        assert_eq!(same.matches("\n\n").count(), same.matches("event: ").count(), "{}", recording.id);
        let other = heard_of_invoked(OPENAI, stream, 100).await.body;
        assert!(other.ends_with(samples::DONE) && other.contains("\"finish_reason\":\""), "{}", recording.id);
        count += 1;
    }
    assert!(count >= 2, "{count}");
}

#[tokio::test]
async fn what_breaks_among_events_in_binary_messages_is_told() {
    let (_, messages) = wrapped();
    let begun = || messages[..3].concat();
    let mut throttled = begun();
    throttled.extend(message("exception", "throttlingException", &json!({"message": "slow down"})));
    // Nothing behind it is heard.
    throttled.extend(messages.concat());
    assert_eq!(error(&heard_of_invoked(OPENAI, &throttled, 7).await), "rate_limit_exceeded");
    let same = heard_of_invoked(ANTHROPIC, &throttled, 7).await.body;
    assert!(same.ends_with("\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}\n\n"), "{same}");
    let mut broken = messages.concat();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    let no_text = [begun(), message("event", "chunk", &json!({"bytes": "!"}))].concat();
    for cut in [begun(), broken, no_text, messages.concat()[..messages.concat().len() - 1].to_vec()] {
        assert_eq!(error(&heard_of_invoked(OPENAI, &cut, 7).await), "upstream_truncated");
    }
}

const FIRST: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"H"}]},"index":0}],"modelVersion":"g","responseId":"r"}"#;
const LAST: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"i"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":8},"modelVersion":"g","responseId":"r"}"#;

#[tokio::test]
async fn googles_streams_are_read_as_events_and_as_an_array() {
    for piece in [1, 7, 4096] {
        let events = format!("data: {FIRST}\r\n\r\ndata: {LAST}\r\n\r\n");
        let exchange = heard(Dialect::Gemini, "text/event-stream", events.as_bytes(), piece).await;
        assert_eq!(text(&exchange), ("Hi".to_owned(), "g".to_owned()));
        let array = format!("[{FIRST}\n,\r\n{LAST}\n]");
        let exchange = heard(Dialect::Gemini, "application/json", array.as_bytes(), piece).await;
        assert_eq!(text(&exchange), ("Hi".to_owned(), "g".to_owned()));
        let cut = heard(Dialect::Gemini, "application/json", format!("[{FIRST}").as_bytes(), piece).await;
        assert_eq!(error(&cut), "upstream_truncated");
    }
}

#[tokio::test]
async fn googles_own_callers_get_its_stream_as_it_is_to_its_end() {
    let events = format!("data: {FIRST}\r\n\r\ndata: {LAST}\r\n\r\n");
    let path = "/v1beta/models/alias:streamGenerateContent?alt=sse";
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}"#;
    let ask = |stream: String| async move {
        let request = http::Request::post(path).body(ziggurat_core::Body::from(body)).expect("is a request");
        let target = target(Dialect::Gemini).names_model_in_url();
        exchange(target, request, support::events([Step::data(stream)])).await
    };
    let whole = ask(events.clone()).await;
    assert_eq!((&*whole.body, &*whole.sent().body), (&*events, body));
    assert_eq!(whole.sent().parts.uri, "https://v.example/stream");
    let cut = ask(format!("data: {FIRST}\r\n\r\n")).await.body;
    assert!(cut.ends_with("\"status\":\"INTERNAL\"}}\n\n"), "{cut}");
}

#[tokio::test]
async fn googles_callers_reach_another_provider() {
    let request = |path: &str| {
        let body = r#"{"contents":[{"role":"user","parts":[{"text":"Hello"}]}],"generationConfig":{"maxOutputTokens":9}}"#;
        http::Request::post(path).body(ziggurat_core::Body::from(body)).expect("is a request")
    };
    let whole = exchange(
        support::target(OPENAI),
        request("/v1beta/models/alias:generateContent"),
        json(answer(OPENAI)),
    )
    .await;
    assert_eq!(whole.sent().json()["model"], "gpt");
    assert_eq!(whole.sent().json()["messages"], json!([{"role": "user", "content": "Hello"}]));
    let candidate = &whole.json()["candidates"][0];
    assert_eq!(
        (&candidate["content"]["parts"][0]["text"], &candidate["finishReason"]),
        (&json!("Hi"), &json!("STOP"))
    );
    let streamed = exchange(
        support::target(ANTHROPIC),
        request("/v1beta/models/alias:streamGenerateContent?alt=sse"),
        support::events([Step::data(support::stream(ANTHROPIC))]),
    )
    .await;
    assert_eq!(streamed.sent().json()["stream"], true);
    assert!(
        streamed.body.contains(r#""text":"Hi""#) && !streamed.body.contains("[DONE]"),
        "{}",
        streamed.body
    );
}

#[tokio::test]
async fn a_prompt_that_google_does_not_answer_is_an_answer() {
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}"#;
    let request = |path: &str| {
        let body = r#"{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}"#;
        http::Request::post(path).body(ziggurat_core::Body::from(body)).expect("is a request")
    };
    let whole =
        exchange(target(Dialect::Gemini), request("/v1beta/models/alias:generateContent"), json(blocked))
            .await;
    assert_eq!((whole.status.as_u16(), &*whole.body), (200, blocked));
    let recorder = std::sync::Arc::<Recorder>::default();
    let mut asked = request("/v1beta/models/alias:streamGenerateContent");
    let (_meter, end) = recorder.join(&mut asked);
    let filtered = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"H"}]},"finishReason":"SAFETY","index":0}]}"#;
    let stream = support::events([Step::data(format!("data: {filtered}\r\n\r\n"))]);
    exchange(target(Dialect::Gemini), asked, stream).await;
    drop(end);
    assert_eq!(recorder.outcomes(), [[Some(ziggurat_core::Outcome::Refused)]]);
}

#[tokio::test]
async fn an_image_within_an_event_is_not_too_long() {
    let image = format!(
        r#"{{"candidates":[{{"content":{{"role":"model","parts":[{{"inlineData":{{"mimeType":"image/png","data":"{}"}}}}]}},"finishReason":"STOP","index":0}}]}}"#,
        "A".repeat(2 << 20)
    );
    let stream = format!("data: {image}\r\n\r\n");
    let exchange = heard(Dialect::Gemini, "text/event-stream", stream.as_bytes(), 1 << 16).await;
    assert!(exchange.body.ends_with(samples::DONE));
}
