//! Reading a Responses request.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::super::items::{self, WireHead, WireMessage, part};
use crate::{
    Block, BlockKind, Format, Malformed, Message, Reasoning, Request, Role, Text, Tool, ToolChoice,
    read::{Extra, StringOr, Unread, Whole, document, wire_object},
};

wire_object! {
    struct WireRequest {
        model: Text<'a> = "model",
        instructions: Text<'a> = "instructions",
        input: StringOr<'a, &'a RawValue> = "input",
        tools: Vec<&'a RawValue> = "tools",
        tool_choice: &'a RawValue = "tool_choice",
        parallel_tool_calls: bool = "parallel_tool_calls",
        max_output_tokens: Whole = "max_output_tokens",
        temperature: &'a RawValue = "temperature",
        top_p: &'a RawValue = "top_p",
        // Not OpenAI's, yet common among those that speak like it.
        top_k: &'a RawValue = "top_k",
        text: &'a RawValue = "text",
        reasoning: &'a RawValue = "reasoning",
        stream: bool = "stream",
        user: Text<'a> = "user",
    }
    struct WireOutput {
        kind: Text<'a> = "type",
        call_id: Text<'a> = "call_id",
        output: StringOr<'a, &'a RawValue> = "output",
    }
    struct WireTool {
        kind: Text<'a> = "type",
        name: Text<'a> = "name",
        description: Text<'a> = "description",
        parameters: Unread<'a> = "parameters",
        strict: bool = "strict",
    }
    struct WireKind { kind: Text<'a> = "type", }
    struct WireChoice { kind: Text<'a> = "type", name: Text<'a> = "name", }
    struct WireText { format: &'a RawValue = "format", }
    struct WireFormat {
        kind: Text<'a> = "type",
        name: Text<'a> = "name",
        description: Text<'a> = "description",
        schema: &'a RawValue = "schema",
        strict: bool = "strict",
    }
    struct WireReasoning { effort: Text<'a> = "effort", }
}

/// What stands before the names of parameters that stood in an inner object.
pub(super) const TEXT: &str = "text.";
pub(super) const REASONING: &str = "reasoning.";

/// Reads a request of OpenAI's Responses API.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(json: &str) -> Result<Request<'_>, Malformed> {
    let mut wire: WireRequest<'_> = document(json)?;
    let mut request = Request {
        dialect: Dialect::Responses,
        model: wire.model,
        system_apart: wire.instructions.is_some(),
        parallel_tool_calls: wire.parallel_tool_calls,
        max_output_tokens: wire.max_output_tokens.map(|cap| cap.0),
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        stream: wire.stream,
        user: wire.user,
        params: std::mem::take(&mut wire.extra),
        ..Request::default()
    };
    request.messages.extend(wire.instructions.map(|text| plain(Role::System, text)));
    match wire.input {
        Some(StringOr::String(text)) => request.messages.push(plain(Role::User, text)),
        Some(StringOr::List(items)) => {
            for (index, raw) in items.into_iter().enumerate() {
                let at = |error: Malformed| error.within(&format!("input[{index}]"));
                request.messages.push(item(raw).map_err(at)?);
            }
        }
        None => {}
    }
    for (index, raw) in wire.tools.into_iter().flatten().enumerate() {
        request.tools.push(tool(raw).map_err(|error| error.within(&format!("tools[{index}]")))?);
    }
    request.tool_choice = wire.tool_choice.map(tool_choice).transpose()?;
    if let Some(raw) = wire.text {
        let text: WireText<'_> = within("text", raw)?;
        request.format = text.format.map(format).transpose()?;
        nest(&mut request.params, TEXT, text.extra);
    }
    if let Some(raw) = wire.reasoning {
        let reasoning: WireReasoning<'_> = within("reasoning", raw)?;
        if reasoning.effort.is_some() {
            request.reasoning = Some(Reasoning { effort: reasoning.effort, thinking: None });
        }
        nest(&mut request.params, REASONING, reasoning.extra);
    }
    Ok(request)
}

fn within<'a, T: serde::Deserialize<'a>>(path: &str, raw: &'a RawValue) -> Result<T, Malformed> {
    document(raw.get()).map_err(|error| error.within(path))
}

/// Adds the members of an inner object, under names that say so.
fn nest<'a>(params: &mut Extra<'a>, prefix: &str, inner: Extra<'a>) {
    params.extend(inner.into_iter().map(|(name, raw)| (format!("{prefix}{name}").into(), raw)));
}

fn plain(role: Role, text: Text<'_>) -> Message<'_> {
    Message { role, content: vec![Block::text(text)], plain: true, name: None, extra: Vec::new() }
}

/// Reads an item of the input. One of a type that the model does not know is a message of one native block.
fn item(raw: &RawValue) -> Result<Message<'_>, Malformed> {
    let head: WireHead<'_> = document(raw.get())?;
    let message =
        |role, block| Message { role, content: vec![block], plain: false, name: None, extra: Vec::new() };
    let kind = match head.kind {
        Some(kind) => kind,
        None if head.role.is_some() => "message".into(),
        // The type of a reference may be left out.
        None if head.id.is_some() => "item_reference".into(),
        None => return Err(Malformed::new("missing required field", "type")),
    };
    Ok(match &*kind.decode() {
        "message" => decode_message(document(raw.get())?)?,
        "function_call" => message(Role::Assistant, items::call(raw)?),
        "reasoning" => message(Role::Assistant, items::reasoning(raw)?),
        "function_call_output" => message(Role::Tool, output(document(raw.get())?)?),
        word => {
            let role = if word.ends_with("_output") { Role::Tool } else { Role::Assistant };
            let kind = kind.clone();
            message(role, Block::new(BlockKind::Native { dialect: Dialect::Responses, kind, raw }))
        }
    })
}

fn decode_message(wire: WireMessage<'_>) -> Result<Message<'_>, Malformed> {
    let role =
        match wire.role.and_then(|raw| Text::from_json(raw.get())).as_ref().map(Text::decode).as_deref() {
            Some("system") => Role::System,
            Some("developer") => Role::Developer,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            other => {
                return Err(Malformed::new(format!("unknown role {:?}", other.unwrap_or_default()), "role"));
            }
        };
    let content = wire.content.ok_or_else(|| Malformed::new("missing required field", "content"))?;
    let (content, plain) = parts(content, "content")?;
    Ok(Message { role, content, plain, name: None, extra: wire.extra })
}

fn parts<'a>(content: StringOr<'a, &'a RawValue>, at: &str) -> Result<(Vec<Block<'a>>, bool), Malformed> {
    match content {
        StringOr::String(text) => Ok((vec![Block::text(text)], true)),
        StringOr::List(list) => {
            let part =
                |(index, raw)| part(raw).map_err(|error: Malformed| error.within(&format!("{at}[{index}]")));
            Ok((list.into_iter().enumerate().map(part).collect::<Result<_, _>>()?, false))
        }
    }
}

fn output(wire: WireOutput<'_>) -> Result<Block<'_>, Malformed> {
    let missing = |field: &str| Malformed::new("missing required field", field);
    let id = wire.call_id.ok_or_else(|| missing("call_id"))?;
    let (content, plain) = parts(wire.output.ok_or_else(|| missing("output"))?, "output")?;
    let kind = BlockKind::ToolResult { id, content, plain, error: None };
    Ok(Block { extra: wire.extra, ..Block::new(kind) })
}

fn tool(raw: &RawValue) -> Result<Tool<'_>, Malformed> {
    let kind = document::<WireKind<'_>>(raw.get())?.kind;
    let kind = kind.ok_or_else(|| Malformed::new("missing required field", "type"))?;
    match &*kind.decode() {
        "function" => {}
        word if word.starts_with("web_search") => {
            return Ok(Tool::WebSearch { dialect: Dialect::Responses, raw });
        }
        _ => return Ok(Tool::Native { dialect: Dialect::Responses, kind: kind.clone(), raw }),
    }
    let wire: WireTool<'_> = document(raw.get())?;
    Ok(Tool::Function {
        name: wire.name.ok_or_else(|| Malformed::new("missing required field", "name"))?,
        description: wire.description,
        schema: wire.parameters.map(|schema| schema.0),
        strict: wire.strict,
        cache: None,
        extra: wire.extra,
    })
}

fn tool_choice(raw: &RawValue) -> Result<ToolChoice<'_>, Malformed> {
    if let Some(word) = Text::from_json(raw.get()) {
        return match &*word.decode() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            other => Err(Malformed::new(format!("unknown tool choice {other:?}"), "tool_choice")),
        };
    }
    let wire: WireChoice<'_> = within("tool_choice", raw)?;
    let is_function = wire.extra.is_empty() && wire.kind.is_some_and(|kind| kind == *"function");
    match (is_function, wire.name) {
        (true, Some(name)) => Ok(ToolChoice::Function(name)),
        (true, None) => Err(Malformed::new("missing required field", "tool_choice.name")),
        (false, _) => Ok(ToolChoice::Native { dialect: Dialect::Responses, raw }),
    }
}

fn format(raw: &RawValue) -> Result<Format<'_>, Malformed> {
    let wire: WireFormat<'_> = within("text.format", raw)?;
    let kind = wire.kind.as_ref().map(Text::decode);
    Ok(match kind.as_deref().filter(|_| wire.extra.is_empty()) {
        Some("text") => Format::Text,
        Some("json_object") => Format::JsonObject,
        Some("json_schema") => Format::JsonSchema {
            name: wire.name,
            description: wire.description,
            schema: wire.schema,
            strict: wire.strict,
        },
        // Members that the model does not know: whole or not at all.
        _ => Format::Native { dialect: Dialect::Responses, raw },
    })
}
