//! Writing a `/v2/chat` request.

mod conversation;

use serde_json::value::RawValue;
use ziggurat_core::{Capabilities, Effort, Thinking, ThinkingForm};

use self::conversation::write_messages;
use crate::{
    Encoding, Format, Refused, Request, Text, Tool, ToolChoice,
    encode::{Verdict, Verdicts, check_results},
    foreign::{Thought, params, write_unsupported},
    gemini::plain_schema,
    write::{Object, object},
};

/// Writes a request.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    check_results(request)?;
    let mut verdicts = Verdicts::new(encoding.policy);
    object(out, |body| {
        body.str("model", encoding.model);
        write_messages(body, request, &mut verdicts);
        write_sampling(body, request);
        let strict = write_tools(body, request, &mut verdicts);
        write_format(body, request, &mut verdicts);
        let thinks = write_thinking(body, request, &encoding.capabilities, &mut verdicts);
        if let Some(stream) = request.stream {
            body.bool("stream", stream);
        }
        write_unsupported(body, request, &mut verdicts);
        let is_written = |name: &str| match name {
            "max_tokens" => request.max_output_tokens.is_some(),
            "p" => request.top_p.is_some(),
            "k" => request.top_k.is_some(),
            "stop_sequences" => !request.stop.is_empty(),
            "strict_tools" => strict,
            "thinking" => thinks,
            _ => true,
        };
        let written: Vec<_> = MEMBERS.iter().copied().filter(|name| is_written(name)).collect();
        body.extra(&params(request, PARAMS, &written, &mut verdicts), &[]);
    });
    verdicts.finish()
}

fn write_sampling(body: &mut Object<'_>, request: &Request<'_>) {
    body.number_if("max_tokens", request.max_output_tokens);
    body.raw_if("temperature", request.temperature);
    if let Some(raw) = request.top_p {
        // Cohere's range ends on both sides before OpenAI's, where 1 is what most callers send.
        body.json(
            "p",
            match raw.get().parse::<f64>() {
                Ok(p) if p > 0.99 => "0.99",
                Ok(p) if p < 0.01 => "0.01",
                _ => raw.get(),
            },
        );
    }
    body.raw_if("k", request.top_k);
    if !request.stop.is_empty() {
        body.array("stop_sequences", |list| request.stop.iter().for_each(|stop| list.text(stop)));
    }
}

/// Writes the tools; whether `strict_tools` was among what was said.
fn write_tools(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) -> bool {
    let has_tools = request.tools.iter().any(|tool| matches!(tool, Tool::Function { .. }));
    // Cohere has no way to name the tool that must be called: the others are kept from the model.
    let only = write_choice(body, request, has_tools, verdicts);
    let is_offered = |name: &Text<'_>| only.is_none_or(|only| only == name);
    let strictness: Vec<bool> = request
        .tools
        .iter()
        .filter_map(|tool| match tool {
            Tool::Function { name, strict, .. } if is_offered(name) => Some(*strict == Some(true)),
            _ => None,
        })
        .collect();
    // It is said of all tools or of none.
    let strict = has_tools && strictness.iter().all(|strict| *strict);
    if strict {
        body.bool("strict_tools", true);
    }
    for (index, tool) in request.tools.iter().enumerate() {
        if matches!(tool, Tool::Function { strict: Some(true), .. }) && !strict {
            verdicts.unsupported(&format!("tools[{index}].strict"));
        }
    }
    if has_tools {
        body.array("tools", |list| {
            for tool in &request.tools {
                let Tool::Function { name, description, schema, .. } = tool else { continue };
                if !is_offered(name) {
                    continue;
                }
                list.object(|tool| {
                    tool.str("type", "function");
                    tool.object("function", |function| {
                        function.text("name", name);
                        function.text_if("description", description.as_ref());
                        if let Some(schema) = schema {
                            function.json("parameters", &plain_schema(request.dialect, schema));
                        }
                    });
                });
            }
        });
    }
    strict
}

/// Writes whether a tool must be called; the one that must, if one is named.
fn write_choice<'r, 'a>(
    body: &mut Object<'_>,
    request: &'r Request<'a>,
    has_tools: bool,
    verdicts: &mut Verdicts<'_>,
) -> Option<&'r Text<'a>> {
    match &request.tool_choice {
        Some(ToolChoice::Required | ToolChoice::Function(_)) if !has_tools => {
            verdicts.invalid("`tool_choice` asks for a call, and there are no `tools`", "tool_choice");
        }
        Some(ToolChoice::None) if has_tools => body.str("tool_choice", "NONE"),
        None | Some(ToolChoice::Auto | ToolChoice::None) => {}
        Some(ToolChoice::Required) => body.str("tool_choice", "REQUIRED"),
        Some(ToolChoice::Function(only)) => {
            let names = |tool: &Tool<'_>| matches!(tool, Tool::Function { name, .. } if name == only);
            if !request.tools.iter().any(names) {
                verdicts.invalid("`tool_choice` names a tool that is not among `tools`", "tool_choice");
            }
            body.str("tool_choice", "REQUIRED");
            return Some(only);
        }
        Some(ToolChoice::Native { .. }) => verdicts.impossible("tool_choice"),
    }
    None
}

fn write_format(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let schema: Option<&RawValue> = match &request.format {
        None | Some(Format::Text) => return,
        Some(Format::JsonObject) => None,
        Some(Format::JsonSchema { schema, .. }) => *schema,
        Some(Format::Native { .. }) => {
            verdicts.unsupported("response_format");
            return;
        }
    };
    body.object("response_format", |format| {
        format.str("type", "json_object");
        if let Some(schema) = schema {
            format.json("json_schema", &plain_schema(request.dialect, schema));
        }
    });
}

/// Writes how much to think; whether anything was said of it. Models that do not think refuse to be told to, and do not need to be told not
/// to.
fn write_thinking(
    body: &mut Object<'_>,
    request: &Request<'_>,
    known: &Capabilities,
    verdicts: &mut Verdicts<'_>,
) -> bool {
    let Some((thought, name)) = Thought::of(request.reasoning.as_ref(), verdicts) else { return false };
    if known.cannot_think() && (thought == Thought::Off || verdicts.unsupported(name) == Verdict::Leave) {
        return false;
    }
    let budget = match thought {
        Thought::Off => None,
        Thought::On(budget) => budget,
        Thought::Effort(effort) => {
            let thinking = known.thinking.unwrap_or(Thinking::new(ThinkingForm::Budget));
            Effort::of_name(effort).map(|effort| thinking.budget_of(effort))
        }
    };
    body.object("thinking", |out| {
        out.str("type", if thought == Thought::Off { "disabled" } else { "enabled" });
        out.number_if("token_budget", budget);
    });
    true
}

/// Parameters that only Cohere knows, or knows under OpenAI's names; from Cohere's API reference.
const PARAMS: &[&str] = &[
    "citation_options",
    "documents",
    "frequency_penalty",
    "k",
    "p",
    "presence_penalty",
    "priority",
    "raw_prompting",
    "safety_mode",
    "seed",
    "stop_sequences",
    "strict_tools",
];

/// Members that are written from what the model knows.
const MEMBERS: &[&str] = &[
    "k",
    "max_tokens",
    "messages",
    "model",
    "p",
    "response_format",
    "stop_sequences",
    "stream",
    "strict_tools",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
];
