//! Requests of `generateContent`, read and written.

mod decode;
mod encode;

pub(super) use self::decode::camel;
pub(crate) use self::decode::{Standing, standing};
pub use self::{decode::decode_request, encode::encode_request};
