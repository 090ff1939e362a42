//! The output of a stream, item by item, as blocks that come one after another.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The block that is open, of those that come one after another.
    open: Option<u64>,
    /// The calls that are open: they may come side by side.
    open_calls: BTreeSet<u64>,
    /// Whether each item is whole. Its id may change from event to event (GitHub Copilot's do): its index is what tells it.
    items: BTreeMap<u64, bool>,
    /// By the indices of their items, and their places in those.
    parts: BTreeMap<(u64, u64), Part>,
}

/// A block: a part of a message, or the one of an item that is no message.
#[derive(Debug)]
struct Part {
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

    /// The parts of an item that were met.
    fn parts_of(&self, index: u64) -> impl Iterator<Item = (u64, &Part)> {
        self.parts.range((index, 0)..=(index, u64::MAX)).map(|((_, place), part)| (*place, part))
    }

    /// Opens a block. All but calls come one after another: what is still open of them has ended.
    fn begin<'a>(&mut self, opening: Opening<'a>, sink: &mut impl FnMut(Event<'a>)) -> u64 {
        self.close(sink);
        let block = self.next_block;
        self.next_block += 1;
        match opening {
            Opening::ToolCall { .. } => _ = self.open_calls.insert(block),
            _ => self.open = Some(block),
        }
        sink(Event::Open { choice: 0, block, opening });
        block
    }

