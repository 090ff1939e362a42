//! Newline-delimited JSON: cuts a byte stream into lines without copying.
//!
//! Frames, events and their limit are those of [`sse`](crate::sse), so that whoever reads a stream need not know how it is framed: a line is
//! an [`Event`] without a name whose `data` is the line without its end, LF or CRLF. Nothing is lost: every byte that goes in comes out in
//! the `raw` of exactly one [`Frame`], in order.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use ziggurat_dialect::{ndjson::Decoder, sse::Frame};
//!
//! let mut decoder = Decoder::new(1 << 20);
//! let mut lines = Vec::new();
//! for chunk in ["{\"a\":1}\r\n{\"b\"", ":2}\n\n{\"c\":3}"] {
//!     decoder.push(Bytes::from(chunk));
//!     for frame in &mut decoder {
//!         if let Frame::Event(line) = frame? {
//!             lines.push(line.data);
//!         }
//!     }
//! }
//! assert_eq!(lines, ["{\"a\":1}", "{\"b\":2}"]);
//!
//! // The last line lacks its end: whether it is whole is for the caller to decide.
//! let Some(Frame::Event(last)) = decoder.finish() else { panic!("bytes were left over") };
//! assert_eq!(last.data, "{\"c\":3}");
//! # Ok::<(), ziggurat_dialect::sse::EventTooLarge>(())
//! ```
//!
//! # Streaming
//! How the input is cut into chunks changes neither the lines nor their order; only how blank lines are grouped into [`Frame::Idle`].
//!
//! # Limits
//! One line with its end is at most `max_event_bytes` long, else the decoder fails for good with [`EventTooLarge`]. Memory is that much plus
//! the chunk pushed last; time is linear in the input, whatever the chunks.

use std::mem;

use bytes::Bytes;
use memchr::memchr;

use crate::sse::{Event, EventTooLarge, Frame, append};

/// Cuts a byte stream into [`Frame`]s, one for each line: events, and [`Frame::Idle`] for blank lines.
///
/// It does no I/O: [`push`](Decoder::push) a chunk, take frames until `None`, and so on; at the end of the input,
/// [`finish`](Decoder::finish). As an iterator it is not fused: it gives `None` when it needs the next chunk.
#[derive(Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    /// What was pushed and is not yet looked at.
    chunk: Bytes,
    /// The beginning of a line, from earlier chunks.
    partial: Vec<u8>,
    /// Failed or finished.
    done: bool,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

// ===== impl Decoder =====

impl Decoder {
    /// A decoder that fails when a line is longer than `max_event_bytes`, its end included; below 2, the length of a CRLF, it counts as that.
    #[must_use]
    pub const fn new(max_event_bytes: usize) -> Self {
        let max_event_bytes = if max_event_bytes < 2 { 2 } else { max_event_bytes };
        Self { max_event_bytes, chunk: Bytes::new(), partial: Vec::new(), done: false }
    }

    /// Adds the next bytes of the input. The frames before are to be taken first, else the bytes are copied.
    ///
    /// After a failure, or when finished, it does nothing.
    pub fn push(&mut self, chunk: Bytes) {
        if self.done {
            return;
        }
        append(&mut self.chunk, chunk);
    }

    /// Ends the input and gives what is left over, if anything: a line without its end, which may have been cut.
    ///
    /// To be called when the iterator has given `None`; frames not taken by then come as one [`Other`](Frame::Other).
    pub fn finish(&mut self) -> Option<Frame> {
        self.done = true;
        let chunk = mem::take(&mut self.chunk);
        let mut left = mem::take(&mut self.partial);
        left.extend_from_slice(&chunk);
        match (left.is_empty(), chunk.is_empty()) {
            (true, _) => None,
            (false, true) => Some(frame(left.into())),
            (false, false) => Some(Frame::Other(left.into())),
        }
    }

    fn line(&mut self) -> Result<Option<Frame>, EventTooLarge> {
        let blank = self.blank_lines();
        if blank > 0 {
            return Ok(Some(Frame::Idle(self.chunk.split_to(blank))));
        }
        let end = memchr(b'\n', &self.chunk).map(|end| end + 1);
        let length = end.unwrap_or(self.chunk.len());
        if self.partial.len() + length > self.max_event_bytes {
            return Err(EventTooLarge { limit: self.max_event_bytes });
        }
        if end.is_some() && self.partial.is_empty() {
            return Ok(Some(frame(self.chunk.split_to(length))));
        }
        self.append(length);
        Ok(end.map(|_| frame(mem::take(&mut self.partial).into())))
    }

    /// The length of the empty lines that the chunk starts with, where no line has begun.
    fn blank_lines(&self) -> usize {
        let mut rest = &self.chunk[..];
        while let Some(next) = rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n")) {
            rest = next;
        }
        if self.partial.is_empty() { self.chunk.len() - rest.len() } else { 0 }
    }

    /// Moves bytes from the chunk to `partial`, which grows by doubling, but not past the limit without need.
    fn append(&mut self, length: usize) {
        let needed = self.partial.len() + length;
        if needed > self.partial.capacity() {
            let capacity = (needed * 2).min(self.max_event_bytes).max(needed);
            self.partial.reserve_exact(capacity - self.partial.len());
        }
        self.partial.extend_from_slice(&self.chunk.split_to(length));
    }
}

impl Iterator for Decoder {
    type Item = Result<Frame, EventTooLarge>;

    /// The next line that is complete, or `None` if there is none in what was pushed so far.
    ///
    /// # Errors
    /// [`EventTooLarge`], once; from then on the decoder gives `None`.
    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.is_empty() {
            return None;
        }
        let next = self.line();
        if next.is_err() {
            // A failed decoder holds no memory and gives nothing any more.
            self.done = true;
            self.chunk = Bytes::new();
            self.partial = Vec::new();
        }
        next.transpose()
    }
}

/// A line as a frame. A byte order mark, which only the first line can have, is no part of its data.
fn frame(raw: Bytes) -> Frame {
    let line = raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&raw);
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.trim_ascii().is_empty() {
        return Frame::Idle(raw);
    }
    let data = raw.slice_ref(line);
    Frame::Event(Event { raw, name: None, data })
}
