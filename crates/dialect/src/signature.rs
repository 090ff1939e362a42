//! Whose a signature is. It is opaque, its maker alone takes it back, and another refuses the whole request for it.
//!
//! A caller's dialect is the form of one maker's thoughts: there, that maker's signatures are as they are, and those of others bear a mark,
//! with which they come back. Where a signature goes to a provider, its mark is taken off, and one of another maker's is left out. So is what
//! callers keep from elsewhere without a mark, unless it is of their own dialect's maker.

use std::{borrow::Cow, collections::HashSet};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ziggurat_core::{Dialect, Thoughts};

use crate::{
    Block, BlockKind, Delta, Event, Opening, Request, Response, Role, Text, anthropic::cannot_think_on,
    gemini::SIGNATURE, responses::REDACTED,
};

/// Who made a signature. Claude's are the same at Anthropic, on Vertex AI and on Bedrock (Anthropic's guide to extended thinking).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Claude,
    Gemini,
    Responses,
    /// Whoever stands behind OpenRouter and gateways like it: their details of thoughts are no signatures, and are [`sealed`] into one.
    Router,
}

/// Marks the signatures of a provider's stream that its caller's dialect is not the home of.
#[derive(Debug)]
pub struct SignatureMarks {
    mark: Option<&'static str>,
    /// Whether the caller has what is sealed as it is.
    has_sealed: bool,
    /// The open blocks whose signature has begun, by choice and block.
    begun: HashSet<(u64, u64)>,
}

/// Whether a body may hold a marked signature: a member that is one's by its name has a mark. Text that tells of marks does not count.
#[must_use]
pub fn has_signature_mark(body: &[u8]) -> bool {
    memchr::memmem::find_iter(body, STEM.as_bytes()).any(|at| begins_signature(&body[..at]))
}

/// Whether a string whose beginning stands at the end of this is the value of a member that holds signatures.
fn begins_signature(before: &[u8]) -> bool {
    let before = before.strip_suffix(REDACTED.as_bytes()).unwrap_or(before);
    let Some(before) = before.strip_suffix(b"\"") else { return false };
    let Some(before) = before.trim_ascii_end().strip_suffix(b":") else { return false };
    let before = before.trim_ascii_end();
    MEMBERS.iter().any(|name| before.ends_with(name.as_bytes()))
}

/// The members that hold signatures and what is redacted, in the dialects of those who send them, with their quotes.
const MEMBERS: &[&str] =
    &["\"signature\"", "\"data\"", "\"thoughtSignature\"", "\"thought_signature\"", "\"encrypted_content\""];

/// What all marks begin with.
const STEM: &str = "zigguratOf";

// ===== impl Maker =====

impl Maker {
    const ALL: [Self; 4] = [Self::Claude, Self::Gemini, Self::Responses, Self::Router];

    /// The maker whose thoughts a dialect is the form of. Thinking blocks beside OpenAI's chats are Anthropic's.
    const fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Gemini => Self::Gemini,
            Dialect::Responses => Self::Responses,
            _ => Self::Claude,
        }
    }

    /// The maker whose signatures a provider of a dialect takes.
    const fn taken_by(provider: Dialect) -> Self {
        match provider {
            Dialect::OpenAi => Self::Router,
            _ => Self::of(provider),
        }
    }

    /// The mark. Google's SDKs take signatures for base64, decode them and encode them anew: letters, four or a multiple of it, leave them that.
    const fn mark(self) -> &'static str {
        match self {
            Self::Claude => "zigguratOfClaude",
            Self::Gemini => "zigguratOfGemini",
            Self::Responses => "zigguratOfOpenai",
            Self::Router => "zigguratOfRouter",
        }
    }

    /// Whose mark a signature bears, and what it is without.
    fn read<'a>(signature: &Text<'a>) -> Option<(Self, Text<'a>)> {
        Self::ALL.into_iter().find_map(|maker| Some((maker, signature.strip_prefix(maker.mark())?)))
    }
}

/// The mark for what a provider signs, `None` in front of callers to whom it is at home.
fn mark(provider: Dialect, caller: Dialect) -> Option<&'static str> {
    let maker = Maker::of(provider);
    (maker != Maker::of(caller)).then(|| maker.mark())
}

/// What a gateway says of a thought in JSON, as a signature with a mark, wherever it goes.
pub(crate) fn sealed(json: &[u8]) -> Text<'static> {
    format!("{}{}", Maker::Router.mark(), STANDARD.encode(json)).into()
}

/// Whether it is sealed. OpenAI's callers have it in the words it came in.
fn is_sealed(signature: &Text<'_>) -> bool {
    signature.strip_prefix(Maker::Router.mark()).is_some()
}

/// The signature with the mark, unless it is none or already has one, as behind another gateway.
fn marked<'a>(signature: &Text<'a>, mark: &'static str) -> Text<'a> {
    match signature.is_empty() || Maker::read(signature).is_some() {
        true => signature.clone(),
        false => Text::from(mark).join(signature),
    }
}

