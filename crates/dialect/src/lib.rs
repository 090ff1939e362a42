#![doc = include_str!("../README.md")]

pub mod anthropic;
mod codec;
mod encode;
mod error;
mod hint;
mod model;
mod names;
pub mod openai;
mod read;
mod scrub;
pub mod sse;
mod text;
mod write;

pub use codec::{
    StreamDecoder, StreamEncoder, decode_request, decode_response, encode_request, encode_response,
};
pub use encode::{Encoding, Refused};
pub use error::{decode_answer_error, decode_error};
pub use hint::{add_hints, retry_after};
pub use model::*;
pub use names::ToolNames;
pub use read::{Extra, Malformed};
pub use scrub::scrub;
pub use text::Text;
