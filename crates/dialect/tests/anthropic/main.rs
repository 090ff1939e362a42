//! A caller of Anthropic's dialect in front of a provider of OpenAI's, or of one of its many relatives.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod own;
mod relatives;
mod requests;
mod streams;
