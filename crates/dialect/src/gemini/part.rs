//! The parts of a turn, read.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{HashMap, VecDeque},
};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use ziggurat_core::Dialect;

use crate::{
    Arguments, Block, BlockKind, Malformed, Source, Text, ToolCall,
    names::short,
    read::{Extra, document, is_http_url, wire_object},
};

wire_object! {
    /// A turn; its parts are read one by one.
    struct WireContent { role: Text<'a> = "role", parts: OneOrMany<'a> = "parts", }
    /// A part of any type. Google takes both spellings and gives the first.
    struct WirePart {
        text: Text<'a> = "text",
        thought: bool = "thought",
        signature: &'a RawValue = "thoughtSignature",
        signature_: &'a RawValue = "thought_signature",
        inline_data: WireData<'a> = "inlineData",
        inline_data_: WireData<'a> = "inline_data",
        file_data: WireData<'a> = "fileData",
        file_data_: WireData<'a> = "file_data",
        call: WireCall<'a> = "functionCall",
        call_: WireCall<'a> = "function_call",
        result: WireResult<'a> = "functionResponse",
        result_: WireResult<'a> = "function_response",
    }
    struct WireData {
        mime_type: Text<'a> = "mimeType",
        mime_type_: Text<'a> = "mime_type",
        data: Text<'a> = "data",
        uri: Text<'a> = "fileUri",
        uri_: Text<'a> = "file_uri",
        name: Text<'a> = "displayName",
        name_: Text<'a> = "display_name",
    }
    struct WireCall { id: Text<'a> = "id", name: Text<'a> = "name", args: &'a RawValue = "args", }
    struct WireResult {
        id: Text<'a> = "id",
        name: Text<'a> = "name",
        response: &'a RawValue = "response",
        parts: Vec<&'a RawValue> = "parts",
    }
    struct WireAny { }
}

/// A list, or what would be its one element: Google takes both.
#[derive(Default)]
pub(super) struct OneOrMany<'a>(pub(super) Vec<&'a RawValue>);

impl<'a> OneOrMany<'a> {
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, Malformed> {
        if raw.get().starts_with('[') { document(raw.get()).map(Self) } else { Ok(Self(vec![raw])) }
    }
}

impl<'de> Deserialize<'de> for OneOrMany<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(<&RawValue>::deserialize(deserializer)?)
            .map_err(|error| serde::de::Error::custom(error.message))
    }
}

/// Ids for calls that have none, and the calls that results without an id may answer.
pub(super) struct Ids<'s, 'a> {
    /// The answer whose calls they are, and its choice; absent in a conversation.
    answer: Option<(&'s Seed<'s>, u64)>,
    made: usize,
    /// The calls that no result has answered yet, by id, with their numbers.
    by_id: HashMap<String, usize>,
    /// The same by name, with those that were answered by id; the first is the oldest.
    by_name: HashMap<String, VecDeque<(usize, Text<'a>)>>,
}

/// What tells an answer from the others of a conversation: its id, or all of it. It is hashed once, and only for calls without an id.
pub(super) struct Seed<'s> {
    text: Cow<'s, str>,
    hashed: OnceCell<Sha256>,
}

/// The name under which a signature stands among the members of the block that it signs. As `null` beside a thought it says that the thought
/// only precedes that block.
pub(crate) const SIGNATURE: &str = "thoughtSignature";

/// Stands before the media type of a file at a URI, for which the model has no place; its value is `null`, which nobody takes for a member.
pub(super) const FILE_TYPE: &str = "fileData.mimeType:";

// ===== impl Seed =====

impl<'s> Seed<'s> {
    /// Of an answer with this id, or without one all of it.
    pub(super) fn new(id: Option<&Text<'s>>, answer: &'s str) -> Self {
        Self { text: id.map_or(answer.into(), Text::decode), hashed: OnceCell::new() }
    }

    /// The id of a choice's so-many-th call.
    fn id(&self, choice: u64, call: usize) -> String {
        let hashed = self.hashed.get_or_init(|| Sha256::new_with_prefix(self.text.as_bytes()));
        let hash = short(hashed.clone().chain_update(format!("/{choice}")));
        format!("call_{hash}_{call}")
    }
}

// ===== impl Ids =====

impl<'s, 'a> Ids<'s, 'a> {
    fn new(answer: Option<(&'s Seed<'s>, u64)>, made: usize) -> Self {
        Self { answer, made, by_id: HashMap::new(), by_name: HashMap::new() }
    }

    /// For a conversation: the same call has the same id in each of its requests, so that prompt caches hold.
    pub(super) fn of_request() -> Self {
        Self::new(None, 0)
    }

    /// For an answer: the same whenever it is read, and others than those of the other answers of the conversation. So many calls of it have
    /// been read already.
    pub(super) fn of_answer(seed: &'s Seed<'s>, choice: u64, calls: usize) -> Self {
        Self::new(Some((seed, choice)), calls)
    }

