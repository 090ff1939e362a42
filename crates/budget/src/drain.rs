//! The response body that outlives its caller.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use ziggurat_core::{Body, BoxError};

use crate::Rest;

/// Hands what is left of `inner` on when it is dropped before its end.
pub(crate) struct DrainedBody {
    inner: Body,
    drive: Arc<dyn Fn(Rest) + Send + Sync>,
    ended: bool,
}

impl DrainedBody {
    pub(crate) const fn new(inner: Body, drive: Arc<dyn Fn(Rest) + Send + Sync>) -> Self {
        Self { inner, drive, ended: false }
    }
}

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.ended |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        if !self.ended && !self.inner.is_end_stream() {
            (self.drive)(Rest(mem::take(&mut self.inner)));
        }
    }
}

/// Reads on, at most so many frames at a time: other tasks want to run too.
pub(crate) fn poll_rest(body: &mut Body, cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..FRAMES_AT_A_TIME {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(()),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

const FRAMES_AT_A_TIME: usize = 64;
