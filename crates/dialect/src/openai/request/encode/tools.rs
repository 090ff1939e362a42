//! The tools a model may call.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{super::decode::FUNCTION, parts::write_inner};
use crate::{
    Request, Text, Tool, ToolChoice,
    encode::Verdicts,
    gemini::plain_schema,
    read::{document, wire_object},
    write::{Array, Object},
};

wire_object! {
    struct WireSearch {
        allowed_domains: &'a RawValue = "allowed_domains",
        blocked_domains: &'a RawValue = "blocked_domains",
        user_location: WirePlace<'a> = "user_location",
    }
    struct WirePlace { kind: Text<'a> = "type", }
}

pub(super) fn write_tools(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let search = request.tools.iter().enumerate().find_map(|(index, tool)| match tool {
        Tool::WebSearch { dialect, raw } => Some((index, *dialect, *raw)),
        _ => None,
    });
    if request.tools.iter().any(|tool| !matches!(tool, Tool::WebSearch { .. })) {
        body.array("tools", |list| {
            for (index, tool) in request.tools.iter().enumerate() {
                write_tool(list, tool, index, request.dialect, verdicts);
            }
        });
    }
    match search {
        Some((_, Dialect::OpenAi, raw)) => body.json("web_search_options", raw.get()),
        Some((index, _, raw)) => write_search(body, raw, index, verdicts),
        None => {}
    }
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => body.str("tool_choice", "auto"),
        Some(ToolChoice::None) => body.str("tool_choice", "none"),
        Some(ToolChoice::Required) => body.str("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => body.object("tool_choice", |choice| {
            choice.str("type", "function");
            choice.object("function", |function| function.text("name", name));
        }),
        Some(ToolChoice::Native { dialect: Dialect::OpenAi, raw }) => body.json("tool_choice", raw.get()),
        Some(ToolChoice::Native { .. }) => verdicts.impossible("tool_choice"),
    }
    if let Some(parallel) = request.parallel_tool_calls {
        body.bool("parallel_tool_calls", parallel);
    }
}

/// Writes Anthropic's web search as OpenAI's. How often it may search has no place there; where it may, no caller would like dropped.
fn write_search(body: &mut Object<'_>, raw: &RawValue, index: usize, verdicts: &mut Verdicts<'_>) {
    let tool: WireSearch<'_> = document(raw.get()).unwrap_or_default();
    for (name, domains) in
        [("allowed_domains", tool.allowed_domains), ("blocked_domains", tool.blocked_domains)]
    {
        if domains.is_some_and(|domains| domains.get() != "[]") {
            verdicts.unsupported(&format!("tools[{index}].{name}"));
        }
    }
    body.object("web_search_options", |options| {
        if let Some(place) = tool.user_location {
            options.object("user_location", |location| {
                location.str("type", "approximate");
                location.object("approximate", |approximate| approximate.extra(&place.extra, &[]));
            });
        }
    });
}

fn write_tool(
    list: &mut Array<'_>,
    tool: &Tool<'_>,
    index: usize,
    dialect: Dialect,
    verdicts: &mut Verdicts<'_>,
) {
    let own = dialect == Dialect::OpenAi;
    match tool {
        Tool::Function { name, description, schema, strict, cache, extra } => {
            verdicts.tool_members(index, extra, |_| own);
            list.object(|tool| {
                tool.str("type", "function");
                tool.object("function", |function| {
                    function.text("name", name);
                    function.text_if("description", description.as_ref());
                    if let Some(schema) = schema {
                        function.json("parameters", &plain_schema(dialect, schema));
                    }
                    if let Some(strict) = strict {
                        function.bool("strict", *strict);
                    }
                    if own {
                        write_inner(function, extra, FUNCTION);
                    }
                });
                if own {
                    tool.raw_if("cache_control", *cache);
                    tool.extra_if(extra, |name| !name.starts_with(FUNCTION));
                }
            });
        }
        Tool::WebSearch { .. } => {}
        Tool::Native { dialect: Dialect::OpenAi, raw, .. } => list.json(raw.get()),
        Tool::Native { kind, .. } => verdicts.impossible(format!("tools[{index}] ({})", kind.decode())),
    }
}
