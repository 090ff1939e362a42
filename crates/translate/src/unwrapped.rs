//! Streams of AWS's messages, each of which holds an event of the model's own: as the server-sent events that they would be elsewhere.

use std::{
    borrow::Cow,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use serde::Deserialize;
use ziggurat_core::{Body, BoxError, Dialect};
use ziggurat_dialect::{converse, event_stream, sse};

/// A body of such messages. An exception among them is its last event, an error in the words of the dialect.
pub(crate) struct Unwrapped {
    inner: Body,
    messages: event_stream::Decoder,
    dialect: Dialect,
    over: bool,
}

/// What an event says that it is.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

// ===== impl Unwrapped =====

impl Unwrapped {
    /// For a stream of a model of some dialect, none of whose messages is longer than `max_event` bytes.
    pub(crate) fn new(inner: Body, dialect: Dialect, max_event: usize) -> Self {
        Self { inner, messages: event_stream::Decoder::new(max_event), dialect, over: false }
    }

    /// The event within a message; `None` for a message that holds none.
    fn event(&mut self, message: &sse::Event) -> Result<Option<Bytes>, BoxError> {
        let text = std::str::from_utf8(&message.data)?;
        if let Some(problem) = converse::exception(text) {
            self.over = true;
            return Ok(Some(problem.to_event(self.dialect).into()));
        }
        Ok(event_stream::invoked(text)?.map(|json| written(&json).into()))
    }
}

impl HttpBody for Unwrapped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while !self.over {
            let event = match self.messages.next() {
                Some(Ok(sse::Frame::Event(message))) => self.event(&message),
                Some(Ok(_)) => Ok(None),
                Some(Err(error)) => Err(error.into()),
                None => match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                    None => break,
                    Some(Err(error)) => Err(error),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            self.messages.push(data);
                        }
                        Ok(None)
                    }
                },
            };
            match event {
                Ok(None) => {}
                Ok(Some(event)) => return Poll::Ready(Some(Ok(Frame::data(event)))),
                Err(error) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        self.over = true;
        Poll::Ready(None)
    }
}

/// A server-sent event, by its type where it has one that can be a name.
fn written(json: &str) -> Vec<u8> {
    let is_name = |kind: &str| kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let kind = serde_json::from_str::<Kind<'_>>(json).ok().filter(|it| is_name(&it.kind));
    let mut event = Vec::with_capacity(json.len() + 40);
    if let Some(Kind { kind }) = kind {
        event.extend_from_slice(b"event: ");
        event.extend_from_slice(kind.as_bytes());
        event.push(b'\n');
    }
    event.extend_from_slice(b"data: ");
    // A line end in JSON stands between its words, where a blank means the same.
    event.extend(json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    event.extend_from_slice(b"\n\n");
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_under_its_name() {
        let text = |json| String::from_utf8(written(json)).expect("is UTF-8");
        assert_eq!(text("{\"type\":\"ping\"}"), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        assert_eq!(text("{\n\"x\":1\r\n}"), "data: { \"x\":1  }\n\n");
        // What would be lines of its own is no name.
        assert_eq!(text(r#"{"type":"a\nb"}"#), "data: {\"type\":\"a\\nb\"}\n\n");
    }
}
