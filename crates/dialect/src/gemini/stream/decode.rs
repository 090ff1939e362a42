//! Reading a stream of `streamGenerateContent` chunks.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::super::{
    blocked, finish,
    grounding::GROUNDING,
    part::{Ids, SIGNATURE, Seed, decode_part},
    read_usage,
    response::{WireCandidate, WireResponse, block_reason, count_searches, searched, seconds, word},
};
use crate::{
    Arguments, Block, BlockKind, Delta, Event, Malformed, Opening, Scope, Text, decode_error,
    openai::{MAX_CHOICES, truncated},
    read::{both, document, stated},
    seen::SeenMembers,
};

/// Turns the chunks of a stream into [`Event`]s, one at a time: a server-sent event's data, or an element of the array that Google streams
/// without `alt=sse`.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    started: bool,
    choices: Vec<ChoiceState>,
    /// Why the prompt was not answered.
    blocked: Option<Text<'static>>,
    /// Members of chunks and candidates as they were given out last.
    extras: SeenMembers,
    over: bool,
}

#[derive(Debug, Default)]
struct ChoiceState {
    index: u64,
    open: Option<(u64, Kind)>,
    next_block: u64,
    calls: usize,
    /// Google says it in the last chunk that has content; it is given out at the end.
    finish: Option<Text<'static>>,
    /// The most web searches that it was said to rest on: what it rests on is told again as it grows.
    searches: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// Reads one chunk.
    ///
    /// # Errors
    /// [`Malformed`], when it is neither a chunk nor an error.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        if self.over {
            return Ok(());
        }
        if data.trim_start().starts_with('[') {
            // A list of one, as an error before the first chunk is.
            let chunks: Vec<&'a RawValue> = document(data)?;
            return chunks.into_iter().try_for_each(|chunk| self.decode(chunk.get(), sink));
        }
        let chunk: WireResponse<'a> = document(data)?;
        let known = [chunk.feedback, chunk.usage].iter().any(Option::is_some) || chunk.id.is_some();
        if chunk.error.is_some() || (chunk.candidates.is_none() && !known) {
            self.over = true;
            sink(Event::Error(decode_error(None, data.as_bytes())));
            return Ok(());
        }
        self.chunk(chunk, data, sink)
    }

    /// Ends the stream where the provider's bytes end. There is no terminator: an answer is whole when each of its candidates has said why it
    /// ended.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        for choice in &mut self.choices {
            choice.close(sink);
        }
        let is_whole = self.choices.iter().all(|choice| choice.finish.is_some());
        if !is_whole || (self.choices.is_empty() && self.blocked.is_none()) {
            return sink(Event::Error(truncated()));
        }
        if let Some(reason) = self.blocked.take().filter(|_| self.choices.is_empty()) {
            sink(Event::Finish { choice: 0, finish: blocked(reason) });
        }
        for choice in &mut self.choices {
            if let Some(native) = choice.finish.take() {
                sink(Event::Finish { choice: choice.index, finish: finish(native, choice.calls > 0) });
            }
        }
        sink(Event::End);
    }

    fn chunk<'a>(
        &mut self,
        chunk: WireResponse<'a>,
        data: &str,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        if !std::mem::replace(&mut self.started, true) {
            let created = chunk.created.and_then(seconds);
            sink(Event::Start { id: chunk.id.clone(), model: chunk.model, created });
        }
        if let Some(reason) = chunk.feedback.and_then(block_reason) {
            self.blocked = Some(reason.into_owned());
        }
        let restated = [("promptFeedback", chunk.feedback), ("createTime", chunk.created)];
        let restated = restated.into_iter().filter_map(|(name, raw)| Some((name.into(), raw?)));
        for (name, raw) in chunk.extra.into_iter().chain(restated) {
            if self.extras.changed(None, &name, raw) {
                let name = name.into_owned().into();
                sink(Event::Extra { choice: None, scope: Scope::Answer, name, raw });
            }
        }
        // Of an answer without an id, the chunk tells its calls from those of others.
        let seed = Seed::new(chunk.id.as_ref(), data);
        for (position, candidate) in chunk.candidates.into_iter().flatten().enumerate() {
            self.candidate(candidate, position, &seed, sink)?;
        }
        if let Some(spent) = chunk.usage.and_then(read_usage) {
            let searches = self.choices.iter().map(|choice| choice.searches).fold(None, both);
            sink(Event::Usage(searched(spent, searches)));
        }
        Ok(())
    }

    fn candidate<'a>(
        &mut self,
        wire: WireCandidate<'a>,
        position: usize,
        seed: &Seed<'_>,
        sink: &mut impl FnMut(Event<'a>),
    ) -> Result<(), Malformed> {
        let index = stated(wire.index).unwrap_or(position as u64);
        let searches = count_searches(wire.grounding);
        let grounding = wire.grounding.map(|raw| (GROUNDING.into(), raw));
        for (name, raw) in wire.extra.into_iter().chain(grounding) {
            if self.extras.changed(Some(index), &name, raw) {
                let name = name.into_owned().into();
                sink(Event::Extra { choice: Some(index), scope: Scope::Choice, name, raw });
            }
        }
        let state = match self.choices.iter().position(|choice| choice.index == index) {
            Some(position) => &mut self.choices[position],
            None if self.choices.len() == MAX_CHOICES => {
                return Err(Malformed::new("more candidates than can be asked for", "candidates"));
            }
            None => {
                self.choices.push(ChoiceState { index, ..ChoiceState::default() });
                let last = self.choices.len() - 1;
                &mut self.choices[last]
            }
        };
        state.searches = state.searches.max(searches);
        for raw in wire.content.unwrap_or_default().parts.unwrap_or_default().0 {
            let mut ids = Ids::of_answer(seed, index, state.calls);
            let mut blocks = Vec::new();
            decode_part(raw, &mut ids, false, &mut blocks)
                .map_err(|error| error.within("candidates.content.parts"))?;
            blocks.into_iter().for_each(|block| state.block(block, raw, sink));
        }
        if let Some(native) = wire.finish.and_then(word) {
            state.finish = Some(native.into_owned());
        }
        Ok(())
    }
}

