//! The streamed body that is translated event by event.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use ziggurat_core::{AttemptHandle, Body, BoxError, Cause, Dialect, Outcome, Problem};
use ziggurat_dialect::{Event, Opening, StreamDecoder, StreamEncoder, Text, ToolNames, sse};
use ziggurat_meter::{broke_off, feed, too_long};

use crate::{layer::Config, request::Expected};

/// A provider's stream in its caller's dialect: one event in, its events out, nothing buffered but an event that is not whole yet.
///
/// It ends in the caller's terminator when the provider's came, and in an error event otherwise. Dropping it cancels the upstream.
pub struct TranslatedBody {
    /// Absent once it has ended.
    inner: Option<Body>,
    frames: sse::Decoder,
    decoder: StreamDecoder,
    encoder: StreamEncoder,
    caller: Dialect,
    names: ToolNames,
    max_event: usize,
    /// What has been translated and is to be given on.
    out: Vec<u8>,
    handle: Option<AttemptHandle>,
    refused: bool,
    /// The terminator or an error was written.
    over: bool,
}

// ===== impl TranslatedBody =====

impl TranslatedBody {
    pub(crate) fn new(
        inner: Body,
        expected: &Expected,
        config: &Config,
        handle: Option<AttemptHandle>,
    ) -> Self {
        Self {
            inner: Some(inner),
            frames: sse::Decoder::new(config.max_event),
            decoder: StreamDecoder::new(expected.provider),
            encoder: StreamEncoder::new(expected.caller, config.epoch_seconds(), expected.include_usage),
            caller: expected.caller,
            names: expected.names.clone(),
            max_event: config.max_event,
            out: Vec::new(),
            handle,
            refused: false,
            over: false,
        }
    }

    fn take(&mut self, chunk: Bytes) {
        self.frames.push(chunk);
        while let Some(frame) = self.frames.next() {
            match frame {
                Ok(sse::Frame::Event(event)) => self.event(&event.data),
                // Comments of the provider's are its own business; they still show that it lives.
                Ok(sse::Frame::Idle(raw)) if raw.contains(&b':') && !self.over => self.encode(&Event::Ping),
                Ok(_) => {}
                Err(_) => self.fail(too_long(self.max_event)),
            }
            if self.over {
                return;
            }
        }
    }

    fn event(&mut self, data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return self.fail(undecodable()) };
        // Taken out, so that the decoder's events can be given to the rest of `self`.
        let mut decoder = std::mem::replace(&mut self.decoder, StreamDecoder::new(Dialect::OpenAi));
        let read = decoder.decode(text, &mut |event| self.encode(&event));
        self.decoder = decoder;
        if read.is_err() {
            self.fail(undecodable());
        }
    }

    fn encode(&mut self, event: &Event<'_>) {
        if self.over {
            return;
        }
        if let Some(handle) = &mut self.handle {
            feed(handle, event, &mut self.refused);
        }
        self.over = matches!(event, Event::End | Event::Error(_));
        match event {
            Event::Open { choice, block, opening: Opening::ToolCall { id, name } }
                if !self.names.is_empty() =>
            {
                let name: Text<'_> = self.names.restore(name).unwrap_or_else(|| name.clone());
                let opening = Opening::ToolCall { id: id.clone(), name };
                self.encoder.encode(&Event::Open { choice: *choice, block: *block, opening }, &mut self.out);
            }
            // Members that only the provider's dialect has.
            Event::Extra { .. } => {}
            event => self.encoder.encode(event, &mut self.out),
        }
    }

    fn finish(&mut self) {
        self.inner = None;
        // The last event may lack its blank line; if it is whole, it counts.
        if let Some(sse::Frame::Event(event)) = self.frames.finish()
            && !self.over
        {
            let whole = std::str::from_utf8(&event.data).is_ok_and(|text| {
                text == "[DONE]" || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
            });
            if whole {
                self.event(&event.data);
            }
        }
        let mut decoder = std::mem::replace(&mut self.decoder, StreamDecoder::new(Dialect::OpenAi));
        decoder.finish(&mut |event| self.encode(&event));
    }

    fn fail(&mut self, problem: Problem) {
        self.inner = None;
        self.encode(&Event::Error(problem));
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
            if !this.out.is_empty() {
                if let Some(handle) = &mut this.handle
                    && let Err(rejection) = ready!(handle.poll_progress(cx))
                {
                    handle.end(Outcome::Stopped);
                    this.inner = None;
                    this.over = true;
                    this.out = rejection.problem().to_event(this.caller);
                }
                let out = BytesMut::from(&*this.out).freeze();
                this.out.clear();
                return Poll::Ready(Some(Ok(Frame::data(out))));
            }
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            let frame = match Pin::new(inner).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                // The answer is over: the end of the bytes is worth one look, for the connection's sake, but no wait.
                Poll::Pending if this.over => {
                    this.inner = None;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            };
            match frame {
                Some(Ok(frame)) => {
                    if let (Ok(chunk), false) = (frame.into_data(), this.over) {
                        this.take(chunk);
                    }
                }
                Some(Err(_)) | None if this.over => this.inner = None,
                Some(Err(error)) => {
                    if let Some(handle) = &mut this.handle {
                        handle.end(Outcome::Truncated);
                    }
                    this.fail(broke_off(&error));
                }
                None => this.finish(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none() && self.out.is_empty()
    }
}

impl std::fmt::Debug for TranslatedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TranslatedBody").field("caller", &self.caller).finish_non_exhaustive()
    }
}

fn undecodable() -> Problem {
    Problem::new(Cause::Upstream, "the provider sent an event that is no JSON of its dialect")
}
