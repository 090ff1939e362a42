//! Reading a Chat Completions request.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use crate::{
    Arguments, Block, BlockKind, Format, Malformed, Message, Reasoning, Request, Role, Source, Text, Tool,
    ToolCall, ToolChoice,
    anthropic::decode_thinking_block,
    model::CALL,
    read::{Extra, StringOr, Unread, Whole, document, is_http_url, wire_object},
};

wire_object! {
    struct WireRequest {
        model: Text<'a> = "model",
        messages: Vec<WireMessage<'a>> = "messages",
        tools: Vec<&'a RawValue> = "tools",
        tool_choice: &'a RawValue = "tool_choice",
        parallel_tool_calls: bool = "parallel_tool_calls",
        max_tokens: Whole = "max_tokens",
        max_completion_tokens: Whole = "max_completion_tokens",
        temperature: &'a RawValue = "temperature",
        top_p: &'a RawValue = "top_p",
        top_k: &'a RawValue = "top_k",
        stop: StringOr<'a, Text<'a>> = "stop",
        n: Whole = "n",
        response_format: &'a RawValue = "response_format",
        reasoning_effort: Text<'a> = "reasoning_effort",
        thinking: &'a RawValue = "thinking",
        web_search_options: &'a RawValue = "web_search_options",
        stream: bool = "stream",
        stream_options: &'a RawValue = "stream_options",
        user: Text<'a> = "user",
    }
    struct WireStreamOptions { include_usage: bool = "include_usage", }
    struct WireMessage {
        role: Text<'a> = "role",
        content: StringOr<'a, &'a RawValue> = "content",
        name: Text<'a> = "name",
        tool_calls: Vec<&'a RawValue> = "tool_calls",
        tool_call_id: Text<'a> = "tool_call_id",
        refusal: Text<'a> = "refusal",
        thinking_blocks: Vec<&'a RawValue> = "thinking_blocks",
        cache_control: &'a RawValue = "cache_control",
    }
    struct WireCall {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        function: WireFunction<'a> = "function",
        index: &'a RawValue = "index",
        cache_control: &'a RawValue = "cache_control",
    }
    struct WireFunction { name: Text<'a> = "name", arguments: &'a RawValue = "arguments", }
    struct WirePart {
        kind: Text<'a> = "type",
        text: Text<'a> = "text",
        image_url: &'a RawValue = "image_url",
        file: WireFile<'a> = "file",
        refusal: Text<'a> = "refusal",
        cache_control: &'a RawValue = "cache_control",
    }
    struct WireImage { url: Text<'a> = "url", detail: Text<'a> = "detail", }
    struct WireFile {
        filename: Text<'a> = "filename",
        file_data: Text<'a> = "file_data",
        file_id: Text<'a> = "file_id",
    }
    struct WireTool {
        kind: Text<'a> = "type",
        function: WireToolFunction<'a> = "function",
        cache_control: &'a RawValue = "cache_control",
    }
    struct WireToolFunction {
        name: Text<'a> = "name",
        description: Text<'a> = "description",
        parameters: Unread<'a> = "parameters",
        strict: bool = "strict",
    }
    struct WireChoice { kind: Text<'a> = "type", function: WireName<'a> = "function", }
    struct WireName { name: Text<'a> = "name", }
    struct WireFormat { kind: Text<'a> = "type", json_schema: WireSchema<'a> = "json_schema", }
    struct WireSchema {
        name: Text<'a> = "name",
        description: Text<'a> = "description",
        schema: &'a RawValue = "schema",
        strict: bool = "strict",
    }
}

/// Reads a request of OpenAI's Chat Completions API.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(json: &str) -> Result<Request<'_>, Malformed> {
    let mut wire: WireRequest<'_> = document(json)?;
    let mut request = Request {
        model: wire.model,
        parallel_tool_calls: wire.parallel_tool_calls,
        max_output_tokens: wire.max_completion_tokens.or(wire.max_tokens).map(|cap| cap.0),
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        n: wire.n.map(|n| n.0),
        stream: wire.stream,
        user: wire.user,
        params: std::mem::take(&mut wire.extra),
        ..Request::default()
    };
    request.stop = match wire.stop {
        Some(StringOr::String(one)) => vec![one],
        Some(StringOr::List(list)) => list,
        None => Vec::new(),
    };
    if wire.reasoning_effort.is_some() || wire.thinking.is_some() {
        request.reasoning = Some(Reasoning { effort: wire.reasoning_effort, thinking: wire.thinking });
    }
    if let Some(raw) = wire.stream_options {
        let options: WireStreamOptions<'_> = within("stream_options", raw)?;
        request.include_usage = options.include_usage;
        if !options.extra.is_empty() {
            request.params.push(("stream_options".into(), raw));
        }
    }
    for (index, raw) in wire.tools.into_iter().flatten().enumerate() {
        request.tools.push(tool(raw, index)?);
    }
    if let Some(raw) = wire.web_search_options {
        request.tools.push(Tool::WebSearch { dialect: Dialect::OpenAi, raw });
    }
    request.tool_choice = wire.tool_choice.map(tool_choice).transpose()?;
    request.format = wire.response_format.map(format).transpose()?;
    for (index, message) in wire.messages.into_iter().flatten().enumerate() {
        request.messages.push(decode_message(message, index)?);
    }
    Ok(request)
}