// ===== impl ChoiceState =====

impl ChoiceState {
    fn block<'a>(&mut self, block: Block<'a>, raw: &'a RawValue, sink: &mut impl FnMut(Event<'a>)) {
        match block.kind {
            BlockKind::Text { text, .. } if !text.is_empty() => {
                self.grow(Kind::Text, Delta::Text(text), sink)
            }
            BlockKind::Thinking { text, signature } => {
                if !text.is_empty() {
                    self.grow(Kind::Thinking, Delta::Thinking(text), sink);
                }
                if let Some(signature) = signature {
                    self.grow(Kind::Thinking, Delta::Signature(signature), sink);
                    // A thought has one signature: what follows is another.
                    self.close(sink);
                }
            }
            BlockKind::ToolCall(call) => {
                self.calls += 1;
                let choice = self.index;
                for (name, raw) in block.extra.into_iter().filter(|(name, _)| name == SIGNATURE) {
                    let name = name.into_owned().into();
                    sink(Event::Extra { choice: Some(choice), scope: Scope::Block, name, raw });
                }
                let opening = Opening::ToolCall { id: call.id, name: call.name };
                let block = self.begin(opening, sink);
                let arguments = match call.arguments {
                    Arguments::Json(raw) => raw.get().into(),
                    Arguments::String(text) => text,
                };
                sink(Event::Delta { choice, block, delta: Delta::Arguments(arguments) });
                sink(Event::Close { choice, block });
            }
            BlockKind::Text { .. } => {}
            // Media, for which other streams have no words, and what only Google knows.
            _ => {
                let block = self.begin(Opening::Native { dialect: Dialect::Gemini, raw }, sink);
                sink(Event::Close { choice: self.index, block });
            }
        }
    }

    fn grow<'a>(&mut self, kind: Kind, delta: Delta<'a>, sink: &mut impl FnMut(Event<'a>)) {
        let block = match self.open {
            Some((block, open)) if open == kind => block,
            _ => {
                let opening = if kind == Kind::Text { Opening::Text } else { Opening::Thinking };
                let block = self.begin(opening, sink);
                self.open = Some((block, kind));
                block
            }
        };
        sink(Event::Delta { choice: self.index, block, delta });
    }

    fn begin<'a>(&mut self, opening: Opening<'a>, sink: &mut impl FnMut(Event<'a>)) -> u64 {
        self.close(sink);
        let block = self.next_block;
        self.next_block += 1;
        sink(Event::Open { choice: self.index, block, opening });
        block
    }

    fn close<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if let Some((block, _)) = self.open.take() {
            sink(Event::Close { choice: self.index, block });
        }
    }
}
