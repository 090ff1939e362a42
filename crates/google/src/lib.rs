#![doc = include_str!("../README.md")]

mod account;
mod external;
mod file;
mod metadata;
mod user;

pub use account::ServiceAccount;
pub use external::ExternalAccount;
pub use file::{AccountFile, InvalidAccount};
pub use metadata::MetadataServer;
pub use user::AuthorizedUser;
pub use ziggurat_oauth::{AccessToken, Token, TokenSource};
