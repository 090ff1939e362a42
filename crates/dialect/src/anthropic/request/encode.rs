//! Writing a Messages request.

use std::collections::HashSet;

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::super::{
    models::{Facts, ThinkingForm, facts},
    response::write_block,
};
use crate::{
    Block, BlockKind, Encoding, Format, Message, Refused, Request, Role, Text, Tool, ToolChoice,
    encode::{Verdict, Verdicts},
    read::{document, wire_object},
    write::{Array, Object, object},
};

wire_object! {
    struct WireThinking { kind: Text<'a> = "type", budget_tokens: u64 = "budget_tokens", }
}

/// Writes a request for a provider of Anthropic's dialect.
///
/// # Errors
/// [`Refused`], when it holds what such a provider cannot be asked.
pub fn encode_request(
    request: &Request<'_>,
    encoding: &Encoding<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refused> {
    check_results(request)?;
    let facts = facts(encoding.model);
    let mut verdicts = Verdicts::new(encoding.policy);
    let thinking = Thinking::of(request, &facts)?;
    object(out, |body| {
        body.str("model", encoding.model);
        write_conversation(body, request, &facts, &mut verdicts);
        body.number("max_tokens", thinking.max_tokens);
        write_sampling(body, request);
        write_tools(body, request, &mut verdicts);
        thinking.write(body, request, &mut verdicts);
        if let Some(user) = &request.user {
            body.object("metadata", |metadata| metadata.text("user_id", user));
        }
        if let Some(stream) = request.stream {
            body.bool("stream", stream);
        }
        write_params(body, request, &mut verdicts);
    });
    verdicts.finish()
}

// ===== the conversation =====

/// Every tool result must answer a call that stands before it: the provider's own answer to one that does not speaks of blocks the caller
/// never wrote.
fn check_results(request: &Request<'_>) -> Result<(), Refused> {
    let mut calls = HashSet::new();
    for (index, message) in request.messages.iter().enumerate() {
        for block in &message.content {
            match &block.kind {
                BlockKind::ToolCall(call) => {
                    calls.insert(call.id.decode());
                }
                BlockKind::ToolResult { id, .. } if !calls.contains(&id.decode()) => {
                    return Err(Refused::invalid(
                        format!(
                            "no earlier assistant message makes the call {:?} that this result answers",
                            id.decode()
                        ),
                        format!("messages[{index}].tool_call_id"),
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A turn as Anthropic wants it: consecutive messages of one side are one, with tool results first.
struct Turn<'r, 'a> {
    role: &'static str,
    blocks: Vec<(&'r Block<'a>, (usize, usize))>,
}

fn write_conversation(
    body: &mut Object<'_>,
    request: &Request<'_>,
    facts: &Facts,
    verdicts: &mut Verdicts<'_>,
) {
    let mut system = Vec::new();
    let mut turns: Vec<Turn<'_, '_>> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        check_members(message, index, verdicts);
        let blocks = message.content.iter().enumerate().map(|(part, block)| (block, (index, part)));
        let role = match message.role {
            // Where the model takes system messages at the head alone, later ones join it there: their rank matters more than their place.
            Role::System | Role::Developer if turns.is_empty() || !facts.system_anywhere => {
                system.extend(blocks);
                continue;
            }
            Role::System | Role::Developer => "system",
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, blocks: blocks.collect() }),
        }
    }
    if !system.is_empty() {
        body.array("system", |list| write_blocks(list, &system, false, verdicts));
    }
    body.array("messages", |list| {
        let last = turns.len().saturating_sub(1);
        for (index, turn) in turns.iter_mut().enumerate() {
            turn.blocks.sort_by_key(|(block, _)| !matches!(block.kind, BlockKind::ToolResult { .. }));
            let prefill = index == last && turn.role == "assistant";
            if turn.role != "assistant" || turn.blocks.iter().any(|(block, _)| is_sendable(block)) {
                list.object(|message| {
                    message.str("role", turn.role);
                    message.array("content", |list| write_blocks(list, &turn.blocks, prefill, verdicts));
                });
            }
        }
    });
}

/// Members of a message that only OpenAI knows. An assistant's are left: they came with an answer and go back with it.
fn check_members(message: &Message<'_>, index: usize, verdicts: &mut Verdicts<'_>) {
    if !matches!(message.role, Role::User | Role::System | Role::Developer) {
        if message.extra.iter().any(|(name, raw)| name == "function_call" && raw.get() != "null") {
            verdicts.impossible(format!("messages[{index}].function_call"));
        }
        return;
    }
    let names = message.extra.iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| &**name);
    for name in names.chain(message.name.is_some().then_some("name")) {
        verdicts.unsupported(&format!("messages[{index}].{name}"));
    }
}

/// Blocks that Anthropic takes: it refuses empty text, and reasoning without a signature.
fn is_sendable(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal(text) => !text.is_empty(),
        BlockKind::Thinking { signature, .. } => {
            signature.as_ref().is_some_and(|signature| !signature.is_empty())
        }
        _ => true,
    }
}

fn write_blocks(
    list: &mut Array<'_>,
    blocks: &[(&Block<'_>, (usize, usize))],
    prefill: bool,
    verdicts: &mut Verdicts<'_>,
) {
    // What is empty is left out, unless nothing would be left: then the provider's own refusal says so.
    let any = blocks.iter().any(|(block, _)| is_sendable(block));
    let last = blocks.len().saturating_sub(1);
    for (position, (block, (message, part))) in blocks.iter().enumerate() {
        if any && !is_sendable(block) {
            continue;
        }
        for (name, raw) in &block.extra {
            let ours = matches!(block.kind, BlockKind::ToolCall(_)) || raw.get() == "null";
            if !ours && !is_anthropic_member(name) {
                verdicts.unsupported(&format!("messages[{message}].content[{part}].{name}"));
            }
        }
        match &block.kind {
            // Anthropic refuses a last assistant turn that ends in white space.
            BlockKind::Text { text, .. } if prefill && position == last => {
                let trimmed: Text<'_> = text.decode().trim_end().to_owned().into();
                let block = Block { cache: block.cache, ..Block::text(trimmed) };
                list.object(|out| write_block(out, &block));
            }
            BlockKind::Native { dialect: Dialect::OpenAi, .. } => {
                verdicts.impossible(format!("messages[{message}].content[{part}]"));
            }
            BlockKind::Native { raw, .. } => list.json(raw.get()),
            _ => list.object(|out| write_block(out, block)),
        }
    }
}

/// Members of blocks that Anthropic knows and the model does not.
fn is_anthropic_member(name: &str) -> bool {
    matches!(name, "context" | "citations" | "caller")
}

// ===== parameters =====

fn write_sampling(body: &mut Object<'_>, request: &Request<'_>) {
    if let Some(raw) = request.temperature {
        // OpenAI's range ends at 2, Anthropic's at 1.
        let above = raw.get().parse::<f64>().is_ok_and(|temperature| temperature > 1.0);
        body.json("temperature", if above { "1" } else { raw.get() });
    }
    body.raw_if("top_p", request.top_p);
    body.raw_if("top_k", request.top_k);
    if !request.stop.is_empty() {
        body.array("stop_sequences", |list| request.stop.iter().for_each(|stop| list.text(stop)));
    }
}

fn write_tools(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    if request.tools.is_empty() {
        return;
    }
    body.array("tools", |list| {
        for (index, tool) in request.tools.iter().enumerate() {
            write_tool(list, tool, index, verdicts);
        }
    });
    let serial = request.parallel_tool_calls == Some(false);
    let choice = match &request.tool_choice {
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
        if serial {
            out.bool("disable_parallel_tool_use", true);
        }
    });
}

fn write_tool(list: &mut Array<'_>, tool: &Tool<'_>, index: usize, verdicts: &mut Verdicts<'_>) {
    match tool {
        Tool::Function { name, description, schema, strict, cache, extra } => {
            for (member, _) in extra.iter().filter(|(name, raw)| raw.get() != "null" && !is_tool_member(name))
            {
                verdicts.unsupported(&format!("tools[{index}].{member}"));
            }
            list.object(|out| {
                out.str("type", "custom");
                out.text("name", name);
                out.text_if("description", description.as_ref());
                out.json("input_schema", schema.map_or(NO_ARGUMENTS, RawValue::get));
                if *strict == Some(true) {
                    out.bool("strict", true);
                }
                out.raw_if("cache_control", *cache);
                for (name, raw) in extra.iter().filter(|(name, _)| is_tool_member(name)) {
                    out.json(name, raw.get());
                }
            });
        }
        Tool::WebSearch { dialect: Dialect::Anthropic, raw } => list.json(raw.get()),
        Tool::WebSearch { .. } => list.object(|out| {
            out.str("type", "web_search_20250305");
            out.str("name", "web_search");
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

/// The cap, the thinking that has to fit under it and the effort.
struct Thinking<'r, 'a> {
    max_tokens: u64,
    thinking: ThinkingOut<'r>,
    effort: Option<&'r Text<'a>>,
}

enum ThinkingOut<'r> {
    None,
    Raw(&'r RawValue),
    Budget(u64),
    Adaptive,
}

impl<'r, 'a> Thinking<'r, 'a> {
    fn of(request: &'r Request<'a>, facts: &Facts) -> Result<Self, Refused> {
        let cap = request.max_output_tokens;
        let mut out =
            Self { max_tokens: cap.unwrap_or(facts.max_output), thinking: ThinkingOut::None, effort: None };
        let Some(reasoning) = &request.reasoning else { return Ok(out) };
        if let Some(raw) = reasoning.thinking {
            out.thinking = ThinkingOut::Raw(raw);
            out.effort = reasoning.effort.as_ref();
            return Ok(out);
        }
        let Some(effort) = &reasoning.effort else { return Ok(out) };
        let budget = match &*effort.decode() {
            "none" => return Ok(out),
            "minimal" | "low" => 1_024,
            "medium" => 2_048,
            "high" => 4_096,
            "xhigh" => 8_192,
            "max" => 16_384,
            other => {
                return Err(Refused::invalid(
                    format!(
                        "`reasoning_effort` must be none, minimal, low, medium, high, xhigh or max, not {other:?}"
                    ),
                    "reasoning_effort",
                ));
            }
        };
        match facts.thinking {
            ThinkingForm::None => {}
            ThinkingForm::Adaptive => {
                out.thinking = ThinkingOut::Adaptive;
                out.effort = Some(effort);
            }
            ThinkingForm::Budget => {
                // The budget has to be below the cap, and at least 1024.
                let budget = cap.map_or(budget, |cap| budget.min(cap.saturating_sub(1)));
                if budget < 1_024 {
                    return Err(Refused::invalid(
                        "`reasoning_effort` needs `max_tokens` above 1024: thinking counts against it",
                        "max_tokens",
                    ));
                }
                out.max_tokens = cap.unwrap_or(budget + 4_096);
                out.thinking = ThinkingOut::Budget(budget);
            }
        }
        Ok(out)
    }

    fn write(&self, body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
        match &self.thinking {
            ThinkingOut::None => {}
            ThinkingOut::Raw(raw) => body.json("thinking", raw.get()),
            ThinkingOut::Budget(budget) => body.object("thinking", |thinking| {
                thinking.str("type", "enabled");
                thinking.number("budget_tokens", *budget);
            }),
            ThinkingOut::Adaptive => body.object("thinking", |thinking| {
                thinking.str("type", "adaptive");
                thinking.str("display", "summarized");
            }),
        }
        let (schema, native) = match &request.format {
            Some(Format::JsonSchema { schema, .. }) => (*schema, None),
            Some(Format::Native { dialect: Dialect::Anthropic, raw }) => (None, Some(*raw)),
            // Anthropic has no way to ask for just any JSON.
            Some(Format::JsonObject | Format::Native { .. }) => {
                verdicts.unsupported("response_format");
                (None, None)
            }
            Some(Format::Text) | None => (None, None),
        };
        let inner = |name: &str| name.strip_prefix("output_config.").map(str::to_owned);
        let rest: Vec<_> =
            request.params.iter().filter_map(|(name, raw)| Some((inner(name)?, raw))).collect();
        if self.effort.is_none() && schema.is_none() && native.is_none() && rest.is_empty() {
            return;
        }
        body.object("output_config", |config| {
            if let Some(effort) = self.effort {
                match *effort == *"minimal" {
                    true => config.str("effort", "low"),
                    false => config.text("effort", effort),
                }
            }
            if let Some(schema) = schema {
                config.object("format", |format| {
                    format.str("type", "json_schema");
                    format.json("schema", schema.get());
                });
            }
            config.raw_if("format", native);
            rest.iter().for_each(|(name, raw)| config.json(name, raw.get()));
        });
    }
}

fn write_params(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    for (name, raw) in &request.params {
        let json = raw.get();
        let supported = match &**name {
            // OpenAI's own, with a value that says what Anthropic does anyway.
            "frequency_penalty" | "presence_penalty" if json.parse() == Ok(0.0) => continue,
            "logprobs" | "store" if json == "false" => continue,
            "logit_bias" if json == "{}" => continue,
            "modalities" if json == r#"["text"]"# => continue,
            // Read by the layers in front, and nobody else's; told of above; or a stream's, which is made here.
            "metadata" | "stream_options" => continue,
            name if json == "null" || name.starts_with("output_config.") || name.starts_with("metadata.") => {
                continue;
            }
            name => !OPENAI_ONLY.contains(&name),
        };
        if supported || verdicts.unsupported(name) == Verdict::Pass {
            body.json(name, json);
        }
    }
    if request.n.is_some_and(|n| n > 1) && verdicts.unsupported("n") == Verdict::Pass {
        body.number_if("n", request.n);
    }
}

/// Parameters of OpenAI's that Anthropic has nothing for; from OpenAI's API reference. Others are handed on: the provider may know more than
/// this list.
const OPENAI_ONLY: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "seed",
    "service_tier",
    "store",
    "top_logprobs",
    "verbosity",
];

/// OpenAI's word for Anthropic's thinking setting: by budget, as LiteLLM's users know it.
pub(crate) fn thinking_effort(thinking: &RawValue) -> Option<&'static str> {
    let wire: WireThinking<'_> = document(thinking.get()).ok()?;
    match &*wire.kind?.decode() {
        "enabled" => Some(match wire.budget_tokens.unwrap_or(0) {
            4_096.. => "high",
            2_048.. => "medium",
            1_024.. => "low",
            _ => "minimal",
        }),
        _ => None,
    }
}
