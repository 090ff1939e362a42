#![doc = include_str!("../README.md")]

mod file;
mod keys;
#[cfg(feature = "metadata")]
mod metadata;
mod sign;
mod sigv4;

pub use file::SharedFile;
pub use keys::{Chain, KeySource, Keys, NoKeys};
#[cfg(feature = "metadata")]
pub use metadata::Metadata;
pub use sigv4::SigV4;
