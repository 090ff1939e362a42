//! JSON schemas, and the subset of OpenAPI's that Google's older models take.

mod all_of;

use std::{borrow::Cow, fmt};

use serde_json::{Map, Value, value::RawValue};
use ziggurat_core::{Dialect, percent_decoded};

use self::all_of::{NULLABLE, all_of};
use super::request::camel;

/// Whether a schema means the same to Google's `parameters` as it stands: members of the subset alone, one type each. Options have to stand
/// alone (Vertex AI: "When using any_of, it must be the only field set").
pub(super) fn fits(schema: &RawValue) -> bool {
    serde_json::from_str(schema.get()).is_ok_and(|value: Value| fits_value(&value))
}

fn fits_value(schema: &Value) -> bool {
    let Value::Object(members) = schema else { return false };
    members.iter().all(|(name, value)| match (&**name, value) {
        ("type", value) => value.is_string(),
        ("properties", Value::Object(properties)) => {
            !properties.is_empty() && properties.values().all(fits_value)
        }
        ("items", value) => fits_value(value),
        ("anyOf", Value::Array(options)) => members.len() == 1 && options.iter().all(fits_value),
        ("enum", value) => is_words(value),
        ("format", value) => value.as_str().is_some_and(is_format),
        (name, _) => COPIED.contains(&name),
    }) && members.get("type").is_none_or(|kind| kind != "null")
}

/// Members that mean the same in both, from the `Schema` of Google's API reference.
const COPIED: &[&str] = &[
    "title",
    "description",
    "nullable",
    "required",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "pattern",
    "propertyOrdering",
];

/// Enums are of strings.
fn is_words(value: &Value) -> bool {
    value.as_array().is_some_and(|words| words.iter().all(Value::is_string))
}

fn is_format(format: &str) -> bool {
    matches!(format, "enum" | "date-time" | "int32" | "int64" | "float" | "double")
}

/// How many bytes the schemas of a request may take beyond those that they have: what is referred to is copied for each reference.
#[derive(Debug)]
pub(super) struct Copies(usize);

impl Default for Copies {
    fn default() -> Self {
        Self(MOST_COPIED)
    }
}

/// Why a schema has no form in Google's subset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It refers to itself, is too deep or too large with its references in place, or is none.
    TooLarge,
    /// A reference points at nothing in it.
    Unresolved(String),
    /// Parts that hold together say of this member what does not.
    Apart(&'static str),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("this model takes no schema that refers to itself, is nested this deep or is this large with all that it refers to in place"),
            Self::Unresolved(reference) => {
                write!(f, "the schema's `$ref` {reference:?} points at nothing in it, and this model has to have what it refers to in place")
            }
            Self::Apart(member) => {
                write!(f, "the schema takes nothing: `{member}` of what has to hold together, as the parts of an `allOf`, has nothing in common")
            }
        }
    }
}

/// The schema in Google's subset, its references put in place and parts that hold together made one. What the subset has no word for is left
/// out: the model is told less than the caller's schema says.
pub(super) fn subset(schema: &RawValue, copies: &mut Copies) -> Result<Value, Unfit> {
    let root: Value = serde_json::from_str(schema.get()).map_err(|_| Unfit::TooLarge)?;
    copies.0 = copies.0.saturating_add(schema.get().len());
    let mut left = Left { schemas: MOST_SCHEMAS, bytes: &mut copies.0 };
    convert(&root, &root, 0, &mut left)
}

/// How deep schemas stand in each other, how many there are, and how many bytes more there are in a request, when references are in place.
const DEEPEST: usize = 32;
const MOST_SCHEMAS: usize = 4_096;
const MOST_COPIED: usize = 1 << 20;

/// Members that are copied where their value has a meaning here.
const WORDS: &[&str] = &["type", "const", "enum", "format"];
/// Bytes that a reference takes beside what is copied.
const REFERENCE: usize = 16;

/// What a schema may still take.
struct Left<'c> {
    schemas: usize,
    bytes: &'c mut usize,
}

