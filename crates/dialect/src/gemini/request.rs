//! Requests of `generateContent`, read and written.

mod decode;
mod encode;

pub(crate) use self::decode::{Standing, standing};
pub(super) use self::decode::{camel, is_plain};
pub use self::{decode::decode_request, encode::encode_request};
