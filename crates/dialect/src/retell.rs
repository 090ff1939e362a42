//! An answer told as a stream, and a stream put together to the answer that it is: each in the dialect in which it came.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde_json::{Map, Value, value::RawValue};
use ziggurat_core::{Dialect, json::Cursor};

use crate::{
    Arguments, Block, BlockKind, Choice, Delta, Event, Extra, Finish, Malformed, Opening, Response, Scope,
    Spent, StreamDecoder, StreamEncoder, Text, ToolCall, decode_response, encode_response,
    read::{document, wire_object},
    responses,
};

/// Appends the stream of a caller of `dialect` whose pieces make up the whole answer `json`, in as few events as that takes. `now` and
/// `include_usage` are as for [`StreamEncoder::new`].
///
/// # Errors
/// [`Malformed`], when `json` is no whole answer of that dialect.
pub fn stream_of(
    dialect: Dialect,
    json: &str,
    include_usage: bool,
    now: u64,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    if dialect == Dialect::Responses {
        return responses::stream_of(json, out);
    }
    let response = decode_response(dialect, json)?;
    let mut encoder = StreamEncoder::new(dialect, now, include_usage);
    events_of(&response, &mut |event| encoder.encode(&event, out));
    Ok(())
}

/// Appends the whole answer that the events of a stream of `dialect` make up; `data` is theirs, in order. `now` is as for
/// [`encode_response`].
///
/// # Errors
/// [`Unassembled`], when the stream is no whole answer, or has pieces of which nobody but their maker knows how they go together.
pub fn whole_of(dialect: Dialect, data: &[&str], now: u64, out: &mut Vec<u8>) -> Result<(), Unassembled> {
    if dialect == Dialect::Responses {
        // It is told whole at its end.
        let ends = data.iter().rev().find_map(|data| completed(data));
        out.extend_from_slice(ends.ok_or(Unassembled("it has no end"))?.as_bytes());
        return Ok(());
    }
    let (mut decoder, mut assembly) = (StreamDecoder::new(dialect), Assembly::default());
    for data in data {
        let read = decoder.decode(data, &mut |event| assembly.take(event));
        read.map_err(|_| Unassembled("it holds what is no event"))?;
    }
    decoder.finish(&mut |event| assembly.take(event));
    match (assembly.fault, assembly.ended) {
        (Some(fault), _) => return Err(Unassembled(fault)),
        (None, false) => return Err(Unassembled("it has no end")),
        (None, true) => {}
    }
    let parts = assembly.parts();
    encode_response(dialect, &parts.response(dialect), now, out);
    Ok(())
}

/// Why a stream could not be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unassembled(&'static str);

impl fmt::Display for Unassembled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stream makes up no whole answer: {}", self.0)
    }
}

impl std::error::Error for Unassembled {}

/// Gives the events that tell a whole answer.
fn events_of<'a>(response: &Response<'a>, sink: &mut impl FnMut(Event<'a>)) {
    // Ahead of the start, as some dialects state it there.
    let usage = |sink: &mut dyn FnMut(Event<'a>)| {
        response.usage.into_iter().for_each(|spent| sink(Event::Usage(spent)))
    };
    usage(sink);
    let Response { id, model, created, .. } = response.clone();
    sink(Event::Start { id, model, created });
    extras(&response.extra, None, Scope::Answer, sink);
    for choice in &response.choices {
        let index = choice.index;
        extras(&choice.extra, Some(index), Scope::Choice, sink);
        extras(&choice.message_extra, Some(index), Scope::Delta, sink);
        for (block, content) in (0..).zip(&choice.content) {
            told(index, block, content, sink);
        }
        if let Some(raw) = choice.logprobs {
            sink(Event::Logprobs { choice: index, raw });
        }
    }
    usage(sink);
    for choice in &response.choices {
        if let Some(finish) = choice.finish.clone() {
            sink(Event::Finish { choice: choice.index, finish });
        }
    }
    sink(Event::End);
}

