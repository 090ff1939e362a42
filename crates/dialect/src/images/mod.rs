//! Images: a request in OpenAI's words, as providers with other words are asked for it, and what they draw as OpenAI's list.
//!
//! Images come back as base64 alone, as the provider has written it. A provider that draws one at a time is asked once for each. Where it has
//! shapes and no sizes, a size is asked for as the nearest shape.
//!
//! # Example
//! ```
//! use ziggurat_core::{Wording, ParamPolicy};
//! use ziggurat_dialect::{Encoding, images};
//!
//! let policy = ParamPolicy::default();
//! let request = images::decode_request(r#"{"model": "fast", "prompt": "a cat", "n": 2, "size": "1792x1024"}"#)?;
//! let bodies = images::encode_request(Wording::PredictImages, &request, &Encoding::new("imagen-4.0-generate-001", &policy))?;
//! assert_eq!(
//!     bodies,
//!     [br#"{"instances":[{"prompt":"a cat"}],"parameters":{"sampleCount":2,"aspectRatio":"16:9","includeRaiReason":true}}"#.to_vec()]
//! );
//!
//! let mut images = images::Images::new(Wording::PredictImages, &request);
//! images.read(r#"{"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "AA=="}, {"bytesBase64Encoded": "AQ=="}]}"#)?;
//! assert_eq!(
//!     String::from_utf8(images.finish(1_700_000_000).expect("there are some"))?,
//!     r#"{"created":1700000000,"data":[{"b64_json":"AA=="},{"b64_json":"AQ=="}],"output_format":"png"}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod encode;
mod request;

pub use self::{
    answer::{Images, NoImage},
    encode::encode_request,
    request::{Request, decode_request},
};
