//! The tools a model may call.

use ziggurat_core::Dialect;

use crate::{
    Request, Tool, ToolChoice,
    encode::Verdicts,
    gemini::plain_schema,
    read::{document, wire_object},
    write::{Array, Object},
};

wire_object! {
    struct WireSearch { user_location: WireLocation<'a> = "user_location", }
    struct WireLocation { approximate: WirePlace<'a> = "approximate", }
    struct WirePlace { }
}

pub(super) fn write_tools(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    let own = request.dialect == Dialect::Anthropic;
    if !request.tools.is_empty() {
        body.array("tools", |list| {
            for (index, tool) in request.tools.iter().enumerate() {
                write_tool(list, tool, index, request.dialect, verdicts);
            }
        });
    }
    let serial = request.parallel_tool_calls == Some(false);
    let choice = match &request.tool_choice {
        // Without tools these say nothing, and Anthropic refuses them.
        None | Some(ToolChoice::Auto | ToolChoice::None) if !own && request.tools.is_empty() => return,
        Some(ToolChoice::Required | ToolChoice::Function(_)) if !own && request.tools.is_empty() => {
            return verdicts
                .invalid("`tool_choice` asks for a call, and there are no `tools`", "tool_choice");
        }
        None if serial => &ToolChoice::Auto,
        None => return,
        Some(choice) => choice,
    };
    if let ToolChoice::Native { dialect, raw } = choice {
        return match dialect {
            Dialect::Anthropic => body.json("tool_choice", raw.get()),
            _ => verdicts.impossible("tool_choice"),
        };
    }
    body.object("tool_choice", |out| {
        match choice {
            ToolChoice::None => return out.str("type", "none"),
            ToolChoice::Required => out.str("type", "any"),
            ToolChoice::Function(name) => {
                out.str("type", "tool");
                out.text("name", name);
            }
            ToolChoice::Auto | ToolChoice::Native { .. } => out.str("type", "auto"),
        }
        if serial || (own && request.parallel_tool_calls.is_some()) {
            out.bool("disable_parallel_tool_use", serial);
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
    let own = dialect == Dialect::Anthropic;
    match tool {
        Tool::Function { name, description, schema, strict, cache, extra } => {
            let passes = |name: &str| own || is_tool_member(name);
            verdicts.tool_members(index, extra, passes);
            list.object(|out| {
                out.str("type", "custom");
                out.text("name", name);
                out.text_if("description", description.as_ref());
                match schema {
                    None if own => {}
                    None => out.json("input_schema", NO_ARGUMENTS),
                    Some(schema) => out.json("input_schema", &plain_schema(dialect, schema)),
                }
                if let Some(strict) = strict.filter(|strict| own || *strict) {
                    out.bool("strict", strict);
                }
                out.raw_if("cache_control", *cache);
                out.extra_if(extra, passes);
            });
        }
        Tool::WebSearch { dialect: Dialect::Anthropic, raw } => list.json(raw.get()),
        Tool::WebSearch { raw, .. } => list.object(|out| {
            out.str("type", "web_search_20250305");
            out.str("name", "web_search");
            // How much of what is found goes into the context has no counterpart.
            let options: WireSearch<'_> = document(raw.get()).unwrap_or_default();
            if let Some(place) = options.user_location.and_then(|location| location.approximate) {
                out.object("user_location", |location| {
                    location.str("type", "approximate");
                    location.extra(&place.extra, &["type"]);
                });
            }
        }),
        Tool::Native { dialect: Dialect::Anthropic, raw, .. } => list.json(raw.get()),
        Tool::Native { kind, .. } => verdicts.impossible(format!("tools[{index}] ({})", kind.decode())),
    }
}

/// Members of tools that Anthropic knows and the model does not.
fn is_tool_member(name: &str) -> bool {
    matches!(name, "eager_input_streaming" | "defer_loading" | "allowed_callers" | "input_examples")
}

/// The schema of a function without parameters.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;
