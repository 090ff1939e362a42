//! A string that stays as it stands in JSON until somebody has to read it.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::read::expected;

/// A string of a JSON document: its content as escaped there, or plain. What is only handed on is never decoded, encoded or copied:
/// a 300 KB prompt crosses a translation as one slice.
///
/// Equality is that of the decoded strings.
#[derive(Clone)]
pub struct Text<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    /// The bytes between the quotes of a JSON string.
    Escaped(&'a str),
    Plain(Cow<'a, str>),
}

// ===== impl Text =====

impl<'a> Text<'a> {
    /// The string that `json`, a JSON string with its quotes, stands for.
    #[must_use]
    pub fn from_json(json: &'a str) -> Option<Self> {
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        Some(Self(Repr::Escaped(inner)))
    }

    /// The decoded string; borrowed unless it holds escapes. Half a surrogate pair, which only a provider's bytes can still hold here,
    /// becomes U+FFFD.
    #[must_use]
    pub fn decode(&self) -> Cow<'a, str> {
        match &self.0 {
            Repr::Plain(text) => text.clone(),
            Repr::Escaped(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
            Repr::Escaped(inner) => Cow::Owned(unescape(inner)),
        }
    }

    /// The bytes between the quotes of the document that it was read from, if it was read from one.
    #[must_use]
    pub fn as_written(&self) -> Option<&'a str> {
        match &self.0 {
            Repr::Escaped(inner) => Some(inner),
            Repr::Plain(_) => None,
        }
    }

    /// Whether it is the empty string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is empty or white space alone.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let blank = |byte: &u8| byte.is_ascii_whitespace();
        match &self.0 {
            Repr::Plain(text) => text.bytes().all(|byte| blank(&byte)),
            // Of an escape, the backslash is passed over and the letter behind it has to be one that stands for white space.
            Repr::Escaped(inner) => inner
                .as_bytes()
                .iter()
                .scan(false, |escape, byte| {
                    let fits = if *escape { matches!(byte, b'n' | b't' | b'r' | b'f') } else { blank(byte) };
                    *escape = !*escape && *byte == b'\\';
                    Some(fits || *escape)
                })
                .all(|fits| fits),
        }
    }

    /// Its length in bytes as it stands: a measure of content, not of the decoded string.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Escaped(inner) => inner.len(),
            Repr::Plain(text) => text.len(),
        }
    }

    /// The first byte that is no white space, as it stands: a backslash where that is an escape.
    pub(crate) fn first(&self) -> Option<u8> {
        let text = match &self.0 {
            Repr::Escaped(inner) => inner,
            Repr::Plain(text) => &**text,
        };
        text.trim_ascii_start().bytes().next()
    }

    /// The same string with a lifetime of its own.
    #[must_use]
    pub fn into_owned(self) -> Text<'static> {
        Text(Repr::Plain(Cow::Owned(self.decode().into_owned())))
    }

    /// Splits a string that holds no escapes, without a copy; decodes it first when it does.
    #[must_use]
    pub fn split_once(&self, separator: char) -> Option<(Self, Self)> {
        let wrap = |text: &'a str| Self(Repr::Plain(Cow::Borrowed(text)));
        match self.decode() {
            Cow::Borrowed(text) => text.split_once(separator).map(|(a, b)| (wrap(a), wrap(b))),
            Cow::Owned(text) => {
                text.split_once(separator).map(|(a, b)| (a.to_owned().into(), b.to_owned().into()))
            }
        }
    }

    /// What stands behind a prefix of plain letters, if it begins with that.
    #[must_use]
    pub fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        Some(Self(match &self.0 {
            Repr::Escaped(inner) => Repr::Escaped(inner.strip_prefix(prefix)?),
            Repr::Plain(Cow::Borrowed(text)) => Repr::Plain(Cow::Borrowed(text.strip_prefix(prefix)?)),
            Repr::Plain(Cow::Owned(text)) => Repr::Plain(Cow::Owned(text.strip_prefix(prefix)?.to_owned())),
        }))
    }

    /// This string and, behind it, another.
    #[must_use]
    pub fn join(&self, next: &Self) -> Self {
        format!("{}{}", self.decode(), next.decode()).into()
    }

    /// Puts another string behind this one, which is copied no more often than a string that grows.
    pub(crate) fn push(&mut self, next: &Text<'_>) {
        let mut all = match std::mem::replace(&mut self.0, Repr::Plain(Cow::Borrowed(""))) {
            Repr::Plain(text) => text.into_owned(),
            escaped @ Repr::Escaped(_) => Self(escaped).decode().into_owned(),
        };
        all.push_str(&next.decode());
        self.0 = Repr::Plain(Cow::Owned(all));
    }

    /// Strings behind each other, with this between them. One alone stays as it stands.
    pub(crate) fn joined(mut texts: impl Iterator<Item = Self>, between: &str) -> Option<Self> {
        let mut all = texts.next()?;
        for text in texts {
            if !between.is_empty() {
                all.push(&between.into());
            }
            all.push(&text);
        }
        Some(all)
    }

    /// Writes it as a JSON string without the quotes.
    pub fn write_inner(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Repr::Escaped(inner) => out.extend_from_slice(inner.as_bytes()),
            Repr::Plain(text) => {
                let start = out.len();
                ziggurat_core::json::write_string(out, text);
                out.pop();
                out.remove(start);
            }
        }
    }

    /// Writes it as a JSON string.
    pub fn write(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Repr::Escaped(inner) => {
                out.push(b'"');
                out.extend_from_slice(inner.as_bytes());
                out.push(b'"');
            }
            Repr::Plain(text) => ziggurat_core::json::write_string(out, text),
        }
    }
}

