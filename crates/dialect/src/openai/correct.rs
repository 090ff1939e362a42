//! The one number of an answer that is put right for a caller of the same dialect.

use serde_json::value::RawValue;
use ziggurat_core::{
    Convention,
    json::{Cursor, Fault, key_is},
};

use super::read_usage;

/// Puts right the completion tokens of a provider that counts reasoning beside them (xAI, also on Azure): OpenAI's callers take them for all
/// that was written, and reckon money with them. Gives the document with that number replaced and every other byte as it was, or `None`
/// where nothing is to be done.
#[must_use]
pub fn correct_usage(json: &str) -> Option<String> {
    memchr::memmem::find(json.as_bytes(), b"\"reasoning_tokens\"")?;
    let usage = member(json, 0, "usage")?;
    let raw: &RawValue = serde_json::from_str(json.get(usage.clone())?).ok()?;
    let counts = read_usage(raw)?.counts;
    if counts.convention != Convention::XAI {
        return None;
    }
    let count = member(json, usage.start, "completion_tokens")?;
    Some([&json[..count.start], &counts.output_total()?.to_string(), &json[count.end..]].concat())
}

/// Where the value of a member of the object at `start` stands.
fn member(json: &str, start: usize, name: &str) -> Option<std::ops::Range<usize>> {
    let mut found = None;
    let mut cursor = Cursor::new(&json[start..]);
    let walked: Result<(), Fault> = cursor.object(|key, cursor| {
        if key_is(key, name) {
            let at = start + cursor.offset();
            found = Some(at..at + cursor.value()?.len());
        }
        Ok(())
    });
    walked.ok().and(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_that_stands_beside_is_added() {
        let chunk = |completion: u64| {
            format!(
                r#"{{"id":"x", "choices":[],"usage":{{"prompt_tokens":432,"completion_tokens": {completion},"total_tokens":636,"completion_tokens_details":{{"reasoning_tokens":136}}}},"y":1}}"#
            )
        };
        assert_eq!(correct_usage(&chunk(68)), Some(chunk(204)));
        assert_eq!(correct_usage(&chunk(204)), None);
    }

    #[test]
    fn other_documents_are_left_alone() {
        assert_eq!(correct_usage(r#"{"choices":[{"delta":{"content":"\"reasoning_tokens\""}}]}"#), None);
        assert_eq!(correct_usage(r#"{"usage":null,"x":"\"reasoning_tokens\""}"#), None);
        assert_eq!(correct_usage("[DONE]"), None);
    }
}
