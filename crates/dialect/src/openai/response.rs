//! Answers of Chat Completions, read and written.

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Tier};

use super::{
    details::{self, DETAILS},
    finish_reason, finish_word, legacy, read_usage,
    request::{arguments, is_call, write_call, write_joined, write_part},
    usage::write_usage,
};
use crate::{
    Block, BlockKind, Choice, Finish, Malformed, Response, Text, ToolCall,
    anthropic::{decode_thinking_block, write_thinking_block},
    gemini::write_annotations,
    model::CALL,
    read::{Count, Extra, StringOr, TIER, document, served_tier, stated, wire_object},
    write::{Object, object},
};

wire_object! {
    struct WireResponse {
        id: Text<'a> = "id",
        object: Text<'a> = "object",
        created: Count = "created",
        model: Text<'a> = "model",
        choices: Vec<WireChoice<'a>> = "choices",
        usage: &'a RawValue = "usage",
    }
    struct WireChoice {
        index: Count = "index",
        message: WireMessage<'a> = "message",
        finish_reason: Text<'a> = "finish_reason",
        logprobs: &'a RawValue = "logprobs",
    }
    struct WireMessage {
        role: Text<'a> = "role",
        content: StringOr<'a, &'a RawValue> = "content",
        refusal: Text<'a> = "refusal",
        reasoning_content: Text<'a> = "reasoning_content",
        reasoning: &'a RawValue = "reasoning",
        thinking_blocks: Vec<&'a RawValue> = "thinking_blocks",
        tool_calls: Vec<&'a RawValue> = "tool_calls",
        function_call: &'a RawValue = "function_call",
    }
    struct WireCall {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        function: WireFunction<'a> = "function",
    }
    struct WireFunction { name: Text<'a> = "name", arguments: &'a RawValue = "arguments", }
    struct WireKind { kind: Text<'a> = "type", }
    struct WirePart {
        kind: Text<'a> = "type",
        text: Text<'a> = "text",
        thinking: Vec<WirePart<'a>> = "thinking",
        // Whether Mistral's thought is over: what a whole answer says by itself, and a stream by what follows.
        closed: &'a RawValue = "closed",
    }
}

/// Reads an answer of a provider of the OpenAI dialect.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let wire: WireResponse<'_> = document(json)?;
    let choices = wire.choices.ok_or_else(|| Malformed::new("missing field", "choices"))?;
    let id = wire.id.as_ref();
    let choices = choices.into_iter().enumerate().map(|(position, wire)| decode_choice(position, wire, id));
    Ok(Response {
        choices: choices.collect::<Result<_, _>>()?,
        dialect: Dialect::OpenAi,
        id: wire.id,
        model: wire.model,
        // Some relatives give fractions.
        created: stated(wire.created),
        usage: wire.usage.and_then(read_usage).map(|spent| spent.served_at(tier(&wire.extra))),
        extra: wire.extra,
    })
}

/// The service tier that stands beside the usage.
fn tier(extra: &Extra<'_>) -> Option<Tier> {
    extra.iter().find(|(name, _)| name == TIER).and_then(|(_, raw)| served_tier(raw.get()))
}

