//! Reading a `generateContent` request.

use std::borrow::Cow;

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::super::part::{Ids, OneOrMany, WireContent, decode_parts};
use crate::{
    Block, BlockKind, Format, Malformed, Message, Reasoning, Request, Role, Text, Tool, ToolChoice,
    read::{Extra, Unread, Whole, document, wire_object},
};

wire_object! {
    struct WireAny { }
    struct WireDeclaration {
        name: Text<'a> = "name",
        description: Text<'a> = "description",
        parameters: Unread<'a> = "parameters",
        json_schema: Unread<'a> = "parametersJsonSchema",
        json_schema_: Unread<'a> = "parameters_json_schema",
    }
    struct WireCalling {
        mode: Text<'a> = "mode",
        allowed: Vec<Text<'a>> = "allowedFunctionNames",
        allowed_: Vec<Text<'a>> = "allowed_function_names",
    }
    struct WireThinking {
        level: Text<'a> = "thinkingLevel",
        level_: Text<'a> = "thinking_level",
        budget: &'a RawValue = "thinkingBudget",
        budget_: &'a RawValue = "thinking_budget",
    }
}

/// What a parameter of a Google caller's is to another dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Said again in the model's words: nothing is lost without it.
    Restated,
    /// Google's alone.
    Own,
    /// Named as OpenAI names it, or not a Google caller's.
    Common,
}

/// What a parameter is to another dialect than that of its caller.
pub(crate) fn standing(caller: Dialect, name: &str) -> Standing {
    match name {
        _ if caller != Dialect::Gemini => Standing::Common,
        THINKING => Standing::Restated,
        _ if COMMON.iter().any(|(_, openai)| *openai == name) => Standing::Common,
        _ => Standing::Own,
    }
}

/// Members of `generationConfig` that OpenAI has under names of its own, and those names.
pub(super) const COMMON: &[(&str, &str)] = &[
    ("seed", "seed"),
    ("presencePenalty", "presence_penalty"),
    ("frequencyPenalty", "frequency_penalty"),
    ("responseLogprobs", "logprobs"),
    ("logprobs", "top_logprobs"),
];

/// Stands before the names of members of inner objects.
pub(super) const GENERATION: &str = "generationConfig.";
pub(super) const TOOLS: &str = "toolConfig.";

pub(super) const THINKING: &str = "generationConfig.thinkingConfig";

/// Among the members of a tool, says where its schema stood; as `null`, which nobody takes for a member.
pub(super) const JSON_SCHEMA: &str = "parametersJsonSchema";

/// Among the parameters, says where the answer's schema stood; as `null` too.
pub(super) const RESPONSE_SCHEMA: &str = "generationConfig.responseSchema";

/// Reads a request of Google's `generateContent` API. Members may be spelled in either way that Google takes; they are kept in the one that
/// it gives.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_request(json: &str) -> Result<Request<'_>, Malformed> {
    let wire: WireAny<'_> = document(json)?;
    let mut request = Request { dialect: Dialect::Gemini, ..Request::default() };
    let mut contents = OneOrMany::default();
    for (name, raw) in wire.extra {
        let at = |error: Malformed| error.within(&name);
        match &*camel(&name) {
            _ if raw.get() == "null" => {}
            "safetySettings" if raw.get() == "[]" => {}
            "model" => request.model = Some(read(raw).map_err(at)?),
            "contents" => contents = OneOrMany::read(raw).map_err(at)?,
            "systemInstruction" => system(raw, &mut request).map_err(at)?,
            "generationConfig" => generation(raw, &mut request).map_err(at)?,
            "tools" => {
                for (index, raw) in OneOrMany::read(raw).map_err(at)?.0.into_iter().enumerate() {
                    tool(raw, &mut request.tools)
                        .map_err(|error| error.within(&format!("{name}[{index}]")))?;
                }
            }
            "toolConfig" => tool_config(raw, &mut request).map_err(at)?,
            camel => request.params.push((camel.to_owned().into(), raw)),
        }
    }
    let mut ids = Ids::of_request();
    for (index, raw) in contents.0.into_iter().enumerate() {
        let message = content(raw, &mut ids).map_err(|error| error.within(&format!("contents[{index}]")))?;
        request.messages.push(message);
    }
    Ok(request)
}

fn read<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Malformed> {
    document(raw.get())
}

