//! The item that a stream is at.

use super::{
    super::super::{
        citation::{ANNOTATIONS, of_anthropic},
        items::REDACTED,
    },
    Writer,
};
use crate::{Delta, Text, write::Object};
use ziggurat_core::Dialect;

/// The item that is being written, with what its last event has to repeat.
#[derive(Debug)]
pub(super) struct Item {
    /// Its place in the output.
    pub(super) place: usize,
    id: String,
    /// The provider's block that it is, or whose part is open.
    pub(super) block: u64,
    pub(super) kind: ItemKind,
}

#[derive(Debug)]
pub(super) enum ItemKind {
    Message {
        /// The parts that are whole, with commas between them.
        content: Vec<u8>,
        parts: u64,
        part: Option<Part>,
    },
    Call {
        call_id: Text<'static>,
        name: Text<'static>,
        /// As they stand in JSON, without the quotes.
        arguments: Vec<u8>,
        closed: bool,
    },
    Reasoning {
        /// As it stands in JSON, without the quotes.
        text: Vec<u8>,
        encrypted: Vec<u8>,
        closed: bool,
    },
}

/// A part of a message.
#[derive(Debug, Default)]
pub(super) struct Part {
    is_refusal: bool,
    /// As it stands in JSON, without the quotes.
    text: Vec<u8>,
    annotations: Vec<Vec<u8>>,
    /// Annotations that are told already.
    told: usize,
    /// Of OpenAI's chat, with commas between them.
    logprobs: Vec<u8>,
    /// Anthropic's, whose extent is known when the text is whole.
    citations: Vec<String>,
}

// ===== impl ItemKind =====

impl ItemKind {
    pub(super) const fn message() -> Self {
        Self::Message { content: Vec::new(), parts: 0, part: None }
    }

    pub(super) const fn reasoning() -> Self {
        Self::Reasoning { text: Vec::new(), encrypted: Vec::new(), closed: false }
    }

    pub(super) fn redacted(data: &Text<'_>) -> Self {
        let mut encrypted = REDACTED.as_bytes().to_vec();
        data.write_inner(&mut encrypted);
        Self::Reasoning { text: Vec::new(), encrypted, closed: false }
    }

    pub(super) fn call(id: &Text<'_>, name: &Text<'_>, index: usize) -> Self {
        let call_id = match id.is_empty() {
            true => format!("call_{index}").into(),
            false => id.clone().into_owned(),
        };
        Self::Call { call_id, name: name.clone().into_owned(), arguments: Vec::new(), closed: false }
    }
}

// ===== impl Item =====

impl Item {
    pub(super) fn new(place: usize, id: String, block: u64, kind: ItemKind) -> Self {
        Self { place, id, block, kind }
    }

    pub(super) const fn index(&self) -> u64 {
        self.place as u64
    }

    /// Whether nothing more of it comes once another item begins: of a call, other items' pieces may come first.
    pub(super) const fn is_over(&self) -> bool {
        !matches!(self.kind, ItemKind::Call { closed: false, .. })
    }

    /// Writes the members of the item as far as it is known.
    pub(super) fn write(&self, out: &mut Object<'_>, status: &str) {
        out.str("id", &self.id);
        match &self.kind {
            ItemKind::Message { content, .. } => {
                out.str("type", "message");
                out.str("status", status);
                out.str("role", "assistant");
                list(out, "content", content);
            }
            ItemKind::Call { call_id, name, arguments, .. } => {
                out.str("type", "function_call");
                out.str("status", status);
                out.text("call_id", call_id);
                out.text("name", name);
                string(out, "arguments", arguments);
            }
            ItemKind::Reasoning { text, encrypted, .. } => {
                out.str("type", "reasoning");
                out.str("status", status);
                out.array("summary", |list| {
                    if !text.is_empty() {
                        list.object(|part| write_summary(part, text));
                    }
                });
                if !encrypted.is_empty() {
                    string(out, "encrypted_content", encrypted);
                }
            }
        }
    }

