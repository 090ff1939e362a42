//! Messages that came in other words than OpenAI's.

use ziggurat_core::Thoughts;

use super::{
    parts::{is_part, is_thought_part, write_call, write_part, write_text_content},
    thoughts::{is_all_thoughts, write_thoughts},
};
use crate::{
    Block, BlockKind, Message, Request, Role,
    encode::{Place, Verdicts},
    read::Extra,
    write::{Array, Object},
};

/// A block, its part in the caller's content, and its part within that when it is a result's.
type Placed<'r, 'a> = (&'r Block<'a>, usize, Option<usize>);

/// How the provider takes thoughts, and those that an earlier message had of this one's turn.
type Told<'r, 'a> = (Option<Thoughts>, &'r [&'r Block<'a>]);

/// Writes the messages of a request, with thoughts in a form in which the provider takes them.
pub(super) fn write_messages(
    list: &mut Array<'_>,
    request: &Request<'_>,
    thoughts: Option<Thoughts>,
    verdicts: &mut Verdicts<'_>,
) {
    // Thoughts of the turn that follows.
    let mut ahead: Vec<&Block<'_>> = Vec::new();
    let mut messages = request.messages.iter().enumerate().peekable();
    while let Some((index, message)) = messages.next() {
        let goes_on = messages.peek().is_some_and(|(_, next)| next.role == Role::Assistant);
        if thoughts.is_some() && goes_on && is_all_thoughts(message) {
            check_members(message, Place::of(request, index), verdicts);
            ahead.extend(&message.content);
            continue;
        }
        write_message(list, message, (thoughts, &ahead), Place::of(request, index), verdicts);
        ahead.clear();
    }
}

/// Writes a message: as several, where it holds tool results beside other things.
fn write_message(
    list: &mut Array<'_>,
    message: &Message<'_>,
    thoughts: Told<'_, '_>,
    place: Place,
    verdicts: &mut Verdicts<'_>,
) {
    check_members(message, place, verdicts);
    let mut rest: Vec<Placed<'_, '_>> = Vec::new();
    for (part, block) in message.content.iter().enumerate() {
        if let BlockKind::ToolResult { id, content, plain, .. } = &block.kind {
            // A tool message holds text alone; what else the tool gave follows as the user's.
            let mut text = Vec::new();
            for (inner, block) in content.iter().enumerate() {
                match &block.kind {
                    BlockKind::Text { .. } => text.push(block),
                    _ => rest.push((block, part, Some(inner))),
                }
            }
            list.object(|tool| {
                tool.str("role", "tool");
                tool.text("tool_call_id", id);
                write_text_content(tool, &text, *plain || text.len() <= 1);
            });
        }
    }
    let is_result = |block: &Block<'_>| matches!(block.kind, BlockKind::ToolResult { .. });
    let parts = message.content.iter().enumerate();
    rest.extend(parts.filter(|(_, block)| !is_result(block)).map(|(part, block)| (block, part, None)));
    if rest.is_empty() && message.content.iter().any(is_result) {
        return;
    }
    list.object(|out| match message.role {
        Role::Assistant => write_assistant(out, &rest, message.plain, thoughts, place, verdicts),
        Role::System | Role::Developer => write_turn(out, "system", &rest, message.plain, place, verdicts),
        Role::User | Role::Tool => write_turn(out, "user", &rest, message.plain, place, verdicts),
    });
}

/// Names what the caller says of a message or a block and OpenAI has no place for. Members of an assistant's blocks are left: they came with
/// an answer. Cache hints are left too: OpenAI caches by itself.
fn check_members(message: &Message<'_>, place: Place, verdicts: &mut Verdicts<'_>) {
    for (name, _) in message.extra.iter().filter(|(_, raw)| raw.get() != "null") {
        verdicts.unsupported(&place.member(name));
    }
    if message.role == Role::Assistant {
        return;
    }
    for (part, block) in message.content.iter().enumerate() {
        for (name, _) in block.extra.iter().filter(|(_, raw)| raw.get() != "null") {
            verdicts.unsupported(&format!("{}.{name}", place.part(part)));
        }
    }
}

/// The name of a block's place.
fn at(place: Place, part: usize, inner: Option<usize>) -> String {
    let part = place.part(part);
    match inner {
        Some(inner) => format!("{part}.content[{inner}]"),
        None => part,
    }
}

fn write_turn(
    out: &mut Object<'_>,
    role: &str,
    blocks: &[Placed<'_, '_>],
    plain: bool,
    place: Place,
    verdicts: &mut Verdicts<'_>,
) {
    out.str("role", role);
    if plain {
        let blocks: Vec<_> = blocks.iter().map(|(block, ..)| *block).collect();
        return write_text_content(out, &blocks, true);
    }
    out.array("content", |parts| {
        for (block, part, inner) in blocks {
            match is_part(block) {
                true => write_part(parts, block, false),
                false => verdicts.impossible(at(place, *part, *inner)),
            }
        }
    });
}

fn write_assistant(
    out: &mut Object<'_>,
    blocks: &[Placed<'_, '_>],
    plain: bool,
    (thoughts, ahead): Told<'_, '_>,
    place: Place,
    verdicts: &mut Verdicts<'_>,
) {
    out.str("role", "assistant");
    let has_calls = blocks.iter().any(|(block, ..)| matches!(block.kind, BlockKind::ToolCall(_)));
    let is_worded =
        |block: &Block<'_>| matches!(&block.kind, BlockKind::Text { text, .. } if !text.is_empty());
    // Google's callers have a part of text for a signature that stands alone.
    let has_more = has_calls || blocks.iter().any(|(block, ..)| is_worded(block));
    let is_text = |block: &&Block<'_>| matches!(&block.kind, BlockKind::Text { text, .. } if !(has_more && text.is_empty()));
    let texts: Vec<&Block<'_>> = blocks.iter().map(|(block, ..)| *block).filter(is_text).collect();
    let is_said = |block: &&Block<'_>| is_thought_part(block) || is_text(block);
    match texts.len() {
        _ if blocks.iter().any(|(block, ..)| is_thought_part(block)) => out.array("content", |parts| {
            let said = blocks.iter().map(|(block, ..)| *block).filter(is_said);
            said.for_each(|block| write_part(parts, block, false));
        }),
        0 if has_calls => out.json("content", "null"),
        // OpenAI refuses a turn without either.
        0 => out.str("content", ""),
        count => write_text_content(out, &texts, plain || count == 1),
    }
    let all = ahead.iter().copied().chain(blocks.iter().map(|(block, ..)| *block));
    write_thoughts(out, thoughts, all, has_calls);
    let mut calls = Vec::new();
    for (block, part, inner) in blocks {
        match &block.kind {
            BlockKind::ToolCall(call) => calls.push(call),
            BlockKind::Text { .. } | BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {}
            _ => verdicts.impossible(at(place, *part, *inner)),
        }
    }
    if !calls.is_empty() {
        out.array("tool_calls", |list| {
            for call in calls {
                list.object(|out| write_call(out, call, &Extra::new()));
            }
        });
    }
}
