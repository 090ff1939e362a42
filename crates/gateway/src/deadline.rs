//! Bodies that must not take for ever.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use ziggurat_core::{BoxError, Cause, Rejection};

pin_project_lite::pin_project! {
    /// A request body that has to be whole by a deadline.
    pub(crate) struct Deadline<B> {
        #[pin]
        body: B,
        #[pin]
        deadline: Sleep,
    }
}

pin_project_lite::pin_project! {
    /// A response body that may be silent only so long between two frames.
    pub(crate) struct Idle<B> {
        #[pin]
        body: B,
        #[pin]
        silence: Sleep,
        limit: Duration,
    }
}

// ===== impl Deadline =====

impl<B> Deadline<B> {
    pub(crate) fn new(body: B, within: Duration) -> Self {
        Self { body, deadline: sleep(within) }
    }
}

impl<B> HttpBody for Deadline<B>
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
        let this = self.project();
        match this.body.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            Poll::Pending if this.deadline.poll(cx).is_ready() => {
                let late = Rejection::new(Cause::RequestTimeout, "the request body did not arrive in time");
                Poll::Ready(Some(Err(late.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// ===== impl Idle =====

impl<B> Idle<B> {
    pub(crate) fn new(body: B, limit: Duration) -> Self {
        Self { body, silence: sleep_until(Instant::now() + limit), limit }
    }
}

impl<B> HttpBody for Idle<B>
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
        match this.body.poll_frame(cx) {
            Poll::Ready(frame) => {
                this.silence.as_mut().reset(Instant::now() + *this.limit);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if this.silence.poll(cx).is_ready() => {
                let silent = io::Error::new(io::ErrorKind::TimedOut, "the upstream was silent for too long");
                Poll::Ready(Some(Err(silent.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use ziggurat_core::Body;

    use super::*;

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

    #[tokio::test(start_paused = true)]
    async fn a_late_body_fails_with_a_refusal() {
        let error = Deadline::new(Silent, Duration::from_secs(30)).collect().await.expect_err("is late");
        assert_eq!(error.downcast_ref::<Rejection>().map(|r| r.problem().cause), Some(Cause::RequestTimeout));
        let body = Deadline::new(Body::from("x"), Duration::ZERO).collect().await.expect("is there");
        assert_eq!(body.to_bytes(), "x");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_times_out() {
        let error = Idle::new(Silent, Duration::from_secs(9)).collect().await.expect_err("is silent");
        assert_eq!(error.downcast_ref::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::TimedOut));
    }
}
