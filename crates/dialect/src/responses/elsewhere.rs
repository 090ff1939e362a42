//! An answer of a Responses provider in front of a caller of another dialect.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{
    citation::{ANNOTATIONS, to_chat},
    items::member,
};
use crate::{Block, BlockKind, Choice, Response, read::TIER};

/// Gives an answer to `encode` without what only Responses has: the request that it repeats, the items' ids, the tools that the provider ran.
pub(crate) fn answer_elsewhere(response: &Response<'_>, encode: impl FnOnce(&Response<'_>)) {
    let texts = response.choices.iter().flat_map(|choice| &choice.content);
    let annotations = texts.filter_map(|block| member(&block.extra, ANNOTATIONS));
    let annotations = to_chat(annotations);
    let logprobs = logprobs(response);
    let plain = Response {
        dialect: Dialect::Responses,
        id: response.id.clone(),
        model: response.model.clone(),
        created: response.created,
        choices: response
            .choices
            .iter()
            .map(|choice| plain_choice(choice, annotations.as_deref(), logprobs.as_deref()))
            .collect(),
        usage: response.usage,
        extra: response.extra.iter().filter(|(name, _)| name == TIER).cloned().collect(),
    };
    encode(&plain);
}

fn plain_choice<'r>(
    choice: &Choice<'r>,
    annotations: Option<&'r RawValue>,
    logprobs: Option<&'r RawValue>,
) -> Choice<'r> {
    let message_extra = annotations.map(|raw| (ANNOTATIONS.into(), raw)).into_iter().collect();
    let plain = |block: &Block<'r>| match &block.kind {
        BlockKind::Native { .. } => None,
        // Reasoning that says nothing and cannot be sent back either.
        BlockKind::Thinking { text, signature: None } if text.is_empty() => None,
        kind => Some(Block::new(kind.clone())),
    };
    let content = choice.content.iter().filter_map(plain).collect();
    let (index, finish) = (choice.index, choice.finish.clone());
    Choice { index, content, finish, logprobs, message_extra, ..Choice::default() }
}

/// The log probabilities of the first text that has any, as OpenAI's chat has them.
fn logprobs(response: &Response<'_>) -> Option<Box<RawValue>> {
    let texts = response.choices.first()?.content.iter();
    let mut lists = texts.filter_map(|block| member(&block.extra, "logprobs"));
    let list = lists.find(|list| list.get().starts_with("[{"))?;
    RawValue::from_string(format!("{{\"content\":{},\"refusal\":null}}", list.get())).ok()
}