impl Left<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), Unfit> {
        *self.bytes = self.bytes.checked_sub(bytes).ok_or(Unfit::TooLarge)?;
        Ok(())
    }
}

/// About as many bytes as a value has in JSON.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Array(values) => values.iter().map(weight).sum::<usize>() + 3,
        Value::Object(members) => {
            members.iter().map(|(name, value)| name.len() + 4 + weight(value)).sum::<usize>() + 3
        }
        _ => 6,
    }
}

fn convert(schema: &Value, root: &Value, depth: usize, left: &mut Left<'_>) -> Result<Value, Unfit> {
    left.schemas = left.schemas.checked_sub(1).ok_or(Unfit::TooLarge)?;
    if depth > DEEPEST {
        return Err(Unfit::TooLarge);
    }
    let Value::Object(members) = schema else { return Ok(Value::Object(Map::new())) };
    // What stands in the schema itself, and what has to hold beside it.
    let (mut out, mut parts) = (Map::new(), Vec::new());
    for (name, value) in members {
        if WORDS.contains(&&**name) || COPIED.contains(&&**name) {
            left.take(name.len() + weight(value))?;
        }
        match (&**name, value) {
            ("$ref", Value::String(reference)) => {
                left.take(REFERENCE)?;
                let target = resolve(reference, root).ok_or_else(|| Unfit::Unresolved(reference.clone()))?;
                parts.push(convert(target, root, depth + 1, left)?);
            }
            ("type", Value::Array(types)) => any_type(types, &mut out),
            ("type", kind) => drop(out.insert(name.clone(), kind.clone())),
            ("properties", Value::Object(properties)) if !properties.is_empty() => {
                let converted = properties.iter().map(|(name, schema)| {
                    left.take(name.len())?;
                    Ok((name.clone(), convert(schema, root, depth + 1, left)?))
                });
                out.insert(name.clone(), Value::Object(converted.collect::<Result<_, _>>()?));
            }
            ("items", items) => drop(out.insert(name.clone(), convert(items, root, depth + 1, left)?)),
            ("anyOf" | "oneOf", Value::Array(options)) => {
                parts.push(any_of(options, root, depth, left)?);
            }
            ("allOf", Value::Array(all)) => {
                for schema in all {
                    parts.push(convert(schema, root, depth + 1, left)?);
                }
            }
            ("const", word @ Value::String(_)) => {
                out.insert("type".into(), "string".into());
                out.insert("enum".into(), Value::Array(vec![word.clone()]));
            }
            ("enum", words) if is_words(words) => drop(out.insert(name.clone(), words.clone())),
            ("format", Value::String(format)) if is_format(format) => {
                out.insert(name.clone(), value.clone());
            }
            (name, value) if COPIED.contains(&name) => drop(out.insert(name.into(), value.clone())),
            _ => {}
        }
    }
    let parts =
        parts.into_iter().filter_map(|part| if let Value::Object(part) = part { Some(part) } else { None });
    all_of(std::iter::once(out).chain(parts).collect(), left).map(Value::Object)
}

/// What a reference points at: a JSON pointer in a URL's fragment, where its characters may be percent-encoded (RFC 6901, section 6).
fn resolve<'s>(reference: &str, root: &'s Value) -> Option<&'s Value> {
    let pointer = reference.strip_prefix('#')?;
    root.pointer(&percent_decoded(pointer)).or_else(|| root.pointer(pointer))
}

/// Several types: `null` among them is `nullable`, of others the schema is any.
fn any_type(types: &[Value], out: &mut Map<String, Value>) {
    let others: Vec<_> = types.iter().filter(|kind| *kind != "null").collect();
    let has_null = others.len() < types.len();
    if has_null && !others.is_empty() {
        out.insert(NULLABLE.into(), true.into());
    }
    match &others[..] {
        [] if has_null => drop(out.insert("type".into(), "null".into())),
        [] => {}
        [one] => drop(out.insert("type".into(), (*one).clone())),
        others => {
            let options = others.iter().map(|kind| serde_json::json!({ "type": kind }));
            out.insert("anyOf".into(), options.collect());
        }
    }
}

