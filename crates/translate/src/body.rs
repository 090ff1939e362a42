//! The streamed body that is translated event by event.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use ziggurat_core::{AttemptHandle, Body, BoxError, Dialect, Outcome, Problem, Rejection};
use ziggurat_dialect::{
    Event, FormEvents, OpenBlocks, Opening, SignatureMarks, StreamDecoder, StreamEncoder, ToolNames, sse,
};
use ziggurat_meter::{Confidential, broke_off, feed, not_an_event, too_long, truncated};

use crate::{
    framing::{Fault, Frames},
    layer::Config,
    request::Expected,
    response::{fresh_id, is_missing, stated},
};

/// A provider's stream in its caller's dialect: one event in, its events out, nothing buffered but an event that is not whole yet.
///
/// It ends in the caller's terminator when the provider's came, and in an error event otherwise. Dropping it cancels the upstream.
pub struct TranslatedBody {
    /// Absent once it has ended.
    inner: Option<Body>,
    frames: Frames,
    decoder: StreamDecoder,
    writer: Writer,
    confidential: Confidential,
    max_event: usize,
    /// Bytes that came behind the answer's end.
    behind: usize,
    /// Bytes of comments, blanks and blocks without data since the last event.
    idle: usize,
}

/// Where the decoder's events go.
struct Writer {
    encoder: StreamEncoder,
    blocks: OpenBlocks,
    marks: SignatureMarks,
    caller: Dialect,
    /// Whether it is the provider's dialect too.
    same: bool,
    /// For answers that name none.
    model: String,
    names: ToolNames,
    /// Where the answer comes as the arguments of a tool.
    form: Option<FormEvents>,
    /// What has been translated and is to be given on.
    out: Vec<u8>,
    /// How much of it those who listen have let pass.
    admitted: usize,
    /// Until the attempt's end is on record.
    handle: Option<AttemptHandle>,
    refused: bool,
    /// Something of an answer was seen.
    begun: bool,
    /// The terminator or an error was written.
    over: bool,
    /// It was an error.
    failed: bool,
    /// How the attempt ended, to be recorded once the subscribers were asked about what came with it.
    ending: Option<Outcome>,
}

// ===== impl TranslatedBody =====

impl TranslatedBody {
    pub(crate) fn new(
        inner: Body,
        frames: Frames,
        expected: &Expected,
        config: &Config,
        handle: Option<AttemptHandle>,
    ) -> Self {
        let encoder = StreamEncoder::new(expected.caller, config.epoch_seconds(), expected.include_usage);
        Self {
            inner: Some(inner),
            frames,
            decoder: StreamDecoder::new(expected.provider),
            writer: Writer {
                encoder,
                blocks: OpenBlocks::new(expected.caller),
                marks: SignatureMarks::new(expected.provider, expected.caller),
                caller: expected.caller,
                same: expected.caller == expected.provider,
                model: expected.model.clone(),
                names: expected.names.clone(),
                form: expected.form.clone().map(FormEvents::new),
                out: Vec::new(),
                admitted: 0,
                handle,
                refused: false,
                begun: false,
                over: false,
                failed: false,
                ending: None,
            },
            confidential: expected.confidential.clone(),
            max_event: config.max_event_of(expected.provider),
            behind: 0,
            idle: 0,
        }
    }

    /// Translates what has come: to its end, or where somebody listens, one frame. Whether there was one.
    fn advance(&mut self) -> bool {
        let mut advanced = false;
        while !self.writer.over
            && let Some(frame) = self.frames.next()
        {
            advanced = true;
            match frame {
                Ok(sse::Frame::Event(event)) => {
                    // An event without data counts with the blanks.
                    let empty = event.data.trim_ascii().is_empty();
                    self.idle = if empty { self.idle + event.raw.len() } else { 0 };
                    self.event(&event.data);
                }
                // Comments of the provider's are its own business; they still show that it lives.
                Ok(sse::Frame::Idle(raw)) => {
                    self.idle += raw.len();
                    if raw.contains(&b':') {
                        self.writer.encode(&Event::Ping);
                    }
                }
                Ok(sse::Frame::Other(raw)) => {
                    self.idle += raw.len();
                    self.bare(&raw);
                }
                Err(Fault::TooLong) => self.fail(too_long(self.max_event), Outcome::Failed),
                Err(Fault::Corrupt) => self.fail(not_an_event(), Outcome::Failed),
            }
            if self.idle > self.max_event {
                self.fail(too_long(self.max_event), Outcome::Failed);
            }
            if self.writer.handle.is_some() {
                break;
            }
        }
        if self.writer.failed {
            // Nothing follows an error: the upstream is left.
            self.inner = None;
        }
        advanced
    }

