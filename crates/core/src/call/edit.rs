//! Changes of single fields as byte splices.

mod parts;

use std::{borrow::Cow, cmp::Reverse, ops::Range};

use bytes::Bytes;

use super::{Call, Field};
use crate::json::{Member, cuts, find_member, find_members, without, write_string};

/// A change of a body that leaves every byte it does not name as it is.
///
/// Fields are set and removed in the order of the calls: the later one counts. Of a form, parts of text are set and removed by their
/// names; for a call whose body was not read nothing happens.
#[derive(Debug)]
#[must_use = "an edit does nothing until `finish`"]
pub struct Edit<'a> {
    call: &'a Call,
    /// Each field once.
    set: Vec<(Field, Cow<'a, [u8]>)>,
    removed: Vec<Removed>,
    replaced: Vec<(Range<usize>, Cow<'a, [u8]>)>,
    /// Members that are no [`Field`], by name.
    added: Vec<(String, String)>,
    /// Parts of a form that go, by name.
    cut: Vec<String>,
}

#[derive(Debug)]
struct Removed {
    member: Member,
    top_level: bool,
}

// ===== impl Edit =====

impl<'a> Edit<'a> {
    pub(super) const fn new(call: &'a Call) -> Self {
        Self {
            call,
            set: Vec::new(),
            removed: Vec::new(),
            replaced: Vec::new(),
            added: Vec::new(),
            cut: Vec::new(),
        }
    }

    /// Sets a top-level field to a JSON value: replaces the one that is there, else adds it behind the last.
    pub fn set(mut self, field: Field, json: impl Into<Cow<'a, [u8]>>) -> Self {
        if !self.call.is_json() && !self.call.is_form() {
            return self;
        }
        self.cut.retain(|name| name != field.name());
        if let Some(span) = self.call.span(field) {
            self.removed.retain(|removed| !(removed.top_level && removed.member.end == span.end));
        }
        self.set.retain(|(known, _)| *known != field);
        self.set.push((field, json.into()));
        self
    }

    /// Sets a top-level field to a string.
    pub fn set_string(self, field: Field, text: &str) -> Self {
        let mut json = Vec::with_capacity(text.len() + 2);
        write_string(&mut json, text);
        self.set(field, json)
    }

    /// Replaces bytes of the body that the caller found itself. Where such ranges overlap each other or a field that is set or
    /// removed, the one that starts first holds, longest first.
    pub fn replace(mut self, range: Range<usize>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        if self.call.is_json() {
            self.replaced.push((range, bytes.into()));
        }
        self
    }

    /// Adds a top-level member by its name, unless the body has one of that name, `null` or not.
    pub fn add_missing(mut self, name: &str, json: &str) -> Self {
        let known = self.set.iter().any(|(field, _)| field.name() == name)
            || self.added.iter().any(|(n, _)| n == name);
        let is_there = match &self.call.0.form {
            Some(form) => form.has(name),
            None => !self.call.is_json() || find_member(self.call.text(), &[name]).is_some(),
        };
        if !known && !is_there {
            self.added.push((name.to_owned(), json.to_owned()));
        }
        self
    }

    /// Removes what stands at `path` (names from the outside in), also when it stands there more than once; nothing happens when
    /// there is none.
    pub fn remove(mut self, path: &[&str]) -> Self {
        let Some((name, inner)) = path.split_first() else { return self };
        if let Some(set) = self.set.iter().position(|(field, _)| field.name() == *name) {
            if !inner.is_empty() {
                cut_all(&mut self.set[set].1, inner);
                return self;
            }
            self.set.remove(set);
        }
        if self.call.is_form() {
            if inner.is_empty() {
                self.cut.push((*name).to_owned());
            }
            return self;
        }
        let found = find_members(self.call.text(), path).into_iter();
        self.removed.extend(found.map(|member| Removed { member, top_level: inner.is_empty() }));
        self
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let cuts = |name: &String| self.call.0.form.as_ref().is_some_and(|form| form.has(name));
        self.set.is_empty()
            && self.removed.is_empty()
            && self.replaced.is_empty()
            && self.added.is_empty()
            && !self.cut.iter().any(cuts)
    }

    /// The new body; of a form that is passed on as it comes, its beginning.
    ///
    /// # Panics
    /// When a range given to [`Edit::replace`] does not lie in the body.
    #[must_use]
    pub fn finish(self) -> Bytes {
        if let (Some(form), Some(held)) = (&self.call.0.form, &self.call.0.body) {
            let set = self.set.iter().map(|(field, json)| (field.name(), &**json));
            let added = self.added.iter().map(|(name, json)| (name.as_str(), json.as_bytes()));
            return parts::rewrite(form, held, &set.chain(added).collect::<Vec<_>>(), &self.cut);
        }
        let body = self.call.body();
        let splices = self.splices();
        let grown: usize = splices.iter().map(|(_, json)| json.len()).sum();
        let mut out = Vec::with_capacity(body.len() + grown);
        let mut done = 0;
        for (range, json) in &splices {
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

    /// All changes in the order of the body, additions included.
    fn splices(self) -> Vec<(Range<usize>, Cow<'a, [u8]>)> {
        let head = &self.call.0.head;
        let mut gone: Vec<usize> = self
            .removed
            .iter()
            .filter(|removed| removed.top_level)
            .map(|removed| removed.member.start)
            .collect();
        gone.sort_unstable();
        gone.dedup();
        let mut first = head.members == gone.len();
        let mut added = Vec::new();
        let mut splices = self.replaced;
        for (field, json) in self.set {
            match self.call.span(field) {
                Some(span) => splices.push((span, json)),
                None => {
                    added.extend_from_slice(if first { b"" } else { b"," });
                    write_string(&mut added, field.name());
                    added.push(b':');
                    added.extend_from_slice(&json);
                    first = false;
                }
            }
        }
        for (name, json) in self.added {
            added.extend_from_slice(if first { b"" } else { b"," });
            write_string(&mut added, &name);
            added.push(b':');
            added.extend_from_slice(json.as_bytes());
            first = false;
        }
        let cuts = cuts(self.removed.into_iter().map(|removed| removed.member).collect());
        splices.extend(cuts.into_iter().map(|cut| (cut, Cow::Borrowed(&b""[..]))));
        if !added.is_empty() {
            splices.push((head.insert_at..head.insert_at, added.into()));
        }
        // What is put in front of a range goes before it.
        splices.sort_by_key(|(range, _)| (range.start, !range.is_empty(), Reverse(range.end)));
        splices
    }
}

/// Removes what stands at `path` from a value that is an object.
fn cut_all(json: &mut Cow<'_, [u8]>, path: &[&str]) {
    if let Some(rest) = std::str::from_utf8(json).ok().and_then(|text| without(text, &[path])) {
        *json = rest.into_bytes().into();
    }
}

#[cfg(test)]
mod tests;
