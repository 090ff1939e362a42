//! Answers of Messages, read and written, and the blocks that requests share with them.

use std::borrow::Cow;

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, json::write_string};

use super::{
    finish, read_usage,
    request::{blocks, caller_block},
    stop_word,
    usage::write_usage,
};
use crate::{
    Arguments, Block, BlockKind, Choice, Finish, FinishReason, Malformed, Response, Source, Text, ToolCall,
    names::short_hash,
    read::{Extra, StringOr, document, wire_object},
    write::{Object, object},
};

wire_object! {
    struct WireResponse {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        role: Text<'a> = "role",
        model: Text<'a> = "model",
        content: Vec<&'a RawValue> = "content",
        stop_reason: Text<'a> = "stop_reason",
        stop_sequence: Text<'a> = "stop_sequence",
        usage: &'a RawValue = "usage",
    }
    /// A block of any type.
    struct WireBlock {
        kind: Text<'a> = "type",
        text: Text<'a> = "text",
        citations: &'a RawValue = "citations",
        thinking: Text<'a> = "thinking",
        signature: Text<'a> = "signature",
        data: Text<'a> = "data",
        id: Text<'a> = "id",
        name: Text<'a> = "name",
        input: &'a RawValue = "input",
        source: &'a RawValue = "source",
        title: Text<'a> = "title",
        tool_use_id: Text<'a> = "tool_use_id",
        content: StringOr<'a, &'a RawValue> = "content",
        is_error: bool = "is_error",
        cache_control: &'a RawValue = "cache_control",
    }
    struct WireKind { kind: Text<'a> = "type", }
    struct WireAny { }
}

/// Reads an answer of a provider of Anthropic's dialect.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let wire: WireResponse<'_> = document(json)?;
    let list = wire.content.ok_or_else(|| Malformed::new("missing field", "content"))?;
    let (content, _) = blocks(StringOr::List(list), "content")?;
    let finish = wire.stop_reason.map(|reason| finish(reason, wire.stop_sequence));
    Ok(Response {
        dialect: Dialect::Anthropic,
        id: wire.id,
        model: wire.model,
        created: None,
        choices: vec![Choice { content, finish, ..Choice::default() }],
        usage: wire.usage.and_then(read_usage),
        extra: wire.extra,
    })
}

/// Reads a block of content.
pub(super) fn decode_block(raw: &RawValue) -> Result<Block<'_>, Malformed> {
    let read = document::<WireBlock<'_>>(raw.get());
    // A type that is not ours may use the same member names for other things: its type is read alone.
    let kind = match &read {
        Ok(wire) => wire.kind.clone(),
        Err(_) => document::<WireKind<'_>>(raw.get())?.kind,
    };
    let kind = kind.ok_or_else(|| Malformed::new("missing required field", "type"))?;
    let native =
        || Ok(Block::new(BlockKind::Native { dialect: Dialect::Anthropic, kind: kind.clone(), raw }));
    let word = kind.decode();
    if !is_known(&word) {
        return native();
    }
    let mut wire = read?;
    let missing = |field: &str| Malformed::new("missing required field", field);
    let block = match &*word {
        "text" => BlockKind::Text {
            text: wire.text.take().ok_or_else(|| missing("text"))?,
            citations: wire.citations.take(),
        },
        "thinking" => BlockKind::Thinking {
            text: wire.thinking.take().ok_or_else(|| missing("thinking"))?,
            signature: wire.signature.take(),
        },
        "redacted_thinking" => {
            BlockKind::RedactedThinking { data: wire.data.take().ok_or_else(|| missing("data"))? }
        }
        "tool_use" => BlockKind::ToolCall(ToolCall {
            id: wire.id.take().ok_or_else(|| missing("id"))?,
            name: wire.name.take().ok_or_else(|| missing("name"))?,
            arguments: wire.input.take().map_or_else(|| Arguments::String("{}".into()), Arguments::Json),
        }),
        kind => match caller_block(kind, &mut wire)? {
            Some(block) => block,
            None => return native(),
        },
    };
    let cache = wire.cache_control;
    let extra = strays(wire, raw);
    Ok(Block { kind: block, cache, extra })
}

