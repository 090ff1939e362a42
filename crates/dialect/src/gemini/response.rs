//! Answers of `generateContent`, read and written.

use jiff::Timestamp;
use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{
    blocked, finish, finish_word,
    grounding::GROUNDING,
    part::{Ids, Seed, WireContent, decode_parts},
    read_usage,
    usage::write_usage,
    write::{Manner, write_model_parts},
};
use crate::{
    BlockKind, Choice, Finish, Malformed, Response, Spent, Text,
    read::{Count, both, document, stated, wire_object},
    write::{Object, object},
};

wire_object! {
    struct WireResponse {
        candidates: Vec<WireCandidate<'a>> = "candidates",
        feedback: &'a RawValue = "promptFeedback",
        usage: &'a RawValue = "usageMetadata",
        model: Text<'a> = "modelVersion",
        id: Text<'a> = "responseId",
        created: &'a RawValue = "createTime",
        error: &'a RawValue = "error",
    }
    struct WireCandidate {
        index: Count = "index",
        content: WireContent<'a> = "content",
        finish: &'a RawValue = "finishReason",
        grounding: &'a RawValue = "groundingMetadata",
    }
    struct WireFeedback { reason: &'a RawValue = "blockReason", }
    struct WireGrounding { queries: Vec<&'a RawValue> = "webSearchQueries", }
}

/// Reads an answer of a provider of Google's dialect. A prompt that was blocked has an answer without content.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let wire: WireResponse<'_> = document(json)?;
    let seed = Seed::new(wire.id.as_ref(), json);
    let feedback = wire.feedback.and_then(block_reason);
    let is_known = wire.candidates.is_some() || wire.feedback.is_some() || wire.usage.is_some();
    if !is_known {
        return Err(Malformed::new("missing field", "candidates"));
    }
    let mut searches = None;
    let mut choices = Vec::new();
    for (position, candidate) in wire.candidates.unwrap_or_default().into_iter().enumerate() {
        searches = both(searches, count_searches(candidate.grounding));
        let choice = decode_candidate(candidate, position, &seed);
        choices.push(choice.map_err(|error| error.within(&format!("candidates[{position}]")))?);
    }
    if choices.is_empty() {
        // Without a candidate and a reason nothing was said, and nobody knows why.
        let finish = feedback.map_or_else(|| finish("OTHER".into(), false), blocked);
        choices.push(Choice { finish: Some(finish), ..Choice::default() });
    }
    let mut extra = wire.extra;
    extra.extend(wire.feedback.map(|raw| ("promptFeedback".into(), raw)));
    extra.extend(wire.created.map(|raw| ("createTime".into(), raw)));
    Ok(Response {
        dialect: Dialect::Gemini,
        id: wire.id,
        model: wire.model,
        created: wire.created.and_then(seconds),
        choices,
        usage: wire.usage.and_then(read_usage).map(|spent| searched(spent, searches)),
        extra,
    })
}

/// A word, or the number that stands for it where a caller asked for enums as numbers.
pub(super) fn word(raw: &RawValue) -> Option<Text<'_>> {
    match raw.get() {
        "null" => None,
        json => Some(Text::from_json(json).unwrap_or_else(|| json.into())),
    }
}

/// Why a prompt was not answered, by a `promptFeedback`.
pub(super) fn block_reason(raw: &RawValue) -> Option<Text<'_>> {
    let wire: WireFeedback<'_> = document(raw.get()).unwrap_or_default();
    word(wire.reason?)
}

/// A moment in RFC 3339, in seconds of the Unix epoch.
pub(super) fn seconds(raw: &RawValue) -> Option<u64> {
    let moment: Timestamp = Text::from_json(raw.get())?.decode().parse().ok()?;
    u64::try_from(moment.as_second()).ok()
}

/// The web searches that a candidate rests on.
pub(super) fn count_searches(grounding: Option<&RawValue>) -> Option<u64> {
    let wire: WireGrounding<'_> = document(grounding?.get()).ok()?;
    Some(wire.queries?.len() as u64)
}

/// With the web searches that were counted beside it.
pub(super) const fn searched<'a>(mut spent: Spent<'a>, searches: Option<u64>) -> Spent<'a> {
    spent.counts.web_searches = searches;
    spent
}

fn decode_candidate<'a>(
    wire: WireCandidate<'a>,
    position: usize,
    seed: &Seed<'_>,
) -> Result<Choice<'a>, Malformed> {
    let index = stated(wire.index).unwrap_or(position as u64);
    let content = wire.content.unwrap_or_default();
    let mut ids = Ids::of_answer(seed, index, 0);
    let blocks = decode_parts(content.parts.unwrap_or_default().0, &mut ids, false);
    let blocks = blocks.map_err(|error| error.within("content.parts"))?;
    let calls = blocks.iter().any(|block| matches!(block.kind, BlockKind::ToolCall(_)));
    let finish = wire.finish.and_then(word).map(|native| finish(native, calls));
    let mut extra = wire.extra;
    extra.extend(wire.grounding.map(|raw| (GROUNDING.into(), raw)));
    Ok(Choice { index, content: blocks, finish, logprobs: None, extra, message_extra: content.extra })
}

/// Writes an answer for a caller of Google's dialect. `now`, in seconds of the Unix epoch, has no place in it: Google's time is one of its
/// servers' and optional.
pub fn encode_response(response: &Response<'_>, _now: u64, out: &mut Vec<u8>) {
    let own = response.dialect == Dialect::Gemini;
    let is_blocked = |choice: &Choice<'_>| {
        own && choice.content.is_empty()
            && response.extra.iter().any(|(name, _)| name == "promptFeedback")
            && choice.extra.is_empty()
    };
    object(out, |body| {
        if !response.choices.iter().all(is_blocked) {
            body.array("candidates", |list| {
                response
                    .choices
                    .iter()
                    .for_each(|choice| list.object(|out| write_candidate(out, choice, own)));
            });
        }
        write_spent(body, response.usage.as_ref());
        body.text_if("modelVersion", response.model.as_ref());
        body.text_if("responseId", response.id.as_ref());
        if own {
            body.extra(&response.extra, &["candidates", "usageMetadata", "modelVersion", "responseId"]);
        }
    });
}

fn write_candidate(out: &mut Object<'_>, choice: &Choice<'_>, own: bool) {
    out.object("content", |content| {
        content.array("parts", |list| {
            let blocks: Vec<_> = choice.content.iter().collect();
            write_model_parts(list, &blocks, Manner { own: false, ids: true, excuse: false });
        });
        content.str("role", "model");
        if own {
            content.extra(&choice.message_extra, &["parts", "role"]);
        }
    });
    write_finish(out, choice.finish.as_ref());
    out.number("index", choice.index);
    if own {
        out.extra(&choice.extra, &["content", "finishReason", "index"]);
    }
}

/// Writes why an answer ended: the native word where it is Google's.
pub(super) fn write_finish(out: &mut Object<'_>, finish: Option<&Finish<'_>>) {
    match finish {
        Some(finish) if finish.dialect == Dialect::Gemini => out.text("finishReason", &finish.native),
        Some(finish) => out.str("finishReason", finish_word(finish.reason)),
        None => {}
    }
}

fn write_spent(out: &mut Object<'_>, spent: Option<&Spent<'_>>) {
    match spent {
        Some(spent) if spent.dialect == Dialect::Gemini => out.json("usageMetadata", spent.raw.get()),
        Some(spent) => out.object("usageMetadata", |usage| write_usage(usage, &spent.counts)),
        None => {}
    }
}
