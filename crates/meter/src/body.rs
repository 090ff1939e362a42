//! The response body that is read as it passes.

use std::{
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use ziggurat_core::{AttemptHandle, Body, BoxError, CallEnd, Dialect, Outcome, Problem, Rejection};
use ziggurat_dialect::{decode_error, sse};

use crate::{
    broke_off, is_presentable, not_an_event,
    reader::{Reader, State, Verdict},
    scan::scan,
    too_long, truncated,
};

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
    /// What has been read and is to be given on: parts of one chunk, and what was kept from earlier ones.
    queue: VecDeque<Frame<Bytes>>,
    /// The upstream's trailers, which come last.
    trailers: Option<Frame<Bytes>>,
    /// Until the attempt's end is on record.
    handle: Option<AttemptHandle>,
    /// How the attempt ended, to be recorded once the subscribers were asked about what came with it.
    ending: Option<Outcome>,
    /// Ends the call when this body has ended or goes: dropped last.
    call: Option<CallEnd>,
    /// Bytes that came behind the terminator.
    behind: usize,
    /// Bytes of comments, blanks and empty events since the last event.
    idle: usize,
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

/// Neighbours within one chunk, to be given on as the one slice that they are.
struct Run {
    chunk: Bytes,
    range: Range<usize>,
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
            trailers: None,
            handle,
            ending: None,
            call: None,
            behind: 0,
            idle: 0,
        }
    }

    /// Keeps the call open until this body has ended or was dropped.
    #[must_use]
    pub fn ends(mut self, end: CallEnd) -> Self {
        self.call = Some(end);
        self
    }

    /// Reads one chunk; whole events go to the queue.
    fn take(&mut self, chunk: Bytes) {
        if self.reader.state == State::Done {
            self.behind += chunk.len();
            if self.behind > MAX_BEHIND {
                self.inner = None;
                return;
            }
        }
        let mut run = Run { chunk: chunk.clone(), range: 0..0 };
        self.frames.push(chunk);
        let mut problem = None;
        while let Some(frame) = self.frames.next() {
            let raw = match frame {
                Err(_) => {
                    problem = Some(too_long(self.options.max_event));
                    break;
                }
                Ok(sse::Frame::Event(event)) => match self.read(&event.data) {
                    Verdict::Forward if self.reader.state == State::Failed => {
                        // Nothing follows an error: the upstream is left.
                        self.inner = None;
                        run.add(presentable(event, self.options.dialect), &mut self.queue);
                        break;
                    }
                    Verdict::Forward => event.raw,
                    Verdict::Correct(json) => corrected(&event, &json),
                    Verdict::Withhold => continue,
                    Verdict::Broken => {
                        problem = Some(not_an_event());
                        break;
                    }
                },
                Ok(sse::Frame::Other(raw)) => {
                    problem = self.bare_error(&raw);
                    if problem.is_some() {
                        break;
                    }
                    raw
                }
                Ok(sse::Frame::Idle(raw)) => {
                    self.idle += raw.len();
                    raw
                }
            };
            if self.idle > self.options.max_event {
                problem = Some(too_long(self.options.max_event));
                break;
            }
            run.add(raw, &mut self.queue);
        }
        run.flush(&mut self.queue);
        if let Some(problem) = problem {
            self.fail(&problem, Outcome::Failed);
        }
    }

    /// The upstream's bytes have ended.
    fn finish(&mut self) {
        self.inner = None;
        match self.frames.finish() {
            Some(frame) if self.reader.state == State::Done => self.push(frame.into_raw()),
            // Some leave out the last blank line; what is no whole event is not given on.
            Some(sse::Frame::Event(event)) if !event.data.trim_ascii().is_empty() => {
                let raw = match self.read(&event.data) {
                    Verdict::Forward => Some(event.raw),
                    Verdict::Correct(json) => Some(corrected(&event, &json)),
                    Verdict::Withhold | Verdict::Broken => None,
                };
                if let Some(raw) = raw {
                    let missing: &[u8] = match raw.last() {
                        Some(b'\n') => b"\n",
                        // A lone line feed would be the second half of one line end.
                        Some(b'\r') => b"\r\n",
                        _ => b"\n\n",
                    };
                    self.push(raw);
                    self.push(Bytes::from_static(missing));
                }
            }
            Some(sse::Frame::Other(raw)) => {
                if let Some(problem) = self.bare_error(&raw) {
                    self.fail(&problem, Outcome::Failed);
                }
            }
            Some(sse::Frame::Event(_) | sse::Frame::Idle(_)) | None => {}
        }
        match self.reader.state {
            State::Running if self.reader.all_finished() => {
                self.push(Bytes::from_static(sse::DONE));
                self.reader.state = State::Done;
                self.ending = Some(self.reader.whole());
            }
            State::Running => self.fail(&truncated(), Outcome::Truncated),
            State::Done | State::Failed => {}
        }
        if self.reader.state == State::Done {
            self.queue.extend(self.trailers.take());
        }
    }

    fn read(&mut self, data: &[u8]) -> Verdict {
        // An event without data counts with the blanks.
        self.idle = if data.is_empty() { self.idle + EMPTY_EVENT } else { 0 };
        let before = self.reader.state;
        let verdict = self.reader.event(data, self.options.hide_usage, self.handle.as_mut());
        // At the terminator, not at the end of the bytes: callers leave as soon as they have seen it.
        match self.reader.state {
            state if state == before => {}
            State::Done => self.ending = Some(self.reader.whole()),
            State::Failed => self.ending = Some(Outcome::Failed),
            State::Running => {}
        }
        verdict
    }

    /// The problem that lines tell which are no event: some report an error as plain JSON in mid-stream.
    fn bare_error(&self, raw: &[u8]) -> Option<Problem> {
        let facts = scan(std::str::from_utf8(raw).ok()?, &mut |_| {})?;
        (self.reader.state == State::Running && facts.error).then(|| decode_error(None, raw))
    }

    /// Ends the stream with an error event, unless it has had one or is whole.
    fn fail(&mut self, problem: &Problem, outcome: Outcome) {
        self.inner = None;
        if self.reader.state == State::Running {
            self.reader.state = State::Failed;
            self.ending = Some(outcome);
            self.push(problem.to_event(self.options.dialect).into());
        }
    }

    /// Ends the stream in place of what was to be given on.
    fn stop(&mut self, rejection: &Rejection) {
        self.queue.clear();
        self.reader.state = State::Running;
        self.fail(rejection.problem(), Outcome::Stopped);
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(outcome) = self.ending.take()
            && let Some(mut handle) = self.handle.take()
        {
            handle.end(outcome);
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.queue.push_back(Frame::data(bytes));
    }
}

