//! `multipart/form-data`, cut into its parts as it comes ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578),
//! [RFC 2046](https://www.rfc-editor.org/rfc/rfc2046#section-5.1)).
//!
//! Nothing is lost: the bytes of all items, put together, are the input. What one reader could take for another form than the next one
//! does (words ahead of the first boundary or behind the last, a boundary that does not begin its line or goes on in it, names in escapes) is refused: a
//! provider is not to find another model in a form than the layers did.

mod head;

use std::mem;

use bytes::Bytes;
use memchr::{memchr, memmem, memrchr};

pub(crate) use self::head::Part;

/// A piece of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The boundary ahead of a part, and the part's head.
    Part(Bytes, Part),
    /// What is in the part, or some of it.
    Content(Bytes),
    /// The boundary that ends the form, or what is behind it: blanks.
    End(Bytes),
}

/// Why bytes are no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) &'static str);

/// Cuts a form into [`Item`]s: [`push`](Self::push) a chunk, take items until there is none, and so on.
///
/// Contents are slices of what was pushed. Held is the chunk pushed last, and of earlier ones what may be the beginning of a boundary, or
/// a head that is not whole.
pub(crate) struct Scanner {
    /// What stands between two parts, a line's end first: no other carriage return is in it.
    delimiter: Box<[u8]>,
    /// Finds it without the line's end.
    finder: memmem::Finder<'static>,
    at: At,
    chunk: Bytes,
    /// What was taken of earlier chunks and not told yet.
    kept: Vec<u8>,
    /// The end of the content that was told, shorter than a boundary: one may be cut in two.
    tail: Vec<u8>,
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In front of the first boundary.
    Start,
    /// Behind a boundary, which is `kept` up to here.
    Head(usize),
    Content,
    /// Behind the last boundary.
    End,
}

// ===== impl Scanner =====

