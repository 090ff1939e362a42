//! Server-sent events: cuts a byte stream into events without copying, and writes events.
//!
//! The rules are those of the [WHATWG standard][sse] (line ends LF, CR and CRLF; comments; byte order mark; several
//! `data` lines), with two additions that a gateway needs. Nothing is lost: every byte that goes in comes out in the
//! `raw` of exactly one [`Frame`], in order, so a stream can be read and still be passed on byte for byte. And what is
//! no event by the standard is shown rather than thrown away, because some providers put an error there.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use ziggurat_dialect::sse::{Decoder, Frame};
//!
//! let mut decoder = Decoder::new(1 << 20);
//! let mut seen = Vec::new();
//! for chunk in [": hello\n\nevent: delta\nda", "ta: {\"a\":1}\n\ndata: [DO", "NE]\n"] {
//!     decoder.push(Bytes::from(chunk));
//!     for frame in &mut decoder {
//!         if let Frame::Event(event) = frame? {
//!             seen.push((event.name, event.data));
//!         }
//!     }
//! }
//! assert_eq!(seen, [(Some(Bytes::from("delta")), Bytes::from("{\"a\":1}"))]);
//!
//! // The last event lacks its blank line: whether it is whole is for the caller to decide.
//! let Some(Frame::Event(last)) = decoder.finish() else { panic!("bytes were left over") };
//! assert_eq!(last.data, "[DONE]");
//! # Ok::<(), ziggurat_dialect::sse::EventTooLarge>(())
//! ```
//!
//! # Streaming
//! How the input is cut into chunks changes neither the events nor their order. It shows in two places only: how
//! keep-alives are grouped into [`Frame::Idle`], and where the last LF of an event goes that ends in CRLF. When the
//! chunk ends at the CR, the event is given out at once without the LF, which then comes as (part of) an `Idle`.
//!
//! # Limits
//! One event, block or comment line is at most `max_event_bytes` long, else the decoder fails for good with
//! [`EventTooLarge`]. Memory is that much plus the chunk pushed last; time is linear in the input, whatever the chunks.
//!
//! [sse]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

use std::{fmt, mem};

use bytes::Bytes;
use memchr::{memchr2, memchr2_iter};

/// A piece of the stream; the pieces' [`raw`](Frame::raw) bytes put together are the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An event.
    Event(Event),
    /// Blank lines, comments, or a byte order mark between events: nothing but a sign of life.
    ///
    /// Given out with the end of the line, so keep-alives wait neither for a blank line nor for an event.
    Idle(Bytes),
    /// A block of lines that is no event, as no line is a `data` field. By the standard it is to be ignored.
    ///
    /// It may still matter: Vertex AI reports an error in mid-stream as bare, pretty-printed JSON.
    Other(Bytes),
}

/// A server-sent event. The `id` and `retry` fields are kept in `raw` only.
///
/// All values are slices of the pushed chunk where the event lies in one chunk, and so keep that chunk alive. They are
/// bytes as received: nothing checks that they are UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event as received: from its first field's line to its blank line, with any comments in between.
    pub raw: Bytes,
    /// The last `event` field, unless that is empty.
    pub name: Option<Bytes>,
    /// The `data` field; several are joined with LF.
    pub data: Bytes,
}

/// An event, block or comment line was longer than the decoder allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTooLarge {
    /// The most bytes allowed.
    pub limit: usize,
}

/// Cuts a byte stream into [`Frame`]s.
///
/// It does no I/O: [`push`](Decoder::push) a chunk, take frames until `None`, and so on; at the end of the input,
/// [`finish`](Decoder::finish). As an iterator it is not fused: it gives `None` when it needs the next chunk.
#[derive(Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    /// What was pushed and is not yet looked at.
    chunk: Bytes,
    /// The beginning, from earlier chunks, of a comment line (if it starts with a colon) or of a block.
    partial: Vec<u8>,
    /// Where in its lines the block in `partial` stopped.
    position: Position,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    LineStart,
    InLine,
    /// At the start of a line, unless an LF follows: then that still belongs to the last line's end.
    AfterCr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A byte order mark may still come.
    Start,
    Running,
    /// Failed or finished.
    Done,
}

