//! Panics: one ends its own call, and says nothing of what it was about.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe},
    pin::pin,
    task::Poll,
};

/// A call panicked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs a future; a panic in it is an error and ends nothing else.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    // What the future has half changed is dropped with it; what it shares is behind atomics and locks that recover.
    let poll = |cx: &mut std::task::Context<'_>| match panic::catch_unwind(AssertUnwindSafe(|| {
        future.as_mut().poll(cx)
    })) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => {
            forget(payload);
            Poll::Ready(Err(Panicked))
        }
    };
    poll_fn(poll).await
}

/// Has panics logged by their place alone: a message such as that of a string cut in the middle of a character quotes what a caller wrote.
pub(crate) fn log_places_only() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!("panicked at {place}");
    }));
}

/// Dropping a payload may panic again.
fn forget(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_a_value_stays_one() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        assert_eq!(
            caught(async {
                tokio::task::yield_now().await;
                panic!("with the words of a caller");
            })
            .await,
            Err::<(), _>(Panicked)
        );
    }
}
