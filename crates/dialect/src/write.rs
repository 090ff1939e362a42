//! Writing JSON straight into bytes.

use std::collections::HashMap;

use serde_json::value::RawValue;
use ziggurat_core::json::write_string;

use crate::{Text, read::Extra};

/// An object that is being written.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

/// An array that is being written.
pub(crate) struct Array<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

/// Writes an object.
pub(crate) fn object(out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    members(&mut Object { out, first: true });
    out.push(b'}');
}

// ===== impl Object =====

impl Object<'_> {
    /// Goes on with an object whose first members are written already, and ends it.
    pub(crate) fn resume(out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
        members(&mut Object { out, first: false });
        out.push(b'}');
    }

    /// Writes a member's name; its value must follow.
    pub(crate) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        separate(self.out, &mut self.first);
        write_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn text(&mut self, name: &str, text: &Text<'_>) {
        text.write(self.key(name));
    }

    pub(crate) fn text_if(&mut self, name: &str, text: Option<&Text<'_>>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    pub(crate) fn str(&mut self, name: &str, text: &str) {
        write_string(self.key(name), text);
    }

    pub(crate) fn number(&mut self, name: &str, number: u64) {
        let out = self.key(name);
        write_number(out, number);
    }

    pub(crate) fn number_if(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    pub(crate) fn bool(&mut self, name: &str, value: bool) {
        self.json(name, if value { "true" } else { "false" });
    }

    /// Writes a value that is JSON already.
    pub(crate) fn json(&mut self, name: &str, json: &str) {
        self.key(name).extend_from_slice(json.as_bytes());
    }

    pub(crate) fn raw_if(&mut self, name: &str, raw: Option<&RawValue>) {
        if let Some(raw) = raw {
            self.json(name, raw.get());
        }
    }

    /// Writes members that the model does not know. None takes the place of one of `ours`, and of several with one name the last stays, so
    /// that no name is written twice.
    pub(crate) fn extra(&mut self, extra: &Extra<'_>, ours: &[&str]) {
        self.extra_if(extra, |name| !ours.contains(&name));
    }

    /// Writes those of the members whose name passes.
    pub(crate) fn extra_if(&mut self, extra: &Extra<'_>, passes: impl Fn(&str) -> bool) {
        // Few as a rule; a caller who sends thousands is not worth their square.
        let last: Option<HashMap<&str, usize>> = (extra.len() > 16)
            .then(|| extra.iter().enumerate().map(|(position, (name, _))| (&**name, position)).collect());
        for (position, (name, raw)) in extra.iter().enumerate() {
            let is_last = match &last {
                Some(last) => last.get(&**name) == Some(&position),
                None => !extra[position + 1..].iter().any(|(later, _)| later == name),
            };
            if is_last && passes(name) {
                self.json(name, raw.get());
            }
        }
    }

    pub(crate) fn object(&mut self, name: &str, members: impl FnOnce(&mut Object<'_>)) {
        object(self.key(name), members);
    }

    pub(crate) fn array(&mut self, name: &str, items: impl FnOnce(&mut Array<'_>)) {
        let out = self.key(name);
        out.push(b'[');
        items(&mut Array { out, first: true });
        out.push(b']');
    }
}

// ===== impl Array =====

impl Array<'_> {
    /// Starts an item; its value must follow.
    pub(crate) fn item(&mut self) -> &mut Vec<u8> {
        separate(self.out, &mut self.first);
        self.out
    }

    pub(crate) fn object(&mut self, members: impl FnOnce(&mut Object<'_>)) {
        object(self.item(), members);
    }

    pub(crate) fn text(&mut self, text: &Text<'_>) {
        text.write(self.item());
    }

    pub(crate) fn json(&mut self, json: &str) {
        self.item().extend_from_slice(json.as_bytes());
    }
}

/// Takes the line ends out of JSON that stands in `out` from `start` on: one event of a stream is one line, and values that are handed on as
/// they came may have been written over several. A string holds no line end, so that none means anything.
pub(crate) fn join_lines(out: &mut [u8], start: usize) {
    let mut rest = &mut out[start..];
    while let Some(place) = memchr::memchr2(b'\n', b'\r', rest) {
        rest[place] = b' ';
        rest = &mut rest[place + 1..];
    }
}

fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

pub(crate) fn write_number(out: &mut Vec<u8>, number: u64) {
    // Writing a number into a vector has no way to fail.
    let _infallible = serde_json::to_writer(out, &number);
}