/// What OpenAI's chat completions, and all that follow them, send as the last event.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Appends an event to `out`, one `data` line for each line of `data`.
///
/// All line ends (LF, CR, CRLF) come back as LF when the event is read; JSON does not change its meaning by that. Line
/// ends in `name`, which the format cannot express, are left out.
pub fn encode(out: &mut Vec<u8>, name: Option<&str>, data: &[u8]) {
    out.reserve(name.map_or(0, str::len) + data.len() + b"event: \ndata: \n\n".len());
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend(name.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        out.push(b'\n');
    }
    let mut rest = data;
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        encode_line(out, &rest[..end]);
        let ended = &rest[end..];
        rest = ended.strip_prefix(b"\r\n").unwrap_or(&ended[1..]);
    }
    encode_line(out, rest);
    out.push(b'\n');
}

fn encode_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(line);
    out.push(b'\n');
}

// ===== impl Frame =====

impl Frame {
    /// The bytes as received.
    pub fn raw(&self) -> &Bytes {
        match self {
            Self::Event(event) => &event.raw,
            Self::Idle(raw) | Self::Other(raw) => raw,
        }
    }

    /// The bytes as received, without a copy.
    pub fn into_raw(self) -> Bytes {
        match self {
            Self::Event(event) => event.raw,
            Self::Idle(raw) | Self::Other(raw) => raw,
        }
    }

    /// Reads the fields of a block.
    fn from_block(raw: Bytes) -> Self {
        let mut name = None;
        let mut data = None;
        let mut joined = Vec::new();
        for line in lines(&raw) {
            if let Some(value) = field(line, b"data") {
                match data {
                    None => data = Some(value),
                    Some(first) => join(&mut joined, first, value, raw.len()),
                }
            } else if let Some(value) = field(line, b"event") {
                name = Some(value).filter(|name| !name.is_empty());
            }
        }
        let Some(data) = data else { return Self::Other(raw) };
        let data = if joined.is_empty() { raw.slice_ref(data) } else { Bytes::from(joined) };
        let name = name.map(|name| raw.slice_ref(name));
        Self::Event(Event { raw, name, data })
    }
}

/// Cuts at every CR and LF; a CRLF gives an empty line more, which is no field and so does no harm.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr2_iter(b'\n', b'\r', block).chain([block.len()]);
    ends.map(move |end| &block[mem::replace(&mut start, end + 1)..end])
}

/// The line's value if it is this field: `name`, `name:value` or `name: value`.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] | value @ [] => Some(value),
        _ => None,
    }
}

/// Adds a further data line; the first is still elsewhere when this is the second.
fn join(joined: &mut Vec<u8>, first: &[u8], value: &[u8], capacity: usize) {
    if joined.is_empty() {
        joined.reserve_exact(capacity);
        joined.extend_from_slice(first);
    }
    joined.push(b'\n');
    joined.extend_from_slice(value);
}

// ===== impl Decoder =====

