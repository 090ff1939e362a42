#![doc = include_str!("../README.md")]

#[cfg(any(feature = "metadata", feature = "sts"))]
mod ask;
mod file;
mod keys;
#[cfg(feature = "metadata")]
mod metadata;
mod profile;
#[cfg(any(feature = "metadata", feature = "sts"))]
mod renewal;
#[cfg(feature = "sts")]
mod role;
mod sign;
mod sigv4;

pub use file::SharedFile;
pub use keys::{Chain, KeySource, Keys, NoKeys};
#[cfg(feature = "metadata")]
pub use metadata::Metadata;
pub use profile::{ProfileRole, RoleSource};
#[cfg(feature = "sts")]
pub use role::{AssumedRole, Role};
pub use sigv4::SigV4;
