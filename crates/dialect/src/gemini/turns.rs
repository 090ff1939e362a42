//! Turns of a model as a Google caller has them: in as many parts and contents as they were streamed in.

use std::{borrow::Cow, slice};

use ziggurat_core::Dialect;

use super::request::is_plain;
use crate::{Block, BlockKind, Message, Request, Role};

/// The request for a provider of another dialect, each turn of the model as one and each of its texts whole: Google's SDKs keep every chunk
/// of a stream as a content of its own (`client.chats`), of which others take a blank one for none, or a second turn in a row for a mistake.
pub(crate) fn put_together<'r, 'a>(target: Dialect, request: &'r Request<'a>) -> Cow<'r, Request<'a>> {
    if request.dialect != Dialect::Gemini || target == Dialect::Gemini || !is_in_pieces(request) {
        return Cow::Borrowed(request);
    }
    let mut request = request.clone();
    let mut turns: Vec<Message<'a>> = Vec::with_capacity(request.messages.len());
    for message in request.messages {
        match turns.last_mut() {
            Some(turn) if goes_on(turn, &message) => turn.content.extend(message.content),
            _ => turns.push(message),
        }
    }
    turns.iter_mut().filter(|turn| turn.role == Role::Assistant).for_each(join_texts);
    request.messages = turns;
    Cow::Owned(request)
}

fn is_in_pieces(request: &Request<'_>) -> bool {
    let has_pieces = |message: &Message<'_>| {
        let said = || message.content.iter().filter(|block| !is_wordless(block));
        message.role == Role::Assistant && said().zip(said().skip(1)).any(|(a, b)| is_text(a) && is_text(b))
    };
    let mut pairs = request.messages.iter().zip(request.messages.iter().skip(1));
    pairs.any(|(turn, next)| goes_on(turn, next)) || request.messages.iter().any(has_pieces)
}

/// Whether the model still speaks.
fn goes_on(turn: &Message<'_>, next: &Message<'_>) -> bool {
    let is_models = |message: &Message<'_>| message.role == Role::Assistant && message.extra.is_empty();
    is_models(turn) && is_models(next)
}

fn join_texts(turn: &mut Message<'_>) {
    let mut whole: Vec<Block<'_>> = Vec::with_capacity(turn.content.len());
    for block in std::mem::take(&mut turn.content) {
        let last = whole.iter_mut().rev().find(|last| !is_wordless(last)).filter(|last| is_text(last));
        match (last.map(|last| &mut last.kind), &block.kind) {
            (Some(BlockKind::Text { text, .. }), BlockKind::Text { text: next, .. }) if is_text(&block) => {
                text.push(next);
            }
            _ => whole.push(block),
        }
    }
    turn.plain = is_plain(&whole);
    turn.content = whole;
}

/// Whether a block is a signature alone: it stands between the pieces of a text, or ahead of an empty one that only carried it.
fn is_wordless(block: &Block<'_>) -> bool {
    matches!(&block.kind, BlockKind::Thinking { text, .. } if text.is_empty())
}

/// Whether a block is a text and nothing else: neither signed nor with members of its own.
fn is_text(block: &Block<'_>) -> bool {
    is_plain(slice::from_ref(block))
}
