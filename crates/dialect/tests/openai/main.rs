//! A caller of OpenAI's dialect in front of a provider of Anthropic's.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod families;
mod parameters;
mod requests;
mod streams;
mod thinking;