/// A name in camel case.
pub(in crate::gemini) fn camel(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    let mut is_start = false;
    for letter in name.chars() {
        match letter {
            '_' => is_start = !out.is_empty(),
            letter if std::mem::take(&mut is_start) => out.push(letter.to_ascii_uppercase()),
            letter => out.push(letter),
        }
    }
    Cow::Owned(out)
}

fn system<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Result<(), Malformed> {
    let wire: WireContent<'a> = read(raw)?;
    let parts = wire.parts.unwrap_or_default().0;
    let content = decode_parts(parts, &mut Ids::of_request(), true).map_err(|error| error.within("parts"))?;
    // Whoever wrote its role, it is the operator's.
    let plain = is_plain(&content);
    let message = Message { role: Role::System, content, plain, name: None, extra: wire.extra };
    request.system_apart = true;
    request.messages.insert(0, message);
    Ok(())
}

fn content<'a>(raw: &'a RawValue, ids: &mut Ids<'_, 'a>) -> Result<Message<'a>, Malformed> {
    let wire: WireContent<'a> = read(raw)?;
    let role = match wire.role.as_ref().map(Text::decode).as_deref() {
        // `function` is the old role of results.
        None | Some("user" | "function") => Role::User,
        Some("model") => Role::Assistant,
        Some(other) => return Err(Malformed::new(format!("unknown role {other:?}"), "role")),
    };
    let parts = wire.parts.unwrap_or_default().0;
    let content = decode_parts(parts, ids, true).map_err(|error| error.within("parts"))?;
    let plain = is_plain(&content);
    Ok(Message { role, content, plain, name: None, extra: wire.extra })
}

/// Whether content is one text, which others say as a string: some of OpenAI's relatives take nothing else.
pub(in crate::gemini) fn is_plain(content: &[Block<'_>]) -> bool {
    matches!(content, [Block { kind: BlockKind::Text { citations: None, .. }, cache: None, extra }] if extra.is_empty())
}

fn generation<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Result<(), Malformed> {
    let wire: WireAny<'a> = read(raw)?;
    let (mut media_type, mut schema, mut json_schema) = (None, None, None);
    for (name, raw) in wire.extra {
        let at = |error: Malformed| error.within(&name);
        let whole = || read::<Whole>(raw).map(|whole| Some(whole.0)).map_err(at);
        match &*camel(&name) {
            _ if raw.get() == "null" => {}
            "maxOutputTokens" => request.max_output_tokens = whole()?,
            "candidateCount" => request.n = whole()?,
            "temperature" => request.temperature = Some(raw),
            "topP" => request.top_p = Some(raw),
            "topK" => request.top_k = Some(raw),
            "stopSequences" => request.stop = read(raw).map_err(at)?,
            "responseMimeType" => media_type = Some(raw),
            "responseSchema" => schema = Some(raw),
            "responseJsonSchema" => json_schema = Some(raw),
            "thinkingConfig" => {
                request.reasoning = reasoning(raw).map_err(at)?;
                request.params.push((THINKING.into(), raw));
            }
            camel => match COMMON.iter().find(|(own, _)| *own == camel) {
                Some((_, openai)) => request.params.push(((*openai).into(), raw)),
                None => request.params.push((format!("{GENERATION}{camel}").into(), raw)),
            },
        }
    }
    format(media_type, schema, json_schema, request);
    Ok(())
}

/// JSON by a schema, any JSON and text are forms that others have; what is none of these stays as it is.
fn format<'a>(
    media_type: Option<&'a RawValue>,
    schema: Option<&'a RawValue>,
    json_schema: Option<&'a RawValue>,
    request: &mut Request<'a>,
) {
    let word = media_type.and_then(|raw| Text::from_json(raw.get()));
    let (name, description, strict) = (None, None, None);
    request.format = match (word.as_ref().map(Text::decode).as_deref(), schema, json_schema) {
        (Some("application/json"), None, None) => Some(Format::JsonObject),
        (Some("application/json"), None, schema @ Some(_)) => {
            Some(Format::JsonSchema { name, description, schema, strict })
        }
        (Some("application/json"), schema @ Some(_), None) => {
            request.params.push((RESPONSE_SCHEMA.into(), RawValue::NULL));
            Some(Format::JsonSchema { name, description, schema, strict })
        }
        (Some("text/plain"), None, None) => Some(Format::Text),
        _ => {
            let members = [("MimeType", media_type), ("Schema", schema), ("JsonSchema", json_schema)];
            let given = members.into_iter().filter_map(|(name, raw)| Some((name, raw?)));
            request
                .params
                .extend(given.map(|(name, raw)| (format!("{GENERATION}response{name}").into(), raw)));
            None
        }
    };
}

