//! Requests of Responses, read and written.

mod decode;
mod elsewhere;
mod encode;

pub(crate) use self::elsewhere::encode_elsewhere;
pub use self::{decode::decode_request, encode::encode_request};
