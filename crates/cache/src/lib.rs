#![doc = include_str!("../README.md")]

mod asked;
mod body;
mod canonical;
mod claims;
mod controls;
mod entry;
mod flight;
mod forms;
mod items;
mod key;
mod layer;
mod memory;
mod semantic;
mod service;
mod store;
mod tenant;

pub use entry::{Entry, Form, Poisoned};
pub use key::{Key, NoKey};
pub use layer::CacheLayer;
pub use memory::MemoryStore;
pub use semantic::{
    Embedder, EmbedderService, Embedding, FlatIndex, Index, InvalidThreshold, NoDirection, NoEmbedding,
    Semantic, SemanticCounts, Similar, Trigrams, Vector, negations, numbers,
};
pub use service::{Cached, GoesAlone, Lookup};
pub use store::{Claim, Held, Store};
pub use tenant::Share;
