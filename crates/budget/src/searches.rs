//! How many searches a ranking is billed as.

use ziggurat_catalog::tokens::BYTES_PER_TOKEN;
use ziggurat_core::json::{Cursor, Fault, key_is};

/// The searches of a ranking's body, as Cohere bills them: a query with up to 100 documents is one, and a document that has, with the query,
/// more than 500 tokens counts as several (<https://cohere.com/pricing>). Tokens are estimated.
pub(crate) fn searches(body: &str) -> u64 {
    let tokens = |json: &str| (json.len().saturating_sub(2) as u64).div_ceil(BYTES_PER_TOKEN);
    let (mut query, mut documents) = (0, Vec::new());
    let _walked: Result<(), Fault> = Cursor::new(body).object(|key, cursor| {
        if key_is(key, "query") {
            query = tokens(cursor.value()?);
        } else if key_is(key, "documents") {
            cursor.array(|_, cursor| {
                documents.push(tokens(cursor.value()?));
                Ok::<_, Fault>(())
            })?;
        }
        Ok(())
    });
    let chunks = |document: &u64| query.saturating_add(*document).div_ceil(TOKENS_PER_CHUNK).max(1);
    documents.iter().map(chunks).fold(0, u64::saturating_add).div_ceil(CHUNKS_PER_SEARCH).max(1)
}

const TOKENS_PER_CHUNK: u64 = 500;
const CHUNKS_PER_SEARCH: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_short_documents_are_one_search() {
        let of = |count: usize, document: &str| {
            searches(&format!(r#"{{"query":"q","documents":[{}]}}"#, vec![document; count].join(",")))
        };
        assert_eq!([of(1, r#""a""#), of(100, r#""a""#), of(101, r#""a""#)], [1, 1, 2]);
        // 500 tokens with the query's one, and one more.
        assert_eq!(of(100, &format!("\"{}\"", "a".repeat(499 * 3))), 1);
        assert_eq!(of(51, &format!("\"{}\"", "a".repeat(500 * 3))), 2);
        assert_eq!(of(100, r#"{"text":"a"}"#), 1);
        assert_eq!([searches("{}"), searches("[]")], [1, 1]);
    }
}
