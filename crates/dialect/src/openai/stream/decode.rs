//! Reading a stream of Chat Completions chunks.

mod thoughts;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use ziggurat_core::{Cause, Problem};

use super::super::{
    details::{self, DETAILS, OpenDetail},
    is_failed_finish, legacy, read_usage, response,
};
use crate::{
    Delta, Event, Malformed, Opening, Scope, Text, decode_error,
    progress::Progress,
    read::{Count, StringOr, TIER, document, served_tier, stated, wire_object},
    seen::SeenMembers,
};

wire_object! {
    struct WireChunk {
        id: Text<'a> = "id",
        object: Text<'a> = "object",
        created: Count = "created",
        model: Text<'a> = "model",
        choices: Vec<WireChoice<'a>> = "choices",
        usage: &'a RawValue = "usage",
        error: &'a RawValue = "error",
        x_groq: &'a RawValue = "x_groq",
        // Padding against traffic analysis.
        obfuscation: &'a RawValue = "obfuscation",
        padding: &'a RawValue = "p",
    }
    struct WireGroq { usage: &'a RawValue = "usage", }
    struct WireChoice {
        index: Count = "index",
        delta: WireDelta<'a> = "delta",
        finish_reason: Text<'a> = "finish_reason",
        logprobs: &'a RawValue = "logprobs",
        // Perplexity gives the whole message so far beside the delta.
        message: &'a RawValue = "message",
    }
    struct WireDelta {
        role: Text<'a> = "role",
        content: StringOr<'a, &'a RawValue> = "content",
        refusal: Text<'a> = "refusal",
        reasoning_content: Text<'a> = "reasoning_content",
        reasoning: &'a RawValue = "reasoning",
        thinking_blocks: Vec<&'a RawValue> = "thinking_blocks",
        tool_calls: Vec<&'a RawValue> = "tool_calls",
        function_call: &'a RawValue = "function_call",
    }
    struct WireCall {
        index: Count = "index",
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        function: WireFunction<'a> = "function",
    }
    struct WireFunction { name: Text<'a> = "name", arguments: &'a RawValue = "arguments", }
}

/// Turns the data of a stream's events into [`Event`]s, one at a time.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    started: bool,
    choices: Vec<ChoiceState>,
    /// Members of chunks and choices that stay the same from chunk to chunk, with the value they were given out with.
    extras: SeenMembers,
    over: bool,
}

#[derive(Debug)]
struct ChoiceState {
    index: u64,
    open: Option<(u64, Kind)>,
    detail: OpenDetail,
    next_block: u64,
    /// In the order of their blocks.
    calls: Vec<Call>,
    /// The place of the call that began last at each index of the deltas.
    latest: BTreeMap<u64, usize>,
    /// The places of those that began ahead of it at the same index, by their ids.
    earlier: BTreeMap<(u64, Box<str>), usize>,
    /// Calls that are no function's, by their index in the deltas.
    others: BTreeSet<u64>,
    legacy: Option<Call>,
    finished: bool,
}

