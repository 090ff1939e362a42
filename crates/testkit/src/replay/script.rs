//! The body of an answer: its chunks, its pauses, and its end.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, mem};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};

use super::chunks::Chunks;
use super::line::Line;
use super::log::{Ending, Running};
use crate::fault::Fate;

/// The body that the replay upstream answers with.
pub(super) type ReplayBody = UnsyncBoxBody<Bytes, Broken>;

/// The connection was broken on purpose.
#[derive(Debug)]
pub(super) struct Broken;

/// What happens from the first byte of a body to its last.
#[derive(Debug)]
pub(super) struct Script {
    chunks: Chunks,
    pace: Option<Duration>,
    end: End,
    line: Arc<Line>,
    /// `None` once a fault has ended it.
    exchange: Option<Running>,
    /// The size of the last chunk while it is not known to be flushed; `None` before the first chunk.
    handed_on: Option<u64>,
}

/// What follows the last chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finish(Ending),
    Close,
    Reset,
    Stall,
}

// ===== impl Script =====

impl Script {
    pub(super) fn new(mut chunks: Chunks, fate: Option<Fate>, line: Arc<Line>, exchange: Running) -> Self {
        let (bytes, end) = match fate {
            Some(Fate::Cut(bytes)) if bytes < chunks.total() => (bytes, End::Finish(Ending::Faulted)),
            Some(Fate::Close(bytes)) => (bytes, End::Close),
            Some(Fate::Reset(bytes)) => (bytes, End::Reset),
            Some(Fate::Stall(bytes)) => (bytes, End::Stall),
            _ => (chunks.total(), End::Finish(Ending::Completed)),
        };
        chunks.truncate(bytes);
        Self { chunks, pace: None, end, line, exchange: Some(exchange), handed_on: None }
    }

    #[must_use]
    pub(super) fn pace(mut self, pace: Option<Duration>) -> Self {
        self.pace = pace;
        self
    }

    pub(super) fn into_body(self) -> ReplayBody {
        let frames = stream::unfold(self, |mut script| async move {
            let frame = script.next().await?;
            Some((frame, script))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Broken>> {
        // Each chunk, or the head where none follows it, has left before the next thing happens.
        if self.handed_on.is_some() || self.chunks.is_done() {
            self.line.flushed().await;
            self.count_flushed();
        }
        if self.chunks.is_done() {
            return self.finish().await.map(Err);
        }
        if let (Some(pace), Some(_)) = (self.pace, self.handed_on) {
            tokio::time::sleep(pace).await;
        }
        let chunk = self.chunks.next()?;
        self.handed_on = Some(chunk.len() as u64);
        Some(Ok(Frame::data(chunk)))
    }

    async fn finish(&mut self) -> Option<Broken> {
        match self.end {
            End::Finish(_) => return None,
            End::Stall => match pending::<Infallible>().await {},
            End::Reset => self.line.reset(),
            End::Close => {}
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Ending::Faulted);
        }
        Some(Broken)
    }

    fn count_flushed(&mut self) {
        if let (Some(exchange), Some(bytes)) = (&mut self.exchange, &mut self.handed_on) {
            exchange.wrote(mem::take(bytes));
        }
    }
}

impl Drop for Script {
    /// A body of known length is dropped as soon as hyper has its last chunk, so its end is seen here.
    fn drop(&mut self) {
        if let End::Finish(ending) = self.end
            && self.chunks.is_done()
            && let Some(exchange) = self.exchange.take()
        {
            self.line.finish(exchange, self.handed_on.unwrap_or(0), ending);
        }
    }
}

// ===== impl Broken =====

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection broken on purpose")
    }
}

impl Error for Broken {}
