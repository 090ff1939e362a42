//! Request bodies that must not take for ever, nor all memory.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use ziggurat_core::{BoxError, Cause, Rejection};

use super::held::Held;

pin_project_lite::pin_project! {
    /// A request body that has to be whole by a deadline, and whose bytes count among those of all calls.
    pub(super) struct RequestBody<B> {
        #[pin]
        body: B,
        #[pin]
        deadline: Sleep,
        within: Duration,
        // Whether more is waited for since it passes.
        waits: bool,
        passage: Passage,
        end: End,
    }
}

/// Request extension: by it a body is let pass. From then on its bytes are held by nobody, and so do not count among those of all calls; and
/// it has to go on within the deadline, and no longer to end: who sends it waits for the provider that takes it.
///
/// What is fetched to stand in a body counts with its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passage {
    open: Arc<AtomicBool>,
    held: Weak<Held>,
}

/// Notes on the connection when a body was dropped before its end.
struct End {
    held: Arc<Held>,
    reached: bool,
}

// ===== impl RequestBody =====

impl<B: HttpBody> RequestBody<B> {
    pub(super) fn new(body: B, within: Duration, held: Arc<Held>, passage: Passage) -> Self {
        let end = End { held, reached: body.is_end_stream() };
        Self { body, deadline: sleep(within), within, waits: false, passage, end }
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
        let passes = this.passage.is_open();
        let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
            if passes && !std::mem::replace(this.waits, true) {
                this.deadline.as_mut().reset(Instant::now() + *this.within);
            }
            if this.deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            let late = Rejection::new(Cause::RequestTimeout, "the request body did not arrive in time");
            return Poll::Ready(Some(Err(late.into())));
        };
        *this.waits = false;
        let Some(frame) = frame else {
            this.end.reached = true;
            return Poll::Ready(None);
        };
        let frame = frame.map_err(Into::into)?;
        if let Some(data) = frame.data_ref().filter(|_| !passes) {
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

// ===== impl Passage =====

impl Passage {
    pub(super) fn new(held: &Arc<Held>) -> Self {
        Self { open: Arc::default(), held: Arc::downgrade(held) }
    }

    /// Lets the body pass.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts all that was fetched for an attempt of the call. What an earlier one was fetched has gone.
    ///
    /// # Errors
    /// A refusal when all calls together hold too many bytes.
    pub(crate) fn hold_fetched(&self, bytes: usize) -> Result<(), Rejection> {
        // Once the call has ended nobody waits for what was fetched.
        self.held.upgrade().map_or(Ok(()), |held| held.take_fetched(bytes))
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
    use tokio::{
        sync::{
            Semaphore,
            mpsc::{UnboundedReceiver, unbounded_channel},
        },
        time::advance,
    };
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

    /// What is sent to it.
    struct Sent(UnboundedReceiver<Bytes>);

    impl HttpBody for Sent {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    fn wrap<B: HttpBody>(body: B) -> (RequestBody<B>, Arc<Turn>) {
        let turn = Arc::new(Turn::default());
        let held = Arc::new(Held::new(Arc::clone(&turn), Arc::new(Semaphore::new(4))));
        (RequestBody::new(body, Deadlines::default().body, held, Passage::default()), turn)
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

    #[tokio::test(start_paused = true)]
    async fn a_body_that_passes_takes_no_share_and_has_to_go_on() {
        let (sender, receiver) = unbounded_channel::<Bytes>();
        let (body, _turn) = wrap(Sent(receiver));
        body.passage.open();
        let mut body = std::pin::pin!(body);
        // Longer than a body may take that does not pass, and more than all calls may hold.
        for _ in 0..3 {
            advance(Duration::from_secs(29)).await;
            sender.send(Bytes::from("longer than four")).expect("is received");
            assert!(body.frame().await.expect("is there").is_ok());
        }
        let waiting = Instant::now();
        let error = body.frame().await.expect("is told").expect_err("is late");
        assert_eq!(
            error.downcast_ref::<Rejection>().map(|it| it.problem().cause),
            Some(Cause::RequestTimeout)
        );
        assert_eq!(waiting.elapsed(), Duration::from_secs(30));
    }
}