/// A call of a tool. Its block stays open, whatever begins behind it, until its arguments are whole: calls may interleave.
#[derive(Debug)]
struct Call {
    /// Its index in the deltas.
    index: u64,
    /// Empty where none was stated.
    id: Box<str>,
    block: u64,
    arguments: Progress,
    is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Thinking,
    Call,
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// Reads the data of one event.
    ///
    /// # Errors
    /// [`Malformed`], when it is neither a chunk, nor an error, nor the terminator.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        if self.over {
            // OpenCode sends a price behind its terminator.
            return Ok(());
        }
        let trimmed = data.trim_ascii();
        if trimmed == "[DONE]" {
            self.over = true;
            self.close_all(sink);
            // Without any choice it is no whole answer.
            sink(if self.choices.is_empty() { Event::Error(truncated()) } else { Event::End });
            return Ok(());
        }
        let mut chunk: WireChunk<'a> = document(data)?;
        if chunk.error.is_some() || (chunk.choices.is_none() && chunk.usage.is_none() && chunk.id.is_none()) {
            self.over = true;
            self.usage(chunk.usage, sink);
            sink(Event::Error(decode_error(None, data.as_bytes())));
            return Ok(());
        }
        let is_failed = |choice: &WireChoice<'a>| choice.finish_reason.as_ref().is_some_and(is_failed_finish);
        let failed = chunk.choices.iter().flatten().any(is_failed);
        if failed {
            chunk.choices.iter_mut().flatten().for_each(|choice| choice.finish_reason = None);
        }
        self.chunk(chunk, sink)?;
        if failed {
            self.over = true;
            let message = "the provider ended the answer with an error";
            sink(Event::Error(Problem::new(Cause::Upstream, message)));
        }
        Ok(())
    }

    /// Ends the stream where the provider's bytes end: an [`Event::End`] when every answer had its end (some relatives send no
    /// terminator), else the error that it was cut.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finished) {
            self.close_all(sink);
            sink(Event::End);
        } else {
            sink(Event::Error(truncated()));
        }
    }

    fn chunk<'a>(&mut self, chunk: WireChunk<'a>, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        let choices = chunk.choices.unwrap_or_default();
        let named = chunk.id.as_ref().is_some_and(|id| !id.is_empty());
        // Azure's first chunk has no id, no model and no choice: the first that has one counts.
        if !self.started && (named || !choices.is_empty()) {
            self.started = true;
            let id = chunk.id.clone();
            sink(Event::Start { id, model: chunk.model, created: stated(chunk.created) });
        }
        let groq = chunk.x_groq.map(|raw| ("x_groq".into(), raw));
        for (name, raw) in chunk.extra.into_iter().chain(groq) {
            if self.extras.changed(None, &name, raw) {
                let name = name.into_owned().into();
                sink(Event::Extra { choice: None, scope: Scope::Answer, name, raw });
            }
        }
        for choice in choices {
            self.choice(choice, chunk.id.as_ref(), sink)?;
        }
        // Groq's is usage alone where there is no other.
        let groq = || document::<WireGroq<'a>>(chunk.x_groq?.get()).ok()?.usage;
        self.usage(chunk.usage.or_else(groq), sink);
        Ok(())
    }

    /// Gives out usage, with the service tier that a chunk has named.
    fn usage<'a>(&self, raw: Option<&'a RawValue>, sink: &mut impl FnMut(Event<'a>)) {
        let Some(spent) = raw.and_then(read_usage) else { return };
        sink(Event::Usage(spent.served_at(self.extras.of_answer(TIER).and_then(served_tier))));
    }

    fn choice<'a>(
        &mut self,
        wire: WireChoice<'a>,
        answer: Option<&Text<'_>>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        let index = stated(wire.index).unwrap_or(0);
        for (name, raw) in wire.extra {
            if self.extras.changed(Some(index), &name, raw) {
                let name = name.into_owned().into();
                sink(Event::Extra { choice: Some(index), scope: Scope::Choice, name, raw });
            }
        }
        let state = match self.choices.iter().position(|choice| choice.index == index) {
            Some(position) => &mut self.choices[position],
            None if self.choices.len() == MAX_CHOICES => {
                return Err(Malformed::new("more choices than can be asked for", "choices"));
            }
            None => {
                self.choices.push(ChoiceState::new(index));
                let last = self.choices.len() - 1;
                &mut self.choices[last]
            }
        };
        if let Some(mut delta) = wire.delta {
            let legacy = delta.function_call.take();
            state.delta(delta, sink);
            if let Some(raw) = legacy {
                state.function_call(raw, answer, sink);
            }
        }
        if let Some(raw) = wire.logprobs {
            sink(Event::Logprobs { choice: index, raw });
        }
        if let Some(native) = wire.finish_reason.filter(|native| !native.is_empty())
            && !std::mem::replace(&mut state.finished, true)
        {
            state.close_all(sink);
            sink(Event::Finish { choice: index, finish: response::finish(native) });
        }
        Ok(())
    }

    fn close_all<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        for choice in &mut self.choices {
            choice.close_all(sink);
        }
    }
}

/// The most answers that OpenAI lets be asked for (`n`), by its API reference; Google lets fewer.
pub(crate) const MAX_CHOICES: usize = 128;

/// The name under which a tool call that is no function's is handed on: an element of that list.
pub(super) const OTHER_CALL: &str = "tool_calls[]";

/// The problem of a stream that ends before its terminator.
pub(crate) fn truncated() -> Problem {
    Problem::new(Cause::Upstream, "the provider's stream ended before the answer was complete")
        .code("upstream_truncated")
}

// ===== impl Call =====

impl Call {
    fn new(index: u64, id: Box<str>, block: u64) -> Self {
        Self { index, id, block, arguments: Progress::default(), is_open: true }
    }
}

// ===== impl ChoiceState =====

