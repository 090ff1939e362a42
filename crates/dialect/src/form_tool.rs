//! The form of an answer by way of a tool, for models that know no other.

use std::collections::BTreeMap;

use serde_json::{Value, value::RawValue};
use ziggurat_core::{Capabilities, Dialect, Feature};

use crate::{
    Arguments, Block, BlockKind, Delta, Encoding, Event, Finish, FinishReason, Format, Opening, Request,
    Response, Text, Tool, ToolChoice, gemini::plain_schema,
};

/// A tool that the model is made to call, and whose arguments are its answer: that is how a model is asked for JSON that knows no schemas.
///
/// Where the caller has tools of its own, the model may call one of them instead, and may not answer otherwise: what it says in between is no
/// JSON. Where it has none, what the model says beside the call is left out, as the caller reads all of the content as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormTool {
    name: String,
    /// Whether it is the only one that may be called.
    alone: bool,
}

/// Makes an answer's text of the calls of a [`FormTool`] in a stream.
#[derive(Debug)]
pub struct FormEvents {
    tool: FormTool,
    choices: BTreeMap<u64, Choice>,
}

/// One of the answers of a stream.
#[derive(Debug, Default)]
struct Choice {
    /// The block that holds the answer.
    open: Option<u64>,
    /// The block of a second answer, which is none.
    second: Option<u64>,
    /// Whether the answer has any bytes yet.
    begun: bool,
    /// Whether there was an answer.
    answered: bool,
    /// Whether another tool is called.
    calls: bool,
    /// A block of text and what it says, until it is known whether there is an answer.
    held: Option<(u64, String)>,
    /// Whether too much was said to be held.
    is_told: bool,
}

// ===== impl FormTool =====

impl FormTool {
    /// Asks by way of a tool for the form that the request wants, where the model cannot be asked otherwise. `None` where it can, where it takes
    /// no such tool either, and where the answer is a call in any case.
    pub fn ask(dialect: Dialect, request: &mut Request<'_>, encoding: &Encoding<'_>) -> Option<Self> {
        if !Self::is_wanted(dialect, request.format.as_ref()?, &encoding.capabilities) {
            return None;
        }
        let has_tools = request.tools.iter().any(|tool| matches!(tool, Tool::Function { .. }));
        let alone = match &request.tool_choice {
            Some(ToolChoice::Required | ToolChoice::Function(_)) => {
                // What is forced is a call, and has no form but its own.
                if has_tools {
                    request.format = None;
                }
                return None;
            }
            Some(ToolChoice::Native { .. }) => return None,
            Some(ToolChoice::None) => true,
            Some(ToolChoice::Auto) | None => !has_tools,
        };
        let (description, schema) = match request.format.as_ref()? {
            Format::JsonSchema { description, schema: Some(schema), .. } => {
                // Arguments are an object.
                if !is_object(request.dialect, schema) {
                    return None;
                }
                (description.clone().unwrap_or_else(|| BY_SCHEMA.into()), *schema)
            }
            _ => (ANY_OBJECT.into(), serde_json::from_str(OPEN).ok()?),
        };
        let name = free_name(request);
        request.tools.push(Tool::Function {
            name: name.clone().into(),
            description: Some(description),
            schema: Some(schema),
            strict: None,
            cache: None,
            extra: Vec::new(),
        });
        request.tool_choice = Some(match alone {
            true => ToolChoice::Function(name.clone().into()),
            false => ToolChoice::Required,
        });
        request.format = None;
        Some(Self { name, alone })
    }

    /// Whether a model can be asked for a form by way of a tool alone.
    #[must_use]
    pub fn is_wanted(dialect: Dialect, format: &Format<'_>, known: &Capabilities) -> bool {
        let lacks = |feature| known.takes(feature) == Some(false);
        let by_tool = match format {
            Format::JsonSchema { schema: Some(_), .. } => lacks(Feature::JsonSchema),
            // Neither Anthropic nor Bedrock has a word for it.
            Format::JsonObject | Format::JsonSchema { .. } => match dialect {
                Dialect::Anthropic | Dialect::Converse => known.takes(Feature::JsonObject) != Some(true),
                _ => lacks(Feature::JsonObject),
            },
            Format::Text | Format::Native { .. } => false,
        };
        let can_be_forced = match dialect {
            // Most models of Bedrock refuse to have one forced on them.
            Dialect::Converse => known.takes(Feature::ForcedTool) == Some(true),
            _ => !lacks(Feature::ForcedTool),
        };
        by_tool && !lacks(Feature::Tools) && can_be_forced
    }

    /// Makes text of the calls in a whole answer.
    pub fn unwrap_all(&self, response: &mut Response<'_>) {
        for choice in &mut response.choices {
            if !choice.content.iter().any(|block| self.is_call(block)) {
                continue;
            }
            let mut answered = false;
            choice.content.retain(|block| match &block.kind {
                BlockKind::ToolCall(_) if self.is_call(block) => !std::mem::replace(&mut answered, true),
                BlockKind::Text { .. } => !self.alone,
                _ => true,
            });
            for block in &mut choice.content {
                if self.is_call(block)
                    && let BlockKind::ToolCall(call) = &block.kind
                {
                    *block = Block::text(text_of(&call.arguments));
                }
            }
            let calls = choice.content.iter().any(|block| matches!(block.kind, BlockKind::ToolCall(_)));
            if let Some(finish) = choice.finish.take() {
                choice.finish = Some(if calls { finish } else { stopped(finish) });
            }
        }
    }

    fn is_call(&self, block: &Block<'_>) -> bool {
        matches!(&block.kind, BlockKind::ToolCall(call) if call.name == *self.name)
    }
}

