//! A call whose body is a form: what stands ahead of its file's content is read, the rest may pass.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, header};

use super::{Field, Limits, headers, invalid, shape};
use crate::{
    Cause, Operation, Rejection,
    form::{Fault, Item, Scanner},
    json::write_string,
};

/// The parts of a form that are held, and what the fields of a [`Call`](super::Call) are in it.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) boundary: Box<str>,
    pub(super) parts: Vec<Held>,
    /// Whether the form's end is among what is held.
    pub(super) whole: bool,
    /// As the JSON that they would be in a body of JSON.
    fields: Vec<(Field, Box<str>)>,
}

/// A part and where it stands in what is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: Box<str>,
    pub(super) is_file: bool,
    /// From the line's end ahead of its boundary.
    pub(super) raw: Range<usize>,
    /// Ends with what is held where it is the last, and goes on behind that.
    pub(super) content: Range<usize>,
}

/// Reads a form as it comes.
pub(super) struct Reading {
    pub(super) scanner: Scanner,
    pub(super) form: Form,
    /// Bytes told so far.
    pub(super) at: usize,
    limits: Limits,
}

// ===== impl Reading =====

impl Reading {
    pub(super) fn new(boundary: &str, limits: &Limits) -> Self {
        let form = Form { boundary: boundary.into(), parts: Vec::new(), whole: false, fields: Vec::new() };
        Self { scanner: Scanner::new(boundary), form, at: 0, limits: *limits }
    }

    /// The next piece of the form, noted.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Rejection> {
        let Some(item) = self.scanner.next().map_err(malformed)? else { return Ok(None) };
        match &item {
            Item::Part(raw, part) => {
                self.limits.judge(&part.name)?;
                self.close();
                let content = self.at + raw.len();
                let (name, is_file) = (part.name.clone(), part.is_file);
                self.form.parts.push(Held {
                    name,
                    is_file,
                    raw: self.at..content,
                    content: content..content,
                });
            }
            Item::End(_) if !self.form.whole => {
                self.close();
                self.form.whole = true;
            }
            Item::Content(_) | Item::End(_) => {}
        }
        self.at += item.raw().len();
        Ok(Some(item))
    }

    /// Reads all of a form that is in memory, or its beginning up to a file's content.
    pub(super) fn all(mut self, bytes: &Bytes, is_beginning: bool) -> Result<Form, Rejection> {
        self.scanner.push(bytes.clone());
        while self.next()?.is_some() {}
        if !is_beginning {
            self.scanner.finish().map_err(malformed)?;
        }
        self.finish(bytes)
    }

    /// The form, once `held` is all that was told of it.
    pub(super) fn finish(mut self, held: &[u8]) -> Result<Form, Rejection> {
        if !self.form.whole {
            self.close();
        }
        self.form.find_fields(held)?;
        Ok(self.form)
    }

    /// Whether a file has begun, all that decides where the form goes stands ahead of it.
    pub(super) fn may_pass(&self, model_in_path: bool) -> bool {
        let Some(last) = self.form.parts.last() else { return false };
        last.is_file && (model_in_path || self.form.has(MODEL))
    }

    fn close(&mut self) {
        if let Some(last) = self.form.parts.last_mut() {
            last.raw.end = self.at;
            last.content.end = self.at;
        }
    }
}

// ===== impl Form =====

impl Form {
    pub(super) fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|part| *part.name == *name)
    }

    /// A field that layers look at, as JSON.
    pub(super) fn field(&self, field: Field) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == field).map(|(_, json)| &**json)
    }

    /// What a field of text says.
    pub(super) fn text<'b>(&self, name: &str, held: &'b [u8]) -> Option<&'b str> {
        let part = self.parts.iter().find(|part| !part.is_file && *part.name == *name)?;
        std::str::from_utf8(held.get(part.content.clone())?).ok()
    }

    /// Its parts, by name and content.
    pub(super) fn parts<'f>(&'f self, held: &'f [u8]) -> impl Iterator<Item = (&'f str, &'f [u8])> {
        self.parts.iter().map(|part| (&*part.name, held.get(part.content.clone()).unwrap_or_default()))
    }

    /// How many files have begun.
    pub(super) fn files(&self) -> usize {
        self.parts.iter().filter(|part| part.is_file).count()
    }

    /// Checks the form of an operation, as [`shape::check`] does a body of JSON.
    pub(super) fn check(&self, operation: Operation, model_in_path: bool) -> Result<(), Rejection> {
        for (field, json) in &self.fields {
            shape::check_type(operation, *field, json)?;
        }
        let named = |json: Option<&str>| json.is_some_and(|json| json != "\"\"");
        if operation.needs_model() && !model_in_path && !named(self.field(Field::Model)) {
            return Err(invalid("missing required field `model`", MODEL));
        }
        Ok(())
    }

    fn find_fields(&mut self, held: &[u8]) -> Result<(), Rejection> {
        for field in FIELDS {
            let name = field.name();
            let mut parts = self.parts.iter().filter(|part| *part.name == *name);
            let Some(part) = parts.next() else { continue };
            if parts.next().is_some() {
                return Err(twice(name));
            }
            if part.is_file {
                return Err(invalid(format!("`{name}` must be a field of text, not a file"), name));
            }
            let text = held.get(part.content.clone()).map(std::str::from_utf8);
            let Some(Ok(text)) = text else {
                return Err(invalid(format!("`{name}` is not valid UTF-8"), name));
            };
            self.fields.push((field, as_json(field, text).into()));
        }
        Ok(())
    }
}