    /// A part, which is opened when it is new.
    fn part<'a>(
        &mut self,
        at: (u64, u64),
        opening: Opening<'a>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> &mut Part {
        let block = match self.parts.get(&at) {
            Some(known) => known.block,
            None => self.begin(opening, sink),
        };
        self.items.entry(at.0).or_default();
        self.parts.entry(at).or_insert(Part { block, said: false, source: None })
    }

    /// More of a part, in another block where its own has ended.
    pub(super) fn say<'a>(
        &mut self,
        at: (u64, u64),
        opening: Opening<'a>,
        delta: Option<Delta<'a>>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let mut block = self.part(at, opening.clone(), sink).block;
        let Some(delta) = delta else { return };
        let is_native = matches!(delta, Delta::Native { .. });
        if !is_native && delta.is_empty() {
            return;
        }
        if !is_native && self.open != Some(block) {
            block = self.begin(opening.clone(), sink);
        }
        let part = self.part(at, opening, sink);
        part.said |= !is_native;
        part.block = block;
        sink(Event::Delta { choice: 0, block, delta });
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

    /// More of a reasoning item, or all of one of its parts; in another block where its own has ended. Of its two lists the one that comes
    /// first is told.
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
            _ => {}
        }
        part.said = true;
        let mut block = part.block;
        if self.open != Some(block) {
            block = self.begin(Opening::Thinking, sink);
            self.part((index, 0), Opening::Thinking, sink).block = block;
        } else if before.is_some_and(|other| other != source) {
            sink(Event::Delta { choice: 0, block, delta: Delta::Thinking(SEPARATOR.into()) });
        }
        sink(Event::Delta { choice: 0, block, delta: Delta::Thinking(text) });
    }

    /// More of a call's arguments, or all of them; without its item they are nobody's.
    pub(super) fn argue<'a>(
        &mut self,
        index: u64,
        text: Option<Text<'a>>,
        whole: bool,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let part = self.parts.get_mut(&(index, 0));
        let (Some(part), Some(text)) = (part, text.filter(|text| !text.is_empty())) else { return };
        let block = part.block;
        if !(std::mem::replace(&mut part.said, true) && whole) {
            sink(Event::Delta { choice: 0, block, delta: Delta::Arguments(text) });
        }
        if whole {
            self.close_call(block, sink);
        }
    }

    pub(super) fn added<'a>(
        &mut self,
        index: u64,
        raw: Option<&'a RawValue>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        self.items.entry(index).or_default();
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
        if self.items.insert(index, true) == Some(true) {
            return;
        }
        let wire: WireItem<'a> = read(Some(raw));
        match wire.kind.as_ref().map(Text::decode).as_deref() {
            Some("message") => {
                let parts: Vec<&'a RawValue> =
                    wire.content.and_then(|raw| document(raw.get()).ok()).unwrap_or_default();
                // By number: a part's index in the events may be another than its place (Bedrock's are).
                let known: Vec<u64> = self.parts_of(index).map(|(place, _)| place).collect();
                let next = known.last().map_or(0, |last| last.saturating_add(1));
                for (part, raw) in known.into_iter().chain(next..).zip(parts) {
                    self.complete_part((index, part), raw, sink);
                }
            }
            Some("function_call") => {
                let arguments =
                    wire.arguments.map(|raw| Text::from_json(raw.get()).unwrap_or(raw.get().into()));
                self.call(index, wire.call_id.or(wire.id), wire.name, sink);
                self.argue(index, arguments, true, sink);
                if let Some(block) = self.parts.get(&(index, 0)).map(|part| part.block) {
                    self.close_call(block, sink);
                }
            }
            Some("reasoning") => self.reasoned(index, raw, sink),
            _ => {
                let opening = Opening::Native { dialect: Dialect::Responses, raw };
                self.part((index, 0), opening, sink);
            }
        }
        if self.parts_of(index).any(|(_, part)| self.open == Some(part.block)) {
            self.close(sink);
        }
    }

    fn reasoned<'a>(&mut self, index: u64, raw: &'a RawValue, sink: &mut impl FnMut(Event<'a>)) {
        let Ok(block) = items::reasoning(raw) else { return };
        match block.kind {
            BlockKind::Thinking { text, signature } => {
                if self.parts_of(index).next().is_none() {
                    self.think(index, (Source::Summary, 0), Some(text), false, sink);
                }
                if let Some(signature) = signature.filter(|signature| !signature.is_empty()) {
                    let block = self.part((index, 0), Opening::Thinking, sink).block;
                    // One that has ended cannot be signed any more.
                    if self.open == Some(block) {
                        sink(Event::Delta { choice: 0, block, delta: Delta::Signature(signature) });
                    }
                }
            }
            BlockKind::RedactedThinking { data } => {
                self.part((index, 0), Opening::RedactedThinking { data }, sink);
            }
            _ => {}
        }
    }

    /// All of a part of a message: news where no piece of it came.
    pub(super) fn complete_part<'a>(
        &mut self,
        at: (u64, u64),
        raw: &'a RawValue,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        if self.parts.get(&at).is_some_and(|part| part.said) {
            return;
        }
        match items::part(raw).map(|block| block.kind) {
            Ok(BlockKind::Text { text, .. }) => self.say(at, Opening::Text, Some(Delta::Text(text)), sink),
            Ok(BlockKind::Refusal(text)) => self.say(at, Opening::Refusal, Some(Delta::Refusal(text)), sink),
            _ => {}
        }
    }

    /// A part of a message is whole, unless its text is still to come with its item. Reasoning is closed with its item, which brings what is
    /// encrypted.
    pub(super) fn close_part<'a>(&mut self, at: (u64, u64), sink: &mut impl FnMut(Event<'a>)) {
        let is_whole = |part: &Part| part.said && part.source.is_none() && self.open == Some(part.block);
        if self.parts.get(&at).is_some_and(is_whole) {
            self.close(sink);
        }
    }

    /// What is open is whole, calls aside.
    fn close<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if let Some(block) = self.open.take() {
            sink(Event::Close { choice: 0, block });
        }
    }

    fn close_call<'a>(&mut self, block: u64, sink: &mut impl FnMut(Event<'a>)) {
        if self.open_calls.remove(&block) {
            sink(Event::Close { choice: 0, block });
        }
    }

    /// The answer is whole; `output` is its items, told again. Some backends send the answer in one piece, others leave this list empty, and
    /// in others the indices are not the places: there, so many items as were told of are known.
    pub(super) fn end<'a>(&mut self, output: Vec<&'a RawValue>, sink: &mut impl FnMut(Event<'a>)) {
        let told: Vec<u64> = self.items.keys().copied().collect();
        let next = told.last().map_or(0, |last| last.saturating_add(1));
        if told.last().is_none_or(|last| *last < output.len() as u64) {
            for (index, raw) in (0..).zip(output) {
                self.done(index, raw, sink);
            }
        } else if told.len() <= output.len() {
            for (index, raw) in told.into_iter().chain(next..).zip(output) {
                self.done(index, raw, sink);
            }
        }
        self.close(sink);
        for block in std::mem::take(&mut self.open_calls) {
            sink(Event::Close { choice: 0, block });
        }
    }
}
