//! The TCP connection under an HTTP connection, as far as faults and the log need to know about it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::log::{Ending, Running};

/// What a connection and the bodies it carries tell each other.
#[derive(Debug, Default)]
pub(super) struct Line {
    flushed: Notify,
    reset: AtomicBool,
    /// Exchanges whose last bytes are with hyper, but not yet with the socket.
    finishing: Mutex<Vec<Finishing>>,
}

#[derive(Debug)]
struct Finishing {
    exchange: Running,
    unflushed: u64,
    ending: Ending,
}

/// A TCP stream that reports each flush to its line, and is reset when it is dropped if the line says so.
#[derive(Debug)]
pub(super) struct LineStream {
    stream: TokioIo<TcpStream>,
    line: Arc<Line>,
}

// ===== impl Line =====

impl Line {
    /// Waits until the socket has taken all that hyper was given so far.
    ///
    /// hyper flushes whenever a body has nothing for it, so that to wait for it makes it happen.
    pub(super) async fn flushed(&self) {
        self.flushed.notified().await;
    }

    /// Ends an exchange once its last bytes are flushed; if that never comes, its peer has left.
    pub(super) fn finish(&self, exchange: Running, unflushed: u64, ending: Ending) {
        self.finishing().push(Finishing { exchange, unflushed, ending });
    }

    /// Has the connection reset instead of closed.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    fn on_flush(&self) {
        for Finishing { mut exchange, unflushed, ending } in self.finishing().drain(..) {
            exchange.wrote(unflushed);
            exchange.end(ending);
        }
        self.flushed.notify_waiters();
    }

    fn finishing(&self) -> MutexGuard<'_, Vec<Finishing>> {
        self.finishing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl LineStream =====

impl LineStream {
    pub(super) fn new(stream: TcpStream, line: Arc<Line>) -> Self {
        Self { stream: TokioIo::new(stream), line }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Read for LineStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl Write for LineStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper calls this only when its own buffer is empty.
        ready!(self.as_mut().stream().poll_flush(cx))?;
        self.line.on_flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        if self.line.reset.load(Ordering::Relaxed) {
            // Fails only on a socket that is already gone.
            let _ = self.stream.inner().set_zero_linger();
        }
    }
}
