//! A stream that another deployment goes on with where its own has failed.
//!
//! What has passed is read as it goes. Where it breaks off in the middle of plain text, the error event is held back, and another
//! deployment is asked with that text as the beginning of its answer; what it adds follows as if it were the same answer's.

mod reader;
mod request;
mod splice;

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use ziggurat_core::{BoxError, CallEnd, Cause, Dialect};
use ziggurat_dialect::sse;

pub(crate) use self::request::{Prefixed, can_continue};
use self::{reader::Reader, splice::Splice};
use crate::body::RoutedBody;

/// A stream of which the beginning stays true whoever ends it.
pub(crate) struct ContinuedBody {
    state: State,
    events: sse::Decoder,
    queue: VecDeque<Frame<Bytes>>,
    reader: Reader,
    /// Makes one answer of two, from the second on.
    splice: Option<Splice>,
    /// Absent while it is asked.
    go_on: Option<GoOn>,
    options: Options,
    /// Ends the call: dropped last.
    end: Option<CallEnd>,
}

/// What is known of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) dialect: Dialect,
    /// Whether the caller asked for usage in the stream.
    pub(crate) include_usage: bool,
}

/// Asks another deployment to go on.
pub(crate) struct GoOn(pub(crate) Box<dyn FnOnce(Broken) -> Asking + Send>);

pub(crate) type Asking = Pin<Box<dyn Future<Output = Option<Resumed>> + Send>>;

/// An answer that has broken off.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) text: String,
    pub(crate) cause: Cause,
}

/// Another one that goes on with it.
pub(crate) struct Resumed {
    pub(crate) body: RoutedBody,
    /// White space at the end of the text that it was not given, and may begin with.
    pub(crate) held: String,
    pub(crate) go_on: GoOn,
}

enum State {
    Streaming(RoutedBody),
    /// It has failed with this event, and is read to its end.
    Failed(RoutedBody, Bytes),
    Asking(Asking, Bytes),
    Over,
}

// ===== impl ContinuedBody =====

impl ContinuedBody {
    pub(crate) fn new(body: RoutedBody, options: Options, go_on: GoOn, end: Option<CallEnd>) -> Self {
        Self {
            state: State::Streaming(body),
            events: sse::Decoder::new(MAX_EVENT),
            queue: VecDeque::new(),
            reader: Reader::new(options.dialect),
            splice: None,
            go_on: Some(go_on),
            options,
            end,
        }
    }

    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queue.push_back(Frame::data(bytes));
        }
    }

    /// Reads what has come, up to an error.
    fn read(&mut self) {
        while matches!(self.state, State::Streaming(_))
            && let Some(frame) = self.events.next()
        {
            match frame {
                Ok(sse::Frame::Event(event)) => self.event(event),
                Ok(frame) => self.push(frame.into_raw()),
                // Longer than any layer inside lets pass: nobody can go on with that.
                Err(_) => self.reader.give_up(),
            }
        }
    }

    fn event(&mut self, event: sse::Event) {
        let mut out = Vec::new();
        let failed = self.reader.read(&event.data, self.splice.as_mut(), &mut out);
        if failed {
            match mem::replace(&mut self.state, State::Over) {
                State::Streaming(body) => self.state = State::Failed(body, event.raw),
                other => self.state = other,
            }
            return;
        }
        self.push(if self.splice.is_some() { out.into() } else { event.raw });
    }

    /// The provider's bytes have ended.
    fn finish(&mut self) {
        match self.events.finish() {
            Some(sse::Frame::Event(event)) => self.event(event),
            Some(frame) => self.push(frame.into_raw()),
            None => {}
        }
        match mem::replace(&mut self.state, State::Over) {
            State::Failed(body, event) => self.ask(&body, event),
            _ => self.end = None,
        }
    }

    /// Asks another deployment, if it is of use.
    fn ask(&mut self, body: &RoutedBody, event: Bytes) {
        let cause = body.failure().filter(|cause| is_worth(*cause));
        match (cause, self.reader.text(), self.go_on.take()) {
            (Some(cause), Some(text), Some(GoOn(ask))) => {
                self.state = State::Asking(ask(Broken { text: text.to_owned(), cause }), event);
            }
            _ => self.give_up(event),
        }
    }

    fn resume(&mut self, resumed: Resumed) {
        let Resumed { body, held, go_on } = resumed;
        self.push(Bytes::from_static(CONTINUED));
        self.events = sse::Decoder::new(MAX_EVENT);
        self.splice = Some(Splice::new(self.options, self.reader.start(), held));
        self.reader.again();
        self.go_on = Some(go_on);
        self.state = State::Streaming(body);
    }

    fn give_up(&mut self, event: Bytes) {
        self.push(event);
        self.state = State::Over;
        self.end = None;
    }
}

impl HttpBody for ContinuedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut this.state {
                State::Over => return Poll::Ready(None),
                State::Streaming(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            this.events.push(data);
                            this.read();
                        }
                        Err(other) => this.queue.push_back(other),
                    },
                    Some(Err(error)) => {
                        this.state = State::Over;
                        this.end = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => this.finish(),
                },
                State::Failed(body, _) => {
                    if !matches!(ready!(Pin::new(body).poll_frame(cx)), Some(Ok(_))) {
                        this.finish();
                    }
                }
                State::Asking(asking, event) => {
                    let resumed = ready!(asking.as_mut().poll(cx));
                    let event = mem::take(event);
                    match resumed {
                        Some(resumed) => this.resume(resumed),
                        None => this.give_up(event),
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.queue.is_empty() && matches!(self.state, State::Over)
    }
}

impl fmt::Debug for ContinuedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContinuedBody").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Whether another deployment may do better. What lies with the conversation it does not mend, and must not get around.
const fn is_worth(cause: Cause) -> bool {
    !matches!(
        cause,
        Cause::ContentPolicy
            | Cause::ContextLength
            | Cause::InvalidRequest
            | Cause::Unprocessable
            | Cause::TooLarge
            | Cause::UnsupportedMediaType
            | Cause::MethodNotAllowed
    )
}

/// Longest event in bytes: of what the layers inside let pass.
const MAX_EVENT: usize = 16 << 20;

/// What marks the place in the stream; no client takes it for content.
const CONTINUED: &[u8] = b": continued on another deployment\n\n";
