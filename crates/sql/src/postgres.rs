//! Stores on PostgreSQL, that several nodes share.

mod accounts;
mod connect;
mod ledger;
mod migrate;
mod report;
mod statement;

pub use connect::{ConnectError, Options, Pool, connect};
pub use ledger::PostgresLedger;
pub use report::{SavedPosting, Total};
