//! Answers of Responses, read and written.

use std::borrow::Cow;

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Tier};

use super::{
    answer::{self, Head, write_echo, write_status},
    citation::{ANNOTATIONS, of_anthropic, of_chat},
    finish,
    items::{self, PART, WireHead, WireMessage, member, part, write_call, write_reasoning},
    read_usage, status,
    usage::{web_searches, write_usage},
};
use crate::{
    Block, BlockKind, Choice, Malformed, Response, Text,
    read::{Count, Extra, StringOr, TIER, document, served_tier, stated, wire_object},
    write::{Array, Object, object},
};

wire_object! {
    struct WireResponse {
        id: Text<'a> = "id",
        object: Text<'a> = "object",
        created_at: Count = "created_at",
        model: Text<'a> = "model",
        status: Text<'a> = "status",
        incomplete_details: WireIncomplete<'a> = "incomplete_details",
        output: Vec<&'a RawValue> = "output",
        usage: &'a RawValue = "usage",
    }
    struct WireIncomplete { reason: Text<'a> = "reason", }
    struct WireLogprobs { content: &'a RawValue = "content", }
}

/// Stands before the names of a message's members among those of its first part, which begins it.
const MESSAGE: &str = "message.";

/// The member that every message has.
const ROLE: &str = "message.role";

/// Reads an answer of a provider of Responses.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let mut wire: WireResponse<'_> = document(json)?;
    let output = wire.output.take().ok_or_else(|| Malformed::new("missing field", "output"))?;
    let mut content = Vec::with_capacity(output.len());
    for (index, raw) in output.into_iter().enumerate() {
        item(raw, &mut content).map_err(|error| error.within(&format!("output[{index}]")))?;
    }
    let calls = content.iter().any(|block| matches!(block.kind, BlockKind::ToolCall(_)));
    let incomplete = wire.incomplete_details.take().and_then(|details| details.reason);
    let finish = wire.status.take().map(|status| finish(status, incomplete, calls));
    Ok(Response {
        dialect: Dialect::Responses,
        usage: usage(wire.usage, &wire.extra),
        choices: vec![Choice { content, finish, ..Choice::default() }],
        id: wire.id,
        model: wire.model,
        created: stated(wire.created_at),
        extra: wire.extra,
    })
}

/// The usage, with what stands beside it: the tier, and the searches.
pub(super) fn usage<'a>(raw: Option<&'a RawValue>, beside: &Extra<'a>) -> Option<crate::Spent<'a>> {
    let mut spent = raw.and_then(read_usage)?.served_at(tier(beside));
    spent.counts.web_searches =
        spent.counts.web_searches.or_else(|| member(beside, "tool_usage").and_then(web_searches));
    Some(spent)
}

fn tier(extra: &Extra<'_>) -> Option<Tier> {
    member(extra, TIER).and_then(|raw| served_tier(raw.get()))
}

/// Reads an item of the output: its parts are blocks, and the first of them holds the item's members.
fn item<'a>(raw: &'a RawValue, content: &mut Vec<Block<'a>>) -> Result<(), Malformed> {
    let head: WireHead<'a> = document(raw.get())?;
    let kind = head.kind.unwrap_or_else(|| "".into());
    match &*kind.decode() {
        "message" => {
            let wire: WireMessage<'a> = document(raw.get())?;
            if let (Some(StringOr::List(parts)), Some(role)) = (wire.content, wire.role)
                && !parts.is_empty()
            {
                let first = content.len();
                for raw in parts {
                    content.push(part(raw)?);
                }
                let extra = &mut content[first].extra;
                extra.push((ROLE.into(), role));
                extra.extend(
                    wire.extra.into_iter().map(|(name, raw)| (format!("{MESSAGE}{name}").into(), raw)),
                );
                return Ok(());
            }
        }
        "function_call" => {
            content.push(items::call(raw)?);
            return Ok(());
        }
        "reasoning" => {
            content.push(items::reasoning(raw)?);
            return Ok(());
        }
        _ => {}
    }
    content.push(Block::new(BlockKind::Native { dialect: Dialect::Responses, kind: kind.clone(), raw }));
    Ok(())
}

/// Writes an answer for a caller of Responses; `now`, in seconds of the Unix epoch, stands in where the provider gave no time. Only the first
/// answer has a place in it.
pub fn encode_response(response: &Response<'_>, now: u64, out: &mut Vec<u8>) {
    let own = response.dialect == Dialect::Responses;
    let choice = response.choices.first();
    let ended = choice.and_then(|choice| choice.finish.as_ref());
    let (word, incomplete) = status(ended);
    let head = Head::new(response.id.as_ref(), response.model.as_ref(), response.created.unwrap_or(now));
    object(out, |body| {
        match own {
            true => {
                body.text_if("id", response.id.as_ref());
                body.str("object", "response");
                body.number("created_at", head.created);
                write_status(body, ended.map(|_| &word), incomplete.as_ref());
                body.text("model", &head.model);
            }
            false => head.write(body, &word, incomplete.as_ref()),
        }
        body.array("output", |list| {
            if let Some(choice) = choice {
                let output = Output { choice, head: &head, own, status: &word };
                output.write(list);
            }
        });
        match &response.usage {
            Some(spent) if spent.dialect == Dialect::Responses => body.json("usage", spent.raw.get()),
            Some(spent) => body.object("usage", |usage| write_usage(usage, &spent.counts)),
            None => body.json("usage", "null"),
        }
        match own {
            // No name among them is one of ours: those were read.
            true => body.extra(&response.extra, &[]),
            false => {
                write_echo(body);
                if let Some(tier) = member(&response.extra, TIER).and_then(|raw| answer::tier(raw.get())) {
                    body.json(TIER, tier);
                }
            }
        }
    });
}