// ===== impl Limits =====

impl Limits {
    /// Refuses a part by its name.
    pub(super) fn judge(&self, name: &str) -> Result<(), Rejection> {
        let base = base(name);
        let alike = FIELDS.iter().map(|field| field.name()).find(|known| base.eq_ignore_ascii_case(known));
        if let Some(known) = alike.filter(|known| *known != name) {
            let message = format!("a field differs from `{known}` in its case, blanks or brackets alone");
            return Err(invalid(message, known));
        }
        self.part.map_or(Ok(()), |judge| judge(base))
    }
}

/// The name of a field without what some servers leave out of it: blanks around it, and brackets, which make it a list's.
fn base(name: &str) -> &str {
    let outer = |letter: char| letter.is_whitespace() || matches!(letter, '[' | ']');
    let name = name.trim_start_matches(outer);
    name.split(['[', ']']).next().unwrap_or_default().trim_end()
}

/// A field's text as JSON: words that cannot be a number or a truth are a string, whose type is refused later.
fn as_json(field: Field, text: &str) -> String {
    let plain = match field {
        Field::Stream => matches!(text, "true" | "false"),
        Field::N => !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    if plain {
        return text.to_owned();
    }
    let mut json = Vec::with_capacity(text.len() + 2);
    write_string(&mut json, text);
    String::from_utf8(json).unwrap_or_default()
}

/// The boundary that the content type of a form names.
pub(super) fn boundary(headers: &HeaderMap) -> Result<String, Rejection> {
    let unsupported = |message: &str| Rejection::new(Cause::UnsupportedMediaType, message);
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // One layer would read the first and a provider the last.
    if kinds.next().is_some() {
        return Err(unsupported("content-type stands twice in the request's headers"));
    }
    let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(unsupported("content-type must be multipart/form-data"));
    }
    let mut found = None;
    // What others than these say of a form, some read and some do not.
    for parameter in parameters.split(';').filter(|parameter| !parameter.trim().is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.trim_start().to_ascii_lowercase().as_str() {
            "boundary" if found.replace(value.trim_end()).is_some() => {
                return Err(bad("content-type names more than one boundary"));
            }
            "boundary" => {}
            "charset" if headers::is_utf8(&headers::unquoted(value.trim()).to_ascii_lowercase()) => {}
            "charset" => return Err(unsupported("the charset of content-type must be utf-8")),
            _ => return Err(bad("content-type has a parameter that is neither `boundary` nor `charset`")),
        }
    }
    let given = found.unwrap_or_default();
    let found = headers::unquoted(given);
    // RFC 2046, section 5.1.1; a semicolon, which would have to be quoted, is none of its letters. Where some of the others are not quoted,
    // there are those who read no further.
    let is_quoted = found.len() < given.len();
    let fits = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"'+_-./:=?".contains(&byte) || (is_quoted && b"(), ".contains(&byte))
    };
    match found.len() {
        0 => Err(bad("content-type names no boundary")),
        1..=70 if found.bytes().all(fits) && !found.ends_with(' ') => Ok(found.to_owned()),
        _ => Err(bad("content-type names a boundary that is none")),
    }
}

pub(super) fn malformed(fault: Fault) -> Rejection {
    bad(&format!("the form is malformed: {}", fault.0))
}

pub(super) fn twice(name: &'static str) -> Rejection {
    invalid(format!("the field `{name}` stands twice in the form"), name)
}

fn bad(message: &str) -> Rejection {
    Rejection::new(Cause::InvalidRequest, message)
}

/// What layers go by.
pub(super) const FIELDS: [Field; 4] = [Field::Model, Field::Stream, Field::N, Field::User];

pub(super) const MODEL: &str = Field::Model.name();
