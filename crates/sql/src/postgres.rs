//! Stores on PostgreSQL, that several nodes share.

mod connect;
mod migrate;

pub use connect::{ConnectError, Options, Pool, connect};
