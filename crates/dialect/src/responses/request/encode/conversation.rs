//! The items of a request.

use ziggurat_core::Dialect;

use super::super::super::items::{PART, write_call, write_reasoning};
use crate::{
    Block, BlockKind, Message, Request, Role, Source,
    encode::{Place, Verdicts},
    model::CALL,
    openai::write_url,
    read::Extra,
    write::{Array, Object},
};

/// Writes the conversation: what stood apart as instructions, all else as items.
pub(super) fn write_conversation(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let mut writer = Writer { dialect: request.dialect, verdicts };
    let mut messages = request.messages.iter().enumerate();
    if let Some(first) = request.messages.first()
        && request.system_apart
        && first.plain
        && let [Block { kind: BlockKind::Text { text, .. }, .. }] = &first.content[..]
    {
        body.text("instructions", text);
        messages.next();
    }
    if request.messages.is_empty() && request.dialect == Dialect::Responses {
        // A stored prompt may be all of the input.
        return;
    }
    body.array("input", |list| {
        for (index, message) in messages {
            writer.message(list, message, Place::of(request, index));
        }
    });
}

struct Writer<'w, 'e> {
    dialect: Dialect,
    verdicts: &'w mut Verdicts<'e>,
}

impl Writer<'_, '_> {
    fn message(&mut self, list: &mut Array<'_>, message: &Message<'_>, place: Place) {
        let own = self.dialect == Dialect::Responses;
        if !own {
            self.check(message, place);
        }
        let content = &message.content[..];
        if content.is_empty() {
            return self.turn(list, message, content, 0, place);
        }
        let mut start = 0;
        while start < content.len() {
            let end = start + content[start..].iter().take_while(|block| is_part(block)).count();
            if end > start {
                self.turn(list, message, &content[start..end], start, place);
                start = end;
                continue;
            }
            self.item(list, &content[start], place, start);
            start += 1;
        }
    }

