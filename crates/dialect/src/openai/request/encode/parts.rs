//! The parts of messages.

use ziggurat_core::Dialect;

use super::super::decode::{FILE, FUNCTION, IMAGE};
use crate::{
    Arguments, Block, BlockKind, Source, Text, ToolCall,
    model::CALL,
    read::Extra,
    write::{Array, Object},
};

/// Writes the members of a tool call.
pub(in crate::openai) fn write_call(out: &mut Object<'_>, call: &ToolCall<'_>, extra: &Extra<'_>) {
    out.text("id", &call.id);
    out.str("type", "function");
    out.object("function", |function| {
        function.text("name", &call.name);
        match &call.arguments {
            Arguments::Json(raw) => function.str("arguments", raw.get()),
            Arguments::String(text) => function.text("arguments", text),
        }
        write_inner(function, extra, FUNCTION);
    });
    out.extra_if(extra, |name| !name.starts_with(FUNCTION) && !CALL_MEMBERS.contains(&name));
}

/// The members of a tool call that are written here or by the caller.
const CALL_MEMBERS: &[&str] = &["id", "type", "function", "cache_control"];

/// Whether a block is a tool call, a function's or not.
pub(in crate::openai) fn is_call(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::ToolCall(_) => true,
        BlockKind::Native { dialect: Dialect::OpenAi, kind, .. } => kind.decode().starts_with(CALL),
        _ => false,
    }
}

/// Whether OpenAI's content has a part for a block: a file by URL has no place in its `file`, an image by id none in its `image_url`.
pub(super) fn is_part(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::Text { .. } | BlockKind::Refusal(_) => true,
        BlockKind::Image { source, .. } => matches!(source, Source::Url(_) | Source::Base64 { .. }),
        BlockKind::File { source, .. } => !matches!(source, Source::Url(_)),
        BlockKind::Native { dialect: Dialect::OpenAi, .. } => !is_call(block),
        BlockKind::Thinking { .. } => is_thought_part(block),
        _ => false,
    }
}

/// Beside a thought, as `null`: it is a part of the content, as Mistral has it, and stands in no list of its own.
pub(in crate::openai) const THOUGHT_PART: &str = "thinking";

/// Whether a block is a thought that is a part of the content.
pub(crate) fn is_thought_part(block: &Block<'_>) -> bool {
    matches!(block.kind, BlockKind::Thinking { .. })
        && block.extra.iter().any(|(name, raw)| name == THOUGHT_PART && raw.get() == "null")
}

/// Writes a block that is a part; `own` is whether it came in OpenAI's words, with members of OpenAI's that the model does not know.
pub(in crate::openai) fn write_part(list: &mut Array<'_>, block: &Block<'_>, own: bool) {
    let none = Extra::new();
    let extra = if own { &block.extra } else { &none };
    if let BlockKind::Native { raw, .. } = &block.kind {
        return list.json(raw.get());
    }
    if let BlockKind::Thinking { text, .. } = &block.kind {
        return list.object(|part| {
            part.str("type", "thinking");
            part.array("thinking", |thoughts| {
                thoughts.object(|thought| {
                    thought.str("type", "text");
                    thought.text("text", text);
                });
            });
        });
    }
    list.object(|part| {
        let inner = match &block.kind {
            BlockKind::Image { source, detail } => {
                part.str("type", "image_url");
                part.object("image_url", |image| {
                    write_url(image, "url", source, "image/png");
                    image.text_if("detail", detail.as_ref());
                    write_inner(image, extra, IMAGE);
                });
                IMAGE
            }
            BlockKind::File { source: Source::Text(text), .. } | BlockKind::Text { text, .. } => {
                part.str("type", "text");
                part.text("text", text);
                ""
            }
            BlockKind::File { source, name } => {
                part.str("type", "file");
                part.object("file", |file| {
                    file.text_if("filename", name.as_ref());
                    write_file(file, source);
                    write_inner(file, extra, FILE);
                });
                FILE
            }
            BlockKind::Refusal(text) => {
                part.str("type", "refusal");
                part.text("refusal", text);
                ""
            }
            _ => "",
        };
        if own {
            part.raw_if("cache_control", block.cache);
        }
        part.extra_if(extra, |name| inner.is_empty() || !name.starts_with(inner));
    });
}

fn write_file(file: &mut Object<'_>, source: &Source<'_>) {
    match source {
        Source::File(id) => file.text("file_id", id),
        Source::Base64 { media_type: None, data } => file.text("file_data", data),
        _ => write_url(file, "file_data", source, "application/pdf"),
    }
}

/// Writes a source as a URL, a data URL where the bytes are here.
pub(crate) fn write_url(out: &mut Object<'_>, name: &str, source: &Source<'_>, default_type: &str) {
    match source {
        Source::Base64 { media_type, data } => {
            let json = out.key(name);
            json.extend_from_slice(b"\"data:");
            media_type.as_ref().unwrap_or(&default_type.into()).write_inner(json);
            json.extend_from_slice(b";base64,");
            data.write_inner(json);
            json.push(b'"');
        }
        Source::Url(text) | Source::File(text) | Source::Text(text) => out.text(name, text),
    }
}

/// Writes the members that stood in an inner object.
pub(super) fn write_inner(out: &mut Object<'_>, extra: &Extra<'_>, prefix: &str) {
    for (name, raw) in extra {
        if let Some(name) = name.strip_prefix(prefix) {
            out.json(name, raw.get());
        }
    }
}

/// Writes the text among blocks: as one string, or as a list of parts.
pub(super) fn write_text_content(out: &mut Object<'_>, blocks: &[&Block<'_>], plain: bool) {
    let texts = blocks.iter().filter_map(|block| match &block.kind {
        BlockKind::Text { text, .. } => Some(text),
        _ => None,
    });
    if plain {
        write_joined(out.key("content"), texts);
    } else {
        out.array("content", |parts| {
            for text in texts {
                parts.object(|part| {
                    part.str("type", "text");
                    part.text("text", text);
                });
            }
        });
    }
}

/// Writes texts as one string.
pub(in crate::openai) fn write_joined<'t, 'a: 't>(
    out: &mut Vec<u8>,
    texts: impl Iterator<Item = &'t Text<'a>>,
) {
    out.push(b'"');
    texts.for_each(|text| text.write_inner(out));
    out.push(b'"');
}