/// The members of a block that its type has no place for, those among them that another type's block would have.
pub(super) fn strays<'a>(wire: WireBlock<'a>, raw: &'a RawValue) -> Extra<'a> {
    let strays = [
        ("text", wire.text.is_some()),
        ("citations", wire.citations.is_some()),
        ("thinking", wire.thinking.is_some()),
        ("signature", wire.signature.is_some()),
        ("data", wire.data.is_some()),
        ("id", wire.id.is_some()),
        ("name", wire.name.is_some()),
        ("input", wire.input.is_some()),
        ("source", wire.source.is_some()),
        ("title", wire.title.is_some()),
        ("tool_use_id", wire.tool_use_id.is_some()),
        ("content", wire.content.is_some()),
        ("is_error", wire.is_error.is_some()),
    ];
    let mut extra = wire.extra;
    if strays.iter().any(|(_, is_stray)| *is_stray) {
        let all: WireAny<'a> = document(raw.get()).unwrap_or_default();
        let is_stray = |name: &str| strays.contains(&(name, true));
        extra.extend(all.extra.into_iter().filter(|(name, _)| is_stray(name)));
    }
    extra
}

fn is_known(kind: &str) -> bool {
    matches!(
        kind,
        "text" | "thinking" | "redacted_thinking" | "tool_use" | "image" | "document" | "tool_result"
    )
}

/// Reads a thinking block as it stands among OpenAI's members, where a stream's helper may have left its number.
pub(crate) fn decode_thinking_block(raw: &RawValue) -> Result<Block<'_>, Malformed> {
    let mut block = decode_block(raw)?;
    block.extra.retain(|(name, _)| name != "index");
    Ok(block)
}

/// Writes a thinking block, wherever it stands.
pub(crate) fn write_thinking_block(out: &mut Object<'_>, block: &Block<'_>) {
    write_block(out, block, true);
}

/// Writes an answer for a caller of Anthropic's dialect.
pub fn encode_response(response: &Response<'_>, out: &mut Vec<u8>) {
    let own = response.dialect == Dialect::Anthropic;
    let choice = response.choices.first();
    let content = choice.map_or(&[][..], |choice| &choice.content);
    object(out, |body| {
        body.text("id", response.id.as_ref().unwrap_or(&"".into()));
        body.str("type", "message");
        body.str("role", "assistant");
        body.text("model", response.model.as_ref().unwrap_or(&"".into()));
        body.array("content", |list| {
            for block in content {
                match &block.kind {
                    BlockKind::Native { dialect: Dialect::Anthropic, raw, .. } => list.json(raw.get()),
                    BlockKind::Native { .. } => {}
                    // What is empty beside other blocks is OpenAI's way to say nothing.
                    BlockKind::Text { text, .. } if !own && text.is_empty() && content.len() > 1 => {}
                    _ => list.object(|out| write_block(out, block, own)),
                }
            }
        });
        let calls = content.iter().any(|block| matches!(block.kind, BlockKind::ToolCall(_)));
        write_stop(body, choice.and_then(|choice| choice.finish.as_ref()), calls);
        match &response.usage {
            Some(spent) if spent.dialect == Dialect::Anthropic => body.json("usage", spent.raw.get()),
            Some(spent) => body.object("usage", |usage| write_usage(usage, &spent.counts)),
            None => body.object("usage", |usage| {
                usage.number("input_tokens", 0);
                usage.number("output_tokens", 0);
            }),
        }
        if own {
            // No name among them is one of ours: those were read.
            body.extra(&response.extra, &[]);
        }
    });
}

/// Writes why an answer ended.
pub(super) fn write_stop(out: &mut Object<'_>, finish: Option<&Finish<'_>>, calls: bool) {
    match finish {
        Some(finish) if finish.dialect == Dialect::Anthropic => out.text("stop_reason", &finish.native),
        Some(finish) => out.str("stop_reason", stop_word(finish, calls)),
        None => out.json("stop_reason", "null"),
    }
    match finish.and_then(|finish| finish.stop_sequence.as_ref()) {
        Some(sequence) => out.text("stop_sequence", sequence),
        None => out.json("stop_sequence", "null"),
    }
    if finish.is_some_and(|f| f.dialect != Dialect::Anthropic && f.reason == FinishReason::ContentFilter) {
        out.object("stop_details", |details| {
            details.str("type", "refusal");
            details.json("category", "null");
            details.json("explanation", "null");
        });
    }
}

