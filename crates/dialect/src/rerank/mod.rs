//! Rankings: a request in Cohere's words, as other rerankers are asked for it, and their results as Cohere's list.
//!
//! Documents go as plain texts: one that is an object as its `text`, or as the lines of its `rank_fields`. They are given back from the
//! request, where the caller wants them, so that no provider sends them again.
//!
//! # Example
//! ```
//! use ziggurat_core::{Wording, ParamPolicy};
//! use ziggurat_dialect::{Encoding, rerank};
//!
//! let policy = ParamPolicy::default();
//! let request = rerank::decode_request(r#"{"model": "fast", "query": "q", "documents": ["a", "b"], "top_n": 1}"#)?;
//! let body = rerank::encode_request(Wording::RerankTopK, &request, &Encoding::new("rerank-2.5", &policy))?;
//! assert_eq!(body, br#"{"model":"rerank-2.5","query":"q","documents":["a","b"],"top_k":1}"#);
//!
//! let mut ranking = rerank::Ranking::new(&request);
//! ranking.read(r#"{"data": [{"index": 1, "relevance_score": 0.75}], "usage": {"total_tokens": 6}}"#, &http::HeaderMap::new())?;
//! assert_eq!(
//!     String::from_utf8(ranking.finish("r-1"))?,
//!     r#"{"id":"r-1","results":[{"index":1,"relevance_score":0.75}],"meta":{"billed_units":{"total_tokens":6},"tokens":{"input_tokens":6}}}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod encode;
mod request;

pub use self::{
    answer::Ranking,
    encode::encode_request,
    request::{Document, Request, decode_request},
};
