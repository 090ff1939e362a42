//! The example, against an upstream that replays a small answer in OpenAI's dialect.

use axum::{Router, body::Body};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use ziggurat_core::Target;
use ziggurat_testkit::{Recording, Recordings, Replay};

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-x","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;

async fn app(fault: &str) -> (Router, Replay) {
    let recording = Recording::synthetic("hello", 200, [("content-type", "application/json")], ANSWER);
    let upstream = Replay::start(Recordings::from_iter([recording])).await.expect("listens");
    let target = Target::openai("gpt-x", "unused")
        .expect("valid")
        .url(&format!("{}/v1/chat/completions", upstream.url(&format!("hello{fault}"))))
        .expect("valid")
        .key(header::AUTHORIZATION, "Bearer sk-example")
        .expect("valid");
    (example_axum_service::app(target).expect("has roots"), upstream)
}

async fn post(app: Router, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("valid");
    let response = app.oneshot(request).await.expect("never fails");
    let status = response.status();
    let body = response.into_body().collect().await.expect("ends").to_bytes();
    (status, serde_json::from_slice(&body).expect("is JSON"))
}

fn hi() -> Value {
    json!({"model": "any", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]})
}

#[tokio::test]
async fn an_anthropic_caller_gets_an_anthropic_answer() {
    let (app, _upstream) = app("").await;
    let (status, answer) = post(app, "/v1/messages", hi()).await;
    assert_eq!(status, 200);
    assert_eq!(answer["content"], json!([{"type": "text", "text": "Hello"}]));
    assert_eq!(answer["usage"], json!({"input_tokens": 9, "output_tokens": 2}));
}

#[tokio::test]
async fn an_openai_caller_gets_the_bytes_as_they_came() {
    let (app, upstream) = app("").await;
    let (status, answer) = post(app, "/v1/chat/completions", hi()).await;
    assert_eq!((status, answer), (StatusCode::OK, serde_json::from_str(ANSWER).expect("is JSON")));
    assert_eq!(upstream.exchanges()[0].headers["authorization"], "Bearer sk-example");
}

#[tokio::test]
async fn an_upstream_that_closes_is_a_502_in_the_callers_dialect() {
    let (app, _upstream) = app(",close").await;
    let (status, answer) = post(app, "/v1/messages", hi()).await;
    assert_eq!(status, 502);
    assert_eq!(answer["error"]["type"], "api_error");
}
