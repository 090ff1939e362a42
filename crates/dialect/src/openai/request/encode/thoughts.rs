//! What an assistant thought, for providers that want it back.

use ziggurat_core::Thoughts;

use super::parts::{is_thought_part, write_joined};
use crate::{
    Block, BlockKind, Message, Role, Text,
    openai::details::{self, DETAILS},
    write::Object,
};

/// Whether a provider that takes thoughts in this form, or in none, is told of a block.
pub(crate) fn is_told(block: &Block<'_>, form: Option<Thoughts>) -> bool {
    match &block.kind {
        // Mistral's.
        BlockKind::Thinking { .. } if is_thought_part(block) => true,
        BlockKind::Thinking { text, signature } => {
            let is_signed = signature.as_ref().is_some_and(|signature| !signature.is_empty());
            form.is_some() && (!text.is_empty() || (is_signed && form == Some(Thoughts::ReasoningDetails)))
        }
        BlockKind::RedactedThinking { .. } => false,
        _ => true,
    }
}

/// Whether an assistant's message is nothing but thoughts, as a caller has them who was streamed each part as a turn.
pub(super) fn is_all_thoughts(message: &Message<'_>) -> bool {
    let is_thought = |block: &Block<'_>| {
        matches!(block.kind, BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. })
    };
    message.role == Role::Assistant
        && !message.content.is_empty()
        && message.content.iter().all(|block| is_thought(block) && !is_thought_part(block))
}

/// Writes the thoughts among blocks. A turn without any says so beside its calls, where a provider looks for them (DeepSeek and Moonshot answer
/// 400 to a call whose `reasoning_content` is missing).
pub(super) fn write_thoughts<'r, 'a: 'r>(
    out: &mut Object<'_>,
    form: Option<Thoughts>,
    blocks: impl Iterator<Item = &'r Block<'a>> + Clone,
    has_calls: bool,
) {
    let Some(form) = form else { return };
    let member = if form == Thoughts::ReasoningContent { "reasoning_content" } else { "reasoning" };
    let words = blocks.clone().filter_map(words);
    if words.clone().next().is_some() || (has_calls && form == Thoughts::ReasoningContent) {
        write_joined(out.key(member), words);
    }
    if form != Thoughts::ReasoningDetails {
        return;
    }
    let mut opaque = blocks.filter_map(details::json).peekable();
    if opaque.peek().is_some() {
        out.array(DETAILS, |list| opaque.for_each(|json| list.item().extend_from_slice(&json)));
    }
}

fn words<'r, 'a>(block: &'r Block<'a>) -> Option<&'r Text<'a>> {
    match &block.kind {
        BlockKind::Thinking { text, .. } if !text.is_empty() && !is_thought_part(block) => Some(text),
        _ => None,
    }
}
