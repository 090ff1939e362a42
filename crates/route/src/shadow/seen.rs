//! What is seen of two answers to one call.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use tokio::time::Instant;
use ziggurat_core::{Body, BoxError, Call, Problem, Rejection, Served};

/// What is made of both answers; closures are it. Runs where the host drives the [`Mirror`](crate::Mirror): nobody who called waits.
pub trait Compare: Send + Sync + 'static {
    /// Takes both answers to a call, once both have ended.
    fn compare(&self, mirrored: Mirrored);
}

/// One call, and two answers to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mirrored {
    /// The call as its caller made it.
    pub call: Call,
    /// What its caller got.
    pub original: Seen,
    /// What the shadow answered.
    pub shadow: Seen,
}

/// An answer, as it was seen.
#[derive(Clone)]
#[non_exhaustive]
pub struct Seen {
    /// The model that was asked for; which one has answered is in `served`.
    pub model: Arc<str>,
    /// Its status; `None` where there was no answer.
    pub status: Option<StatusCode>,
    /// Its first bytes: of a stream, its events.
    pub body: Bytes,
    /// Whether there were more bytes.
    pub truncated: bool,
    /// Who answered, as far as that was known with the head.
    pub served: Option<Served>,
    /// From the call to the first byte of the answer's body.
    pub first_byte: Option<Duration>,
    /// From the call to its end.
    pub elapsed: Duration,
    /// How it ended.
    pub end: End,
}

/// How an answer ended, as far as its bytes say; that a stream ends in an error event is in its body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum End {
    /// It came to its end.
    Whole,
    /// There was none, or it broke off.
    Failed(Problem),
    /// Nobody read on: its caller left, or the shadow's was longer than is kept.
    Left,
}

/// What is gathered of an answer as it comes.
#[derive(Debug)]
pub(super) struct Record {
    model: Arc<str>,
    status: Option<StatusCode>,
    body: Vec<u8>,
    most: usize,
    truncated: bool,
    served: Option<Served>,
    start: Instant,
    first_byte: Option<Duration>,
}

// ===== impl Compare =====

impl<F: Fn(Mirrored) + Send + Sync + 'static> Compare for F {
    fn compare(&self, mirrored: Mirrored) {
        self(mirrored);
    }
}

// ===== impl Seen =====

/// What was said stays out of it.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("model", &self.model)
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .field("truncated", &self.truncated)
            .field("elapsed", &self.elapsed)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

// ===== impl End =====

impl End {
    pub(super) fn of_error(error: &BoxError) -> Self {
        let error = error.as_ref();
        let problem = Rejection::find_in(error).map(|rejection| rejection.problem().clone());
        Self::Failed(problem.unwrap_or_else(|| Problem::of_error(error)))
    }
}

// ===== impl Record =====

impl Record {
    pub(super) const fn new(model: Arc<str>, most: usize, start: Instant) -> Self {
        Self {
            model,
            status: None,
            body: Vec::new(),
            most,
            truncated: false,
            served: None,
            start,
            first_byte: None,
        }
    }

    pub(super) fn head(&mut self, response: &Response<Body>) {
        self.status = Some(response.status());
        self.served = response.extensions().get().cloned();
    }

    pub(super) fn frame(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) else { return };
        self.first_byte.get_or_insert_with(|| self.start.elapsed());
        let kept = data.len().min(self.most - self.body.len());
        self.body.extend_from_slice(&data[..kept]);
        self.truncated |= kept < data.len();
    }

    pub(super) const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// All of it, at its end.
    pub(super) fn seen(self, end: End) -> Seen {
        Seen {
            model: self.model,
            status: self.status,
            body: self.body.into(),
            truncated: self.truncated,
            served: self.served,
            first_byte: self.first_byte,
            elapsed: self.start.elapsed(),
            end,
        }
    }
}
