//! Answers of `/api/chat`.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{answer_id, epoch_seconds, finish, made_id, read_usage};
use crate::{
    Arguments, Block, BlockKind, Choice, Malformed, Response, Text, ToolCall,
    read::{Count, document, wire_object},
};

wire_object! {
    /// An answer, or a line of a streamed one.
    struct WireAnswer {
        model: Text<'a> = "model",
        created_at: Text<'a> = "created_at",
        message: WireMessage<'a> = "message",
        done: bool = "done",
        done_reason: Text<'a> = "done_reason",
        error: &'a RawValue = "error",
        prompt_eval_count: Count = "prompt_eval_count",
        eval_count: Count = "eval_count",
    }
    struct WireMessage {
        role: Text<'a> = "role",
        content: Text<'a> = "content",
        thinking: Text<'a> = "thinking",
        tool_calls: Vec<WireCall<'a>> = "tool_calls",
    }
    struct WireCall { id: Text<'a> = "id", kind: &'a RawValue = "type", function: WireFunction<'a> = "function", }
    struct WireFunction {
        index: Count = "index",
        name: Text<'a> = "name",
        arguments: &'a RawValue = "arguments",
    }
}

/// Reads an answer.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let raw: &RawValue = document(json)?;
    let wire: WireAnswer<'_> = document(json)?;
    let message = wire.message.ok_or_else(|| Malformed::new("missing field", "message"))?;
    let mut content = Vec::new();
    if let Some(text) = message.thinking.filter(|text| !text.is_empty()) {
        content.push(Block::new(BlockKind::Thinking { text, signature: None }));
    }
    let calls = message.tool_calls.unwrap_or_default();
    // Beside calls, empty text is Ollama's way to say nothing.
    content.extend(message.content.filter(|text| !text.is_empty() || calls.is_empty()).map(Block::text));
    let called = !calls.is_empty();
    for (number, call) in calls.into_iter().enumerate() {
        content.push(decode_call(call, wire.created_at.as_ref(), number as u64));
    }
    let finish = (wire.done != Some(false)).then(|| finish(wire.done_reason, called));
    Ok(Response {
        dialect: Dialect::Ollama,
        id: Some(answer_id(wire.model.as_ref(), wire.created_at.as_ref())),
        created: epoch_seconds(wire.created_at.as_ref()),
        model: wire.model,
        choices: vec![Choice { content, finish, message_extra: message.extra, ..Choice::default() }],
        usage: read_usage(raw),
        extra: wire.extra,
    })
}

/// Reads a call, the answer's `number`th. Newer versions give an id; for the others one is made that no other call of the conversation has.
pub(super) fn decode_call<'a>(wire: WireCall<'a>, created_at: Option<&Text<'_>>, number: u64) -> Block<'a> {
    let function = wire.function.unwrap_or_default();
    let name = function.name.unwrap_or_else(|| "".into());
    let made = || {
        let (time, arguments) = (created_at.map(Text::decode), function.arguments.map(RawValue::get));
        // A time is short, and one that is not is not to be told with every call.
        let time: String = time.unwrap_or_default().chars().take(64).collect();
        let arguments = arguments.unwrap_or_default();
        made_id("call_", &format!("{time}/{number}/{}/{arguments}", name.decode()))
    };
    let id = wire.id.filter(|id| !id.is_empty()).unwrap_or_else(made);
    let arguments = function.arguments.map_or_else(|| Arguments::String("{}".into()), arguments);
    Block { extra: wire.extra, ..Block::new(BlockKind::ToolCall(ToolCall { id, name, arguments })) }
}

/// Arguments as they stand: an object, unless a relative gives OpenAI's string.
fn arguments(raw: &RawValue) -> Arguments<'_> {
    Text::from_json(raw.get()).map_or(Arguments::Json(raw), Arguments::String)
}