fn extras<'a>(extra: &Extra<'a>, choice: Option<u64>, scope: Scope, sink: &mut impl FnMut(Event<'a>)) {
    for (name, raw) in extra {
        if raw.get() != "null" {
            sink(Event::Extra { choice, scope, name: name.clone().into_owned().into(), raw });
        }
    }
}

/// Tells one block.
fn told<'a>(choice: u64, block: u64, content: &Block<'a>, sink: &mut impl FnMut(Event<'a>)) {
    let mut deltas = Vec::new();
    let opening = match content.kind.clone() {
        BlockKind::Text { text, citations } => {
            deltas.push(Delta::Text(text));
            let citations = citations.map(|raw| document::<Vec<&'a RawValue>>(raw.get()));
            deltas.extend(citations.into_iter().flatten().flatten().map(Delta::Citation));
            Opening::Text
        }
        BlockKind::Refusal(text) => {
            deltas.push(Delta::Refusal(text));
            Opening::Refusal
        }
        BlockKind::Thinking { text, signature } => {
            deltas.push(Delta::Thinking(text));
            deltas.extend(signature.map(Delta::Signature));
            Opening::Thinking
        }
        BlockKind::RedactedThinking { data } => Opening::RedactedThinking { data },
        BlockKind::ToolCall(ToolCall { id, name, arguments }) => {
            deltas.push(Delta::Arguments(match arguments {
                Arguments::Json(raw) => raw.get().into(),
                Arguments::String(text) => text,
            }));
            Opening::ToolCall { id, name }
        }
        BlockKind::Native { dialect, raw, .. } => Opening::Native { dialect, raw },
        // Answers hold none of these.
        BlockKind::Image { .. } | BlockKind::File { .. } | BlockKind::ToolResult { .. } => return,
    };
    extras(&content.extra, Some(choice), Scope::Block, sink);
    sink(Event::Open { choice, block, opening });
    // An empty piece of arguments would be taken for a beginning of them.
    let says = |delta: &Delta<'_>| match delta {
        Delta::Text(text) | Delta::Refusal(text) | Delta::Thinking(text) | Delta::Arguments(text) => {
            !text.is_empty()
        }
        _ => true,
    };
    deltas.into_iter().filter(says).for_each(|delta| sink(Event::Delta { choice, block, delta }));
    sink(Event::Close { choice, block });
}

wire_object! {
    struct WireCompleted { kind: Text<'a> = "type", response: &'a RawValue = "response", }
    struct WireKind { kind: Text<'a> = "type", }
    struct WireLogprobs { content: Vec<&'a RawValue> = "content", refusal: Vec<&'a RawValue> = "refusal", }
}

/// The whole answer, where an event of Responses is the end of it.
fn completed(data: &str) -> Option<&str> {
    let wire: WireCompleted<'_> = document(data).ok()?;
    let ends = |kind: &Text<'_>| *kind == *"response.completed" || *kind == *"response.incomplete";
    wire.kind.filter(ends)?;
    Some(wire.response?.get())
}

/// What has come of a stream.
#[derive(Default)]
struct Assembly<'a> {
    id: Option<Text<'a>>,
    model: Option<Text<'a>>,
    created: Option<u64>,
    choices: BTreeMap<u64, ChoiceSoFar<'a>>,
    usage: Option<Spent<'a>>,
    /// As it was stated, each part of it last.
    stated: Vec<(Cow<'a, str>, &'a RawValue)>,
    extra: Extra<'a>,
    /// Members of blocks that have not begun.
    ahead: BTreeMap<u64, Extra<'a>>,
    ended: bool,
    fault: Option<&'static str>,
}

#[derive(Default)]
struct ChoiceSoFar<'a> {
    blocks: Vec<BlockSoFar<'a>>,
    /// Where in `blocks` each is.
    places: BTreeMap<u64, usize>,
    logprobs: Option<(Vec<&'a RawValue>, Vec<&'a RawValue>)>,
    finish: Option<Finish<'a>>,
    extra: Extra<'a>,
    message: Vec<(Cow<'a, str>, Vec<&'a RawValue>)>,
}