fn unescape(inner: &str) -> String {
    let quoted = format!("\"{inner}\"");
    serde_json::from_str(&quoted).unwrap_or_else(|_| {
        // Bytes with lone surrogates are lossy text; serde_json reads them as bytes.
        let bytes: Vec<u8> = serde_json::from_str::<ByteBuf>(&quoted).map(|buf| buf.0).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

struct ByteBuf(Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteBuf;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ByteBuf, E> {
                Ok(ByteBuf(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Repr::Plain(Cow::Borrowed(text)))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Repr::Plain(Cow::Owned(text)))
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Self::from_json(raw.get()).ok_or_else(|| expected("a string", raw.get()))
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Escaped(a), Repr::Escaped(b)) if a == b => true,
            _ => self.decode() == other.decode(),
        }
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        match &self.0 {
            Repr::Escaped(inner) if !inner.contains('\\') => *inner == other,
            _ => self.decode() == other,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decode().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lone_surrogate_reads_as_a_replacement() {
        let text = Text::from_json(r#""a\ud800b""#).expect("is a string");
        assert_eq!(text.decode(), "a\u{FFFD}\u{FFFD}\u{FFFD}b");
    }

    #[test]
    fn blank_is_white_space_alone() {
        for (json, blank) in [
            (r#""""#, true),
            (r#"" \n\t\r ""#, true),
            (r#""\\n""#, false),
            (r#"" n""#, false),
            (r#""\u0020""#, false),
        ] {
            assert_eq!(Text::from_json(json).map(|text| text.is_blank()), Some(blank), "{json}");
        }
        assert!(Text::from(" \n").is_blank() && !Text::from("n").is_blank());
    }

    #[test]
    fn the_first_byte_that_is_no_white_space_is_told_as_it_stands() {
        for (json, first) in
            [(r#"" {}""#, Some(b'{')), (r#""\n{}""#, Some(b'\\')), (r#""a{""#, Some(b'a')), (r#""  ""#, None)]
        {
            assert_eq!(Text::from_json(json).map(|text| text.first()), Some(first), "{json}");
        }
        assert_eq!(Text::from("\n{").first(), Some(b'{'));
    }

    #[test]
    fn splits_with_and_without_escapes() {
        let (a, b) = Text::from_json(r#""data:x;base64,AA\/B""#)
            .expect("is a string")
            .split_once(',')
            .expect("splits");
        assert!(a == *"data:x;base64" && b == *"AA/B");
    }

    proptest! {
        #[test]
        fn writes_what_it_read(text: String) {
            let json = serde_json::to_string(&text).expect("serialises");
            let read: Text<'_> = serde_json::from_str(&json).expect("reads");
            prop_assert_eq!(read.decode(), &*text);
            for form in [read, Text::from(&*text)] {
                let mut out = Vec::new();
                form.write(&mut out);
                prop_assert_eq!(&out, json.as_bytes());
                out.clear();
                form.write_inner(&mut out);
                prop_assert_eq!(&out, &json.as_bytes()[1..json.len() - 1]);
            }
        }
    }
}
