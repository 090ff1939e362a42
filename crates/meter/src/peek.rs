//! The beginning of a stream, looked at before it is answered with.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use ziggurat_core::{Body, BoxError, Cause, Problem};

use crate::{Broken, broke_off};

/// A body, by how it begins.
#[derive(Debug)]
pub enum Peeked {
    /// As server-sent events do.
    Events(Body),
    /// As they never do: JSON, HTML, words.
    Other(Body),
    /// It ended before that showed: blanks, or the first letters of a field's name.
    Neither(Body),
}

/// Reads until the first field name of an event shows, or that there is none, and puts all of it back.
///
/// By its first bytes, not by its label: recordings have streams that are labelled JSON, and errors that are labelled streams.
///
/// # Errors
/// When the body fails before that, or has 64 KiB of blanks.
pub async fn peek(mut body: Body) -> Result<Peeked, Broken> {
    let mut read = VecDeque::new();
    let mut start = Vec::new();
    let mut blanks = 0;
    loop {
        let frame = match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(frame) => frame.map_err(|error| broke_off(&error))?,
            None => return Ok(Peeked::Neither(Body::new(Resumed { read, body }))),
        };
        let Ok(data) = frame.into_data() else { continue };
        for byte in &data {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' if start.is_empty() => blanks += 1,
                // Longer than any of the names, it is decided already.
                _ if start.len() < LONGEST => start.push(*byte),
                _ => break,
            }
            if start == BYTE_ORDER_MARK {
                start.clear();
            }
        }
        read.push_back(data);
        if let Some(events) = begins_event(&start) {
            let body = Body::new(Resumed { read, body });
            return Ok(if events { Peeked::Events(body) } else { Peeked::Other(body) });
        }
        if blanks > MAX_BLANKS {
            let message = "the provider's stream begins with nothing but blanks";
            return Err(Problem::new(Cause::Upstream, message).into());
        }
    }
}

/// Whether bytes are the beginning of an event or a comment; `None` while they may be.
fn begins_event(start: &[u8]) -> Option<bool> {
    if NAMES.iter().any(|name| start.starts_with(name)) {
        return Some(true);
    }
    let maybe = NAMES.iter().any(|name| name.starts_with(start)) || BYTE_ORDER_MARK.starts_with(start);
    if maybe { None } else { Some(false) }
}

const NAMES: [&[u8]; 5] = [b":", b"data", b"event", b"id", b"retry"];
/// Of the names.
const LONGEST: usize = 5;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Most blanks that are read in search of the first event.
const MAX_BLANKS: usize = 64 << 10;

/// A body whose first chunks were read already.
struct Resumed {
    read: VecDeque<Bytes>,
    body: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().map(|data| data.len() as u64).sum::<u64>();
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_comments_are_told_from_all_else() {
        for (start, events) in [
            (":", Some(true)),
            ("data", Some(true)),
            ("id: 1", Some(true)),
            ("", None),
            ("dat", None),
            ("r", None),
            ("{", Some(false)),
            ("<html", Some(false)),
            ("dare", Some(false)),
            ("Internal", Some(false)),
            ("error:", Some(false)),
        ] {
            assert_eq!(begins_event(start.as_bytes()), events, "{start}");
        }
        assert_eq!(begins_event(b"\xEF\xBB"), None);
    }

    #[test]
    fn what_was_read_counts_in_the_length() {
        let read = [Bytes::from("abc"), Bytes::from("d")].into();
        let resumed = Resumed { read, body: Body::from("efg") };
        assert_eq!((resumed.size_hint().exact(), resumed.is_end_stream()), (Some(7), false));
    }
}