    fn event(&mut self, data: &[u8]) {
        // By the standard, an event without data is none.
        if data.trim_ascii().is_empty() {
            return;
        }
        let (writer, confidential) = (&mut self.writer, &self.confidential);
        let mut write = |event: Event<'_>| match event {
            Event::Error(problem) => writer.encode(&Event::Error(confidential.reread(problem, data))),
            event => writer.encode(&event),
        };
        let read = std::str::from_utf8(data).ok().and_then(|text| self.decoder.decode(text, &mut write).ok());
        if read.is_none() {
            self.fail(not_an_event(), Outcome::Failed);
        }
    }

    /// Lines that are no event: nothing, unless they are the plain JSON in which some report an error in mid-stream.
    fn bare(&mut self, raw: &[u8]) {
        if let Some(problem) = self.confidential.bare_error(raw) {
            self.fail(problem, Outcome::Failed);
        }
    }

    fn finish(&mut self) {
        self.inner = None;
        if self.writer.over {
            return;
        }
        match self.frames.finish() {
            // The last event may lack its blank line; if it is whole, it counts.
            Some(sse::Frame::Event(event)) if is_whole(&event.data) => self.event(&event.data),
            Some(sse::Frame::Other(raw)) => self.bare(&raw),
            _ => {}
        }
        let writer = &mut self.writer;
        self.decoder.finish(&mut |event| writer.encode(&event));
    }

    fn fail(&mut self, problem: Problem, outcome: Outcome) {
        self.inner = None;
        if !self.writer.over {
            self.writer.encode(&Event::Error(problem));
            self.writer.ending = Some(outcome);
        }
    }

    fn stop(&mut self, rejection: &Rejection) {
        self.inner = None;
        self.writer.over = true;
        if let Some(handle) = &mut self.writer.handle {
            handle.failed(rejection.problem());
        }
        self.writer.out.truncate(self.writer.admitted);
        self.writer.out.extend(rejection.problem().to_event(self.writer.caller));
        self.writer.ending = Some(Outcome::Stopped);
        self.writer.admit();
    }
}

impl HttpBody for TranslatedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(handle) = &mut this.writer.handle
                && !(this.writer.out.len() == this.writer.admitted && this.writer.ending.is_none())
            {
                match handle.poll_progress(cx) {
                    Poll::Ready(Ok(())) => this.writer.admit(),
                    Poll::Ready(Err(rejection)) => this.stop(&rejection),
                    // What was let pass before does not wait with the rest.
                    Poll::Pending if this.writer.admitted > 0 => {
                        return Poll::Ready(Some(Ok(Frame::data(this.writer.give_admitted()))));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if this.advance() {
                continue;
            }
            if !this.writer.out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(this.writer.give()))));
            }
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            match ready!(Pin::new(inner).poll_frame(cx)) {
                // What comes behind the answer's end is read for the sake of the connection, which is used again.
                Some(Ok(frame)) if this.writer.over => {
                    this.behind += frame.data_ref().map_or(0, Bytes::len);
                    if this.behind > MAX_BEHIND {
                        this.inner = None;
                    }
                }
                Some(Err(_)) | None if this.writer.over => this.inner = None,
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        this.frames.push(chunk);
                    }
                }
                Some(Err(error)) => {
                    let broken = broke_off(&error);
                    this.fail(broken.problem, broken.outcome);
                }
                None => this.finish(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // With a handle still there, its end is to be recorded.
        self.inner.is_none() && self.writer.out.is_empty() && self.writer.handle.is_none()
    }
}