/// A signature as Google's callers get it: behind a mark stands base64 of it. Some of their SDKs encode it anew in the URL-safe alphabet, and
/// others read no other than the standard one; not every maker's is base64.
pub(crate) fn for_google(signature: Text<'_>) -> Text<'_> {
    match Maker::read(&signature) {
        Some((maker, own)) => format!("{}{}", maker.mark(), STANDARD.encode(own.decode().as_bytes())).into(),
        None => signature,
    }
}

/// What stands behind a mark of a Google caller's, as its maker signed it.
fn of_google(text: &str) -> Option<Text<'static>> {
    let standard = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    Some(String::from_utf8(STANDARD_NO_PAD.decode(standard).ok()?).ok()?.into())
}

// ===== answers =====

/// An answer as a caller of `dialect` gets it: with marks, where it is not the signatures' home.
pub(crate) fn with_marks<'r, 'a>(dialect: Dialect, response: &'r Response<'a>) -> Cow<'r, Response<'a>> {
    let Some(mark) = mark(response.dialect, dialect) else {
        return if dialect == Dialect::OpenAi { without_sealed(response) } else { Cow::Borrowed(response) };
    };
    if !response.choices.iter().flat_map(|choice| &choice.content).any(|block| secret(block).is_some()) {
        return Cow::Borrowed(response);
    }
    let mut response = response.clone();
    for block in response.choices.iter_mut().flat_map(|choice| &mut choice.content) {
        if let Some(secret) = secret_mut(block) {
            *secret = marked(secret, mark);
            if dialect == Dialect::Gemini {
                *secret = for_google(secret.clone());
            }
        }
    }
    Cow::Owned(response)
}

/// An answer for a caller who has what is sealed in the words it came in.
fn without_sealed<'r, 'a>(response: &'r Response<'a>) -> Cow<'r, Response<'a>> {
    let is_sealed = |block: &Block<'a>| secret(block).is_some_and(is_sealed);
    if !response.choices.iter().flat_map(|choice| &choice.content).any(is_sealed) {
        return Cow::Borrowed(response);
    }
    let mut response = response.clone();
    for choice in &mut response.choices {
        choice.content.retain(|block| !is_sealed(block));
    }
    Cow::Owned(response)
}

/// What of a block its maker alone reads.
fn secret<'r, 'a>(block: &'r Block<'a>) -> Option<&'r Text<'a>> {
    match &block.kind {
        BlockKind::Thinking { signature, .. } => signature.as_ref(),
        BlockKind::RedactedThinking { data } => Some(data),
        _ => None,
    }
}

fn secret_mut<'r, 'a>(block: &'r mut Block<'a>) -> Option<&'r mut Text<'a>> {
    match &mut block.kind {
        BlockKind::Thinking { signature, .. } => signature.as_mut(),
        BlockKind::RedactedThinking { data } => Some(data),
        _ => None,
    }
}

// ===== impl SignatureMarks =====

impl SignatureMarks {
    /// For a stream of a provider of one dialect in front of a caller of another.
    #[must_use]
    pub fn new(provider: Dialect, caller: Dialect) -> Self {
        let has_sealed = provider == Dialect::OpenAi && caller == Dialect::OpenAi;
        Self { mark: mark(provider, caller), has_sealed, begun: HashSet::new() }
    }

    /// The event as the caller gets it, `None` where it is that already.
    pub fn event<'a>(&mut self, event: &Event<'a>) -> Option<Event<'a>> {
        if self.has_sealed {
            return unsealed(event);
        }
        let mark = self.mark?;
        match event {
            Event::Delta { choice, block, delta: Delta::Signature(piece) }
                if !piece.is_empty() && self.begun.insert((*choice, *block)) =>
            {
                let delta = Delta::Signature(marked(piece, mark));
                Some(Event::Delta { choice: *choice, block: *block, delta })
            }
            Event::Open { choice, block, opening: Opening::RedactedThinking { data } } => {
                let opening = Opening::RedactedThinking { data: marked(data, mark) };
                Some(Event::Open { choice: *choice, block: *block, opening })
            }
            Event::Close { choice, block } => {
                self.begun.remove(&(*choice, *block));
                None
            }
            _ => None,
        }
    }
}

/// The event for a caller who has what is sealed in the words it came in: without that.
fn unsealed<'a>(event: &Event<'a>) -> Option<Event<'a>> {
    match event {
        Event::Delta { choice, block, delta: Delta::Signature(signature) } if is_sealed(signature) => {
            let delta = Delta::Signature("".into());
            Some(Event::Delta { choice: *choice, block: *block, delta })
        }
        _ => None,
    }
}

// ===== requests =====

