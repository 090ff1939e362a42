//! Walking and splicing JSON that is known to be well formed, without a tree.
//!
//! The grammar is serde_json's business ([`Call::read`](crate::Call::read) runs it over every body); this walker adds what it
//! leaves out when it skips a value (lone surrogates, depth) and finds the places where bytes are replaced.

use std::{borrow::Cow, fmt, ops::Range};

use memchr::memchr2;

/// Containers nested deeper than this are refused: what serde_json builds at most, so that no codec behind us refuses later.
pub const MAX_DEPTH: usize = 127;

/// A position in well-formed JSON. On text that is not well formed its answers are wrong, but it neither panics nor loops.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Containers stepped into.
    depth: usize,
}

/// A member of an object with what a cut of it must know of its neighbours; byte offsets in the text that was searched.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its key's opening quote.
    pub(crate) start: usize,
    /// Behind its value.
    pub(crate) end: usize,
    previous_end: Option<usize>,
    next_start: Option<usize>,
}

/// What is wrong with a value that is well-formed JSON all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A `\u` escape names half of a surrogate pair.
    LoneSurrogate {
        /// Byte offset of the escape.
        offset: usize,
    },
    /// Containers are nested deeper than [`MAX_DEPTH`].
    TooDeep {
        /// Byte offset of the container that is one too many.
        offset: usize,
    },
}

// ===== impl Cursor =====

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `text`.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Byte offset of the next token.
    #[must_use]
    pub fn offset(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// First byte of the next token, 0 at the end: `{`, `[`, `"`, `t`, `f`, `n`, `-` or a digit start a value.
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Steps over one value and gives its text.
    ///
    /// # Errors
    /// [`Fault`], for what the grammar allows and we do not.
    pub fn value(&mut self) -> Result<&'a str, Fault> {
        let first = self.peek();
        let start = self.at;
        if first == b'"' {
            self.string()?;
            return Ok(&self.text[start..self.at]);
        }
        let bytes = self.text.as_bytes();
        let outer = self.depth;
        let mut depth = outer;
        loop {
            match bytes.get(self.at) {
                None => break,
                Some(b'"') => self.string()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(Fault::TooDeep { offset: self.at });
                    }
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1).max(outer);
                    self.at += 1;
                }
                Some(_) if depth > outer => {
                    self.at += 1;
                    continue;
                }
                Some(_) => self.scalar(),
            }
            if depth == outer {
                break;
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// Steps over a value whose text is known to have so many bytes, without looking at it.
    pub fn skip(&mut self, bytes: usize) {
        self.peek();
        let to = self.at.saturating_add(bytes).min(self.text.len());
        if self.text.is_char_boundary(to) {
            self.at = to;
        }
    }

    /// Steps into the object that comes next and calls `member` with each raw key (quotes included), the cursor standing at its
    /// value; a value that `member` leaves alone is stepped over. Nothing happens when no object comes next.
    ///
    /// # Errors
    /// The first error of `member`, or a [`Fault`].
    pub fn object<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(&'a str, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.container(b'{', b'}', |_, cursor| {
            let key = cursor.value()?;
            if cursor.peek() == b':' {
                cursor.at += 1;
            }
            let start = cursor.offset();
            member(key, cursor)?;
            if cursor.at == start {
                cursor.value()?;
            }
            Ok(())
        })
    }

    /// Steps into the array that comes next and calls `element` with each index, the cursor standing at the element; what it
    /// leaves alone is stepped over. Nothing happens when no array comes next.
    ///
    /// # Errors
    /// The first error of `element`, or a [`Fault`].
    pub fn array<E: From<Fault>>(
        &mut self,
        mut element: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.container(b'[', b']', |index, cursor| {
            let start = cursor.offset();
            element(index, cursor)?;
            if cursor.at == start {
                cursor.value()?;
            }
            Ok(())
        })
    }

    fn container<E: From<Fault>>(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.peek() != open {
            return Ok(());
        }
        if self.depth == MAX_DEPTH {
            return Err(Fault::TooDeep { offset: self.at }.into());
        }
        self.depth += 1;
        self.at += 1;
        for index in 0.. {
            let next = self.peek();
            if next == close || next == 0 {
                break;
            }
            let before = self.at;
            item(index, self)?;
            if self.peek() == b',' || self.at == before {
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.at = (self.at + 1).min(self.text.len());
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(step) = memchr2(b'"', b'\\', &bytes[self.at..]) {
            self.at += step;
            if bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(());
            }
            self.at = match bytes.get(self.at + 1) {
                Some(b'u') => self.unicode_escape()?,
                _ => (self.at + 2).min(bytes.len()),
            };
        }
        self.at = bytes.len();
        Ok(())
    }

    /// Gives the offset behind the `\u` escape (or pair of them) that starts here.
    fn unicode_escape(&self) -> Result<usize, Fault> {
        let unit = |at: usize| {
            let escape = self.text.as_bytes().get(at..at + 6)?;
            let digits = escape.strip_prefix(b"\\u")?;
            u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        match unit(self.at) {
            Some(0xD800..=0xDBFF) if matches!(unit(self.at + 6), Some(0xDC00..=0xDFFF)) => Ok(self.at + 12),
            Some(0xD800..=0xDFFF) => Err(Fault::LoneSurrogate { offset: self.at }),
            Some(_) => Ok(self.at + 6),
            None => Ok((self.at + 2).min(self.text.len())),
        }
    }

    fn scalar(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let end =
            rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':'));
        // Always forward, so that text which is not JSON ends too.
        self.at += end.unwrap_or(rest.len()).max(1);
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
    }
}

