//! What is told of thoughts beside their words, and content in which they stand.

use serde_json::value::RawValue;

use super::{ChoiceState, Kind};
use crate::{
    BlockKind, Delta, Event, Opening, Text,
    anthropic::decode_thinking_block,
    openai::{
        details::{self, Detail},
        response,
    },
};

impl ChoiceState {
    /// What a chunk tells of thoughts: in words, in signed pieces, and in details.
    pub(super) fn thoughts<'a>(
        &mut self,
        reasoning: Option<Text<'a>>,
        blocks: Vec<&'a RawValue>,
        details: &[Detail<'a>],
        sink: &mut impl FnMut(Event<'a>),
    ) {
        let told = reasoning.is_some();
        // Whose words are whose, only the details of several thoughts say.
        let is_joined =
            details.len() > 1 && reasoning.as_ref().is_some_and(|text| details::says(details, text));
        if !is_joined && let Some(detail) = details.first() {
            self.turn_to(detail, sink);
        }
        if let Some(text) = reasoning.filter(|_| !is_joined) {
            self.grow(Kind::Thinking, Delta::Thinking(text), sink);
        }
        for raw in blocks {
            self.thought(raw, told, sink);
        }
        for detail in details {
            self.turn_to(detail, sink);
            if let Some(words) = detail.words().filter(|_| is_joined) {
                self.grow(Kind::Thinking, Delta::Thinking(words.clone()), sink);
            }
            self.detail(detail, sink);
        }
    }

    /// A piece of a signed thought, as LiteLLM and we hand them on; its text is `told` where it stands beside as reasoning too.
    fn thought<'a>(&mut self, raw: &'a RawValue, told: bool, sink: &mut impl FnMut(Event<'a>)) {
        let Ok(block) = decode_thinking_block(raw) else { return };
        match block.kind {
            BlockKind::Thinking { text, signature } => {
                if !told && !text.is_empty() {
                    self.grow(Kind::Thinking, Delta::Thinking(text), sink);
                }
                if let Some(signature) = signature.filter(|signature| !signature.is_empty()) {
                    self.grow(Kind::Thinking, Delta::Signature(signature), sink);
                }
            }
            BlockKind::RedactedThinking { data } => self.whole(Opening::RedactedThinking { data }, sink),
            _ => {}
        }
    }

    /// Ends the thought that is open where what follows is of another.
    fn turn_to<'a>(&mut self, next: &Detail<'_>, sink: &mut impl FnMut(Event<'a>)) {
        if self.detail.is_other(next) {
            self.close(sink);
            self.detail.end();
        }
    }

    /// What a gateway says of a thought, whose words stand beside or in another chunk. A signature may come without any.
    fn detail<'a>(&mut self, detail: &Detail<'a>, sink: &mut impl FnMut(Event<'a>)) {
        if !detail.is_thought() {
            self.begin(Kind::Thinking, Opening::Thinking, sink);
            self.grow(Kind::Thinking, Delta::Signature(detail.seal()), sink);
            return self.close(sink);
        }
        if detail.is_signed() && !self.open.is_some_and(|(_, kind)| kind == Kind::Thinking) {
            self.begin(Kind::Thinking, Opening::Thinking, sink);
        }
        self.detail.take_up(detail);
    }

    /// Content in parts, as Mistral's reasoning models stream it.
    pub(super) fn parts<'a>(&mut self, parts: Vec<&'a RawValue>, sink: &mut impl FnMut(Event<'a>)) {
        let mut blocks = Vec::new();
        parts.into_iter().for_each(|raw| response::decode_part(raw, &mut blocks));
        for block in blocks {
            match block.kind {
                BlockKind::Text { text, .. } if !text.is_empty() => {
                    self.grow(Kind::Text, Delta::Text(text), sink)
                }
                BlockKind::Thinking { text, .. } if !text.is_empty() => {
                    self.grow(Kind::Thinking, Delta::Thinking(text), sink);
                }
                BlockKind::Native { dialect, raw, .. } => self.whole(Opening::Native { dialect, raw }, sink),
                _ => {}
            }
        }
    }
}
