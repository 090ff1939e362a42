//! Asking OpenAI's API for the usage of a stream.

use ziggurat_core::{
    Call, Field, Usd,
    json::{Cursor, Fault, key_is, without},
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
    let object = call.field(Field::StreamOptions).unwrap_or("{}").trim();
    let rest = without(object, &[&["include_usage"]]);
    let object = rest.as_deref().unwrap_or(object);
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
    use http::Request;
    use ziggurat_core::{Body, Limits};

    use super::*;

    /// This would take minutes if each of them cost a walk of the options.
    #[tokio::test]
    async fn usage_is_asked_for_once_however_often_it_was_before() {
        let before = r#""include_usage":null,"#.repeat(100_000);
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],"stream_options":{{{before}"x":1}}}}"#
        );
        let request = Request::post("/v1/chat/completions").body(Body::from(body)).expect("is a request");
        let (_request, call) = Call::read(request, &Limits::default()).await.expect("is valid");
        assert_eq!(options_with_usage(&call), br#"{"x":1,"include_usage":true}"#);
    }

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
