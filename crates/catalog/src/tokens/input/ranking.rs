//! The input of a reranker.

use ziggurat_core::json::{Cursor, Fault, key_is};

use super::{Walk, Walked};

impl<'a> Walk<'a> {
    /// A query, which is read with each of the documents.
    pub(super) fn ranking(&mut self, cursor: &mut Cursor<'a>) -> Walked {
        self.count.exact = false;
        let (mut query, mut documents) = (0_u64, 0_u64);
        let reads_fields = reads_fields(*cursor)?;
        cursor.object(|key, cursor| {
            if key_is(key, "query") {
                let before = self.count.tokens;
                self.text(cursor)?;
                query = self.count.tokens - before;
            } else if key_is(key, "documents") {
                cursor.array(|_, cursor| {
                    documents += 1;
                    // Of named fields the names and numbers are read, too.
                    if reads_fields { self.json(cursor) } else { self.strings(cursor) }
                })?;
            }
            Ok::<_, Fault>(())
        })?;
        let again = query.saturating_mul(documents.saturating_sub(1));
        self.count.tokens = self.count.tokens.saturating_add(again);
        Ok(())
    }
}

/// Whether documents are read by fields that are named.
fn reads_fields(mut ranking: Cursor<'_>) -> Result<bool, Fault> {
    let mut named = false;
    ranking.object(|key, cursor| {
        if key_is(key, "rank_fields") {
            named = !matches!(cursor.value()?, "null" | "[]");
        }
        Ok::<_, Fault>(())
    })?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use ziggurat_core::{Dialect, Operation};

    use crate::tokens::{ByLength, input::count};

    #[test]
    fn a_query_counts_with_each_document() {
        let tokens = |body: &str| count(Operation::Rerank, Dialect::OpenAi, "m", body, &ByLength);
        let body = r#"{"model":"a model","query":"abcdef","documents":["abc",{"text":"abc","n":7},"abc"]}"#;
        let counted = tokens(body);
        assert_eq!((counted.tokens, counted.exact), (3 * 2 + 3, false));
        assert_eq!(tokens(r#"{"documents":["abc"],"query":"abcdef"}"#).tokens, 3);
        assert_eq!(tokens(r#"{"query":"abcdef"}"#).tokens, 2);
        // `text`, `abc`, `n` and `7`.
        let fields = r#"{"documents":[{"text":"abc","n":7}],"rank_fields":["n"]}"#;
        assert_eq!(tokens(fields).tokens, 2 + 1 + 1 + 1);
        assert_eq!(tokens(&fields.replace(r#"["n"]"#, "[]")).tokens, 1);
    }
}
