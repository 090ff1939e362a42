//! Answers of Chat Completions, read and written.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{
    finish_reason, finish_word, read_usage,
    request::{arguments, write_call},
    usage::write_usage,
};
use crate::{
    Block, BlockKind, Choice, Finish, Malformed, Response, Text, ToolCall,
    anthropic::{decode_thinking_block, write_thinking_block},
    read::{StringOr, document, wire_object},
    write::{Object, object},
};

wire_object! {
    struct WireResponse {
        id: Text<'a> = "id",
        object: Text<'a> = "object",
        created: &'a RawValue = "created",
        model: Text<'a> = "model",
        choices: Vec<WireChoice<'a>> = "choices",
        usage: &'a RawValue = "usage",
    }
    struct WireChoice {
        index: u64 = "index",
        message: WireMessage<'a> = "message",
        finish_reason: Text<'a> = "finish_reason",
        logprobs: &'a RawValue = "logprobs",
    }
    struct WireMessage {
        role: Text<'a> = "role",
        content: StringOr<'a, &'a RawValue> = "content",
        refusal: Text<'a> = "refusal",
        reasoning_content: Text<'a> = "reasoning_content",
        reasoning: Text<'a> = "reasoning",
        thinking_blocks: Vec<&'a RawValue> = "thinking_blocks",
        tool_calls: Vec<WireCall<'a>> = "tool_calls",
    }
    struct WireCall {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        function: WireFunction<'a> = "function",
    }
    struct WireFunction { name: Text<'a> = "name", arguments: &'a RawValue = "arguments", }
    struct WirePart { kind: Text<'a> = "type", text: Text<'a> = "text", thinking: Vec<WirePart<'a>> = "thinking", }
}

/// Reads an answer of a provider of the OpenAI dialect.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let wire: WireResponse<'_> = document(json)?;
    let choices = wire.choices.ok_or_else(|| Malformed::new("missing field", "choices"))?;
    Ok(Response {
        id: wire.id,
        model: wire.model,
        // Some relatives give fractions.
        created: wire.created.and_then(|raw| raw.get().split('.').next()?.parse().ok()),
        choices: choices.into_iter().enumerate().map(decode_choice).collect::<Result<_, _>>()?,
        usage: wire.usage.and_then(read_usage),
        extra: wire.extra,
    })
}

fn decode_choice((position, wire): (usize, WireChoice<'_>)) -> Result<Choice<'_>, Malformed> {
    let message = wire.message.unwrap_or_default();
    let mut content = Vec::new();
    for raw in message.thinking_blocks.into_iter().flatten() {
        content.push(decode_thinking_block(raw)?);
    }
    if content.is_empty()
        && let Some(text) = message.reasoning_content.or(message.reasoning).filter(|text| !text.is_empty())
    {
        content.push(Block::new(BlockKind::Thinking { text, signature: None }));
    }
    match message.content {
        Some(StringOr::String(text)) => content.push(Block::text(text)),
        Some(StringOr::List(parts)) => {
            for raw in parts {
                decode_part(raw, &mut content)?;
            }
        }
        None => {}
    }
    if let Some(refusal) = message.refusal {
        content.push(Block::new(BlockKind::Refusal(refusal)));
    }
    for call in message.tool_calls.into_iter().flatten() {
        content.push(decode_call(call));
    }
    let finish = wire.finish_reason.map(finish);
    Ok(Choice {
        index: wire.index.unwrap_or(position as u64),
        content,
        finish,
        logprobs: wire.logprobs,
        extra: wire.extra,
        message_extra: message.extra,
    })
}

/// A `finish_reason` of OpenAI's.
pub(super) fn finish(native: Text<'_>) -> Finish<'_> {
    Finish { reason: finish_reason(&native), native, dialect: Dialect::OpenAi, stop_sequence: None }
}

fn decode_call(wire: WireCall<'_>) -> Block<'_> {
    let function = wire.function.unwrap_or_default();
    let call = ToolCall {
        id: wire.id.unwrap_or_else(|| "".into()),
        name: function.name.unwrap_or_else(|| "".into()),
        arguments: arguments(function.arguments),
    };
    Block { extra: wire.extra, ..Block::new(BlockKind::ToolCall(call)) }
}

/// Reads an element of a content list (Mistral's reasoning models give lists).
pub(super) fn decode_part<'a>(raw: &'a RawValue, content: &mut Vec<Block<'a>>) -> Result<(), Malformed> {
    // Their `reference` parts hold other things under the same names: what does not read as text or thinking is kept whole.
    let part: WirePart<'a> = document(raw.get()).unwrap_or_default();
    let kind = part.kind.unwrap_or_else(|| "".into());
    match (&*kind.decode(), part.text, part.thinking) {
        ("text", Some(text), _) => content.push(Block { extra: part.extra, ..Block::text(text) }),
        ("thinking", _, Some(thoughts)) => {
            for text in thoughts.into_iter().filter_map(|thought| thought.text) {
                content.push(Block::new(BlockKind::Thinking { text, signature: None }));
            }
        }
        _ => {
            content.push(Block::new(BlockKind::Native { dialect: Dialect::OpenAi, kind: kind.clone(), raw }))
        }
    }
    Ok(())
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
                list.object(|out| write_choice(out, choice));
            }
        });
        match &response.usage {
            Some(spent) if spent.dialect == Dialect::OpenAi => body.json("usage", spent.raw.get()),
            Some(spent) => body.object("usage", |usage| write_usage(usage, &spent.counts)),
            None => {}
        }
        body.extra(&response.extra);
    });
}

