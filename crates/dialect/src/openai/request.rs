//! Requests of Chat Completions, read and written.

mod decode;
mod encode;

pub(super) use self::{decode::arguments, encode::write_call};
pub use self::{
    decode::decode_request,
    encode::{encode_request, shorten_tool_name},
};
