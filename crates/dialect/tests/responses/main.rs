//! OpenAI's Responses, as its callers and its providers speak it.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod disorder;
mod elsewhere;
mod garbage;
mod recordings;
mod requests;
mod streams;
