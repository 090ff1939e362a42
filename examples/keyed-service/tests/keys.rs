//! What the README says happens.

use axum::{Router, body::Body};
use example_keyed_service::{Kept, app};
use http::{Request, request::Builder};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn send(app: &Router, key: &str, request: Builder, body: &'static str) -> (u16, String) {
    let request = request
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .body(Body::from(body))
        .expect("is a request");
    let response = app.clone().oneshot(request).await.expect("answers");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    (status, String::from_utf8(bytes.to_vec()).expect("is UTF-8"))
}

async fn call(app: &Router, key: &str) -> (u16, String) {
    let body = r#"{"model":"gpt-4o","max_tokens":500,"messages":[{"role":"user","content":"Hello!"}]}"#;
    send(app, key, Request::post("/v1/chat/completions"), body).await
}

#[tokio::test]
async fn a_teams_keys_spend_one_budget_and_what_they_spent_outlives_the_process() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let database = folder.path().join("keys.db");
    let kept = Kept::open(&database).await.expect("opens");
    let first = kept.first_key().await.expect("is written").expect("is the first start");
    let second = kept.new_key().await.expect("is written");
    let service = app(&kept);
    assert_eq!(call(&service, "sk-nobody-knows-this-key").await.0, 401);
    for key in [&first, &second, &first] {
        assert_eq!(call(&service, key).await.0, 200);
    }
    for key in [&first, &second] {
        let (status, refusal) = call(&service, key).await;
        assert_eq!(status, 429);
        assert!(refusal.contains("insufficient_quota") && refusal.contains("0.015 of 0.02 USD"), "{refusal}");
    }
    drop(service);
    kept.close().await.expect("closes");

    let kept = Kept::open(&database).await.expect("opens again");
    assert_eq!(kept.first_key().await.expect("is read"), None, "it has a key");
    let (status, refusal) = call(&app(&kept), &first).await;
    assert_eq!(status, 429);
    assert!(refusal.contains("0.015 of 0.02 USD"), "{refusal}");
}

#[tokio::test]
async fn a_key_that_is_given_up_is_refused_from_the_next_call_on() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let kept = Kept::open(&folder.path().join("keys.db")).await.expect("opens");
    let leaked = kept.first_key().await.expect("is written").expect("is the first start");
    let other = kept.new_key().await.expect("is written");
    let service = app(&kept);
    assert_eq!(call(&service, &leaked).await.0, 200);
    assert_eq!(send(&service, &leaked, Request::delete("/key"), "").await.0, 204);
    let (status, refusal) = call(&service, &leaked).await;
    assert_eq!(status, 401);
    // As that of a key that never was.
    assert_eq!(refusal, call(&service, "sk-nobody-knows-this-key").await.1);
    assert_eq!(call(&service, &other).await.0, 200, "its team's other keys are what they were");
}

#[tokio::test]
async fn the_key_itself_is_in_no_file() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let kept = Kept::open(&folder.path().join("keys.db")).await.expect("opens");
    let key = kept.first_key().await.expect("is written").expect("is the first start");
    assert_eq!(call(&app(&kept), &key).await.0, 200);
    kept.close().await.expect("closes");
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("is there").collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let path = file.expect("is there").path();
        let bytes = std::fs::read(&path).expect("is read");
        assert!(!bytes.windows(key.len()).any(|part| part == key.as_bytes()), "{}", path.display());
    }
}