struct BlockSoFar<'a> {
    opening: Opening<'a>,
    text: Text<'a>,
    signature: Option<Text<'a>>,
    citations: Vec<&'a RawValue>,
    extra: Extra<'a>,
}

/// What a stream has come to, with the JSON that had to be put together.
struct Parts<'a> {
    assembly: Assembly<'a>,
    usage: Option<Box<RawValue>>,
    choices: Vec<ChoiceJson<'a>>,
}

struct ChoiceJson<'a> {
    /// Of each block, what had to be put together: its citations, or where it is not known, the block.
    blocks: Vec<Option<Box<RawValue>>>,
    logprobs: Option<Box<RawValue>>,
    message: Vec<(Cow<'a, str>, Box<RawValue>)>,
}

// ===== impl Assembly =====

impl<'a> Assembly<'a> {
    fn take(&mut self, event: Event<'a>) {
        match event {
            Event::Start { id, model, created } => (self.id, self.model, self.created) = (id, model, created),
            Event::Open { choice, block, opening } => {
                let extra = self.ahead.remove(&choice).unwrap_or_default();
                let choice = self.choices.entry(choice).or_default();
                choice.places.insert(block, choice.blocks.len());
                choice.blocks.push(BlockSoFar::new(opening, extra));
            }
            Event::Delta { choice, block, delta } => {
                let choice = self.choices.entry(choice).or_default();
                let place = choice.places.get(&block).copied();
                match place.and_then(|place| choice.blocks.get_mut(place)) {
                    Some(block) => self.fault = self.fault.or(block.grow(delta).err()),
                    None => self.fault = Some("it goes on with a block that did not begin"),
                }
            }
            Event::Logprobs { choice, raw } => {
                let wire: WireLogprobs<'a> = document(raw.get()).unwrap_or_default();
                let choice = self.choices.entry(choice).or_default();
                let (content, refusal) = choice.logprobs.get_or_insert_default();
                content.extend(wire.content.into_iter().flatten());
                refusal.extend(wire.refusal.into_iter().flatten());
            }
            Event::Finish { choice, finish } => self.choices.entry(choice).or_default().finish = Some(finish),
            Event::Usage(spent) => self.count(spent),
            Event::Extra { choice, scope, name, raw } => self.extra(choice, scope, name.decode(), raw),
            Event::Error(_) => self.fault = Some("it ends in an error"),
            Event::End => self.ended = true,
            Event::Close { .. } | Event::Ping => {}
        }
    }

    /// Counts, which some state in parts, at the beginning and at the end.
    fn count(&mut self, spent: Spent<'a>) {
        let mut counts = self.usage.map_or(spent.counts, |known| known.counts);
        counts.update(&spent.counts);
        self.usage = Some(Spent { counts, ..spent });
        for (name, raw) in members(spent.raw) {
            put(&mut self.stated, name, raw);
        }
    }

    fn extra(&mut self, choice: Option<u64>, scope: Scope, name: Cow<'a, str>, raw: &'a RawValue) {
        match (scope, choice) {
            (Scope::Answer, _) | (_, None) => put(&mut self.extra, name, raw),
            (Scope::Choice, Some(choice)) => {
                put(&mut self.choices.entry(choice).or_default().extra, name, raw)
            }
            (Scope::Block, Some(choice)) => put(self.ahead.entry(choice).or_default(), name, raw),
            (Scope::Delta, Some(choice)) => {
                // Of a list, which its name marks, this is an element.
                if name.ends_with("[]") {
                    self.fault = Some("it has calls of another kind than functions in pieces");
                    return;
                }
                let message = &mut self.choices.entry(choice).or_default().message;
                match message.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, pieces)) if goes_on(pieces[0]) && goes_on(raw) => pieces.push(raw),
                    Some(_) => self.fault = Some("it has pieces of a member that is not known"),
                    None => message.push((name, vec![raw])),
                }
            }
        }
    }

    fn parts(self) -> Parts<'a> {
        let usage = self.usage.is_some().then(|| object_of(&self.stated));
        let choices = self.choices.values().map(ChoiceSoFar::json).collect();
        Parts { usage, choices, assembly: self }
    }
}

