//! Writing a Chat Completions request.

use sha2::{Digest, Sha256};
use ziggurat_core::Dialect;

use crate::{
    Arguments, Block, BlockKind, Encoding, Format, Message, Reasoning, Refused, Request, Role, Source, Text,
    Tool, ToolCall, ToolChoice,
    anthropic::thinking_effort,
    encode::{Verdict, Verdicts},
    write::{Array, Object, object},
};

/// Writes a request for a provider of the OpenAI dialect.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    let mut verdicts = Verdicts::new(encoding.policy);
    object(out, |body| {
        body.str("model", encoding.model);
        body.array("messages", |list| {
            for (index, message) in request.messages.iter().enumerate() {
                write_message(list, message, index, &mut verdicts);
            }
        });
        write_sampling(body, request, encoding.model);
        write_tools(body, request, &mut verdicts);
        write_format(body, request.format.as_ref(), &mut verdicts);
        write_reasoning(body, request.reasoning.as_ref());
        body.text_if("user", request.user.as_ref());
        if let Some(stream) = request.stream {
            body.bool("stream", stream);
        }
        write_params(body, request, &mut verdicts);
    });
    verdicts.finish()
}

fn write_sampling(body: &mut Object<'_>, request: &Request<'_>, model: &str) {
    if let Some(cap) = request.max_output_tokens {
        body.number(if is_reasoning_model(model) { "max_completion_tokens" } else { "max_tokens" }, cap);
    }
    body.raw_if("temperature", request.temperature);
    body.raw_if("top_p", request.top_p);
    if !request.stop.is_empty() {
        body.array("stop", |list| request.stop.iter().for_each(|stop| list.text(stop)));
    }
    body.number_if("n", request.n);
}

/// OpenAI's models that reject `max_tokens` and want `max_completion_tokens`.
fn is_reasoning_model(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["o1", "o3", "o4", "gpt-5"].iter().any(|family| name.starts_with(family))
}

fn write_params(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let mut own_stream_options = false;
    for (name, raw) in &request.params {
        let unsupported = match &**name {
            "stream_options" => {
                own_stream_options = true;
                false
            }
            // Anthropic's tiers; its `auto` is OpenAI's default.
            "service_tier" if raw.get() == r#""standard_only""# => {
                body.str("service_tier", "default");
                continue;
            }
            "mcp_servers" | "container" | "context_management" | "inference_geo" | "output_config"
            | "cache_control" | "speed" | "betas" => true,
            _ => false,
        };
        if !unsupported || verdicts.unsupported(name) == Verdict::Pass {
            body.json(name, raw.get());
        }
    }
    // Not OpenAI's, yet common among its relatives: by policy, like any other that the target may not take.
    if let Some(top_k) = request.top_k
        && verdicts.unsupported("top_k") == Verdict::Pass
    {
        body.json("top_k", top_k.get());
    }
    if let Some(include) = request.include_usage.filter(|_| !own_stream_options) {
        body.object("stream_options", |options| options.bool("include_usage", include));
    }
}

fn write_reasoning(body: &mut Object<'_>, reasoning: Option<&Reasoning<'_>>) {
    let Some(reasoning) = reasoning else { return };
    match (&reasoning.effort, reasoning.thinking.and_then(thinking_effort)) {
        (Some(effort), _) => body.text("reasoning_effort", effort),
        (None, Some(effort)) => body.str("reasoning_effort", effort),
        (None, None) => {}
    }
}

fn write_format(body: &mut Object<'_>, format: Option<&Format<'_>>, verdicts: &mut Verdicts<'_>) {
    match format {
        None => {}
        Some(Format::Text) => body.object("response_format", |format| format.str("type", "text")),
        Some(Format::JsonObject) => {
            body.object("response_format", |format| format.str("type", "json_object"))
        }
        Some(Format::JsonSchema { name, description, schema, strict }) => {
            body.object("response_format", |format| {
                format.str("type", "json_schema");
                format.object("json_schema", |json| {
                    json.text("name", name.as_ref().unwrap_or(&"structured_output".into()));
                    json.text_if("description", description.as_ref());
                    json.raw_if("schema", *schema);
                    if let Some(strict) = strict {
                        json.bool("strict", *strict);
                    }
                });
            });
        }
        Some(Format::Native { dialect: Dialect::OpenAi, raw }) => body.json("response_format", raw.get()),
        Some(Format::Native { .. }) => verdicts.impossible("output_format"),
    }
}

