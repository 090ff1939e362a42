//! What a target is asked for at which URL, and what passes as it is.

mod support;

use std::sync::Arc;

use http::Request;
use serde_json::json;
use ziggurat_core::{Body, Cause, Operation, Outcome, Rejection, Target, Usage};

use crate::support::*;

fn request(path: &str, body: &str) -> Request<Body> {
    Request::post(path).body(Body::from(body.to_owned())).expect("is a request")
}

fn serving(operation: Operation, url: &str) -> Target {
    target(OPENAI).serves(operation, url).expect("is a URL")
}

const EMBEDDINGS: &str = "https://o.example/v1/embeddings";

#[tokio::test]
async fn embeddings_pass_with_the_model_alone_changed_and_what_they_used_is_told() {
    let recorder: Arc<Recorder> = Arc::default();
    let body = r#"{ "input": ["a", "b"],"model":"alias", "x": 1.0 }"#;
    let mut asked = request("/v1/embeddings", body);
    let (_meter, end) = recorder.join(&mut asked);
    let answer = r#"{"object":"list","data":[{"embedding":[0.1,1e-3],"index":0}],"usage":{"prompt_tokens":4,"total_tokens":4}}"#;
    let exchange = exchange(serving(Operation::Embeddings, EMBEDDINGS), asked, json(answer)).await;
    drop(end);
    assert_eq!(exchange.sent().parts.uri, EMBEDDINGS);
    assert_eq!(exchange.sent().body, r#"{ "input": ["a", "b"],"model":"gpt", "x": 1.0 }"#);
    assert_eq!((exchange.status.as_u16(), &*exchange.body), (200, answer));
    assert_eq!(exchange.header("content-type"), Some("application/json"));
    let attempt = &recorder.ends()[0][0];
    assert_eq!(attempt.usage.map(|usage: Usage| usage.input), Some(Some(4)));
    assert_eq!((attempt.outcome, attempt.content_begun), (Some(Outcome::Complete), false));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_also_with_a_good_status() {
    for (answer, message) in [
        (r#"{"error":{"message":"no such model"}}"#, "no such model"),
        ("<html>", "the provider answered with HTML"),
        ("", "the provider answered with nothing"),
    ] {
        let asked = request("/v1/embeddings", r#"{"input":"a","model":"alias"}"#);
        let exchange = exchange(serving(Operation::Embeddings, EMBEDDINGS), asked, json(answer)).await;
        assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["message"]), (502, &json!(message)));
    }
}

#[tokio::test]
async fn an_error_of_any_operation_is_told_in_the_callers_dialect() {
    let asked = request("/v1/embeddings", r#"{"input":"a","model":"alias"}"#);
    let answer = answering(401, "application/json", r#"{"detail":"Invalid API Key"}"#);
    let exchange = exchange(serving(Operation::Embeddings, EMBEDDINGS), asked, answer).await;
    assert_eq!(exchange.status, 401);
    assert_eq!(exchange.json()["error"]["code"], "invalid_api_key");
}

#[tokio::test]
async fn sound_passes_as_it_is() {
    let target = serving(Operation::Speech, "https://o.example/v1/audio/speech");
    let asked = request("/v1/audio/speech", r#"{"input":"a","model":"alias","voice":"v"}"#);
    let exchange = exchange(target, asked, answering(200, "audio/mpeg", "ID3")).await;
    assert_eq!((exchange.header("content-type"), &*exchange.body), (Some("audio/mpeg"), "ID3"));
    assert_eq!(exchange.sent().header("accept"), Some("*/*"));
}

#[tokio::test]
async fn what_a_target_does_not_serve_is_refused_and_nobody_is_asked() {
    for (path, what) in [
        ("/v1/embeddings", "embeddings"),
        ("/v1/rerank", "rerankings"),
        ("/v1/messages/count_tokens", "counts of tokens"),
    ] {
        let body = r#"{"model":"alias","input":"a","messages":[{"role":"user","content":"a"}]}"#;
        let exchange = exchange(target(OPENAI), request(path, body), json("{}")).await;
        assert!(exchange.sent.is_none(), "{path}");
        assert_eq!(exchange.status, 404);
        let message = format!("the model's provider cannot be asked for {what}");
        assert_eq!(exchange.json()["error"]["message"], message);
        let rejection = exchange.extensions.get::<Rejection>().expect("is a refusal");
        assert_eq!(rejection.problem().cause, Cause::NotFound);
    }
}

#[tokio::test]
async fn a_stream_has_a_url_of_its_own_where_the_target_has_one() {
    let target = target(OPENAI).stream_url("https://o.example/v1/stream?alt=sse").expect("is a URL");
    for (stream, url) in
        [(false, "https://o.example/v1/chat/completions"), (true, "https://o.example/v1/stream?alt=sse")]
    {
        let reply = if stream { events([Step::data(support::stream(OPENAI))]) } else { json(answer(OPENAI)) };
        let exchange = exchange(target.clone(), post(OPENAI, hello(OPENAI, stream)), reply).await;
        assert_eq!(exchange.sent().parts.uri, url);
    }
}

#[tokio::test]
async fn a_url_that_names_the_model_leaves_it_out_of_the_body() {
    let target = target(ANTHROPIC)
        .names_model_in_url()
        .adds([("anthropic_version".to_owned(), "\"v\"".to_owned()), ("x".to_owned(), "1".to_owned())]);
    let body = r#"{"max_tokens":9,"model":"alias","messages":[{"role":"user","content":"Hello"}],"x":2}"#;
    let exchange = exchange(target.clone(), post(ANTHROPIC, body), json(answer(ANTHROPIC))).await;
    assert_eq!(
        exchange.sent().body,
        r#"{"anthropic_version":"v","max_tokens":9,"messages":[{"role":"user","content":"Hello"}],"x":2}"#
    );
    let exchange =
        support::exchange(target, post(OPENAI, hello(OPENAI, false)), json(answer(ANTHROPIC))).await;
    let sent = exchange.sent().json();
    assert_eq!((sent.get("model"), &sent["anthropic_version"]), (None, &json!("v")));
}

const RESPONSES: &str = "https://o.example/v1/responses";
const RESPONSE: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"},\"sequence_number\":0}\n\n";
const RESPONSE_TEXT: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hi\",\"sequence_number\":1}\n\n";
const RESPONSE_END: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]},\"sequence_number\":2}\n\n";

async fn responses(stream: &str) -> Exchange {
    let asked = request("/v1/responses", r#"{"model":"alias","input":"Hello","stream":true}"#);
    exchange(serving(Operation::Responses, RESPONSES), asked, events([Step::data(stream.to_owned())])).await
}

#[tokio::test]
async fn responses_pass_byte_for_byte_to_their_own_terminator() {
    let whole = [RESPONSE, RESPONSE_TEXT, RESPONSE_END].concat();
    let exchange = responses(&whole).await;
    assert_eq!(exchange.sent().parts.uri, RESPONSES);
    assert_eq!(exchange.sent().body, r#"{"model":"gpt","input":"Hello","stream":true}"#);
    assert_eq!((exchange.status.as_u16(), &*exchange.body), (200, &*whole));
}

#[tokio::test]
async fn responses_that_end_early_or_fail_end_in_one_error() {
    let cut = responses(&[RESPONSE, RESPONSE_TEXT].concat()).await.body;
    let (_, last) = cut.trim_end().rsplit_once("\n\n").expect("several events");
    let data = last.strip_prefix("event: error\ndata: ").expect("an error");
    let error: serde_json::Value = serde_json::from_str(data).expect("is JSON");
    assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!("upstream_truncated")));

    let failed = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":2,\"error\":{\"type\":\"server_error\",\"code\":\"server_error\",\"message\":\"no\",\"param\":null}}\n\n";
    let twice = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"no\"}}}\n\n";
    let body = responses(&[RESPONSE, RESPONSE_TEXT, failed, twice].concat()).await.body;
    assert_eq!(body.matches("event: error\n").count() + body.matches("response.failed").count(), 1, "{body}");
}

async fn whole_response(answer: &'static str) -> Exchange {
    let asked = request("/v1/responses", r#"{"model":"alias","input":"Hello"}"#);
    exchange(serving(Operation::Responses, RESPONSES), asked, json(answer)).await
}

#[tokio::test]
async fn a_whole_response_that_failed_is_a_failure() {
    let failed = r#"{"id":"r","object":"response","status":"failed","output":[],"error":{"code":"rate_limit_exceeded","message":"slow down"},"usage":null}"#;
    let exchange = whole_response(failed).await;
    assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["message"]), (429, &json!("slow down")));
    let whole =
        r#"{"id":"r","object":"response","status":"completed","output":[],"error":null,"usage":null}"#;
    assert_eq!(whole_response(whole).await.body, whole);
}

#[tokio::test]
async fn a_response_that_fails_in_its_stream_keeps_its_words() {
    for failed in [
        r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"Slow down please"}}}"#,
        r#"{"type":"error","code":"rate_limit_exceeded","message":"Slow down please","param":null}"#,
    ] {
        let body = responses(&format!("{RESPONSE}event: x\ndata: {failed}\n\n")).await.body;
        let last = body.trim_end().rsplit("data: ").next().expect("there is an event");
        let error: serde_json::Value = serde_json::from_str(last).expect("is JSON");
        assert_eq!(
            (&error["error"]["message"], &error["error"]["code"]),
            (&json!("Slow down please"), &json!("rate_limit_exceeded")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_stream_is_asked_for_only_where_there_are_any() {
    let asked = request("/v1/embeddings", r#"{"input":"a","model":"alias","stream":true}"#);
    let answer = r#"{"object":"list","data":[]}"#;
    let exchange = exchange(serving(Operation::Embeddings, EMBEDDINGS), asked, json(answer)).await;
    assert_eq!((exchange.status.as_u16(), &*exchange.body), (200, answer));
    assert_eq!(exchange.sent().header("accept"), Some("application/json"));
}

#[tokio::test]
async fn the_text_of_a_streamed_completion_is_content_and_its_usage_is_asked_for() {
    let recorder: Arc<Recorder> = Arc::default();
    let mut asked = request("/v1/completions", r#"{"prompt":"a","model":"alias","stream":true}"#);
    let (_meter, end) = recorder.join(&mut asked);
    let chunk = |text: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":null}}]}}\n\n"
        )
    };
    let last = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let stream = [chunk("one"), chunk("three"), last.to_owned()].concat();
    let target = serving(Operation::Completions, "https://o.example/v1/completions");
    let exchange = exchange(target, asked, events([Step::data(stream.clone())])).await;
    drop(end);
    assert_eq!(exchange.body, stream);
    assert_eq!(exchange.sent().json()["stream_options"], json!({"include_usage": true}));
    assert_eq!(recorder.ends()[0][0].content_bytes, 8);
}

#[tokio::test]
async fn what_an_operator_gives_is_said_in_the_callers_words_where_it_has_some() {
    let defaults = ["temperature", "max_tokens", "stop"].map(|name| (name.to_owned(), "1".to_owned()));
    let target = target(OPENAI).defaults(defaults).serves(Operation::Responses, RESPONSES).expect("is a URL");
    let target = target.serves(Operation::Embeddings, EMBEDDINGS).expect("is a URL");
    let responses = request("/v1/responses", r#"{"model":"alias","input":"Hello"}"#);
    let sent = exchange(target.clone(), responses, json(r#"{"output":[]}"#)).await.sent().json();
    assert_eq!(sent, json!({"model": "gpt", "input": "Hello", "temperature": 1, "max_output_tokens": 1}));
    let embeddings = request("/v1/embeddings", r#"{"input":"a","model":"alias"}"#);
    let sent = exchange(target.clone(), embeddings, json("{}")).await.sent().json();
    assert_eq!(sent, json!({"input": "a", "model": "gpt"}));
    let google =
        request("/v1beta/models/alias:generateContent", r#"{"contents":[{"parts":[{"text":"a"}]}]}"#);
    let sent = exchange(target, google, json(answer(OPENAI))).await.sent().json();
    assert_eq!((&sent["temperature"], sent["messages"].as_array().map(Vec::len)), (&json!(null), Some(1)));
}
