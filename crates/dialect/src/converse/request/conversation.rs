//! The messages of a request, in the turns that Converse wants.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{Family, media::Media};
use crate::{
    Block, BlockKind, Message, Request, Role, Text,
    anthropic::write_input,
    encode::{Place, Verdicts},
    names::short_hash,
    read::{document, wire_object},
    write::{Array, Object},
};

wire_object! {
    struct WireCache { ttl: &'a RawValue = "ttl", }
}

/// A turn as Converse wants it: consecutive messages of one side are one, with tool results first.
struct Turn<'r, 'a> {
    role: &'static str,
    blocks: Vec<Placed<'r, 'a>>,
}

/// A block, and where it stands in the caller's request: message and part.
type Placed<'r, 'a> = (&'r Block<'a>, (usize, usize));

/// Writes blocks, and knows what they need of each other.
struct Writer<'w, 'r, 'a, 'e> {
    request: &'r Request<'a>,
    family: Family,
    verdicts: &'w mut Verdicts<'e>,
    media: Media,
}

/// Writes `messages` and `system`.
pub(super) fn write_conversation(
    body: &mut Object<'_>,
    request: &Request<'_>,
    family: Family,
    verdicts: &mut Verdicts<'_>,
) {
    let (system, mut turns) = turns(request, verdicts);
    let mut writer = Writer { request, family, verdicts, media: Media::default() };
    let says_something = |blocks: &[Placed<'_, '_>]| blocks.iter().any(|(block, _)| is_sendable(block));
    body.array("messages", |list| {
        let last = turns.len().saturating_sub(1);
        for (index, turn) in turns.iter_mut().enumerate() {
            turn.blocks.sort_by_key(|(block, _)| !matches!(block.kind, BlockKind::ToolResult { .. }));
            let silent = !says_something(&turn.blocks);
            if silent && turn.role != "user" {
                continue;
            }
            let prefill = family == Family::Claude && index == last && turn.role == "assistant";
            list.object(|message| {
                message.str("role", turn.role);
                message.array("content", |list| match silent {
                    true => list.object(|out| out.str("text", EMPTY)),
                    false => writer.blocks(list, &turn.blocks, prefill),
                });
            });
        }
    });
    if says_something(&system) {
        body.array("system", |list| writer.system(list, &system));
    }
}

/// What a user's turn says that says nothing: Converse refuses it empty, and without it the turns around it would be another conversation.
const EMPTY: &str = "[empty message]";

fn turns<'r, 'a>(
    request: &'r Request<'a>,
    verdicts: &mut Verdicts<'_>,
) -> (Vec<Placed<'r, 'a>>, Vec<Turn<'r, 'a>>) {
    let mut system = Vec::new();
    let mut turns: Vec<Turn<'r, 'a>> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        check_members(message, Place::of(request, index), verdicts);
        let blocks = message.content.iter().enumerate().map(|(part, block)| (block, (index, part)));
        let role = match message.role {
            // Later ones join the first: their rank matters more than their place.
            Role::System | Role::Developer => {
                system.extend(blocks);
                continue;
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, blocks: blocks.collect() }),
        }
    }
    (system, turns)
}

/// Members of a message that Converse has no place for. An assistant's are left: they came with an answer and go back with it.
fn check_members(message: &Message<'_>, place: Place, verdicts: &mut Verdicts<'_>) {
    if !matches!(message.role, Role::User | Role::System | Role::Developer) {
        if message.extra.iter().any(|(name, raw)| name == "function_call" && raw.get() != "null") {
            verdicts.impossible(place.member("function_call"));
        }
        return;
    }
    let names = message.extra.iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| &**name);
    for name in names.chain(message.name.is_some().then_some("name")) {
        verdicts.unsupported(&place.member(name));
    }
}

/// Blocks that Converse takes: it refuses blank text, and Claude reasoning without a signature.
fn is_sendable(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal(text) => !text.is_blank(),
        BlockKind::Thinking { signature, .. } => {
            signature.as_ref().is_some_and(|signature| !signature.is_empty())
        }
        _ => true,
    }
}

// ===== impl Writer =====

impl Writer<'_, '_, '_, '_> {
    fn system(&mut self, list: &mut Array<'_>, blocks: &[Placed<'_, '_>]) {
        for (block, (message, part)) in blocks.iter().filter(|(block, _)| is_sendable(block)) {
            let place = Place::of(self.request, *message).part(*part);
            match &block.kind {
                BlockKind::Text { text, .. } => {
                    self.check_extra(block, &place);
                    list.object(|out| out.text("text", text));
                    self.cache(list, block.cache);
                }
                _ => self.verdicts.impossible(place),
            }
        }
    }