fn write_choice(out: &mut Object<'_>, choice: &Choice<'_>) {
    out.number("index", choice.index);
    out.object("message", |message| write_message(message, choice));
    out.raw_if("logprobs", choice.logprobs);
    write_finish(out, choice.finish.as_ref());
    out.extra(&choice.extra);
}

/// Writes why an answer ended: the native word where it is OpenAI's, else ours, with the native one beside it where ours says less.
pub(super) fn write_finish(out: &mut Object<'_>, finish: Option<&Finish<'_>>) {
    match finish {
        Some(finish) if finish.dialect == Dialect::OpenAi => out.text("finish_reason", &finish.native),
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

fn write_message(out: &mut Object<'_>, choice: &Choice<'_>) {
    out.str("role", "assistant");
    write_content(out, &choice.content);
    write_reasoning(out, &choice.content);
    write_citations(out, &choice.content);
    let calls: Vec<_> = choice.content.iter().filter(|b| matches!(b.kind, BlockKind::ToolCall(_))).collect();
    if !calls.is_empty() {
        out.array("tool_calls", |list| {
            for block in calls {
                let BlockKind::ToolCall(call) = &block.kind else { continue };
                list.object(|out| {
                    write_call(out, call, false);
                    out.extra(&block.extra);
                });
            }
        });
    }
    for block in &choice.content {
        if let BlockKind::Refusal(text) = &block.kind {
            out.text("refusal", text);
        }
    }
    out.extra(&choice.message_extra);
}

fn write_content(out: &mut Object<'_>, content: &[Block<'_>]) {
    let native: Vec<_> = content
        .iter()
        .filter(|block| matches!(&block.kind, BlockKind::Native { dialect: Dialect::OpenAi, .. }))
        .collect();
    let mut texts = content.iter().filter_map(|block| match &block.kind {
        BlockKind::Text { text, .. } => Some(text),
        _ => None,
    });
    if !native.is_empty() {
        out.array("content", |list| {
            for block in content {
                match &block.kind {
                    BlockKind::Text { text, .. } => list.object(|part| {
                        part.str("type", "text");
                        part.text("text", text);
                        part.extra(&block.extra);
                    }),
                    BlockKind::Native { dialect: Dialect::OpenAi, raw, .. } => list.json(raw.get()),
                    _ => {}
                }
            }
        });
        return;
    }
    let Some(first) = texts.next() else { return out.json("content", "null") };
    let json = out.key("content");
    json.push(b'"');
    first.write_inner(json);
    texts.for_each(|text| text.write_inner(json));
    json.push(b'"');
}

/// Writes reasoning where LiteLLM's users look for it: the text, and the signed blocks that have to be sent back as they are.
fn write_reasoning(out: &mut Object<'_>, content: &[Block<'_>]) {
    let thoughts: Vec<_> = content
        .iter()
        .filter_map(|block| match &block.kind {
            BlockKind::Thinking { text, .. } => Some(text),
            _ => None,
        })
        .collect();
    if !thoughts.is_empty() {
        let json = out.key("reasoning_content");
        json.push(b'"');
        thoughts.iter().for_each(|text| text.write_inner(json));
        json.push(b'"');
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
