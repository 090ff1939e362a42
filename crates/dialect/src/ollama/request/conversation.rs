//! The messages of a request.

use std::collections::HashMap;

use ziggurat_core::Dialect;

use crate::{
    Block, BlockKind, Message, Request, Role, Source, Text, ToolCall,
    encode::{Place, Verdicts},
    foreign::{arguments_object, check_members, source_place, thoughts},
    model::CALL,
    write::{Array, Object},
};

/// A block and the name of its place in the caller's request.
type Placed<'r, 'a> = (&'r Block<'a>, String);

pub(super) fn write_messages(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    // The names behind the ids: a result says which tool gave it, and older versions know nothing else of it.
    let mut names = HashMap::new();
    body.array("messages", |list| {
        for (index, message) in request.messages.iter().enumerate() {
            let place = Place::of(request, index);
            check_members(message, place, verdicts);
            for block in &message.content {
                if let BlockKind::ToolCall(call) = &block.kind {
                    names.insert(call.id.decode(), &call.name);
                }
            }
            let mut writer = Writer { dialect: request.dialect, place, verdicts };
            let results = writer.results(list, message, &names);
            let is_rest = |block: &Block<'_>| !matches!(block.kind, BlockKind::ToolResult { .. });
            if !results || message.content.iter().any(is_rest) {
                writer.turn(list, message);
            }
        }
    });
}

struct Writer<'w, 'v> {
    dialect: Dialect,
    place: Place,
    verdicts: &'w mut Verdicts<'v>,
}

// ===== impl Writer =====

impl Writer<'_, '_> {
    /// Writes a message for each tool result; whether there was one.
    fn results(
        &mut self,
        list: &mut Array<'_>,
        message: &Message<'_>,
        names: &HashMap<std::borrow::Cow<'_, str>, &Text<'_>>,
    ) -> bool {
        let mut any = false;
        for (part, block) in message.content.iter().enumerate() {
            let BlockKind::ToolResult { id, content, .. } = &block.kind else { continue };
            any = true;
            let inner = |inner: usize| match self.dialect {
                // In such a caller's request the result's content is the message's.
                Dialect::OpenAi => self.place.part(inner),
                _ => format!("{}.content[{inner}]", self.place.part(part)),
            };
            let blocks: Vec<_> = content.iter().enumerate().map(|(at, block)| (block, inner(at))).collect();
            list.object(|out| {
                out.str("role", "tool");
                self.content(out, &blocks, "");
                out.text_if("tool_name", names.get(&id.decode()).copied());
                out.text("tool_call_id", id);
            });
        }
        any
    }

    fn turn(&mut self, list: &mut Array<'_>, message: &Message<'_>) {
        let blocks = message.content.iter().enumerate();
        let blocks: Vec<_> = blocks
            .filter(|(_, block)| !matches!(block.kind, BlockKind::ToolResult { .. }))
            .map(|(part, block)| (block, self.place.part(part)))
            .collect();
        list.object(|out| {
            let role = role(message.role);
            out.str("role", role);
            // Pieces of what the operator says stand for themselves; others go on where the last ended.
            self.content(out, &blocks, if role == "system" { "\n\n" } else { "" });
            if message.role != Role::Assistant {
                return;
            }
            let thoughts = thoughts(message);
            if !thoughts.is_empty() {
                write_joined(out.key("thinking"), &thoughts, "");
            }
            let calls: Vec<_> = message.content.iter().filter_map(as_call).collect();
            if !calls.is_empty() {
                out.array("tool_calls", |list| calls.iter().for_each(|call| write_call(list, call)));
            }
        });
    }

    /// Writes the text as one string, with this between its pieces, and images apart from it.
    fn content(&mut self, out: &mut Object<'_>, blocks: &[Placed<'_, '_>], between: &str) {
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        for (block, at) in blocks {
            match &block.kind {
                BlockKind::Text { text, .. }
                | BlockKind::Refusal(text)
                | BlockKind::File { source: Source::Text(text), .. } => texts.push(text.clone()),
                BlockKind::Image { source: Source::Base64 { data, .. }, .. } => images.push(data),
                BlockKind::File { source: Source::Base64 { media_type: Some(media_type), data }, .. }
                    if media_type.decode().starts_with("image/") =>
                {
                    images.push(data);
                }
                BlockKind::Image { .. } => self.verdicts.invalid(
                    "Ollama fetches no image: it takes the image itself, in base64",
                    source_place(self.dialect, block, at),
                ),
                BlockKind::File { .. } => self
                    .verdicts
                    .invalid("Ollama takes text and images, no files", source_place(self.dialect, block, at)),
                BlockKind::Native { dialect: Dialect::OpenAi, kind, .. }
                    if kind.decode().starts_with(CALL) =>
                {
                    self.verdicts.impossible(at.replacen(".content[", ".tool_calls[", 1));
                }
                BlockKind::Native { .. } => self.verdicts.impossible(at.clone()),
                // Written on their own; what only another maker can read is left with it.
                BlockKind::ToolCall(_)
                | BlockKind::ToolResult { .. }
                | BlockKind::Thinking { .. }
                | BlockKind::RedactedThinking { .. } => {}
            }
        }
        write_joined(out.key("content"), &texts, between);
        if !images.is_empty() {
            out.array("images", |list| images.iter().for_each(|data| list.text(data)));
        }
    }
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    }
}

fn write_joined(out: &mut Vec<u8>, texts: &[Text<'_>], between: &str) {
    out.push(b'"');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            Text::from(between).write_inner(out);
        }
        text.write_inner(out);
    }
    out.push(b'"');
}

fn as_call<'r, 'a>(block: &'r Block<'a>) -> Option<&'r ToolCall<'a>> {
    match &block.kind {
        BlockKind::ToolCall(call) => Some(call),
        _ => None,
    }
}

/// Writes a call. Its arguments are an object; what is no JSON, as arguments cut at a cap are, stands whole under the name that Anthropic's
/// callers get it under.
fn write_call(list: &mut Array<'_>, call: &ToolCall<'_>) {
    list.object(|out| {
        out.text("id", &call.id);
        out.object("function", |function| {
            function.text("name", &call.name);
            match arguments_object(&call.arguments) {
                Ok(json) => function.json("arguments", &json),
                Err(text) => function.object("arguments", |input| input.str("partial_json", &text)),
            }
        });
    });
}
