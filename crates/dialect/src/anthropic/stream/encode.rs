//! Writing a stream of Messages events.

use std::collections::{BTreeMap, VecDeque};

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Usage};

use super::super::{
    response::{is_anthropic_member, write_call_id, write_stop},
    usage::write_usage,
};
use crate::{
    Delta, Event, Finish, Opening, Scope, Spent, Text,
    write::{Object, join_lines, object},
};

/// Turns [`Event`]s into the bytes of a stream for a caller of Anthropic's dialect. Only the first answer has a place in it.
#[derive(Debug, Default)]
pub struct StreamEncoder {
    started: bool,
    id: Option<Text<'static>>,
    model: Option<Text<'static>>,
    usage: Option<Usage>,
    /// As the provider stated it last, where its form is Anthropic's.
    raw_usage: Option<String>,
    /// The index that was given out last for each of the provider's blocks.
    blocks: BTreeMap<u64, u64>,
    next_index: u64,
    /// The index of the call that is open: blocks stand one after another, and what is behind it waits.
    call: Option<u64>,
    /// The blocks behind the open call, in their order.
    waiting: VecDeque<Waiting>,
    calls: bool,
    finish: Option<Finish<'static>>,
    extra: Vec<(String, String)>,
    /// Members of the block that opens next.
    block_extra: Vec<(String, String)>,
}

/// A block that waits for a call ahead of it.
#[derive(Debug)]
struct Waiting {
    is_call: bool,
    is_whole: bool,
    /// Its events.
    events: Vec<u8>,
}

// ===== impl StreamEncoder =====

impl StreamEncoder {
    /// An encoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the bytes of one event, none for what only another dialect has.
    pub fn encode(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, .. } => {
                self.id = id.clone().map(Text::into_owned);
                self.model = model.clone().map(Text::into_owned);
                self.start(out);
            }
            Event::Open { choice: 0, block, opening } => self.open(*block, opening, out),
            Event::Delta { choice: 0, block, delta } => self.delta(*block, delta, out),
            Event::Close { choice: 0, block } => {
                if let Some(index) = self.blocks.get(block) {
                    self.close(*index, out);
                }
            }
            Event::Finish { choice: 0, finish } => self.finish = Some(own(finish)),
            Event::Usage(spent) => self.count(spent),
            Event::Ping => write_event(out, "ping", |_| {}),
            Event::Error(problem) => out.extend_from_slice(&problem.to_event(Dialect::Anthropic)),
            Event::End => self.end(out),
            Event::Extra { choice: None, name, raw, .. } => keep(&mut self.extra, name, raw),
            Event::Extra { choice: Some(0), scope: Scope::Block, name, raw } => {
                keep(&mut self.block_extra, name, raw);
            }
            _ => {}
        }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        write_event(out, "message_start", |event| {
            event.object("message", |message| {
                message.text("id", self.id.as_ref().unwrap_or(&"".into()));
                message.str("type", "message");
                message.str("role", "assistant");
                message.text("model", self.model.as_ref().unwrap_or(&"".into()));
                message.array("content", |_| {});
                message.json("stop_reason", "null");
                message.json("stop_sequence", "null");
                self.write_usage(message);
            });
        });
    }

    fn open(&mut self, block: u64, opening: &Opening<'_>, out: &mut Vec<u8>) {
        let mut extra = std::mem::take(&mut self.block_extra);
        if let Opening::Native { dialect, .. } = opening
            && *dialect != Dialect::Anthropic
        {
            return;
        }
        extra.retain(|(name, _)| is_anthropic_member(name));
        self.start(out);
        let index = self.next_index;
        self.next_index += 1;
        self.blocks.insert(block, index);
        let is_call = matches!(opening, Opening::ToolCall { .. });
        self.calls |= is_call;
        match self.call {
            Some(_) => self.waiting.push_back(Waiting { is_call, is_whole: false, events: Vec::new() }),
            None => self.call = is_call.then_some(index),
        }
        write_event(self.place(index, out), "content_block_start", |event| {
            event.number("index", index);
            if let Opening::Native { raw, .. } = opening {
                return event.json("content_block", raw.get());
            }
            event.object("content_block", |out| {
                write_opening(out, opening, index);
                extra.iter().for_each(|(name, json)| out.json(name, json));
            });
        });
    }

    fn delta(&mut self, block: u64, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(index) = self.blocks.get(&block).copied() else { return };
        let out = self.place(index, out);
        let (kind, member, text) = match delta {
            Delta::Text(text) | Delta::Refusal(text) => ("text_delta", "text", text),
            Delta::Thinking(text) => ("thinking_delta", "thinking", text),
            Delta::Signature(text) => ("signature_delta", "signature", text),
            Delta::Arguments(text) => ("input_json_delta", "partial_json", text),
            Delta::Citation(raw) => {
                return write_delta(out, index, |event| {
                    event.object("delta", |delta| {
                        delta.str("type", "citations_delta");
                        delta.json("citation", raw.get());
                    });
                });
            }
            Delta::Native { dialect: Dialect::Anthropic, raw } => {
                return write_delta(out, index, |event| event.json("delta", raw.get()));
            }
            Delta::Native { .. } => return,
        };
        write_delta(out, index, |event| {
            event.object("delta", |delta| {
                delta.str("type", kind);
                delta.text(member, text);
            });
        });
    }

    /// Where the events of a block go.
    fn place<'o>(&'o mut self, index: u64, out: &'o mut Vec<u8>) -> &'o mut Vec<u8> {
        match self.waiting_for(index) {
            Some(waiting) => &mut waiting.events,
            None => out,
        }
    }

    fn waiting_for(&mut self, index: u64) -> Option<&mut Waiting> {
        let behind = index.checked_sub(self.call?)?.checked_sub(1)?;
        self.waiting.get_mut(usize::try_from(behind).ok()?)
    }

    fn close(&mut self, index: u64, out: &mut Vec<u8>) {
        let stop = |out: &mut Vec<u8>| {
            write_event(out, "content_block_stop", |event| event.number("index", index));
        };
        if let Some(waiting) = self.waiting_for(index) {
            waiting.is_whole = true;
            return stop(&mut waiting.events);
        }
        stop(out);
        if self.call != Some(index) {
            return;
        }
        // What waited is written, up to the next call that goes on.
        let mut next = index + 1;
        self.call = None;
        while self.call.is_none()
            && let Some(waiting) = self.waiting.pop_front()
        {
            out.extend_from_slice(&waiting.events);
            self.call = (waiting.is_call && !waiting.is_whole).then_some(next);
            next += 1;
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        while let Some(call) = self.call.filter(|_| !self.waiting.is_empty()) {
            self.close(call, out);
        }
        let finish = self.finish.take();
        write_event(out, "message_delta", |event| {
            event.object("delta", |delta| {
                write_stop(delta, finish.as_ref(), self.calls);
                if finish.as_ref().is_none_or(|finish| finish.dialect == Dialect::Anthropic) {
                    self.extra.iter().for_each(|(name, json)| delta.json(name, json));
                }
            });
            self.write_usage(event);
        });
        write_event(out, "message_stop", |_| {});
    }

    /// Anthropic's clients require usage, at the start too, when another dialect has stated none yet.
    fn write_usage(&self, out: &mut Object<'_>) {
        match (&self.raw_usage, &self.usage) {
            (Some(raw), _) => out.json("usage", raw),
            (None, Some(counts)) => out.object("usage", |usage| write_usage(usage, counts)),
            (None, None) => out.object("usage", |usage| {
                usage.number("input_tokens", 0);
                usage.number("output_tokens", 0);
            }),
        }
    }

    fn count(&mut self, spent: &Spent<'_>) {
        match &mut self.usage {
            Some(counts) => counts.update(&spent.counts),
            None => self.usage = Some(spent.counts),
        }
        self.raw_usage = (spent.dialect == Dialect::Anthropic).then(|| spent.raw.get().to_owned());
    }
}

