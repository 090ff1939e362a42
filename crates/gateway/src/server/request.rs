//! Request bodies that must not take for ever, nor all memory.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use ziggurat_core::{BoxError, Cause, Rejection};

use super::held::Held;

pin_project_lite::pin_project! {
    /// A request body that has to be whole by a deadline, and whose bytes count among those of all calls.
    pub(super) struct RequestBody<B> {
        #[pin]
        body: B,
        #[pin]
        deadline: Sleep,
        end: End,
    }
}

/// Notes on the connection when a body was dropped before its end.
struct End {
    held: Arc<Held>,
    reached: bool,
}

// ===== impl RequestBody =====

impl<B: HttpBody> RequestBody<B> {
    pub(super) fn new(body: B, within: Duration, held: Arc<Held>) -> Self {
        let end = End { held, reached: body.is_end_stream() };
        Self { body, deadline: sleep(within), end }
    }
}

impl<B> HttpBody for RequestBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
            if this.deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            let late = Rejection::new(Cause::RequestTimeout, "the request body did not arrive in time");
            return Poll::Ready(Some(Err(late.into())));
        };
        let Some(frame) = frame else {
            this.end.reached = true;
            return Poll::Ready(None);
        };
        let frame = frame.map_err(Into::into)?;
        if let Some(data) = frame.data_ref() {
            this.end.held.take(data.len())?;
        }
        this.end.reached = this.body.is_end_stream();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// ===== impl End =====

impl Drop for End {
    fn drop(&mut self) {
        if !self.reached {
            self.held.turn().leave_unread();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::{sync::Semaphore, time::Instant};
    use ziggurat_core::Body;

    use super::*;
    use crate::server::{Deadlines, line::Turn};

    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Pending
        }
    }

    fn wrap<B: HttpBody>(body: B) -> (RequestBody<B>, Arc<Turn>) {
        let turn = Arc::new(Turn::default());
        let held = Arc::new(Held::new(Arc::clone(&turn), Arc::new(Semaphore::new(4))));
        (RequestBody::new(body, Deadlines::default().body, held), turn)
    }

    async fn refusal<B>(body: RequestBody<B>) -> Option<Cause>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let error = body.collect().await.err()?;
        error.downcast_ref::<Rejection>().map(|it| it.problem().cause)
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_body_fails_with_a_refusal_after_half_a_minute() {
        let (body, turn) = wrap(Silent);
        let started = Instant::now();
        assert_eq!(refusal(body).await, Some(Cause::RequestTimeout));
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        assert!(turn.is_unread());
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_body_that_was_dropped_early_is_unread() {
        let (body, turn) = wrap(Body::from("four"));
        assert_eq!(body.collect().await.expect("is there").to_bytes(), "four");
        assert!(!turn.is_unread());
        let (body, turn) = wrap(Body::empty());
        drop(body);
        assert!(!turn.is_unread());
        let (body, turn) = wrap(Body::from("four"));
        drop(body);
        assert!(turn.is_unread());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_over_what_all_calls_may_hold_are_refused() {
        let (body, turn) = wrap(Body::from("5byte"));
        assert_eq!(refusal(body).await, Some(Cause::Overloaded));
        assert!(turn.is_unread());
    }
}
