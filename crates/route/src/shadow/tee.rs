//! The caller's answer, copied on its way.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;
use ziggurat_core::{Body, BoxError};

use super::seen::{End, Record, Seen};

/// Keeps the first bytes of a body, and tells them with its end.
pub(super) struct TeedBody {
    inner: Body,
    tee: Option<Tee>,
}

struct Tee {
    record: Record,
    told: oneshot::Sender<Seen>,
}

// ===== impl TeedBody =====

impl TeedBody {
    pub(super) const fn new(inner: Body, record: Record, told: oneshot::Sender<Seen>) -> Self {
        Self { inner, tee: Some(Tee { record, told }) }
    }

    fn end(&mut self, end: End) {
        if let Some(Tee { record, told }) = self.tee.take() {
            // Who waited for it may be gone.
            let _told = told.send(record.seen(end));
        }
    }
}

impl HttpBody for TeedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                // Nothing is kept for nobody.
                this.tee.take_if(|tee| tee.told.is_closed());
                if let Some(tee) = &mut this.tee {
                    tee.record.frame(frame);
                }
                if this.inner.is_end_stream() {
                    this.end(End::Whole);
                }
            }
            Some(Err(error)) => this.end(End::of_error(error)),
            None => this.end(End::Whole),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for TeedBody {
    fn drop(&mut self) {
        let end = if self.inner.is_end_stream() { End::Whole } else { End::Left };
        self.end(end);
    }
}
