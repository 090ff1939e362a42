//! Requests of Chat Completions, read and written.

mod decode;
mod encode;

pub(super) use self::{
    decode::arguments,
    encode::{THOUGHT_PART, is_call, write_call, write_joined, write_part},
};
pub use self::{decode::decode_request, encode::encode_request};
pub(crate) use self::{
    decode::media,
    encode::{is_thought_part, is_told, write_url},
};
