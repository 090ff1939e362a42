#![doc = include_str!("../README.md")]

pub mod anthropic;
mod blocks;
mod codec;
pub mod cohere;
pub mod converse;
pub mod embeddings;
mod encode;
mod error;
pub mod event_stream;
mod families;
mod fitted;
mod foreign;
mod form_tool;
pub mod gemini;
mod hint;
pub mod images;
pub mod json_array;
mod model;
mod names;
pub mod ndjson;
pub mod ollama;
pub mod openai;
mod progress;
mod read;
mod remote;
pub mod rerank;
pub mod responses;
mod retell;
mod scrub;
mod seen;
mod signature;
pub mod sse;
mod text;
mod write;

pub use blocks::OpenBlocks;
pub use codec::{
    StreamDecoder, StreamEncoder, decode_request, decode_response, encode_request, encode_response,
};
pub use encode::{Encoding, Refused};
pub use error::{decode_answer_error, decode_error, decode_error_of};
pub use families::{capabilities, capabilities_at};
pub use form_tool::{FormEvents, FormTool};
pub use hint::{add_hints, retry_after};
pub use model::*;
pub use names::ToolNames;
pub use read::{Extra, Malformed};
pub use remote::{RemoteMedia, remote_media, takes_urls};
pub use retell::{Unassembled, stream_of, whole_of};
pub use scrub::scrub;
pub use signature::{SignatureMarks, has_signature_mark};
pub use text::Text;
