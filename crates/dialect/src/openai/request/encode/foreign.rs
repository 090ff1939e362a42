//! Messages that came in other words than OpenAI's.

use super::parts::{is_part, write_call, write_part, write_text_content};
use crate::{
    Block, BlockKind, Message, Role,
    encode::Verdicts,
    read::Extra,
    write::{Array, Object},
};

/// Writes a message: as several, where it holds tool results beside other things.
pub(super) fn write_message(
    list: &mut Array<'_>,
    message: &Message<'_>,
    index: usize,
    verdicts: &mut Verdicts<'_>,
) {
    check_members(message, index, verdicts);
    let mut rest: Vec<&Block<'_>> = Vec::new();
    for block in &message.content {
        if let BlockKind::ToolResult { id, content, plain, .. } = &block.kind {
            // A tool message holds text alone; what else the tool gave follows as the user's.
            let (text, media): (Vec<_>, Vec<_>) =
                content.iter().partition(|block| matches!(block.kind, BlockKind::Text { .. }));
            list.object(|tool| {
                tool.str("role", "tool");
                tool.text("tool_call_id", id);
                write_text_content(tool, &text, *plain || text.len() <= 1);
            });
            rest.extend(media);
        }
    }
    let is_result = |block: &&Block<'_>| matches!(block.kind, BlockKind::ToolResult { .. });
    rest.extend(message.content.iter().filter(|block| !is_result(block)));
    if rest.is_empty() && message.content.iter().any(|block| is_result(&block)) {
        return;
    }
    list.object(|out| match message.role {
        Role::Assistant => write_assistant(out, &rest, message.plain, index, verdicts),
        Role::System | Role::Developer => write_turn(out, "system", &rest, message.plain, index, verdicts),
        Role::User | Role::Tool => write_turn(out, "user", &rest, message.plain, index, verdicts),
    });
}

/// Names what the caller says of a message or a block and OpenAI has no place for. Members of an assistant's blocks are left: they came with
/// an answer. Cache hints are left too: OpenAI caches by itself.
fn check_members(message: &Message<'_>, index: usize, verdicts: &mut Verdicts<'_>) {
    for (name, _) in message.extra.iter().filter(|(_, raw)| raw.get() != "null") {
        verdicts.unsupported(&format!("messages[{index}].{name}"));
    }
    if message.role == Role::Assistant {
        return;
    }
    for (part, block) in message.content.iter().enumerate() {
        for (name, _) in block.extra.iter().filter(|(_, raw)| raw.get() != "null") {
            verdicts.unsupported(&format!("messages[{index}].content[{part}].{name}"));
        }
    }
}

fn write_turn(
    out: &mut Object<'_>,
    role: &str,
    blocks: &[&Block<'_>],
    plain: bool,
    index: usize,
    verdicts: &mut Verdicts<'_>,
) {
    out.str("role", role);
    if plain {
        return write_text_content(out, blocks, true);
    }
    out.array("content", |parts| {
        for (part, block) in blocks.iter().enumerate() {
            match is_part(block) {
                true => write_part(parts, block, false),
                false => verdicts.impossible(format!("messages[{index}].content[{part}]")),
            }
        }
    });
}

fn write_assistant(
    out: &mut Object<'_>,
    blocks: &[&Block<'_>],
    plain: bool,
    index: usize,
    verdicts: &mut Verdicts<'_>,
) {
    out.str("role", "assistant");
    let texts: Vec<&Block<'_>> =
        blocks.iter().copied().filter(|block| matches!(block.kind, BlockKind::Text { .. })).collect();
    match texts.len() {
        0 => out.json("content", "null"),
        count => write_text_content(out, &texts, plain || count == 1),
    }
    let mut calls = Vec::new();
    for (part, block) in blocks.iter().enumerate() {
        match &block.kind {
            BlockKind::ToolCall(call) => calls.push(call),
            // OpenAI's API takes no reasoning back.
            BlockKind::Text { .. } | BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {}
            _ => verdicts.impossible(format!("messages[{index}].content[{part}]")),
        }
    }
    if !calls.is_empty() {
        out.array("tool_calls", |list| {
            for call in calls {
                list.object(|out| write_call(out, call, &Extra::new(), true));
            }
        });
    }
}
