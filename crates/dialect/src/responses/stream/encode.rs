//! Writing a stream of Responses events.

mod item;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Usage};

use self::item::{Item, ItemKind};
use super::super::{
    answer::{self, Head, write_echo},
    citation::{ANNOTATIONS, of_chat},
    response::logprobs,
    status,
    usage::write_usage,
};
use crate::{
    Delta, Event, Finish, Opening, Scope, Spent, Text,
    read::TIER,
    write::{Object, join_lines, object},
};

/// Turns [`Event`]s into the bytes of a stream for a caller of Responses. Only the first answer has a place in it. Its last event repeats the
/// whole answer: so much is held, once, and nothing beyond.
#[derive(Debug)]
pub struct StreamEncoder {
    writer: Writer,
    now: u64,
    started: bool,
    over: bool,
    head: Head<'static>,
    /// The items that are whole, by their places.
    output: BTreeMap<usize, Whole>,
    next_place: usize,
    /// The items that are not, by their places: the latest one, and calls beside it.
    items: BTreeMap<usize, Item>,
    /// Those of them of which nothing more comes once another begins.
    over_next: BTreeSet<usize>,
    /// The place of the item that each of the provider's blocks was last.
    blocks: BTreeMap<u64, usize>,
    /// Annotations whose text is not open.
    annotations: Vec<Vec<u8>>,
    usage: Option<Usage>,
    /// As the provider stated it last, where its form is Responses'.
    raw_usage: Option<String>,
    tier: Option<String>,
    finish: Option<Finish<'static>>,
}

