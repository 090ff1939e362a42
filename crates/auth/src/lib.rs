#![doc = include_str!("../README.md")]

mod authenticate;
mod cache;
mod credential;
#[cfg(feature = "jwt")]
pub mod jwt;
mod keys;
mod layer;
mod rights;
mod routes;
mod service;
mod store;

pub use authenticate::{Authenticate, Authenticated, Denied, Identity, KnownCustomer};
pub use cache::CachePolicy;
pub use credential::Credential;
pub use keys::{MasterKey, VirtualKeys};
pub use layer::AuthLayer;
pub use service::Auth;
pub use store::{CustomerRecord, KeyHash, KeyRecord, KeyStore, Owner};
