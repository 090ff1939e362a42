#![doc = include_str!("../README.md")]

mod body;
mod fit;
mod framing;
mod layer;
mod passed;
mod request;
mod response;
mod reworded;
mod service;

pub use body::TranslatedBody;
pub use layer::TranslateLayer;
pub use service::Translate;