/// The items of an answer.
struct Output<'w, 'a> {
    choice: &'w Choice<'a>,
    head: &'w Head<'a>,
    /// Whether it came in Responses' words: then its blocks hold all members of their items.
    own: bool,
    status: &'w Text<'w>,
}

impl<'a> Output<'_, 'a> {
    fn write(&self, list: &mut Array<'_>) {
        let content: Vec<&Block<'a>> =
            self.choice.content.iter().filter(|block| self.is_said(block)).collect();
        let (mut start, mut index) = (0, 0);
        while start < content.len() {
            let is_next = |block: &&&Block<'_>| is_part(block) && member(&block.extra, ROLE).is_none();
            let end = match is_part(content[start]) {
                true => start + 1 + content[start + 1..].iter().take_while(is_next).count(),
                false => start + 1,
            };
            self.item(list, &content[start..end], index, end == content.len());
            (start, index) = (end, index + 1);
        }
    }

    /// Whether a block has a place: what is empty beside other blocks is the way of other dialects to say nothing.
    fn is_said(&self, block: &Block<'_>) -> bool {
        match &block.kind {
            BlockKind::Native { dialect, .. } => *dialect == Dialect::Responses,
            BlockKind::Text { text, .. } => self.own || !text.is_empty() || self.choice.content.len() == 1,
            BlockKind::Thinking { text, signature } => self.own || !text.is_empty() || signature.is_some(),
            _ => true,
        }
    }

    /// Writes the item that these blocks are: a message of them all, or the one that it is.
    fn item(&self, list: &mut Array<'_>, blocks: &[&Block<'a>], index: usize, is_last: bool) {
        let block = blocks[0];
        if let BlockKind::Native { raw, .. } = &block.kind
            && !is_part(block)
        {
            return list.json(raw.get());
        }
        list.object(|item| {
            let prefix = match &block.kind {
                BlockKind::ToolCall(call) => {
                    let none = format!("call_{index}").into();
                    let id = if call.id.is_empty() && !self.own { &none } else { &call.id };
                    write_call(item, id, &call.name, &call.arguments);
                    "fc"
                }
                BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. } => {
                    write_reasoning(item, block);
                    "rs"
                }
                _ => {
                    item.str("type", "message");
                    self.parts(item, blocks);
                    "msg"
                }
            };
            if self.own {
                match prefix {
                    "msg" => {
                        let of_message = |(name, raw): &(Cow<'a, str>, &'a RawValue)| {
                            Some((name.strip_prefix(MESSAGE)?.to_owned().into(), *raw))
                        };
                        let members: Extra<'_> = block.extra.iter().filter_map(of_message).collect();
                        item.extra(&members, &[]);
                    }
                    _ => item.extra(&block.extra, &[]),
                }
                return;
            }
            item.str("id", &self.head.item_id(prefix, index));
            item.str(
                "status",
                if is_last && *self.status == *"incomplete" { "incomplete" } else { "completed" },
            );
            if prefix == "msg" {
                item.str("role", "assistant");
            }
        });
    }

    fn parts(&self, item: &mut Object<'_>, blocks: &[&Block<'_>]) {
        item.array("content", |list| {
            for (index, block) in blocks.iter().enumerate() {
                if let BlockKind::Native { raw, .. } = &block.kind {
                    list.json(raw.get());
                    continue;
                }
                list.object(|part| {
                    match &block.kind {
                        BlockKind::Refusal(text) => {
                            part.str("type", "refusal");
                            part.text("refusal", text);
                        }
                        BlockKind::Text { text, citations } => {
                            part.str("type", "output_text");
                            part.text("text", text);
                            if !self.own {
                                self.marks(part, text, *citations, index == 0);
                            }
                        }
                        _ => {}
                    }
                    if self.own {
                        part.extra_if(&block.extra, |name| !name.starts_with(MESSAGE));
                    }
                });
            }
        });
    }

    /// Writes what other dialects say of a text: of the message, in its first part.
    fn marks(&self, part: &mut Object<'_>, text: &Text<'_>, citations: Option<&RawValue>, is_first: bool) {
        let of_message = member(&self.choice.message_extra, ANNOTATIONS).filter(|_| is_first);
        let mut annotations = of_message.map(of_chat).unwrap_or_default();
        let cited: Vec<&RawValue> = citations.and_then(|raw| document(raw.get()).ok()).unwrap_or_default();
        if !cited.is_empty() {
            let length = text.decode().chars().count();
            annotations.extend(cited.into_iter().filter_map(|raw| of_anthropic(raw, length)));
        }
        part.array(ANNOTATIONS, |list| {
            annotations.iter().for_each(|annotation| list.item().extend_from_slice(annotation));
        });
        let logprobs = self.choice.logprobs.filter(|_| is_first);
        part.json("logprobs", logprobs.and_then(self::logprobs).map_or("[]", RawValue::get));
    }
}

/// The list of a text's log probabilities as OpenAI's chat gives them.
pub(super) fn logprobs(raw: &RawValue) -> Option<&RawValue> {
    document::<WireLogprobs<'_>>(raw.get()).ok()?.content.filter(|list| list.get().starts_with('['))
}

/// Whether a block stands within a message.
fn is_part(block: &Block<'_>) -> bool {
    match &block.kind {
        BlockKind::Text { .. } | BlockKind::Refusal(_) => true,
        BlockKind::Native { dialect: Dialect::Responses, kind, .. } => kind.decode().starts_with(PART),
        _ => false,
    }
}