impl ChoiceState {
    fn new(index: u64) -> Self {
        Self {
            index,
            open: None,
            detail: OpenDetail::default(),
            next_block: 0,
            calls: Vec::new(),
            latest: BTreeMap::new(),
            earlier: BTreeMap::new(),
            others: BTreeSet::new(),
            legacy: None,
            finished: false,
        }
    }

    fn delta<'a>(&mut self, wire: WireDelta<'a>, sink: &mut impl FnMut(Event<'a>)) {
        let choice = self.index;
        let mut extra = wire.extra;
        let reasoning = response::reasoning(wire.reasoning_content, wire.reasoning, &mut extra);
        let mut details = Vec::new();
        for (name, raw) in extra {
            if name == DETAILS {
                details = details::read(raw);
            }
            if raw.get() != "null" {
                let name = name.into_owned().into();
                sink(Event::Extra { choice: Some(choice), scope: Scope::Delta, name, raw });
            }
        }
        let reasoning = reasoning.filter(|text| !text.is_empty());
        self.thoughts(reasoning, wire.thinking_blocks.unwrap_or_default(), &details, sink);
        match wire.content {
            Some(StringOr::String(text)) if !text.is_empty() => {
                self.grow(Kind::Text, Delta::Text(text), sink)
            }
            Some(StringOr::List(parts)) => self.parts(parts, sink),
            _ => {}
        }
        if let Some(text) = wire.refusal.filter(|text| !text.is_empty()) {
            self.grow(Kind::Refusal, Delta::Refusal(text), sink);
        }
        for (position, raw) in wire.tool_calls.into_iter().flatten().enumerate() {
            self.call(raw, position, sink);
        }
    }

    /// A block that comes in one piece.
    fn whole<'a>(&mut self, opening: Opening<'a>, sink: &mut impl FnMut(Event<'a>)) {
        self.close(sink);
        let (choice, block) = (self.index, self.next_block);
        self.next_block += 1;
        sink(Event::Open { choice, block, opening });
        sink(Event::Close { choice, block });
    }

    fn grow<'a>(&mut self, kind: Kind, delta: Delta<'a>, sink: &mut impl FnMut(Event<'a>)) {
        let choice = self.index;
        let block = match self.open {
            Some((block, open)) if open == kind => block,
            _ => {
                let opening = match kind {
                    Kind::Thinking => Opening::Thinking,
                    Kind::Refusal => Opening::Refusal,
                    Kind::Text | Kind::Call => Opening::Text,
                };
                self.begin(kind, opening, sink)
            }
        };
        sink(Event::Delta { choice, block, delta });
    }

    fn begin<'a>(&mut self, kind: Kind, opening: Opening<'a>, sink: &mut impl FnMut(Event<'a>)) -> u64 {
        self.close(sink);
        let block = self.next_block;
        self.next_block += 1;
        self.open = Some((block, kind));
        sink(Event::Open { choice: self.index, block, opening });
        block
    }

    fn call<'a>(&mut self, raw: &'a RawValue, position: usize, sink: &mut impl FnMut(Event<'a>)) {
        let wire: WireCall<'a> = document(raw.get()).unwrap_or_default();
        let stated_index = stated(wire.index);
        // A call of another kind than a function's, from its beginning on: as it is.
        let other = wire.kind.is_some_and(|kind| !kind.is_empty() && kind != *"function");
        if other || stated_index.is_some_and(|index| self.others.contains(&index)) {
            self.others.extend(stated_index);
            let (choice, name) = (Some(self.index), OTHER_CALL.into());
            return sink(Event::Extra { choice, scope: Scope::Delta, name, raw });
        }
        let function = wire.function.unwrap_or_default();
        let id = wire.id.filter(|id| !id.is_empty());
        let name = function.name.filter(|name| !name.is_empty());
        // Without an index (Mistral gives none, calls come whole) a call with an id is a new one, anything else belongs to the last.
        let index = stated_index.unwrap_or_else(|| match (&id, self.calls.last()) {
            (None, Some(last)) => last.index,
            (_, Some(last)) => last.index.saturating_add(1),
            (_, None) => position as u64,
        });
        let block = match self.known(index, id.as_ref(), name.is_some()) {
            Some(call) => call.block,
            None => {
                for (name, raw) in wire.extra {
                    let name = name.into_owned().into();
                    sink(Event::Extra { choice: Some(self.index), scope: Scope::Block, name, raw });
                }
                let own = id.as_ref().map_or_else(Box::default, |id| id.decode().into());
                let opening = Opening::ToolCall {
                    id: id.unwrap_or_else(|| "".into()),
                    name: name.unwrap_or_else(|| "".into()),
                };
                let block = self.begin(Kind::Call, opening, sink);
                if let Some(before) = self.latest.insert(index, self.calls.len()) {
                    let id = std::mem::take(&mut self.calls[before].id);
                    self.earlier.insert((index, id), before);
                }
                self.calls.push(Call::new(index, own, block));
                block
            }
        };
        self.arguments(function.arguments, block, sink);
    }