/// A schema that takes what any of some take: `null` among them is `nullable`.
fn any_of(options: &[Value], root: &Value, depth: usize, left: &mut Left<'_>) -> Result<Value, Unfit> {
    let mut others = Vec::new();
    for schema in options.iter().filter(|schema| !is_null(schema)) {
        others.push(convert(schema, root, depth + 1, left)?);
    }
    let has_null = others.len() < options.len();
    let mut out = match (others.pop(), others.is_empty()) {
        (Some(Value::Object(one)), true) => one,
        (Some(last), _) => {
            others.push(last);
            Map::from_iter([("anyOf".into(), others.into())])
        }
        (None, _) if has_null => return Ok(serde_json::json!({ "type": "null" })),
        (None, _) => Map::new(),
    };
    if has_null {
        out.insert(NULLABLE.into(), true.into());
    }
    Ok(Value::Object(out))
}

/// Whether a schema takes `null` alone.
fn is_null(schema: &Value) -> bool {
    let kind = &schema["type"];
    kind == "null"
        || kind.as_array().is_some_and(|kinds| !kinds.is_empty() && kinds.iter().all(|kind| kind == "null"))
}

/// A schema of a caller of `dialect` as the others know it: Google's callers write types in capitals, and have words of OpenAPI's among
/// those of JSON schemas.
pub(crate) fn plain_schema(dialect: Dialect, schema: &RawValue) -> Cow<'_, str> {
    if dialect != Dialect::Gemini {
        return Cow::Borrowed(schema.get());
    }
    match serde_json::from_str(schema.get()) {
        Ok(mut value) => {
            if let Value::Object(members) = &mut value {
                // A tool's input and a whole answer are there.
                members.shift_remove("nullable");
            }
            plain(&mut value);
            Cow::Owned(Value::to_string(&value))
        }
        Err(_) => Cow::Borrowed(schema.get()),
    }
}

fn plain(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    for (name, mut value) in std::mem::take(members) {
        let name = if name.starts_with('$') { name } else { camel(&name).into_owned() };
        match (&*name, &mut value) {
            // In which order properties are written is no part of a schema.
            ("propertyOrdering", _) => continue,
            ("type", Value::String(kind)) => kind.make_ascii_lowercase(),
            ("properties" | "$defs", Value::Object(schemas)) => schemas.values_mut().for_each(plain),
            ("items" | "additionalProperties", schema) => plain(schema),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(plain);
            }
            // Google writes 64-bit numbers as strings.
            (name, Value::String(number)) if NUMBERS.contains(&name) => {
                if let Ok(number) = number.parse::<u64>() {
                    value = number.into();
                }
            }
            _ => {}
        }
        members.insert(name, value);
    }
    // An `object` of nothing beside options is how Google's SDK writes a union.
    if members.contains_key("anyOf") && !members.contains_key("properties") {
        members.shift_remove("type");
    }
    if members.shift_remove("nullable") == Some(Value::Bool(true)) {
        allow_null(members);
    }
}

fn allow_null(members: &mut Map<String, Value>) {
    let null = || serde_json::json!({ "type": "null" });
    if let Some(Value::Array(options)) = members.get_mut("anyOf") {
        options.push(null());
        return;
    }
    if ["$ref", "oneOf", "allOf"].iter().any(|name| members.contains_key(*name)) {
        let schema = Value::Object(std::mem::take(members));
        members.insert("anyOf".into(), Value::Array(vec![schema, null()]));
        return;
    }
    match members.get_mut("type") {
        Some(kind @ Value::String(_)) => *kind = Value::Array(vec![kind.take(), "null".into()]),
        Some(Value::Array(kinds)) if !kinds.iter().any(|kind| kind == "null") => kinds.push("null".into()),
        // What is of any type may be null.
        _ => {}
    }
    if let Some(Value::Array(words)) = members.get_mut("enum")
        && !words.contains(&Value::Null)
    {
        words.push(Value::Null);
    }
}

const NUMBERS: &[&str] =
    &["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];

#[cfg(test)]
mod tests;
