//! Reading a Messages request.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::super::response::{WireBlock, decode_block};
use crate::{
    Block, BlockKind, Format, Malformed, Message, Reasoning, Request, Role, Source, Text, Tool, ToolChoice,
    read::{StringOr, Unread, Whole, document, is_http_url, wire_object},
};

wire_object! {
    struct WireRequest {
        model: Text<'a> = "model",
        system: StringOr<'a, &'a RawValue> = "system",
        messages: Vec<WireMessage<'a>> = "messages",
        max_tokens: Whole = "max_tokens",
        metadata: WireMetadata<'a> = "metadata",
        stop_sequences: Vec<Text<'a>> = "stop_sequences",
        stream: bool = "stream",
        temperature: &'a RawValue = "temperature",
        top_p: &'a RawValue = "top_p",
        top_k: &'a RawValue = "top_k",
        tools: Vec<&'a RawValue> = "tools",
        tool_choice: &'a RawValue = "tool_choice",
        thinking: &'a RawValue = "thinking",
        output_config: WireOutputConfig<'a> = "output_config",
        output_format: &'a RawValue = "output_format",
    }
    struct WireMessage { role: Text<'a> = "role", content: StringOr<'a, &'a RawValue> = "content", }
    struct WireMetadata { user_id: Text<'a> = "user_id", }
    struct WireOutputConfig { effort: Text<'a> = "effort", format: &'a RawValue = "format", }
    struct WireFormat { kind: Text<'a> = "type", schema: &'a RawValue = "schema", name: Text<'a> = "name", }
    struct WireTool {
        kind: Text<'a> = "type",
        name: Text<'a> = "name",
        description: Text<'a> = "description",
        input_schema: Unread<'a> = "input_schema",
        strict: bool = "strict",
        cache_control: &'a RawValue = "cache_control",
    }
    struct WireChoice {
        kind: Text<'a> = "type",
        name: Text<'a> = "name",
        disable_parallel_tool_use: bool = "disable_parallel_tool_use",
    }
    struct WireSource {
        kind: Text<'a> = "type",
        media_type: Text<'a> = "media_type",
        data: Text<'a> = "data",
        url: Text<'a> = "url",
        file_id: Text<'a> = "file_id",
    }
}

/// Reads a request of Anthropic's Messages API.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(json: &str) -> Result<Request<'_>, Malformed> {
    let wire: WireRequest<'_> = document(json)?;
    let mut request = Request {
        dialect: Dialect::Anthropic,
        model: wire.model,
        max_output_tokens: wire.max_tokens.map(|cap| cap.0),
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        stop: wire.stop_sequences.unwrap_or_default(),
        stream: wire.stream,
        params: wire.extra,
        ..Request::default()
    };
    if let Some(metadata) = wire.metadata {
        request.user = metadata.user_id;
        request
            .params
            .extend(metadata.extra.into_iter().map(|(name, raw)| (format!("metadata.{name}").into(), raw)));
    }
    let output = wire.output_config.unwrap_or_default();
    if wire.thinking.is_some() || output.effort.is_some() {
        request.reasoning = Some(Reasoning { effort: output.effort, thinking: wire.thinking });
    }
    request
        .params
        .extend(output.extra.into_iter().map(|(name, raw)| (format!("output_config.{name}").into(), raw)));
    request.format = match (output.format, wire.output_format) {
        (Some(raw), _) => Some(format(raw, "output_config.format")?),
        (None, Some(raw)) => Some(format(raw, "output_format")?),
        (None, None) => None,
    };
    for (index, raw) in wire.tools.into_iter().flatten().enumerate() {
        request.tools.push(tool(raw, index)?);
    }
    if let Some(raw) = wire.tool_choice {
        let (choice, parallel) = tool_choice(raw)?;
        request.tool_choice = Some(choice);
        request.parallel_tool_calls = parallel;
    }
    if let Some(system) = wire.system {
        let (content, plain) = blocks(system, "system")?;
        request.system_apart = true;
        request.messages.push(Message { role: Role::System, content, plain, name: None, extra: Vec::new() });
    }
    for (index, message) in wire.messages.into_iter().flatten().enumerate() {
        request.messages.push(decode_message(message, index)?);
    }
    Ok(request)
}

fn decode_message(wire: WireMessage<'_>, index: usize) -> Result<Message<'_>, Malformed> {
    let role = match wire.role.as_ref().map(Text::decode).as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        other => {
            let found = other.unwrap_or_default();
            return Err(Malformed::new(format!("unknown role {found:?}"), format!("messages[{index}].role")));
        }
    };
    let at = format!("messages[{index}].content");
    let (content, plain) = match wire.content {
        Some(content) => blocks(content, &at)?,
        None => return Err(Malformed::new("missing required field", at)),
    };
    Ok(Message { role, content, plain, name: None, extra: wire.extra })
}

/// Reads content that is a string or a list of blocks.
pub(in crate::anthropic) fn blocks<'a>(
    content: StringOr<'a, &'a RawValue>,
    at: &str,
) -> Result<(Vec<Block<'a>>, bool), Malformed> {
    match content {
        StringOr::String(text) => Ok((vec![Block::text(text)], true)),
        StringOr::List(list) => {
            let mut content = Vec::with_capacity(list.len());
            for (index, raw) in list.into_iter().enumerate() {
                content.push(decode_block(raw).map_err(|error| error.within(&format!("{at}[{index}]")))?);
            }
            Ok((content, false))
        }
    }
}

/// Reads the blocks that only callers send.
pub(in crate::anthropic) fn caller_block<'a>(
    kind: &str,
    wire: &mut WireBlock<'a>,
) -> Result<Option<BlockKind<'a>>, Malformed> {
    Ok(Some(match kind {
        "image" => BlockKind::Image { source: source(wire)?, detail: None },
        "document" => match source(wire) {
            Ok(source) => BlockKind::File { source, name: wire.title.take() },
            // A document made of blocks has no counterpart elsewhere.
            Err(_) if wire.source.is_some_and(|raw| raw.get().contains("\"content\"")) => return Ok(None),
            Err(error) => return Err(error),
        },
        "tool_result" => {
            let id = wire
                .tool_use_id
                .take()
                .ok_or_else(|| Malformed::new("missing required field", "tool_use_id"))?;
            let (content, plain) = match wire.content.take() {
                Some(content) => blocks(content, "content")?,
                None => (Vec::new(), false),
            };
            BlockKind::ToolResult { id, content, plain, error: wire.is_error.take() }
        }
        _ => return Ok(None),
    }))
}