    /// Begins a part of a message.
    pub(super) fn open_part(&mut self, block: u64, is_refusal: bool, writer: &mut Writer, out: &mut Vec<u8>) {
        self.close(&mut Vec::new(), writer, out);
        self.block = block;
        let begun = Part { is_refusal, ..Part::default() };
        let (index, id) = (self.index(), &self.id);
        let ItemKind::Message { parts, part, .. } = &mut self.kind else { return };
        writer.event(out, "response.content_part.added", |event| {
            place(event, id, index, *parts);
            event.object("part", |out| begun.write(out));
        });
        *part = Some(begun);
    }

    pub(super) fn delta(&mut self, delta: &Delta<'_>, writer: &mut Writer, out: &mut Vec<u8>) {
        let (index, id) = (self.index(), &self.id);
        match (&mut self.kind, delta) {
            (
                ItemKind::Message { parts, part: Some(part), .. },
                Delta::Text(piece) | Delta::Refusal(piece),
            ) => {
                piece.write_inner(&mut part.text);
                let is_refusal = part.is_refusal;
                let kind = if is_refusal { "response.refusal.delta" } else { "response.output_text.delta" };
                writer.event(out, kind, |event| {
                    place(event, id, index, *parts);
                    event.text("delta", piece);
                    if !is_refusal {
                        event.json("logprobs", "[]");
                    }
                });
            }
            (ItemKind::Message { part: Some(part), .. }, Delta::Citation(raw)) => {
                part.citations.push(raw.get().to_owned());
            }
            (
                ItemKind::Message { parts, part: Some(part), .. },
                Delta::Native { dialect: Dialect::Responses, raw },
            ) => {
                part.annotations.push(raw.get().as_bytes().to_vec());
                part.tell(id, index, *parts, writer, out);
            }
            (ItemKind::Call { arguments, closed: false, .. }, Delta::Arguments(piece)) => {
                piece.write_inner(arguments);
                writer.event(out, "response.function_call_arguments.delta", |event| {
                    event.str("item_id", id);
                    event.number("output_index", index);
                    event.text("delta", piece);
                });
            }
            (ItemKind::Reasoning { text, closed: false, .. }, Delta::Thinking(piece)) => {
                if text.is_empty() {
                    summary_event(writer, out, "part.added", id, index, |event| {
                        event.object("part", |part| write_summary(part, b""));
                    });
                }
                piece.write_inner(text);
                summary_event(writer, out, "text.delta", id, index, |event| event.text("delta", piece));
            }
            (ItemKind::Reasoning { encrypted, .. }, Delta::Signature(piece)) => piece.write_inner(encrypted),
            _ => {}
        }
    }

    /// Keeps log probabilities of the text that is open, the elements of a list.
    pub(super) fn logprobs(&mut self, elements: &str) {
        if let ItemKind::Message { part: Some(part), .. } = &mut self.kind
            && !elements.is_empty()
        {
            if !part.logprobs.is_empty() {
                part.logprobs.push(b',');
            }
            part.logprobs.extend_from_slice(elements.as_bytes());
        }
    }

