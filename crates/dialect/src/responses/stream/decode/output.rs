//! The output of a stream, item by item, as blocks that come one after another.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{
    super::super::items::{self, SEPARATOR},
    read,
};
use crate::{
    BlockKind, Delta, Event, Opening, Text,
    read::{document, wire_object},
};

wire_object! {
    struct WireItem {
        kind: Text<'a> = "type",
        id: Text<'a> = "id",
        call_id: Text<'a> = "call_id",
        name: Text<'a> = "name",
        arguments: &'a RawValue = "arguments",
        content: &'a RawValue = "content",
    }
}

/// What has been told of the output.
#[derive(Debug, Default)]
pub(super) struct Output {
    calls: bool,
    next_block: u64,
    open: Option<u64>,
    items: Vec<Item>,
}

/// An item of the output. Its id may change from event to event (GitHub Copilot's do): its index is what tells it.
#[derive(Debug)]
struct Item {
    index: u64,
    done: bool,
    parts: Vec<Part>,
}

/// A block: a part of a message, or the one of an item that is no message.
#[derive(Debug)]
struct Part {
    /// Its place in the message.
    index: u64,
    block: u64,
    /// Whether some of it has been given out.
    said: bool,
    /// Which list of a reasoning item its text comes from, and which part of it.
    source: Option<(Source, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Summary,
    Content,
}

// ===== impl Output =====

impl Output {
    pub(super) const fn has_calls(&self) -> bool {
        self.calls
    }

    /// The place of an item that is met, or that is new. They come in their order, as a rule.
    fn item(&mut self, index: u64) -> usize {
        let met = self.items.last().is_some_and(|last| last.index >= index);
        let known = if met { self.items.iter().rposition(|item| item.index == index) } else { None };
        known.unwrap_or_else(|| {
            self.items.push(Item { index, done: false, parts: Vec::new() });
            self.items.len() - 1
        })
    }

    /// A part, which is opened when it is new. Blocks come one after another: what is still open has ended.
    fn part<'a>(
        &mut self,
        (index, part): (u64, u64),
        opening: Opening<'a>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> &mut Part {
        let item = self.item(index);
        let known = self.items[item].parts.iter().rposition(|known| known.index == part);
        let place = known.unwrap_or_else(|| {
            self.close(sink);
            let block = self.next_block;
            self.next_block += 1;
            self.open = Some(block);
            sink(Event::Open { choice: 0, block, opening });
            let parts = &mut self.items[item].parts;
            parts.push(Part { index: part, block, said: false, source: None });
            parts.len() - 1
        });
        &mut self.items[item].parts[place]
    }