/// Reads where a block's media is; members of the source that the model does not know go with the block's own.
fn source<'a>(wire: &mut WireBlock<'a>) -> Result<Source<'a>, Malformed> {
    let missing = |field: &str| Malformed::new("missing required field", format!("source{field}"));
    let raw = wire.source.ok_or_else(|| missing(""))?;
    let mut inner: WireSource<'a> = document(raw.get()).map_err(|error| error.within("source"))?;
    let extra = std::mem::take(&mut inner.extra);
    let source = source_kind(inner)?;
    wire.source = None;
    wire.extra.extend(extra.into_iter().map(|(name, raw)| (format!("source.{name}").into(), raw)));
    Ok(source)
}

fn source_kind(source: WireSource<'_>) -> Result<Source<'_>, Malformed> {
    let missing = |field: &str| Malformed::new("missing required field", format!("source{field}"));
    match source.kind.as_ref().map(Text::decode).as_deref() {
        Some("base64") => Ok(Source::Base64 {
            media_type: Some(source.media_type.ok_or_else(|| missing(".media_type"))?),
            data: source.data.ok_or_else(|| missing(".data"))?,
        }),
        Some("url") => {
            let url = source.url.ok_or_else(|| missing(".url"))?;
            match is_http_url(&url.decode()) {
                true => Ok(Source::Url(url)),
                false => Err(Malformed::new("expected an http(s) URL", "source.url")),
            }
        }
        Some("file") => source.file_id.map(Source::File).ok_or_else(|| missing(".file_id")),
        Some("text") => source.data.map(Source::Text).ok_or_else(|| missing(".data")),
        other => {
            Err(Malformed::new(format!("unknown source type {:?}", other.unwrap_or_default()), "source.type"))
        }
    }
}

fn format<'a>(raw: &'a RawValue, at: &str) -> Result<Format<'a>, Malformed> {
    let wire: WireFormat<'a> = document(raw.get()).map_err(|error| error.within(at))?;
    let known = wire.extra.is_empty() && wire.schema.is_some();
    Ok(match known && wire.kind.is_some_and(|kind| kind == *"json_schema") {
        true => Format::JsonSchema { name: wire.name, description: None, schema: wire.schema, strict: None },
        false => Format::Native { dialect: Dialect::Anthropic, raw },
    })
}

fn tool(raw: &RawValue, index: usize) -> Result<Tool<'_>, Malformed> {
    let at = format!("tools[{index}]");
    let wire: WireTool<'_> = document(raw.get()).map_err(|error| error.within(&at))?;
    match wire.kind {
        Some(kind) if kind.decode().starts_with("web_search_") => {
            Ok(Tool::WebSearch { dialect: Dialect::Anthropic, raw })
        }
        Some(kind) if kind != *"custom" => Ok(Tool::Native { dialect: Dialect::Anthropic, kind, raw }),
        _ => Ok(Tool::Function {
            name: wire.name.ok_or_else(|| Malformed::new("missing required field", format!("{at}.name")))?,
            description: wire.description,
            schema: wire.input_schema.map(|schema| schema.0),
            strict: wire.strict,
            cache: wire.cache_control,
            extra: wire.extra,
        }),
    }
}

fn tool_choice(raw: &RawValue) -> Result<(ToolChoice<'_>, Option<bool>), Malformed> {
    let wire: WireChoice<'_> = document(raw.get()).map_err(|error| error.within("tool_choice"))?;
    let choice = match wire.kind.as_ref().map(Text::decode).as_deref() {
        _ if !wire.extra.is_empty() => ToolChoice::Native { dialect: Dialect::Anthropic, raw },
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => ToolChoice::Function(
            wire.name.ok_or_else(|| Malformed::new("missing required field", "tool_choice.name"))?,
        ),
        _ => ToolChoice::Native { dialect: Dialect::Anthropic, raw },
    };
    Ok((choice, wire.disable_parallel_tool_use.map(|disabled| !disabled)))
}
