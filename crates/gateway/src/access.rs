//! The master key, checked from the head before a body byte is read.

use http::{HeaderMap, header};
use ziggurat_core::{Cause, Rejection};

use crate::secret::Secret;

/// Lets a request pass that carries the master key, once or the same several times, in any of the headers that SDKs use.
///
/// # Errors
/// One and the same refusal for a missing, a wrong and an ambiguous key.
pub(crate) fn check(headers: &HeaderMap, master: Option<&Secret>) -> Result<(), Rejection> {
    let Some(master) = master else { return Ok(()) };
    let mut any = false;
    let mut all = true;
    for name in ["authorization", "x-litellm-api-key", "x-api-key", "api-key"] {
        for value in headers.get_all(name) {
            let value = value.as_bytes();
            let key = match name == header::AUTHORIZATION.as_str() {
                true => strip_bearer(value),
                false => Some(strip_bearer(value).unwrap_or(value)),
            };
            any = true;
            all &= key.is_some_and(|key| master.matches(key));
        }
    }
    match any && all {
        true => Ok(()),
        false => Err(Rejection::new(Cause::InvalidKey, "missing or invalid API key")),
    }
}

fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn passes(headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        check(&map, Some(&Secret::new("sk-master"))).is_ok()
    }

    #[test]
    fn the_key_counts_in_each_header_that_sdks_use() {
        assert!(passes(&[("authorization", "Bearer sk-master")]));
        assert!(passes(&[("authorization", "bearer  sk-master")]));
        assert!(passes(&[("x-api-key", "sk-master")]));
        assert!(passes(&[("api-key", "sk-master")]));
        assert!(passes(&[("x-litellm-api-key", "Bearer sk-master")]));
        assert!(passes(&[("authorization", "Bearer sk-master"), ("x-api-key", "sk-master")]));
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(!passes(&[]));
        assert!(!passes(&[("authorization", "sk-master")]));
        assert!(!passes(&[("authorization", "Basic sk-master")]));
        assert!(!passes(&[("authorization", "Bearer sk-maste")]));
        assert!(!passes(&[("authorization", "Bearer sk-master"), ("x-api-key", "sk-other")]));
        assert!(!passes(&[("authorization", "Bearer sk-other"), ("authorization", "Bearer sk-master")]));
    }
}
