//! Answers of stores, which may be here or on another machine.

use std::{fmt, future::Future, pin::Pin};

/// An answer that is there, or one to wait for.
pub enum Reply<T> {
    /// Known now.
    Ready(T),
    /// Polled within the call; no task is needed.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Reply<T> {
    /// The answer, when it is there.
    #[expect(clippy::manual_async_fn, reason = "a block keeps what it captures once, an `async fn` twice")]
    pub fn wait(self) -> impl Future<Output = T> {
        async move {
            match self {
                Self::Ready(answer) => answer,
                Self::Later(answer) => answer.await,
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}