impl Scanner {
    /// For a form of this boundary.
    pub(crate) fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes().into_boxed_slice();
        let finder = memmem::Finder::new(&delimiter[2..]).into_owned();
        let (chunk, kept, tail) = (Bytes::new(), Vec::new(), Vec::new());
        Self { delimiter, finder, at: At::Start, chunk, kept, tail, parts: 0 }
    }

    /// Adds what has come; to be called when there is no item left of what came before.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// The next piece; none until more has come.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Fault> {
        loop {
            let at = self.at;
            let told = match at {
                At::Start => self.start()?,
                At::Head(boundary) => self.head(boundary)?,
                At::Content => self.content()?,
                At::End => self.end()?,
            };
            if told.is_some() || self.at == at {
                return Ok(told);
            }
        }
    }

    /// How many bytes were pushed and not told yet.
    pub(crate) fn untold(&self) -> usize {
        self.kept.len() + self.chunk.len()
    }

    /// The input has ended: whether the form has, too.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        if self.at == At::End { Ok(()) } else { Err(Fault("it ends before its last boundary")) }
    }

    /// Takes the first boundary, which has no line's end in front of it.
    fn start(&mut self) -> Result<Option<Item>, Fault> {
        let missing = &self.delimiter[2 + self.kept.len()..];
        let length = missing.len().min(self.chunk.len());
        if self.chunk[..length] != missing[..length] {
            return Err(Fault("it does not begin with its boundary"));
        }
        if length == missing.len() {
            self.at = At::Head(self.delimiter.len() - 2);
        }
        self.kept.extend_from_slice(&self.chunk.split_to(length));
        Ok(None)
    }

    /// Takes the rest of a boundary's line, and the head of a part behind it.
    fn head(&mut self, boundary: usize) -> Result<Option<Item>, Fault> {
        let known = self.kept.len();
        let room = (boundary + MAX_HEAD).saturating_sub(known);
        self.kept.extend_from_slice(&self.chunk[..room.min(self.chunk.len())]);
        let behind = &self.kept[boundary..];
        if behind.starts_with(b"--") {
            self.settle(known, boundary + 2);
            self.at = At::End;
            return Ok(Some(Item::End(mem::take(&mut self.kept).into())));
        }
        // A blank line: where it ends in this chunk, it begins at most three bytes ahead of it.
        let from = known.saturating_sub(3).max(boundary);
        let Some(end) = memmem::find(&self.kept[from..], b"\r\n\r\n") else {
            let line = memchr(b'\r', behind).unwrap_or(behind.len());
            if !is_blank(&behind[..line]) && behind != b"-" {
                return Err(Fault("a boundary is followed by something else than the end of its line"));
            }
            if self.kept.len() - boundary >= MAX_HEAD {
                return Err(Fault("the head of a part is longer than 16 KiB"));
            }
            self.chunk = Bytes::new();
            return Ok(None);
        };
        self.settle(known, from + end + 4);
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Fault("it has more than 1000 parts"));
        }
        if self.finder.find(&self.kept[boundary..]).is_some() {
            return Err(STRAY);
        }
        let part = Part::read(&self.kept[boundary..])?;
        self.at = At::Content;
        self.tail.clear();
        Ok(Some(Item::Part(mem::take(&mut self.kept).into(), part)))
    }

    /// Gives back what was taken of the chunk beyond `length` bytes of `kept`, of which `known` came before.
    fn settle(&mut self, known: usize, length: usize) {
        self.kept.truncate(length);
        self.chunk = self.chunk.split_off(length.saturating_sub(known));
    }

    /// Takes content up to a boundary, and the boundary. One that does not begin its line is refused: there are those who see it all the
    /// same.
    fn content(&mut self) -> Result<Option<Item>, Fault> {
        if !self.kept.is_empty() {
            // What was kept can only be the beginning of a boundary at its own first byte.
            let missing = &self.delimiter[self.kept.len()..];
            let length = missing.len().min(self.chunk.len());
            if self.chunk[..length] != missing[..length] {
                let content = Bytes::from(mem::take(&mut self.kept));
                self.note(&content);
                return Ok(Some(Item::Content(content)));
            }
            if length == missing.len() {
                self.at = At::Head(self.delimiter.len());
            }
            self.kept.extend_from_slice(&self.chunk.split_to(length));
            return Ok(None);
        }
        if self.ends_one() {
            return Err(STRAY);
        }
        let (end, length) = match self.finder.find(&self.chunk) {
            Some(at) => {
                self.at = At::Head(self.delimiter.len());
                let content = self.chunk[..at].strip_suffix(b"\r\n").ok_or(STRAY)?;
                (content.len(), self.delimiter.len())
            }
            None => {
                let end = memrchr(b'\r', &self.chunk).unwrap_or(self.chunk.len());
                match self.delimiter.starts_with(&self.chunk[end..]) {
                    true => (end, self.chunk.len() - end),
                    false => (self.chunk.len(), 0),
                }
            }
        };
        let content = self.chunk.split_to(end);
        self.kept.extend_from_slice(&self.chunk.split_to(length));
        self.note(&content);
        Ok((!content.is_empty()).then_some(Item::Content(content)))
    }

    /// Whether the chunk ends a boundary that began in content which was told.
    fn ends_one(&self) -> bool {
        let most = (self.delimiter.len() - 3).min(self.chunk.len());
        !self.tail.is_empty() && self.finder.find(&[&self.tail, &self.chunk[..most]].concat()).is_some()
    }

    /// Keeps the end of content that is told.
    fn note(&mut self, content: &[u8]) {
        let most = self.delimiter.len() - 3;
        self.tail.extend_from_slice(&content[content.len().saturating_sub(most)..]);
        let beyond = self.tail.len().saturating_sub(most);
        self.tail.drain(..beyond);
    }

    fn end(&mut self) -> Result<Option<Item>, Fault> {
        let blanks = mem::take(&mut self.chunk);
        if !blanks.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            return Err(Fault("something stands behind its last boundary"));
        }
        Ok((!blanks.is_empty()).then_some(Item::End(blanks)))
    }
}

// ===== impl Item =====

impl Item {
    /// Its bytes.
    pub(crate) fn raw(&self) -> &Bytes {
        match self {
            Self::Part(raw, _) | Self::Content(raw) | Self::End(raw) => raw,
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t'))
}

const STRAY: Fault = Fault("its boundary stands within a line");

/// Most bytes of a boundary's line and the head behind it.
const MAX_HEAD: usize = 16 << 10;

/// Most parts of a form.
const MAX_PARTS: usize = 1000;

#[cfg(test)]
mod tests;
