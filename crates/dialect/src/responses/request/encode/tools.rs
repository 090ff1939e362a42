//! The tools a model may call.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use crate::{
    Request, Text, Tool, ToolChoice,
    encode::Verdicts,
    gemini::plain_schema,
    read::{document, wire_object},
    write::{Array, Object, object},
};

wire_object! {
    struct WireSearch {
        search_context_size: &'a RawValue = "search_context_size",
        user_location: WireLocation<'a> = "user_location",
        allowed_domains: &'a RawValue = "allowed_domains",
        blocked_domains: &'a RawValue = "blocked_domains",
    }
    // Flat with Anthropic, nested with OpenAI's chat.
    struct WireLocation { kind: Text<'a> = "type", approximate: WirePlace<'a> = "approximate", }
    struct WirePlace { kind: Text<'a> = "type", }
}

pub(super) fn write_tools(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    if !request.tools.is_empty() {
        body.array("tools", |list| {
            for (index, tool) in request.tools.iter().enumerate() {
                write_tool(list, tool, index, request.dialect, verdicts);
            }
        });
    }
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => body.str("tool_choice", "auto"),
        Some(ToolChoice::None) => body.str("tool_choice", "none"),
        Some(ToolChoice::Required) => body.str("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => body.object("tool_choice", |choice| {
            choice.str("type", "function");
            choice.text("name", name);
        }),
        Some(ToolChoice::Native { dialect: Dialect::Responses, raw }) => body.json("tool_choice", raw.get()),
        Some(ToolChoice::Native { .. }) => verdicts.impossible("tool_choice"),
    }
    if let Some(parallel) = request.parallel_tool_calls {
        body.bool("parallel_tool_calls", parallel);
    }
}

fn write_tool(
    list: &mut Array<'_>,
    tool: &Tool<'_>,
    index: usize,
    dialect: Dialect,
    verdicts: &mut Verdicts<'_>,
) {
    let own = dialect == Dialect::Responses;
    match tool {
        Tool::Function { name, description, schema, strict, extra, .. } => {
            verdicts.tool_members(index, extra, |_| own);
            list.object(|tool| {
                tool.str("type", "function");
                tool.text("name", name);
                tool.text_if("description", description.as_ref());
                if let Some(schema) = schema {
                    tool.json("parameters", &plain_schema(dialect, schema));
                }
                match strict {
                    Some(strict) => tool.bool("strict", *strict),
                    // Strict unless told otherwise, which the callers of other dialects have not asked for.
                    None if !own => tool.bool("strict", false),
                    None => {}
                }
                if own {
                    tool.extra(extra, &[]);
                }
            });
        }
        Tool::WebSearch { dialect: Dialect::Responses, raw }
        | Tool::Native { dialect: Dialect::Responses, raw, .. } => list.json(raw.get()),
        Tool::WebSearch { raw, .. } => write_search(list.item(), raw, index, verdicts),
        Tool::Native { kind, .. } => verdicts.impossible(format!("tools[{index}] ({})", kind.decode())),
    }
}

/// Writes the web search of another dialect. How often it may search has no place here.
fn write_search(out: &mut Vec<u8>, raw: &RawValue, index: usize, verdicts: &mut Verdicts<'_>) {
    let search: WireSearch<'_> = document(raw.get()).unwrap_or_default();
    let some = |domains: &&RawValue| domains.get() != "[]";
    if search.blocked_domains.filter(some).is_some() {
        verdicts.unsupported(&format!("tools[{index}].blocked_domains"));
    }
    object(out, |tool| {
        tool.str("type", "web_search");
        tool.raw_if("search_context_size", search.search_context_size);
        if let Some(domains) = search.allowed_domains.filter(some) {
            tool.object("filters", |filters| filters.json("allowed_domains", domains.get()));
        }
        if let Some(location) = search.user_location {
            tool.object("user_location", |out| {
                out.str("type", "approximate");
                let place = location.approximate.map_or(location.extra, |place| place.extra);
                out.extra(&place, &["type"]);
            });
        }
    });
}
