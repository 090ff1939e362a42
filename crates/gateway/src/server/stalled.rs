//! Clients that stop reading.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

pin_project_lite::pin_project! {
    /// A connection whose writes fail once the peer has taken nothing for a while.
    pub(super) struct WriteDeadline<T> {
        #[pin]
        io: T,
        limit: Duration,
        stalled: Option<Pin<Box<Sleep>>>,
    }
}

// ===== impl WriteDeadline =====

impl<T> WriteDeadline<T> {
    pub(super) const fn new(io: T, limit: Duration) -> Self {
        Self { io, limit, stalled: None }
    }
}

/// Passes a result on, or an error once nothing could be written for `limit`.
fn within<R>(
    result: Poll<io::Result<R>>,
    stalled: &mut Option<Pin<Box<Sleep>>>,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Result<R>> {
    if result.is_ready() {
        *stalled = None;
        return result;
    }
    match stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        Poll::Pending => Poll::Pending,
    }
}

impl<T: AsyncRead> AsyncRead for WriteDeadline<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buf)
    }
}

impl<T: AsyncWrite> AsyncWrite for WriteDeadline<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.io.poll_write(cx, buf);
        within(written, this.stalled, *this.limit, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.io.poll_write_vectored(cx, bufs);
        within(written, this.stalled, *this.limit, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let mut io = Box::pin(WriteDeadline::new(ours, Duration::from_secs(60)));
        assert_eq!(io.write(b"abcdef").await.expect("fits in part"), 4);
        assert_eq!(io.write(b"ef").await.expect_err("stalls").kind(), io::ErrorKind::TimedOut);
    }
}
