//! Streamed JSON arrays: cuts a byte stream into the elements of the one array that it is, and writes elements as one.
//!
//! Google streams so where nobody asks for server-sent events: `[{..}`, then `,\r\n{..}` again and again, then `]`, each element printed over
//! many lines. An element is an [`Event`] without a name, its value the data. As with [`sse`](crate::sse), every byte that goes in comes out in
//! the `raw` of exactly one [`Frame`], in order: what stands between elements goes with the element behind it, and the end of the array is a
//! [`Frame::Idle`].
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use ziggurat_dialect::{json_array::Decoder, sse::Frame};
//!
//! let mut decoder = Decoder::new(1 << 20);
//! let mut seen = Vec::new();
//! for chunk in ["[{\"a\":", "\"]\"}\n,\r\n{", "\"b\":2}]"] {
//!     decoder.push(Bytes::from(chunk));
//!     for frame in &mut decoder {
//!         if let Frame::Event(event) = frame? {
//!             seen.push(event.data);
//!         }
//!     }
//! }
//! assert_eq!(seen, ["{\"a\":\"]\"}", "{\"b\":2}"]);
//! # Ok::<(), ziggurat_dialect::sse::EventTooLarge>(())
//! ```
//!
//! # Limits
//! One element, with what stands before it, is at most `max_event_bytes` long, else the decoder fails for good with [`EventTooLarge`]. Memory
//! is at most twice that plus the chunk pushed last; time is linear in the input, whatever the chunks. It cuts and does not check: whether an element is
//! JSON is for its reader to find. A stream that begins with no bracket is one element after another all the same: an error that a provider
//! gives in place of the array.

use std::mem;

use bytes::{Bytes, BytesMut};

use crate::sse::{Event, EventTooLarge, Frame};

/// Cuts a byte stream into [`Frame`]s, in the manner of [`sse::Decoder`](crate::sse::Decoder).
#[derive(Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    /// What was pushed and is not yet looked at.
    chunk: Bytes,
    /// The beginning of an element, from earlier chunks.
    partial: BytesMut,
    /// Where the element begins in `partial` and what of `chunk` was looked at.
    start: Option<usize>,
    place: Place,
    /// Whether the array has begun.
    begun: bool,
    done: bool,
}

/// Writes an array element by element, as Google streams it.
///
/// ```
/// use ziggurat_dialect::json_array::Encoder;
///
/// let (mut array, mut out) = (Encoder::default(), Vec::new());
/// array.element(&mut out, b"{\"a\":1}");
/// assert_eq!(out, b"[{\"a\":1}");
/// array.element(&mut out, b"2");
/// array.finish(&mut out);
/// assert_eq!(out, b"[{\"a\":1},\r\n2]");
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    /// Whether the array has begun.
    begun: bool,
}

/// What the next byte stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between elements.
    Between,
    /// In an object or a list, so deep.
    Nested(usize),
    /// In a string, so deep.
    String(usize),
    /// Behind a backslash in a string, so deep.
    Escape(usize),
    /// In a number or a word.
    Word,
}

// ===== impl Decoder =====