/// The members of an object.
fn members(raw: &RawValue) -> Extra<'_> {
    let mut all = Vec::new();
    let _walked: Result<(), ziggurat_core::json::Fault> = Cursor::new(raw.get()).object(|key, cursor| {
        let value = cursor.value()?;
        all.extend(serde_json::from_str(value).ok().map(|raw| (ziggurat_core::json::name_of(key), raw)));
        Ok(())
    });
    all
}

/// Sets a member: what is stated later replaces what was.
fn put<'a>(extra: &mut Extra<'a>, name: Cow<'a, str>, raw: &'a RawValue) {
    match extra.iter_mut().find(|(known, _)| *known == name) {
        Some((_, value)) => *value = raw,
        None => extra.push((name, raw)),
    }
}

/// Whether it is known how a member's pieces go together: of lists, each brings more; of numbers, the last holds.
fn goes_on(raw: &RawValue) -> bool {
    raw.get().starts_with(['[', '-']) || raw.get().starts_with(|c: char| c.is_ascii_digit())
}

/// Puts pieces of a member together.
fn together(pieces: &[&RawValue]) -> Box<RawValue> {
    let [earlier @ .., last] = pieces else { return RawValue::NULL.to_owned() };
    if earlier.is_empty() || !last.get().starts_with('[') {
        return (*last).to_owned();
    }
    let mut all: Vec<Value> = Vec::new();
    for piece in pieces {
        for element in document::<Vec<&RawValue>>(piece.get()).unwrap_or_default() {
            let element: Value = document(element.get()).unwrap_or_default();
            let same = |other: &&mut Value| {
                !element["index"].is_null() && ["index", "type"].iter().all(|it| other[it] == element[it])
            };
            match (all.iter_mut().rev().find(same), element) {
                (Some(Value::Object(known)), Value::Object(element)) => grow(known, element),
                (_, element) => all.push(element),
            }
        }
    }
    raw(Value::from(all).to_string())
}

/// Lets an element of a numbered list grow, as OpenRouter's `reasoning_details` do.
fn grow(known: &mut Map<String, Value>, piece: Map<String, Value>) {
    for (name, value) in piece {
        match (known.get_mut(&name), value) {
            (Some(Value::String(known)), Value::String(more)) if GROWING.contains(&&*name) => {
                known.push_str(&more)
            }
            (_, value) => {
                known.insert(name, value);
            }
        }
    }
}

const GROWING: [&str; 4] = ["text", "summary", "data", "signature"];

// ===== impl ChoiceSoFar =====

impl<'a> ChoiceSoFar<'a> {
    fn json(&self) -> ChoiceJson<'a> {
        let blocks = self.blocks.iter().map(BlockSoFar::json);
        let logprobs = self.logprobs.as_ref().map(|(content, refusal)| {
            let [content, refusal] = [content, refusal].map(|list| match list.is_empty() {
                true => "null".to_owned(),
                false => list_of(list).get().to_owned(),
            });
            raw(format!("{{\"content\":{content},\"refusal\":{refusal}}}"))
        });
        let message = self.message.iter().map(|(name, pieces)| (name.clone(), together(pieces)));
        ChoiceJson { blocks: blocks.collect(), logprobs, message: message.collect() }
    }
}

fn list_of(elements: &[&RawValue]) -> Box<RawValue> {
    let elements: Vec<&str> = elements.iter().map(|raw| raw.get()).collect();
    raw(format!("[{}]", elements.join(",")))
}