    /// Ends what is open of the item, unless that is done; `annotations` are its text's.
    pub(super) fn close(&mut self, annotations: &mut Vec<Vec<u8>>, writer: &mut Writer, out: &mut Vec<u8>) {
        let (index, id) = (self.index(), &self.id);
        match &mut self.kind {
            ItemKind::Message { content, parts, part } => {
                let Some(mut whole) = part.take() else { return };
                whole.annotations.append(annotations);
                whole.cite();
                whole.tell(id, index, *parts, writer, out);
                let (kind, member) = match whole.is_refusal {
                    true => ("response.refusal.done", "refusal"),
                    false => ("response.output_text.done", "text"),
                };
                writer.event(out, kind, |event| {
                    place(event, id, index, *parts);
                    string(event, member, &whole.text);
                    if !whole.is_refusal {
                        list(event, "logprobs", &whole.logprobs);
                    }
                });
                writer.event(out, "response.content_part.done", |event| {
                    place(event, id, index, *parts);
                    event.object("part", |out| whole.write(out));
                });
                if *parts > 0 {
                    content.push(b',');
                }
                content.reserve(whole.text.len() + whole.logprobs.len() + MEMBERS);
                crate::write::object(content, |out| whole.write(out));
                *parts += 1;
            }
            ItemKind::Call { arguments, closed, name, .. } => {
                if std::mem::replace(closed, true) {
                    return;
                }
                if arguments.is_empty() {
                    // A call of a tool without arguments has none in its deltas, and its arguments are still an object.
                    arguments.extend_from_slice(b"{}");
                }
                writer.event(out, "response.function_call_arguments.done", |event| {
                    event.str("item_id", id);
                    event.number("output_index", index);
                    event.text("name", name);
                    string(event, "arguments", arguments);
                });
            }
            ItemKind::Reasoning { text, closed, .. } => {
                if std::mem::replace(closed, true) || text.is_empty() {
                    return;
                }
                summary_event(writer, out, "text.done", id, index, |event| string(event, "text", text));
                summary_event(writer, out, "part.done", id, index, |event| {
                    event.object("part", |part| write_summary(part, text));
                });
            }
        }
    }
}

// ===== impl Part =====

impl Part {
    fn write(&self, out: &mut Object<'_>) {
        if self.is_refusal {
            out.str("type", "refusal");
            return string(out, "refusal", &self.text);
        }
        out.str("type", "output_text");
        string(out, "text", &self.text);
        out.array(ANNOTATIONS, |list| {
            self.annotations.iter().for_each(|annotation| list.item().extend_from_slice(annotation));
        });
        list(out, "logprobs", &self.logprobs);
    }

    /// Makes annotations of citations, now that the text is whole.
    fn cite(&mut self) {
        if self.citations.is_empty() {
            return;
        }
        let json = [b"\"", &self.text[..], b"\""].concat();
        let json = String::from_utf8(json).unwrap_or_default();
        let length = Text::from_json(&json).map_or(0, |text| text.decode().chars().count());
        for citation in self.citations.drain(..) {
            let raw = serde_json::from_str(&citation).ok();
            self.annotations.extend(raw.and_then(|raw| of_anthropic(raw, length)));
        }
    }

    /// Tells of the annotations that are new.
    fn tell(&mut self, id: &str, item: u64, index: u64, writer: &mut Writer, out: &mut Vec<u8>) {
        for (number, annotation) in self.annotations.iter().enumerate().skip(self.told) {
            writer.event(out, "response.output_text.annotation.added", |event| {
                place(event, id, item, index);
                event.number("annotation_index", number as u64);
                event.key("annotation").extend_from_slice(annotation);
            });
        }
        self.told = self.annotations.len();
    }
}

/// Bytes of a part beside what it says.
const MEMBERS: usize = 64;

fn place(event: &mut Object<'_>, id: &str, item: u64, part: u64) {
    event.str("item_id", id);
    event.number("output_index", item);
    event.number("content_index", part);
}

fn summary_event(
    writer: &mut Writer,
    out: &mut Vec<u8>,
    kind: &str,
    id: &str,
    index: u64,
    members: impl FnOnce(&mut Object<'_>),
) {
    writer.event(out, &format!("response.reasoning_summary_{kind}"), |event| {
        event.str("item_id", id);
        event.number("output_index", index);
        event.number("summary_index", 0);
        members(event);
    });
}

fn write_summary(part: &mut Object<'_>, text: &[u8]) {
    part.str("type", "summary_text");
    string(part, "text", text);
}

/// Writes a string that stands in JSON already, without the quotes.
fn string(out: &mut Object<'_>, name: &str, inner: &[u8]) {
    let json = out.key(name);
    json.push(b'"');
    json.extend_from_slice(inner);
    json.push(b'"');
}

/// Writes a list of items that stand in JSON already, with commas between them.
fn list(out: &mut Object<'_>, name: &str, items: &[u8]) {
    let json = out.key(name);
    json.push(b'[');
    json.extend_from_slice(items);
    json.push(b']');
}
