//! A host that verifies its callers' tokens itself, in front of limits and budgets. See `README.md`.

use std::time::{Duration, SystemTime};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::WWW_AUTHENTICATE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower::ServiceBuilder;
use ziggurat_budget::{BudgetLayer, Ledger, calendar};
use ziggurat_catalog::Catalog;
use ziggurat_core::{BoxError, Measure, Principal, ScopeKind, Usd};
use ziggurat_limit::LimitLayer;

/// What the host's sign-in says of somebody.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    team: String,
    exp: u64,
}

/// An application for whoever has a token that was signed with the secret: ten calls a minute and two cents a day for each user, three
/// cents a day for each team.
///
/// # Errors
/// Never, as `1d` is a day.
pub fn app(secret: &[u8], ledger: Ledger) -> Result<Router, BoxError> {
    let day = calendar::window("1d", "UTC")?;
    let guards = ServiceBuilder::new()
        .layer(from_fn_with_state(DecodingKey::from_secret(secret), identify))
        .layer(LimitLayer::new().limit(ScopeKind::User, Measure::Requests, 10, Duration::from_secs(60)))
        .layer(
            BudgetLayer::new(ledger, Catalog::embedded())
                .cap(ScopeKind::User, Usd::cents(2), day.clone())
                .cap(ScopeKind::Team, Usd::cents(3), day),
        );
    Ok(Router::new().route("/v1/chat/completions", post(answer)).layer(guards))
}

/// All that our layers want to know: who calls.
async fn identify(State(key): State<DecodingKey>, mut request: Request, next: Next) -> Response {
    let Some(claims) = verified(request.headers(), &key) else { return sign_in() };
    let mut principal = Principal::default();
    principal.user = Some(claims.sub.into());
    principal.team = Some(claims.team.into());
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// The host's own rules: HS256, and not expired.
fn verified(headers: &HeaderMap, key: &DecodingKey) -> Option<Claims> {
    let token = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    let token = decode::<Claims>(token, key, &Validation::new(Algorithm::HS256)).ok()?;
    Some(token.claims)
}

/// The host's own refusal.
fn sign_in() -> Response {
    let body = Json(json!({"message": "sign in first", "at": "/sign-in"}));
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], body).into_response()
}

/// Stands for the host's sign-in: a token for an hour.
///
/// # Errors
/// When it cannot be signed.
pub fn token(secret: &[u8], user: &str, team: &str) -> Result<String, BoxError> {
    let hour = SystemTime::now() + Duration::from_secs(3600);
    let exp = hour.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = Claims { sub: user.into(), team: team.into(), exp };
    Ok(encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))?)
}

/// In place of a model: 500 tokens, which cost half a cent at gpt-4o's price.
async fn answer(_: Request) -> Json<serde_json::Value> {
    Json(json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 500, "total_tokens": 500},
    }))
}
