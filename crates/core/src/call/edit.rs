//! Changes of single fields as byte splices.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{Call, Field};
use crate::json::{find_member, write_string};

/// A change of a body that leaves every byte it does not name as it is.
#[derive(Debug)]
#[must_use = "an edit does nothing until `finish`"]
pub struct Edit<'a> {
    call: &'a Call,
    splices: Vec<(Range<usize>, Cow<'a, [u8]>)>,
    added: Vec<u8>,
}

// ===== impl Edit =====

impl<'a> Edit<'a> {
    pub(super) const fn new(call: &'a Call) -> Self {
        Self { call, splices: Vec::new(), added: Vec::new() }
    }

    /// Sets a top-level field to a JSON value: replaces the one that is there, else adds it behind the last.
    pub fn set(mut self, field: Field, json: impl Into<Cow<'a, [u8]>>) -> Self {
        let json = json.into();
        match self.call.span(field) {
            Some(span) => self.splices.push((span, json)),
            None => self.add(field.name(), &json),
        }
        self
    }

    /// Sets a top-level field to a string.
    pub fn set_string(self, field: Field, text: &str) -> Self {
        let mut json = Vec::with_capacity(text.len() + 2);
        write_string(&mut json, text);
        self.set(field, json)
    }

    /// Replaces bytes of the body that the caller found itself.
    pub fn replace(mut self, range: Range<usize>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        self.splices.push((range, bytes.into()));
        self
    }

    /// Removes the member at `path` (names from the outside in); nothing happens when there is none.
    pub fn remove(mut self, path: &[&str]) -> Self {
        if let Some(cut) = find_member(self.call.text(), path) {
            self.splices.push((cut, Cow::Borrowed(b"")));
        }
        self
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.splices.is_empty() && self.added.is_empty()
    }

    /// The new body. Overlapping changes: the one that starts first holds, longest first.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let body = self.call.body();
        let head = &self.call.0.head;
        if !self.added.is_empty() {
            let comma = if head.empty { 1 } else { 0 };
            let added = self.added.split_off(comma);
            self.splices.push((head.insert_at..head.insert_at, added.into()));
        }
        self.splices.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        let grown: usize = self.splices.iter().map(|(_, json)| json.len()).sum();
        let mut out = Vec::with_capacity(body.len() + grown);
        let mut done = 0;
        for (range, json) in &self.splices {
            if range.start < done {
                continue;
            }
            out.extend_from_slice(&body[done..range.start]);
            out.extend_from_slice(json);
            done = range.end;
        }
        out.extend_from_slice(&body[done..]);
        out.into()
    }

    fn add(&mut self, name: &str, json: &[u8]) {
        self.added.push(b',');
        write_string(&mut self.added, name);
        self.added.push(b':');
        self.added.extend_from_slice(json);
    }
}
