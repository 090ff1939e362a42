//! How much a model is to think, and in which form it answers.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};
use ziggurat_core::Dialect;

use super::super::super::models::{Facts, ThinkingForm};
use crate::{
    BlockKind, Format, Message, Refused, Request, Role, Text, ToolChoice,
    encode::{Verdict, Verdicts},
    gemini::plain_schema,
    read::{Count, document, stated, wire_object},
    write::Object,
};

wire_object! {
    struct WireThinking { kind: Text<'a> = "type", budget_tokens: Count = "budget_tokens", }
}

/// The cap, the thinking that has to fit under it and the effort.
pub(crate) struct Thinking<'r, 'a> {
    pub(super) max_tokens: Option<u64>,
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
    /// With a budget they take no last turn that calls a tool and does not start with its thoughts (the same guide, preserving thinking
    /// blocks), which clients of OpenAI's do not give back: they finish such a turn without thinking.
    ///
    /// Anthropic's models do not think where a tool is forced (its guide to extended thinking, tool choice): it is the thinking that loses,
    /// as the caller may rely on the call.
    pub(crate) fn of(
        request: &'r Request<'a>,
        facts: &Facts,
        verdicts: &mut Verdicts<'_>,
    ) -> Result<Self, Refused> {
        let mut thinking = Self::asked(request, facts)?;
        if request.dialect != Dialect::Anthropic && thinking.is_budgeted() && calls_without_thought(request) {
            thinking = Self::without(request, facts);
        }
        let is_forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
        if request.dialect == Dialect::Anthropic || !is_forced || !thinking.is_sent() {
            return Ok(thinking);
        }
        let name =
            if matches!(thinking.thinking, ThinkingOut::Raw(_)) { "thinking" } else { "reasoning_effort" };
        Ok(match verdicts.unsupported(name) {
            Verdict::Pass => thinking,
            Verdict::Leave => Self::without(request, facts),
        })
    }

    /// Whether the model is told to think.
    pub(crate) fn is_sent(&self) -> bool {
        match &self.thinking {
            ThinkingOut::None => false,
            ThinkingOut::Raw(raw) => {
                let wire: WireThinking<'_> = document(raw.get()).unwrap_or_default();
                wire.kind.is_none_or(|kind| kind != *"disabled")
            }
            ThinkingOut::Budget(_) | ThinkingOut::Adaptive => true,
        }
    }

    /// Whether the model is to think within a budget, rather than as it likes.
    fn is_budgeted(&self) -> bool {
        match &self.thinking {
            ThinkingOut::None | ThinkingOut::Adaptive => false,
            ThinkingOut::Budget(_) => true,
            ThinkingOut::Raw(raw) => {
                let wire: WireThinking<'_> = document(raw.get()).unwrap_or_default();
                wire.kind.is_some_and(|kind| kind == *"enabled")
            }
        }
    }

    fn without(request: &Request<'_>, facts: &Facts) -> Self {
        let cap = request.max_output_tokens;
        let max_tokens =
            if request.dialect == Dialect::Anthropic { cap } else { cap.or(Some(facts.max_output)) };
        Self { max_tokens, thinking: ThinkingOut::None, effort: None }
    }

    fn asked(request: &'r Request<'a>, facts: &Facts) -> Result<Self, Refused> {
        let cap = request.max_output_tokens;
        let own = request.dialect == Dialect::Anthropic;
        let mut out = Self::without(request, facts);
        let Some(reasoning) = &request.reasoning else { return Ok(out) };
        if own || reasoning.thinking.is_some() {
            out.thinking = reasoning.thinking.map_or(ThinkingOut::None, ThinkingOut::Raw);
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
                out.max_tokens = Some(cap.unwrap_or(budget + 4_096));
                out.thinking = ThinkingOut::Budget(budget);
            }
        }
        Ok(out)
    }

    /// The cap that a budget brings along, for a target that asks for none else.
    pub(crate) fn budget_cap(&self) -> Option<u64> {
        self.max_tokens.filter(|_| matches!(self.thinking, ThinkingOut::Budget(_)))
    }

    /// How hard the model is to try, in Anthropic's words.
    pub(crate) fn effort(&self, own: bool) -> Option<Text<'a>> {
        let effort = self.effort?;
        Some(if !own && *effort == *"minimal" { "low".into() } else { effort.clone() })
    }

    /// Writes `thinking`.
    pub(crate) fn write_thinking(&self, body: &mut Object<'_>) {
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
    }

    /// Writes `thinking` and `output_config`; whether the latter is there.
    pub(super) fn write(
        &self,
        body: &mut Object<'_>,
        request: &Request<'_>,
        verdicts: &mut Verdicts<'_>,
    ) -> bool {
        self.write_thinking(body);
        let (schema, native) = match &request.format {
            Some(Format::JsonSchema { schema: Some(schema), .. }) => (Some(*schema), None),
            Some(Format::Native { dialect: Dialect::Anthropic, raw }) => (None, Some(*raw)),
            // Anthropic has no way to ask for just any JSON, which a schema that is not there asks for too.
            Some(Format::JsonObject | Format::JsonSchema { schema: None, .. } | Format::Native { .. }) => {
                verdicts.unsupported("response_format");
                (None, None)
            }
            Some(Format::Text) | None => (None, None),
        };
        let own = request.dialect == Dialect::Anthropic;
        let inner = |name: &str| name.strip_prefix("output_config.").filter(|_| own).map(str::to_owned);
        let rest: Vec<_> =
            request.params.iter().filter_map(|(name, raw)| Some((inner(name)?, raw))).collect();
        if self.effort.is_none() && schema.is_none() && native.is_none() && rest.is_empty() {
            return false;
        }
        body.object("output_config", |config| {
            config.text_if("effort", self.effort(own).as_ref());
            if let Some(schema) = schema {
                config.object("format", |format| {
                    format.str("type", "json_schema");
                    format.json("schema", &closed(&plain_schema(request.dialect, schema)));
                });
            }
            config.raw_if("format", native);
            rest.iter().for_each(|(name, raw)| config.json(name, raw.get()));
        });
        true
    }
}