/// Writes the members of a block; native ones are written by whoever holds them, whole. `own` is whether it came in Anthropic's words: then
/// members that the model does not know are Anthropic's too.
pub(super) fn write_block(out: &mut Object<'_>, block: &Block<'_>, own: bool) {
    match &block.kind {
        BlockKind::Text { text, citations } => {
            out.str("type", "text");
            out.text("text", text);
            out.raw_if("citations", *citations);
        }
        BlockKind::Refusal(text) => {
            out.str("type", "text");
            out.text("text", text);
        }
        BlockKind::Thinking { text, signature } => {
            out.str("type", "thinking");
            out.text("thinking", text);
            // The block cannot be sent back without one; its type says that there is one.
            out.text("signature", signature.as_ref().unwrap_or(&"".into()));
        }
        BlockKind::RedactedThinking { data } => {
            out.str("type", "redacted_thinking");
            out.text("data", data);
        }
        BlockKind::ToolCall(call) => {
            out.str("type", "tool_use");
            write_call_id(out.key("id"), &call.id);
            out.text("name", &call.name);
            write_input(out, &call.arguments);
        }
        BlockKind::ToolResult { id, content, plain, error } => {
            out.str("type", "tool_result");
            write_call_id(out.key("tool_use_id"), id);
            write_result(out, content, *plain, own);
            if let Some(error) = error {
                out.bool("is_error", *error);
            }
        }
        BlockKind::Image { source, .. } | BlockKind::File { source, .. } if !own => {
            write_media(out, block, source);
        }
        BlockKind::Image { source, .. } => {
            out.str("type", "image");
            write_source(out, source, &block.extra);
        }
        BlockKind::File { source, name } => {
            out.str("type", "document");
            write_source(out, source, &block.extra);
            out.text_if("title", name.as_ref());
        }
        BlockKind::Native { .. } => {}
    }
    out.raw_if("cache_control", block.cache);
    out.extra_if(
        &block.extra,
        |name| if own { !name.starts_with(SOURCE) } else { is_anthropic_member(name) },
    );
}

/// Writes media that came in other words: what it is, the type of its bytes says before the part that it stood in. An image has no title.
fn write_media(out: &mut Object<'_>, block: &Block<'_>, source: &Source<'_>) {
    let media = match source {
        // Bytes without a type are a file's.
        Source::Base64 { media_type, .. } => Some(media_type.as_ref().and_then(Media::of).unwrap_or(PDF)),
        _ => None,
    };
    let is_image = media.map_or(matches!(block.kind, BlockKind::Image { .. }), |media| media.is_image);
    out.str("type", if is_image { "image" } else { "document" });
    out.object("source", |out| match (source, media) {
        (Source::Base64 { data, .. }, Some(media)) => {
            out.str("type", "base64");
            out.str("media_type", media.name);
            out.text("data", data);
        }
        _ => write_source_members(out, source),
    });
    if let BlockKind::File { name, .. } = &block.kind
        && !is_image
    {
        out.text_if("title", name.as_ref());
    }
}

/// A type of bytes that Anthropic takes; from its API reference.
#[derive(Clone, Copy)]
pub(super) struct Media {
    name: &'static str,
    is_image: bool,
}

const PDF: Media = Media { name: "application/pdf", is_image: false };

impl Media {
    /// By its name, whose case and parameters say nothing more.
    pub(super) fn of(media_type: &Text<'_>) -> Option<Self> {
        let text = media_type.decode().to_ascii_lowercase();
        let image = |name| Some(Self { name, is_image: true });
        match text.split(';').next().unwrap_or_default().trim() {
            "image/png" => image("image/png"),
            // The second is no registered type, and common.
            "image/jpeg" | "image/jpg" => image("image/jpeg"),
            "image/gif" => image("image/gif"),
            "image/webp" => image("image/webp"),
            "application/pdf" => Some(PDF),
            _ => None,
        }
    }
}

/// Blocks that Anthropic takes: it refuses blank text, and reasoning without a signature.
pub(super) fn is_sendable(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal(text) => !text.is_blank(),
        BlockKind::Thinking { signature, .. } => {
            signature.as_ref().is_some_and(|signature| !signature.is_empty())
        }
        _ => true,
    }
}