fn within<'a, T: serde::Deserialize<'a>>(path: &str, raw: &'a RawValue) -> Result<T, Malformed> {
    document(raw.get()).map_err(|error| error.within(path))
}

fn decode_message(wire: WireMessage<'_>, index: usize) -> Result<Message<'_>, Malformed> {
    let at = |field: &str| format!("messages[{index}]{field}");
    let role = match wire.role.as_ref().map(Text::decode).as_deref() {
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        Some("function") => {
            return Err(Malformed::new(
                "the role `function` is not supported: use `tool` messages",
                at(".role"),
            ));
        }
        other => {
            let found = other.unwrap_or_default();
            return Err(Malformed::new(format!("unknown role {found:?}"), at(".role")));
        }
    };
    let mut content = Vec::new();
    for (block, raw) in wire.thinking_blocks.into_iter().flatten().enumerate() {
        let read = decode_thinking_block(raw);
        content.push(read.map_err(|error| error.within(&at(&format!(".thinking_blocks[{block}]"))))?);
    }
    let plain = matches!(wire.content, Some(StringOr::String(_)));
    match wire.content {
        Some(StringOr::String(text)) => content.push(Block::text(text)),
        Some(StringOr::List(parts)) => {
            for (part, raw) in parts.into_iter().enumerate() {
                content.push(decode_part(raw, || at(&format!(".content[{part}]")))?);
            }
        }
        None => {}
    }
    if let Some(refusal) = wire.refusal {
        content.push(Block::new(BlockKind::Refusal(refusal)));
    }
    for (call, raw) in wire.tool_calls.into_iter().flatten().enumerate() {
        content.push(decode_call(raw, || at(&format!(".tool_calls[{call}]")))?);
    }
    if role == Role::Tool {
        let id = wire.tool_call_id.ok_or_else(|| {
            Malformed::new("a `tool` message must name the call it answers", at(".tool_call_id"))
        })?;
        content = vec![Block::new(BlockKind::ToolResult { id, content, plain, error: None })];
    }
    let mut extra = wire.extra;
    if let Some(cache) = wire.cache_control {
        // A hint beside the content speaks of all of it: up to the last block that can have one.
        let takes = |block: &&mut Block<'_>| !matches!(block.kind, BlockKind::Native { .. });
        match content.iter_mut().rfind(takes) {
            Some(last) => last.cache = last.cache.or(Some(cache)),
            None => extra.push(("cache_control".into(), cache)),
        }
    }
    Ok(Message { role, content, plain, name: wire.name, extra })
}

fn decode_call<'a>(raw: &'a RawValue, at: impl Fn() -> String) -> Result<Block<'a>, Malformed> {
    let wire: WireCall<'a> = document(raw.get()).map_err(|error| error.within(&at()))?;
    if let Some(kind) = wire.kind.as_ref().filter(|kind| **kind != *"function") {
        let kind = format!("{CALL}{}", kind.decode()).into();
        return Ok(Block::new(BlockKind::Native { dialect: Dialect::OpenAi, kind, raw }));
    }
    let missing = |field: &str| Malformed::new("missing required field", format!("{}.{field}", at()));
    let function = wire.function.ok_or_else(|| missing("function"))?;
    let call = ToolCall {
        id: wire.id.ok_or_else(|| missing("id"))?,
        name: function.name.ok_or_else(|| missing("function.name"))?,
        arguments: arguments(function.arguments),
    };
    let mut extra = wire.extra;
    // Some clients hand back the index that a stream gave.
    extra.extend(wire.index.map(|index| ("index".into(), index)));
    nest(&mut extra, FUNCTION, function.extra);
    Ok(Block { cache: wire.cache_control, extra, ..Block::new(BlockKind::ToolCall(call)) })
}