impl Decoder {
    /// A decoder that fails when an element is longer than `max_event_bytes`.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            chunk: Bytes::new(),
            partial: BytesMut::new(),
            start: None,
            place: Place::Between,
            begun: false,
            done: false,
        }
    }

    /// Adds the next bytes of the input. The frames before are to be taken first, else the bytes are copied.
    ///
    /// After a failure, or when finished, it does nothing.
    pub fn push(&mut self, chunk: Bytes) {
        if self.done {
            return;
        }
        self.chunk = match self.chunk.is_empty() {
            true => chunk,
            false => [&*self.chunk, &*chunk].concat().into(),
        };
    }

    /// Ends the input and gives what is left over, if anything: an element that was cut off is an [`Event`](Frame::Event), as its reader will
    /// find; what is none is [`Idle`](Frame::Idle). To be called when the iterator has given `None`; frames not taken by then come as one
    /// [`Other`](Frame::Other).
    pub fn finish(&mut self) -> Option<Frame> {
        self.done = true;
        let chunk = mem::take(&mut self.chunk);
        let mut left = mem::take(&mut self.partial);
        left.extend_from_slice(&chunk);
        let raw = left.freeze();
        match (raw.is_empty(), chunk.is_empty(), self.start) {
            (true, ..) => None,
            (_, false, _) => Some(Frame::Other(raw)),
            (_, _, None) => Some(Frame::Idle(raw)),
            (_, _, Some(start)) => Some(event(raw.clone(), raw.slice(start..))),
        }
    }

    /// Looks at the chunk up to the end of an element or of the array: how many bytes that is.
    fn scan(&mut self) -> Option<(usize, bool)> {
        let mut at = 0;
        while let Some(&byte) = self.chunk.get(at) {
            let here = self.partial.len() + at;
            at += 1;
            match (self.place, byte) {
                (Place::Between, b'[') if !self.begun => self.begun = true,
                (Place::Between, b' ' | b'\t' | b'\r' | b'\n' | b',') => {}
                // Whatever follows the array's end is idle too, one byte at a time.
                (Place::Between, b']') => return Some((at, false)),
                (Place::Between, byte) => {
                    self.start = Some(here);
                    self.place = match byte {
                        b'{' | b'[' => Place::Nested(1),
                        b'"' => Place::String(0),
                        _ => Place::Word,
                    };
                }
                (Place::Nested(depth), b'{' | b'[') => self.place = Place::Nested(depth + 1),
                (Place::Nested(1), b'}' | b']') => return Some((at, true)),
                (Place::Nested(depth), b'}' | b']') => self.place = Place::Nested(depth - 1),
                (Place::Nested(depth), b'"') => self.place = Place::String(depth),
                (Place::String(depth), b'\\') => self.place = Place::Escape(depth),
                (Place::String(0), b'"') => return Some((at, true)),
                (Place::String(depth), b'"') => self.place = Place::Nested(depth),
                (Place::Escape(depth), _) => self.place = Place::String(depth),
                (Place::Word, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') => return Some((at - 1, true)),
                (Place::Nested(_) | Place::String(_) | Place::Word, _) => {
                    at += self.uneventful(at);
                }
            }
        }
        None
    }

    /// How many bytes from here on change nothing.
    fn uneventful(&self, at: usize) -> usize {
        let rest = &self.chunk[at..];
        match self.place {
            Place::String(_) => memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len()),
            _ => 0,
        }
    }

    /// What was kept and so many bytes of the chunk; without a copy if nothing was kept.
    fn take(&mut self, length: usize) -> Bytes {
        if self.partial.is_empty() {
            return self.chunk.split_to(length);
        }
        self.append(length);
        mem::take(&mut self.partial).freeze()
    }

    fn append(&mut self, length: usize) {
        self.partial.extend_from_slice(&self.chunk.split_to(length));
    }

    fn check(&self, length: usize) -> Result<(), EventTooLarge> {
        let limit = self.max_event_bytes;
        if self.partial.len() + length > limit { Err(EventTooLarge { limit }) } else { Ok(()) }
    }

    fn step(&mut self) -> Result<Option<Frame>, EventTooLarge> {
        match self.scan() {
            None => {
                self.check(self.chunk.len())?;
                self.append(self.chunk.len());
                Ok(None)
            }
            Some((length, is_element)) => {
                self.check(length)?;
                self.place = Place::Between;
                let raw = self.take(length);
                let start = self.start.take().filter(|_| is_element);
                Ok(Some(match start {
                    Some(start) => event(raw.clone(), raw.slice(start..)),
                    None => Frame::Idle(raw),
                }))
            }
        }
    }
}

impl Iterator for Decoder {
    type Item = Result<Frame, EventTooLarge>;

    /// The next frame that is complete, or `None` if there is none in what was pushed so far.
    ///
    /// # Errors
    /// [`EventTooLarge`], once; from then on the decoder gives `None`.
    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.is_empty() || self.done {
            return None;
        }
        let next = self.step();
        if next.is_err() {
            self.done = true;
            self.chunk = Bytes::new();
            self.partial = BytesMut::new();
        }
        next.transpose()
    }
}

// ===== impl Encoder =====

impl Encoder {
    /// Appends an element, which is JSON, and what stands in front of it.
    pub fn element(&mut self, out: &mut Vec<u8>, json: &[u8]) {
        out.reserve(json.len() + 3);
        if self.begun {
            out.extend_from_slice(b",\r\n");
        }
        self.piece(out, json);
    }

    /// Appends a piece of the element that was begun last, or of the first.
    pub fn piece(&mut self, out: &mut Vec<u8>, json: &[u8]) {
        if !self.begun {
            out.push(b'[');
            self.begun = true;
        }
        out.extend_from_slice(json);
    }

    /// Appends the end of the array. What is written then is another one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.piece(out, b"]");
        self.begun = false;
    }
}

const fn event(raw: Bytes, data: Bytes) -> Frame {
    Frame::Event(Event { raw, name: None, data })
}
