//! The parts of a turn, written.

use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
};

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::part::{FILE, FILE_TYPE, INLINE, NAMED, RESULT, RESULT_NAME, SIGNATURE};
use crate::{
    Arguments, Block, BlockKind, Source, Text, ToolCall,
    read::{Extra, document, wire_object},
    write::{Array, Object},
};

wire_object! {
    struct WireContent { google: WireSigned<'a> = "google", thought_signature: Text<'a> = "thought_signature", }
    struct WireSigned { thought_signature: Text<'a> = "thought_signature", }
}

/// How the parts of a model's turn are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether they came in Google's words: as they were then.
    pub(super) own: bool,
    /// Whether calls have their ids.
    pub(super) ids: bool,
    /// Whether a first call without a signature gets the one that stands for none.
    pub(super) excuse: bool,
}

/// What Google lets stand where a history that another model wrote has no signature (its guide to thought signatures): base64 of
/// `skip_thought_signature_validator`.
const NO_SIGNATURE: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// Writes the parts of a model's turn.
///
/// A signature is sent back on the part that it came with, and other dialects' callers know it from thoughts alone. So each thought's goes to
/// what it precedes; where the dialect puts all thoughts first (OpenAI's), calls come before texts, as Google demands theirs. One that is
/// left over gets an empty text, on which Google itself puts what comes last.
pub(super) fn write_model_parts(list: &mut Array<'_>, blocks: &[&Block<'_>], manner: Manner) {
    let on_calls: HashSet<Cow<'_, str>> =
        blocks.iter().filter_map(|block| Some(call_signature(block)?.decode())).collect();
    let signs =
        |block: &Block<'_>| signature(block, manner.own).is_some_and(|own| !on_calls.contains(&own.decode()));
    let mut unplaced = blocks.iter().filter(|block| signs(block)).count();
    let is_bare =
        |block: &&&Block<'_>| matches!(block.kind, BlockKind::ToolCall(_)) && call_signature(block).is_none();
    let mut bare_calls = blocks.iter().filter(is_bare).count();
    let mut pending: VecDeque<&Text<'_>> = VecDeque::new();
    let mut is_first_call = true;
    for block in blocks {
        let mut sign = None;
        match &block.kind {
            BlockKind::Thinking { text, .. } => {
                write_thought(list, block, text, manner);
                pending.extend(signature(block, manner.own).filter(|_| signs(block)));
                continue;
            }
            BlockKind::ToolCall(call) => {
                let mut own = call_signature(block);
                if own.is_none() {
                    bare_calls -= 1;
                    own = pending.pop_front().cloned();
                    unplaced -= usize::from(own.is_some());
                }
                let excuse = manner.excuse && is_first_call;
                is_first_call = false;
                let own = own.or_else(|| excuse.then(|| NO_SIGNATURE.into()));
                list.object(|part| write_call(part, call, block, own.as_ref(), manner));
                continue;
            }
            BlockKind::Text { text, .. } | BlockKind::Refusal(text) if text.is_empty() && !manner.own => {
                continue;
            }
            _ if has_part(block) && (manner.own || unplaced > bare_calls) => {
                sign = pending.pop_front();
                unplaced -= usize::from(sign.is_some());
            }
            _ => {}
        }
        write_part(list, block, sign, manner.own);
    }
    for signature in pending {
        write_signed(list, signature);
    }
}

/// Writes the part that holds a signature alone.
pub(super) fn write_signed(list: &mut Array<'_>, signature: &Text<'_>) {
    list.object(|part| {
        part.str("text", "");
        part.text(SIGNATURE, signature);
    });
}

/// The signature that a thought gives to a part behind it.
fn signature<'b, 'a>(block: &'b Block<'a>, own: bool) -> Option<&'b Text<'a>> {
    match &block.kind {
        BlockKind::Thinking { signature: Some(signature), .. }
            if !signature.is_empty() && (!own || is_ahead(block)) =>
        {
            Some(signature)
        }
        _ => None,
    }
}

/// Whether a thought of a Google caller's only precedes what its signature stands on.
fn is_ahead(block: &Block<'_>) -> bool {
    block.extra.iter().any(|(name, raw)| name == SIGNATURE && raw.get() == "null")
}

/// The signature among a call's own members: ours, or as Google's and LiteLLM's APIs in OpenAI's form have it.
pub(super) fn call_signature<'a>(block: &Block<'a>) -> Option<Text<'a>> {
    if !matches!(block.kind, BlockKind::ToolCall(_)) {
        return None;
    }
    let read = |name: &str, raw: &'a RawValue| match name {
        SIGNATURE | "thought_signature" => Text::from_json(raw.get()),
        "extra_content" | "provider_specific_fields" => {
            let content: WireContent<'a> = document(raw.get()).ok()?;
            content.google.and_then(|google| google.thought_signature).or(content.thought_signature)
        }
        _ => None,
    };
    block.extra.iter().filter_map(|(name, raw)| read(name, raw)).find(|signature| !signature.is_empty())
}

fn write_thought(list: &mut Array<'_>, block: &Block<'_>, text: &Text<'_>, manner: Manner) {
    let own = manner.own && !is_ahead(block);
    if text.is_empty() && !own {
        return;
    }
    list.object(|part| {
        part.text("text", text);
        part.bool("thought", true);
        if let BlockKind::Thinking { signature, .. } = &block.kind
            && own
        {
            part.text_if(SIGNATURE, signature.as_ref());
        }
        if manner.own {
            write_members(part, &block.extra);
        }
    });
}

