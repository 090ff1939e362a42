//! Reading JSON objects in one pass, keeping what is not known.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use serde_json::value::RawValue;
use ziggurat_core::{
    Tier,
    json::{Cursor, Fault},
};

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
        let alone = outer.is_empty() || self.path.is_empty() || self.path.starts_with('[');
        let separator = if alone { "" } else { "." };
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
    serde_json::from_str(json).map_err(|error| malformed(json, &error))
}

#[cold]
fn malformed(json: &str, error: &serde_json::Error) -> Malformed {
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
    let inner = text.strip_prefix(INNER).and_then(|rest| rest.split_once(concat!("\u{1}", "\u{1}")));
    let Some((keys, message)) = inner else {
        // The whole document is of the wrong kind, or an element of a list that stands alone.
        return Malformed::new(text, path_at(json, error, &[], text));
    };
    let keys: Vec<&str> = keys.split(INNER).collect();
    Malformed::new(message, path_at(json, error, &keys, message))
}

/// Adds the name of the member in which an error was met: in front of its message, where no message of serde's has such a character.
#[cold]
pub(crate) fn in_member<E: Error>(key: &str, error: &E) -> E {
    let text = error.to_string();
    let separator = if text.starts_with(INNER) { "" } else { concat!("\u{1}", "\u{1}") };
    E::custom(format_args!("{INNER}{key}{separator}{text}"))
}

const INNER: char = '\u{1}';

/// Stands before a path that is whole already.
const WHOLE: char = '=';

/// The path along `keys`, members of objects; which element of a list is to blame tells the place that serde_json names. That is behind the
/// value, or behind the list or object whose last element or member it is.
fn path_at(json: &str, error: &serde_json::Error, keys: &[&str], message: &str) -> String {
    let line_start: usize =
        json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut path = String::new();
    let mut cursor = Cursor::new(json);
    // serde_json blames a list or an object ahead of it, and a custom error may stand at the next element.
    let ahead = ["map", "sequence"].iter().any(|kind| message.starts_with(&format!("invalid type: {kind}")));
    let offset = (line_start + error.column()).saturating_sub(usize::from(!ahead));
    let is_list = message.starts_with("invalid type: sequence") || message.ends_with(NO_LIST);
    let _: Result<(), Fault> = descend(&mut cursor, offset, keys, is_list, &mut path);
    path
}

fn descend(
    cursor: &mut Cursor<'_>,
    offset: usize,
    keys: &[&str],
    is_list: bool,
    path: &mut String,
) -> Result<(), Fault> {
    if let Some(whole) = keys.first().and_then(|key| key.strip_prefix(WHOLE)) {
        *path = Malformed::new("", whole).within(path).path;
        return Ok(());
    }
    let mut found = None;
    match (cursor.peek(), keys) {
        (b'{', [key, rest @ ..]) => {
            cursor.object(|name, cursor| {
                if serde_json::from_str::<Cow<'_, str>>(name).is_ok_and(|name| name == *key) {
                    found = Some((*cursor, rest));
                }
                Ok(())
            })?;
            *path = Malformed::new("", *key).within(path).path;
        }
        (b'[', keys) if !(is_list && keys.is_empty()) => {
            let mut element = 0;
            cursor.array(|index, cursor| {
                if cursor.offset() <= offset {
                    (found, element) = (Some((*cursor, keys)), index);
                }
                Ok(())
            })?;
            path.push_str(&format!("[{element}]"));
        }
        _ => {}
    }
    match found {
        Some((mut cursor, keys)) => descend(&mut cursor, offset, keys, is_list, path),
        None => Ok(()),
    }
}

/// How a message ends that blames a list for being one.
const NO_LIST: &str = ", not a list";

/// What is said of a value that is not what was expected.
pub(crate) fn expected<E: Error>(what: &str, json: &str) -> E {
    E::custom(format_args!("expected {what}{}", if json.starts_with('[') { NO_LIST } else { "" }))
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
                                $($key => match map.next_value() {
                                    Ok(value) => object.$field = value,
                                    Err(error) => return Err($crate::read::in_member::<A::Error>($key, &error)),
                                },)*
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

/// Whether a string is an absolute http or https URL with a host, as far as its beginning tells.
pub(crate) fn is_http_url(text: &str) -> bool {
    let scheme = |name: &str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    let rest = ["https://", "http://"].iter().find(|name| scheme(name)).map(|name| &text[name.len()..]);
    rest.is_some_and(|rest| !rest.starts_with(['/', '?', '#']) && !rest.is_empty())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

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
            None if !raw.starts_with('[') => Err(expected("a string or a list", raw)),
            None => document(raw).map(Self::List).map_err(|error| {
                D::Error::custom(format_args!("{INNER}{WHOLE}{}{INNER}{INNER}{}", error.path, error.message))
            }),
        }
    }
}

/// A value that is an object, kept as it stands: a schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unread<'a>(pub(crate) &'a RawValue);