/// Adds the members of an inner object, under names that say so.
fn nest<'a>(extra: &mut Extra<'a>, prefix: &str, inner: Extra<'a>) {
    extra.extend(inner.into_iter().map(|(name, raw)| (format!("{prefix}{name}").into(), raw)));
}

/// Arguments as they stand: a string as a rule, an object from some relatives.
pub(in crate::openai) fn arguments(raw: Option<&RawValue>) -> Arguments<'_> {
    match raw.map(|raw| (Text::from_json(raw.get()), raw)) {
        Some((Some(text), _)) => Arguments::String(text),
        Some((None, raw)) => Arguments::Json(raw),
        None => Arguments::String("".into()),
    }
}

fn decode_part<'a>(raw: &'a RawValue, at: impl Fn() -> String) -> Result<Block<'a>, Malformed> {
    let part: WirePart<'a> = document(raw.get()).map_err(|error| error.within(&at()))?;
    let mut extra = part.extra;
    let missing = |field: &str| Malformed::new("missing required field", format!("{}.{field}", at()));
    let kind = part.kind.ok_or_else(|| missing("type"))?;
    let block = match &*kind.decode() {
        "text" => BlockKind::Text { text: part.text.ok_or_else(|| missing("text"))?, citations: None },
        "refusal" => BlockKind::Refusal(part.refusal.ok_or_else(|| missing("refusal"))?),
        "image_url" => {
            let raw = part.image_url.ok_or_else(|| missing("image_url"))?;
            let image = match Text::from_json(raw.get()) {
                Some(url) => WireImage { url: Some(url), ..WireImage::default() },
                None => document(raw.get()).map_err(|error| error.within(&format!("{}.image_url", at())))?,
            };
            let url = image.url.ok_or_else(|| missing("image_url.url"))?;
            let source = media(&url).ok_or_else(|| {
                let at = format!("{}.image_url.url", at());
                Malformed::new("expected an http(s) URL or a base64 data URL", at)
            })?;
            nest(&mut extra, IMAGE, image.extra);
            BlockKind::Image { source, detail: image.detail }
        }
        "file" => {
            let mut wire = part.file.ok_or_else(|| missing("file"))?;
            nest(&mut extra, FILE, std::mem::take(&mut wire.extra));
            file(wire, at)?
        }
        _ => {
            let kind = kind.clone();
            return Ok(Block::new(BlockKind::Native { dialect: Dialect::OpenAi, kind, raw }));
        }
    };
    Ok(Block { kind: block, cache: part.cache_control, extra })
}

/// What stands before the names of members that stood in an inner object.
pub(super) const FUNCTION: &str = "function.";
pub(super) const IMAGE: &str = "image_url.";
pub(super) const FILE: &str = "file.";

/// Where a URL of an image's points: `None` when it is none that we know.
pub(crate) fn media<'a>(url: &Text<'a>) -> Option<Source<'a>> {
    let text = url.decode();
    if is_data_url(&text) {
        let head = &text[DATA.len()..text.find(',')?];
        let (media_type, encoding) = head.rsplit_once(';')?;
        let (_, data) = url.split_once(',')?;
        let media_type = Some(media_type.to_owned().into());
        return encoding.eq_ignore_ascii_case("base64").then_some(Source::Base64 { media_type, data });
    }
    is_http_url(&text).then(|| Source::Url(url.clone()))
}

