//! How much a model is to think, and in which form it answers.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};
use ziggurat_core::{Dialect, Effort, ThinkingForm};

use super::super::super::models::Facts;
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
    effort: Option<Text<'a>>,
    /// The caller's name for what decides on the thinking.
    said: &'static str,
    takes_schema: bool,
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
        let mut thinking = Self::asked(request, facts, verdicts)?;
        if request.dialect != Dialect::Anthropic && thinking.is_budgeted() && calls_without_thought(request) {
            thinking = thinking.at_rest(request, facts);
        }
        let is_forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
        if request.dialect == Dialect::Anthropic || !is_forced || !thinking.is_sent() {
            return Ok(thinking);
        }
        Ok(match verdicts.unsupported(thinking.said) {
            Verdict::Pass => thinking,
            Verdict::Leave => thinking.at_rest(request, facts),
        })
    }

    /// Whether the model is told to think.
    pub(crate) fn is_sent(&self) -> bool {
        match &self.thinking {
            ThinkingOut::None => false,
            ThinkingOut::Raw(raw) => !is_kind(raw, "disabled"),
            ThinkingOut::Budget(_) | ThinkingOut::Adaptive => true,
        }
    }

    /// Whether the model is to think within a budget, rather than as it likes.
    fn is_budgeted(&self) -> bool {
        match &self.thinking {
            ThinkingOut::None | ThinkingOut::Adaptive => false,
            ThinkingOut::Budget(_) => true,
            ThinkingOut::Raw(raw) => is_kind(raw, "enabled"),
        }
    }

    fn without(request: &Request<'_>, facts: &Facts) -> Self {
        let cap = request.max_output_tokens;
        let max_tokens =
            if request.dialect == Dialect::Anthropic { cap } else { cap.or(Some(facts.max_output)) };
        let has_own = request.reasoning.as_ref().is_some_and(|reasoning| reasoning.thinking.is_some());
        Self {
            max_tokens,
            thinking: ThinkingOut::None,
            effort: None,
            said: if has_own { "thinking" } else { "reasoning_effort" },
            takes_schema: facts.takes_schema,
        }
    }

    /// The same without thinking. An effort that stood beside a setting of Anthropic's own was said for itself, and stays.
    fn at_rest(self, request: &Request<'_>, facts: &Facts) -> Self {
        let is_said = request.reasoning.as_ref().is_some_and(|reasoning| reasoning.effort.is_some());
        let effort = self.effort.filter(|_| is_said && self.said == "thinking");
        Self { effort, ..Self::without(request, facts) }
    }

    fn asked(request: &'r Request<'a>, facts: &Facts, verdicts: &mut Verdicts<'_>) -> Result<Self, Refused> {
        let mut out = Self::without(request, facts);
        let Some(reasoning) = &request.reasoning else { return Ok(out) };
        if request.dialect == Dialect::Anthropic {
            out.thinking = reasoning.thinking.map_or(ThinkingOut::None, ThinkingOut::Raw);
            out.effort.clone_from(&reasoning.effort);
            return Ok(out);
        }
        let effort = reasoning.effort.as_ref().map(known_effort).transpose()?;
        let form = facts.thinking.form;
        let wanted = match reasoning.thinking {
            None => effort,
            Some(raw) if is_kind(raw, "disabled") => {
                out.thinking = ThinkingOut::Raw(raw);
                None
            }
            Some(raw) if form == ThinkingForm::None => {
                if verdicts.unsupported("thinking") == Verdict::Pass {
                    out.thinking = ThinkingOut::Raw(raw);
                }
                effort
            }
            // In the form that the model takes.
            Some(raw) if is_kind(raw, "enabled") && !facts.takes_budget => {
                effort.or_else(|| Effort::of_name(thinking_effort(raw)?))
            }
            Some(raw) if is_kind(raw, "adaptive") && form == ThinkingForm::Budget => {
                Some(effort.unwrap_or(Effort::Medium))
            }
            Some(raw) => {
                out.thinking = ThinkingOut::Raw(raw);
                let takes_both = form != ThinkingForm::Budget;
                out.effort = effort.filter(|_| takes_both).map(|effort| word(facts, effort));
                return Ok(out);
            }
        };
        let Some(effort) = wanted.filter(|effort| *effort != Effort::None) else { return Ok(out) };
        match form {
            ThinkingForm::None => {
                if verdicts.unsupported("reasoning_effort") == Verdict::Pass {
                    out.effort = Some(effort.name().into());
                }
            }
            ThinkingForm::Budget => out.limit(effort, request.max_output_tokens, facts)?,
            _ => {
                out.thinking = ThinkingOut::Adaptive;
                out.effort = Some(word(facts, effort));
            }
        }
        Ok(out)
    }

    /// Sets the budget for an effort: below the cap, with room for an answer, and not below what the model takes.
    fn limit(&mut self, effort: Effort, cap: Option<u64>, facts: &Facts) -> Result<(), Refused> {
        let (least, _) = facts.thinking.budget;
        let budget = facts.thinking.budget_of(effort);
        let budget = cap.map_or(budget, |cap| budget.min(cap.saturating_sub(LEAST_ANSWER)));
        if budget < least {
            return Err(Refused::invalid(
                format!(
                    "`reasoning_effort` needs `max_tokens` of at least {}: thinking counts against it",
                    least + LEAST_ANSWER
                ),
                "max_tokens",
            ));
        }
        self.max_tokens = Some(cap.unwrap_or(budget + 4_096));
        self.thinking = ThinkingOut::Budget(budget);
        Ok(())
    }

    /// The cap that a budget brings along, for a target that asks for none else.
    pub(crate) fn budget_cap(&self) -> Option<u64> {
        self.max_tokens.filter(|_| matches!(self.thinking, ThinkingOut::Budget(_)))
    }

    /// How hard the model is to try, in Anthropic's words.
    pub(crate) const fn effort(&self) -> Option<&Text<'a>> {
        self.effort.as_ref()
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
        let own = request.dialect == Dialect::Anthropic;
        let (schema, native) = match &request.format {
            Some(Format::JsonSchema { schema: Some(schema), .. }) if own || self.takes_schema => {
                (Some(*schema), None)
            }
            Some(Format::Native { dialect: Dialect::Anthropic, raw }) => (None, Some(*raw)),
            // Anthropic has no way to ask for just any JSON, which a schema that is not there asks for too.
            Some(Format::JsonObject | Format::JsonSchema { .. } | Format::Native { .. }) => {
                verdicts.unsupported("response_format");
                (None, None)
            }
            Some(Format::Text) | None => (None, None),
        };
        let inner = |name: &str| name.strip_prefix("output_config.").filter(|_| own).map(str::to_owned);
        let rest: Vec<_> =
            request.params.iter().filter_map(|(name, raw)| Some((inner(name)?, raw))).collect();
        if self.effort.is_none() && schema.is_none() && native.is_none() && rest.is_empty() {
            return false;
        }
        body.object("output_config", |config| {
            config.text_if("effort", self.effort());
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

/// The most that thinking leaves of a cap: an answer wants some tokens too.
const LEAST_ANSWER: u64 = 256;

/// What a caller's word for an effort says.
fn known_effort(effort: &Text<'_>) -> Result<Effort, Refused> {
    let effort = effort.decode();
    Effort::of_name(&effort).ok_or_else(|| {
        let takes = "none, minimal, low, medium, high, xhigh or max";
        Refused::invalid(format!("`reasoning_effort` must be {takes}, not {effort:?}"), "reasoning_effort")
    })
}

/// Anthropic's word for an effort, which has none for as little as can be.
fn word(facts: &Facts, effort: Effort) -> Text<'static> {
    facts.thinking.nearest(effort.max(Effort::Low)).name().into()
}

/// Whether a setting of Anthropic's is of this type.
fn is_kind(thinking: &RawValue, kind: &str) -> bool {
    let wire: WireThinking<'_> = document(thinking.get()).unwrap_or_default();
    wire.kind.is_some_and(|own| own == *kind)
}

/// Whether Anthropic would refuse the request for the thinking that its own caller asks for.
pub(crate) fn cannot_think_on(request: &Request<'_>) -> bool {
    let thinking = request.reasoning.as_ref().and_then(|reasoning| reasoning.thinking);
    thinking.is_some_and(|raw| is_kind(raw, "enabled")) && calls_without_thought(request)
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