/// An item that is whole, as the last event repeats it.
#[derive(Debug)]
enum Whole {
    /// One of ours, with its status.
    Item(Item, &'static str),
    /// One of the provider's own, as JSON.
    Native(String),
}

/// Writes events, numbered as they come.
#[derive(Debug, Default)]
struct Writer {
    next: u64,
}

// ===== impl Writer =====

impl Writer {
    fn event(&mut self, out: &mut Vec<u8>, kind: &str, members: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let start = out.len();
        object(out, |event| {
            event.str("type", kind);
            event.number("sequence_number", self.next);
            members(event);
        });
        join_lines(out, start);
        out.extend_from_slice(b"\n\n");
        self.next += 1;
    }
}

// ===== impl StreamEncoder =====

impl StreamEncoder {
    /// At the start of a stream; `now`, in seconds of the Unix epoch, stands in where the provider gives no time.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            writer: Writer::default(),
            now,
            started: false,
            over: false,
            head: Head::new(None, None, now),
            output: BTreeMap::new(),
            next_place: 0,
            items: BTreeMap::new(),
            over_next: BTreeSet::new(),
            blocks: BTreeMap::new(),
            annotations: Vec::new(),
            usage: None,
            raw_usage: None,
            tier: None,
            finish: None,
        }
    }

    /// Appends the bytes of one event, none for what only another dialect has, and none behind the end.
    pub fn encode(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, model, created } => {
                let (id, model) = (id.clone().map(Text::into_owned), model.clone().map(Text::into_owned));
                self.head = Head::new(id.as_ref(), model.as_ref(), created.unwrap_or(self.now));
                self.start(out);
            }
            Event::Open { choice: 0, block, opening } => self.open(*block, opening, out),
            Event::Delta { choice: 0, block, delta } => self.delta(*block, delta, out),
            Event::Close { choice: 0, block } => self.close(*block, out),
            Event::Finish { choice: 0, finish } => self.finish = Some(own(finish)),
            Event::Logprobs { choice: 0, raw } => {
                let elements = logprobs(raw).and_then(|list| list.get().strip_prefix('[')?.strip_suffix(']'));
                if let (Some(mut item), Some(elements)) = (self.items.last_entry(), elements) {
                    item.get_mut().logprobs(elements.trim_ascii());
                }
            }
            Event::Usage(spent) => self.count(spent),
            Event::Extra { choice: None, scope: Scope::Answer, name, raw } if *name == *TIER => {
                self.tier = answer::tier(raw.get()).map(str::to_owned);
            }
            // Of OpenAI's chat, whose annotations are the message's.
            Event::Extra { choice: Some(0), scope: Scope::Delta, name, raw } if *name == *ANNOTATIONS => {
                self.annotations.extend(of_chat(raw));
            }
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Error(problem) => {
                self.over = true;
                out.extend_from_slice(&problem.to_event(Dialect::Responses));
            }
            Event::End => self.end(out),
            _ => {}
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        for kind in ["response.created", "response.in_progress"] {
            let head = &self.head;
            self.writer.event(out, kind, |event| {
                event.object("response", |response| {
                    head.write(response, &"in_progress".into(), None);
                    response.array("output", |_| {});
                    response.json("usage", "null");
                    write_echo(response);
                });
            });
        }
    }

    fn open(&mut self, block: u64, opening: &Opening<'_>, out: &mut Vec<u8>) {
        self.start(out);
        let kind = match opening {
            Opening::Text | Opening::Refusal => {
                let is_refusal = matches!(opening, Opening::Refusal);
                let is_message = |item: &Item| matches!(item.kind, ItemKind::Message { .. });
                if !self.items.last_key_value().is_some_and(|(_, item)| is_message(item)) {
                    self.next_item(ItemKind::message(), "msg", block, out);
                }
                if let Some(mut item) = self.items.last_entry() {
                    self.blocks.insert(block, *item.key());
                    item.get_mut().open_part(block, is_refusal, &mut self.writer, out);
                }
                return;
            }
            Opening::Native { dialect: Dialect::Responses, raw } => return self.native(raw, out),
            Opening::Native { .. } => return,
            Opening::Thinking => ItemKind::reasoning(),
            Opening::RedactedThinking { data } => ItemKind::redacted(data),
            Opening::ToolCall { id, name } => ItemKind::call(id, name, self.next_place),
        };
        let prefix = if matches!(kind, ItemKind::Call { .. }) { "fc" } else { "rs" };
        self.next_item(kind, prefix, block, out);
    }

    /// Begins an item; the one before it is whole, unless it is a call that goes on.
    fn next_item(&mut self, kind: ItemKind, prefix: &str, block: u64, out: &mut Vec<u8>) {
        self.end_items("completed", out);
        let place = self.place();
        let item = Item::new(place, self.head.item_id(prefix, place), block, kind);
        self.writer.event(out, "response.output_item.added", |event| {
            event.number("output_index", item.index());
            event.object("item", |out| item.write(out, "in_progress"));
        });
        if item.is_over() {
            self.over_next.insert(place);
        }
        self.blocks.insert(block, place);
        self.items.insert(place, item);
    }

    fn native(&mut self, raw: &RawValue, out: &mut Vec<u8>) {
        self.end_items("completed", out);
        let place = self.place();
        for kind in ["response.output_item.added", "response.output_item.done"] {
            self.writer.event(out, kind, |event| {
                event.number("output_index", place as u64);
                event.json("item", raw.get());
            });
        }
        self.output.insert(place, Whole::Native(raw.get().to_owned()));
    }

    /// The place of an item that begins.
    const fn place(&mut self) -> usize {
        self.next_place += 1;
        self.next_place - 1
    }

    fn delta(&mut self, block: u64, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let item = self.blocks.get(&block).and_then(|place| self.items.get_mut(place));
        if let Some(item) = item.filter(|item| item.block == block) {
            item.delta(delta, &mut self.writer, out);
        }
    }

    fn close(&mut self, block: u64, out: &mut Vec<u8>) {
        let item = self.blocks.get(&block).and_then(|place| self.items.get_mut(place));
        if let Some(item) = item.filter(|item| item.block == block) {
            item.close(&mut self.annotations, &mut self.writer, out);
            self.over_next.insert(item.place);
        }
    }

    /// Ends the items of which nothing more comes, when it is known what follows: the last ones may be incomplete. They are kept for the last
    /// event.
    fn end_items(&mut self, status: &'static str, out: &mut Vec<u8>) {
        for place in std::mem::take(&mut self.over_next) {
            let Some(mut item) = self.items.remove(&place) else { continue };
            item.close(&mut self.annotations, &mut self.writer, out);
            self.writer.event(out, "response.output_item.done", |event| {
                event.number("output_index", item.index());
                event.object("item", |out| item.write(out, status));
            });
            self.output.insert(place, Whole::Item(item, status));
        }
    }

    fn count(&mut self, spent: &Spent<'_>) {
        match &mut self.usage {
            Some(counts) => counts.update(&spent.counts),
            None => self.usage = Some(spent.counts),
        }
        self.raw_usage = (spent.dialect == Dialect::Responses).then(|| spent.raw.get().to_owned());
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.over = true;
        let finish = self.finish.take();
        let (word, incomplete) = status(finish.as_ref());
        let kind = match &*word.decode() {
            "incomplete" => "response.incomplete",
            "failed" => "response.failed",
            _ => "response.completed",
        };
        self.over_next.extend(self.items.keys());
        self.end_items(if word == *"incomplete" { "incomplete" } else { "completed" }, out);
        self.writer.event(out, kind, |event| {
            event.object("response", |response| {
                self.head.write(response, &word, incomplete.as_ref());
                response.array("output", |list| {
                    while let Some((_, whole)) = self.output.pop_first() {
                        match whole {
                            Whole::Item(item, status) => list.object(|out| item.write(out, status)),
                            Whole::Native(json) => list.json(&json),
                        }
                    }
                });
                match (&self.raw_usage, &self.usage) {
                    (Some(raw), _) => response.json("usage", raw),
                    (None, Some(counts)) => response.object("usage", |usage| write_usage(usage, counts)),
                    (None, None) => response.json("usage", "null"),
                }
                write_echo(response);
                if let Some(tier) = &self.tier {
                    response.json(TIER, tier);
                }
            });
        });
    }
}

fn own(finish: &Finish<'_>) -> Finish<'static> {
    Finish {
        reason: finish.reason,
        native: finish.native.clone().into_owned(),
        dialect: finish.dialect,
        stop_sequence: None,
    }
}
