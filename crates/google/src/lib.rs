#![doc = include_str!("../README.md")]

mod account;
mod metadata;

pub use account::{InvalidAccount, ServiceAccount};
pub use metadata::MetadataServer;
pub use ziggurat_oauth::{AccessToken, Token, TokenSource};