fn write_opening(out: &mut Object<'_>, opening: &Opening<'_>, index: u64) {
    match opening {
        Opening::ToolCall { id, name } => {
            out.str("type", "tool_use");
            match id.is_empty() {
                true => out.str("id", &format!("toolu_{index}")),
                false => write_call_id(out.key("id"), id),
            }
            out.text("name", name);
            out.object("input", |_| {});
        }
        Opening::Thinking => {
            out.str("type", "thinking");
            out.str("thinking", "");
            out.str("signature", "");
        }
        Opening::RedactedThinking { data } => {
            out.str("type", "redacted_thinking");
            out.text("data", data);
        }
        Opening::Text | Opening::Refusal | Opening::Native { .. } => {
            out.str("type", "text");
            out.str("text", "");
        }
    }
}

fn keep(extra: &mut Vec<(String, String)>, name: &Text<'_>, raw: &RawValue) {
    let name = name.decode();
    extra.retain(|(known, _)| *known != name);
    // A provider that invents names is not remembered for ever.
    if extra.len() < MAX_EXTRAS {
        extra.push((name.into_owned(), raw.get().to_owned()));
    }
}

/// How many unknown members are remembered.
const MAX_EXTRAS: usize = 64;

fn own(finish: &Finish<'_>) -> Finish<'static> {
    Finish {
        reason: finish.reason,
        native: finish.native.clone().into_owned(),
        dialect: finish.dialect,
        stop_sequence: finish.stop_sequence.clone().map(Text::into_owned),
    }
}

fn write_delta(out: &mut Vec<u8>, index: u64, members: impl FnOnce(&mut Object<'_>)) {
    write_event(out, "content_block_delta", |event| {
        event.number("index", index);
        members(event);
    });
}

fn write_event(out: &mut Vec<u8>, kind: &str, members: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let start = out.len();
    object(out, |event| {
        event.str("type", kind);
        members(event);
    });
    join_lines(out, start);
    out.extend_from_slice(b"\n\n");
}
