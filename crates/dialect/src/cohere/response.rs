//! Answers of `/v2/chat`.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{finish, is_failure, read_usage};
use crate::{
    Arguments, Block, BlockKind, Choice, Malformed, Response, Text, ToolCall,
    read::{StringOr, document, wire_object},
};

wire_object! {
    struct WireAnswer {
        id: Text<'a> = "id",
        message: WireMessage<'a> = "message",
        finish_reason: Text<'a> = "finish_reason",
        usage: &'a RawValue = "usage",
    }
    struct WireMessage {
        role: Text<'a> = "role",
        content: StringOr<'a, &'a RawValue> = "content",
        tool_plan: Text<'a> = "tool_plan",
        tool_calls: Vec<WireCall<'a>> = "tool_calls",
    }
    struct WirePart { kind: Text<'a> = "type", text: Text<'a> = "text", thinking: Text<'a> = "thinking", }
    struct WireCall { id: Text<'a> = "id", kind: Text<'a> = "type", function: WireFunction<'a> = "function", }
    struct WireFunction { name: Text<'a> = "name", arguments: &'a RawValue = "arguments", }
}

/// Reads an answer. Its citations are no list per text: they stay a member of the message.
///
/// # Errors
/// [`Malformed`], when it is not one, and when it says that it failed.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let wire: WireAnswer<'_> = document(json)?;
    let message = wire.message.ok_or_else(|| Malformed::new("missing field", "message"))?;
    if let Some(reason) = wire.finish_reason.as_ref().filter(|reason| is_failure(reason)) {
        return Err(Malformed::new(format!("the answer ended in {}", reason.decode()), "finish_reason"));
    }
    let mut content = Vec::new();
    let plan = message.tool_plan.filter(|plan| !plan.is_empty());
    content.extend(plan.map(|text| Block::new(BlockKind::Thinking { text, signature: None })));
    let calls = message.tool_calls.unwrap_or_default();
    match message.content {
        Some(StringOr::String(text)) => content.push(Block::text(text)),
        Some(StringOr::List(parts)) => content.extend(parts.into_iter().map(decode_part)),
        None => {}
    }
    // Beside calls, empty text is a way to say nothing.
    let is_silent =
        |block: &Block<'_>| matches!(&block.kind, BlockKind::Text { text, .. } if text.is_empty());
    content.retain(|block| calls.is_empty() || !is_silent(block));
    content.extend(calls.into_iter().map(decode_call));
    let finish = wire.finish_reason.map(finish);
    Ok(Response {
        dialect: Dialect::Cohere,
        id: wire.id,
        model: None,
        created: None,
        choices: vec![Choice { content, finish, message_extra: message.extra, ..Choice::default() }],
        usage: wire.usage.and_then(read_usage),
        extra: wire.extra,
    })
}

fn decode_part(raw: &RawValue) -> Block<'_> {
    let part: WirePart<'_> = document(raw.get()).unwrap_or_default();
    let kind = part.kind.unwrap_or_else(|| "".into());
    let block = match (&*kind.decode(), part.text, part.thinking) {
        ("text", Some(text), _) => BlockKind::Text { text, citations: None },
        ("thinking", _, Some(text)) => BlockKind::Thinking { text, signature: None },
        _ => {
            let kind = kind.clone();
            return Block::new(BlockKind::Native { dialect: Dialect::Cohere, kind, raw });
        }
    };
    Block { extra: part.extra, ..Block::new(block) }
}

fn decode_call(wire: WireCall<'_>) -> Block<'_> {
    let function = wire.function.unwrap_or_default();
    let call = ToolCall {
        id: wire.id.unwrap_or_else(|| "".into()),
        name: function.name.unwrap_or_else(|| "".into()),
        arguments: function.arguments.and_then(arguments).unwrap_or_else(|| Arguments::String("{}".into())),
    };
    Block { extra: wire.extra, ..Block::new(BlockKind::ToolCall(call)) }
}

/// Arguments, where there are any: a tool without parameters is called with an empty string, or with `null`.
pub(super) fn arguments(raw: &RawValue) -> Option<Arguments<'_>> {
    if matches!(raw.get(), r#""""# | "null" | r#""null""#) {
        return None;
    }
    Some(Text::from_json(raw.get()).map_or(Arguments::Json(raw), Arguments::String))
}