fn decode_choice<'a>(
    position: usize,
    wire: WireChoice<'a>,
    id: Option<&Text<'_>>,
) -> Result<Choice<'a>, Malformed> {
    let index = stated(wire.index).unwrap_or(position as u64);
    let message = wire.message.unwrap_or_default();
    let mut content = Vec::new();
    for raw in message.thinking_blocks.into_iter().flatten() {
        content.push(decode_thinking_block(raw)?);
    }
    let mut message_extra = message.extra;
    let reasoning = reasoning(message.reasoning_content, message.reasoning, &mut message_extra);
    if content.is_empty()
        && let Some(text) = reasoning.filter(|text| !text.is_empty())
    {
        content.push(Block::new(BlockKind::Thinking { text, signature: None }));
    }
    if let Some((_, raw)) = message_extra.iter().find(|(name, _)| name == DETAILS) {
        content.extend(details::blocks(raw));
    }
    match message.content {
        Some(StringOr::String(text)) => content.push(Block::text(text)),
        Some(StringOr::List(parts)) => {
            parts.into_iter().for_each(|raw| decode_part(raw, &mut content));
        }
        None => {}
    }
    if let Some(refusal) = message.refusal {
        content.push(Block::new(BlockKind::Refusal(refusal)));
    }
    let calls = message.tool_calls.unwrap_or_default();
    if let Some(raw) = message.function_call {
        // Beside calls it says one of them again.
        match legacy::block(raw, id, index).filter(|_| calls.is_empty()) {
            Some(call) => content.push(call),
            None => message_extra.push((legacy::MEMBER.into(), raw)),
        }
    }
    for (position, raw) in calls.into_iter().enumerate() {
        let call = decode_call(raw);
        content.push(call.map_err(|error| error.within(&format!("choices.message.tool_calls[{position}]")))?);
    }
    let finish = wire.finish_reason.map(finish);
    Ok(Choice { index, content, finish, logprobs: wire.logprobs, extra: wire.extra, message_extra })
}

/// A `finish_reason` of OpenAI's.
pub(super) fn finish(native: Text<'_>) -> Finish<'_> {
    Finish { reason: finish_reason(&native), native, dialect: Dialect::OpenAi, stop_sequence: None }
}

fn decode_call(raw: &RawValue) -> Result<Block<'_>, Malformed> {
    let wire: WireCall<'_> = document(raw.get())?;
    if let Some(kind) = wire.kind.filter(|kind| !kind.is_empty() && *kind != *"function") {
        let kind = format!("{CALL}{}", kind.decode()).into();
        return Ok(Block::new(BlockKind::Native { dialect: Dialect::OpenAi, kind, raw }));
    }
    let function = wire.function.unwrap_or_default();
    let call = ToolCall {
        id: wire.id.unwrap_or_else(|| "".into()),
        name: function.name.unwrap_or_else(|| "".into()),
        arguments: arguments(function.arguments),
    };
    Ok(Block { extra: wire.extra, ..Block::new(BlockKind::ToolCall(call)) })
}

/// The reasoning, under whichever name it stands. A second one that says something else stays where it is.
pub(super) fn reasoning<'a>(
    reasoning_content: Option<Text<'a>>,
    raw: Option<&'a RawValue>,
    extra: &mut Extra<'a>,
) -> Option<Text<'a>> {
    let reasoning = raw.and_then(|raw| Text::from_json(raw.get()));
    match (reasoning_content, reasoning, raw) {
        (None, Some(reasoning), _) => Some(reasoning),
        (Some(content), Some(reasoning), _) if content == reasoning || reasoning.is_empty() => Some(content),
        (Some(content), Some(reasoning), _) if content.is_empty() => Some(reasoning),
        (content, _, Some(raw)) => {
            extra.push(("reasoning".into(), raw));
            content
        }
        (content, _, None) => content,
    }
}

/// Reads an element of a content list (Mistral's reasoning models give lists). Pieces of one kind that follow each other are one block, as
/// they are where the content is a string.
pub(super) fn decode_part<'a>(raw: &'a RawValue, content: &mut Vec<Block<'a>>) {
    // Their `reference` parts hold other things under the same names: what does not read as text or thinking is kept whole.
    let part: WirePart<'a> = document(raw.get()).unwrap_or_default();
    let kind = part.kind.unwrap_or_else(|| "".into());
    match (&*kind.decode(), part.text, part.thinking) {
        ("text", Some(text), _) => match content.last_mut() {
            Some(Block { kind: BlockKind::Text { text: last, .. }, extra, .. })
                if extra.is_empty() && part.extra.is_empty() =>
            {
                last.push(&text);
            }
            _ => content.push(Block { extra: part.extra, ..Block::text(text) }),
        },
        ("thinking", _, Some(thoughts)) if thoughts.iter().all(is_thought) => {
            for text in thoughts.into_iter().filter_map(|thought| thought.text) {
                match content.last_mut() {
                    Some(Block { kind: BlockKind::Thinking { text: last, .. }, .. }) => {
                        last.push(&text);
                    }
                    _ => content.push(Block::new(BlockKind::Thinking { text, signature: None })),
                }
            }
        }
        _ => {
            content.push(Block::new(BlockKind::Native { dialect: Dialect::OpenAi, kind: kind.clone(), raw }))
        }
    }
}