/// Schemes have no case (RFC 3986, section 3.1).
fn is_data_url(text: &str) -> bool {
    text.get(..DATA.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(DATA))
}

const DATA: &str = "data:";

fn file<'a>(wire: WireFile<'a>, at: impl Fn() -> String) -> Result<BlockKind<'a>, Malformed> {
    let source = match (wire.file_data, wire.file_id) {
        (Some(data), _) => match is_data_url(&data.decode()) {
            true => media(&data).ok_or_else(|| {
                Malformed::new("expected a base64 data URL", format!("{}.file.file_data", at()))
            })?,
            false => Source::Base64 { media_type: None, data },
        },
        (None, Some(id)) => Source::File(id),
        (None, None) => {
            return Err(Malformed::new("missing required field", format!("{}.file.file_data", at())));
        }
    };
    Ok(BlockKind::File { source, name: wire.filename })
}

fn tool(raw: &RawValue, index: usize) -> Result<Tool<'_>, Malformed> {
    let at = format!("tools[{index}]");
    let missing = |field: &str| Malformed::new("missing required field", format!("{at}.{field}"));
    let wire: WireTool<'_> = within(&at, raw)?;
    // Mistral's callers leave the type out.
    match wire.kind {
        Some(kind) if kind != *"function" => {
            return Ok(Tool::Native { dialect: Dialect::OpenAi, kind, raw });
        }
        None if wire.function.is_none() => return Err(missing("type")),
        _ => {}
    }
    let function = wire.function.ok_or_else(|| missing("function"))?;
    let mut extra = wire.extra;
    nest(&mut extra, FUNCTION, function.extra);
    Ok(Tool::Function {
        name: function.name.ok_or_else(|| missing("function.name"))?,
        description: function.description,
        schema: function.parameters.map(|schema| schema.0),
        strict: function.strict,
        cache: wire.cache_control,
        extra,
    })
}

fn tool_choice(raw: &RawValue) -> Result<ToolChoice<'_>, Malformed> {
    if let Some(word) = Text::from_json(raw.get()) {
        return match &*word.decode() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            // `any` is Mistral's.
            "required" | "any" => Ok(ToolChoice::Required),
            other => Err(Malformed::new(format!("unknown tool choice {other:?}"), "tool_choice")),
        };
    }
    let wire: WireChoice<'_> = within("tool_choice", raw)?;
    if !wire.extra.is_empty() {
        return Ok(ToolChoice::Native { dialect: Dialect::OpenAi, raw });
    }
    match (wire.kind.is_none_or(|kind| kind == *"function"), wire.function.and_then(|function| function.name))
    {
        (true, Some(name)) => Ok(ToolChoice::Function(name)),
        (true, None) => Err(Malformed::new("missing required field", "tool_choice.function.name")),
        (false, _) => Ok(ToolChoice::Native { dialect: Dialect::OpenAi, raw }),
    }
}

fn format(raw: &RawValue) -> Result<Format<'_>, Malformed> {
    let wire: WireFormat<'_> = within("response_format", raw)?;
    Ok(match wire.kind.as_ref().map(Text::decode).as_deref() {
        // Members that the model does not know: whole or not at all.
        _ if !wire.extra.is_empty()
            || wire.json_schema.as_ref().is_some_and(|schema| !schema.extra.is_empty()) =>
        {
            Format::Native { dialect: Dialect::OpenAi, raw }
        }
        Some("text") => Format::Text,
        Some("json_object") => Format::JsonObject,
        Some("json_schema") => {
            let schema = wire
                .json_schema
                .ok_or_else(|| Malformed::new("missing required field", "response_format.json_schema"))?;
            Format::JsonSchema {
                name: schema.name,
                description: schema.description,
                schema: schema.schema,
                strict: schema.strict,
            }
        }
        _ => Format::Native { dialect: Dialect::OpenAi, raw },
    })
}
