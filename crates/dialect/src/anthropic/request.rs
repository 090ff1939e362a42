//! Requests of Messages, read and written.

mod decode;
mod encode;

pub(super) use self::decode::{blocks, caller_block};
pub(crate) use self::encode::{Thinking, cannot_think_on, closed, thinking_effort};
pub use self::{decode::decode_request, encode::encode_request};
