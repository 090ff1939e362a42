#![doc = include_str!("../README.md")]

mod account;
mod credential;
mod metadata;
mod source;

pub use account::{InvalidAccount, ServiceAccount};
pub use credential::AccessToken;
pub use metadata::MetadataServer;
pub use source::{Token, TokenSource};