/// Most bytes that are read behind the terminator, for the sake of the connection.
const MAX_BEHIND: usize = 64 << 10;

/// What an event without data counts for, in bytes.
const EMPTY_EVENT: usize = 8;

/// An error event as it may go to the caller.
fn presentable(event: sse::Event, dialect: Dialect) -> Bytes {
    match is_presentable(&event.data, dialect) {
        true => event.raw,
        false => decode_error(None, &event.data).to_event(dialect).into(),
    }
}

/// An event with other data, all else as it was.
fn corrected(event: &sse::Event, json: &str) -> Bytes {
    match memchr::memmem::find(&event.raw, &event.data) {
        Some(at) => [&event.raw[..at], json.as_bytes(), &event.raw[at + event.data.len()..]].concat().into(),
        // Data of several lines.
        None => {
            let mut raw = Vec::with_capacity(json.len() + 8);
            sse::encode(&mut raw, None, json.as_bytes());
            raw.into()
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
            if let Some(handle) = &mut this.handle
                && !(this.queue.is_empty() && this.ending.is_none())
            {
                match ready!(handle.poll_progress(cx)) {
                    Ok(()) => this.settle(),
                    Err(rejection) => this.stop(&rejection),
                }
            }
            if let Some(frame) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let Some(inner) = &mut this.inner else {
                this.call = None;
                return Poll::Ready(None);
            };
            match ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => this.take(chunk),
                    Err(other) => this.trailers = Some(other),
                },
                Some(Err(error)) => {
                    let broken = broke_off(&error);
                    this.fail(&broken.problem, broken.outcome);
                }
                None => this.finish(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // With a handle still there, its end is to be recorded.
        self.inner.is_none() && self.queue.is_empty() && self.handle.is_none()
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

// ===== impl Run =====

impl Run {
    fn add(&mut self, raw: Bytes, queue: &mut VecDeque<Frame<Bytes>>) {
        let start = (raw.as_ptr() as usize).wrapping_sub(self.chunk.as_ptr() as usize);
        if start >= self.chunk.len() {
            // From earlier chunks, put together.
            self.flush(queue);
            return queue.push_back(Frame::data(raw));
        }
        if start != self.range.end {
            self.flush(queue);
            self.range.start = start;
        }
        self.range.end = start + raw.len();
    }

    fn flush(&mut self, queue: &mut VecDeque<Frame<Bytes>>) {
        if !self.range.is_empty() {
            queue.push_back(Frame::data(self.chunk.slice(self.range.clone())));
        }
        self.range = self.range.end..self.range.end;
    }
}