impl<'de> Deserialize<'de> for Unread<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        match raw.get().starts_with('{') {
            true => Ok(Self(raw)),
            false => Err(expected("an object", raw.get())),
        }
    }
}

/// A whole number in a caller's document, also one that is written as a float: `7`, `7.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        match whole(text) {
            Some(number) => Ok(Self(number)),
            None => Err(expected("a whole number of at least 0", text)),
        }
    }
}

/// The service tier that an answer names, of its member's JSON; `auto` is what was asked, not what was served.
pub(crate) fn served_tier(json: &str) -> Option<Tier> {
    Tier::new(&Text::from_json(json)?.decode()).filter(|tier| tier.as_str() != "auto")
}

/// Where OpenAI's answers name it.
pub(crate) const TIER: &str = "service_tier";

/// A number from a provider, which is untrusted: what is no number, below zero or out of range was not stated, as a zero would be a
/// statement; a fraction is rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let fraction = || text.parse::<f64>().ok().filter(|_| text.ends_with(|c: char| c.is_ascii_digit()));
        Ok(Self(match text.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                fraction().filter(|number| (0.0..EXACT).contains(number)).map(|number| number.ceil() as u64)
            }
        }))
    }
}

/// A stated count.
pub(crate) fn stated(count: Option<Count>) -> Option<u64> {
    count.and_then(|count| count.0)
}

/// Two counts together, as far as they were stated.
pub(crate) fn both(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one.saturating_add(other)).or(one).or(other)
}

/// Whether something stands where a count should, and is none.
pub(crate) fn is_invalid(count: Option<Count>) -> bool {
    count.is_some_and(|count| count.0.is_none())
}

fn whole(text: &str) -> Option<u64> {
    let float = || text.parse::<f64>().ok().filter(|n| (0.0..EXACT).contains(n) && n.fract() == 0.0);
    let json_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    json_number.then(|| text.parse().ok().or_else(|| float().map(|number| number as u64))).flatten()
}

/// From here on, a float no longer tells whole numbers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

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
        assert_eq!(error("[1]"), text("", "invalid type: sequence, expected an object"));
        assert_eq!(error(r#"{"list":[{"name":5}]}"#), text("list[0].name", "expected a string"));
        assert_eq!(
            error(r#"{"list":[{"name":[5]},{}]}"#),
            text("list[0].name", "expected a string, not a list")
        );
        assert_eq!(
            error(r#"{"list":[{},{"list":[{"name":{}}]}]}"#),
            text("list[1].list[0].name", "expected a string")
        );
        assert_eq!(error(r#"{"list": {"a":1}}"#), text("list", "invalid type: map, expected a sequence"));
    }

    #[test]
    fn names_the_place_within_a_value_of_two_kinds() {
        wire_object! { struct Strings { it: StringOr<'a, Text<'a>> = "it", them: Vec<Text<'a>> = "them", } }
        wire_object! { struct Either { it: StringOr<'a, Probe<'a>> = "it", inner: Vec<Either<'a>> = "inner", } }
        let error = |json| document::<Either<'_>>(json).err().map(|e| (e.path, e.message));
        let text = |path: &str, message: &str| Some((path.to_owned(), message.to_owned()));
        let strings = |json| document::<Strings<'_>>(json).err().map(|e| (e.path, e.message));
        assert_eq!(strings(r#"{"it":["a",5]}"#), text("it[1]", "expected a string"));
        assert_eq!(strings(r#"{"it":["a"],"them":["b", 5 , "c"] }"#), text("them[1]", "expected a string"));
        assert_eq!(strings(r#"{"them":["b",[5]]}"#), text("them", "expected a string, not a list"));
        assert_eq!(error(r#"{"it":[{"name":"n"},{"name":1}]}"#), text("it[1].name", "expected a string"));
        assert_eq!(error(r#"{"inner":[{"it":5}]}"#), text("inner[0].it", "expected a string or a list"));
        assert_eq!(
            error(r#"{"inner":[{"it":[1,2]}], "it":"x"}"#),
            text("inner[0].it[0]", "invalid type: integer `1`, expected an object")
        );
    }

    #[test]
    fn callers_numbers_are_whole_and_providers_are_taken_as_they_come() {
        let whole = |json| serde_json::from_str::<Whole>(json).ok().map(|n| n.0);
        for (json, number) in
            [("7", 7), ("7.0", 7), ("1e3", 1000), ("0", 0), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(whole(json), Some(number), "{json}");
        }
        for json in ["-1", "7.5", "1e300", "\"7\"", "true", "[]"] {
            assert_eq!(whole(json), None, "{json}");
        }
        let count = |json| serde_json::from_str::<Count>(json).ok().and_then(|n| n.0);
        for (json, number) in [("7", 7), ("-0", 0), ("12.1", 13)] {
            assert_eq!(count(json), Some(number), "{json}");
        }
        for json in ["-3", "-0.5", "1e300", "18446744073709551616", "\"7\"", "{}", "true"] {
            assert_eq!(count(json), None, "{json}");
        }
    }
}
