//! The response body that is read as it passes.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use ziggurat_core::{AttemptHandle, Body, BoxError, CallEnd, Cause, Dialect, Outcome, Problem};
use ziggurat_dialect::sse;

use crate::reader::{Reader, State, Verdict};

/// A streamed response of one dialect that passes through byte for byte, while it is read.
///
/// - It feeds an [`AttemptHandle`] and stops, with an error event, when a subscriber says so.
/// - A stream that ends, fails or breaks before its terminator ends in an error event; a terminator behind an error is withheld.
/// - A partial event is held until it is whole: half of one cannot be followed by an error event.
///
/// A chunk of whole events is handed on as the bytes it is, without allocation.
pub struct MeteredBody {
    /// Absent once it has ended or was dropped, which cancels the upstream.
    inner: Option<Body>,
    frames: sse::Decoder,
    reader: Reader,
    options: Options,
    /// What has been read and is to be given on.
    queue: VecDeque<Frame<Bytes>>,
    handle: Option<AttemptHandle>,
    /// Ends the call when this body goes: dropped last.
    _end: Option<CallEnd>,
}

/// What a [`MeteredBody`] does beside reading.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The dialect of the stream.
    pub dialect: Dialect,
    /// Takes out the usage chunk that a caller of OpenAI's dialect did not ask for.
    pub hide_usage: bool,
    /// How many answers were asked for.
    pub choices: u64,
    /// Longest event in bytes.
    pub max_event: usize,
}

// ===== impl Options =====

impl Options {
    /// For a stream of one answer.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect, hide_usage: false, choices: 1, max_event: 1 << 20 }
    }
}

// ===== impl MeteredBody =====

impl MeteredBody {
    /// Reads `inner` for `handle`.
    #[must_use]
    pub fn new(inner: Body, options: Options, handle: Option<AttemptHandle>) -> Self {
        Self {
            inner: Some(inner),
            frames: sse::Decoder::new(options.max_event),
            reader: Reader::new(options.dialect, handle.is_some(), options.choices),
            options,
            queue: VecDeque::new(),
            handle,
            _end: None,
        }
    }

    /// Keeps the call open until this body has ended or was dropped.
    #[must_use]
    pub fn ends(mut self, end: CallEnd) -> Self {
        self._end = Some(end);
        self
    }

    /// Reads one chunk; whole events go to the queue.
    fn take(&mut self, chunk: Bytes) {
        let whole = chunk.clone();
        let mut kept: usize = 0;
        let mut withheld = false;
        let queued = self.queue.len();
        self.frames.push(chunk);
        while let Some(frame) = self.frames.next() {
            let raw = match frame {
                Err(_) => return self.fail(&too_long(self.options.max_event)),
                Ok(sse::Frame::Event(event)) => {
                    match self.reader.event(&event.data, self.options.hide_usage, self.handle.as_mut()) {
                        Verdict::Forward => event.raw,
                        Verdict::UsageOnly | Verdict::Withhold => {
                            withheld = true;
                            continue;
                        }
                        Verdict::Broken(problem) => return self.fail(&problem),
                    }
                }
                Ok(other) => other.into_raw(),
            };
            kept += raw.len();
            self.queue.push_back(Frame::data(raw));
        }
        // The usual case: the chunk is whole events, nothing came before it and nothing is left of it.
        let first = self.queue.get(queued).and_then(Frame::data_ref).map(|raw| raw.as_ptr());
        if !withheld && kept == whole.len() && first == Some(whole.as_ptr()) {
            self.queue.truncate(queued);
            self.queue.push_back(Frame::data(whole));
        }
    }

    /// The upstream's bytes have ended.
    fn finish(&mut self) {
        self.inner = None;
        let left = self.frames.finish();
        if let Some(sse::Frame::Event(event)) = &left {
            // Some leave out the last blank line; what is no whole event is not given on.
            let verdict = self.reader.event(&event.data, self.options.hide_usage, self.handle.as_mut());
            if let Verdict::Forward = verdict {
                self.queue.push_back(Frame::data(event.raw.clone()));
                self.queue.push_back(Frame::data(Bytes::from_static(b"\n\n")));
            }
        }
        match self.reader.state {
            State::Failed => self.end(Outcome::Failed),
            State::Done => self.end(if self.reader.refused() { Outcome::Refused } else { Outcome::Complete }),
            State::Running if self.reader.all_finished() => {
                self.queue.push_back(Frame::data(Bytes::from_static(sse::DONE)));
                self.end(if self.reader.refused() { Outcome::Refused } else { Outcome::Complete });
            }
            State::Running => {
                self.end(Outcome::Truncated);
                self.fail(&truncated());
            }
        }
    }

    /// Ends the stream with an error event, unless it has had one.
    fn fail(&mut self, problem: &Problem) {
        self.inner = None;
        self.end(Outcome::Failed);
        if self.reader.state != State::Failed {
            self.reader.state = State::Failed;
            self.queue.push_back(Frame::data(problem.to_event(self.options.dialect).into()));
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(handle) = &mut self.handle {
            handle.end(outcome);
        }
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if !this.queue.is_empty() {
                let stopped = match &mut this.handle {
                    Some(handle) if this.inner.is_some() => ready!(handle.poll_progress(cx)).err(),
                    _ => None,
                };
                if let Some(rejection) = stopped {
                    this.queue.clear();
                    this.end(Outcome::Stopped);
                    this.fail(rejection.problem());
                }
            }
            if let Some(frame) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            match ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => this.take(chunk),
                    Err(other) => this.queue.push_back(other),
                },
                Some(Err(error)) => {
                    this.end(Outcome::Truncated);
                    this.fail(&broke_off(&error));
                }
                None => this.finish(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none() && self.queue.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl std::fmt::Debug for MeteredBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeteredBody").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The problem of a stream that ends before its terminator.
#[must_use]
pub fn truncated() -> Problem {
    Problem::new(Cause::Upstream, "the provider's stream ended before the answer was complete")
        .code("upstream_truncated")
}

/// The problem of an event over the limit.
#[must_use]
pub fn too_long(limit: usize) -> Problem {
    Problem::new(Cause::Upstream, format!("the provider sent an event of more than {limit} bytes"))
}

/// The problem of a stream whose transport failed.
#[must_use]
pub fn broke_off(error: &BoxError) -> Problem {
    let source: &(dyn std::error::Error + 'static) = error.as_ref();
    let timed_out =
        std::iter::successors(Some(source), |error: &&(dyn std::error::Error + 'static)| (*error).source())
            .filter_map(|error| error.downcast_ref::<std::io::Error>())
            .any(|error| error.kind() == std::io::ErrorKind::TimedOut);
    match timed_out {
        true => Problem::new(Cause::Timeout, "the provider's stream stalled"),
        false => truncated(),
    }
}
