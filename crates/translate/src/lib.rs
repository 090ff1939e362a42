#![doc = include_str!("../README.md")]

mod body;
mod layer;
mod request;
mod response;
mod service;

pub use body::TranslatedBody;
pub use layer::TranslateLayer;
pub use service::Translate;
