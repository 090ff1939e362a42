#![doc = include_str!("../README.md")]

mod client;
mod credential;
mod source;

pub use client::{ClientCredentials, Proof};
pub use credential::AccessToken;
pub use source::{Token, TokenSource, ask, post};
