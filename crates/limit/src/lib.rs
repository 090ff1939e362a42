#![doc = include_str!("../README.md")]

mod estimate;
mod held;
mod layer;
mod memory;
mod quota;
mod refusal;
pub mod remote;
mod scopes;
mod service;
mod store;
mod window;

pub use layer::LimitLayer;
pub use memory::MemoryStore;
pub use quota::{Level, Quota};
pub use service::Limited;
pub use store::{Ask, Exceeded, Refused, Store, Taken, Ticket, Used};
pub use ziggurat_core::Reply;
