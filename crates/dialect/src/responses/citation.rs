//! Citations, as Responses annotates text with them, OpenAI's chat its messages and Anthropic its blocks.

use serde_json::value::RawValue;

use crate::{
    Text,
    read::{Extra, document, wire_object},
    write::object,
};

wire_object! {
    /// Of OpenAI's chat: what it is stands under the name of its type.
    struct WireNested { kind: Text<'a> = "type", url_citation: WireMembers<'a> = "url_citation", }
    struct WireMembers { }
    /// Of Anthropic.
    struct WireLocation { url: Text<'a> = "url", title: Text<'a> = "title", }
    /// Of Responses.
    struct WireFlat { kind: Text<'a> = "type", }
}

/// The member of messages and deltas of OpenAI's chat, and of Responses' text.
pub(super) const ANNOTATIONS: &str = "annotations";

/// Annotations of a message of OpenAI's chat, as Responses has them.
pub(super) fn of_chat(raw: &RawValue) -> Vec<Vec<u8>> {
    let list: Vec<WireNested<'_>> = document(raw.get()).unwrap_or_default();
    let flat = |wire: WireNested<'_>| Some(flat(&wire.url_citation?.extra));
    list.into_iter().filter_map(flat).collect()
}

fn flat(members: &Extra<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    object(&mut out, |annotation| {
        annotation.str("type", "url_citation");
        for (name, raw) in members.iter().filter(|(name, _)| name != "type") {
            annotation.json(name, raw.get());
        }
        // OpenAI's SDKs require all of them.
        for (name, none) in [("start_index", "0"), ("end_index", "0"), ("title", "\"\""), ("url", "\"\"")] {
            if !members.iter().any(|(known, _)| known == name) {
                annotation.json(name, none);
            }
        }
    });
    out
}

/// A citation of Anthropic's of something on the web, as Responses has it; it supports all of its block, a text of `length` characters.
pub(super) fn of_anthropic(raw: &RawValue, length: usize) -> Option<Vec<u8>> {
    let wire: WireLocation<'_> = document(raw.get()).ok()?;
    let url = wire.url?;
    let mut out = Vec::new();
    object(&mut out, |annotation| {
        annotation.str("type", "url_citation");
        annotation.number("start_index", 0);
        annotation.number("end_index", length as u64);
        annotation.text("title", wire.title.as_ref().unwrap_or(&"".into()));
        annotation.text("url", &url);
    });
    Some(out)
}

/// Annotations of Responses' texts, as OpenAI's chat has them; `None` when there is none of the web among them.
pub(super) fn to_chat<'r>(annotations: impl Iterator<Item = &'r RawValue>) -> Option<Box<RawValue>> {
    let mut out = vec![b'['];
    for wire in annotations.flat_map(|raw| document::<Vec<WireFlat<'_>>>(raw.get()).unwrap_or_default()) {
        if wire.kind.is_none_or(|kind| kind != *"url_citation") {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        object(&mut out, |annotation| {
            annotation.str("type", "url_citation");
            annotation.object("url_citation", |citation| citation.extra(&wire.extra, &[]));
        });
    }
    out.push(b']');
    (out.len() > 2).then(|| RawValue::from_string(String::from_utf8(out).ok()?).ok()).flatten()
}
