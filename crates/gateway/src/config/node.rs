//! A YAML document as a tree in which each node knows its position and its dotted path.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

use super::diagnostic::Position;

/// A value with its place. It has no `Debug`, as it may hold a secret.
pub(super) struct Node {
    /// Where the value stands; for one that came through an alias or `<<`, where it was written.
    pub(super) at: Position,
    /// The keys and indices that lead here.
    pub(super) path: String,
    /// The value.
    pub(super) value: Value,
    /// Whether the value was read from an environment variable.
    pub(super) from_env: bool,
    /// Where a number was written in its file's text, in bytes.
    pub(super) span: Option<Range<usize>>,
    /// A number as it was written, where that is known: amounts of money are not to go through a float.
    pub(super) written: Option<Box<str>>,
}

/// What YAML can say.
pub(super) enum Value {
    /// Nothing, or `null`.
    Null,
    /// A reference to a variable that is not set; reported once, where it stands.
    Missing,
    /// `true`, `yes`, `on` and their opposites.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<Entry>),
}

/// A key with its value.
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) at: Position,
    /// The value.
    pub(super) node: Node,
}

// ===== impl Node =====

impl Node {
    /// An empty document.
    pub(super) fn empty(file: &str) -> Self {
        let at = Position { file: Arc::from(file), line: 1, column: 1 };
        Self { at, path: String::new(), value: Value::Null, from_env: false, span: None, written: None }
    }

    /// Keeps the numbers of this node and all below it as they are written in `text`, the whole text of their file.
    pub(super) fn keep_numbers(&mut self, text: &str) {
        match &mut self.value {
            Value::Number(number) => {
                let written = self.span.take().and_then(|span| text.get(span));
                // What reads otherwise (`1_000`, `0x1F`) is left to the parser.
                self.written =
                    written.filter(|written| written.parse::<f64>().ok() == number.as_f64()).map(Box::from);
            }
            Value::List(items) => items.iter_mut().for_each(|item| item.keep_numbers(text)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| entry.node.keep_numbers(text)),
            _ => {}
        }
    }

    /// Names the file and the path in this node and all below it.
    pub(super) fn stamp(&mut self, file: &Arc<str>, path: String) {
        self.at.file = Arc::clone(file);
        match &mut self.value {
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    item.stamp(file, format!("{path}[{index}]"));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.at.file = Arc::clone(file);
                    entry.node.stamp(file, join(&path, &entry.key));
                }
            }
            _ => {}
        }
        self.path = path;
    }

    /// The value under a key of a mapping; `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let found = self.entries().iter().find(|entry| entry.key == key)?;
        (!matches!(found.node.value, Value::Null)).then_some(&found.node)
    }

    /// The entries of a mapping, none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list, none for anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The string, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, also one written as a string, as environment variables are.
    pub(super) fn flag(&self) -> Option<bool> {
        match &self.value {
            Value::Flag(flag) => Some(*flag),
            Value::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The finite number, also one written as a string, as environment variables are.
    pub(super) fn number(&self) -> Option<f64> {
        let number = match &self.value {
            Value::Number(number) => number.as_f64(),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|number| number.is_finite())
    }

    /// The number as it was written, or a string, as environment variables are: for what reads decimals exactly.
    pub(super) fn decimal(&self) -> Option<Cow<'_, str>> {
        match (&self.value, &self.written) {
            (Value::Number(_), Some(written)) => Some(Cow::Borrowed(&**written)),
            (Value::Number(number), None) => Some(Cow::Owned(number.to_string())),
            (Value::Text(text), _) => Some(Cow::Borrowed(text.trim())),
            _ => None,
        }
    }

    /// What a person calls this kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null | Value::Missing => "nothing",
            Value::Flag(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same value as JSON.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Missing => serde_json::Value::Null,
            Value::Flag(flag) => (*flag).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        let span = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
            let start = usize::try_from(start).ok()?;
            Some(start..start.checked_add(usize::try_from(length).ok()?)?)
        });
        let (at, value) = (position(&spanned), spanned.value);
        Ok(Self { at, path: String::new(), value, from_env: false, span, written: None })
    }
}

// ===== impl Value =====

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry { at: position(&key), key: key.value, node });
        }
        Ok(Value::Map(entries))
    }
}

// ===== helpers =====

fn position<T>(spanned: &Spanned<T>) -> Position {
    Position { line: spanned.defined.line(), column: spanned.defined.column(), ..Position::whole("") }
}

/// The path of a key below another path.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown(key).to_owned() } else { format!("{path}.{}", shown(key)) }
}

/// The name, if it looks like the name of a setting and not like a secret that a forgotten space turned into a key.
pub(super) fn shown(name: &str) -> &str {
    let count = |is: fn(&u8) -> bool| name.bytes().filter(is).count();
    let (digits, lower, upper) =
        (count(u8::is_ascii_digit), count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let marks = count(|byte| b"_-.".contains(byte));
    let is_word = (1..=64).contains(&name.len()) && digits + lower + upper + marks == name.len();
    let is_random = digits > 8 || (digits > 0 && lower > 0 && upper > 0);
    let is_key = name.starts_with("sk-");
    if is_word && !is_random && !is_key { name } else { "(name not shown)" }
}
