#![doc = include_str!("../README.md")]

mod anthropic;
mod array;
mod body;
mod fit;
mod framing;
mod layer;
mod media;
mod passed;
mod request;
mod response;
mod reworded;
mod service;
mod standing;
mod unwrapped;

pub use array::{Array, ArrayLayer};
pub use body::TranslatedBody;
pub use layer::TranslateLayer;
pub use media::{FetchMedia, Fetched, Fetching, NotFetched, Wanted};
pub use service::Translate;
