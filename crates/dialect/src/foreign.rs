//! What callers say that a dialect which only providers speak has no word for.

use std::borrow::Cow;

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use crate::{
    Arguments, Block, BlockKind, Message, Reasoning, Request, Role, Source, Text, Tool,
    anthropic::thinking_effort,
    encode::{Place, Verdict, Verdicts},
    gemini::{Standing, standing},
    openai::OPENAI_ONLY,
    read::{Count, Extra, document, stated, wire_object},
    write::Object,
};

wire_object! {
    struct WireThinking {
        kind: Text<'a> = "type",
        budget_tokens: Count = "budget_tokens",
        token_budget: Count = "token_budget",
    }
}

/// The parameters that neither the model nor `written`, the names that the encoder writes itself, know, as far as they are handed on: those
/// of the provider's `own`, and of an OpenAI caller's those that are not OpenAI's, as a provider may know more than a list. What else is
/// said goes by the policy, unless it says what happens anyway.
pub(crate) fn params<'a>(
    request: &Request<'a>,
    own: &[&str],
    written: &[&str],
    verdicts: &mut Verdicts<'_>,
) -> Extra<'a> {
    let from_openai = request.dialect == Dialect::OpenAi;
    let mut passed = Extra::new();
    for (name, raw) in &request.params {
        let json = raw.get();
        let supported = match &**name {
            // Read by the layers in front, and nobody else's; or a stream's, which is made here.
            "metadata" | "stream_options" if from_openai => continue,
            _ if json == "null" => continue,
            name if standing(request.dialect, name) == Standing::Restated => continue,
            name if written.contains(&name) => false,
            name if own.contains(&name) => true,
            "frequency_penalty" | "presence_penalty" if json.parse() == Ok(0.0) => continue,
            "logprobs" | "store" if json == "false" => continue,
            "logit_bias" if json == "{}" => continue,
            "modalities" if json == r#"["text"]"# => continue,
            name => from_openai && !OPENAI_ONLY.contains(&name),
        };
        if supported || (verdicts.unsupported(name) == Verdict::Pass && !written.contains(&&**name)) {
            passed.push((name.clone(), *raw));
        }
    }
    passed
}

/// Writes, where the policy passes them on, parameters that these providers have no place for: several answers, the end user, calls one at a
/// time, a search of the web. Names what is said of tools that has none.
pub(crate) fn write_unsupported(body: &mut Object<'_>, request: &Request<'_>, verdicts: &mut Verdicts<'_>) {
    if request.n.is_some_and(|n| n > 1) && verdicts.unsupported("n") == Verdict::Pass {
        body.number_if("n", request.n);
    }
    if let Some(user) = &request.user
        && verdicts.unheard("user") == Verdict::Pass
    {
        body.text("user", user);
    }
    let serial = request.parallel_tool_calls == Some(false) && !request.tools.is_empty();
    if serial && verdicts.unsupported("parallel_tool_calls") == Verdict::Pass {
        body.bool("parallel_tool_calls", false);
    }
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function { extra, .. } => verdicts.tool_members(index, extra, |_| false),
            Tool::WebSearch { dialect: Dialect::OpenAi, raw } => {
                if verdicts.unsupported("web_search_options") == Verdict::Pass {
                    body.json("web_search_options", raw.get());
                }
            }
            Tool::WebSearch { .. } => {
                verdicts.unsupported(&format!("tools[{index}]"));
            }
            Tool::Native { kind, .. } => verdicts.impossible(format!("tools[{index}] ({})", kind.decode())),
        }
    }
}

/// How much the caller wants thought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Thought {
    /// Not at all.
    Off,
    /// As the model likes, within a budget of tokens where one was named.
    On(Option<u64>),
    /// As much as the word says: `minimal`, `low`, `medium`, `high`, `xhigh`, `max`.
    Effort(&'static str),
}

