//! The tools a model may call.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{
    super::{
        super::{
            models::Facts,
            schema::{self, Copies},
        },
        decode::{JSON_SCHEMA, MEMBER, TOOLS},
    },
    config::inner,
};
use crate::{
    Request, Text, Tool, ToolChoice,
    encode::Verdicts,
    read::{Extra, document, wire_object},
    write::{Array, Object, object},
};

wire_object! {
    struct WireSearch {
        allowed_domains: &'a RawValue = "allowed_domains",
        blocked_domains: &'a RawValue = "blocked_domains",
        user_location: &'a RawValue = "user_location",
    }
}

pub(super) fn write_tools(
    body: &mut Object<'_>,
    request: &Request<'_>,
    facts: Facts,
    copies: &mut Copies,
    verdicts: &mut Verdicts<'_>,
) {
    if !request.tools.is_empty() {
        body.array("tools", |list| {
            let is_function = |tool: &Tool<'_>| matches!(tool, Tool::Function { .. });
            if request.tools.iter().any(is_function) {
                list.object(|entry| {
                    entry.array("functionDeclarations", |list| {
                        for (index, tool) in
                            request.tools.iter().enumerate().filter(|(_, tool)| is_function(tool))
                        {
                            let at = (index, request.dialect);
                            write_function(list, tool, at, facts, copies, verdicts);
                        }
                    });
                });
            }
            for (index, tool) in request.tools.iter().enumerate() {
                write_other(list, tool, index, verdicts);
            }
        });
    }
    let own = request.dialect == Dialect::Gemini;
    let mut config = Vec::new();
    object(&mut config, |config| {
        if let Some(choice) = &request.tool_choice {
            write_choice(config, choice, own || !request.tools.is_empty(), verdicts);
        }
        if own {
            config.extra(&inner(&request.params, TOOLS), &["functionCallingConfig"]);
        }
    });
    if let Ok(json) = std::str::from_utf8(&config)
        && json != "{}"
    {
        body.json("toolConfig", json);
    }
}

fn write_choice(
    config: &mut Object<'_>,
    choice: &ToolChoice<'_>,
    has_tools: bool,
    verdicts: &mut Verdicts<'_>,
) {
    let only = |name: &Text<'_>, calling: &mut Object<'_>| {
        calling.array("allowedFunctionNames", |names| names.text(name));
    };
    match choice {
        ToolChoice::Native { dialect: Dialect::Gemini, raw } => {
            config.json("functionCallingConfig", raw.get())
        }
        ToolChoice::Native { .. } => verdicts.impossible("tool_choice"),
        ToolChoice::Required | ToolChoice::Function(_) if !has_tools => {
            verdicts.invalid("`tool_choice` asks for a call, and there are no `tools`", "tool_choice");
        }
        // Without tools it says nothing.
        _ if !has_tools => {}
        choice => config.object("functionCallingConfig", |calling| match choice {
            ToolChoice::None => calling.str("mode", "NONE"),
            ToolChoice::Required => calling.str("mode", "ANY"),
            ToolChoice::Function(name) => {
                calling.str("mode", "ANY");
                only(name, calling);
            }
            ToolChoice::Auto | ToolChoice::Native { .. } => calling.str("mode", "AUTO"),
        }),
    }
}

fn write_function(
    list: &mut Array<'_>,
    tool: &Tool<'_>,
    (index, dialect): (usize, Dialect),
    facts: Facts,
    copies: &mut Copies,
    verdicts: &mut Verdicts<'_>,
) {
    // Whether the arguments must match (`strict`) has no word: Google holds its calls to what is declared, as well as it can.
    let Tool::Function { name, description, schema, extra, .. } = tool else { return };
    let own = dialect == Dialect::Gemini;
    verdicts.tool_members(index, extra, |_| own);
    list.object(|out| {
        out.text("name", name);
        out.text_if("description", description.as_ref());
        match schema {
            Some(schema) if own => {
                let is_json = extra.iter().any(|(name, raw)| name == JSON_SCHEMA && raw.get() == "null");
                out.json(if is_json { JSON_SCHEMA } else { "parameters" }, schema.get());
            }
            Some(schema) => write_parameters(out, schema, index, facts, copies, verdicts),
            None => {}
        }
        if own {
            write_members(out, extra);
        }
    });
}

fn write_members(out: &mut Object<'_>, extra: &Extra<'_>) {
    out.extra_if(extra, |name| name != JSON_SCHEMA);
}

/// Writes the schema of arguments: where it is in Google's subset as that, else as the JSON Schema that it is, for a model that takes such; else
/// put into the subset.
fn write_parameters(
    out: &mut Object<'_>,
    schema: &RawValue,
    index: usize,
    facts: Facts,
    copies: &mut Copies,
    verdicts: &mut Verdicts<'_>,
) {
    if says_nothing(schema) {
        return;
    }
    if schema::fits(schema) {
        return out.json("parameters", schema.get());
    }
    if facts.takes_json_schema() {
        return out.json(JSON_SCHEMA, schema.get());
    }
    match schema::subset(schema, copies) {
        Ok(schema) => out.json("parameters", &schema.to_string()),
        Err(unfit) => verdicts.invalid(unfit.to_string(), format!("tools[{index}].function.parameters")),
    }
}

/// Whether a function takes no arguments: Google refuses an object without properties.
fn says_nothing(schema: &RawValue) -> bool {
    let value: serde_json::Value = serde_json::from_str(schema.get()).unwrap_or_default();
    let is_empty = |value: Option<&serde_json::Value>| {
        value.is_none_or(|value| value.as_object().is_some_and(serde_json::Map::is_empty))
    };
    value.as_object().is_none_or(|members| {
        let known = |name: &String| {
            matches!(&**name, "type" | "properties" | "required" | "additionalProperties" | "$schema")
        };
        members.get("type").is_none_or(|kind| kind == "object")
            && is_empty(members.get("properties"))
            && !members
                .get("additionalProperties")
                .is_some_and(|value| value != &serde_json::Value::Bool(false))
            && members.keys().all(known)
    })
}

fn write_other(list: &mut Array<'_>, tool: &Tool<'_>, index: usize, verdicts: &mut Verdicts<'_>) {
    match tool {
        Tool::Function { .. } => {}
        Tool::WebSearch { dialect: Dialect::Gemini, raw } => {
            list.object(|entry| entry.json("googleSearch", raw.get()));
        }
        Tool::WebSearch { raw, .. } => {
            let options: WireSearch<'_> = document(raw.get()).unwrap_or_default();
            let given = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get() != "[]");
            // How much is searched is the model's to say; where it may and for whom, no caller would like dropped.
            for (name, raw) in [
                ("allowed_domains", options.allowed_domains),
                ("blocked_domains", options.blocked_domains),
                ("user_location", options.user_location),
            ] {
                if given(raw) {
                    verdicts.unsupported(&format!("tools[{index}].{name}"));
                }
            }
            list.object(|entry| entry.object("googleSearch", |_| {}));
        }
        Tool::Native { dialect: Dialect::Gemini, kind, raw } => match kind.decode().strip_suffix(MEMBER) {
            Some(name) => list.object(|entry| entry.json(name, raw.get())),
            None => list.json(raw.get()),
        },
        Tool::Native { kind, .. } => verdicts.impossible(format!("tools[{index}] ({})", kind.decode())),
    }
}