impl std::fmt::Debug for TranslatedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TranslatedBody").field("caller", &self.writer.caller).finish_non_exhaustive()
    }
}

// ===== impl Writer =====

impl Writer {
    fn encode(&mut self, event: &Event<'_>) {
        if self.over {
            return;
        }
        self.begun |= matches!(event, Event::Start { .. } | Event::Open { .. } | Event::Finish { .. });
        if matches!(event, Event::End) && !self.begun {
            // A terminator alone is no answer.
            return self.encode(&Event::Error(truncated()));
        }
        if let Err(problem) = self.blocks.event(event) {
            return self.encode(&Event::Error(problem));
        }
        if let Some(handle) = &mut self.handle {
            self.ending = feed(handle, event, &mut self.refused);
        }
        self.over = matches!(event, Event::End | Event::Error(_));
        self.failed = matches!(event, Event::Error(_));
        match self.form.take() {
            Some(mut form) => {
                form.event(event.clone(), &mut |event| self.write(&event));
                self.form = Some(form);
            }
            None => self.write(event),
        }
    }

    fn write(&mut self, event: &Event<'_>) {
        let marked = self.marks.event(event);
        match marked.as_ref().unwrap_or(event) {
            Event::Open { choice, block, opening: Opening::ToolCall { id, name } }
                if !self.names.is_empty() =>
            {
                let name = self.names.restore(name).unwrap_or_else(|| name.clone());
                let opening = Opening::ToolCall { id: id.clone(), name };
                self.encoder.encode(&Event::Open { choice: *choice, block: *block, opening }, &mut self.out);
            }
            Event::Start { id, model, created } if is_missing(id) || is_missing(model) => {
                let start = Event::Start {
                    id: Some(stated(id).unwrap_or_else(|| fresh_id(self.caller).into())),
                    model: Some(stated(model).unwrap_or_else(|| self.model.clone().into())),
                    created: *created,
                };
                self.encoder.encode(&start, &mut self.out);
            }
            // Members that only the provider's dialect has.
            Event::Extra { .. } if !self.same => {}
            event => {
                let before = self.out.len();
                self.encoder.encode(event, &mut self.out);
                if self.caller == Dialect::OpenAi && matches!(event, Event::End) {
                    self.tell_cost(before);
                }
            }
        }
    }

    /// Tells the cost in the usage chunk, where there is one behind this place and a subscriber wants it told.
    fn tell_cost(&mut self, behind: usize) {
        const USAGE: &[u8] = b"\"usage\":{";
        let Some(cost) = self.handle.as_ref().and_then(AttemptHandle::cost) else { return };
        if let Some(at) = memchr::memmem::find(&self.out[behind..], USAGE) {
            let at = behind + at + USAGE.len();
            self.out.splice(at..at, format!("\"cost\":{cost},").into_bytes());
        }
    }

    /// Takes what is to be given on. A copy, so that the next events find room: cheaper than to grow anew. What is large goes as it is.
    fn give(&mut self) -> Bytes {
        self.admitted = 0;
        if self.out.len() > KEPT {
            return std::mem::take(&mut self.out).into();
        }
        let out = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        out
    }

    /// Takes what was let pass, and leaves what was not.
    fn give_admitted(&mut self) -> Bytes {
        let rest = self.out.split_off(self.admitted);
        let admitted = self.give();
        self.out = rest;
        admitted
    }

    /// Lets everything pass that has been translated.
    fn admit(&mut self) {
        self.admitted = self.out.len();
        self.settle();
    }

    fn settle(&mut self) {
        if let Some(outcome) = self.ending.take()
            && let Some(mut handle) = self.handle.take()
        {
            handle.end(outcome);
        }
    }
}

/// Whether the data of an event that the end of the bytes left open is all there.
fn is_whole(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]" || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()
}

/// Most bytes of room that a stream keeps between its chunks.
const KEPT: usize = 16 << 10;
/// Most bytes that are read behind the answer's end, for the connection's sake.
const MAX_BEHIND: usize = 64 << 10;
