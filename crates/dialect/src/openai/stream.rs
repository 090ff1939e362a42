//! Streams of Chat Completions, read and written.

mod decode;
mod encode;

pub(crate) use self::decode::truncated;
pub use self::{decode::StreamDecoder, encode::StreamEncoder};
