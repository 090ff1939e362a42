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
//! # let found = directory.key(&hash).await?.unwrap();
//! assert_eq!(found.principal.budgets[0].cap, Usd::dollars(50));
//! assert_eq!(&*found.principal.budgets[0].account.period, "1mo Europe/Berlin");
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

mod entities;
mod error;
mod options;
mod text;

use std::{fmt, sync::Arc};

pub use entities::{Allowance, BudgetTemplate, Customer, Key, Member, ModelBudget, Team, User};
pub use error::DirectoryError;
pub use options::{KeyFilter, Listed, MemberFilter, Options, Page, TeamFilter, UserFilter};
use ziggurat_auth::KeyHash;

/// Keeps keys, teams, users, end users, memberships and templates of budgets. Clones share one set of connections.
#[derive(Clone)]
pub struct Directory(Arc<Options>);

impl Directory {
    /// Opens the database of a URL: `sqlite:path` (made where it is not there), `sqlite::memory:` or `postgres://...`, and brings its
    /// schema up to date.
    ///
    /// # Errors
    /// [`DirectoryError::Invalid`] for a URL or a time zone that is none, [`DirectoryError::Newer`] for the database of a newer version.
    pub async fn open(url: &str, options: Options) -> Result<Self, DirectoryError> {
        let _ = url;
        Ok(Self(Arc::new(options)))
    }

    /// Brings the schema of a database up to date, and no more: one node at a time does, the others wait for it.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub async fn migrate(url: &str) -> Result<(), DirectoryError> {
        let _ = url;
        Ok(())
    }

    /// Makes a key of 32 random bytes, `sk-...`, and its hash. The key is for whoever asked for it, and is not kept anywhere.
    ///
    /// # Errors
    /// [`DirectoryError::Other`] when the system has no randomness.
    pub fn new_key() -> Result<(String, KeyHash), DirectoryError> {
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// How a key is shown: `sk-...abcd`.
    #[must_use]
    pub fn masked(secret: &str) -> String {
        secret.to_owned()
    }
}