fn write_tools(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let search = request.tools.iter().find_map(|tool| match tool {
        Tool::WebSearch { dialect, raw } => Some((*dialect, *raw)),
        _ => None,
    });
    if request.tools.len() > usize::from(search.is_some()) {
        body.array("tools", |list| {
            for (index, tool) in request.tools.iter().enumerate() {
                write_tool(list, tool, index, verdicts);
            }
        });
    }
    match search {
        Some((Dialect::OpenAi, raw)) => body.json("web_search_options", raw.get()),
        // Anthropic's bounds of its search (uses, domains) have no place here.
        Some(_) => body.object("web_search_options", |_| {}),
        None => {}
    }
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => body.str("tool_choice", "auto"),
        Some(ToolChoice::None) => body.str("tool_choice", "none"),
        Some(ToolChoice::Required) => body.str("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => body.object("tool_choice", |choice| {
            choice.str("type", "function");
            choice.object("function", |function| function.text("name", &shorten_tool_name(name)));
        }),
        Some(ToolChoice::Native { dialect: Dialect::OpenAi, raw }) => body.json("tool_choice", raw.get()),
        Some(ToolChoice::Native { .. }) => verdicts.impossible("tool_choice"),
    }
    if let Some(parallel) = request.parallel_tool_calls {
        body.bool("parallel_tool_calls", parallel);
    }
}

fn write_tool(list: &mut Array<'_>, tool: &Tool<'_>, index: usize, verdicts: &mut Verdicts<'_>) {
    match tool {
        Tool::Function { name, description, schema, strict, cache: _, extra } => list.object(|tool| {
            tool.str("type", "function");
            tool.object("function", |function| {
                function.text("name", &shorten_tool_name(name));
                function.text_if("description", description.as_ref());
                function.raw_if("parameters", *schema);
                if let Some(strict) = strict {
                    function.bool("strict", *strict);
                }
            });
            tool.extra(extra);
        }),
        Tool::WebSearch { .. } => {}
        Tool::Native { dialect: Dialect::OpenAi, raw, .. } => list.json(raw.get()),
        Tool::Native { kind, .. } => verdicts.impossible(format!("tools[{index}] ({})", kind.decode())),
    }
}

/// A name of at most 64 bytes for a tool: OpenAI allows no longer one. A long name becomes its first 55 bytes and a hash of it all, so that
/// names which begin alike stay apart; whoever sends it keeps the long name to put it back.
#[must_use]
pub fn shorten_tool_name<'a>(name: &Text<'a>) -> Text<'a> {
    let plain = name.decode();
    if plain.len() <= MAX_TOOL_NAME {
        return name.clone();
    }
    let mut end = MAX_TOOL_NAME - 9;
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    let digest = Sha256::digest(plain.as_bytes());
    let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}_{hash}", &plain[..end]).into()
}

/// Longest name of a function in bytes, by OpenAI's API reference.
const MAX_TOOL_NAME: usize = 64;

fn write_message(list: &mut Array<'_>, message: &Message<'_>, index: usize, verdicts: &mut Verdicts<'_>) {
    let results = message.content.iter().filter_map(|block| match &block.kind {
        BlockKind::ToolResult { id, content, plain, .. } => Some((id, content, *plain)),
        _ => None,
    });
    let mut rest: Vec<&Block<'_>> = Vec::new();
    for (id, content, plain) in results {
        // A tool message holds text alone; what else the tool gave follows as the user's.
        let (text, media): (Vec<_>, Vec<_>) =
            content.iter().partition(|block| matches!(block.kind, BlockKind::Text { .. }));
        list.object(|tool| {
            tool.str("role", "tool");
            tool.text("tool_call_id", id);
            write_text_content(tool, &text, plain || text.len() <= 1);
            tool.extra(&message.extra);
        });
        rest.extend(media);
    }
    let is_result = |block: &&Block<'_>| matches!(block.kind, BlockKind::ToolResult { .. });
    rest.extend(message.content.iter().filter(|block| !is_result(block)));
    if rest.is_empty() && message.content.iter().any(|block| is_result(&block)) {
        return;
    }
    let role = match message.role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    };
    list.object(|out| {
        out.str("role", role);
        out.text_if("name", message.name.as_ref());
        match message.role {
            Role::Assistant => write_assistant(out, &rest, message.plain, index, verdicts),
            _ if message.plain => write_text_content(out, &rest, true),
            _ => out.array("content", |parts| {
                for (part, block) in rest.iter().enumerate() {
                    write_part(parts, block, &format!("messages[{index}].content[{part}]"), verdicts);
                }
            }),
        }
        out.extra(&message.extra);
    });
}

