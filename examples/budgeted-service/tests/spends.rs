//! What the README says happens.

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn call(app: &Router, tenant: Option<&str>) -> (u16, String) {
    let body = r#"{"model":"house-model","max_tokens":4000,"messages":[{"role":"user","content":"Hello!"}]}"#;
    let mut request = Request::post("/v1/chat/completions").header("content-type", "application/json");
    if let Some(tenant) = tenant {
        request = request.header("x-tenant", tenant);
    }
    let request = request.body(Body::from(body)).expect("is a request");
    let response = app.clone().oneshot(request).await.expect("answers");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    (status, String::from_utf8(bytes.to_vec()).expect("is UTF-8"))
}

#[tokio::test]
async fn each_tenant_has_its_own_day_and_a_restart_forgets_nothing() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let database = folder.path().join("spend.db");
    let (app, journal) = example_budgeted_service::app(&database).expect("opens");
    assert_eq!(call(&app, Some("acme")).await.0, 200);
    assert_eq!(call(&app, Some("acme")).await.0, 200);
    let (status, refusal) = call(&app, Some("acme")).await;
    assert_eq!(status, 429);
    assert!(
        refusal.contains("the budget of the tenant is too small for this call: 0.080016 of 0.10 USD"),
        "{refusal}"
    );
    assert_eq!(call(&app, Some("other")).await.0, 200);
    assert_eq!(call(&app, None).await.0, 403);
    journal.close().await.expect("closes");
    drop((app, journal));
    let (app, _journal) = example_budgeted_service::app(&database).expect("opens again");
    assert_eq!(call(&app, Some("acme")).await.0, 429);
    assert_eq!(call(&app, Some("other")).await.0, 200);
}