/// The request without marks, and without what other makers than that of `target` signed: the words of their thoughts are then as those of
/// unsigned ones are, or gone where the target would take them for its own.
pub(crate) fn own_signatures<'r, 'a>(
    target: Dialect,
    thoughts: Option<Thoughts>,
    request: &'r Request<'a>,
) -> Cow<'r, Request<'a>> {
    let same = request.dialect == target;
    let reads = match target {
        Dialect::Anthropic | Dialect::Converse | Dialect::Gemini | Dialect::Responses => true,
        // What a chat's provider gave goes back to it as it was.
        Dialect::OpenAi => !same && thoughts == Some(Thoughts::ReasoningDetails),
        _ => false,
    };
    if !reads {
        return Cow::Borrowed(request);
    }
    let (maker, home) = (Maker::taken_by(target), Maker::of(request.dialect));
    let blocks = |request: &'r Request<'a>| request.messages.iter().flat_map(|message| &message.content);
    if !blocks(request).any(|block| Signed::of(block, maker, home) != Signed::AsItStands) {
        return Cow::Borrowed(request);
    }
    let mut request = request.clone();
    if home == Maker::Gemini {
        join_thoughts(&mut request);
    }
    request.messages.retain_mut(|message| {
        let was_empty = message.content.is_empty();
        // In their own dialect, so are the words beside what another maker signed.
        let of_others =
            same && message.content.iter().any(|block| Signed::of(block, maker, home) == Signed::Elsewhere);
        message.content.retain_mut(|block| match Signed::of(block, maker, home) {
            Signed::AsItStands => !(of_others && is_unsigned(block)),
            Signed::Marked(own) => {
                if let Some(secret) = secret_mut(block) {
                    *secret = own;
                }
                true
            }
            Signed::Elsewhere => forget(block, same),
        });
        was_empty || !message.content.is_empty()
    });
    if request.dialect == Dialect::Anthropic && maker == Maker::Claude && cannot_think_on(&request) {
        request.reasoning.iter_mut().for_each(|reasoning| reasoning.thinking = None);
    }
    Cow::Owned(request)
}

/// Puts thoughts of other makers together again, which a Google caller has in as many parts and turns as they were streamed in, and whose
/// signature stands on the last: it is one of all of their words.
fn join_thoughts(request: &mut Request<'_>) {
    // The unsigned thoughts that nothing has followed yet, by message and block.
    let mut ahead: Vec<(usize, usize)> = Vec::new();
    let mut gone = HashSet::new();
    let mut words = String::new();
    for (number, message) in request.messages.iter_mut().enumerate() {
        for (place, block) in message.content.iter_mut().enumerate() {
            match &mut block.kind {
                BlockKind::Thinking { text, signature: None } if message.role == Role::Assistant => {
                    words.push_str(&text.decode());
                    ahead.push((number, place));
                }
                BlockKind::Thinking { text, signature: Some(signature) }
                    if Maker::read(signature).is_some() && !ahead.is_empty() =>
                {
                    words.push_str(&text.decode());
                    *text = std::mem::take(&mut words).into();
                    gone.extend(ahead.drain(..));
                }
                _ => {
                    words.clear();
                    ahead.clear();
                }
            }
        }
    }
    let mut number = 0..;
    request.messages.retain_mut(|message| {
        let (number, mut place) = (number.next(), 0..);
        let was_empty = message.content.is_empty();
        message.content.retain(|_| number.zip(place.next()).is_none_or(|at| !gone.contains(&at)));
        was_empty || !message.content.is_empty()
    });
}

/// What a block's signature is to a target.
#[derive(PartialEq)]
enum Signed<'a> {
    /// None, or the target's own.
    AsItStands,
    /// The target's own once it is without its mark.
    Marked(Text<'a>),
    /// Another maker's.
    Elsewhere,
}

impl<'a> Signed<'a> {
    fn of(block: &Block<'a>, target: Maker, home: Maker) -> Self {
        let is_marked = |json: &str| json.strip_prefix('"').is_some_and(|text| text.starts_with(STEM));
        if matches!(block.kind, BlockKind::ToolCall(_)) {
            // A Gemini caller gives it back on the call as well as on the thought before that.
            let marked = block.extra.iter().any(|(name, raw)| name == SIGNATURE && is_marked(raw.get()));
            return if marked { Self::Elsewhere } else { Self::AsItStands };
        }
        let Some(secret) = secret(block).filter(|secret| !secret.is_empty()) else { return Self::AsItStands };
        match Maker::read(secret) {
            Some((maker, own)) if maker == target => match home {
                Maker::Gemini => of_google(&own.decode()).map_or(Self::Elsewhere, Self::Marked),
                _ => Self::Marked(own),
            },
            None if home == target => Self::AsItStands,
            _ => Self::Elsewhere,
        }
    }
}

fn is_unsigned(block: &Block<'_>) -> bool {
    matches!(&block.kind, BlockKind::Thinking { signature, .. } if signature.as_ref().is_none_or(Text::is_empty))
}

/// Takes what another maker signed from a block; whether the block stays. `same` is whether the caller speaks the target's dialect: there an
/// unsigned thought would pass as it stands, and be refused.
fn forget(block: &mut Block<'_>, same: bool) -> bool {
    match &mut block.kind {
        BlockKind::Thinking { signature, .. } => {
            *signature = None;
            !same
        }
        BlockKind::RedactedThinking { .. } => false,
        _ => {
            block.extra.retain(|(name, _)| name != SIGNATURE);
            true
        }
    }
}
