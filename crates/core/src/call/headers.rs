//! What the headers of a request say of its body.

use http::{HeaderMap, header};

use super::{Limits, refuse_body};
use crate::{Cause, CollectError, Rejection};

/// Checks the headers of a body of JSON.
pub(super) fn check_json(headers: &HeaderMap, limits: &Limits) -> Result<(), Rejection> {
    let unsupported = |message: String| Err(Rejection::new(Cause::UnsupportedMediaType, message));
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    if let Some(kind) = kinds.next() {
        let mut parts = kind.to_str().unwrap_or_default().split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" && !essence.ends_with("+json") {
            return unsupported(format!("content-type must be application/json, not {essence:?}"));
        }
        if let Some(charset) = parts.filter_map(charset).find(|charset| !is_utf8(charset)) {
            return unsupported(format!("the charset of content-type must be utf-8, not {charset:?}"));
        }
    }
    // One layer would read the first and a provider the last.
    if kinds.next().is_some() {
        return unsupported("content-type stands twice in the request's headers".to_owned());
    }
    check_length(headers, limits.body)
}

/// Checks the headers that bodies of all kinds have.
pub(super) fn check_length(headers: &HeaderMap, limit: usize) -> Result<(), Rejection> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Rejection::new(
            Cause::UnsupportedMediaType,
            "content-encoding is not supported in requests: send the body uncompressed",
        ));
    }
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(refuse_body(CollectError::TooLarge { limit }));
    }
    Ok(())
}

/// The length that the headers announce.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// The charset that a parameter of a content type names, in lower case; empty when it names none.
fn charset(parameter: &str) -> Option<String> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    name.trim().eq_ignore_ascii_case("charset").then(|| unquoted(value.trim()).to_ascii_lowercase())
}

/// A parameter's value without its quotes, where it has both.
pub(super) fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Both labels are in use (<https://encoding.spec.whatwg.org/#names-and-labels>).
pub(super) fn is_utf8(charset: &str) -> bool {
    matches!(charset, "utf-8" | "utf8")
}
