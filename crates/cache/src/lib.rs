#![doc = include_str!("../README.md")]

mod asked;
mod body;
mod canonical;
mod controls;
mod entry;
mod flight;
mod forms;
mod items;
mod key;
mod layer;
mod memory;
mod service;
mod store;
mod tenant;

pub use entry::{Entry, Form, Poisoned};
pub use key::{Key, NoKey};
pub use layer::CacheLayer;
pub use memory::MemoryStore;
pub use service::{Cached, Lookup};
pub use store::Store;
pub use tenant::Share;
