#![doc = include_str!("../README.md")]

mod body;
mod layer;
mod peek;
mod request;
mod response;
mod service;

pub use body::TranslatedBody;
pub use layer::TranslateLayer;
pub use service::Translate;
