//! Walking and splicing JSON that is known to be well formed, without a tree.
//!
//! The grammar is serde_json's business ([`Call::read`](crate::Call::read) runs it over every body); this walker adds what it
//! leaves out when it skips a value (lone surrogates, depth) and finds the places where bytes are replaced.

use std::{fmt, ops::Range};

use memchr::memchr2;

/// Containers nested deeper than this are refused; the bound that serde_json sets for values it builds.
pub const MAX_DEPTH: usize = 128;

/// A position in well-formed JSON. On text that is not well formed its answers are wrong, but it neither panics nor loops.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
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
        Self { text, at: 0 }
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
        let start = self.offset();
        let bytes = self.text.as_bytes();
        let mut depth = 0;
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
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                Some(_) if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(_) => self.scalar(),
            }
            if depth == 0 {
                break;
            }
        }
        Ok(&self.text[start..self.at])
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
/// that the rest is JSON again, together with one of its commas. `None` when there is none.
#[must_use]
pub fn find_member(object: &str, path: &[&str]) -> Option<Range<usize>> {
    let (name, inner) = path.split_first()?;
    let mut cursor = Cursor::new(object);
    let mut found: Option<Range<usize>> = None;
    let mut previous_end = None;
    let mut cut_next_comma = false;
    let _: Result<(), Fault> = cursor.object(|key, cursor| {
        let start = key.as_ptr() as usize - object.as_ptr() as usize;
        if cut_next_comma {
            // The first member goes: so does the comma behind it.
            found = found.take().map(|cut| cut.start..start);
            cut_next_comma = false;
        }
        let value_start = cursor.offset();
        let value = cursor.value()?;
        let end = value_start + value.len();
        if found.is_none() && key_is(key, name) {
            if inner.is_empty() {
                cut_next_comma = previous_end.is_none();
                found = Some(previous_end.unwrap_or(start)..end);
            } else {
                found = find_member(value, inner).map(|cut| value_start + cut.start..value_start + cut.end);
            }
        }
        previous_end = Some(end);
        Ok(())
    });
    found
}

/// Whether a raw key, quotes included, is `name`; escapes in it are read.
#[must_use]
pub fn key_is(raw: &str, name: &str) -> bool {
    let plain = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    match plain.contains('\\') {
        false => plain == name,
        true => serde_json::from_str::<String>(raw).is_ok_and(|key| key == name),
    }
}

/// Writes `text` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into a vector has no way to fail.
    let _infallible = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(text: &str) -> Result<&str, Fault> {
        Cursor::new(text).value()
    }

    #[test]
    fn steps_over_any_value() {
        for value in
            ["1", "-1.5e3", "true", "null", r#""a\"b\\""#, "[]", "{}", r#"{"a":[1,{"b":"}"}],"c":"]"}"#]
        {
            assert_eq!(walk(&format!(" {value} , x")), Ok(value));
        }
    }

    #[test]
    fn lone_surrogates_are_found_and_pairs_are_not() {
        assert_eq!(walk(r#"["\ud83d\ude00"]"#), Ok(r#"["\ud83d\ude00"]"#));
        assert_eq!(walk(r#"["\ud83d"]"#), Err(Fault::LoneSurrogate { offset: 2 }));
        assert_eq!(walk(r#"["\ude00x"]"#), Err(Fault::LoneSurrogate { offset: 2 }));
        assert_eq!(walk(r#"["\ud83d\u0041"]"#), Err(Fault::LoneSurrogate { offset: 2 }));
        assert_eq!(walk(r#""\\ud83d""#), Ok(r#""\\ud83d""#));
    }

    #[test]
    fn depth_is_bounded() {
        let fits = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert_eq!(walk(&fits), Ok(&*fits));
        assert_eq!(walk(&"[".repeat(100_000)), Err(Fault::TooDeep { offset: MAX_DEPTH }));
    }

    #[test]
    fn members_are_cut_with_one_comma() {
        let cut = |text: &str, path: &[&str]| {
            let mut text = text.to_owned();
            let range = find_member(&text, path)?;
            text.replace_range(range, "");
            Some(text)
        };
        assert_eq!(cut(r#"{"a":1,"b":2}"#, &["a"]).as_deref(), Some(r#"{"b":2}"#));
        assert_eq!(cut(r#"{"a":1, "b" : [2] ,"c":3}"#, &["b"]).as_deref(), Some(r#"{"a":1 ,"c":3}"#));
        assert_eq!(cut(r#"{ "a":1 }"#, &["a"]).as_deref(), Some("{  }"));
        assert_eq!(cut(r#"{"a":{"x":1,"y":2}}"#, &["a", "y"]).as_deref(), Some(r#"{"a":{"x":1}}"#));
        assert_eq!(cut(r#"{"\u0061":1,"b":2}"#, &["a"]).as_deref(), Some(r#"{"b":2}"#));
        assert_eq!(cut(r#"{"a":1}"#, &["b"]), None);
        assert_eq!(cut(r#"{"a":1}"#, &["a", "b"]), None);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-d\"\\\\]{0,3}", inner, 0..4)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn walks_whatever_serde_json_writes(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("serialises");
            prop_assert_eq!(walk(&text), Ok(&*text));
        }

        #[test]
        fn a_cut_removes_exactly_that_member(value in json(), pretty: bool) {
            let serde_json::Value::Object(mut map) = value else { return Ok(()) };
            let text = if pretty { serde_json::to_string_pretty(&map) } else { serde_json::to_string(&map) };
            let text = text.expect("serialises");
            for key in map.clone().keys() {
                let mut rest = text.clone();
                rest.replace_range(find_member(&text, &[key]).expect("is there"), "");
                let removed = map.remove(key).expect("was there");
                prop_assert_eq!(serde_json::from_str::<serde_json::Map<_, _>>(&rest).expect("is JSON"), map.clone());
                map.insert(key.clone(), removed);
            }
        }

        #[test]
        fn never_panics_nor_hangs_on_other_text(text in "\\PC{0,60}|[\\[\\]{}\":,\\\\u0-9d ]{0,60}") {
            let _ = walk(&text);
            let _ = find_member(&text, &["a"]);
        }
    }
}
