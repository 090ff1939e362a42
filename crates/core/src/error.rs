//! Errors of bodies and transports, and what a chain of them says.

use std::{error::Error, fmt, io, iter::successors};

/// Any error, as bodies and transports give it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The connection did not come about: nothing reached the provider, so that it cannot have billed anything.
///
/// Whoever sends requests puts it around the errors of which it knows that. It is found anywhere in the chain of sources of an error
/// that is handed on as a [`BoxError`]; without it an attempt that failed counts as sent ([`Attempt::sent`](crate::Attempt::sent)).
#[derive(Debug)]
#[non_exhaustive]
pub struct Unsent {
    /// Why it did not come about.
    pub source: BoxError,
}

// ===== impl Unsent =====

impl Unsent {
    /// Says of `source` that it came before anything was sent.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self { source: source.into() }
    }

    /// Whether the error, or any in its chain of sources, is one of these.
    #[must_use]
    pub fn is_in(error: &(dyn Error + 'static)) -> bool {
        chain(error).any(|error| error.is::<Self>())
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing reached the provider")
    }
}

impl Error for Unsent {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Whether the error, or any in its chain of sources, is a timeout: an [`io::Error`] of that kind or, as tower's and tokio's, an error
/// named `Elapsed`.
#[must_use]
pub fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| match error.downcast_ref::<io::Error>() {
        Some(error) => error.kind() == io::ErrorKind::TimedOut,
        // The types are tower's and tokio's, on which this crate does not depend; their `Debug` shows no more than the name.
        None => format!("{error:?}").starts_with("Elapsed"),
    })
}

/// The error and its sources; what an [`io::Error`] was made of, too, which leaves it out itself and names only what is behind it.
pub(crate) fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |error: &&'e (dyn Error + 'static)| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => (*error).source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, Rejection};

    #[derive(Debug)]
    struct Around(BoxError);

    impl fmt::Display for Around {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("around")
        }
    }

    impl Error for Around {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self.0.as_ref())
        }
    }

    #[test]
    fn what_was_not_sent_is_found_anywhere_in_the_chain() {
        let unsent = || Unsent::new("connection refused");
        assert!(Unsent::is_in(&unsent()));
        assert!(Unsent::is_in(&Around(Around(unsent().into()).into())));
        // Whose own source would be that of what it was made of.
        assert!(Unsent::is_in(&io::Error::other(io::Error::other(unsent()))));
        assert!(!Unsent::is_in(&Around("connection refused".into())));
    }

    #[test]
    fn what_was_not_sent_hides_neither_a_timeout_nor_a_refusal() {
        assert!(is_timeout(&Unsent::new(Around(io::Error::from(io::ErrorKind::TimedOut).into()))));
        assert!(!is_timeout(&Unsent::new(io::Error::from(io::ErrorKind::ConnectionRefused))));
        let refusal = Rejection::new(Cause::Overloaded, "no room");
        assert_eq!(Rejection::find_in(&Unsent::new(refusal.clone())), Some(&refusal));
        assert_eq!(Unsent::new("refused").to_string(), "nothing reached the provider");
    }
}
