//! Reading JSON objects in one pass, keeping what is not known.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use serde_json::value::RawValue;
use ziggurat_core::json::{Cursor, Fault};

use crate::Text;

/// Members of an object that no codec knows, in their order: name and raw value.
pub type Extra<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// A document that cannot be read, with the field that is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed {
    /// What is wrong.
    pub message: String,
    /// Where, as `messages[0].content`; empty when it is the whole document.
    pub path: String,
}

// ===== impl Malformed =====

impl Malformed {
    pub(crate) fn new(message: impl Into<String>, path: impl Into<String>) -> Self {
        Self { message: message.into(), path: path.into() }
    }

    /// Prefixes the path with where the document it speaks of stands.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{outer}{separator}{}", self.path);
        self
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "`{}`: {}", self.path, self.message),
        }
    }
}

impl std::error::Error for Malformed {}

/// Reads a document, naming the place where it is not what it should be.
pub(crate) fn document<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(json).map_err(|error| {
        let line_start: usize =
            json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let offset = (line_start + error.column()).saturating_sub(1);
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Malformed { message, path: path_at(json, offset) }
    })
}

/// The path of the innermost member or element that holds the byte at `offset`.
fn path_at(json: &str, offset: usize) -> String {
    let mut path = String::new();
    let mut cursor = Cursor::new(json);
    let _: Result<(), Fault> = descend(&mut cursor, offset, &mut path);
    path
}

fn descend(cursor: &mut Cursor<'_>, offset: usize, path: &mut String) -> Result<(), Fault> {
    let holds = |cursor: &mut Cursor<'_>| -> Result<bool, Fault> {
        let mut ahead = *cursor;
        let start = ahead.offset();
        let end = start + ahead.value()?.len();
        Ok((start..=end).contains(&offset))
    };
    match cursor.peek() {
        b'{' => cursor.object(|key, cursor| {
            if holds(cursor)? {
                let name = serde_json::from_str::<Cow<'_, str>>(key).unwrap_or_default();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&name);
                descend(cursor, offset, path)?;
            }
            Ok(())
        }),
        b'[' => cursor.array(|index, cursor| {
            if holds(cursor)? {
                path.push_str(&format!("[{index}]"));
                descend(cursor, offset, path)?;
            }
            Ok(())
        }),
        _ => cursor.value().map(drop),
    }
}

/// A member name, borrowed unless it is written with escapes.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Declares an object as it stands on the wire: every member optional (`null` is absent), unknown members kept in `extra`. One pass,
/// nothing buffered, unlike serde's `flatten`.
macro_rules! wire_object {
    ($($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ty = $key:literal,)* })+) => {$(
        $(#[$meta])*
        #[derive(Default)]
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: Option<$type>,)*
            pub(crate) extra: $crate::read::Extra<'a>,
        }

        impl<'a> serde::Deserialize<'a> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor;
                impl<'a> serde::de::Visitor<'a> for ObjectVisitor {
                    type Value = $name<'a>;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'a>>(self, mut map: A) -> Result<$name<'a>, A::Error> {
                        let mut object = $name::default();
                        while let Some($crate::read::Key(key)) = map.next_key()? {
                            match &*key {
                                $($key => object.$field = map.next_value()?,)*
                                _ => object.extra.push((key, map.next_value()?)),
                            }
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(ObjectVisitor)
            }
        }
    )+};
}

pub(crate) use wire_object;

/// A value that is either a string or a list of `T`.
pub(crate) enum StringOr<'a, T> {
    String(Text<'a>),
    List(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for StringOr<'de, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By its first byte, so that a string stays a slice of the document.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        match Text::from_json(raw) {
            Some(text) => Ok(Self::String(text)),
            None => serde_json::from_str(raw).map(Self::List).map_err(|error| {
                let text = error.to_string();
                D::Error::custom(text.split(" at line ").next().unwrap_or(&text))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    wire_object! {
        struct Probe { name: Text<'a> = "name", list: Vec<Probe<'a>> = "list", }
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        let probe: Probe<'_> = document(r#"{"x":[1, 2],"name":"n","list":null,"\u0079":0}"#).expect("reads");
        assert_eq!(probe.name, Some("n".into()));
        assert!(probe.list.is_none());
        let extra: Vec<_> = probe.extra.iter().map(|(name, raw)| (&**name, raw.get())).collect();
        assert_eq!(extra, [("x", "[1, 2]"), ("y", "0")]);
    }

    #[test]
    fn names_the_place_that_is_wrong() {
        let error = |json| document::<Probe<'_>>(json).err().map(|e| (e.path, e.message));
        let text = |path: &str, message: &str| Some((path.to_owned(), message.to_owned()));
        assert_eq!(error("{\"list\":[{},\n {\"name\": 5 }]}"), text("list[1].name", "expected a string"));
        assert_eq!(
            error(r#"{"list":[{},7]}"#),
            text("list[1]", "invalid type: integer `7`, expected an object")
        );
        assert_eq!(error("[]"), text("", "invalid type: sequence, expected an object"));
    }
}
