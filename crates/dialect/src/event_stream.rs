//! AWS's event stream (`application/vnd.amazon.eventstream`): cuts a byte stream into messages and gives them out as events.
//!
//! A message is a prelude (total length, length of the headers, a CRC32 of both), headers, a payload and a CRC32 of all that; numbers are big
//! endian ([the format's specification][spec]). Each becomes a [`Frame`] as [`sse`](crate::sse) has them, whose `data` is the payload wrapped
//! by its type, `{"contentBlockDelta":{..}}`, so that the text alone says what it is.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use ziggurat_dialect::{event_stream::Decoder, sse::Frame};
//!
//! // A message whose payload is `{}`, in two pieces.
//! let message = b"\0\0\0\x25\0\0\0\x13\xe8\xbd\x3e\xc3\x0b:event-type\x07\0\x04ping{}X\xe0\x22\xb9";
//! let mut decoder = Decoder::new(1 << 20);
//! decoder.push(Bytes::from_static(&message[..20]));
//! assert!(decoder.next().is_none());
//! decoder.push(Bytes::from_static(&message[20..]));
//! let Some(Ok(Frame::Event(event))) = decoder.next() else { panic!("the message is whole") };
//! assert_eq!(event.data, r#"{"ping":{}}"#);
//! ```
//!
//! # Streaming
//! How the input is cut into chunks changes nothing. A message waits for its last byte, as its checksum stands there.
//!
//! # Limits
//! A message says how long it is: one that is longer than `max_event_bytes` fails before any of it is kept. Memory is what has arrived of one
//! message plus the chunk pushed last. Fails closed: after an error the decoder gives nothing any more.
//!
//! [spec]: https://smithy.io/2.0/aws/amazon-eventstream.html

use std::{fmt, mem};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ziggurat_core::json::write_string;

use crate::{
    Text,
    read::{document, wire_object},
    sse::{Event, Frame, append},
};

/// Cuts a byte stream into [`Frame`]s.
///
/// It does no I/O: [`push`](Decoder::push) a chunk, take frames until `None`, and so on; at the end of the input,
/// [`finish`](Decoder::finish). As an iterator it is not fused: it gives `None` when it needs the next chunk.
#[derive(Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    /// What was pushed and is not yet looked at.
    chunk: Bytes,
    /// The beginning of a message, from earlier chunks.
    partial: Vec<u8>,
    /// The lengths of the message that has begun, once they are known to be good.
    prelude: Option<Prelude>,
    done: bool,
}

/// A stream that cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A message is longer than the decoder allows.
    TooLarge {
        /// How long it says it is, in bytes.
        declared: usize,
        /// The most bytes allowed.
        limit: usize,
    },
    /// A message is not what it says it is.
    Corrupt(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Prelude {
    total: usize,
    headers: usize,
}

/// What the headers say, as far as it is needed; values of all other headers are passed over.
#[derive(Default)]
struct Headers<'h> {
    message_type: Option<&'h [u8]>,
    event_type: Option<&'h [u8]>,
    exception_type: Option<&'h [u8]>,
    error_code: Option<&'h [u8]>,
    error_message: Option<&'h [u8]>,
}

