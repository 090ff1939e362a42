//! Bedrock's Converse, as callers of other dialects meet it.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod forms;
mod garbage;
mod recordings;
mod requests;
mod streams;
