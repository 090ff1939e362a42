//! One answer in both forms: as a whole and as a stream.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use ziggurat_core::Operation;
use ziggurat_dialect::{sse, stream_of, whole_of};

use crate::{
    Entry, Form,
    asked::{Asked, events},
};

/// The bytes of an answer in the form in which a caller wants it; `None` where it cannot be had in that.
pub(crate) fn in_form(entry: &Entry, asked: &Asked) -> Option<Bytes> {
    if entry.form == asked.form {
        return Some(entry.body.clone());
    }
    if !asked.generates_text() {
        return None;
    }
    let now = seconds(entry.stored);
    let mut out = Vec::new();
    match asked.form {
        Form::Events => {
            let text = std::str::from_utf8(&entry.body).ok()?;
            match asked.operation {
                Operation::Completions => told(text, asked.usage, &mut out)?,
                _ => stream_of(asked.dialect, text, asked.usage, now, &mut out).ok()?,
            }
        }
        Form::Whole => {
            let data = events(&entry.body)?;
            let data: Option<Vec<&str>> = data.iter().map(|data| std::str::from_utf8(data).ok()).collect();
            match asked.operation {
                Operation::Completions => put_together(&data?, &mut out)?,
                _ => whole_of(asked.dialect, &data?, now, &mut out).ok()?,
            }
        }
    }
    Some(out.into())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A text completion as a stream: a chunk is what the whole is, but for its usage.
fn told(text: &str, usage: bool, out: &mut Vec<u8>) -> Option<()> {
    let mut whole: Map<String, Value> = serde_json::from_str(text).ok()?;
    let spent = whole.remove("usage");
    let choices = whole.remove("choices")?;
    let mut chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = whole.clone();
        chunk.insert("choices".to_owned(), choices);
        chunk.extend(usage.map(|usage| ("usage".to_owned(), usage.clone())));
        sse::encode(out, None, Value::Object(chunk).to_string().as_bytes());
    };
    for choice in choices.as_array()? {
        chunk(json!([choice]), None);
    }
    if let Some(spent) = spent.filter(|_| usage) {
        chunk(json!([]), Some(&spent));
    }
    out.extend_from_slice(sse::DONE);
    Some(())
}

/// The text completion that chunks make up.
fn put_together(data: &[&str], out: &mut Vec<u8>) -> Option<()> {
    let mut whole: Map<String, Value> = Map::new();
    let mut choices: Vec<Map<String, Value>> = Vec::new();
    for data in data.iter().filter(|data| data.trim() != "[DONE]") {
        let mut chunk: Map<String, Value> = serde_json::from_str(data).ok()?;
        let pieces = chunk.remove("choices");
        whole.extend(chunk.into_iter().filter(|(_, value)| !value.is_null()));
        for piece in pieces.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let piece = piece.as_object()?;
            let same = |choice: &&mut Map<String, Value>| choice.get("index") == piece.get("index");
            match choices.iter_mut().find(same) {
                Some(choice) => grow(choice, piece)?,
                None => choices.push(piece.clone()),
            }
        }
    }
    choices.sort_by_key(|choice| choice.get("index").and_then(Value::as_u64));
    whole.insert("choices".to_owned(), choices.into());
    serde_json::to_writer(out, &whole).ok()
}

/// A choice goes on: its text and its log probabilities grow, all else is said anew.
fn grow(choice: &mut Map<String, Value>, piece: &Map<String, Value>) -> Option<()> {
    for (name, value) in piece {
        match (&**name, choice.get_mut(name), value) {
            (_, _, Value::Null) => {}
            ("text", Some(Value::String(text)), Value::String(more)) => text.push_str(more),
            ("logprobs", Some(Value::Object(lists)), Value::Object(more)) => {
                for (name, more) in more {
                    match (lists.get_mut(name), more) {
                        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.iter().cloned()),
                        _ => return None,
                    }
                }
            }
            _ => {
                choice.insert(name.clone(), value.clone());
            }
        }
    }
    Some(())
}
