//! Reading a stream of Converse events.

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Problem};

use super::{
    finish, read_usage,
    response::{is_server_call, stop_sequence},
    usage::{complete, reasoning, was_asked},
};
use crate::{
    Delta, Event, Finish, Malformed, Opening, Scope, Text,
    error::decode_exception,
    event_stream::EXCEPTION,
    openai::truncated,
    read::{Count, Extra, document, stated, wire_object},
};

wire_object! {
    struct WireEvent {
        message_start: &'a RawValue = "messageStart",
        block_start: WireBlockStart<'a> = "contentBlockStart",
        block_delta: WireBlockDelta<'a> = "contentBlockDelta",
        block_stop: WireBlockStop<'a> = "contentBlockStop",
        message_stop: WireMessageStop<'a> = "messageStop",
        metadata: WireMetadata<'a> = "metadata",
    }
    struct WireBlockStart { index: Count = "contentBlockIndex", start: &'a RawValue = "start", }
    struct WireStart { call: WireCall<'a> = "toolUse", }
    struct WireCall { id: Text<'a> = "toolUseId", name: Text<'a> = "name", kind: Text<'a> = "type", }
    struct WireBlockDelta { index: Count = "contentBlockIndex", delta: &'a RawValue = "delta", }
    struct WireDelta {
        text: Text<'a> = "text",
        call: WireInput<'a> = "toolUse",
        reasoning: WireReasoning<'a> = "reasoningContent",
        citation: &'a RawValue = "citation",
    }
    struct WireInput { input: Text<'a> = "input", }
    struct WireReasoning {
        text: Text<'a> = "text",
        signature: Text<'a> = "signature",
        redacted: Text<'a> = "redactedContent",
    }
    struct WireBlockStop { index: Count = "contentBlockIndex", }
    struct WireMessageStop {
        reason: Text<'a> = "stopReason",
        fields: &'a RawValue = "additionalModelResponseFields",
    }
    struct WireMetadata {
        usage: &'a RawValue = "usage",
        metrics: &'a RawValue = "metrics",
        tier: &'a RawValue = "serviceTier",
        padding: &'a RawValue = "p",
    }
}

/// Turns the data of a stream's events into [`Event`]s, one at a time.
///
/// Usage comes behind the end of the message, so that the end is held back until then.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    started: bool,
    open: Option<Open>,
    next_block: u64,
    reasoning: Option<u64>,
    finish: Option<Finish<'static>>,
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// The provider's number of the block.
    index: u64,
    /// Ours: theirs counts what nobody else has a block for.
    block: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Call,
    /// What only Converse knows.
    Native,
}

/// Reads an exception: an event whose name says that it is one. `None` when it is another event.
#[must_use]
pub fn exception(data: &str) -> Option<Problem> {
    let wire: WireEvent<'_> = document(data).ok()?;
    exception_in(&wire.extra)
}

fn exception_in(events: &Extra<'_>) -> Option<Problem> {
    let (name, raw) = events.iter().find(|(name, _)| name.ends_with(EXCEPTION))?;
    Some(decode_exception(name, raw.get()))
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// Reads the data of one event; events that are not known are passed over.
    ///
    /// # Errors
    /// [`Malformed`], when it is not one.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        if self.over {
            return Ok(());
        }
        let event: WireEvent<'a> = document(data)?;
        if let Some(problem) = exception_in(&event.extra) {
            self.over = true;
            sink(Event::Error(problem));
            return Ok(());
        }
        if event.message_start.is_some() {
            self.start(sink);
        }
        if let Some(start) = event.block_start {
            let raw =
                start.start.ok_or_else(|| Malformed::new("missing field", "contentBlockStart.start"))?;
            self.block_start(stated(start.index).unwrap_or(0), raw, sink);
        }
        if let Some(delta) = event.block_delta {
            let raw =
                delta.delta.ok_or_else(|| Malformed::new("missing field", "contentBlockDelta.delta"))?;
            self.block_delta(stated(delta.index).unwrap_or(0), raw, sink)?;
        }
        if let Some(stop) = event.block_stop
            && self.open.is_some_and(|open| Some(open.index) == stated(stop.index))
        {
            self.close(sink);
        }
        if let Some(stop) = event.message_stop {
            self.message_stop(stop, sink)?;
        }
        if let Some(metadata) = event.metadata {
            self.metadata(metadata, sink);
        }
        Ok(())
    }

    /// Ends the stream where the provider's bytes end: without `messageStop` the answer was cut.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if !self.over && !self.end(sink) {
            self.over = true;
            sink(Event::Error(truncated()));
        }
    }

    fn start<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if !std::mem::replace(&mut self.started, true) {
            sink(Event::Start { id: None, model: None, created: None });
        }
    }

    /// Opens a block that says that it begins: text and reasoning do not.
    fn block_start<'a>(&mut self, index: u64, raw: &'a RawValue, sink: &mut impl FnMut(Event<'a>)) {
        let wire: WireStart<'a> = document(raw.get()).unwrap_or_default();
        match wire.call {
            // A call of the provider's own tool is none of the caller's.
            Some(call) if !call.kind.as_ref().is_some_and(is_server_call) => {
                let id = call.id.unwrap_or_else(|| "".into());
                let name = call.name.unwrap_or_else(|| "".into());
                self.open(index, Kind::Call, Opening::ToolCall { id, name }, sink);
            }
            _ => {
                let opening = Opening::Native { dialect: Dialect::Converse, raw };
                self.open(index, Kind::Native, opening, sink);
            }
        }
    }

    fn block_delta<'a>(
        &mut self,
        index: u64,
        raw: &'a RawValue,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        let open = self.open.filter(|open| open.index == index);
        if let Some(Open { block, kind: Kind::Native, .. }) = open {
            let delta = Delta::Native { dialect: Dialect::Converse, raw };
            sink(Event::Delta { choice: 0, block, delta });
            return Ok(());
        }
        let wire: WireDelta<'a> =
            document(raw.get()).map_err(|error| error.within("contentBlockDelta.delta"))?;
        if let Some(text) = wire.text.filter(|text| !text.is_empty()) {
            self.grow(index, Kind::Text, Delta::Text(text), sink);
        }
        if let Some(reasoning) = wire.reasoning {
            let full = |text: Option<Text<'a>>| text.filter(|text| !text.is_empty());
            if let Some(text) = full(reasoning.text) {
                self.grow(index, Kind::Thinking, Delta::Thinking(text), sink);
            }
            if let Some(signature) = full(reasoning.signature) {
                self.grow(index, Kind::Thinking, Delta::Signature(signature), sink);
            }
            // It comes whole.
            if let Some(data) = full(reasoning.redacted) {
                self.open(index, Kind::Native, Opening::RedactedThinking { data }, sink);
                self.close(sink);
            }
        }
        if let Some(input) = wire.call.and_then(|call| call.input) {
            let Some(Open { block, kind: Kind::Call, .. }) = open else {
                return Err(Malformed::new(
                    "a piece of a call that has not begun",
                    "contentBlockDelta.delta",
                ));
            };
            if !input.is_empty() {
                sink(Event::Delta { choice: 0, block, delta: Delta::Arguments(input) });
            }
        }
        // It may stand in a block of its own, which has no text.
        if let Some(raw) = wire.citation {
            sink(Event::Extra { choice: Some(0), scope: Scope::Delta, name: "citation".into(), raw });
        }
        Ok(())
    }

    fn message_stop<'a>(
        &mut self,
        stop: WireMessageStop<'a>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        self.close(sink);
        let reason = stop.reason.ok_or_else(|| Malformed::new("missing field", "messageStop.stopReason"))?;
        let sequence = stop.fields.and_then(stop_sequence).map(Text::into_owned);
        self.finish = Some(finish(reason.into_owned(), sequence));
        if let Some(raw) = stop.fields {
            self.reasoning = reasoning(raw);
            if was_asked(raw) {
                let name = "additionalModelResponseFields".into();
                sink(Event::Extra { choice: None, scope: Scope::Answer, name, raw });
            }
        }
        Ok(())
    }

    /// What comes last. The latency in it is the operator's business, the padding nobody's.
    fn metadata<'a>(&mut self, metadata: WireMetadata<'a>, sink: &mut impl FnMut(Event<'a>)) {
        for (name, raw) in metadata.extra {
            if raw.get() != "null" {
                let name = name.into_owned().into();
                sink(Event::Extra { choice: None, scope: Scope::Answer, name, raw });
            }
        }
        if let Some(spent) = metadata.usage.and_then(read_usage) {
            sink(Event::Usage(complete(spent, self.reasoning, metadata.tier)));
        }
        self.end(sink);
    }

    /// Gives the end that was held back, if there is one.
    fn end<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) -> bool {
        let Some(finish) = self.finish.take() else { return false };
        self.over = true;
        sink(Event::Finish { choice: 0, finish });
        sink(Event::End);
        true
    }

    fn grow<'a>(&mut self, index: u64, kind: Kind, delta: Delta<'a>, sink: &mut impl FnMut(Event<'a>)) {
        let block = match self.open {
            Some(open) if open.index == index && open.kind == kind => open.block,
            _ => {
                let opening = if kind == Kind::Thinking { Opening::Thinking } else { Opening::Text };
                self.open(index, kind, opening, sink)
            }
        };
        sink(Event::Delta { choice: 0, block, delta });
    }

    fn open<'a>(
        &mut self,
        index: u64,
        kind: Kind,
        opening: Opening<'a>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> u64 {
        self.start(sink);
        self.close(sink);
        let block = self.next_block;
        self.next_block += 1;
        self.open = Some(Open { index, block, kind });
        sink(Event::Open { choice: 0, block, opening });
        block
    }

    fn close<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if let Some(open) = self.open.take() {
            sink(Event::Close { choice: 0, block: open.block });
        }
    }
}
