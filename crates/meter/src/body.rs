//! The response body that is read as it passes.

use std::{
    collections::VecDeque,
    mem,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use ziggurat_core::{AttemptHandle, Body, BoxError, CallEnd, Dialect, Outcome, Problem, Rejection};
use ziggurat_dialect::sse;

use crate::{
    Broken, Confidential, broke_off, not_an_event,
    reader::{Reader, State, Verdict},
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
    confidential: Confidential,
    /// What was read and waits for those who listen to let it pass; empty when nobody does.
    held: VecDeque<Frame<Bytes>>,
    /// The part of the present chunk that is to be given on, as far as it is one slice.
    run: Run,
    /// What is to be given on: parts of one chunk, and what was kept from earlier ones.
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
    /// Bytes of comments, blanks and blocks without data since the last event.
    idle: usize,
    /// Whether the next bytes, if they begin with LF, only end the CRLF of a frame that was not given on as it came.
    late_lf: bool,
}

/// What a [`MeteredBody`] does beside reading.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The dialect of the stream.
    pub dialect: Dialect,
    /// Takes out the usage chunk that a caller of OpenAI's dialect did not ask for.
    pub hide_usage: bool,
    /// Whether it is no chat but sound, what was heard, or images: then the end of the bytes, behind an event that says so, ends it.
    pub media: bool,
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
        Self { dialect, hide_usage: false, media: false, choices: 1, max_event: 1 << 20 }
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
            reader: Reader::new(options.dialect, handle.is_some(), options.choices).of_media(options.media),
            options,
            confidential: Confidential::default(),
            held: VecDeque::new(),
            run: Run { chunk: Bytes::new(), range: 0..0 },
            queue: VecDeque::new(),
            trailers: None,
            handle,
            ending: None,
            call: None,
            behind: 0,
            idle: 0,
            late_lf: false,
        }
    }

    /// Keeps the call open until this body has ended or was dropped.
    #[must_use]
    pub fn ends(mut self, end: CallEnd) -> Self {
        self.call = Some(end);
        self
    }

    /// Keeps this out of the provider's error events.
    #[must_use]
    pub fn withholds(mut self, confidential: Confidential) -> Self {
        self.confidential = confidential;
        self
    }

    /// Takes in one chunk.
    fn take(&mut self, chunk: Bytes) {
        if self.reader.state == State::Done {
            self.behind += chunk.len();
            if self.behind > MAX_BEHIND {
                self.inner = None;
                return;
            }
        }
        self.run.flush(&mut self.queue);
        self.run = Run { chunk: chunk.clone(), range: 0..0 };
        self.frames.push(chunk);
    }

    /// Reads on in what has come: to its end, or where somebody listens, one frame. Whether there was one.
    fn advance(&mut self) -> bool {
        let mut advanced = false;
        while self.reader.state != State::Failed
            && let Some(frame) = self.frames.next()
        {
            advanced = true;
            let judged = match frame {
                Ok(frame) => self.judge(frame),
                Err(_) => Err(Box::new(too_long(self.options.max_event).into())),
            };
            match judged {
                _ if self.idle > self.options.max_event => {
                    self.fail(&too_long(self.options.max_event), Outcome::Failed)
                }
                Ok(Some(raw)) => self.push(raw),
                Ok(None) => {}
                Err(broken) => self.fail(&broken.problem, broken.outcome),
            }
            if self.handle.is_some() {
                break;
            }
        }
        if self.reader.state == State::Failed {
            // Nothing follows an error: the upstream is left.
            self.inner = None;
        }
        advanced
    }

    /// Lets pass what was held for those who listen.
    fn admit(&mut self) {
        while let Some(frame) = self.held.pop_front() {
            self.pass(frame);
        }
        self.settle();
    }

    fn pass(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(raw) => self.run.add(raw, &mut self.queue),
            Err(trailers) => {
                self.run.flush(&mut self.queue);
                self.queue.push_back(trailers);
            }
        }
    }

    /// What is given on of a frame, if anything; or why the stream ends in its place.
    fn judge(&mut self, frame: sse::Frame) -> Result<Option<Bytes>, Box<Broken>> {
        let ends_late = mem::take(&mut self.late_lf) && frame.raw().starts_with(b"\n");
        let ends_in_cr = frame.raw().ends_with(b"\r");
        let given = self.given_of(frame)?;
        self.late_lf = ends_in_cr && !given.as_ref().is_some_and(|raw| raw.ends_with(b"\r"));
        match given {
            Some(raw) if ends_late => Ok((raw.len() > 1).then(|| raw.slice(1..))),
            given => Ok(given),
        }
    }

    /// [`judge`](Self::judge), when nothing is left of the frame before.
    fn given_of(&mut self, frame: sse::Frame) -> Result<Option<Bytes>, Box<Broken>> {
        let behind = self.reader.state == State::Done;
        match frame {
            sse::Frame::Idle(raw) => {
                self.idle += raw.len();
                Ok(Some(raw))
            }
            // Behind the terminator there is nothing to say: it is read for the connection's sake.
            _ if behind => Ok(None),
            sse::Frame::Event(event) => self.event(event),
            sse::Frame::Other(raw) => {
                self.idle += raw.len();
                match self.confidential.bare_error(&raw) {
                    Some(problem) => Err(Box::new(problem.into())),
                    None => Ok(has_fields_only(&raw).then_some(raw)),
                }
            }
        }
    }

    fn event(&mut self, event: sse::Event) -> Result<Option<Bytes>, Box<Broken>> {
        // By the standard an event without data is none: it counts with the blanks.
        self.idle = if event.data.trim_ascii().is_empty() { self.idle + event.raw.len() } else { 0 };
        match self.read(&event.data) {
            Verdict::Forward if self.reader.state == State::Failed => Ok(Some(self.presentable(event))),
            Verdict::Forward => Ok(Some(event.raw)),
            Verdict::Correct(json) => Ok(Some(corrected(&event, &json))),
            Verdict::Withhold => Ok(None),
            Verdict::Broken => Err(Box::new(not_an_event().into())),
            Verdict::Empty => Err(Box::new(Broken { problem: truncated(), outcome: Outcome::Truncated })),
        }
    }

    /// An error event as it may go to the caller.
    fn presentable(&self, event: sse::Event) -> Bytes {
        let dialect = self.options.dialect;
        match self.confidential.is_presentable(&event.data, dialect) && self.is_plain(&event.raw) {
            true => event.raw,
            false => self.confidential.error_of(dialect, &event.data).to_event(dialect).into(),
        }
    }

    /// Whether an event has its name and its data, and not a line more.
    fn is_plain(&self, raw: &[u8]) -> bool {
        sse_lines(raw).all(|line| {
            let name = line.strip_prefix(b"event:").map(std::str::from_utf8);
            line.is_empty()
                || line.starts_with(b"data:")
                || name.is_some_and(|name| name.is_ok_and(|name| self.confidential.is_clean_text(name)))
        })
    }

    /// The upstream's bytes have ended.
    fn finish(&mut self) {
        self.inner = None;
        match self.frames.finish() {
            Some(frame @ sse::Frame::Idle(_)) if self.reader.state == State::Done => {
                self.push(frame.into_raw());
            }
            // Some leave out the last blank line; what is no whole event is not given on.
            Some(sse::Frame::Event(event)) if !event.data.trim_ascii().is_empty() => {
                if let Ok(Some(raw)) = self.judge(sse::Frame::Event(event)) {
                    let missing: &[u8] = match &raw[..] {
                        [.., b'\n', b'\n'] => b"",
                        [.., b'\n'] => b"\n",
                        // A lone line feed would be the second half of one line end.
                        [.., b'\r'] => b"\r\n",
                        _ => b"\n\n",
                    };
                    self.push(raw);
                    if !missing.is_empty() {
                        self.push(Bytes::from_static(missing));
                    }
                }
            }
            Some(frame @ sse::Frame::Other(_)) => {
                if let Err(broken) = self.judge(frame) {
                    self.fail(&broken.problem, broken.outcome);
                }
            }
            Some(sse::Frame::Event(_) | sse::Frame::Idle(_)) | None => {}
        }
        match self.reader.state {
            State::Running if self.reader.all_finished() => {
                // Gemini's streams have no terminator but their end, nor have those of media.
                if self.options.dialect != Dialect::Gemini && !self.options.media {
                    self.push(Bytes::from_static(sse::DONE));
                }
                self.reader.state = State::Done;
                self.reader.finish(self.handle.as_mut());
                self.ending = Some(self.reader.whole());
            }
            State::Running => self.fail(&truncated(), Outcome::Truncated),
            State::Done | State::Failed => {}
        }
        if self.reader.state == State::Done
            && let Some(trailers) = self.trailers.take()
        {
            self.hold(trailers);
        }
    }

    fn read(&mut self, data: &[u8]) -> Verdict {
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

    /// Ends the stream with an error event, unless it has had one or is whole.
    fn fail(&mut self, problem: &Problem, outcome: Outcome) {
        self.inner = None;
        if self.reader.state == State::Running {
            self.reader.state = State::Failed;
            self.ending = Some(outcome);
            if let Some(handle) = &mut self.handle {
                handle.failed(problem);
            }
            self.push(problem.to_event(self.options.dialect).into());
        }
    }

    /// Ends the stream in place of what was to be given on.
    fn stop(&mut self, rejection: &Rejection) {
        self.held.clear();
        self.reader.state = State::Running;
        self.fail(rejection.problem(), Outcome::Stopped);
        self.admit();
    }

    fn settle(&mut self) {
        if let Some(outcome) = self.ending.take()
            && let Some(mut handle) = self.handle.take()
        {
            handle.end(outcome);
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.hold(Frame::data(bytes));
    }

    /// Gives on, once those who listen let it pass.
    fn hold(&mut self, frame: Frame<Bytes>) {
        match self.handle {
            Some(_) => self.held.push_back(frame),
            None => self.pass(frame),
        }
    }
}

/// Most bytes that are read behind the terminator, for the sake of the connection.
const MAX_BEHIND: usize = 64 << 10;

/// Whether lines without data are what the standard has beside it, and not words of another kind: those are nobody's to read.
fn has_fields_only(raw: &[u8]) -> bool {
    sse_lines(raw).all(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        // The last is a comment's.
        matches!(name, b"event" | b"id" | b"retry" | b"")
    })
}

fn sse_lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    raw.split(|byte| matches!(byte, b'\n' | b'\r'))
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
                && !(this.held.is_empty() && this.ending.is_none())
            {
                match handle.poll_progress(cx) {
                    Poll::Ready(Ok(())) => this.admit(),
                    Poll::Ready(Err(rejection)) => this.stop(&rejection),
                    // What was let pass before does not wait with the rest.
                    Poll::Pending => {
                        this.run.flush(&mut this.queue);
                        return this
                            .queue
                            .pop_front()
                            .map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))));
                    }
                }
            }
            if this.advance() {
                continue;
            }
            this.run.flush(&mut this.queue);
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
        self.inner.is_none() && self.run.range.is_empty() && self.queue.is_empty() && self.handle.is_none()
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