    fn blocks(&mut self, list: &mut Array<'_>, blocks: &[Placed<'_, '_>], prefill: bool) {
        let last = blocks.iter().rposition(|(block, _)| is_sendable(block));
        for (position, (block, (message, part))) in blocks.iter().enumerate() {
            if !is_sendable(block) {
                continue;
            }
            let is_last = prefill && Some(position) == last;
            match &block.kind {
                // Claude refuses a last assistant turn that ends in white space.
                BlockKind::Text { text, .. } if is_last => {
                    let trimmed: Text<'_> = text.decode().trim_end().to_owned().into();
                    list.object(|out| out.text("text", &trimmed));
                }
                _ => self.block(list, block, (*message, *part), None),
            }
            self.cache(list, block.cache);
        }
    }

    /// Writes a block, which is a result's where `inner` is its part in that.
    fn block(
        &mut self,
        list: &mut Array<'_>,
        block: &Block<'_>,
        (message, part): (usize, usize),
        inner: Option<usize>,
    ) {
        let place = self.place((message, part), inner);
        let from_assistant = self.request.messages[message].role == Role::Assistant;
        if !from_assistant {
            self.check_extra(block, &place);
        }
        match &block.kind {
            BlockKind::Text { text, .. } | BlockKind::Refusal(text) => {
                list.object(|out| out.text("text", text));
            }
            BlockKind::Image { source, .. } | BlockKind::File { source, .. } => {
                let own = self.request.dialect == Dialect::Anthropic;
                self.media.write(list, block, source, &place, own, self.verdicts);
            }
            BlockKind::ToolCall(call) => list.object(|out| {
                out.object("toolUse", |out| {
                    write_id(out, &call.id);
                    out.text("name", &call.name);
                    write_input(out, &call.arguments);
                });
            }),
            BlockKind::ToolResult { id, content, error, .. } => {
                list.object(|out| {
                    out.object("toolResult", |out| {
                        write_id(out, id);
                        out.array("content", |list| self.result(list, content, (message, part)));
                        if let Some(error) = error {
                            out.str("status", if *error { "error" } else { "success" });
                        }
                    });
                });
                // Within a result there is no place for a hint.
                if block.cache.is_none() {
                    self.cache(list, content.iter().find_map(|inner| inner.cache));
                }
            }
            BlockKind::Thinking { text, signature } => list.object(|out| {
                out.object("reasoningContent", |out| {
                    out.object("reasoningText", |out| {
                        out.text("text", text);
                        out.text_if("signature", signature.as_ref());
                    });
                });
            }),
            BlockKind::RedactedThinking { data } => list.object(|out| {
                out.object("reasoningContent", |out| out.text("redactedContent", data));
            }),
            BlockKind::Native { .. } => self.verdicts.impossible(place),
        }
    }

    fn result(&mut self, list: &mut Array<'_>, content: &[Block<'_>], place: (usize, usize)) {
        let mut any = false;
        for (inner, block) in content.iter().enumerate().filter(|(_, block)| is_sendable(block)) {
            any = true;
            self.block(list, block, place, Some(inner));
        }
        if !any {
            list.object(|out| out.str("text", ""));
        }
    }

    fn cache(&self, list: &mut Array<'_>, cache: Option<&RawValue>) {
        write_cache(list, cache.filter(|_| self.family.caches()));
    }

    /// Where a block stands in the caller's words: what OpenAI's callers have as a result's content is their message's.
    fn place(&self, (message, part): (usize, usize), inner: Option<usize>) -> String {
        let place = Place::of(self.request, message);
        match inner {
            Some(inner) if self.request.messages[message].role == Role::Tool => place.part(inner),
            Some(inner) => format!("{}.content[{inner}]", place.part(part)),
            None => place.part(part),
        }
    }

    /// Names what a block holds and Converse has no place for.
    fn check_extra(&mut self, block: &Block<'_>, place: &str) {
        let is_file = matches!(block.kind, BlockKind::File { .. });
        for (name, raw) in &block.extra {
            if raw.get() != "null" && !(is_file && matches!(&**name, "context" | "citations")) {
                self.verdicts.unsupported(&format!("{place}.{name}"));
            }
        }
    }
}

/// Writes a cache hint, which stands behind what it speaks of.
pub(super) fn write_cache(list: &mut Array<'_>, cache: Option<&RawValue>) {
    let Some(raw) = cache else { return };
    let hint: WireCache<'_> = document(raw.get()).unwrap_or_default();
    list.object(|out| {
        out.object("cachePoint", |point| {
            point.str("type", "default");
            point.raw_if("ttl", hint.ttl);
        });
    });
}

/// Writes the id of a call: at most 64 letters, digits, `_` and `-`, by the API reference. Another gets a hash of it all, so that two which
/// begin alike stay apart.
fn write_id(out: &mut Object<'_>, id: &Text<'_>) {
    let plain = id.decode();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if plain.len() <= MAX_ID && plain.chars().all(fits) {
        return out.text("toolUseId", id);
    }
    let head: String = plain.chars().map(|c| if fits(c) { c } else { '_' }).take(MAX_ID - 9).collect();
    out.str("toolUseId", &format!("{head}_{}", short_hash(&plain)));
}

/// Longest id of a call in bytes.
const MAX_ID: usize = 64;
