#![doc = include_str!("../README.md")]

mod client;
mod credential;
mod source;
mod workload;

pub use client::{ClientCredentials, Proof};
pub use credential::AccessToken;
pub use source::{Token, TokenSource, answer, ask, post, secure_url};
pub use workload::{WorkloadToken, workload_token};
