//! A secret from the configuration: never printed.

use std::fmt;
use std::sync::Arc;

/// A key or token; `Debug` hides it, there is no `Display`, and only [`expose`](Self::expose) gives it away.
#[derive(Clone, PartialEq, Eq, Hash)]
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
}
