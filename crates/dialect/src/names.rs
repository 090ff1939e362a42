//! Tool names that a provider does not take, the ones that it is given instead, and back again.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use sha2::{Digest, Sha256};
use ziggurat_core::Dialect;

use crate::{BlockKind, Request, Response, Text, Tool, ToolChoice};

/// The callers' names behind those that a provider was given: its answer is put right with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolNames(HashMap<String, String>);

/// What names of tools look like.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Bytes of the longest.
    longest: usize,
    /// What may stand in them beside letters and digits of ASCII.
    marks: &'static [u8],
    /// Whether a digit or a mark other than `_` may begin them.
    begins_with_any: bool,
}

// ===== impl ToolNames =====

impl ToolNames {
    /// The names in a request that [`encode_request`](crate::encode_request) changes for a provider of a dialect.
    #[must_use]
    pub fn of(provider: Dialect, request: &Request<'_>) -> Self {
        Self(changed(provider, request).into_iter().map(|(own, given)| (given, own.into_owned())).collect())
    }

    /// Whether no name was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The caller's name behind one that the provider was given.
    #[must_use]
    pub fn restore(&self, name: &Text<'_>) -> Option<Text<'static>> {
        self.0.get(&*name.decode()).map(|own| own.clone().into())
    }

    /// Puts the callers' names back into an answer.
    pub fn restore_all(&self, response: &mut Response<'_>) {
        if self.is_empty() {
            return;
        }
        for block in response.choices.iter_mut().flat_map(|choice| &mut choice.content) {
            if let BlockKind::ToolCall(call) = &mut block.kind
                && let Some(own) = self.restore(&call.name)
            {
                call.name = own;
            }
        }
    }
}

/// The request with names that a provider of a dialect takes: of its tools, of the one that is chosen, and of the calls in its history.
pub(crate) fn named<'r, 'a>(provider: Dialect, request: &'r Request<'a>) -> Cow<'r, Request<'a>> {
    let changed = changed(provider, request);
    if changed.is_empty() {
        return Cow::Borrowed(request);
    }
    let change = |name: &mut Text<'a>| {
        if let Some(given) = changed.get(&name.decode()) {
            *name = given.clone().into();
        }
    };
    let mut request = request.clone();
    for tool in &mut request.tools {
        if let Tool::Function { name, .. } = tool {
            change(name);
        }
    }
    if let Some(ToolChoice::Function(name)) = &mut request.tool_choice {
        change(name);
    }
    for block in request.messages.iter_mut().flat_map(|message| &mut message.content) {
        if let BlockKind::ToolCall(call) = &mut block.kind {
            change(&mut call.name);
        }
    }
    Cow::Owned(request)
}

/// The names that a provider does not take, and what stands for each: what is made of a name alone, so that it stays the same from turn to
/// turn, unless the request has a tool of that name, too. In its own dialect a caller says what it likes, as the answer passes; OpenAI's relatives
/// have their own ideas.
fn changed<'a>(provider: Dialect, request: &Request<'a>) -> HashMap<Cow<'a, str>, String> {
    let own = request.dialect == provider && provider != Dialect::OpenAi;
    let Some(shape) = Shape::of(provider).filter(|_| !own) else { return HashMap::new() };
    let mut changed = HashMap::new();
    if names(request).all(|name| shape.takes(&name.decode())) {
        return changed;
    }
    let mut taken: HashSet<Cow<'_, str>> =
        names(request).map(Text::decode).filter(|name| shape.takes(name)).collect();
    for name in names(request).map(Text::decode).filter(|name| !shape.takes(name)) {
        changed.entry(name).or_insert_with_key(|name| {
            let mut given = shape.fit(name, name);
            let mut again = 0_u32;
            while !taken.insert(given.clone().into()) {
                again += 1;
                given = shape.fit(name, &format!("{name} {again}"));
            }
            given
        });
    }
    changed
}

/// The names of a request's tools, and of those that it only speaks of.
fn names<'r, 'a>(request: &'r Request<'a>) -> impl Iterator<Item = &'r Text<'a>> {
    let offered = request.tools.iter().filter_map(|tool| match tool {
        Tool::Function { name, .. } => Some(name),
        _ => None,
    });
    let chosen = match &request.tool_choice {
        Some(ToolChoice::Function(name)) => Some(name),
        _ => None,
    };
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    let called = blocks.filter_map(|block| match &block.kind {
        BlockKind::ToolCall(call) => Some(&call.name),
        _ => None,
    });
    offered.chain(chosen).chain(called)
}

// ===== impl Shape =====

impl Shape {
    /// By the providers' API references; `None` where nothing is said. Bedrock's and OpenAI's are the same.
    const fn of(provider: Dialect) -> Option<Self> {
        match provider {
            Dialect::Ollama | Dialect::Cohere => None,
            Dialect::Anthropic => Some(Self { longest: 128, marks: b"_-", begins_with_any: true }),
            Dialect::Gemini => Some(Self { longest: 64, marks: b"_.:-", begins_with_any: false }),
            _ => Some(Self { longest: 64, marks: b"_-", begins_with_any: true }),
        }
    }

    fn takes(self, name: &str) -> bool {
        let begins = name.bytes().next().is_some_and(|first| self.may_begin(first));
        begins && name.len() <= self.longest && name.bytes().all(|byte| self.has(byte))
    }

    fn has(self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || self.marks.contains(&byte)
    }

    fn may_begin(self, byte: u8) -> bool {
        self.begins_with_any || byte.is_ascii_alphabetic() || byte == b'_'
    }

    /// As much of a name as can stand, and the hash of `whole`, so that names which are alike stay apart.
    fn fit(self, name: &str, whole: &str) -> String {
        let first = name.bytes().next().filter(|first| self.has(*first) && !self.may_begin(*first));
        let letter =
            |letter: char| if u8::try_from(letter).is_ok_and(|byte| self.has(byte)) { letter } else { '_' };
        let kept = first.map(|_| '_').into_iter().chain(name.chars().map(letter));
        let kept: String = kept.take(self.longest - HASH.len()).collect();
        kept + "_" + &short_hash(whole)
    }
}

/// What a hash takes in a name.
const HASH: &str = "_00000000";

/// Eight hexadecimal digits that keep two names apart.
pub(crate) fn short_hash(name: &str) -> String {
    short(Sha256::new_with_prefix(name.as_bytes()))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |byte: u8| char::from(b"0123456789abcdef"[usize::from(byte)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The first eight digits of a hash.
pub(crate) fn short(hash: Sha256) -> String {
    hex(&hash.finalize()[..4])
}

/// An answer's id or model as it stands in every chunk of a stream: one that is longer than any that was seen is told by its hash, so that no
/// provider makes much out of little.
pub(crate) fn repeated<'t>(name: &Text<'t>) -> Text<'t> {
    if name.len() > LONGEST { short_hash(&name.decode()).into() } else { name.clone() }
}

const LONGEST: usize = 256;