fn is_thought(thought: &WirePart<'_>) -> bool {
    thought.text.is_some() && thought.extra.is_empty()
}

/// Writes an answer for a caller of the OpenAI dialect. `now`, in seconds of the Unix epoch, stands in where the provider gave no time.
pub fn encode_response(response: &Response<'_>, now: u64, out: &mut Vec<u8>) {
    object(out, |body| {
        body.text("id", response.id.as_ref().unwrap_or(&"".into()));
        body.str("object", "chat.completion");
        body.number("created", response.created.unwrap_or(now));
        body.text("model", response.model.as_ref().unwrap_or(&"".into()));
        body.array("choices", |list| {
            for choice in &response.choices {
                list.object(|out| write_choice(out, choice, response.dialect == Dialect::OpenAi));
            }
        });
        match &response.usage {
            Some(spent) if spent.dialect == Dialect::OpenAi => body.json("usage", spent.raw.get()),
            Some(spent) => body.object("usage", |usage| write_usage(usage, &spent.counts)),
            None => {}
        }
        body.extra(&response.extra, &["id", "object", "created", "model", "choices", "usage"]);
    });
}

fn write_choice(out: &mut Object<'_>, choice: &Choice<'_>, own: bool) {
    out.number("index", choice.index);
    out.object("message", |message| write_message(message, choice, own));
    out.raw_if("logprobs", choice.logprobs);
    write_finish(out, choice.finish.as_ref());
    out.extra(&choice.extra, &[]);
}

/// Writes why an answer ended: the native word where it is OpenAI's, else ours, with the native one beside it where ours says less. Mistral's
/// word for the end of its window is none that OpenAI's SDKs know.
pub(super) fn write_finish(out: &mut Object<'_>, finish: Option<&Finish<'_>>) {
    match finish {
        Some(finish) if finish.dialect == Dialect::OpenAi && finish.native != *"model_length" => {
            out.text("finish_reason", &finish.native);
        }
        Some(finish) => {
            let (word, less) = finish_word(finish.reason);
            out.str("finish_reason", word);
            if less {
                out.text("native_finish_reason", &finish.native);
            }
        }
        None => out.json("finish_reason", "null"),
    }
}

fn write_message(out: &mut Object<'_>, choice: &Choice<'_>, own: bool) {
    out.str("role", "assistant");
    write_content(out, &choice.content, own);
    write_references(out, &choice.content);
    write_reasoning(out, &choice.content);
    write_citations(out, &choice.content);
    if !own {
        write_annotations(out, choice);
        write_images(out, &choice.content);
    }
    out.raw_if(legacy::MEMBER, choice.content.iter().find_map(legacy::origin));
    let is_listed = |block: &&Block<'_>| is_call(block) && legacy::origin(block).is_none();
    if choice.content.iter().any(|block| is_listed(&block)) {
        out.array("tool_calls", |list| {
            for block in choice.content.iter().filter(is_listed) {
                match &block.kind {
                    BlockKind::ToolCall(call) => list.object(|out| write_call(out, call, &block.extra)),
                    BlockKind::Native { raw, .. } => list.json(raw.get()),
                    _ => {}
                }
            }
        });
    }
    let mut refusals = choice.content.iter().filter_map(|block| match &block.kind {
        BlockKind::Refusal(text) => Some(text),
        _ => None,
    });
    if let Some(first) = refusals.next() {
        write_joined(out.key("refusal"), std::iter::once(first).chain(refusals));
    }
    out.extra(&choice.message_extra, &[]);
}

