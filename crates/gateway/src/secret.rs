//! A secret from the configuration: never printed, compared in constant time.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A key or token; `Debug` hides it, there is no `Display`, and only [`expose`](Self::expose) gives it away.
#[derive(Clone)]
pub(crate) struct Secret(Arc<str>);

// ===== impl Secret =====

impl Secret {
    /// Wraps a secret text.
    pub(crate) fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret.
    ///
    /// Digests are compared, in constant time, so that neither the length nor a common beginning shows in the time taken.
    pub(crate) fn matches(&self, given: &[u8]) -> bool {
        let (own, given) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(given));
        own.as_slice().ct_eq(given.as_slice()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        assert_eq!(format!("{:?}", Secret::new("sk-canary")), "Secret(..)");
    }

    #[test]
    fn matches_only_itself() {
        let secret = Secret::new("sk-canary");
        assert!(secret.matches(b"sk-canary"));
        for other in ["", "sk-canar", "sk-canary ", "sk-canarY"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
        assert_eq!(secret.expose(), "sk-canary");
    }
}
