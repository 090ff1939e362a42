//! What of a conversation is compared by its meaning.

use std::ops::Range;

use ziggurat_core::{Call, Operation};
use ziggurat_dialect::{Block, BlockKind, Message, Role, Text, decode_request};

/// A call, in two parts.
pub(crate) struct Question {
    /// The body without what is compared by its meaning: the rest of it has to be equal.
    pub(crate) rest: String,
    /// What is compared by its meaning.
    pub(crate) text: String,
}

/// How much of a conversation is compared by its meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Whether turns before the last are.
    pub(crate) earlier: bool,
    /// Most bytes of text.
    pub(crate) most: usize,
}

// ===== impl Question =====

impl Question {
    /// The question that a call asks; `None` where it asks none in words, or in too many.
    pub(crate) fn of(call: &Call, extent: Extent) -> Option<Self> {
        if !call.operation().generates_text() || call.operation() == Operation::Completions {
            return None;
        }
        let request = decode_request(call.dialect(), call.text()).ok()?;
        // What the operator says, wherever it stands, has to be equal.
        let mut turns = request.messages.iter().rev().filter(|message| !is_operators(message));
        let last = turns.next().filter(|message| message.role == Role::User)?;
        let (mut text, mut places) = (said(last), places(call.text(), last)?);
        if text.trim().is_empty() || text.len() > extent.most {
            return None;
        }
        let mut has_earlier = false;
        for turn in turns.take_while(|_| extent.earlier) {
            let Some(speaker) = speaker(turn) else { break };
            // The last has its speaker's name when another stands before it.
            let behind = if has_earlier { text.clone() } else { format!("user: {text}") };
            let longer = format!("{speaker}: {}\n{behind}", said(turn));
            let Some(more) = self::places(call.text(), turn).filter(|_| longer.len() <= extent.most) else {
                break;
            };
            (text, has_earlier) = (longer, true);
            places.extend(more);
        }
        Some(Self { rest: without(call.text(), places)?, text })
    }
}

fn is_operators(message: &Message<'_>) -> bool {
    matches!(message.role, Role::System | Role::Developer)
}

fn speaker(message: &Message<'_>) -> Option<&'static str> {
    match message.role {
        Role::User => Some("user"),
        Role::Assistant => Some("assistant"),
        // What a tool said is data, and has to be equal.
        Role::Tool | Role::System | Role::Developer => None,
    }
}

fn texts<'m, 'a>(message: &'m Message<'a>) -> impl Iterator<Item = &'m Text<'a>> {
    message.content.iter().filter_map(|Block { kind, .. }| match kind {
        BlockKind::Text { text, .. } => Some(text),
        _ => None,
    })
}

/// The words of a turn.
fn said(message: &Message<'_>) -> String {
    let mut all = String::new();
    for text in texts(message) {
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(&text.decode());
    }
    all
}

/// Where the words of a turn stand in the body.
fn places(body: &str, message: &Message<'_>) -> Option<Vec<Range<usize>>> {
    let place = |text: &Text<'_>| {
        let written = text.as_written()?;
        let start = (written.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        let range = start..start.checked_add(written.len())?;
        (body.get(range.clone())? == written).then_some(range)
    };
    texts(message).map(place).collect()
}

/// The body with nothing at these places.
fn without(body: &str, mut places: Vec<Range<usize>>) -> Option<String> {
    places.sort_unstable_by_key(|place| place.start);
    let (mut rest, mut at) = (String::with_capacity(body.len()), 0);
    for place in places {
        rest.push_str(body.get(at..place.start)?);
        at = place.end;
    }
    rest.push_str(body.get(at..)?);
    Some(rest)
}
