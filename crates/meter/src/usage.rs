//! Asking OpenAI's API for the usage of a stream.

use ziggurat_core::{
    Call, Field, Usd,
    json::{Cursor, Fault, find_member, key_is},
};

/// Whether an OpenAI caller asks for usage at the end of its stream.
#[must_use]
pub fn asks_for_usage(call: &Call) -> bool {
    let mut asked = false;
    if let Some(options) = call.field(Field::StreamOptions) {
        let mut cursor = Cursor::new(options);
        let _walked: Result<(), Fault> = cursor.object(|key, cursor| {
            if key_is(key, "include_usage") {
                asked = cursor.value()? == "true";
            }
            Ok(())
        });
    }
    asked
}

/// The call's `stream_options`, an object, with usage asked for.
#[must_use]
pub fn options_with_usage(call: &Call) -> Vec<u8> {
    let mut object = call.field(Field::StreamOptions).unwrap_or("{}").trim().to_owned();
    while let Some(cut) = find_member(&object, &["include_usage"]) {
        object.replace_range(cut, "");
    }
    let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().trim();
    let separator = if members.is_empty() { "" } else { "," };
    format!("{{{members}{separator}\"include_usage\":true}}").into_bytes()
}

/// A chunk of a stream with the cost told in its `usage`, in US dollars; `None` when it has no such object.
#[must_use]
pub fn chunk_with_cost(chunk: &str, cost: Usd) -> Option<String> {
    let mut at = None;
    let mut cursor = Cursor::new(chunk);
    let _walked: Result<(), Fault> = cursor.object(|key, cursor| {
        if key_is(key, "usage") {
            let value = cursor.value()?;
            at = value.starts_with('{').then(|| value.as_ptr() as usize - chunk.as_ptr() as usize + 1);
        }
        Ok(())
    });
    let (before, behind) = chunk.split_at(at?);
    let separator = if behind.trim_start().starts_with('}') { "" } else { "," };
    Some(format!("{before}\"cost\":{cost}{separator}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_told_in_the_usage_and_nowhere_else() {
        let told = |chunk| chunk_with_cost(chunk, Usd::cents(5));
        assert_eq!(
            told(r#"{"x":{"usage":{}},"usage": {"a":1}}"#).as_deref(),
            Some(r#"{"x":{"usage":{}},"usage": {"cost":0.05,"a":1}}"#)
        );
        assert_eq!(told(r#"{"usage":{ }}"#).as_deref(), Some(r#"{"usage":{"cost":0.05 }}"#));
        assert_eq!(told(r#"{"usage":null}"#), None);
        assert_eq!(told("[]"), None);
    }
}
