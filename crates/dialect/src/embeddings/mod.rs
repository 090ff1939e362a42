//! Embeddings: a request in OpenAI's words, as providers with other words are asked for it, and their vectors as OpenAI's list.
//!
//! Google's callers ask in Google's words and are answered in them ([`decode_content`]). Callers give one text or several; a provider that
//! takes one at a time is asked once for each. Numbers of a vector stay as the provider has written them, unless the caller wants them in
//! base64: 32-bit floats, the lowest byte first, as OpenAI has it.
//!
//! # Example
//! ```
//! use ziggurat_core::{Wording, ParamPolicy};
//! use ziggurat_dialect::{Encoding, embeddings};
//!
//! let policy = ParamPolicy::default();
//! let request = embeddings::decode_request(r#"{"model": "fast", "input": ["a", "b"], "dimensions": 2}"#)?;
//! let bodies = embeddings::encode_request(Wording::OllamaEmbed, &request, &Encoding::new("nomic", &policy))?;
//! assert_eq!(bodies, [br#"{"model":"nomic","input":["a","b"],"dimensions":2}"#.to_vec()]);
//!
//! let mut vectors = embeddings::Vectors::new(Wording::OllamaEmbed, &request, "nomic");
//! vectors.read(r#"{"embeddings": [[0.5, 1], [1e-3, 0]], "prompt_eval_count": 2}"#, &http::HeaderMap::new())?;
//! assert_eq!(
//!     String::from_utf8(vectors.finish("nomic"))?,
//!     r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,1]},{"object":"embedding","index":1,"embedding":[1e-3,0]}],"model":"nomic","usage":{"prompt_tokens":2,"total_tokens":2}}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod encode;
mod google;
mod request;
mod task;

pub(crate) use self::answer::invoked_tokens;
pub use self::{
    answer::Vectors,
    encode::encode_request,
    google::decode_content,
    request::{Input, Request, decode_request},
};

/// About how many tokens a text has: one for three bytes, as the layers count that count without a tokenizer.
pub(crate) fn text_tokens(text: &crate::Text<'_>) -> u64 {
    (text.len() as u64).div_ceil(3)
}