    /// The call that a piece belongs to, `None` where it begins another. Some relatives count all calls as the first: those an id tells apart,
    /// and a name beside an id that is new begins one. What has no such id belongs to the latest.
    fn known(&self, index: u64, id: Option<&Text<'_>>, is_named: bool) -> Option<&Call> {
        let latest = self.calls.get(*self.latest.get(&index)?)?;
        let Some(id) = id.filter(|id| !latest.id.is_empty() && **id != *latest.id) else {
            return Some(latest);
        };
        match self.earlier.get(&(index, id.decode().into())) {
            Some(place) => self.calls.get(*place),
            None => Some(latest).filter(|_| !is_named),
        }
    }

    /// A piece of a legacy call.
    fn function_call<'a>(
        &mut self,
        raw: &'a RawValue,
        answer: Option<&Text<'_>>,
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let choice = self.index;
        let function = legacy::read(raw).unwrap_or_default();
        let name = function.name.filter(|name| !name.is_empty());
        let block = match (&self.legacy, name) {
            (Some(call), _) => call.block,
            (None, Some(name)) if self.calls.is_empty() => {
                let (mark, raw) = (legacy::MARK.into(), RawValue::TRUE);
                sink(Event::Extra { choice: Some(choice), scope: Scope::Block, name: mark, raw });
                let id = legacy::id(answer, choice);
                let block = self.begin(Kind::Call, Opening::ToolCall { id, name }, sink);
                self.legacy.insert(Call::new(0, Box::default(), block)).block
            }
            // Without a name it is no call, and beside calls it says one of them again.
            _ => {
                let (choice, name) = (Some(choice), legacy::MEMBER.into());
                return sink(Event::Extra { choice, scope: Scope::Delta, name, raw });
            }
        };
        self.arguments(function.arguments, block, sink);
    }

    fn arguments<'a>(&mut self, raw: Option<&'a RawValue>, block: u64, sink: &mut impl FnMut(Event<'a>)) {
        let (Some(raw), choice) = (raw, self.index) else { return };
        let text = Text::from_json(raw.get()).unwrap_or_else(|| raw.get().into());
        let is_latest = self.open.is_some_and(|(open, _)| open == block);
        let Some(call) = self.call_of(block) else { return };
        // White space behind what is whole says nothing.
        if text.is_empty() || (!call.is_open && text.is_blank()) {
            return;
        }
        call.arguments.push(&text.decode());
        sink(Event::Delta { choice, block, delta: Delta::Arguments(text) });
        if !is_latest && call.arguments.is_whole() && std::mem::take(&mut call.is_open) {
            sink(Event::Close { choice, block });
        }
    }

    fn call_of(&mut self, block: u64) -> Option<&mut Call> {
        if self.legacy.as_ref().is_some_and(|call| call.block == block) {
            return self.legacy.as_mut();
        }
        let place = self.calls.binary_search_by_key(&block, |call| call.block).ok()?;
        self.calls.get_mut(place)
    }

    /// What is open has ended, as another block begins: but for a call that may go on.
    fn close<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        let Some((block, kind)) = self.open.take() else { return };
        if kind == Kind::Thinking
            && let Some(signature) = self.detail.end()
        {
            let delta = Delta::Signature(signature);
            sink(Event::Delta { choice: self.index, block, delta });
        }
        if let Some(call) = self.call_of(block) {
            if !call.arguments.is_whole() {
                return;
            }
            call.is_open = false;
        }
        sink(Event::Close { choice: self.index, block });
    }

    /// All that is open has ended.
    fn close_all<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        self.close(sink);
        for call in self.calls.iter_mut().chain(&mut self.legacy) {
            if std::mem::take(&mut call.is_open) {
                sink(Event::Close { choice: self.index, block: call.block });
            }
        }
    }
}
