//! The budget layer alone in an axum service. See `README.md`.

use std::path::Path;

use axum::{Json, Router, extract::Request, response::IntoResponse, routing::post};
use http::request::Parts;
use serde_json::json;
use ziggurat_budget::{BudgetLayer, Ledger, calendar};
use ziggurat_catalog::{Catalog, Model, Prices, Unit};
use ziggurat_core::{BoxError, Scope, ScopeKind, Usd};
use ziggurat_sql::{Options, SqliteJournal};

/// An application whose tenants may spend ten cents a day, and the journal to close when it ends.
///
/// # Errors
/// When the database cannot be opened.
pub fn app(database: &Path) -> Result<(Router, std::sync::Arc<SqliteJournal>), BoxError> {
    let (journal, recovered) = SqliteJournal::open(database, Options::default())?;
    let ledger = Ledger::in_memory().journal(journal.clone(), recovered);
    let budget = BudgetLayer::new(ledger, catalog()?).scope(tenant).cap(
        ScopeKind::Tenant,
        Usd::cents(10),
        calendar::window("1d", "UTC")?,
    );
    Ok((Router::new().route("/v1/chat/completions", post(answer)).layer(budget), journal))
}

/// Who calls, from the head alone. A call that names nobody is refused.
fn tenant(parts: &Parts) -> Option<Scope> {
    Some(Scope::tenant(parts.headers.get("x-tenant")?.to_str().ok()?))
}

/// What the house's own model costs. Those of the known providers are in `Catalog::embedded()`.
fn catalog() -> Result<Catalog, BoxError> {
    let prices = Prices::new().with(Unit::Input, "0.000001".parse()?).with(Unit::Output, "0.00001".parse()?);
    Ok(Catalog::embedded().with(Model::new("house-model", "house").prices(prices).window(32_000, 4000)))
}

/// The model: it says the same to everybody, at length.
async fn answer(_: Request) -> impl IntoResponse {
    Json(json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "house-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 4000, "total_tokens": 4008},
    }))
}
