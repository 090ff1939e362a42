//! Streams of `/v2/chat`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use ziggurat_core::{Cause, Problem};

use super::{finish, is_failure, read_usage, response::WireCall};
use crate::{
    Delta, Event, Malformed, Opening, Scope, Text, decode_error,
    openai::truncated,
    read::{Count, document, stated, wire_object},
};

wire_object! {
    struct WireEvent {
        kind: Text<'a> = "type",
        id: Text<'a> = "id",
        index: Count = "index",
        delta: &'a RawValue = "delta",
    }
    struct WireDelta { message: WireMessage<'a> = "message", }
    struct WireMessage {
        content: &'a RawValue = "content",
        tool_plan: Text<'a> = "tool_plan",
        tool_calls: &'a RawValue = "tool_calls",
        citations: &'a RawValue = "citations",
    }
    struct WirePart { kind: Text<'a> = "type", text: Text<'a> = "text", thinking: Text<'a> = "thinking", }
    struct WireEnd {
        finish_reason: Text<'a> = "finish_reason",
        usage: &'a RawValue = "usage",
        error: &'a RawValue = "error",
    }
}

/// Turns the data of a stream's events into [`Event`]s, one at a time.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    started: bool,
    /// The block of words that is open.
    open: Option<Open>,
    /// The calls that are open, by their indices.
    calls: BTreeMap<u64, Call>,
    /// The index of the call that began last.
    last_call: Option<u64>,
    next_block: u64,
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// Its index among the content; the plan of calls has none.
    index: Option<u64>,
    block: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

#[derive(Debug)]
struct Call {
    block: u64,
    /// Whether any of its arguments have come.
    argued: bool,
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// Reads the data of one event and gives what it says to `sink`; types that are not known are passed over.
    ///
    /// # Errors
    /// [`Malformed`], when it is not one.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        // What ends the stream stands in `message-end`; a terminator follows it.
        if self.over || data.trim_ascii() == "[DONE]" {
            return Ok(());
        }
        let event: WireEvent<'a> = document(data)?;
        let kind = event.kind.as_ref().map(Text::decode).unwrap_or_default();
        match &*kind {
            "content-delta" | "content-start" | "tool-plan-delta" | "tool-call-start" | "tool-call-delta"
            | "citation-start" => {
                let raw = event.delta.ok_or_else(|| Malformed::new("missing field", "delta"))?;
                let delta: WireDelta<'a> = document(raw.get()).map_err(|error| error.within("delta"))?;
                self.message(&kind, stated(event.index), delta.message.unwrap_or_default(), sink)?;
            }
            "content-end" => self.close(sink),
            "tool-call-end" => {
                let call = stated(event.index).or(self.last_call).and_then(|index| self.calls.remove(&index));
                if let Some(Call { block, .. }) = call {
                    sink(Event::Close { choice: 0, block });
                }
            }
            "message-start" => self.start(event.id, sink),
            "message-end" => self.end(event.delta, sink)?,
            // An error in the shape that it has outside of streams, too.
            "" => {
                self.over = true;
                sink(Event::Error(decode_error(None, data.as_bytes())));
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the stream where the provider's bytes end: without `message-end` the answer was cut.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if !std::mem::replace(&mut self.over, true) {
            sink(Event::Error(truncated()));
        }
    }

    fn start<'a>(&mut self, id: Option<Text<'a>>, sink: &mut impl FnMut(Event<'a>)) {
        if !std::mem::replace(&mut self.started, true) {
            sink(Event::Start { id, model: None, created: None });
        }
    }

    fn message<'a>(
        &mut self,
        kind: &str,
        index: Option<u64>,
        wire: WireMessage<'a>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        self.start(None, sink);
        if let Some(text) = wire.tool_plan.filter(|text| !text.is_empty()) {
            self.grow(None, Kind::Thinking, Delta::Thinking(text), sink);
        }
        match (kind, wire.content, wire.tool_calls) {
            ("content-start" | "content-delta", Some(raw), _) => {
                let part: WirePart<'a> = document(raw.get()).unwrap_or_default();
                if kind == "content-start" {
                    self.close(sink);
                }
                if let Some(text) = part.thinking.filter(|text| !text.is_empty()) {
                    self.grow(index, Kind::Thinking, Delta::Thinking(text), sink);
                }
                if let Some(text) = part.text.filter(|text| !text.is_empty()) {
                    self.grow(index, Kind::Text, Delta::Text(text), sink);
                }
            }
            ("tool-call-start", _, Some(raw)) => {
                let wire: WireCall<'a> = document(raw.get()).unwrap_or_default();
                let index = index.unwrap_or(self.last_call.map_or(0, |last| last.saturating_add(1)));
                return self.call(index, wire, true, sink);
            }
            ("tool-call-delta", _, Some(raw)) => {
                let wire: WireCall<'a> = document(raw.get()).unwrap_or_default();
                let index = index.or(self.last_call).unwrap_or(0);
                return self.call(index, wire, false, sink);
            }
            ("citation-start", ..) => {
                // An element of the list that a whole answer has.
                let citation = wire.citations.filter(|raw| raw.get() != "null");
                if let Some(raw) = citation {
                    let (choice, name) = (Some(0), "citations[]".into());
                    sink(Event::Extra { choice, scope: Scope::Delta, name, raw });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A call that begins, or a piece of one: several may come side by side.
    fn call<'a>(
        &mut self,
        index: u64,
        wire: WireCall<'a>,
        is_new: bool,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        let function = wire.function.unwrap_or_default();
        if is_new {
            for (name, raw) in wire.extra {
                let name = name.into_owned().into();
                sink(Event::Extra { choice: Some(0), scope: Scope::Block, name, raw });
            }
            let id = wire.id.unwrap_or_else(|| "".into());
            let name = function.name.unwrap_or_else(|| "".into());
            let block = self.begin(Opening::ToolCall { id, name }, sink);
            // One of the same index has ended without a word.
            if let Some(Call { block, .. }) = self.calls.insert(index, Call { block, argued: false }) {
                sink(Event::Close { choice: 0, block });
            }
            self.last_call = Some(index);
        }
        let Some(raw) = function.arguments.filter(|raw| raw.get() != "null") else { return Ok(()) };
        let text = Text::from_json(raw.get()).unwrap_or_else(|| raw.get().into());
        if text.is_empty() {
            return Ok(());
        }
        let Some(call) = self.calls.get_mut(&index) else {
            return Err(Malformed::new("a piece of a call that is not open", "delta.message.tool_calls"));
        };
        // A tool without parameters is called with `null`, which is also a value within the arguments of others.
        if !call.argued && text == *"null" {
            return Ok(());
        }
        call.argued = true;
        sink(Event::Delta { choice: 0, block: call.block, delta: Delta::Arguments(text) });
        Ok(())
    }

    fn end<'a>(
        &mut self,
        raw: Option<&'a RawValue>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        let raw = raw.ok_or_else(|| Malformed::new("missing field", "delta"))?;
        let end: WireEnd<'a> = document(raw.get()).map_err(|error| error.within("delta"))?;
        self.over = true;
        self.start(None, sink);
        self.close(sink);
        for Call { block, .. } in std::mem::take(&mut self.calls).into_values() {
            sink(Event::Close { choice: 0, block });
        }
        let spent = end.usage.and_then(read_usage);
        match end.finish_reason {
            Some(native) if !is_failure(&native) && end.error.is_none() => {
                sink(Event::Finish { choice: 0, finish: finish(native) });
                spent.into_iter().for_each(|spent| sink(Event::Usage(spent)));
                sink(Event::End);
            }
            native => {
                spent.into_iter().for_each(|spent| sink(Event::Usage(spent)));
                sink(Event::Error(problem(native.as_ref(), end.error.is_some().then_some(raw))));
            }
        }
        Ok(())
    }

    fn grow<'a>(
        &mut self,
        index: Option<u64>,
        kind: Kind,
        delta: Delta<'a>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let block = match self.open {
            Some(open) if open.kind == kind && open.index == index => open.block,
            _ => {
                let opening = if kind == Kind::Thinking { Opening::Thinking } else { Opening::Text };
                let block = self.begin(opening, sink);
                self.open = Some(Open { index, block, kind });
                block
            }
        };
        sink(Event::Delta { choice: 0, block, delta });
    }

    /// Begins a block; words have ended where another one begins.
    fn begin<'a>(&mut self, opening: Opening<'a>, sink: &mut impl FnMut(Event<'a>)) -> u64 {
        self.close(sink);
        let block = self.next_block;
        self.next_block += 1;
        sink(Event::Open { choice: 0, block, opening });
        block
    }

    fn close<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if let Some(Open { block, .. }) = self.open.take() {
            sink(Event::Close { choice: 0, block });
        }
    }
}

/// The problem of an answer that says that it failed; `said` is where it says more.
fn problem(native: Option<&Text<'_>>, said: Option<&RawValue>) -> Problem {
    let word = native.map(Text::decode).unwrap_or_default();
    let mut problem = match said {
        Some(raw) => decode_error(None, raw.get().as_bytes()),
        None if word.is_empty() => return truncated(),
        None => Problem::new(Cause::Upstream, "the provider ended the answer with an error"),
    };
    if word == "TIMEOUT" {
        problem.cause = Cause::Timeout;
    }
    problem
}