/// A schema in which no object is open: Anthropic takes no other for its answers. What says itself whether it is stays, and what is put
/// together of parts too: closed, they would shut each other out.
pub(crate) fn closed(schema: &str) -> Cow<'_, str> {
    let whole = !schema.contains(r#""allOf""#);
    let Some(mut value) = whole.then(|| serde_json::from_str(schema).ok()).flatten() else {
        return Cow::Borrowed(schema);
    };
    if close(&mut value) { Cow::Owned(Value::to_string(&value)) } else { Cow::Borrowed(schema) }
}

/// Whether there was something to close.
fn close(schema: &mut Value) -> bool {
    let Value::Object(members) = schema else { return false };
    let has_properties = members.contains_key("properties");
    let is_object = has_properties
        || match members.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
            kind => kind.is_some_and(|kind| kind == "object"),
        };
    let is_open = is_object
        && !["additionalProperties", "anyOf", "oneOf"].iter().any(|name| members.contains_key(*name));
    let mut changed = is_open;
    for (name, value) in members.iter_mut() {
        match (&**name, value) {
            ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                schemas.values_mut().for_each(|schema| changed |= close(schema));
            }
            ("items", schema) => changed |= close(schema),
            ("anyOf" | "oneOf", Value::Array(schemas)) if !has_properties => {
                schemas.iter_mut().for_each(|schema| changed |= close(schema));
            }
            _ => {}
        }
    }
    if is_open {
        members.insert("additionalProperties".into(), false.into());
    }
    changed
}

/// Whether the model's last turn ends in a call, and what it thought in it is not there, or not signed. A turn goes on behind the answers of
/// its tools, and need not think again.
fn calls_without_thought(request: &Request<'_>) -> bool {
    let is_own = |message: &&Message<'_>| message.role == Role::Assistant;
    let has = |message: &Message<'_>, what: fn(&BlockKind<'_>) -> bool| {
        message.content.iter().any(|block| what(&block.kind))
    };
    let is_call = |kind: &BlockKind<'_>| matches!(kind, BlockKind::ToolCall(_));
    let is_result = |kind: &BlockKind<'_>| matches!(kind, BlockKind::ToolResult { .. });
    let is_thought = |kind: &BlockKind<'_>| match kind {
        BlockKind::Thinking { signature, .. } => signature.as_ref().is_some_and(|text| !text.is_empty()),
        kind => matches!(kind, BlockKind::RedactedThinking { .. }),
    };
    let behind = || request.messages.iter().rev().skip_while(|message| !is_own(message));
    let mut turn = behind().take_while(|message| is_own(message) || has(message, is_result));
    behind().take_while(is_own).any(|message| has(message, is_call))
        && !turn.any(|message| is_own(&message) && has(message, is_thought))
}

/// OpenAI's word for Anthropic's thinking setting: by budget, as LiteLLM's users know it.
pub(crate) fn thinking_effort(thinking: &RawValue) -> Option<&'static str> {
    let wire: WireThinking<'_> = document(thinking.get()).ok()?;
    match &*wire.kind?.decode() {
        "enabled" => Some(match stated(wire.budget_tokens).unwrap_or(0) {
            4_096.. => "high",
            2_048.. => "medium",
            1_024.. => "low",
            _ => "minimal",
        }),
        _ => None,
    }
}
