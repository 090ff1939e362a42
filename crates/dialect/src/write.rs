//! Writing JSON straight into bytes.

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

    pub(crate) fn extra(&mut self, extra: &Extra<'_>) {
        for (name, raw) in extra {
            self.json(name, raw.get());
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

fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

pub(crate) fn write_number(out: &mut Vec<u8>, number: u64) {
    // Writing a number into a vector has no way to fail.
    let _infallible = serde_json::to_writer(out, &number);
}
