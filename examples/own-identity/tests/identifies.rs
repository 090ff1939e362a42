//! What the README says happens.

use axum::{Router, body::Body};
use example_own_identity::{app, token};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use ziggurat_budget::{Ledger, calendar};
use ziggurat_core::{Budget, Scope, ScopeKind, Usd};

const SECRET: &[u8] = b"a secret of the test, and of nothing else";

async fn call(app: &Router, authorization: Option<&str>) -> (u16, String) {
    let mut request = Request::post("/v1/chat/completions").header("content-type", "application/json");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let body = r#"{"model":"gpt-4o","max_tokens":500,"messages":[{"role":"user","content":"Hello!"}]}"#;
    let request = request.body(Body::from(body)).expect("is a request");
    let response = app.clone().oneshot(request).await.expect("answers");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("is whole").to_bytes();
    (status, String::from_utf8(bytes.to_vec()).expect("is UTF-8"))
}

fn spent(ledger: &Ledger, kind: ScopeKind, id: &str, cap: Usd) -> Usd {
    let day = calendar::window("1d", "UTC").expect("is a window");
    ledger.balance(&Budget::new(Scope::new(kind, id), cap, day)).expect("is known").spent
}

#[tokio::test]
async fn a_call_is_charged_to_the_user_and_the_team_of_its_token() {
    let ledger = Ledger::in_memory();
    let app = app(SECRET, ledger.clone()).expect("is valid");
    let of = |user| format!("Bearer {}", token(SECRET, user, "red").expect("is signed"));
    let (ann, bob) = (of("ann"), of("bob"));
    for _ in 0..3 {
        assert_eq!(call(&app, Some(&ann)).await.0, 200);
    }
    // What is left of her two cents does not pay for 500 tokens and their prompt.
    let (status, refusal) = call(&app, Some(&ann)).await;
    assert_eq!(status, 429);
    assert!(refusal.contains("0.015 of 0.02 USD"), "{refusal}");
    for _ in 0..2 {
        assert_eq!(call(&app, Some(&bob)).await.0, 200);
    }
    // He has a cent of his own left, and his team has not.
    let (status, refusal) = call(&app, Some(&bob)).await;
    assert_eq!(status, 429);
    assert!(refusal.contains("0.025 of 0.03 USD"), "{refusal}");
    let mills = |mills: u128| Usd::pico(mills * 1_000_000_000);
    assert_eq!(spent(&ledger, ScopeKind::User, "ann", Usd::cents(2)), mills(15));
    assert_eq!(spent(&ledger, ScopeKind::User, "bob", Usd::cents(2)), mills(10));
    assert_eq!(spent(&ledger, ScopeKind::Team, "red", Usd::cents(3)), mills(25));
}

#[tokio::test]
async fn without_a_good_token_the_host_refuses_in_its_own_words() {
    let app = app(SECRET, Ledger::in_memory()).expect("is valid");
    let good = token(SECRET, "ann", "red").expect("is signed");
    let (head, signature) = good.rsplit_once('.').expect("has three parts");
    // {"alg":"none","typ":"JWT"}
    let (_, claims) = head.split_once('.').expect("has three parts");
    let unsigned = format!("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let foreign = token(b"another secret", "ann", "red").expect("is signed");
    let bad = [
        None,
        Some("Bearer nonsense".to_owned()),
        Some(format!("Bearer {head}.{}", signature.chars().rev().collect::<String>())),
        Some(format!("Bearer {foreign}")),
        Some(unsigned),
        Some(format!("Basic {good}")),
    ];
    for authorization in bad {
        let (status, refusal) = call(&app, authorization.as_deref()).await;
        assert_eq!((status, &*refusal), (401, r#"{"message":"sign in first","at":"/sign-in"}"#));
    }
    assert_eq!(call(&app, Some(&format!("Bearer {good}"))).await.0, 200);
}