wire_object! {
    struct WireInvoked { chunk: WireChunk<'a> = "chunk", bytes: Text<'a> = "bytes", }
    struct WireChunk { bytes: Text<'a> = "bytes", }
}

/// The model's own event within the data of a `chunk` event, as `InvokeModelWithResponseStream` sends them; `None` when it is another event:
/// an exception, which [`exception`](crate::converse::exception) reads.
///
/// # Errors
/// [`Error::Corrupt`], when what it holds is no base64 or no text.
pub fn invoked(data: &str) -> Result<Option<String>, Error> {
    let Ok(wire) = document::<WireInvoked<'_>>(data) else { return Err(NO_CHUNK) };
    let Some(bytes) = wire.chunk.and_then(|chunk| chunk.bytes).or(wire.bytes) else { return Ok(None) };
    let text = STANDARD.decode(bytes.decode().as_bytes()).ok().and_then(|text| String::from_utf8(text).ok());
    text.map(Some).ok_or(NO_CHUNK)
}

const NO_CHUNK: Error = Error::Corrupt("a chunk holds no text");

/// Bytes of the prelude, its checksum included, and of the message's checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// The most bytes of headers, by the format's specification.
const MAX_HEADERS: usize = 128 << 10;

// ===== impl Decoder =====

impl Decoder {
    /// A decoder that fails when a message is longer than `max_event_bytes`, all its bytes counted.
    #[must_use]
    pub const fn new(max_event_bytes: usize) -> Self {
        Self { max_event_bytes, chunk: Bytes::new(), partial: Vec::new(), prelude: None, done: false }
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

    /// Ends the input and gives what is left over, if anything: a message that was cut off, as [`Frame::Other`].
    pub fn finish(&mut self) -> Option<Frame> {
        self.done = true;
        let mut left = mem::take(&mut self.partial);
        left.extend_from_slice(&mem::take(&mut self.chunk));
        (!left.is_empty()).then(|| Frame::Other(left.into()))
    }

    fn message(&mut self) -> Result<Option<Frame>, Error> {
        let prelude = match self.prelude {
            Some(prelude) => prelude,
            None => {
                let Some(bytes) = self.peek() else { return Ok(None) };
                *self.prelude.insert(Prelude::read(&bytes, self.max_event_bytes)?)
            }
        };
        let Some(raw) = self.take(prelude.total) else { return Ok(None) };
        self.prelude = None;
        frame(raw, prelude).map(Some)
    }

    /// The first bytes of the message, when they are all there.
    fn peek(&mut self) -> Option<[u8; PRELUDE]> {
        if self.partial.is_empty()
            && let Some(bytes) = self.chunk.first_chunk()
        {
            return Some(*bytes);
        }
        self.append(PRELUDE);
        self.partial.first_chunk().copied()
    }

    /// A message of so many bytes, when they are all there; without a copy if they came in one chunk.
    fn take(&mut self, length: usize) -> Option<Bytes> {
        if self.partial.is_empty() && self.chunk.len() >= length {
            return Some(self.chunk.split_to(length));
        }
        self.append(length);
        (self.partial.len() == length).then(|| Bytes::from(mem::take(&mut self.partial)))
    }

    /// Moves bytes from the chunk to `partial`, until that has so many.
    fn append(&mut self, length: usize) {
        let missing = length.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }
}

impl Iterator for Decoder {
    type Item = Result<Frame, Error>;

    /// The next message that is complete, or `None` if there is none in what was pushed so far.
    ///
    /// # Errors
    /// [`Error`], once; from then on the decoder gives `None`.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.message();
        if next.is_err() {
            // A failed decoder holds no memory.
            self.done = true;
            self.chunk = Bytes::new();
            self.partial = Vec::new();
        }
        next.transpose()
    }
}

// ===== impl Prelude =====

impl Prelude {
    fn read(bytes: &[u8; PRELUDE], limit: usize) -> Result<Self, Error> {
        let [a, b, c, d, e, f, g, h, checksum @ ..] = *bytes;
        if crc32fast::hash(&bytes[..PRELUDE - CHECKSUM]) != u32::from_be_bytes(checksum) {
            return Err(Error::Corrupt("the checksum of a message's lengths does not match"));
        }
        let total = u32::from_be_bytes([a, b, c, d]) as usize;
        let headers = u32::from_be_bytes([e, f, g, h]) as usize;
        if total > limit {
            return Err(Error::TooLarge { declared: total, limit });
        }
        if headers > MAX_HEADERS || total < PRELUDE + CHECKSUM || headers > total - PRELUDE - CHECKSUM {
            return Err(Error::Corrupt("a message's lengths do not fit each other"));
        }
        Ok(Self { total, headers })
    }
}

/// Checks and reads a whole message.
fn frame(raw: Bytes, prelude: Prelude) -> Result<Frame, Error> {
    let (body, checksum) = raw.split_at(raw.len() - CHECKSUM);
    if crc32fast::hash(body).to_be_bytes() != checksum {
        return Err(Error::Corrupt("the checksum of a message does not match"));
    }
    let (headers, payload) = body[PRELUDE..].split_at(prelude.headers);
    let headers = Headers::read(headers)?;
    let Some(name) = headers.name() else { return Ok(Frame::Other(raw)) };
    let word = text(name)?;
    let mut data = Vec::with_capacity(payload.len() + word.len() + r#"{"":}"#.len());
    data.push(b'{');
    if headers.message_type == Some(b"error") {
        // It has no payload, and its words are headers.
        let named = if word.ends_with(EXCEPTION) { "" } else { EXCEPTION };
        write_string(&mut data, &format!("{word}{named}"));
        data.extend_from_slice(br#":{"message":"#);
        write_string(&mut data, text(headers.error_message.unwrap_or_default())?);
        data.push(b'}');
    } else {
        write_string(&mut data, word);
        data.push(b':');
        data.extend_from_slice(if payload.is_empty() { b"{}" } else { payload });
    }
    data.push(b'}');
    let name = raw.slice_ref(name);
    Ok(Frame::Event(Event { raw, name: Some(name), data: data.into() }))
}

/// How the names of exceptions end.
pub(crate) const EXCEPTION: &str = "Exception";

// ===== impl Headers =====

impl<'h> Headers<'h> {
    fn read(mut bytes: &'h [u8]) -> Result<Self, Error> {
        let mut headers = Self::default();
        while !bytes.is_empty() {
            let length = usize::from(take(&mut bytes, 1)?[0]);
            let name = take(&mut bytes, length)?;
            let kind = take(&mut bytes, 1)?[0];
            let length = match kind {
                // True and false.
                0 | 1 => 0,
                // Whole numbers of one, two, four and eight bytes.
                2 => 1,
                3 => 2,
                4 => 4,
                // And a timestamp.
                5 | 8 => 8,
                // Bytes and text.
                6 | 7 => {
                    let [a, b] = take(&mut bytes, 2)? else { return Err(CUT_HEADER) };
                    usize::from(u16::from_be_bytes([*a, *b]))
                }
                // A UUID.
                9 => 16,
                _ => return Err(Error::Corrupt("a header has a type that is not known")),
            };
            let value = take(&mut bytes, length)?;
            let known = match name {
                b":message-type" => &mut headers.message_type,
                b":event-type" => &mut headers.event_type,
                b":exception-type" => &mut headers.exception_type,
                b":error-code" => &mut headers.error_code,
                b":error-message" => &mut headers.error_message,
                _ => continue,
            };
            *known = Some(value);
        }
        Ok(headers)
    }

    /// What the message is called.
    fn name(&self) -> Option<&'h [u8]> {
        match self.message_type {
            Some(b"exception") => self.exception_type,
            Some(b"error") => self.error_code,
            _ => self.event_type,
        }
    }
}

fn take<'h>(bytes: &mut &'h [u8], length: usize) -> Result<&'h [u8], Error> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(CUT_HEADER)?;
    *bytes = rest;
    Ok(taken)
}

const CUT_HEADER: Error = Error::Corrupt("a header is longer than all of them");

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::Corrupt("a header that is text is no UTF-8"))
}

// ===== impl Error =====

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { declared, limit } => {
                write!(f, "a message of the event stream is {declared} bytes long, more than {limit}")
            }
            Self::Corrupt(what) => write!(f, "the event stream is corrupt: {what}"),
        }
    }
}

impl std::error::Error for Error {}
