//! What the README says happens.

use axum::{Router, body::Body};
use example_balanced::{app, deployment};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

async fn get(app: &Router, request: Request<Body>) -> (u16, Value) {
    let response = app.clone().oneshot(request).await.expect("answers");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    (status, serde_json::from_slice(&bytes).expect("is JSON"))
}

async fn call(app: &Router, model: &str) -> (u16, Value) {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hello!"}}]}}"#);
    get(app, Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request")).await
}

async fn health(app: &Router) -> Value {
    get(app, Request::get("/health").body(Body::empty()).expect("is a request")).await.1
}

#[tokio::test]
async fn nobody_feels_that_one_of_two_is_down() {
    let [up, down] = [true, false].map(deployment);
    let app = app(up.await.expect("starts"), down.await.expect("starts")).expect("is an app");
    for _ in 0..200 {
        let (status, answer) = call(&app, "fast").await;
        assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &Value::from("Hello.")));
    }
    let health = health(&app).await;
    assert_eq!((&health[0]["state"], &health[0]["successes"]), (&"Healthy".into(), &200.into()));
    // Asked until it was left alone.
    assert_eq!(health[1]["failures"], 5);
    assert!(health[1]["state"].as_str().is_some_and(|state| state.starts_with("Cooling")), "{health}");
    assert_eq!(call(&app, "other").await.0, 404);
}

#[tokio::test]
async fn the_first_has_three_quarters_of_the_calls() {
    let [first, second] = [true, true].map(deployment);
    let app = app(first.await.expect("starts"), second.await.expect("starts")).expect("is an app");
    for _ in 0..400 {
        assert_eq!(call(&app, "fast").await.0, 200);
    }
    let health = health(&app).await;
    let shares = [0, 1].map(|at| health[at]["successes"].as_u64().expect("is a number"));
    assert_eq!(shares[0] + shares[1], 400);
    // 300, give or take five standard deviations.
    assert!((256..=344).contains(&shares[0]), "{shares:?}");
}
