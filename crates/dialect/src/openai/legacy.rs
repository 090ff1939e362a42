//! The call of a model that is asked with OpenAI's older `functions`: one at most, without an id. In the model it is a call like others, with a
//! mark among its block's members, so that an OpenAI caller finds it where it stood.

use serde_json::value::RawValue;

use super::request::arguments;
use crate::{
    Block, BlockKind, Text, ToolCall,
    names::short_hash,
    read::{document, wire_object},
};

wire_object! {
    struct WireFunction { name: Text<'a> = "name", arguments: &'a RawValue = "arguments", }
}

/// The member of messages and deltas.
pub(super) const MEMBER: &str = "function_call";

/// The mark; in a whole answer with what stood there.
pub(super) const MARK: &str = "function_call{}";

/// Reads a call, or a piece of one, unless it is something else.
pub(super) fn read(raw: &RawValue) -> Option<WireFunction<'_>> {
    document(raw.get()).ok()
}

/// Reads a whole call.
pub(super) fn block<'a>(raw: &'a RawValue, answer: Option<&Text<'_>>, choice: u64) -> Option<Block<'a>> {
    let function = read(raw)?;
    let name = function.name.filter(|name| !name.is_empty())?;
    let call = ToolCall { id: id(answer, choice), name, arguments: arguments(function.arguments) };
    Some(Block { extra: vec![(MARK.into(), raw)], ..Block::new(BlockKind::ToolCall(call)) })
}

/// What a block was read from, where that was a legacy call.
pub(super) fn origin<'a>(block: &Block<'a>) -> Option<&'a RawValue> {
    block.extra.iter().find(|(name, _)| name == MARK).map(|(_, raw)| *raw)
}

/// The id of the call: the same whenever the answer is read, and another in the next answer of the conversation.
pub(super) fn id(answer: Option<&Text<'_>>, choice: u64) -> Text<'static> {
    let answer = answer.map(Text::decode).unwrap_or_default();
    format!("call_{}", short_hash(&format!("{answer}/{choice}"))).into()
}