/// The name of the tool, as LiteLLM's users know it, unless the caller has one of that name.
fn free_name(request: &Request<'_>) -> String {
    let is_taken = |wanted: &str| {
        request.tools.iter().any(|tool| matches!(tool, Tool::Function { name, .. } if *name == *wanted))
    };
    let mut name = "json_tool_call".to_owned();
    while is_taken(&name) {
        name.push('_');
    }
    name
}

fn is_object(dialect: Dialect, schema: &RawValue) -> bool {
    let schema = serde_json::from_str::<Value>(&plain_schema(dialect, schema)).unwrap_or_default();
    schema["type"] == "object"
}

fn text_of<'a>(arguments: &Arguments<'a>) -> Text<'a> {
    match arguments {
        Arguments::Json(raw) => raw.get().into(),
        Arguments::String(text) if text.is_empty() => NOTHING.into(),
        Arguments::String(text) => text.clone(),
    }
}

/// The end of an answer whose only call was the answer.
fn stopped(finish: Finish<'_>) -> Finish<'_> {
    if finish.reason != FinishReason::ToolCalls {
        return finish;
    }
    let native = match finish.dialect {
        Dialect::Anthropic | Dialect::Converse => "end_turn",
        _ => "stop",
    };
    Finish { reason: FinishReason::Stop, native: native.into(), ..finish }
}

// ===== impl FormEvents =====

impl FormEvents {
    /// At the start of a stream.
    #[must_use]
    pub const fn new(tool: FormTool) -> Self {
        Self { tool, choices: BTreeMap::new() }
    }

    /// Gives an event on, in the answer's words.
    pub fn event<'a>(&mut self, event: Event<'a>, sink: &mut impl FnMut(Event<'a>)) {
        match &event {
            Event::Open { choice, .. }
            | Event::Delta { choice, .. }
            | Event::Close { choice, .. }
            | Event::Finish { choice, .. } => {
                self.choices.entry(*choice).or_default().event(&self.tool, event, sink);
            }
            _ => sink(event),
        }
    }
}

// ===== impl Choice =====

impl Choice {
    fn event<'a>(&mut self, tool: &FormTool, event: Event<'a>, sink: &mut impl FnMut(Event<'a>)) {
        match event {
            Event::Open { choice, block, opening: Opening::ToolCall { name, .. } } if name == *tool.name => {
                if std::mem::replace(&mut self.answered, true) {
                    self.second = Some(block);
                    return;
                }
                (self.open, self.held) = (Some(block), None);
                sink(Event::Open { choice, block, opening: Opening::Text });
            }
            Event::Open { block, opening: Opening::Text, .. } if tool.alone && !self.is_told => {
                let said = self.held.take().map(|(_, said)| said).unwrap_or_default();
                self.held = Some((block, said));
            }
            Event::Delta { choice, block, delta: Delta::Arguments(piece) } if self.open == Some(block) => {
                self.begun |= !piece.is_empty();
                sink(Event::Delta { choice, block, delta: Delta::Text(piece) });
            }
            Event::Delta { block, .. } | Event::Close { block, .. } if self.second == Some(block) => {}
            Event::Delta { choice, block, delta: Delta::Text(piece) } if self.is_held(block) => {
                let Some((_, said)) = &mut self.held else { return };
                if !self.answered {
                    said.push_str(&piece.decode());
                }
                if said.len() > MOST_HELD {
                    // This is an answer of another kind, and nobody can wait for its end.
                    let said = std::mem::take(said);
                    (self.held, self.is_told) = (None, true);
                    sink(Event::Open { choice, block, opening: Opening::Text });
                    sink(Event::Delta { choice, block, delta: Delta::Text(said.into()) });
                }
            }
            Event::Delta { block, .. } if self.is_held(block) => {}
            Event::Close { block, .. } if self.is_held(block) => {}
            Event::Close { choice, block } if self.open == Some(block) => {
                self.open = None;
                if !self.begun {
                    sink(Event::Delta { choice, block, delta: Delta::Text(NOTHING.into()) });
                }
                sink(Event::Close { choice, block });
            }
            Event::Finish { choice, finish } => {
                if let Some((block, said)) =
                    self.held.take().filter(|(_, said)| !self.answered && !said.is_empty())
                {
                    // It did not do as it was told, as where it refuses: the caller is told what it said.
                    sink(Event::Open { choice, block, opening: Opening::Text });
                    sink(Event::Delta { choice, block, delta: Delta::Text(said.into()) });
                    sink(Event::Close { choice, block });
                }
                let is_answer = self.answered && !self.calls;
                sink(Event::Finish { choice, finish: if is_answer { stopped(finish) } else { finish } });
            }
            event => {
                self.calls |= matches!(&event, Event::Open { opening: Opening::ToolCall { .. }, .. });
                sink(event);
            }
        }
    }

    /// Whether a block is text that waits for an answer, or that one has made superfluous.
    fn is_held(&self, block: u64) -> bool {
        self.held.as_ref().is_some_and(|(held, _)| *held == block)
    }
}

/// Most bytes of text that wait for an answer.
const MOST_HELD: usize = 1 << 20;
/// What a call without arguments says.
const NOTHING: &str = "{}";
/// Any object.
const OPEN: &str = r#"{"type":"object","additionalProperties":true}"#;
const BY_SCHEMA: &str = "Gives the whole answer. Its arguments are the answer.";
const ANY_OBJECT: &str = "Gives the whole answer. Its arguments are the answer: one JSON object with all the members that were asked for.";
