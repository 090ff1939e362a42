//! What Mistral's Chat Completions takes: it answers 422 to members that it does not know, and 400 to ids of another form.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use ziggurat_core::Dialect;

use super::request::THOUGHT_PART;
use crate::{
    Block, BlockKind, Encoding, Message, Reasoning, Refused, Request, Role, Source, Text, Tool, ToolChoice,
    encode::{Place, Verdict, Verdicts},
    foreign::Thought,
    model::CALL,
};

/// Turns a request into one that Mistral takes, ahead of [`encode_request`](super::encode_request).
///
/// # Errors
/// [`Refused`], when it holds what Mistral cannot be asked.
pub fn to_mistral(request: &mut Request<'_>, encoding: &Encoding<'_>) -> Result<(), Refused> {
    let mut verdicts = Verdicts::new(encoding.policy);
    reshape_params(request, &mut verdicts);
    let thinks = can_think(encoding.model);
    reshape_reasoning(request, encoding.model, &mut verdicts);
    reshape_tools(request, &mut verdicts);
    let from_openai = request.dialect == Dialect::OpenAi;
    for index in 0..request.messages.len() {
        let place = Place::of(request, index);
        reshape_thoughts(&mut request.messages[index], thinks);
        reshape_message(&mut request.messages[index], place, from_openai, &mut verdicts);
    }
    if let Some(last) = request.messages.last_mut().filter(|last| from_openai && last.role == Role::Assistant)
    {
        // Mistral wants to be told that its answer begins with this.
        let known = last.extra.iter().any(|(name, _)| name == PREFIX);
        if !known && !last.content.iter().any(|block| matches!(block.kind, BlockKind::ToolCall(_))) {
            last.extra.push((PREFIX.into(), RawValue::TRUE));
        }
    }
    verdicts.finish()
}

const PREFIX: &str = "prefix";

fn reshape_params(request: &mut Request<'_>, verdicts: &mut Verdicts<'_>) {
    // Usage always stands in the last chunk.
    request.include_usage = None;
    if request.user.is_some() && verdicts.unheard("user") == Verdict::Leave {
        request.user = None;
    }
    request.params.retain(|(name, raw)| match &**name {
        // The second is read by the layers in front, and nobody else's.
        "stream_options" | "metadata" => false,
        _ if raw.get() == "null" => false,
        "logprobs" | "store" if raw.get() == "false" => false,
        "logit_bias" if raw.get() == "{}" => false,
        "modalities" if raw.get() == r#"["text"]"# => false,
        name if OPENAI_ONLY.contains(&name) => verdicts.unsupported(name) == Verdict::Pass,
        _ => true,
    });
    for (name, _) in request.params.iter_mut().filter(|(name, _)| name == "seed") {
        *name = "random_seed".into();
    }
}

/// Parameters of OpenAI's that Mistral has nothing for; from both API references.
const OPENAI_ONLY: &[&str] = &[
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "top_logprobs",
    "verbosity",
];

/// Says how much to think to the models that can be told, in the words that they know.
fn reshape_reasoning(request: &mut Request<'_>, model: &str, verdicts: &mut Verdicts<'_>) {
    let Some(reasoning) = request.reasoning.take() else { return };
    let Some((thought, name)) = Thought::of(Some(&reasoning), verdicts) else { return };
    let (on_or_off, levels) = (is_of(model, &ON_OR_OFF), is_of(model, &LEVELS));
    if !(on_or_off || levels) {
        // A model that does not think need not be told so.
        let is_moot = thought == Thought::Off && !is_of(model, &ALWAYS);
        if !is_moot && verdicts.unsupported(name) == Verdict::Pass {
            request.reasoning = Some(reasoning);
        }
        return;
    }
    let effort = match thought.effort(Some(&reasoning)) {
        "none" => "none",
        _ if on_or_off => "high",
        effort => effort,
    };
    request.reasoning = Some(Reasoning { effort: Some(effort.into()), thinking: None });
}

/// Families that think, from Mistral's guide to reasoning: those that can be told all or nothing, how much, and nothing.
const ON_OR_OFF: [&str; 2] = ["mistral-small", "mistral-medium"];
const LEVELS: [&str; 1] = ["mistral-large-4"];
const ALWAYS: [&str; 1] = ["magistral"];

fn is_of(model: &str, families: &[&str]) -> bool {
    let model = model.rsplit('/').next().unwrap_or(model);
    families.iter().any(|family| model.starts_with(family))
}

fn can_think(model: &str) -> bool {
    is_of(model, &ON_OR_OFF) || is_of(model, &LEVELS) || is_of(model, &ALWAYS)
}

