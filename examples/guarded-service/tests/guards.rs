//! What the README says happens.

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn call(app: &Router, key: &str) -> (u16, Option<u64>, String) {
    let body = r#"{"model":"gpt-4o","max_tokens":500,"messages":[{"role":"user","content":"Hello!"}]}"#;
    let request = Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .body(Body::from(body))
        .expect("is a request");
    let response = app.clone().oneshot(request).await.expect("answers");
    let status = response.status().as_u16();
    let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse().ok());
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    (status, wait, String::from_utf8(bytes.to_vec()).expect("is UTF-8"))
}

#[tokio::test]
async fn a_key_is_limited_and_what_it_spent_outlives_the_process() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let database = folder.path().join("spend.db");
    let (app, journal) = example_guarded_service::app(&database).expect("opens");
    for _ in 0..3 {
        assert_eq!(call(&app, "key-of-ann").await.0, 200);
    }
    let (status, wait, refusal) = call(&app, "key-of-ann").await;
    assert_eq!(status, 429);
    assert!(wait.is_some_and(|seconds| (1..=62).contains(&seconds)), "{wait:?}");
    assert!(refusal.contains("rate_limit"), "{refusal}");
    assert_eq!(call(&app, "key-of-bob").await.0, 200, "the other key has limits of its own");
    assert_eq!(call(&app, "nobody").await.0, 401);
    journal.close().await.expect("closes");
    drop((app, journal));
    // Limits are of the process; money is not.
    let (app, _journal) = example_guarded_service::app(&database).expect("opens again");
    let (status, _, refusal) = call(&app, "key-of-ann").await;
    assert_eq!(status, 429);
    assert!(refusal.contains("insufficient_quota") && refusal.contains("0.015 of 0.02 USD"), "{refusal}");
}
