#![doc = include_str!("../README.md")]

mod db;
pub mod directory;
mod error;
mod holds;
mod journal;
#[cfg(feature = "postgres")]
pub mod postgres;
mod prune;
mod record;
mod schema;
mod time;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{OpenError, StoreError};
pub use journal::{Options, SavedPosting, SqliteJournal};