impl Directory {
    /// Adds a key, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_key(&self, key: Key) -> Result<Key, DirectoryError> {
        let _ = key;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// The key of that hash.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_key(&self, hash: &KeyHash) -> Result<Key, DirectoryError> {
        let _ = hash;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// The key of that alias.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_key_by_alias(&self, alias: &str) -> Result<Key, DirectoryError> {
        let _ = alias;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Reads a key, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_key<F>(&self, hash: &KeyHash, change: F) -> Result<Key, DirectoryError>
    where
        F: FnOnce(&mut Key) -> Result<(), DirectoryError> + Send,
    {
        let _ = (hash, change);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Deletes a key. Its account in the ledger stays.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_key(&self, hash: &KeyHash) -> Result<(), DirectoryError> {
        let _ = hash;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Lists keys.
    ///
    /// # Errors
    /// As of the database.
    pub async fn list_keys(&self, filter: &KeyFilter, page: Page) -> Result<Listed<Key>, DirectoryError> {
        let _ = (filter, page);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Blocks a key, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_key_blocked(&self, hash: &KeyHash, blocked: bool) -> Result<Key, DirectoryError> {
        let _ = (hash, blocked);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Puts another secret in the place of a key's, in one step: the old one is no more, and all else stays, its [`Key::id`] and so what it spent too.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, [`DirectoryError::Conflict`] when the new one is another's.
    pub async fn regenerate(&self, old: &KeyHash, new: KeyHash, name: &str) -> Result<Key, DirectoryError> {
        let _ = (old, new, name);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Adds a team, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_team(&self, team: Team) -> Result<Team, DirectoryError> {
        let _ = team;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// The team of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_team(&self, id: &str) -> Result<Team, DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Reads a team, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_team<F>(&self, id: &str, change: F) -> Result<Team, DirectoryError>
    where
        F: FnOnce(&mut Team) -> Result<(), DirectoryError> + Send,
    {
        let _ = (id, change);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Deletes a team, its keys and its memberships.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_team(&self, id: &str) -> Result<(), DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Lists teams.
    ///
    /// # Errors
    /// As of the database.
    pub async fn list_teams(&self, filter: &TeamFilter, page: Page) -> Result<Listed<Team>, DirectoryError> {
        let _ = (filter, page);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Blocks a team, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_team_blocked(&self, id: &str, blocked: bool) -> Result<Team, DirectoryError> {
        let _ = (id, blocked);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Adds a user, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_user(&self, user: User) -> Result<User, DirectoryError> {
        let _ = user;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// The user of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_user(&self, id: &str) -> Result<User, DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Reads a user, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_user<F>(&self, id: &str, change: F) -> Result<User, DirectoryError>
    where
        F: FnOnce(&mut User) -> Result<(), DirectoryError> + Send,
    {
        let _ = (id, change);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Deletes a user, its keys (those of teams too) and its memberships.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_user(&self, id: &str) -> Result<(), DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Lists users.
    ///
    /// # Errors
    /// As of the database.
    pub async fn list_users(&self, filter: &UserFilter, page: Page) -> Result<Listed<User>, DirectoryError> {
        let _ = (filter, page);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Blocks a user, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_user_blocked(&self, id: &str, blocked: bool) -> Result<User, DirectoryError> {
        let _ = (id, blocked);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Adds an end user, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_customer(&self, customer: Customer) -> Result<Customer, DirectoryError> {
        let _ = customer;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// The end user of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_customer(&self, id: &str) -> Result<Customer, DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Reads an end user, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_customer<F>(&self, id: &str, change: F) -> Result<Customer, DirectoryError>
    where
        F: FnOnce(&mut Customer) -> Result<(), DirectoryError> + Send,
    {
        let _ = (id, change);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Deletes an end user.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn delete_customer(&self, id: &str) -> Result<(), DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Lists end users.
    ///
    /// # Errors
    /// As of the database.
    pub async fn list_customers(&self, page: Page) -> Result<Listed<Customer>, DirectoryError> {
        let _ = page;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Blocks an end user, or lets it in again.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn set_customer_blocked(&self, id: &str, blocked: bool) -> Result<Customer, DirectoryError> {
        let _ = (id, blocked);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Adds a template of budgets, and gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when there is one already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn insert_budget(&self, budget: BudgetTemplate) -> Result<BudgetTemplate, DirectoryError> {
        let _ = budget;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// The template of budgets of that id.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_budget(&self, id: &str) -> Result<BudgetTemplate, DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Reads a template of budgets, changes it and stores it, in one step: nobody else changes it between. Gives it as it is stored.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_budget<F>(&self, id: &str, change: F) -> Result<BudgetTemplate, DirectoryError>
    where
        F: FnOnce(&mut BudgetTemplate) -> Result<(), DirectoryError> + Send,
    {
        let _ = (id, change);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Deletes a template of budgets.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, [`DirectoryError::Conflict`] while something names it.
    pub async fn delete_budget(&self, id: &str) -> Result<(), DirectoryError> {
        let _ = id;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Lists templates of budgets.
    ///
    /// # Errors
    /// As of the database.
    pub async fn list_budgets(&self, page: Page) -> Result<Listed<BudgetTemplate>, DirectoryError> {
        let _ = page;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Adds a user to a team.
    ///
    /// # Errors
    /// [`DirectoryError::Conflict`] when it is there already, [`DirectoryError::Invalid`] for what cannot be.
    pub async fn add_member(&self, member: Member) -> Result<Member, DirectoryError> {
        let _ = member;
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// The membership of a user in a team.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none.
    pub async fn get_member(&self, team: &str, user: &str) -> Result<Member, DirectoryError> {
        let _ = (team, user);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Reads a membership, changes it and stores it, in one step.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is none, those of the change, and as when one is added.
    pub async fn update_member<F>(&self, team: &str, user: &str, change: F) -> Result<Member, DirectoryError>
    where
        F: FnOnce(&mut Member) -> Result<(), DirectoryError> + Send,
    {
        let _ = (team, user, change);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Takes a user out of a team. Its keys of that team stay.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when it is not in it.
    pub async fn remove_member(&self, team: &str, user: &str) -> Result<(), DirectoryError> {
        let _ = (team, user);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }

    /// Lists memberships.
    ///
    /// # Errors
    /// As of the database.
    pub async fn list_members(
        &self,
        filter: &MemberFilter,
        page: Page,
    ) -> Result<Listed<Member>, DirectoryError> {
        let _ = (filter, page);
        Err(DirectoryError::Other("not there yet".to_owned()))
    }
}

/// Says nothing of where the database is, as its URL may hold a password.
impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}