fn write_content(out: &mut Object<'_>, content: &[Block<'_>], own: bool) {
    let is_native = |block: &Block<'_>| {
        matches!(&block.kind, BlockKind::Native { dialect: Dialect::OpenAi, .. })
            && !is_call(block)
            && reference(block).is_none()
    };
    let mut texts = content.iter().filter_map(|block| match &block.kind {
        BlockKind::Text { text, .. } => Some(text),
        _ => None,
    });
    // Only a list holds parts that are no text, and members of parts.
    let has_members =
        |block: &Block<'_>| matches!(block.kind, BlockKind::Text { .. }) && !block.extra.is_empty();
    if own && content.iter().any(|block| is_native(block) || has_members(block)) {
        out.array("content", |list| {
            for block in content {
                match &block.kind {
                    BlockKind::Text { text, .. } => list.object(|part| {
                        part.str("type", "text");
                        part.text("text", text);
                        part.extra(&block.extra, &[]);
                    }),
                    BlockKind::Native { raw, .. } if is_native(block) => list.json(raw.get()),
                    _ => {}
                }
            }
        });
        return;
    }
    match texts.next() {
        None => out.json("content", "null"),
        Some(first) => write_joined(out.key("content"), std::iter::once(first).chain(texts)),
    }
}

/// Writes Mistral's references beside the content, which is a text to OpenAI's SDKs. They name results of the caller's own tools, by numbers that
/// the caller gave, and no URL: there is no annotation of OpenAI's to make of them.
fn write_references(out: &mut Object<'_>, content: &[Block<'_>]) {
    let mut references = content.iter().filter_map(reference).peekable();
    if references.peek().is_some() {
        out.array(REFERENCES, |list| references.for_each(|raw| list.json(raw.get())));
    }
}

fn reference<'a>(block: &Block<'a>) -> Option<&'a RawValue> {
    match &block.kind {
        BlockKind::Native { dialect: Dialect::OpenAi, raw, .. } if is_reference(raw) => Some(raw),
        _ => None,
    }
}

/// Whether a part of a content list is a reference of Mistral's.
pub(super) fn is_reference(raw: &RawValue) -> bool {
    let wire: WireKind<'_> = document(raw.get()).unwrap_or_default();
    wire.kind.is_some_and(|kind| kind == *REFERENCE)
}

/// Mistral's type of a part that refers to what it stands behind.
const REFERENCE: &str = "reference";
/// The member of a message in which references are told.
pub(super) const REFERENCES: &str = "references";

/// Writes reasoning where LiteLLM's users look for it: the text, and the signed blocks that have to be sent back as they are.
fn write_reasoning(out: &mut Object<'_>, content: &[Block<'_>]) {
    let mut thoughts = content.iter().filter_map(|block| match &block.kind {
        BlockKind::Thinking { text, .. } => Some(text),
        _ => None,
    });
    if let Some(first) = thoughts.next() {
        write_joined(out.key("reasoning_content"), std::iter::once(first).chain(thoughts));
    }
    let signed = |block: &&Block<'_>| {
        matches!(
            block.kind,
            BlockKind::Thinking { signature: Some(_), .. } | BlockKind::RedactedThinking { .. }
        )
    };
    if content.iter().any(|block| signed(&block)) {
        out.array("thinking_blocks", |list| {
            content
                .iter()
                .filter(signed)
                .for_each(|block| list.object(|out| write_thinking_block(out, block)));
        });
    }
}

/// Writes images that a model made beside the message, where OpenRouter and LiteLLM have them.
fn write_images(out: &mut Object<'_>, content: &[Block<'_>]) {
    let mut images = content.iter().filter(|block| matches!(block.kind, BlockKind::Image { .. })).peekable();
    if images.peek().is_some() {
        out.array("images", |list| images.for_each(|block| write_part(list, block, false)));
    }
}

/// Writes Anthropic's citations as they are, a list per text block, beside the message as LiteLLM does.
fn write_citations(out: &mut Object<'_>, content: &[Block<'_>]) {
    let cited: Vec<_> = content
        .iter()
        .filter_map(|block| match &block.kind {
            BlockKind::Text { citations: Some(citations), .. } => Some(*citations),
            _ => None,
        })
        .collect();
    if !cited.is_empty() {
        out.object("provider_specific_fields", |fields| {
            fields.array("citations", |list| cited.iter().for_each(|citations| list.json(citations.get())));
        });
    }
}