/// OpenAI's word for a `thinkingConfig`; how much the model likes has none.
fn reasoning(raw: &RawValue) -> Result<Option<Reasoning<'_>>, Malformed> {
    let wire: WireThinking<'_> = read(raw)?;
    let level = wire.level.or(wire.level_).map(|level| level.decode().to_ascii_lowercase());
    let budget = || wire.budget.or(wire.budget_)?.get().parse::<i64>().ok();
    let effort = level.or_else(|| {
        let word = match budget()? {
            0 => "none",
            1..1_024 => "minimal",
            1_024..2_048 => "low",
            2_048..4_096 => "medium",
            4_096.. => "high",
            _ => return None,
        };
        Some(word.to_owned())
    });
    Ok(effort.map(|effort| Reasoning { effort: Some(effort.into()), thinking: None }))
}

/// Reads an entry of `tools`, each member of which is a tool or a list of functions.
fn tool<'a>(raw: &'a RawValue, tools: &mut Vec<Tool<'a>>) -> Result<(), Malformed> {
    let wire: WireAny<'a> = read(raw)?;
    let single = wire.extra.len() == 1;
    for (name, inner) in wire.extra {
        match &*camel(&name) {
            "functionDeclarations" => {
                let list: Vec<&'a RawValue> = read(inner).map_err(|error| error.within(&name))?;
                for (index, raw) in list.into_iter().enumerate() {
                    let at = |error: Malformed| error.within(&format!("{name}[{index}]"));
                    tools.push(declaration(raw).map_err(at)?);
                }
            }
            "googleSearch" => tools.push(Tool::WebSearch { dialect: Dialect::Gemini, raw: inner }),
            // Alone in its entry as a rule; else by its name and what it says.
            camel if single => {
                let kind = camel.to_owned().into();
                tools.push(Tool::Native { dialect: Dialect::Gemini, kind, raw });
            }
            camel => {
                let kind = format!("{camel}{MEMBER}").into();
                tools.push(Tool::Native { dialect: Dialect::Gemini, kind, raw: inner });
            }
        }
    }
    Ok(())
}

/// Stands behind the type of a tool that shared its entry with others: its JSON is that of the member.
pub(super) const MEMBER: char = ':';

fn declaration(raw: &RawValue) -> Result<Tool<'_>, Malformed> {
    let wire: WireDeclaration<'_> = read(raw)?;
    let json_schema = wire.json_schema.or(wire.json_schema_);
    let mut extra: Extra<'_> = wire.extra;
    if json_schema.is_some() {
        extra.push((JSON_SCHEMA.into(), RawValue::NULL));
    }
    Ok(Tool::Function {
        name: wire.name.ok_or_else(|| Malformed::new("missing required field", "name"))?,
        description: wire.description,
        schema: wire.parameters.or(json_schema).map(|schema| schema.0),
        strict: None,
        cache: None,
        extra,
    })
}

fn tool_config<'a>(raw: &'a RawValue, request: &mut Request<'a>) -> Result<(), Malformed> {
    let wire: WireAny<'a> = read(raw)?;
    for (name, raw) in wire.extra {
        match &*camel(&name) {
            _ if raw.get() == "null" => {}
            "functionCallingConfig" => {
                request.tool_choice = Some(calling(raw).map_err(|error| error.within(&name))?);
            }
            camel => request.params.push((format!("{TOOLS}{camel}").into(), raw)),
        }
    }
    Ok(())
}

fn calling(raw: &RawValue) -> Result<ToolChoice<'_>, Malformed> {
    let wire: WireCalling<'_> = read(raw)?;
    let mut allowed = wire.allowed.or(wire.allowed_).unwrap_or_default();
    let mode = wire.mode.as_ref().map(Text::decode).unwrap_or_default();
    Ok(match (&*mode, allowed.len()) {
        _ if !wire.extra.is_empty() => ToolChoice::Native { dialect: Dialect::Gemini, raw },
        ("AUTO", 0) => ToolChoice::Auto,
        ("NONE", 0) => ToolChoice::None,
        ("ANY", 0) => ToolChoice::Required,
        ("ANY", 1) => ToolChoice::Function(allowed.remove(0)),
        _ => ToolChoice::Native { dialect: Dialect::Gemini, raw },
    })
}
