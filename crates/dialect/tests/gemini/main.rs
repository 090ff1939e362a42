//! Google's dialect: as a provider for callers of the others, and as a caller in front of their providers.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod callers;
mod foreign;
mod garbage;
mod recorded_requests;
mod recordings;
mod requests;
mod signatures;
mod streams;
