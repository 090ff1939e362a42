//! Streams of `/api/chat`.

use super::{
    answer_id, epoch_seconds, finish, read_usage,
    response::{WireAnswer, WireMessage, decode_call},
};
use crate::{
    Arguments, Block, BlockKind, Delta, Event, Malformed, Opening, Scope, Text, decode_error,
    openai::truncated, read::document,
};

/// Turns the lines of a stream into [`Event`]s, one at a time.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    started: bool,
    /// The block that is open, and whether it is reasoning.
    open: Option<(u64, bool)>,
    next_block: u64,
    calls: u64,
    over: bool,
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// Reads a line and gives what it says to `sink`.
    ///
    /// # Errors
    /// [`Malformed`], when it is neither a piece of an answer nor an error.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        if self.over {
            return Ok(());
        }
        let line: WireAnswer<'a> = document(data)?;
        if line.error.is_some() || (line.message.is_none() && line.done.is_none()) {
            self.over = true;
            sink(Event::Error(decode_error(None, data.as_bytes())));
            return Ok(());
        }
        if !std::mem::replace(&mut self.started, true) {
            let id = Some(answer_id(line.model.as_ref(), line.created_at.as_ref()));
            let created = epoch_seconds(line.created_at.as_ref());
            sink(Event::Start { id, model: line.model, created });
        }
        if let Some(message) = line.message {
            self.message(message, line.created_at.as_ref(), sink);
        }
        // The other members of the last line are times, and stand in what its usage was read from.
        if line.done == Some(true) {
            self.over = true;
            self.close(sink);
            sink(Event::Finish { choice: 0, finish: finish(line.done_reason, self.calls > 0) });
            if let Some(spent) = document(data).ok().and_then(read_usage) {
                sink(Event::Usage(spent));
            }
            sink(Event::End);
        }
        Ok(())
    }

    /// Ends the stream where the provider's bytes end: without a line that says it is done, the answer was cut.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if !std::mem::replace(&mut self.over, true) {
            sink(Event::Error(truncated()));
        }
    }

    fn message<'a>(
        &mut self,
        wire: WireMessage<'a>,
        created_at: Option<&Text<'_>>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        for (name, raw) in wire.extra.into_iter().filter(|(_, raw)| raw.get() != "null") {
            let name = name.into_owned().into();
            sink(Event::Extra { choice: Some(0), scope: Scope::Delta, name, raw });
        }
        if let Some(text) = wire.thinking.filter(|text| !text.is_empty()) {
            self.grow(true, Delta::Thinking(text), sink);
        }
        if let Some(text) = wire.content.filter(|text| !text.is_empty()) {
            self.grow(false, Delta::Text(text), sink);
        }
        for call in wire.tool_calls.into_iter().flatten() {
            let block = decode_call(call, created_at, self.calls);
            self.calls += 1;
            self.call(block, sink);
        }
    }

    fn grow<'a>(&mut self, thinking: bool, delta: Delta<'a>, sink: &mut impl FnMut(Event<'a>)) {
        let block = match self.open {
            Some((block, open)) if open == thinking => block,
            _ => {
                let block = self.begin(if thinking { Opening::Thinking } else { Opening::Text }, sink);
                self.open = Some((block, thinking));
                block
            }
        };
        sink(Event::Delta { choice: 0, block, delta });
    }

    /// A call, which comes in one piece.
    fn call<'a>(&mut self, block: Block<'a>, sink: &mut impl FnMut(Event<'a>)) {
        let BlockKind::ToolCall(call) = block.kind else { return };
        for (name, raw) in block.extra {
            let name = name.into_owned().into();
            sink(Event::Extra { choice: Some(0), scope: Scope::Block, name, raw });
        }
        let arguments = match call.arguments {
            Arguments::Json(raw) => raw.get().into(),
            Arguments::String(text) => text,
        };
        let block = self.begin(Opening::ToolCall { id: call.id, name: call.name }, sink);
        if !arguments.is_empty() {
            sink(Event::Delta { choice: 0, block, delta: Delta::Arguments(arguments) });
        }
        sink(Event::Close { choice: 0, block });
    }

    fn begin<'a>(&mut self, opening: Opening<'a>, sink: &mut impl FnMut(Event<'a>)) -> u64 {
        self.close(sink);
        let block = self.next_block;
        self.next_block += 1;
        sink(Event::Open { choice: 0, block, opening });
        block
    }

    fn close<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if let Some((block, _)) = self.open.take() {
            sink(Event::Close { choice: 0, block });
        }
    }
}
