//! The messages of a request, in the turns that Anthropic wants.

use ziggurat_core::Dialect;

use super::super::super::{
    models::Facts,
    response::{Media, is_anthropic_member, is_sendable, write_block},
};
use crate::{
    Block, BlockKind, Message, Request, Role, Source, Text,
    encode::Verdicts,
    model::CALL,
    write::{Array, Object},
};

/// Writes a conversation that came in Anthropic's words, turn by turn as it came.
pub(super) fn write_own_conversation(body: &mut Object<'_>, request: &Request<'_>) {
    let mut messages = &request.messages[..];
    if let [first, rest @ ..] = messages
        && request.system_apart
    {
        messages = rest;
        write_own_content(body, "system", first);
    }
    body.array("messages", |list| {
        for message in messages {
            list.object(|out| {
                out.str("role", role(message.role));
                write_own_content(out, "content", message);
                out.extra(&message.extra, &[]);
            });
        }
    });
}

fn write_own_content(out: &mut Object<'_>, member: &str, message: &Message<'_>) {
    if let ([Block { kind: BlockKind::Text { text, .. }, .. }], true) = (&message.content[..], message.plain)
    {
        return out.text(member, text);
    }
    out.array(member, |list| {
        for block in &message.content {
            match &block.kind {
                BlockKind::Native { dialect: Dialect::Anthropic, raw, .. } => list.json(raw.get()),
                BlockKind::Native { .. } => {}
                _ => list.object(|out| write_block(out, block, true)),
            }
        }
    });
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    }
}

/// A turn as Anthropic wants it: consecutive messages of one side are one, with tool results first.
struct Turn<'r, 'a> {
    role: &'static str,
    blocks: Vec<Placed<'r, 'a>>,
}

/// A block, and where it stands in the caller's request: message and part.
type Placed<'r, 'a> = (&'r Block<'a>, (usize, usize));

/// Writes a conversation that came in other words.
pub(super) fn write_conversation(
    body: &mut Object<'_>,
    request: &Request<'_>,
    facts: &Facts,
    verdicts: &mut Verdicts<'_>,
) {
    let (system, mut turns) = turns(request, facts, verdicts);
    let says_something = |blocks: &[Placed<'_, '_>]| blocks.iter().any(|(block, _)| is_sendable(block));
    if says_something(&system) {
        body.array("system", |list| write_blocks(list, &system, false, verdicts));
    }
    body.array("messages", |list| {
        let last = turns.len().saturating_sub(1);
        for (index, turn) in turns.iter_mut().enumerate() {
            turn.blocks.sort_by_key(|(block, _)| !matches!(block.kind, BlockKind::ToolResult { .. }));
            let prefill = index == last && turn.role == "assistant";
            let silent = !says_something(&turn.blocks);
            if silent && turn.role != "user" {
                continue;
            }
            list.object(|message| {
                message.str("role", turn.role);
                message.array("content", |list| match silent {
                    true => list.object(|out| write_block(out, &Block::text(EMPTY.into()), false)),
                    false => write_blocks(list, &turn.blocks, prefill, verdicts),
                });
            });
        }
    });
}

/// What a user's turn says that says nothing: Anthropic refuses it empty, and without it the turns around it would be another conversation.
/// LiteLLM puts a sentence there too.
const EMPTY: &str = "[empty message]";

fn turns<'r, 'a>(
    request: &'r Request<'a>,
    facts: &Facts,
    verdicts: &mut Verdicts<'_>,
) -> (Vec<Placed<'r, 'a>>, Vec<Turn<'r, 'a>>) {
    let mut system = Vec::new();
    let mut turns: Vec<Turn<'r, 'a>> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        check_members(message, index, verdicts);
        let blocks = message.content.iter().enumerate().map(|(part, block)| (block, (index, part)));
        // Where the model takes system messages at the head alone, later ones join it there: their rank matters more than their place.
        let is_system = matches!(message.role, Role::System | Role::Developer);
        if is_system && (turns.is_empty() || !facts.system_anywhere) {
            system.extend(blocks);
            continue;
        }
        let role = role(message.role);
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, blocks: blocks.collect() }),
        }
    }
    (system, turns)
}

/// Members of a message that only OpenAI knows. An assistant's are left: they came with an answer and go back with it.
fn check_members(message: &Message<'_>, index: usize, verdicts: &mut Verdicts<'_>) {
    if !matches!(message.role, Role::User | Role::System | Role::Developer) {
        if message.extra.iter().any(|(name, raw)| name == "function_call" && raw.get() != "null") {
            verdicts.impossible(format!("messages[{index}].function_call"));
        }
        return;
    }
    let names = message.extra.iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| &**name);
    for name in names.chain(message.name.is_some().then_some("name")) {
        verdicts.unsupported(&format!("messages[{index}].{name}"));
    }
}

fn write_blocks(list: &mut Array<'_>, blocks: &[Placed<'_, '_>], prefill: bool, verdicts: &mut Verdicts<'_>) {
    let last = blocks.iter().rposition(|(block, _)| is_sendable(block));
    for (position, (block, (message, part))) in blocks.iter().enumerate() {
        if !is_sendable(block) {
            continue;
        }
        check_block(block, *message, *part, verdicts);
        match &block.kind {
            // Anthropic refuses a last assistant turn that ends in white space.
            BlockKind::Text { text, .. } if prefill && Some(position) == last => {
                let trimmed: Text<'_> = text.decode().trim_end().to_owned().into();
                let block = Block { cache: block.cache, ..Block::text(trimmed) };
                list.object(|out| write_block(out, &block, false));
            }
            BlockKind::Native { dialect: Dialect::Anthropic, raw, .. } => list.json(raw.get()),
            BlockKind::Native { .. } => {}
            _ => list.object(|out| write_block(out, block, false)),
        }
    }
}

/// Names what a block holds and Anthropic has no place for. A call's members are left, as an assistant message's are.
fn check_block(block: &Block<'_>, message: usize, part: usize, verdicts: &mut Verdicts<'_>) {
    let member = |name: &str| format!("messages[{message}].content[{part}].{name}");
    match &block.kind {
        BlockKind::Native { dialect: Dialect::OpenAi, kind, .. } => {
            let list = if kind.decode().starts_with(CALL) { "tool_calls" } else { "content" };
            return verdicts.impossible(format!("messages[{message}].{list}[{part}]"));
        }
        // In the caller's request the result's content is the message's.
        BlockKind::ToolResult { content, .. } => {
            for (part, inner) in content.iter().enumerate() {
                check_block(inner, message, part, verdicts);
            }
        }
        BlockKind::ToolCall(_) => return,
        // Another provider's id means nothing to this one.
        BlockKind::File { source: Source::File(_), .. } => verdicts.impossible(member("file.file_id")),
        BlockKind::File { source, .. } => check_source(source, || member("file.file_data"), verdicts),
        BlockKind::Image { source, .. } => check_source(source, || member("image_url.url"), verdicts),
        _ => {}
    }
    for (name, raw) in &block.extra {
        if raw.get() != "null" && !is_anthropic_member(name) {
            verdicts.unsupported(&member(name));
        }
    }
}

/// Bytes must be of a type that Anthropic takes; `member` is where the caller has them.
fn check_source(source: &Source<'_>, member: impl Fn() -> String, verdicts: &mut Verdicts<'_>) {
    if let Source::Base64 { media_type: Some(media_type), .. } = source
        && Media::of(media_type).is_none()
    {
        let takes = "this model takes JPEG, PNG, GIF and WebP images and PDF documents";
        verdicts.invalid(format!("{takes}, not {:?}", media_type.decode()), member());
    }
}
