//! Items and the parts of their content, as requests and answers share them.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use crate::{
    Arguments, Block, BlockKind, Malformed, Source, Text, ToolCall,
    openai::media,
    read::{Extra, StringOr, document, wire_object},
    write::{Array, Object},
};

wire_object! {
    /// What tells an item's type; the rest is read by it, as other types use the same names for other things.
    struct WireHead { kind: Text<'a> = "type", role: &'a RawValue = "role", id: &'a RawValue = "id", }
    struct WireMessage {
        kind: Text<'a> = "type",
        role: &'a RawValue = "role",
        content: StringOr<'a, &'a RawValue> = "content",
    }
    struct WireCall {
        kind: Text<'a> = "type",
        call_id: Text<'a> = "call_id",
        name: Text<'a> = "name",
        arguments: &'a RawValue = "arguments",
    }
    struct WireReasoning {
        kind: Text<'a> = "type",
        summary: &'a RawValue = "summary",
        content: &'a RawValue = "content",
        encrypted_content: Text<'a> = "encrypted_content",
    }
    struct WireThought { kind: Text<'a> = "type", text: Text<'a> = "text", }
    struct WirePart {
        kind: Text<'a> = "type",
        text: Text<'a> = "text",
        refusal: Text<'a> = "refusal",
        image_url: Text<'a> = "image_url",
        detail: Text<'a> = "detail",
        file_id: Text<'a> = "file_id",
        file_data: Text<'a> = "file_data",
        file_url: Text<'a> = "file_url",
        filename: Text<'a> = "filename",
    }
    struct WireKind { kind: Text<'a> = "type", }
}

/// Stands before the type of a native block that is a part of a message's content.
pub(super) const PART: &str = "content.";

/// Stands before encrypted content that is another dialect's redacted thinking.
pub(crate) const REDACTED: &str = "redacted_thinking:";

/// Reads a call of a function.
pub(super) fn call(raw: &RawValue) -> Result<Block<'_>, Malformed> {
    let wire: WireCall<'_> = document(raw.get())?;
    let missing = |field: &str| Malformed::new("missing required field", field);
    let call = ToolCall {
        id: wire.call_id.ok_or_else(|| missing("call_id"))?,
        name: wire.name.ok_or_else(|| missing("name"))?,
        arguments: arguments(wire.arguments),
    };
    Ok(Block { extra: wire.extra, ..Block::new(BlockKind::ToolCall(call)) })
}

fn arguments(raw: Option<&RawValue>) -> Arguments<'_> {
    match raw.map(|raw| (Text::from_json(raw.get()), raw)) {
        Some((Some(text), _)) => Arguments::String(text),
        Some((None, raw)) => Arguments::Json(raw),
        None => Arguments::String("".into()),
    }
}

/// Reads a reasoning item. Its lists stay among the members unless the text alone says the same.
pub(super) fn reasoning(raw: &RawValue) -> Result<Block<'_>, Malformed> {
    let wire: WireReasoning<'_> = document(raw.get())?;
    let mut extra = wire.extra;
    let (summary, content) = (thoughts(wire.summary), thoughts(wire.content));
    let is_plain = wire.content.is_none()
        && wire.summary.is_some()
        && summary.iter().all(|part| {
            part.extra.is_empty() && part.text.is_some() && part.kind == Some("summary_text".into())
        })
        && summary.len() <= 1
        && !summary.iter().any(|part| part.text.as_ref().is_some_and(Text::is_empty));
    if !is_plain {
        extra.extend(wire.summary.map(|raw| (SUMMARY.into(), raw)));
        extra.extend(wire.content.map(|raw| (CONTENT.into(), raw)));
    }
    let text = join(summary).or_else(|| join(content)).unwrap_or_else(|| "".into());
    let redacted = wire
        .encrypted_content
        .as_ref()
        .filter(|_| text.is_empty())
        .and_then(|data| Some(data.decode().strip_prefix(REDACTED)?.to_owned()));
    let kind = match redacted {
        Some(data) => BlockKind::RedactedThinking { data: data.into() },
        None => BlockKind::Thinking { text, signature: wire.encrypted_content },
    };
    Ok(Block { extra, ..Block::new(kind) })
}

/// The members of a reasoning item that hold its text.
pub(super) const SUMMARY: &str = "summary";
pub(super) const CONTENT: &str = "content";

fn thoughts(raw: Option<&RawValue>) -> Vec<WireThought<'_>> {
    raw.and_then(|raw| document(raw.get()).ok()).unwrap_or_default()
}

