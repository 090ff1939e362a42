//! What the README says happens.

use axum::{Router, body::Body};
use example_semantic_cache::app;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

/// What was answered, and what the cache says of it.
async fn ask(app: &Router, question: &str) -> (String, String) {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{question}"}}]}}"#);
    let request = Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("is a request");
    let response = app.clone().oneshot(request).await.expect("answers");
    let status = response.headers()["cache-status"].to_str().expect("is text").to_owned();
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&bytes).expect("is JSON");
    (answer["choices"][0]["message"]["content"].as_str().expect("is text").to_owned(), status)
}

const MISS: &str = "ziggurat; fwd=uri-miss";
const SIMILAR: &str = "ziggurat; hit; detail=similar";

fn told(answer: &str, status: &str) -> (String, String) {
    (answer.to_owned(), status.to_owned())
}

#[tokio::test]
async fn other_words_get_the_same_answer_and_other_questions_another() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has one");
    let embeddings = format!("http://{address}/v1/embeddings").parse().expect("is one");
    let app = app(embeddings, "letters".to_owned(), 0.75).expect("is a threshold");
    let server = tokio::spawn(axum::serve(listener, app.clone()).into_future());
    assert_eq!(ask(&app, "What is the capital of France?").await, told("Answer 1.", MISS));
    assert_eq!(ask(&app, "what's the capital of France, please").await, told("Answer 1.", SIMILAR));
    assert_eq!(ask(&app, "Who is the president of France?").await, told("Answer 2.", MISS));
    assert_eq!(ask(&app, "What is the capital of France?").await, told("Answer 1.", "ziggurat; hit"));
    server.abort();
}
