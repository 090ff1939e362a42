//! The bytes under a connection, and clients that take too long to send or to take them.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, Sleep, sleep, timeout},
};

use super::Deadlines;

/// A connection's bytes: reading a head fails after its deadline, waiting for one ends after another, and writes fail once the peer has
/// taken nothing for a while.
pub(super) struct Line<T> {
    io: T,
    turn: Arc<Turn>,
    deadlines: Deadlines,
    /// Runs out at the end of the phase that it was set for.
    timer: Pin<Box<Sleep>>,
    timed: Phase,
    stalled: Option<Pin<Box<Sleep>>>,
    head_was_late: bool,
}

/// Whose turn it is on a connection; shared by its bytes and its calls.
#[derive(Debug, Default)]
pub(super) struct Turn {
    phase: AtomicU8,
    /// The body of a request was not read to its end: what follows on this connection cannot be told from it.
    unread: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// A part of a head has come.
    Head,
    /// A request is being answered.
    Busy,
    /// The last answer has ended.
    Idle,
}

// ===== impl Turn =====

impl Turn {
    pub(super) fn begin_call(&self) {
        self.set(Phase::Busy);
    }

    pub(super) fn end_call(&self) {
        self.set(Phase::Idle);
    }

    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Fresh,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Idle,
        }
    }
}

// ===== impl Line =====

impl<T> Line<T> {
    pub(super) fn new(io: T, turn: Arc<Turn>, deadlines: Deadlines) -> Self {
        let timer = Box::pin(sleep(deadlines.head));
        Self { io, turn, deadlines, timer, timed: Phase::Fresh, stalled: None, head_was_late: false }
    }

    /// Whether reading failed because a head had begun and did not end in time.
    pub(super) fn head_was_late(&self) -> bool {
        self.head_was_late
    }

    /// A client that still takes an answer is not idle, whatever the turn says: the last of it is with hyper, and the call has ended.
    fn note_progress(&mut self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            self.timed = Phase::Busy;
        }
    }

    /// What a read that waits comes to: it goes on, it ends as if the peer had left, or it fails.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.turn.phase();
        let limit = match phase {
            Phase::Busy => {
                self.timed = phase;
                return Poll::Pending;
            }
            Phase::Idle => self.deadlines.keep_alive,
            Phase::Fresh | Phase::Head => self.deadlines.head,
        };
        if phase != self.timed {
            self.timed = phase;
            self.timer.as_mut().reset(Instant::now() + limit);
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if phase == Phase::Head => {
                self.head_was_late = true;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(()) => Poll::Ready(Ok(())),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Line<T> {
    /// Writes a last answer, as far as that goes.
    pub(super) async fn say(&mut self, answer: &[u8]) {
        if self.write_all(answer).await.is_ok() {
            // A peer that has gone has no use for the end of the bytes.
            let _ = self.io.shutdown().await;
        }
    }

    /// Takes what the client still sends and throws it away, for a while: closing on unread bytes is a reset, which destroys the answer on
    /// its way. It has been written, and the end of the bytes behind it.
    pub(super) async fn linger(&mut self) {
        let mut scrap = [0; 4096];
        let rest = async { while self.io.read(&mut scrap).await.is_ok_and(|read| read > 0) {} };
        // Whoever still sends then has had time to read.
        let _ = timeout(LINGER, rest).await;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Line<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_pending() {
            return self.poll_patience(cx);
        }
        if buf.filled().len() > before && matches!(self.turn.phase(), Phase::Fresh | Phase::Idle) {
            self.turn.set(Phase::Head);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Line<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.note_progress(&written);
        within(written, &mut this.stalled, this.deadlines.write, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.note_progress(&written);
        within(written, &mut this.stalled, this.deadlines.write, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
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

/// How long a client that was answered early may go on sending.
const LINGER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let mut line = Line::new(ours, Arc::default(), Deadlines::default());
        assert_eq!(line.write(b"abcdef").await.expect("fits in part"), 4);
        let started = Instant::now();
        assert_eq!(line.write(b"ef").await.expect_err("stalls").kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_patience() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let turn = Arc::new(Turn::default());
        let mut line = Line::new(ours, Arc::clone(&turn), Deadlines::default());
        let mut buf = [0; 8];
        turn.begin_call();
        assert!(timeout(Duration::from_secs(999), line.read(&mut buf)).await.is_err());
        turn.end_call();
        let started = Instant::now();
        assert_eq!(line.read(&mut buf).await.expect("ends as if the peer had left"), 0);
        assert_eq!(started.elapsed(), Duration::from_secs(75));
        theirs.write_all(b"P").await.expect("fits");
        assert_eq!(line.read(&mut buf).await.expect("is there"), 1);
        let started = Instant::now();
        let late = line.read(&mut buf).await.expect_err("a head is late");
        assert_eq!((late.kind(), line.head_was_late()), (io::ErrorKind::TimedOut, true));
        assert_eq!(started.elapsed(), Duration::from_secs(10));
    }
}