    /// Names what the caller says of a message and Responses has no place for. Members of an assistant's are left: they came with an answer.
    /// Cache hints are left too: OpenAI caches by itself.
    fn check(&mut self, message: &Message<'_>, place: Place) {
        if message.role == Role::Assistant {
            if message.extra.iter().any(|(name, raw)| name == "function_call" && raw.get() != "null") {
                self.verdicts.impossible(place.member("function_call"));
            }
            return;
        }
        let names = message.extra.iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| &**name);
        for name in names.chain(message.name.is_some().then_some("name")) {
            self.verdicts.unsupported(&place.member(name));
        }
        for (part, block) in message.content.iter().enumerate() {
            for (name, _) in block.extra.iter().filter(|(_, raw)| raw.get() != "null") {
                self.verdicts.unsupported(&format!("{}.{name}", place.part(part)));
            }
        }
    }

    /// Writes a run of parts as a message.
    fn turn(
        &mut self,
        list: &mut Array<'_>,
        message: &Message<'_>,
        parts: &[Block<'_>],
        offset: usize,
        place: Place,
    ) {
        list.object(|item| {
            item.str("type", "message");
            item.str("role", role(message.role));
            match parts {
                [Block { kind: BlockKind::Text { text, .. }, .. }] if message.plain => {
                    item.text("content", text)
                }
                parts => item.array("content", |list| {
                    for (part, block) in parts.iter().enumerate() {
                        self.part(list, block, message.role, || place.part(offset + part));
                    }
                }),
            }
            if self.dialect == Dialect::Responses {
                item.extra(&message.extra, &[]);
            }
        });
    }

    /// Writes a block that is an item of its own.
    fn item(&mut self, list: &mut Array<'_>, block: &Block<'_>, place: Place, part: usize) {
        let own = self.dialect == Dialect::Responses;
        let none = Extra::new();
        let extra = if own { &block.extra } else { &none };
        match &block.kind {
            BlockKind::ToolCall(call) => list.object(|item| {
                write_call(item, &call.id, &call.name, &call.arguments);
                item.extra(extra, &[]);
            }),
            BlockKind::ToolResult { id, content, plain, .. } => list.object(|item| {
                item.str("type", "function_call_output");
                item.text("call_id", id);
                match &content[..] {
                    [] if !own => item.str("output", ""),
                    [Block { kind: BlockKind::Text { text, .. }, .. }] if *plain || !own => {
                        item.text("output", text)
                    }
                    content => item.array("output", |list| {
                        for (inner, block) in content.iter().enumerate() {
                            let at = || format!("{}.content[{inner}]", place.part(part));
                            self.part(list, block, Role::Tool, at);
                        }
                    }),
                }
                item.extra(extra, &[]);
            }),
            // Only its maker takes reasoning back, and knows it by what is encrypted.
            BlockKind::Thinking { signature, .. }
                if own || signature.as_ref().is_some_and(|s| !s.is_empty()) =>
            {
                list.object(|item| {
                    write_reasoning(item, block);
                    item.extra(extra, &[]);
                })
            }
            BlockKind::RedactedThinking { .. } if own => list.object(|item| {
                write_reasoning(item, block);
                item.extra(extra, &[]);
            }),
            BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {}
            BlockKind::Native { dialect: Dialect::Responses, raw, .. } => list.json(raw.get()),
            BlockKind::Native { dialect: Dialect::OpenAi, kind, .. } if kind.decode().starts_with(CALL) => {
                self.verdicts.impossible(format!("{}[{part}]", place.member("tool_calls")));
            }
            _ => self.verdicts.impossible(place.part(part)),
        }
    }

    fn part(&mut self, list: &mut Array<'_>, block: &Block<'_>, role: Role, at: impl Fn() -> String) {
        let own = self.dialect == Dialect::Responses;
        match &block.kind {
            BlockKind::Native { dialect: Dialect::Responses, raw, .. } => return list.json(raw.get()),
            // Another provider's id means nothing to this one.
            BlockKind::Image { source: Source::File(_), .. }
            | BlockKind::File { source: Source::File(_), .. }
                if !own && self.dialect != Dialect::OpenAi =>
            {
                return self.verdicts.impossible(at());
            }
            _ if !is_part(block) => return self.verdicts.impossible(at()),
            _ => {}
        }
        list.object(|part| {
            write_part(part, block, role == Role::Assistant, own);
            if own {
                part.extra(&block.extra, &[]);
            }
        });
    }
}

/// Whether a block stands within a message.
fn is_part(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::Text { .. } | BlockKind::Image { .. } | BlockKind::File { .. } | BlockKind::Refusal(_) => {
            true
        }
        BlockKind::Native { dialect: Dialect::Responses, kind, .. } => kind.decode().starts_with(PART),
        _ => false,
    }
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    }
}

fn write_part(part: &mut Object<'_>, block: &Block<'_>, is_answer: bool, own: bool) {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::File { source: Source::Text(text), .. } => {
            part.str("type", if is_answer { "output_text" } else { "input_text" });
            part.text("text", text);
        }
        BlockKind::Refusal(text) => {
            part.str("type", "refusal");
            part.text("refusal", text);
        }
        BlockKind::Image { source, detail } => {
            part.str("type", "input_image");
            match source {
                Source::File(id) => part.text("file_id", id),
                source => write_url(part, "image_url", source, "image/png"),
            }
            part.text_if("detail", detail.as_ref());
        }
        BlockKind::File { source, name } => {
            part.str("type", "input_file");
            match (source, name) {
                (_, Some(name)) => part.text("filename", name),
                // Bytes are refused without one.
                (Source::Base64 { .. }, None) if !own => part.str("filename", "document.pdf"),
                _ => {}
            }
            match source {
                Source::File(id) => part.text("file_id", id),
                Source::Url(url) => part.text("file_url", url),
                Source::Base64 { media_type: None, data } if own => part.text("file_data", data),
                source => write_url(part, "file_data", source, "application/pdf"),
            }
        }
        _ => {}
    }
}