    /// More of a part.
    pub(super) fn say<'a>(
        &mut self,
        at: (u64, u64),
        opening: Opening<'a>,
        delta: Option<Delta<'a>>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let part = self.part(at, opening, sink);
        let Some(delta) = delta else { return };
        let is_native = matches!(delta, Delta::Native { .. });
        if is_native || !delta.is_empty() {
            part.said |= !is_native;
            sink(Event::Delta { choice: 0, block: part.block, delta });
        }
    }

    /// All of a part: news where no piece of it came.
    pub(super) fn complete<'a>(
        &mut self,
        at: (u64, u64),
        opening: Opening<'a>,
        whole: Option<Delta<'a>>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let said = self.part(at, opening.clone(), sink).said;
        self.say(at, opening, whole.filter(|_| !said), sink);
    }

    /// More of a reasoning item, or all of one of its parts. Of its two lists the one that comes first is told.
    pub(super) fn think<'a>(
        &mut self,
        index: u64,
        source: (Source, u64),
        text: Option<Text<'a>>,
        whole: bool,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        let part = self.part((index, 0), Opening::Thinking, sink);
        let before = part.source.replace(source);
        match before {
            Some((list, _)) if list != source.0 => {
                part.source = before;
                return;
            }
            Some(same) if same == source && whole => return,
            Some(other) if other != source => {
                let delta = Delta::Thinking(SEPARATOR.into());
                sink(Event::Delta { choice: 0, block: part.block, delta });
            }
            _ => {}
        }
        part.said = true;
        sink(Event::Delta { choice: 0, block: part.block, delta: Delta::Thinking(text) });
    }

    /// More of a call's arguments, or all of them; without its item they are nobody's.
    pub(super) fn argue<'a>(
        &mut self,
        index: u64,
        text: Option<Text<'a>>,
        whole: bool,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let part =
            self.items.iter_mut().rfind(|item| item.index == index).and_then(|item| item.parts.first_mut());
        let (Some(part), Some(text)) = (part, text.filter(|text| !text.is_empty())) else { return };
        if !(whole && part.said) {
            part.said = true;
            sink(Event::Delta { choice: 0, block: part.block, delta: Delta::Arguments(text) });
        }
    }

    pub(super) fn added<'a>(
        &mut self,
        index: u64,
        raw: Option<&'a RawValue>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        self.item(index);
        let wire: WireItem<'a> = read(raw);
        if wire.kind.is_some_and(|kind| kind == *"function_call") {
            let (id, name) = (wire.call_id.or(wire.id), wire.name);
            self.call(index, id, name, sink);
        }
    }

    fn call<'a>(
        &mut self,
        index: u64,
        id: Option<Text<'a>>,
        name: Option<Text<'a>>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        self.calls = true;
        let none = || "".into();
        let opening = Opening::ToolCall { id: id.unwrap_or_else(none), name: name.unwrap_or_else(none) };
        self.part((index, 0), opening, sink);
    }

    /// An item that is whole: what no event has said of it is told now.
    pub(super) fn done<'a>(&mut self, index: u64, raw: &'a RawValue, sink: &mut impl FnMut(Event<'a>)) {
        let item = self.item(index);
        if std::mem::replace(&mut self.items[item].done, true) {
            return;
        }
        let wire: WireItem<'a> = read(Some(raw));
        match wire.kind.as_ref().map(Text::decode).as_deref() {
            Some("message") => {
                let parts: Vec<&'a RawValue> =
                    wire.content.and_then(|raw| document(raw.get()).ok()).unwrap_or_default();
                // By number: a part's index in the events may be another than its place (Bedrock's are).
                let known = self.items[item].parts.len();
                for (part, raw) in parts.into_iter().enumerate().skip(known) {
                    self.whole_part((index, part as u64), raw, sink);
                }
            }
            Some("function_call") => {
                let arguments =
                    wire.arguments.map(|raw| Text::from_json(raw.get()).unwrap_or(raw.get().into()));
                self.call(index, wire.call_id.or(wire.id), wire.name, sink);
                self.argue(index, arguments, true, sink);
            }
            Some("reasoning") => self.reasoned(index, raw, sink),
            _ => {
                let opening = Opening::Native { dialect: Dialect::Responses, raw };
                self.part((index, 0), opening, sink);
            }
        }
        self.close(sink);
    }

    fn reasoned<'a>(&mut self, index: u64, raw: &'a RawValue, sink: &mut impl FnMut(Event<'a>)) {
        let Ok(block) = items::reasoning(raw) else { return };
        let item = self.item(index);
        match block.kind {
            BlockKind::Thinking { text, signature } => {
                if self.items[item].parts.is_empty() {
                    self.think(index, (Source::Summary, 0), Some(text), false, sink);
                }
                if let Some(signature) = signature.filter(|signature| !signature.is_empty()) {
                    let block = self.part((index, 0), Opening::Thinking, sink).block;
                    sink(Event::Delta { choice: 0, block, delta: Delta::Signature(signature) });
                }
            }
            BlockKind::RedactedThinking { data } => {
                self.part((index, 0), Opening::RedactedThinking { data }, sink);
            }
            _ => {}
        }
    }

    fn whole_part<'a>(&mut self, at: (u64, u64), raw: &'a RawValue, sink: &mut impl FnMut(Event<'a>)) {
        match items::part(raw).map(|block| block.kind) {
            Ok(BlockKind::Text { text, .. }) => self.say(at, Opening::Text, Some(Delta::Text(text)), sink),
            Ok(BlockKind::Refusal(text)) => self.say(at, Opening::Refusal, Some(Delta::Refusal(text)), sink),
            _ => {}
        }
    }

    /// A part of a message is whole. Reasoning is closed with its item, which brings what is encrypted.
    pub(super) fn close_part<'a>(&mut self, at: (u64, u64), sink: &mut impl FnMut(Event<'a>)) {
        let item = self.items.iter().rfind(|item| item.index == at.0);
        let part = item.and_then(|item| item.parts.iter().rfind(|part| part.index == at.1));
        if part.is_some_and(|part| part.source.is_none() && self.open == Some(part.block)) {
            self.close(sink);
        }
    }

    /// What is open is whole.
    pub(super) fn close<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if let Some(block) = self.open.take() {
            sink(Event::Close { choice: 0, block });
        }
    }
}
