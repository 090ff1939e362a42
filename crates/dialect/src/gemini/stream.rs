//! Streams of `streamGenerateContent`, read and written.

mod decode;
mod encode;

pub use self::{decode::StreamDecoder, encode::StreamEncoder};
