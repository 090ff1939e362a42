//! Answers that must not be silent for ever.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use ziggurat_core::BoxError;

use crate::drain::{Drain, Stage, shutting_down};

pin_project_lite::pin_project! {
    /// A response body that may be silent only so long between two frames, and that ends when the gateway does.
    pub(crate) struct Idle<B> {
        #[pin]
        body: B,
        #[pin]
        silence: Sleep,
        limit: Duration,
        cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    }
}

// ===== impl Idle =====

impl<B> Idle<B> {
    pub(crate) fn new(body: B, limit: Duration, drain: Drain) -> Self {
        Self { body, silence: sleep(limit), limit, cut: Box::pin(drain.reached(Stage::Cutting)) }
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
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            this.silence.as_mut().reset(Instant::now() + *this.limit);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(shutting_down().into())));
        }
        if this.silence.poll(cx).is_ready() {
            let silent = io::Error::new(io::ErrorKind::TimedOut, "the upstream was silent for too long");
            return Poll::Ready(Some(Err(silent.into())));
        }
        Poll::Pending
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
    use ziggurat_core::{Cause, Rejection};

    use super::*;
    use crate::drain;

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
    async fn a_silent_body_times_out() {
        let (_drainer, drain) = drain::channel();
        let error = Idle::new(Silent, Duration::from_secs(9), drain).collect().await.expect_err("is silent");
        assert_eq!(error.downcast_ref::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_ends_with_the_gateway() {
        let (drainer, drain) = drain::channel();
        drainer.advance(Stage::Cutting);
        let error = Idle::new(Silent, Duration::from_secs(9), drain).collect().await.expect_err("is cut");
        assert_eq!(error.downcast_ref::<Rejection>().map(|it| it.problem().cause), Some(Cause::Overloaded));
    }
}
