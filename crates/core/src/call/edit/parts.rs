//! Changes of a form, part by part.

use std::borrow::Cow;

use bytes::Bytes;

use crate::call::form::Form;

/// What is held of a form with parts of text set to what JSON says, and others left out; every other byte as it was.
pub(super) fn rewrite(form: &Form, held: &[u8], set: &[(&str, &[u8])], cut: &[String]) -> Bytes {
    let mut out = Vec::with_capacity(held.len() + 256 * set.len());
    let known = |name: &str| form.parts.iter().any(|part| *part.name == *name);
    for (name, json) in set.iter().filter(|(name, _)| !known(name)) {
        out.extend_from_slice(b"--");
        out.extend_from_slice(form.boundary.as_bytes());
        out.extend_from_slice(b"\r\nContent-Disposition: form-data; name=\"");
        out.extend(name.bytes().filter(|byte| !matches!(byte, b'"' | b'\r' | b'\n' | b'\\')));
        out.extend_from_slice(b"\"\r\n\r\n");
        out.extend_from_slice(text(json).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let mut done = 0;
    for part in &form.parts {
        let given = set.iter().find(|(name, _)| *part.name == **name);
        if let Some((_, json)) = given {
            out.extend_from_slice(&held[done..part.content.start]);
            out.extend_from_slice(text(json).as_bytes());
            done = part.content.end;
        } else if !part.is_file && cut.iter().any(|name| **name == *part.name) {
            // The first of those that stay has no line's end ahead of its boundary.
            let first = part.raw.start == 0 || done > part.raw.start;
            out.extend_from_slice(held.get(done..part.raw.start).unwrap_or_default());
            done = part.raw.end + if first { 2 } else { 0 };
        }
    }
    out.extend_from_slice(held.get(done..).unwrap_or_default());
    out.into()
}

/// What a field of a form says for a value of JSON: a string's letters, and all else as it is written.
fn text(json: &[u8]) -> Cow<'_, str> {
    let json = std::str::from_utf8(json).unwrap_or_default();
    serde_json::from_str::<String>(json).map_or(Cow::Borrowed(json), Cow::Owned)
}
