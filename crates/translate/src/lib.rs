#![doc = include_str!("../README.md")]

mod body;
mod framing;
mod layer;
mod passed;
mod quirks;
mod request;
mod response;
mod reworded;
mod service;

pub use body::TranslatedBody;
pub use layer::TranslateLayer;
pub use service::Translate;