impl Decoder {
    /// A decoder that fails when an event is longer than `max_event_bytes`.
    ///
    /// All its bytes count, field names and line ends too; only the LF of a last CRLF does not.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            chunk: Bytes::new(),
            partial: Vec::new(),
            position: Position::InLine,
            phase: Phase::Start,
        }
    }

    /// Adds the next bytes of the input. The frames before are to be taken first, else the bytes are copied.
    ///
    /// After a failure, or when finished, it does nothing.
    pub fn push(&mut self, chunk: Bytes) {
        if self.phase == Phase::Done {
            return;
        }
        append(&mut self.chunk, chunk);
    }

    /// Ends the input and gives what is left over, if anything: bytes that no blank line ended.
    ///
    /// It is an [`Event`](Frame::Event) if there is a `data` field, even one without its line end: some providers omit
    /// the last blank line, so an event whose data is whole is good, and one whose data is not was cut off. To be called
    /// when the iterator has given `None`; frames not taken by then come as one [`Other`](Frame::Other).
    pub fn finish(&mut self) -> Option<Frame> {
        self.phase = Phase::Done;
        let chunk = mem::take(&mut self.chunk);
        let mut left = mem::take(&mut self.partial);
        left.extend_from_slice(&chunk);
        if left.is_empty() {
            None
        } else if !chunk.is_empty() {
            Some(Frame::Other(left.into()))
        } else if left[0] == b':' {
            Some(Frame::Idle(left.into()))
        } else {
            Some(Frame::from_block(left.into()))
        }
    }

    /// A byte order mark at the start, or `None` and perhaps not yet a decision.
    fn byte_order_mark(&mut self) -> Option<Frame> {
        if self.chunk.starts_with(BYTE_ORDER_MARK) {
            self.phase = Phase::Running;
            return Some(Frame::Idle(self.chunk.split_to(BYTE_ORDER_MARK.len())));
        }
        if !BYTE_ORDER_MARK.starts_with(&self.chunk) {
            self.phase = Phase::Running;
        }
        None
    }

    /// As many blank lines and whole comment lines as there are; the chunk starts with one.
    fn idle(&mut self) -> Result<Option<Frame>, EventTooLarge> {
        let chunk = &self.chunk[..];
        let mut end = 0;
        while end < chunk.len() {
            match chunk[end] {
                b'\n' | b'\r' => end += 1,
                b':' => match memchr2(b'\n', b'\r', &chunk[end..]) {
                    Some(length) if length < self.max_event_bytes => end += length + 1,
                    _ => break,
                },
                _ => break,
            }
        }
        if end == 0 {
            return self.keep().map(|()| None);
        }
        Ok(Some(Frame::Idle(self.chunk.split_to(end))))
    }

    /// The rest of a comment line that began in an earlier chunk.
    fn comment(&mut self) -> Result<Option<Frame>, EventTooLarge> {
        match memchr2(b'\n', b'\r', &self.chunk) {
            None => self.keep().map(|()| None),
            Some(end) => {
                self.check(end + 1)?;
                Ok(Some(Frame::Idle(self.take(end + 1))))
            }
        }
    }

    /// A block, or its rest.
    fn block(&mut self) -> Result<Option<Frame>, EventTooLarge> {
        let Some(mut end) = self.position.find_blank_line(&self.chunk) else {
            return self.keep().map(|()| None);
        };
        self.check(end)?;
        if self.chunk[..end].ends_with(b"\r") && self.chunk[end..].starts_with(b"\n") {
            end += 1;
        }
        self.position = Position::InLine;
        Ok(Some(Frame::from_block(self.take(end))))
    }

    /// Keeps the whole chunk for when the next comes.
    fn keep(&mut self) -> Result<(), EventTooLarge> {
        self.check(self.chunk.len())?;
        self.append(self.chunk.len());
        Ok(())
    }

    /// What was kept and so many bytes of the chunk; without a copy if nothing was kept.
    fn take(&mut self, length: usize) -> Bytes {
        if self.partial.is_empty() {
            return self.chunk.split_to(length);
        }
        self.append(length);
        Bytes::from(mem::take(&mut self.partial))
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

    fn check(&self, length: usize) -> Result<(), EventTooLarge> {
        let limit = self.max_event_bytes;
        if self.partial.len() + length > limit { Err(EventTooLarge { limit }) } else { Ok(()) }
    }

    /// Drops everything, so that a failed decoder holds no memory and gives nothing any more.
    fn fail(&mut self) {
        self.phase = Phase::Done;
        self.chunk = Bytes::new();
        self.partial = Vec::new();
    }
}

impl Iterator for Decoder {
    type Item = Result<Frame, EventTooLarge>;

    /// The next frame that is complete, or `None` if there is none in what was pushed so far.
    ///
    /// # Errors
    /// [`EventTooLarge`], once; from then on the decoder gives `None`.
    fn next(&mut self) -> Option<Self::Item> {
        if self.phase == Phase::Start {
            if let Some(mark) = self.byte_order_mark() {
                return Some(Ok(mark));
            }
            if self.phase == Phase::Start {
                return None;
            }
        }
        let next = match (self.partial.first(), self.chunk.first()) {
            (_, None) => return None,
            (Some(b':'), _) => self.comment(),
            (None, Some(b':' | b'\n' | b'\r')) => self.idle(),
            _ => self.block(),
        };
        if next.is_err() {
            self.fail();
        }
        next.transpose()
    }
}

// ===== impl Position =====

impl Position {
    /// Finds the line end that makes a blank line and gives the index after it, or else remembers where it stopped.
    fn find_blank_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match (*self, bytes[at]) {
                (Self::AfterCr, b'\n') => {
                    at += 1;
                    *self = Self::LineStart;
                }
                (Self::AfterCr | Self::LineStart, b'\n' | b'\r') => return Some(at + 1),
                _ => {
                    *self = Self::InLine;
                    at += memchr2(b'\n', b'\r', &bytes[at..])? + 1;
                    *self = if bytes[at - 1] == b'\r' { Self::AfterCr } else { Self::LineStart };
                }
            }
        }
        None
    }
}

// ===== impl EventTooLarge =====

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a server-sent event is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for EventTooLarge {}
/// Puts a chunk behind what is left of those before.
pub(crate) fn append(left: &mut Bytes, chunk: Bytes) {
    if left.is_empty() {
        *left = chunk;
        return;
    }
    let mut joined = Vec::from(mem::take(left));
    joined.extend_from_slice(&chunk);
    *left = joined.into();
}
