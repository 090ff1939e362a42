//! Callers in front of the providers whose dialect no caller speaks, and of Mistral.

#[path = "../common/mod.rs"]
mod common;

mod cohere;
mod mistral;
mod ollama;
mod thoughts;