    fn call(&mut self, id: Option<Text<'a>>, name: &Text<'a>) -> Text<'a> {
        self.made += 1;
        let made = || match self.answer {
            Some((seed, choice)) => seed.id(choice, self.made),
            None => format!("call_g{}", self.made),
        };
        let id = id.unwrap_or_else(|| made().into());
        if self.answer.is_some() {
            // Results are in requests alone.
            return id;
        }
        self.by_id.insert(id.decode().into_owned(), self.made);
        self.by_name.entry(name.decode().into_owned()).or_default().push_back((self.made, id.clone()));
        id
    }

    /// The id of the call that a result answers, where it is known: by its own id, else the first call of its name that has no answer.
    fn result(&mut self, id: Option<&Text<'a>>, name: &Text<'a>) -> Option<Text<'a>> {
        if let Some(id) = id {
            return self.by_id.remove(&*id.decode()).map(|_| id.clone());
        }
        let calls = self.by_name.get_mut(&*name.decode())?;
        while let Some((number, id)) = calls.pop_front() {
            let key = id.decode();
            if self.by_id.get(&*key) == Some(&number) {
                self.by_id.remove(&*key);
                return Some(id);
            }
        }
        None
    }
}

/// Reads the parts of a turn. `is_request` is whether its caller may send it again as it is.
pub(super) fn decode_parts<'a>(
    parts: Vec<&'a RawValue>,
    ids: &mut Ids<'_, 'a>,
    is_request: bool,
) -> Result<Vec<Block<'a>>, Malformed> {
    let mut content = Vec::with_capacity(parts.len());
    for (index, raw) in parts.into_iter().enumerate() {
        decode_part(raw, ids, is_request, &mut content)
            .map_err(|error| error.within(&format!("[{index}]")))?;
    }
    Ok(content)
}

/// Reads a part. A signature becomes that of the thought before it, or of a thought without words: what other dialects' callers send back. A
/// call has it among its members too.
pub(super) fn decode_part<'a>(
    raw: &'a RawValue,
    ids: &mut Ids<'_, 'a>,
    is_request: bool,
    content: &mut Vec<Block<'a>>,
) -> Result<(), Malformed> {
    let mut wire: WirePart<'a> = document(raw.get())?;
    let raw_signature = wire.signature.take().or(wire.signature_.take());
    let mut signature = raw_signature.and_then(|raw| Text::from_json(raw.get()));
    let mut extra = std::mem::take(&mut wire.extra);
    let call = wire.call.take().or(wire.call_.take());
    let result = wire.result.take().or(wire.result_.take());
    let inline = wire.inline_data.take().or(wire.inline_data_.take());
    let file = wire.file_data.take().or(wire.file_data_.take());
    let kind = match (wire.text, call, result, inline, file) {
        (Some(text), None, None, None, None) if wire.thought == Some(true) => {
            BlockKind::Thinking { text, signature: signature.take() }
        }
        (Some(text), None, None, None, None) => BlockKind::Text { text, citations: None },
        // A call that is streamed in pieces (Google's `partialArgs`) has members that a whole one has not.
        (None, Some(WireCall { id, name: Some(name), args, extra: inner }), None, None, None)
            if inner.is_empty() =>
        {
            let id = id.filter(|id| !id.is_empty());
            if id.is_none() {
                extra.push(("id".into(), RawValue::NULL));
            }
            let arguments = args.map_or_else(|| Arguments::String("{}".into()), Arguments::Json);
            extra.extend(raw_signature.map(|raw| (SIGNATURE.into(), raw)));
            BlockKind::ToolCall(ToolCall { id: ids.call(id, &name), name, arguments })
        }
        (None, None, Some(result), None, None) => decode_result(result, ids, &mut extra)?,
        (None, None, None, Some(data), None) => inline_data(data, &mut extra),
        (None, None, None, None, Some(file)) => file_data(file, &mut extra),
        _ => return native(raw, content),
    };
    if let Some(signature) = signature {
        sign(signature, is_request, content);
    }
    content.push(Block { kind, cache: None, extra });
    Ok(())
}

/// The image that a part is, if it is one.
pub(crate) fn image(raw: &RawValue) -> Option<Block<'_>> {
    let mut content = Vec::new();
    decode_part(raw, &mut Ids::of_request(), false, &mut content).ok()?;
    content.into_iter().find(|block| matches!(block.kind, BlockKind::Image { .. }))
}

fn sign<'a>(signature: Text<'a>, is_request: bool, content: &mut Vec<Block<'a>>) {
    let mark = || is_request.then(|| (SIGNATURE.into(), RawValue::NULL));
    match content.last_mut() {
        Some(Block { kind: BlockKind::Thinking { signature: slot @ None, .. }, extra, .. }) => {
            *slot = Some(signature);
            extra.extend(mark());
        }
        _ => {
            let kind = BlockKind::Thinking { text: "".into(), signature: Some(signature) };
            content.push(Block { extra: mark().into_iter().collect(), ..Block::new(kind) });
        }
    }
}

