//! Streams of Chat Completions, read and written.

mod decode;
mod encode;

pub(crate) use self::decode::{MAX_CHOICES, truncated};
pub use self::{decode::StreamDecoder, encode::StreamEncoder};