// ===== impl Member =====

impl Member {
    fn shift(self, by: usize) -> Self {
        Self {
            start: self.start + by,
            end: self.end + by,
            previous_end: self.previous_end.map(|at| at + by),
            next_start: self.next_start.map(|at| at + by),
        }
    }
}

// ===== impl Fault =====

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoneSurrogate { offset } => write!(f, "lone surrogate in a string at byte {offset}"),
            Self::TooDeep { offset } => write!(f, "nested deeper than {MAX_DEPTH} levels at byte {offset}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Finds the bytes of the member `path` of an object, names joined from the outside in: the member whole, as it must be cut so
/// that the rest is JSON again, together with one of its commas. `None` when there is none; the first when there are several.
///
/// Two cuts of one object may overlap in a comma: [`without`] knows how to make several.
#[must_use]
pub fn find_member(object: &str, path: &[&str]) -> Option<Range<usize>> {
    let mut members = find_members(object, path);
    members.truncate(1);
    cuts(members).pop()
}

/// An object without any of the members at `paths`, which is JSON again; `None` when there are none. In one pass for each path, however
/// often a name stands in it.
#[must_use]
pub fn without(object: &str, paths: &[&[&str]]) -> Option<String> {
    let members: Vec<Member> = paths.iter().flat_map(|path| find_members(object, path)).collect();
    if members.is_empty() {
        return None;
    }
    let (mut out, mut done) = (String::with_capacity(object.len()), 0);
    for cut in cuts(members) {
        out.push_str(&object[done..cut.start]);
        done = cut.end;
    }
    out.push_str(&object[done..]);
    Some(out)
}

/// Finds every member at `path`, in order: a name that we do not know may stand more than once.
pub(crate) fn find_members(object: &str, path: &[&str]) -> Vec<Member> {
    let Some((name, inner)) = path.split_first() else { return Vec::new() };
    let mut found: Vec<Member> = Vec::new();
    let mut previous_end = None;
    let mut precedes_next = false;
    let _walked: Result<(), Fault> = Cursor::new(object).object(|key, cursor| {
        let start = key.as_ptr() as usize - object.as_ptr() as usize;
        if let (true, Some(last)) = (precedes_next, found.last_mut()) {
            last.next_start = Some(start);
        }
        let value_start = cursor.offset();
        let value = cursor.value()?;
        let end = value_start + value.len();
        let named = key_is(key, name);
        precedes_next = named && inner.is_empty();
        if precedes_next {
            found.push(Member { start, end, previous_end, next_start: None });
        } else if named {
            found.extend(find_members(value, inner).into_iter().map(|member| member.shift(value_start)));
        }
        previous_end = Some(end);
        Ok(())
    });
    found
}

/// The ranges to cut so that all of `members` go and the rest is JSON, in order and apart from each other.
pub(crate) fn cuts(mut members: Vec<Member>) -> Vec<Range<usize>> {
    members.sort_by_key(|member| (member.start, std::cmp::Reverse(member.end)));
    // Neighbours go in one cut, so that no comma is cut twice; what stands within another goes with it.
    let mut runs: Vec<Member> = Vec::new();
    for member in members {
        match runs.last_mut() {
            Some(run) if member.start < run.end => {}
            Some(run) if run.next_start == Some(member.start) => {
                (run.end, run.next_start) = (member.end, member.next_start);
            }
            _ => runs.push(member),
        }
    }
    let cut = |run: Member| match (run.previous_end, run.next_start) {
        (Some(previous_end), _) => previous_end..run.end,
        (None, Some(next_start)) => run.start..next_start,
        (None, None) => run.start..run.end,
    };
    runs.into_iter().map(cut).collect()
}

/// Whether a raw key, quotes included, is `name`; escapes in it are read.
#[must_use]
#[inline]
pub fn key_is(raw: &str, name: &str) -> bool {
    let plain = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    if plain == name {
        return !name.contains('\\');
    }
    // An escape is always longer than what it stands for.
    plain.len() > name.len()
        && plain.bytes().any(|byte| byte == b'\\')
        && serde_json::from_str::<String>(raw).is_ok_and(|key| key == name)
}

/// A raw key without its quotes; escapes in it are read. To be matched against many names: for one, [`key_is`] is there.
#[must_use]
pub fn name_of(raw: &str) -> Cow<'_, str> {
    let plain = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    match plain.contains('\\') {
        false => Cow::Borrowed(plain),
        true => serde_json::from_str(raw).map_or(Cow::Borrowed(plain), Cow::Owned),
    }
}

/// Writes `text` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into a vector has no way to fail.
    let _infallible = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests;
