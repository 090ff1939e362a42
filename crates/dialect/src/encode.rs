//! What an encoder is told, and how it says what it cannot carry.

use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;
use ziggurat_core::{Capabilities, Dialect, Effort, ParamPolicy, Target, Thoughts};

use crate::{
    BlockKind, Request, capabilities, capabilities_at,
    model::CALL,
    read::Extra,
    remote::{place_of_message, place_of_part},
};

/// What the encoder of a request is told of its target.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Encoding<'e> {
    /// The model's name at the provider.
    pub model: &'e str,
    /// What happens to parameters that the target does not take.
    pub policy: &'e ParamPolicy,
    /// What the model takes.
    pub capabilities: Capabilities,
    /// How a provider of OpenAI's chats takes back what its model thought.
    pub thoughts: Option<Thoughts>,
    /// The most bytes of an image that the provider takes, where that is known.
    pub max_image: Option<u64>,
}

/// A request that the target cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Parameters that the target does not take and the policy does not drop, by name.
    Unsupported(Vec<String>),
    /// A field whose value cannot be carried.
    Invalid {
        /// What is wrong.
        message: String,
        /// The field, as `messages[0].content[1].image_url.url`.
        param: String,
    },
}

/// Collects what an encoder meets and cannot carry, by the policy.
pub(crate) struct Verdicts<'e> {
    policy: &'e ParamPolicy,
    refused: Vec<String>,
    invalid: Option<Refused>,
}

/// Where a message stands in the caller's own words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Anthropic's `system`, which is a message in the model alone.
    System,
    /// In `messages`, as the caller counts them.
    Message(usize),
}

/// What a member is to a target that a request has no field for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is written in other words, or says nothing.
    Read,
    /// The target has no place for it, and needs none.
    Unheard,
    /// It would stand where something of ours does.
    Ours,
    /// The target has no place for it.
    Unsupported,
    /// It goes as it is: the provider may know more than we do.
    Passed,
}

/// What to do with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Leave it out: dropped by policy, or refused in the end.
    Leave,
    /// Hand it on as it is: the policy says the target takes it.
    Pass,
}

// ===== impl Encoding =====

impl<'e> Encoding<'e> {
    /// For a model, under a policy: it takes what its [family](capabilities) takes.
    #[must_use]
    pub fn new(model: &'e str, policy: &'e ParamPolicy) -> Self {
        Self { model, policy, capabilities: capabilities(model), thoughts: None, max_image: None }
    }

    /// For a deployment: its model takes what the deployment says, else what its family takes at its provider.
    #[must_use]
    pub fn of(target: &'e Target) -> Self {
        let known = target.model_capabilities().copied();
        let capabilities =
            known.unwrap_or_else(|| capabilities_at(target.provider(), target.dialect(), target.model()));
        let quirks = target.provider_quirks();
        let (thoughts, max_image) = (quirks.thoughts, quirks.max_image);
        Self { model: target.model(), policy: target.params(), capabilities, thoughts, max_image }
    }

    /// The word that the model knows for an effort that the caller said in other words.
    pub(crate) fn nearest(&self, effort: &'static str) -> &'static str {
        match (self.capabilities.thinking, Effort::of_name(effort)) {
            (Some(thinking), Some(known)) => thinking.nearest(known).name(),
            _ => effort,
        }
    }

    /// Says what the model takes.
    #[must_use]
    pub const fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Says how the provider takes back what its model thought.
    #[must_use]
    pub const fn thoughts(mut self, thoughts: Option<Thoughts>) -> Self {
        self.thoughts = thoughts;
        self
    }

    /// Says how large an image the provider takes, in bytes.
    #[must_use]
    pub const fn max_image(mut self, bytes: Option<u64>) -> Self {
        self.max_image = bytes;
        self
    }
}

// ===== impl Place =====

impl Place {
    pub(crate) fn of(request: &Request<'_>, index: usize) -> Self {
        match (request.system_apart, index) {
            (true, 0) => Self::System,
            (true, index) => Self::Message(index - 1),
            (false, index) => Self::Message(index),
        }
    }

    /// A member of the message.
    pub(crate) fn member(self, name: &str) -> String {
        match self {
            Self::System => format!("system.{name}"),
            Self::Message(index) => format!("messages[{index}].{name}"),
        }
    }