fn join<'a>(parts: Vec<WireThought<'a>>) -> Option<Text<'a>> {
    let texts = parts.into_iter().filter_map(|part| part.text).filter(|text| !text.is_empty());
    Text::joined(texts, SEPARATOR)
}

/// What stands between the parts of a summary where they are one text.
pub(super) const SEPARATOR: &str = "\n\n";

/// Reads a part of content.
pub(super) fn part(raw: &RawValue) -> Result<Block<'_>, Malformed> {
    let read = document::<WirePart<'_>>(raw.get());
    // A type that is not ours may use the same member names for other things: its type is read alone.
    let kind = match &read {
        Ok(wire) => wire.kind.clone(),
        Err(_) => document::<WireKind<'_>>(raw.get())?.kind,
    };
    let kind = kind.ok_or_else(|| Malformed::new("missing required field", "type"))?;
    let word = kind.decode();
    if !matches!(&*word, "input_text" | "output_text" | "text" | "refusal" | "input_image" | "input_file") {
        let kind = format!("{PART}{word}").into();
        return Ok(Block::new(BlockKind::Native { dialect: Dialect::Responses, kind, raw }));
    }
    let wire = read?;
    let missing = |field: &str| Malformed::new("missing required field", field);
    let kind = match &*word {
        "refusal" => BlockKind::Refusal(wire.refusal.ok_or_else(|| missing("refusal"))?),
        "input_image" => {
            let source = match (wire.image_url, wire.file_id) {
                (Some(url), _) => media(&url).ok_or_else(|| {
                    Malformed::new("expected an http(s) URL or a base64 data URL", "image_url")
                })?,
                (None, Some(id)) => Source::File(id),
                (None, None) => return Err(missing("image_url")),
            };
            BlockKind::Image { source, detail: wire.detail }
        }
        "input_file" => {
            let source = match (wire.file_data, wire.file_url, wire.file_id) {
                (Some(data), ..) => match media(&data) {
                    Some(source @ Source::Base64 { .. }) => source,
                    _ => Source::Base64 { media_type: None, data },
                },
                (None, Some(url), _) => match media(&url) {
                    Some(Source::Url(url)) => Source::Url(url),
                    _ => return Err(Malformed::new("expected an http(s) URL", "file_url")),
                },
                (None, None, Some(id)) => Source::File(id),
                (None, None, None) => return Err(missing("file_data")),
            };
            BlockKind::File { source, name: wire.filename }
        }
        _ => BlockKind::Text { text: wire.text.ok_or_else(|| missing("text"))?, citations: None },
    };
    Ok(Block { extra: wire.extra, ..Block::new(kind) })
}

/// Writes the members of a function call but those that only its item has.
pub(super) fn write_call(item: &mut Object<'_>, id: &Text<'_>, name: &Text<'_>, arguments: &Arguments<'_>) {
    item.str("type", "function_call");
    item.text("call_id", id);
    item.text("name", name);
    match arguments {
        Arguments::Json(raw) => item.str("arguments", raw.get()),
        // A call without arguments still has an object of them.
        Arguments::String(text) if text.is_empty() => item.str("arguments", "{}"),
        Arguments::String(text) => item.text("arguments", text),
    }
}

/// Writes the members of a reasoning item: its text as a summary, unless its lists stand among `extra`, which is then written whole by the
/// caller.
pub(super) fn write_reasoning(item: &mut Object<'_>, block: &Block<'_>) {
    item.str("type", "reasoning");
    let has_lists = block.extra.iter().any(|(name, _)| name == SUMMARY || name == CONTENT);
    let text = match &block.kind {
        BlockKind::Thinking { text, .. } if !text.is_empty() => Some(text),
        _ => None,
    };
    if !has_lists {
        item.array(SUMMARY, |list| text.into_iter().for_each(|text| write_summary(list, text)));
    }
    match &block.kind {
        BlockKind::Thinking { signature, .. } => item.text_if("encrypted_content", signature.as_ref()),
        BlockKind::RedactedThinking { data } => {
            let out = item.key("encrypted_content");
            out.push(b'"');
            out.extend_from_slice(REDACTED.as_bytes());
            data.write_inner(out);
            out.push(b'"');
        }
        _ => {}
    }
}

fn write_summary(list: &mut Array<'_>, text: &Text<'_>) {
    list.object(|part| {
        part.str("type", "summary_text");
        part.text("text", text);
    });
}

/// The value of a member.
pub(super) fn member<'a>(extra: &Extra<'a>, name: &str) -> Option<&'a RawValue> {
    extra.iter().rfind(|(known, _)| known == name).map(|(_, raw)| *raw)
}
