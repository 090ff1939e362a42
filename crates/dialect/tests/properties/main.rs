//! What holds for every conversation, every stream and every byte.

#[path = "../common/mod.rs"]
mod common;

mod conversations;
mod documents;
mod garbage;
mod interleaved;
mod names;
mod streams;
mod vectors;
