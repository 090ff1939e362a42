//! The directory: keys, teams, users, end users, memberships and templates of budgets, in SQLite or PostgreSQL.
//!
//! # Example
//! ```
//! use ziggurat_auth::KeyStore;
//! use ziggurat_core::Usd;
//! use ziggurat_sql::directory::{Directory, Key, Options, Team};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let directory = Directory::open("sqlite::memory:", Options::default().zone("Europe/Berlin")).await?;
//! let mut team = Team::new("acme");
//! team.allowance.max_budget = Some(Usd::dollars(50));
//! team.allowance.budget_duration = Some("30d".to_owned());
//! directory.insert_team(team).await?;
//!
//! let (secret, hash) = Directory::new_key()?;
//! let mut key = Key::new(hash);
//! key.name = Directory::masked(&secret);
//! key.team = Some("acme".to_owned());
//! directory.insert_key(key).await?;
//!
//! let found = directory.key(&hash).await?.unwrap();
//! // What nobody caps is counted, too.
//! let capped = found.principal.budgets.iter().find(|budget| budget.is_capped()).unwrap();
//! assert_eq!((capped.cap, &*capped.account.period), (Usd::dollars(50), "1mo Europe/Berlin"));
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Position
//! Behind a cache: it implements [`KeyStore`](ziggurat_auth::KeyStore), one query a look-up, under a deadline. An admin API writes it. What is written is
//! there for every node that shares the database with its next look-up.
//!
//! # Limits
//! Ids, names and models have at most 256 bytes, lists 1,000 entries, metadata 64 KB, none of them NUL or other control characters.
//! What cannot be read, as a duration that nobody knows, is an error and never an absence: it fails closed.

mod check;
mod entities;
mod error;
mod keys;
mod lookup;
mod open;
mod operations;
mod options;
mod owners;
mod resolve;
mod store;
mod stored;
mod text;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
pub use entities::{Allowance, BudgetTemplate, Customer, Key, Member, ModelBudget, Team, User};
pub use error::DirectoryError;
pub use options::{KeyFilter, Listed, MemberFilter, Options, Page, TeamFilter, UserFilter};
use ziggurat_auth::KeyHash;
use ziggurat_budget::calendar;

use self::store::{Store, within};

/// Keeps keys, teams, users, end users, memberships and templates of budgets. Clones share one set of connections.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    store: Store,
    options: Options,
}

impl Directory {
    /// Opens the database of a URL: `sqlite:path` (made where it is not there), `sqlite::memory:` or `postgres://...`, and brings its
    /// schema up to date.
    ///
    /// # Errors
    /// [`DirectoryError::Invalid`] for a URL or a time zone that is none, [`DirectoryError::Newer`] for the database of a newer version.
    pub async fn open(url: &str, options: Options) -> Result<Self, DirectoryError> {
        zone(&options)?;
        let store = open::open(url, &options).await?;
        Ok(Self(Arc::new(Inner { store, options })))
    }

    /// Is in the database of a ledger, over its connections.
    ///
    /// # Errors
    /// [`DirectoryError::Invalid`] for a time zone that is none.
    #[cfg(feature = "postgres")]
    pub fn over(pool: crate::postgres::Pool, options: Options) -> Result<Self, DirectoryError> {
        zone(&options)?;
        Ok(Self(Arc::new(Inner { store: Store::Postgres(pool), options })))
    }

    /// Brings the schema of a database up to date, and no more: one node at a time does, the others wait for it.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub async fn migrate(url: &str) -> Result<(), DirectoryError> {
        Self::open(url, Options::default()).await?.close().await;
        Ok(())
    }

    /// Asks the database whether it is there.
    ///
    /// # Errors
    /// [`DirectoryError::Away`] when it is not, within the deadline of a look-up.
    pub async fn ping(&self) -> Result<(), DirectoryError> {
        within(self.0.options.lookup_deadline, self.0.store.rows("SELECT 1", &[])).await?;
        Ok(())
    }

    /// Closes the connections, those of clones too, when what they do has ended.
    pub async fn close(&self) {
        self.0.store.close().await;
    }

    /// Makes a key of 32 random bytes, `sk-...`, and its hash. The key is for whoever asked for it, and is not kept anywhere.
    ///
    /// # Errors
    /// [`DirectoryError::Other`] when the system has no randomness.
    pub fn new_key() -> Result<(String, KeyHash), DirectoryError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|_| DirectoryError::Other("the system has no randomness".to_owned()))?;
        let secret = format!("sk-{}", URL_SAFE_NO_PAD.encode(random));
        let hash = KeyHash::of(secret.as_bytes());
        Ok((secret, hash))
    }

    /// How a key is shown: `sk-...abcd`. Of one that is short, or ends in anything but letters, digits, `-` and `_`, nothing is shown.
    #[must_use]
    pub fn masked(secret: &str) -> String {
        let end = secret.len().checked_sub(4).filter(|_| secret.len() >= SHOWN_FROM);
        let end = end.and_then(|at| secret.get(at..)).unwrap_or_default();
        match end.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            true => format!("sk-...{end}"),
            false => "sk-...".to_owned(),
        }
    }
}

fn zone(options: &Options) -> Result<(), DirectoryError> {
    match calendar::window("1d", &options.zone) {
        Ok(_) => Ok(()),
        Err(error) => Err(DirectoryError::invalid("zone", error.to_string())),
    }
}

/// Says nothing of where the database is, as its URL may hold a password.
impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

/// A key of fewer bytes would be guessed from what is shown of it.
const SHOWN_FROM: usize = 16;
