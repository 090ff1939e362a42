//! The tools a model may call.

use std::collections::HashSet;

use ziggurat_core::Dialect;

use super::{Family, conversation::write_cache};
use crate::{
    BlockKind, Request, Text, Tool, ToolChoice,
    encode::Verdicts,
    gemini::plain_schema,
    write::{Array, Object},
};

/// Writes `toolConfig`, which Converse wants wherever the conversation holds calls.
pub(super) fn write_tools(
    body: &mut Object<'_>,
    request: &Request<'_>,
    family: Family,
    verdicts: &mut Verdicts<'_>,
) {
    let called = called(request);
    check(request, verdicts);
    let choice = match &request.tool_choice {
        Some(ToolChoice::None) if called.is_empty() => return,
        // There is no word for it, and beside calls the tools cannot be left out: the model may call one.
        Some(ToolChoice::None) => {
            verdicts.unsupported("tool_choice");
            None
        }
        Some(ToolChoice::Required | ToolChoice::Function(_)) if request.tools.is_empty() => {
            return verdicts
                .invalid("`tool_choice` asks for a call, and there are no `tools`", "tool_choice");
        }
        Some(ToolChoice::Native { .. }) => {
            verdicts.impossible("tool_choice");
            None
        }
        choice => choice.as_ref(),
    };
    let functions = request.tools.iter().any(|tool| matches!(tool, Tool::Function { .. }));
    if !functions && called.is_empty() {
        return;
    }
    body.object("toolConfig", |config| {
        config.array("tools", |list| {
            for (index, tool) in request.tools.iter().enumerate() {
                write_tool(list, tool, (index, request.dialect), family, verdicts);
            }
            if !functions {
                called.iter().for_each(|name| write_spec(list, name, None, None, None));
            }
        });
        match choice.filter(|_| functions) {
            Some(ToolChoice::Auto) => config.object("toolChoice", |choice| choice.object("auto", |_| {})),
            Some(ToolChoice::Required) => config.object("toolChoice", |choice| choice.object("any", |_| {})),
            Some(ToolChoice::Function(name)) => config.object("toolChoice", |choice| {
                choice.object("tool", |tool| tool.text("name", name));
            }),
            _ => {}
        }
    });
}

/// Names what is asked and Converse has no word for.
fn check(request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function { .. } => {}
            Tool::WebSearch { dialect: Dialect::OpenAi, .. } => {
                verdicts.unsupported("web_search_options");
            }
            Tool::WebSearch { .. } => {
                verdicts.unsupported(&format!("tools[{index}] (web_search)"));
            }
            Tool::Native { kind, .. } => verdicts.impossible(format!("tools[{index}] ({})", kind.decode())),
        }
    }
    if request.parallel_tool_calls == Some(false) && !request.tools.is_empty() {
        verdicts.unsupported(match request.dialect {
            Dialect::Anthropic => "tool_choice.disable_parallel_tool_use",
            _ => "parallel_tool_calls",
        });
    }
}

/// The names of the tools that the conversation holds calls of.
fn called<'a>(request: &Request<'a>) -> Vec<Text<'a>> {
    let (mut names, mut known) = (Vec::new(), HashSet::new());
    for block in request.messages.iter().flat_map(|message| &message.content) {
        if let BlockKind::ToolCall(call) = &block.kind
            && known.insert(call.name.decode())
        {
            names.push(call.name.clone());
        }
    }
    names
}

fn write_tool(
    list: &mut Array<'_>,
    tool: &Tool<'_>,
    (index, dialect): (usize, Dialect),
    family: Family,
    verdicts: &mut Verdicts<'_>,
) {
    let Tool::Function { name, description, schema, strict, cache, extra } = tool else { return };
    verdicts.tool_members(index, extra, |_| false);
    let description = description.as_ref().filter(|description| !description.is_blank());
    write_spec(
        list,
        name,
        description,
        schema.map(|schema| plain_schema(dialect, schema)).as_deref(),
        *strict,
    );
    write_cache(list, cache.filter(|_| family.caches()));
}

fn write_spec(
    list: &mut Array<'_>,
    name: &Text<'_>,
    description: Option<&Text<'_>>,
    schema: Option<&str>,
    strict: Option<bool>,
) {
    list.object(|out| {
        out.object("toolSpec", |spec| {
            spec.text("name", name);
            spec.text_if("description", description);
            spec.object("inputSchema", |input| {
                input.json("json", schema.unwrap_or(NO_ARGUMENTS));
            });
            if strict == Some(true) {
                spec.bool("strict", true);
            }
        });
    });
}

/// The schema of a function without parameters.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;
