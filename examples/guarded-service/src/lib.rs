//! Limits and budgets of each key together, with a ledger in SQLite. See `README.md`.

use std::{path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;
use tower::ServiceBuilder;
use ziggurat_budget::{BudgetLayer, Ledger, calendar};
use ziggurat_catalog::Catalog;
use ziggurat_core::{BoxError, Budget, Limit, Principal, Scope, ScopeKind, Usd, Window};
use ziggurat_limit::LimitLayer;
use ziggurat_sql::{Options, SqliteJournal};

/// An application whose callers are known to it by their keys, and the journal to close when it ends.
///
/// # Errors
/// When the database cannot be opened.
pub fn app(database: &Path) -> Result<(Router, Arc<SqliteJournal>), BoxError> {
    let (journal, recovered) = SqliteJournal::open(database, Options::default())?;
    let ledger = Ledger::in_memory().journal(journal.clone(), recovered);
    let month = calendar::window("1mo", "UTC")?;
    let guards = ServiceBuilder::new()
        // The host's own authentication says who calls, and what applies to it.
        .layer(from_fn(move |request: Request, next: Next| identify(month.clone(), request, next)))
        // What is cheap to refuse is refused first.
        .layer(LimitLayer::new())
        .layer(BudgetLayer::new(ledger, Catalog::embedded()));
    Ok((Router::new().route("/v1/chat/completions", post(answer)).layer(guards), journal))
}

/// Stands for a host's own look-up of a key.
async fn identify(month: Window, mut request: Request, next: Next) -> Response {
    let key =
        request.headers().get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let id = match key {
        Some("key-of-ann") => "ann",
        Some("key-of-bob") => "bob",
        _ => return StatusCode::UNAUTHORIZED.into_response(),
    };
    let scope = || Scope::new(ScopeKind::Key, id);
    let mut principal = Principal::default();
    principal.key = Some(id.into());
    principal.limits = [Limit::requests_per_minute(scope(), 3), Limit::concurrency(scope(), 2)].into();
    principal.budgets = [Budget::new(scope(), Usd::cents(2), month)].into();
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// In place of a model: 500 tokens, which cost half a cent at gpt-4o's price.
async fn answer(_: Request) -> Json<serde_json::Value> {
    Json(json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 500, "total_tokens": 500},
    }))
}
