//! What the README says.

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn ask(app: &axum::Router, tenant: &str, stream: bool) -> (String, String) {
    let body =
        format!(r#"{{"model":"slow","stream":{stream},"messages":[{{"role":"user","content":"Hello!"}}]}}"#);
    let request = Request::post("/v1/chat/completions")
        .header("x-tenant", tenant)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("is a request");
    let response: Response<_> = app.clone().oneshot(request).await.expect("does not fail");
    let said = response.headers()["cache-status"].to_str().expect("is text").to_owned();
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    (said, String::from_utf8(bytes.to_vec()).expect("is UTF-8"))
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_answered_again_and_another_is_not() {
    let app = example_cached_service::app();
    let (first, second) = tokio::join!(ask(&app, "a", false), ask(&app, "a", false));
    assert_eq!(first.0, "ziggurat; fwd=uri-miss");
    assert_eq!((&*second.0, &second.1), ("ziggurat; fwd=uri-miss; collapsed", &first.1));
    let again = ask(&app, "a", false).await;
    assert_eq!((&*again.0, again.1), ("ziggurat; hit", first.1));
    let streamed = ask(&app, "a", true).await;
    assert_eq!(streamed.0, "ziggurat; hit");
    assert!(streamed.1.contains("You have sent 1 messages.") && streamed.1.ends_with("data: [DONE]\n\n"));
    assert_eq!(ask(&app, "b", false).await.0, "ziggurat; fwd=uri-miss");
}
