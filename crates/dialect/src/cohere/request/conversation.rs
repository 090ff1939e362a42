//! The messages of a request.

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
    body.array("messages", |list| {
        for (index, message) in request.messages.iter().enumerate() {
            let place = Place::of(request, index);
            check_members(message, place, verdicts);
            write_message(list, message, place, request.dialect, verdicts);
        }
    });
}

/// Writes a message: as several, where it holds tool results beside other things.
fn write_message(
    list: &mut Array<'_>,
    message: &Message<'_>,
    place: Place,
    dialect: Dialect,
    verdicts: &mut Verdicts<'_>,
) {
    let mut rest: Vec<Placed<'_, '_>> = Vec::new();
    for (part, block) in message.content.iter().enumerate() {
        let BlockKind::ToolResult { id, content, plain, .. } = &block.kind else { continue };
        // A tool's message holds text and Cohere's own documents; what else the tool gave follows as the user's.
        let mut given = Vec::new();
        for (inner, block) in content.iter().enumerate() {
            match &block.kind {
                BlockKind::Text { .. } => given.push(block),
                BlockKind::Native { dialect: Dialect::OpenAi, kind, .. } if *kind == *"document" => {
                    given.push(block);
                }
                // In an OpenAI caller's request the result's content is the message's.
                _ if dialect == Dialect::OpenAi => rest.push((block, place.part(inner))),
                _ => rest.push((block, format!("{}.content[{inner}]", place.part(part)))),
            }
        }
        list.object(|out| {
            out.str("role", "tool");
            out.text("tool_call_id", id);
            write_given(out, &given, *plain);
        });
    }
    let is_result = |block: &Block<'_>| matches!(block.kind, BlockKind::ToolResult { .. });
    let parts = message.content.iter().enumerate();
    rest.extend(parts.filter(|(_, block)| !is_result(block)).map(|(part, block)| (block, place.part(part))));
    if rest.is_empty() && message.content.iter().any(is_result) {
        return;
    }
    list.object(|out| match message.role {
        Role::Assistant => write_assistant(out, message, &rest, verdicts),
        Role::System | Role::Developer => write_turn(out, "system", &rest, message.plain, dialect, verdicts),
        Role::User | Role::Tool => write_turn(out, "user", &rest, message.plain, dialect, verdicts),
    });
}

fn write_turn(
    out: &mut Object<'_>,
    role: &str,
    blocks: &[Placed<'_, '_>],
    plain: bool,
    dialect: Dialect,
    verdicts: &mut Verdicts<'_>,
) {
    out.str("role", role);
    if let ([(Block { kind: BlockKind::Text { text, .. }, .. }, _)], true) = (blocks, plain) {
        return out.text("content", text);
    }
    if blocks.is_empty() {
        return out.str("content", "");
    }
    out.array("content", |parts| {
        for (block, at) in blocks {
            match &block.kind {
                BlockKind::Text { text, .. }
                | BlockKind::Refusal(text)
                | BlockKind::File { source: Source::Text(text), .. } => write_text(parts, text),
                BlockKind::Image { source: source @ (Source::Url(_) | Source::Base64 { .. }), detail } => {
                    write_image(parts, source, detail.as_ref());
                }
                BlockKind::Image { .. } | BlockKind::File { .. } => verdicts.invalid(
                    "Cohere takes text and images, by URL or in base64",
                    source_place(dialect, block, at),
                ),
                BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {}
                _ => verdicts.impossible(at.clone()),
            }
        }
    });
}

fn write_assistant(
    out: &mut Object<'_>,
    message: &Message<'_>,
    blocks: &[Placed<'_, '_>],
    verdicts: &mut Verdicts<'_>,
) {
    let (mut texts, mut calls) = (Vec::new(), Vec::new());
    for (block, at) in blocks {
        match &block.kind {
            BlockKind::Text { text, .. } | BlockKind::Refusal(text) => texts.push(text),
            BlockKind::ToolCall(call) => calls.push(call),
            // What only another maker can read is left with it.
            BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {}
            BlockKind::Native { dialect: Dialect::OpenAi, kind, .. } if kind.decode().starts_with(CALL) => {
                verdicts.impossible(at.replacen(".content[", ".tool_calls[", 1));
            }
            _ => verdicts.impossible(at.clone()),
        }
    }
    out.str("role", "assistant");
    let thoughts = thoughts(message);
    match (thoughts.is_empty(), calls.is_empty()) {
        // What was thought ahead of calls is their plan.
        (false, false) => {
            let plan = out.key("tool_plan");
            plan.push(b'"');
            thoughts.iter().for_each(|text| text.write_inner(plan));
            plan.push(b'"');
        }
        (false, true) => {
            return out.array("content", |parts| {
                for thought in &thoughts {
                    parts.object(|part| {
                        part.str("type", "thinking");
                        part.text("thinking", thought);
                    });
                }
                texts.iter().for_each(|text| write_text(parts, text));
            });
        }
        (true, _) => {}
    }
    if !texts.is_empty() || calls.is_empty() {
        write_texts(out, &texts, message.plain || texts.len() <= 1);
    }
    if !calls.is_empty() {
        out.array("tool_calls", |list| calls.iter().for_each(|call| write_call(list, call)));
    }
}

/// Writes what a tool gave.
fn write_given(out: &mut Object<'_>, given: &[&Block<'_>], plain: bool) {
    let texts = given.iter().filter_map(|block| match &block.kind {
        BlockKind::Text { text, .. } => Some(text),
        _ => None,
    });
    let texts: Vec<_> = texts.collect();
    if texts.len() == given.len() {
        return write_texts(out, &texts, plain || texts.len() <= 1);
    }
    out.array("content", |parts| {
        for block in given {
            match &block.kind {
                BlockKind::Text { text, .. } => write_text(parts, text),
                BlockKind::Native { raw, .. } => parts.json(raw.get()),
                _ => {}
            }
        }
    });
}

/// Writes text: as one string, or as a list of parts.
fn write_texts(out: &mut Object<'_>, texts: &[&Text<'_>], plain: bool) {
    if plain {
        let content = out.key("content");
        content.push(b'"');
        texts.iter().for_each(|text| text.write_inner(content));
        content.push(b'"');
    } else {
        out.array("content", |parts| texts.iter().for_each(|text| write_text(parts, text)));
    }
}

fn write_text(parts: &mut Array<'_>, text: &Text<'_>) {
    parts.object(|part| {
        part.str("type", "text");
        part.text("text", text);
    });
}

fn write_image(parts: &mut Array<'_>, source: &Source<'_>, detail: Option<&Text<'_>>) {
    parts.object(|part| {
        part.str("type", "image_url");
        part.object("image_url", |image| {
            match source {
                Source::Base64 { media_type, data } => {
                    let url = image.key("url");
                    url.extend_from_slice(b"\"data:");
                    media_type.as_ref().unwrap_or(&"image/png".into()).write_inner(url);
                    url.extend_from_slice(b";base64,");
                    data.write_inner(url);
                    url.push(b'"');
                }
                Source::Url(text) | Source::File(text) | Source::Text(text) => image.text("url", text),
            }
            image.text_if("detail", detail);
        });
    });
}

fn write_call(list: &mut Array<'_>, call: &ToolCall<'_>) {
    list.object(|out| {
        out.text("id", &call.id);
        out.str("type", "function");
        out.object("function", |function| {
            function.text("name", &call.name);
            // A string here, whatever it holds; that there is nothing has to be said as JSON, too.
            match arguments_object(&call.arguments) {
                Ok(json) | Err(json) => function.str("arguments", &json),
            }
        });
    });
}