/// Keeps a part that only Google knows; its type is the first member that is none of a part's common ones.
fn native<'a>(raw: &'a RawValue, content: &mut Vec<Block<'a>>) -> Result<(), Malformed> {
    let all: WireAny<'a> = document(raw.get())?;
    let common = |name: &str| matches!(name, "thought" | SIGNATURE | "thought_signature");
    let kind = all.extra.into_iter().map(|(name, _)| name).find(|name| !common(name)).unwrap_or_default();
    let kind = kind.into_owned().into();
    content.push(Block::new(BlockKind::Native { dialect: Dialect::Gemini, kind, raw }));
    Ok(())
}

fn decode_result<'a>(
    wire: WireResult<'a>,
    ids: &mut Ids<'_, 'a>,
    extra: &mut Extra<'a>,
) -> Result<BlockKind<'a>, Malformed> {
    let missing = || Malformed::new("missing required field", "functionResponse.name");
    let name = wire.name.ok_or_else(missing)?;
    let id = wire.id.filter(|id| !id.is_empty());
    if id.is_none() {
        extra.push(("id".into(), RawValue::NULL));
    }
    extra.extend(wire.extra.into_iter().map(|(name, raw)| (Cow::from(format!("{RESULT}{name}")), raw)));
    let mut content: Vec<_> = wire.response.map(|raw| Block::text(raw.get().into())).into_iter().collect();
    let plain = wire.parts.is_none();
    let parts = decode_parts(wire.parts.unwrap_or_default(), ids, true);
    content.extend(parts.map_err(|error| error.within("functionResponse.parts"))?);
    let known = ids.result(id.as_ref(), &name);
    if known.is_none() {
        extra.push((format!("{RESULT_NAME}{}", name.decode()).into(), RawValue::NULL));
    }
    let id = known.or(id).unwrap_or(name);
    Ok(BlockKind::ToolResult { id, content, plain, error: None })
}

/// Stands before the function of a result whose call is not known; its value is `null` too.
pub(super) const RESULT_NAME: &str = "functionResponse.name:";

/// Marks media whose name a Google caller gave: AI Studio refuses one, so that others' names are not written. Its value is `null` too.
pub(super) const NAMED: &str = "displayName:";

/// What stands before the names of members that stood in an inner object.
pub(super) const RESULT: &str = "functionResponse.";
pub(super) const INLINE: &str = "inlineData.";
pub(super) const FILE: &str = "fileData.";

fn is_image(media_type: Option<&Text<'_>>) -> bool {
    media_type.is_some_and(|media_type| media_type.decode().starts_with("image/"))
}

fn inline_data<'a>(wire: WireData<'a>, extra: &mut Extra<'a>) -> BlockKind<'a> {
    let media_type = wire.mime_type.or(wire.mime_type_);
    let name = wire.name.or(wire.name_);
    extra.extend(name.as_ref().map(|_| (NAMED.into(), RawValue::NULL)));
    extra.extend(wire.extra.into_iter().map(|(name, raw)| (Cow::from(format!("{INLINE}{name}")), raw)));
    let is_image = is_image(media_type.as_ref()) && name.is_none();
    let data = standard(wire.data.unwrap_or_else(|| "".into()));
    let source = Source::Base64 { media_type, data };
    match is_image {
        true => BlockKind::Image { source, detail: None },
        false => BlockKind::File { source, name },
    }
}

/// Base64 in the standard alphabet and padded, which is all that other providers take. Google takes the one for URLs, and leaves padding to the
/// caller (the JSON form of protocol buffers); its SDK for Python writes the alphabet for URLs.
fn standard(data: Text<'_>) -> Text<'_> {
    let decoded = data.decode();
    let padding = match decoded.len() % 4 {
        2 => "==",
        3 => "=",
        _ => "",
    };
    if padding.is_empty() && memchr::memchr2(b'-', b'_', decoded.as_bytes()).is_none() {
        return data;
    }
    (decoded.replace('-', "+").replace('_', "/") + padding).into()
}

fn file_data<'a>(wire: WireData<'a>, extra: &mut Extra<'a>) -> BlockKind<'a> {
    let media_type = wire.mime_type.or(wire.mime_type_);
    let name = wire.name.or(wire.name_);
    extra.extend(name.as_ref().map(|_| (NAMED.into(), RawValue::NULL)));
    extra.extend(wire.extra.into_iter().map(|(name, raw)| (Cow::from(format!("{FILE}{name}")), raw)));
    if let Some(media_type) = &media_type {
        extra.push((format!("{FILE_TYPE}{}", media_type.decode()).into(), RawValue::NULL));
    }
    let uri = wire.uri.or(wire.uri_).unwrap_or_else(|| "".into());
    let is_ours = |uri: &str| is_http_url(uri) && !uri.contains("generativelanguage.googleapis.com");
    // Google's own storage and files are at ids as far as anybody else goes.
    let source = if is_ours(&uri.decode()) { Source::Url(uri) } else { Source::File(uri) };
    match is_image(media_type.as_ref()) && name.is_none() {
        true => BlockKind::Image { source, detail: None },
        false => BlockKind::File { source, name },
    }
}
