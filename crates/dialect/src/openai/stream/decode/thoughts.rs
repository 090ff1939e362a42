//! What is told of thoughts beside their words, and content in which they stand.

use serde_json::value::RawValue;

use super::{ChoiceState, Kind};
use crate::{
    BlockKind, Delta, Event, Opening,
    anthropic::decode_thinking_block,
    openai::{details::Detail, response},
};

impl ChoiceState {
    /// A piece of a signed thought, as LiteLLM and we hand them on; its text is `told` where it stands beside as reasoning too.
    pub(super) fn thought<'a>(&mut self, raw: &'a RawValue, told: bool, sink: &mut impl FnMut(Event<'a>)) {
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

    /// What a gateway says of a thought, whose words stand beside or in another chunk. A signature may come without any.
    pub(super) fn detail<'a>(&mut self, detail: &Detail<'a>, sink: &mut impl FnMut(Event<'a>)) {
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
