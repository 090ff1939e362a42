//! Stores on PostgreSQL, that several nodes share: connections, the schema, and a budget ledger.
//!
//! # Example
//! ```no_run
//! use std::time::Duration;
//!
//! use ziggurat_budget::{Charge, Claim, HoldId, remote::{Backend, Settlement}};
//! use ziggurat_core::{Budget, Scope, Usd, Window};
//! use ziggurat_sql::postgres::{Options, PostgresLedger, connect};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let pool = connect("postgres://ziggurat@db.internal/ziggurat?sslmode=verify-full", Options::default()).await?;
//! let ledger = PostgresLedger::new(pool);
//! let budgets = [Budget::new(Scope::tenant("acme"), Usd::dollars(50), Window::Lifetime)];
//! let now = std::time::SystemTime::now();
//! let (id, most) = (HoldId::unique(now), Usd::cents(10));
//! let claim = Claim::new(id, id, budgets.clone().into(), most, most);
//! if ledger.reserve(&claim, Duration::from_secs(600)).await?.is_ok() {
//!     let charge = Charge::new(Usd::cents(3));
//!     ledger.settle(&[Settlement::new(id, id, budgets.into(), charge, now)]).await?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Position
//! [`PostgresLedger`] is a [`Backend`](ziggurat_budget::remote::Backend): what wraps it gives callers a deadline, keeps settlements until
//! they are acknowledged, renews holds, and lets some node call `expire` about once a second.
//!
//! # Limits
//! Getting a connection takes a second at most, a statement two, as [`Options`] say. A connection whose answer nobody waits for any more
//! goes back to the pool if it comes within 500 ms and is closed if it does not. A statement that the server undid is repeated, three
//! times at most; one whose connection was lost too, but for an extension, which is not the same when it is done twice.

mod accounts;
mod connect;
mod decide;
mod group;
mod ledger;
mod migrate;
mod report;
mod statement;

pub use connect::{ConnectError, Options, Pool, connect, place};
pub use ledger::PostgresLedger;
pub use report::{SavedPosting, Total};