fn write_call(
    part: &mut Object<'_>,
    call: &ToolCall<'_>,
    block: &Block<'_>,
    signature: Option<&Text<'_>>,
    manner: Manner,
) {
    part.object("functionCall", |out| {
        if (manner.own || manner.ids) && has_id(&block.extra) && !call.id.is_empty() {
            out.text("id", &call.id);
        }
        out.text("name", &call.name);
        write_args(out, &call.arguments);
    });
    part.text_if(SIGNATURE, signature);
    if manner.own {
        write_members(part, &block.extra);
    }
}

/// Whether the id of a call or a result was given, not made here.
pub(super) fn has_id(extra: &Extra<'_>) -> bool {
    !extra.iter().any(|(name, raw)| name == "id" && raw.get() == "null")
}

/// Writes arguments as the object that `args` is; what is none, as arguments cut at a cap are, stands whole under `partial_json`.
pub(super) fn write_args(out: &mut Object<'_>, arguments: &Arguments<'_>) {
    let text = match arguments {
        Arguments::Json(raw) => Cow::Borrowed(raw.get()),
        Arguments::String(text) => text.decode(),
    };
    let trimmed = text.trim();
    match as_object(trimmed) {
        Some(json) => out.json("args", json),
        None if trimmed.is_empty() || trimmed == "null" => out.json("args", "{}"),
        None => out.object("args", |args| args.str("partial_json", &text)),
    }
}

/// The text, where it is a JSON object.
pub(super) fn as_object(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_json = || serde_json::from_str::<&RawValue>(text).is_ok();
    (text.starts_with('{') && is_json()).then_some(text)
}

/// Whether [`write_part`] writes anything: a signature would be lost with what it does not write.
fn has_part(block: &Block<'_>) -> bool {
    matches!(
        block.kind,
        BlockKind::Text { .. }
            | BlockKind::Refusal(_)
            | BlockKind::Image { .. }
            | BlockKind::File { .. }
            | BlockKind::Native { dialect: Dialect::Gemini, .. }
    )
}

/// Writes a part that is neither a thought, a call nor a result; nothing for what Google has no part for.
pub(super) fn write_part(list: &mut Array<'_>, block: &Block<'_>, signature: Option<&Text<'_>>, own: bool) {
    let media = |list: &mut Array<'_>, source: &Source<'_>| {
        list.object(|part| {
            write_media(part, block, source);
            part.text_if(SIGNATURE, signature);
            if own {
                write_members(part, &block.extra);
            }
        });
    };
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal(text) => list.object(|part| {
            part.text("text", text);
            part.text_if(SIGNATURE, signature);
            if own {
                write_members(part, &block.extra);
            }
        }),
        BlockKind::Image { source, .. } | BlockKind::File { source, .. } => media(list, source),
        BlockKind::Native { dialect: Dialect::Gemini, raw, .. } => list.json(raw.get()),
        _ => {}
    }
}

fn write_members(part: &mut Object<'_>, extra: &Extra<'_>) {
    let inner = |name: &str| [INLINE, FILE, RESULT].iter().any(|prefix| name.starts_with(prefix));
    part.extra_if(extra, |name| !inner(name) && !matches!(name, SIGNATURE | NAMED | "id"));
}

/// Writes the members that stood in an inner object.
pub(super) fn write_inner(out: &mut Object<'_>, extra: &Extra<'_>, prefix: &str) {
    let is_mark = |name: &str| name.starts_with(FILE_TYPE) || name.starts_with(RESULT_NAME);
    for (name, raw) in extra.iter().filter(|(name, _)| !is_mark(name)) {
        if let Some(name) = name.strip_prefix(prefix) {
            out.json(name, raw.get());
        }
    }
}

/// Writes media: bytes as they are, a place as a place that Google's models read themselves.
pub(super) fn write_media(part: &mut Object<'_>, block: &Block<'_>, source: &Source<'_>) {
    let (name, default_type) = match &block.kind {
        BlockKind::File { name, .. } => (name.as_ref(), "application/pdf"),
        _ => (None, "image/png"),
    };
    let name = name.filter(|_| block.extra.iter().any(|(name, _)| name == NAMED));
    match source {
        Source::Text(text) => part.text("text", text),
        Source::Base64 { media_type, data } => part.object("inlineData", |blob| {
            blob.text("mimeType", media_type.as_ref().unwrap_or(&default_type.into()));
            blob.text("data", data);
            write_inner(blob, &block.extra, INLINE);
            blob.text_if("displayName", name);
        }),
        Source::Url(uri) | Source::File(uri) => part.object("fileData", |file| {
            let stated = block.extra.iter().find_map(|(name, _)| name.strip_prefix(FILE_TYPE));
            if let Some(media_type) = stated.or_else(|| media_type(&uri.decode())) {
                file.str("mimeType", media_type);
            }
            file.text("fileUri", uri);
            write_inner(file, &block.extra, FILE);
            file.text_if("displayName", name);
        }),
    }
}

/// The media type that the end of a path stands for; Vertex AI wants one stated. From Google's lists of what its models read.
fn media_type(uri: &str) -> Option<&'static str> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let (_, end) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match &*end.to_ascii_lowercase() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "mov" => "video/mov",
        "webm" => "video/webm",
        _ => return None,
    })
}
