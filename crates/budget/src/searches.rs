//! How many searches a ranking is billed as.

use ziggurat_catalog::tokens::BYTES_PER_TOKEN;
use ziggurat_core::json::{Cursor, Fault, key_is};

/// The searches of a ranking's body, as Cohere bills them: a query with up to 100 documents is one, and a document that has, with the query,
/// more than 500 tokens counts as several (<https://cohere.com/pricing>). Tokens are estimated. Of a document no more than `longest` tokens
/// are read.
pub(crate) fn searches(body: &str, longest: u64) -> u64 {
    let tokens = |json: &str| (json.len().saturating_sub(2) as u64).div_ceil(BYTES_PER_TOKEN);
    let (mut query, mut documents) = (0, Vec::new());
    let _walked: Result<(), Fault> = Cursor::new(body).object(|key, cursor| {
        if key_is(key, "query") {
            query = tokens(cursor.value()?);
        } else if key_is(key, "documents") {
            cursor.array(|_, cursor| {
                documents.push(tokens(cursor.value()?).min(longest));
                Ok::<_, Fault>(())
            })?;
        }
        Ok(())
    });
    let chunks = |document: &u64| query.saturating_add(*document).div_ceil(TOKENS_PER_CHUNK).max(1);
    documents.iter().map(chunks).fold(0, u64::saturating_add).div_ceil(CHUNKS_PER_SEARCH).max(1)
}

/// What bounds the tokens that are read of a document.
pub(crate) const LONGEST: &str = "max_tokens_per_doc";

/// Where nobody says it (<https://docs.cohere.com/reference/rerank>).
pub(crate) const DEFAULT_LONGEST: u64 = 4096;

const TOKENS_PER_CHUNK: u64 = 500;
const CHUNKS_PER_SEARCH: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_short_documents_are_one_search() {
        let of = |count: usize, document: &str| {
            let body = format!(r#"{{"query":"q","documents":[{}]}}"#, vec![document; count].join(","));
            searches(&body, DEFAULT_LONGEST)
        };
        assert_eq!([of(1, r#""a""#), of(100, r#""a""#), of(101, r#""a""#)], [1, 1, 2]);
        // 500 tokens with the query's one, and one more.
        assert_eq!(of(100, &format!("\"{}\"", "a".repeat(499 * 3))), 1);
        assert_eq!(of(51, &format!("\"{}\"", "a".repeat(500 * 3))), 2);
        assert_eq!(of(100, r#"{"text":"a"}"#), 1);
        assert_eq!([searches("{}", 1), searches("[]", 1)], [1, 1]);
    }

    #[test]
    fn a_document_counts_no_further_than_it_is_read() {
        let megabyte = format!("\"{}\"", "a".repeat(1 << 20));
        let of = |count: usize, longest| {
            searches(
                &format!(r#"{{"query":"q","documents":[{}]}}"#, vec![&*megabyte; count].join(",")),
                longest,
            )
        };
        // Nine chunks each of 4,096 tokens, with the query's one.
        assert_eq!([of(1, DEFAULT_LONGEST), of(11, DEFAULT_LONGEST), of(12, DEFAULT_LONGEST)], [1, 1, 2]);
        assert_eq!([of(100, 499), of(51, 500)], [1, 2]);
        assert_eq!([of(1, u64::MAX), of(1, 0)], [7, 1]);
    }
}