    /// A part of its content.
    pub(crate) fn part(self, part: usize) -> String {
        match self {
            Self::System => format!("system[{part}]"),
            Self::Message(index) => format!("messages[{index}].content[{part}]"),
        }
    }
}

/// Every tool result must answer a call that stands before it: the provider's own answer to one that does not speaks of fields the caller
/// never wrote.
pub(crate) fn check_results(request: &Request<'_>) -> Result<(), Refused> {
    let mut calls = HashSet::new();
    for (index, message) in request.messages.iter().enumerate() {
        for (part, block) in message.content.iter().enumerate() {
            match &block.kind {
                BlockKind::ToolCall(call) => {
                    calls.insert(call.id.decode());
                }
                BlockKind::ToolResult { id, .. } if !calls.contains(&id.decode()) => {
                    let place = Place::of(request, index);
                    let what = "no earlier assistant message makes the call";
                    return Err(Refused::invalid(
                        format!("{what} {:?} that this result answers", id.decode()),
                        match request.dialect {
                            Dialect::Anthropic => format!("{}.tool_use_id", place.part(part)),
                            _ => place.member("tool_call_id"),
                        },
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// For dialects in which each result is written with the name of its tool: one name is not to become many long ones.
pub(crate) fn check_names(request: &Request<'_>) -> Result<(), Refused> {
    for (index, message) in request.messages.iter().enumerate() {
        let is_long = |kind: &BlockKind<'_>| matches!(kind, BlockKind::ToolCall(call) if call.name.len() > LONGEST_NAME);
        let Some(part) = message.content.iter().position(|block| is_long(&block.kind)) else { continue };
        let at = place_of_message(request.dialect, request.system_apart, index);
        let place = match request.dialect {
            Dialect::Responses => format!("{at}.name"),
            Dialect::Gemini => {
                format!("{}.functionCall.name", place_of_part(request.dialect, &at, part))
            }
            Dialect::Anthropic => format!("{}.name", place_of_part(request.dialect, &at, part)),
            _ => {
                let is_call = |kind: &BlockKind<'_>| match kind {
                    BlockKind::ToolCall(_) => true,
                    BlockKind::Native { kind, .. } => kind.decode().starts_with(CALL),
                    _ => false,
                };
                let call = message.content[..part].iter().filter(|block| is_call(&block.kind)).count();
                format!("{at}.tool_calls[{call}].function.name")
            }
        };
        return Err(Refused::invalid(format!("the name of a tool has at most {LONGEST_NAME} bytes"), place));
    }
    Ok(())
}

/// Several times what any provider takes: Anthropic 128, others 64.
const LONGEST_NAME: usize = 256;

// ===== impl Refused =====

impl Refused {
    pub(crate) fn invalid(message: impl Into<String>, param: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), param: param.into() }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsupported(names) => write!(f, "unsupported parameters: {}", names.join(", ")),
            Self::Invalid { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Refused {}

// ===== impl Verdicts =====

impl<'e> Verdicts<'e> {
    pub(crate) const fn new(policy: &'e ParamPolicy) -> Self {
        Self { policy, refused: Vec::new(), invalid: None }
    }

    /// The target does not take this parameter.
    pub(crate) fn unsupported(&mut self, name: &str) -> Verdict {
        if self.policy.allowed_openai_params.iter().any(|allowed| allowed == name) {
            return Verdict::Pass;
        }
        if !self.policy.drop_params {
            self.refused.push(name.to_owned());
        }
        Verdict::Leave
    }

    /// The target has no place for this, and leaving it out changes nothing of what is asked: the name of an end user, say, which a provider
    /// wants for its own records. It is never refused.
    pub(crate) fn unheard(&self, name: &str) -> Verdict {
        let passes = self.policy.allowed_openai_params.iter().any(|allowed| allowed == name);
        if passes { Verdict::Pass } else { Verdict::Leave }
    }

    /// The members of a function that the target has no place for, but those that `passes` knows and those that change nothing of what the
    /// model is asked: how its arguments stream, and what the function gives back.
    pub(crate) fn tool_members(&mut self, index: usize, extra: &Extra<'_>, passes: impl Fn(&str) -> bool) {
        const UNHEARD: &[&str] =
            &["eager_input_streaming", "response", "responseJsonSchema", "response_json_schema"];
        for (member, raw) in extra {
            let member = &**member;
            if raw.get() != "null" && !passes(member) && !UNHEARD.contains(&member) {
                self.unsupported(&format!("tools[{index}].{member}"));
            }
        }
    }

    /// The target has no place for this, and leaving it out would change what is asked: no policy drops it.
    pub(crate) fn impossible(&mut self, name: impl Into<String>) {
        self.refused.push(name.into());
    }

    /// The members that go as they are, of those that a request has no field for; what has no value asks for nothing.
    pub(crate) fn passing<'r>(
        &mut self,
        members: &'r [(Cow<'_, str>, &RawValue)],
        fate: impl Fn(&str, &RawValue) -> Fate,
    ) -> Extra<'r> {
        let mut passed = Extra::new();
        for (name, raw) in members.iter().filter(|(_, raw)| raw.get() != "null") {
            let verdict = match fate(name, raw) {
                Fate::Read => Verdict::Leave,
                Fate::Unheard => self.unheard(name),
                Fate::Ours => {
                    self.impossible(&**name);
                    Verdict::Leave
                }
                Fate::Unsupported => self.unsupported(name),
                Fate::Passed => Verdict::Pass,
            };
            if verdict == Verdict::Pass {
                passed.push(((**name).into(), raw));
            }
        }
        passed
    }

    /// The value of this field cannot be carried; of several, the first is told.
    pub(crate) fn invalid(&mut self, message: impl Into<String>, param: impl Into<String>) {
        self.invalid.get_or_insert_with(|| Refused::invalid(message, param));
    }

    pub(crate) fn finish(self) -> Result<(), Refused> {
        match self.invalid {
            Some(invalid) => Err(invalid),
            None if self.refused.is_empty() => Ok(()),
            None => Err(Refused::Unsupported(self.refused)),
        }
    }
}

/// What is for the records of a provider that has any.
pub(crate) const UNHEARD: &[&str] = &["user", "metadata"];

/// Bytes that are written once for each of several calls, or of their parts: little is not to become much.
pub(crate) const MOST_REPEATED: usize = 16 << 20;

/// Bytes of members.
pub(crate) fn length(extra: &Extra<'_>) -> usize {
    extra.iter().map(|(name, raw)| name.len() + raw.get().len()).sum()
}