fn object_of(members: &Extra<'_>) -> Box<RawValue> {
    let mut out = Vec::new();
    crate::write::object(&mut out, |object| {
        members.iter().for_each(|(name, value)| object.json(name, value.get()))
    });
    raw(String::from_utf8(out).expect("invariant: what was put together of strings is one"))
}

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("invariant: what was put together of JSON is JSON")
}

// ===== impl BlockSoFar =====

impl<'a> BlockSoFar<'a> {
    fn new(opening: Opening<'a>, extra: Extra<'a>) -> Self {
        Self { opening, text: "".into(), signature: None, citations: Vec::new(), extra }
    }

    fn grow(&mut self, delta: Delta<'a>) -> Result<(), &'static str> {
        match (delta, &self.opening) {
            (Delta::Text(text), Opening::Text)
            | (Delta::Refusal(text), Opening::Refusal)
            | (Delta::Thinking(text), Opening::Thinking)
            | (Delta::Arguments(text), Opening::ToolCall { .. } | Opening::Native { .. }) => {
                self.text.push(&text)
            }
            (Delta::Signature(signature), Opening::Thinking) => match &mut self.signature {
                Some(known) => known.push(&signature),
                None => self.signature = Some(signature),
            },
            (Delta::Citation(raw), Opening::Text) => self.citations.push(raw),
            _ => return Err("it has pieces of a block that is not known"),
        }
        Ok(())
    }

    fn json(&self) -> Option<Box<RawValue>> {
        match &self.opening {
            // A call of a server's tool, whose input came in pieces.
            Opening::Native { raw, .. } if !self.text.is_empty() => {
                let input: Box<RawValue> = serde_json::from_str(&self.text.decode()).ok()?;
                let mut all = members(raw);
                put(&mut all, "input".into(), &input);
                Some(object_of(&all))
            }
            _ => (!self.citations.is_empty()).then(|| list_of(&self.citations)),
        }
    }

    /// With the JSON that had to be put together for it.
    fn block<'b>(&'b self, json: Option<&'b RawValue>) -> Block<'b> {
        let text = self.text.clone();
        let kind = match self.opening.clone() {
            Opening::Text => BlockKind::Text { text, citations: json },
            Opening::Refusal => BlockKind::Refusal(text),
            Opening::Thinking => BlockKind::Thinking { text, signature: self.signature.clone() },
            Opening::RedactedThinking { data } => BlockKind::RedactedThinking { data },
            Opening::ToolCall { id, name } => {
                let arguments = if text.is_empty() { "{}".into() } else { text };
                BlockKind::ToolCall(ToolCall { id, name, arguments: Arguments::String(arguments) })
            }
            Opening::Native { dialect, raw } => {
                let wire: WireKind<'_> = document(raw.get()).unwrap_or_default();
                BlockKind::Native {
                    dialect,
                    kind: wire.kind.unwrap_or_else(|| "".into()),
                    raw: json.unwrap_or(raw),
                }
            }
        };
        Block { extra: self.extra.clone(), ..Block::new(kind) }
    }
}

// ===== impl Parts =====

impl Parts<'_> {
    fn response(&self, dialect: Dialect) -> Response<'_> {
        let Assembly { id, model, created, extra, usage, .. } = &self.assembly;
        let choices = self.assembly.choices.iter().zip(&self.choices).map(|((index, choice), json)| Choice {
            index: *index,
            content: choice
                .blocks
                .iter()
                .zip(&json.blocks)
                .map(|(block, raw)| block.block(raw.as_deref()))
                .collect(),
            finish: choice.finish.clone(),
            logprobs: json.logprobs.as_deref(),
            extra: choice.extra.clone(),
            message_extra: json.message.iter().map(|(name, raw)| (name.clone(), &**raw)).collect(),
        });
        Response {
            dialect,
            id: id.clone(),
            model: model.clone(),
            created: *created,
            choices: choices.collect(),
            usage: usage.zip(self.usage.as_deref()).map(|(spent, raw)| Spent { raw, ..spent }),
            extra: extra.clone(),
        }
    }
}