impl Thought {
    /// What the caller said, with the name under which it was said; `None` when nothing was.
    pub(crate) fn of(
        reasoning: Option<&Reasoning<'_>>,
        verdicts: &mut Verdicts<'_>,
    ) -> Option<(Self, &'static str)> {
        let reasoning = reasoning?;
        if let Some(raw) = reasoning.thinking {
            let wire: WireThinking<'_> = document(raw.get()).unwrap_or_default();
            let budget = stated(wire.budget_tokens).or(stated(wire.token_budget));
            let off = wire.kind.is_some_and(|kind| kind == *"disabled");
            return Some((if off { Self::Off } else { Self::On(budget) }, "thinking"));
        }
        let effort = reasoning.effort.as_ref()?.decode();
        let known =
            ["minimal", "low", "medium", "high", "xhigh", "max"].into_iter().find(|known| *known == effort);
        match known {
            Some(word) => Some((Self::Effort(word), EFFORT)),
            None if effort == "none" => Some((Self::Off, EFFORT)),
            None => {
                let takes = "none, minimal, low, medium, high, xhigh or max";
                verdicts.invalid(format!("`reasoning_effort` must be {takes}, not {effort:?}"), EFFORT);
                None
            }
        }
    }

    /// OpenAI's word for it.
    pub(crate) fn effort(&self, reasoning: Option<&Reasoning<'_>>) -> &'static str {
        match self {
            Self::Off => "none",
            Self::Effort(word) => word,
            Self::On(_) => reasoning.and_then(|r| r.thinking).and_then(thinking_effort).unwrap_or("medium"),
        }
    }
}

const EFFORT: &str = "reasoning_effort";

/// Names what the caller says of a message or a block and the provider has no place for. An assistant's members are left: they came with an
/// answer and go back with it. Cache hints are left too: these providers cache by themselves.
pub(crate) fn check_members(message: &Message<'_>, place: Place, verdicts: &mut Verdicts<'_>) {
    if message.role == Role::Assistant {
        if message.extra.iter().any(|(name, raw)| name == "function_call" && raw.get() != "null") {
            verdicts.impossible(place.member("function_call"));
        }
        return;
    }
    let names = message.extra.iter().filter(|(_, raw)| raw.get() != "null").map(|(name, _)| &**name);
    for name in names.chain(message.name.is_some().then_some("name")) {
        verdicts.unsupported(&place.member(name));
    }
    for (part, block) in message.content.iter().enumerate() {
        for (name, _) in block.extra.iter().filter(|(_, raw)| raw.get() != "null") {
            verdicts.unsupported(&format!("{}.{name}", place.part(part)));
        }
    }
}

/// Where a block's source stands in the caller's words; `at` is the block.
pub(crate) fn source_place(dialect: Dialect, block: &Block<'_>, at: &str) -> String {
    match (dialect, &block.kind) {
        (Dialect::OpenAi, BlockKind::Image { .. }) => format!("{at}.image_url.url"),
        (Dialect::OpenAi, BlockKind::File { source: Source::File(_), .. }) => format!("{at}.file.file_id"),
        (Dialect::OpenAi, BlockKind::File { .. }) => format!("{at}.file.file_data"),
        (Dialect::Anthropic, BlockKind::Image { .. } | BlockKind::File { .. }) => format!("{at}.source"),
        _ => at.to_owned(),
    }
}

/// The reasoning that an assistant's message holds, as blocks or as the member in which OpenAI's callers hand it back.
pub(crate) fn thoughts<'a>(message: &Message<'a>) -> Vec<Text<'a>> {
    let of_block = |block: &Block<'a>| match &block.kind {
        BlockKind::Thinking { text, .. } if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let blocks: Vec<_> = message.content.iter().filter_map(of_block).collect();
    if !blocks.is_empty() {
        return blocks;
    }
    let member = message.extra.iter().find(|(name, _)| name == "reasoning_content" || name == "reasoning");
    let text = member.and_then(|(_, raw)| Text::from_json(raw.get()));
    text.filter(|text| !text.is_empty()).into_iter().collect()
}

/// Arguments as the JSON object that they should be, where they are one; `{}` where there are none.
pub(crate) fn arguments_object<'t>(arguments: &'t Arguments<'_>) -> Result<Cow<'t, str>, Cow<'t, str>> {
    let text = match arguments {
        Arguments::Json(raw) => Cow::Borrowed(raw.get()),
        Arguments::String(text) => text.decode(),
    };
    let trimmed = text.trim();
    match serde_json::from_str::<&RawValue>(trimmed) {
        Ok(raw) if raw.get().starts_with('{') => Ok(text),
        _ if trimmed.is_empty() || trimmed == "null" => Ok(Cow::Borrowed("{}")),
        _ => Err(text),
    }
}
