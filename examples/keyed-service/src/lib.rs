//! Virtual keys and budgets of teams, all in one SQLite file. See `README.md`.

use std::{path::Path, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::StatusCode,
    routing::{delete, post},
};
use serde_json::json;
use tower::ServiceBuilder;
use ziggurat_auth::{AuthLayer, Identity, VirtualKeys};
use ziggurat_budget::{BudgetLayer, Ledger};
use ziggurat_catalog::Catalog;
use ziggurat_core::{BoxError, Usd};
use ziggurat_limit::LimitLayer;
use ziggurat_sql::{
    Options, SqliteJournal,
    directory::{self, Directory, DirectoryError, Key, KeyFilter, Page, Team},
};

/// What is kept in the file: who may call, and what they spent.
#[derive(Clone, Debug)]
pub struct Kept {
    directory: Directory,
    journal: Arc<SqliteJournal>,
    ledger: Ledger,
}

impl Kept {
    /// Opens the file, which is made where it is not there.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn open(database: &Path) -> Result<Self, BoxError> {
        let (journal, recovered) = SqliteJournal::open(database, Options::default())?;
        let ledger = Ledger::in_memory().journal(journal.clone(), recovered);
        let url = format!("sqlite:{}", database.display());
        let directory = Directory::open(&url, directory::Options::default()).await?;
        Ok(Self { directory, journal, ledger })
    }

    /// Makes a team and a key of it where there is no key yet: two cents a day and ten calls a minute, for all its keys together. The key
    /// is given this once; only its hash is kept.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn first_key(&self) -> Result<Option<String>, DirectoryError> {
        if self.directory.list_keys(&KeyFilter::default(), Page::default()).await?.total > 0 {
            return Ok(None);
        }
        let mut team = Team::new("lab");
        team.allowance.max_budget = Some(Usd::cents(2));
        team.allowance.budget_duration = Some("1d".to_owned());
        team.allowance.rpm_limit = Some(10);
        match self.directory.insert_team(team).await {
            // An earlier start came no further than this.
            Ok(_) | Err(DirectoryError::Conflict("team")) => self.new_key().await.map(Some),
            Err(error) => Err(error),
        }
    }

    /// Makes another key of the team.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn new_key(&self) -> Result<String, DirectoryError> {
        let (secret, hash) = Directory::new_key()?;
        let mut key = Key::new(hash);
        key.name = Directory::masked(&secret);
        key.team = Some("lab".to_owned());
        self.directory.insert_key(key).await?;
        Ok(secret)
    }

    /// Writes down what is not written yet.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn close(self) -> Result<(), BoxError> {
        self.directory.close().await;
        Ok(self.journal.close().await?)
    }
}

/// An application for those who have a key.
pub fn app(kept: &Kept) -> Router {
    let keys = VirtualKeys::new(kept.directory.clone());
    // What applies to a call comes with its key: nothing is said here twice.
    let guards = ServiceBuilder::new()
        .layer(LimitLayer::new())
        .layer(BudgetLayer::new(kept.ledger.clone(), Catalog::embedded()));
    Router::new()
        .route("/v1/chat/completions", post(answer))
        .layer(guards)
        .route("/key", delete(give_up).with_state(keys.clone()))
        // The outermost, for all routes: a key may call models, and give itself up.
        .layer(AuthLayer::new(keys).default_routes(["llm_api_routes", "/key"]))
}

/// Blocks the key that the call was made with: whoever finds that it leaked needs nobody for it.
async fn give_up(
    State(keys): State<VirtualKeys<Directory>>,
    Extension(caller): Extension<Identity>,
) -> Result<StatusCode, StatusCode> {
    let key = caller.key().ok_or(StatusCode::FORBIDDEN)?;
    keys.store().set_key_blocked(key, true).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    // From the next call on, and not when what is remembered of it is too old.
    keys.revoke(key);
    Ok(StatusCode::NO_CONTENT)
}

/// In place of a model: 500 tokens, which cost half a cent at gpt-4o's price.
async fn answer(_: Request) -> Json<serde_json::Value> {
    Json(json!({
        "id": "1", "object": "chat.completion", "created": 0, "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 500, "total_tokens": 500},
    }))
}