/// Makes a part of the content of what an assistant thought, as Mistral wants it back (its guide to reasoning): what stands beside the content,
/// under either name. A signed thought is another maker's and has no place here, nor has any where the model does not think.
fn reshape_thoughts(message: &mut Message<'_>, thinks: bool) {
    let is_thought = |block: &Block<'_>| {
        matches!(block.kind, BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. })
    };
    let is_own = |block: &Block<'_>| match &block.kind {
        BlockKind::Thinking { text, signature } => {
            !text.is_empty() && signature.as_ref().is_none_or(Text::is_empty)
        }
        kind => !matches!(kind, BlockKind::RedactedThinking { .. }),
    };
    let tells = thinks && message.role == Role::Assistant && message.content.iter().all(is_own);
    if !tells {
        return message.content.retain(|block| !is_thought(block));
    }
    if !message.content.iter().any(is_thought) {
        let said = message.extra.iter().filter(|(name, _)| REASONING.contains(&&**name));
        let mut texts = said.filter_map(|(_, raw)| Text::from_json(raw.get()));
        if let Some(text) = texts.find(|text| !text.is_empty()) {
            message.content.insert(0, Block::new(BlockKind::Thinking { text, signature: None }));
        }
    }
    for block in message.content.iter_mut().filter(|block| is_thought(block)) {
        block.extra = vec![(THOUGHT_PART.into(), RawValue::NULL)];
    }
}

/// Members of a message that hold what the model thought.
const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];

fn reshape_tools(request: &mut Request<'_>, verdicts: &mut Verdicts<'_>) {
    let from_openai = request.dialect == Dialect::OpenAi;
    if matches!(request.tool_choice, Some(ToolChoice::Required))
        && let Ok(raw) = serde_json::from_str(r#""any""#)
    {
        request.tool_choice = Some(ToolChoice::Native { dialect: Dialect::OpenAi, raw });
    }
    let mut index = 0;
    request.tools.retain_mut(|tool| {
        index += 1;
        match tool {
            Tool::Function { cache, extra, .. } => {
                *cache = None;
                // Those of other callers are named by the encoder.
                if from_openai {
                    extra.retain(|(name, raw)| {
                        raw.get() != "null"
                            && verdicts.unsupported(&format!("tools[{}].{name}", index - 1)) == Verdict::Pass
                    });
                }
                true
            }
            Tool::WebSearch { dialect: Dialect::OpenAi, .. } => {
                verdicts.unsupported("web_search_options") == Verdict::Pass
            }
            Tool::WebSearch { .. } => verdicts.unsupported(&format!("tools[{}]", index - 1)) == Verdict::Pass,
            Tool::Native { kind, dialect: Dialect::OpenAi, .. } => {
                verdicts.impossible(format!("tools[{}] ({})", index - 1, kind.decode()));
                false
            }
            Tool::Native { .. } => true,
        }
    });
}

fn reshape_message(message: &mut Message<'_>, place: Place, from_openai: bool, verdicts: &mut Verdicts<'_>) {
    if message.role == Role::Developer {
        message.role = Role::System;
    }
    let is_assistant = message.role == Role::Assistant;
    if message.name.is_some()
        && message.role != Role::Tool
        && (is_assistant || verdicts.unsupported(&place.member("name")) == Verdict::Leave)
    {
        message.name = None;
    }
    // An assistant's members came with an answer; those of other callers are named by the encoder.
    message.extra.retain(|(name, raw)| match (&**name, is_assistant) {
        _ if !from_openai || (name == PREFIX && is_assistant) => true,
        _ if raw.get() == "null" => false,
        ("function_call", true) => {
            verdicts.impossible(place.member(name));
            false
        }
        (_, true) => false,
        (name, false) => verdicts.unsupported(&place.member(name)) == Verdict::Pass,
    });
    for (part, block) in message.content.iter_mut().enumerate() {
        block.cache = None;
        match &mut block.kind {
            BlockKind::ToolCall(call) => {
                call.id = call_id(&call.id);
                // The index that a stream gave, and other members of an answer.
                block.extra.retain(|_| !from_openai);
                continue;
            }
            BlockKind::ToolResult { id, content, plain, .. } => {
                *id = call_id(id);
                content.iter_mut().for_each(|block| block.cache = None);
                *plain |= matches!(&content[..], [one] if is_text(&one.kind));
                continue;
            }
            BlockKind::Refusal(text) => {
                block.kind = BlockKind::Text { text: text.clone(), citations: None };
            }
            BlockKind::File { source, .. } if !matches!(source, Source::Text(_)) => {
                verdicts.impossible(place.part(part));
            }
            BlockKind::Native { dialect: Dialect::OpenAi, kind, .. } if kind.decode().starts_with(CALL) => {
                verdicts.impossible(place.member(&format!("tool_calls[{part}]")));
            }
            _ => {}
        }
        if from_openai && !is_assistant {
            block.extra.retain(|(name, _)| {
                verdicts.unsupported(&format!("{}.{name}", place.part(part))) == Verdict::Pass
            });
        }
    }
    let mut said = message.content.iter().filter(|block| !matches!(block.kind, BlockKind::ToolCall(_)));
    // A list of one text says no more than the text, which all of Mistral's models take.
    message.plain |= matches!((said.next(), said.next()), (Some(one), None) if is_text(&one.kind));
}

const fn is_text(kind: &BlockKind<'_>) -> bool {
    matches!(kind, BlockKind::Text { .. })
}

/// An id of a call as Mistral takes it: nine letters and digits. Another is hashed, so that a call and its result stay together.
fn call_id<'a>(id: &Text<'a>) -> Text<'a> {
    let plain = id.decode();
    if plain.len() == ID_LENGTH && plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.clone();
    }
    let digest = Sha256::digest(plain.as_bytes());
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    digest.iter().take(ID_LENGTH).map(letter).collect::<String>().into()
}

const ID_LENGTH: usize = 9;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
