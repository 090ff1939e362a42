//! Messages that came in OpenAI's words, as they came.

use super::parts::{is_call, is_part, is_thought_part, write_call, write_part};
use crate::{
    Block, BlockKind, Message, Role,
    anthropic::write_thinking_block,
    write::{Array, Object},
};

pub(super) fn write_message(list: &mut Array<'_>, message: &Message<'_>) {
    list.object(|out| {
        out.str("role", role(message.role));
        out.text_if("name", message.name.as_ref());
        match &message.content[..] {
            [Block { kind: BlockKind::ToolResult { id, content, plain, .. }, cache, .. }] => {
                out.text("tool_call_id", id);
                let parts: Vec<_> = content.iter().collect();
                write_content(out, &parts, *plain);
                out.raw_if("cache_control", *cache);
            }
            content => write_turn(out, content, message.plain),
        }
        out.extra(&message.extra, &[]);
    });
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    }
}

fn write_turn(out: &mut Object<'_>, content: &[Block<'_>], plain: bool) {
    let is_thought = |block: &&Block<'_>| {
        matches!(block.kind, BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. })
            && !is_thought_part(block)
    };
    if content.iter().any(|block| is_thought(&block)) {
        out.array("thinking_blocks", |list| {
            content
                .iter()
                .filter(is_thought)
                .for_each(|block| list.object(|out| write_thinking_block(out, block)));
        });
    }
    let mut parts: Vec<&Block<'_>> = content.iter().filter(|block| is_part(block)).collect();
    if let Some(Block { kind: BlockKind::Refusal(refusal), .. }) = parts.last() {
        out.text("refusal", refusal);
        parts.pop();
    }
    write_content(out, &parts, plain);
    if let ([text], true) = (&parts[..], plain) {
        out.raw_if("cache_control", text.cache);
    }
    if content.iter().any(is_call) {
        out.array("tool_calls", |list| {
            content.iter().filter(|block| is_call(block)).for_each(|block| write_own_call(list, block));
        });
    }
}

fn write_content(out: &mut Object<'_>, parts: &[&Block<'_>], plain: bool) {
    match parts {
        [Block { kind: BlockKind::Text { text, .. }, .. }] if plain => out.text("content", text),
        [] => out.json("content", "null"),
        parts => out.array("content", |list| parts.iter().for_each(|part| write_part(list, part, true))),
    }
}

fn write_own_call(list: &mut Array<'_>, block: &Block<'_>) {
    match &block.kind {
        BlockKind::ToolCall(call) => list.object(|out| {
            write_call(out, call, &block.extra);
            out.raw_if("cache_control", block.cache);
        }),
        BlockKind::Native { raw, .. } => list.json(raw.get()),
        _ => {}
    }
}
