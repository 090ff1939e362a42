//! What is told of thoughts beside their words.

use serde_json::value::RawValue;

use super::{ChoiceState, Kind};
use crate::{BlockKind, Delta, Event, Opening, anthropic::decode_thinking_block, openai::details::Detail};

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
}