/// Stands before the names of a source's members among those of its block.
const SOURCE: &str = "source.";

/// Members of blocks that Anthropic knows and the model does not.
pub(super) fn is_anthropic_member(name: &str) -> bool {
    matches!(name, "context" | "citations" | "caller")
}

fn write_result(out: &mut Object<'_>, content: &[Block<'_>], plain: bool, own: bool) {
    if let ([Block { kind: BlockKind::Text { text, .. }, .. }], true) = (content, plain) {
        return out.text("content", text);
    }
    out.array("content", |list| {
        for block in content {
            match &block.kind {
                BlockKind::Native { dialect: Dialect::Anthropic, raw, .. } => list.json(raw.get()),
                BlockKind::Native { .. } => {}
                _ if !own && !is_sendable(block) => {}
                _ => list.object(|out| write_block(out, block, own)),
            }
        }
    });
}

/// Writes arguments as the object that Anthropic's `input` is. What is no JSON, as arguments cut at a cap are, stands whole under
/// `partial_json`: the name of the delta that would have carried it.
pub(crate) fn write_input(out: &mut Object<'_>, arguments: &Arguments<'_>) {
    let text = match arguments {
        Arguments::Json(raw) => Cow::Borrowed(raw.get()),
        Arguments::String(text) => text.decode(),
    };
    let trimmed = text.trim();
    match serde_json::from_str::<&RawValue>(trimmed) {
        Ok(raw) if raw.get().starts_with('{') => out.json("input", raw.get()),
        _ if trimmed.is_empty() || trimmed == "null" => out.json("input", "{}"),
        _ => out.object("input", |input| input.str("partial_json", &text)),
    }
}

fn write_source(out: &mut Object<'_>, source: &Source<'_>, extra: &Extra<'_>) {
    out.object("source", |out| {
        write_source_members(out, source);
        for (name, raw) in extra {
            if let Some(name) = name.strip_prefix(SOURCE) {
                out.json(name, raw.get());
            }
        }
    });
}

fn write_source_members(out: &mut Object<'_>, source: &Source<'_>) {
    match source {
        Source::Base64 { media_type, data } => {
            out.str("type", "base64");
            out.text_if("media_type", media_type.as_ref());
            out.text("data", data);
        }
        Source::Url(url) => {
            out.str("type", "url");
            out.text("url", url);
        }
        Source::File(id) => {
            out.str("type", "file");
            out.text("file_id", id);
        }
        Source::Text(text) => {
            out.str("type", "text");
            out.str("media_type", "text/plain");
            out.text("data", text);
        }
    }
}

/// Writes the id of a call: Anthropic takes letters, digits, `_` and `-` alone. An id with others gets a hash of it all, so that two which
/// differ in those alone stay apart.
pub(super) fn write_call_id(out: &mut Vec<u8>, id: &Text<'_>) {
    let plain = id.decode();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match plain.chars().all(fits) {
        true => id.write(out),
        false => write_string(out, &format!("{}_{}", plain.replace(|c| !fits(c), "_"), short_hash(&plain))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_no_other_characters() {
        let mut out = Vec::new();
        write_call_id(&mut out, &"call:1/é".into());
        assert_eq!(
            String::from_utf8(out).expect("is UTF-8"),
            format!("\"call_1___{}\"", short_hash("call:1/é"))
        );
        let write = |id: &str| {
            let mut out = Vec::new();
            write_call_id(&mut out, &id.into());
            out
        };
        assert_eq!(write("call_1-a"), b"\"call_1-a\"");
        assert_eq!(write("a:1"), b"\"a_1_2b2c40a6\"");
        assert_ne!(write("a:1"), write("a/1"));
    }

    #[test]
    fn input_is_always_an_object() {
        let input = |arguments: &str| {
            let mut out = Vec::new();
            object(&mut out, |out| write_input(out, &Arguments::String(arguments.to_owned().into())));
            String::from_utf8(out).expect("is UTF-8")
        };
        assert_eq!(input(r#" {"a": 1} "#), r#"{"input":{"a": 1}}"#);
        assert_eq!(input(""), r#"{"input":{}}"#);
        assert_eq!(input(r#"{"a": "x"#), r#"{"input":{"partial_json":"{\"a\": \"x"}}"#);
    }
}