/// Writes text blocks as one string where they can be one.
fn write_text_content(out: &mut Object<'_>, blocks: &[&Block<'_>], plain: bool) {
    let texts = blocks.iter().filter_map(|block| match &block.kind {
        BlockKind::Text { text, .. } => Some(text),
        _ => None,
    });
    if plain {
        let content = out.key("content");
        content.push(b'"');
        texts.for_each(|text| text.write_inner(content));
        content.push(b'"');
    } else {
        out.array("content", |parts| {
            for text in texts {
                parts.object(|part| {
                    part.str("type", "text");
                    part.text("text", text);
                });
            }
        });
    }
}

fn write_assistant(
    out: &mut Object<'_>,
    blocks: &[&Block<'_>],
    plain: bool,
    index: usize,
    verdicts: &mut Verdicts<'_>,
) {
    let texts: Vec<&Block<'_>> =
        blocks.iter().copied().filter(|block| matches!(block.kind, BlockKind::Text { .. })).collect();
    match texts.len() {
        0 => out.json("content", "null"),
        count => write_text_content(out, &texts, plain || count == 1),
    }
    let mut calls = Vec::new();
    for (part, block) in blocks.iter().enumerate() {
        match &block.kind {
            BlockKind::ToolCall(call) => calls.push((call, block)),
            BlockKind::Refusal(text) => out.text("refusal", text),
            // OpenAI's API takes no reasoning back.
            BlockKind::Text { .. } | BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {}
            _ => verdicts.impossible(format!("messages[{index}].content[{part}]")),
        }
    }
    if !calls.is_empty() {
        out.array("tool_calls", |list| {
            for (call, block) in calls {
                list.object(|out| {
                    write_call(out, call, true);
                    out.extra(&block.extra);
                });
            }
        });
    }
}

/// Writes the members of a tool call.
pub(in crate::openai) fn write_call(out: &mut Object<'_>, call: &ToolCall<'_>, shorten: bool) {
    out.text("id", &call.id);
    out.str("type", "function");
    out.object("function", |function| {
        match shorten {
            true => function.text("name", &shorten_tool_name(&call.name)),
            false => function.text("name", &call.name),
        }
        match &call.arguments {
            Arguments::Json(raw) => function.str("arguments", raw.get()),
            Arguments::String(text) => function.text("arguments", text),
        }
    });
}

fn write_part(list: &mut Array<'_>, block: &Block<'_>, at: &str, verdicts: &mut Verdicts<'_>) {
    match &block.kind {
        BlockKind::Text { text, .. } => list.object(|part| {
            part.str("type", "text");
            part.text("text", text);
            part.extra(&block.extra);
        }),
        BlockKind::Image { source, detail } => list.object(|part| {
            part.str("type", "image_url");
            part.object("image_url", |image| {
                write_url(image, "url", source, "image/png", at, verdicts);
                image.text_if("detail", detail.as_ref());
            });
            part.extra(&block.extra);
        }),
        BlockKind::File { source: Source::Text(text), .. } => list.object(|part| {
            part.str("type", "text");
            part.text("text", text);
        }),
        BlockKind::File { source, name } => list.object(|part| {
            part.str("type", "file");
            part.object("file", |file| {
                file.text_if("filename", name.as_ref());
                match source {
                    Source::File(id) => file.text("file_id", id),
                    Source::Base64 { media_type: None, data } => file.text("file_data", data),
                    _ => write_url(file, "file_data", source, "application/pdf", at, verdicts),
                }
            });
            part.extra(&block.extra);
        }),
        BlockKind::Refusal(text) => list.object(|part| {
            part.str("type", "refusal");
            part.text("refusal", text);
        }),
        BlockKind::Native { dialect: Dialect::OpenAi, raw, .. } => list.json(raw.get()),
        _ => verdicts.impossible(at),
    }
}

/// Writes a source as a URL, a data URL where the bytes are here.
fn write_url(
    out: &mut Object<'_>,
    name: &str,
    source: &Source<'_>,
    default_type: &str,
    at: &str,
    verdicts: &mut Verdicts<'_>,
) {
    match source {
        Source::Url(url) if name == "url" => out.text(name, url),
        Source::Base64 { media_type, data } => {
            let json = out.key(name);
            json.extend_from_slice(b"\"data:");
            media_type.as_ref().unwrap_or(&default_type.into()).write_inner(json);
            json.extend_from_slice(b";base64,");
            data.write_inner(json);
            json.push(b'"');
        }
        // A file by URL has no place in OpenAI's `file`, an image by id none in `image_url`.
        _ => verdicts.impossible(at),
    }
}
