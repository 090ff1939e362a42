//! `reasoning_details`, in which OpenRouter and gateways like it tell what was thought with what its maker signed, and want it back (OpenRouter's
//! guide to reasoning tokens). Callers of other dialects keep what is opaque of a detail as a thought's signature.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use crate::{
    Block, BlockKind, Text,
    read::{document, wire_object},
    signature::sealed,
    write::object,
};

wire_object! {
    struct WireDetail {
        kind: Text<'a> = "type",
        text: Text<'a> = "text",
        summary: Text<'a> = "summary",
        signature: Text<'a> = "signature",
        data: &'a RawValue = "data",
        format: Text<'a> = "format",
        index: &'a RawValue = "index",
    }
}

/// The member's name.
pub(super) const DETAILS: &str = "reasoning_details";

/// An entry of the list.
pub(super) struct Detail<'a>(WireDetail<'a>);

/// Of the thought of a stream that is open, what it is to be signed with.
#[derive(Debug, Default)]
pub(super) struct OpenDetail {
    index: String,
    /// What was told of it, and whether it is signed.
    told: Option<(Vec<u8>, bool)>,
}

/// The entries of a list.
pub(super) fn read(raw: &RawValue) -> Vec<Detail<'_>> {
    document(raw.get())
        .map(|list: Vec<WireDetail<'_>>| list.into_iter().map(Detail).collect())
        .unwrap_or_default()
}

/// Whether the words of these entries are this text.
pub(super) fn says(details: &[Detail<'_>], text: &Text<'_>) -> bool {
    let words: String = details.iter().filter_map(Detail::words).map(|words| words.decode()).collect();
    *text == *words
}

/// What a whole answer's list says beyond the words that stand in `reasoning`, each entry as a thought without words.
pub(super) fn blocks(raw: &RawValue) -> Vec<Block<'_>> {
    if !read(raw).iter().any(Detail::says_more) {
        return Vec::new();
    }
    let entries: Vec<&RawValue> = document(raw.get()).unwrap_or_default();
    let seal = |entry: &RawValue| {
        let signature = Some(sealed(entry.get().as_bytes()));
        Block::new(BlockKind::Thinking { text: "".into(), signature })
    };
    entries.into_iter().map(seal).collect()
}

/// What a thought was made of in JSON; `None` for one that does not come from such a list.
pub(super) fn json(block: &Block<'_>) -> Option<Vec<u8>> {
    let BlockKind::Thinking { text, signature: Some(seal) } = &block.kind else { return None };
    let json = STANDARD.decode(seal.decode().as_bytes()).ok()?;
    let detail = Detail(document(std::str::from_utf8(&json).ok()?).ok()?);
    // The words of one that was streamed stand beside what is sealed.
    if !detail.is_thought() || detail.0.text.is_some() || detail.0.summary.is_some() {
        return Some(json);
    }
    let mut out = Vec::with_capacity(json.len() + text.len() + 16);
    detail.write(Some(text), &mut out);
    Some(out)
}

// ===== impl Detail =====

impl<'a> Detail<'a> {
    /// Whether it is made of words and their signature, and so may come in pieces.
    pub(super) fn is_thought(&self) -> bool {
        let of_words = |kind: &Text<'_>| *kind == *"reasoning.text" || *kind == *SUMMARY;
        self.0.data.is_none() && self.0.kind.as_ref().is_some_and(of_words)
    }

    /// The words of a thought, if it has some.
    pub(super) fn words(&self) -> Option<&Text<'a>> {
        let words = self.0.text.as_ref().or(self.0.summary.as_ref());
        words.filter(|words| self.is_thought() && !words.is_empty())
    }

    pub(super) fn is_signed(&self) -> bool {
        self.0.signature.as_ref().is_some_and(|signature| !signature.is_empty())
    }

    /// Whether it says more than its words: a format that is none of a maker's has no signature either.
    fn says_more(&self) -> bool {
        let has_format = self.0.format.as_ref().is_some_and(|format| *format != *"unknown");
        has_format || self.is_signed() || !self.is_thought()
    }

    /// All of it but the words, as a signature.
    pub(super) fn seal(&self) -> Text<'static> {
        sealed(&self.json())
    }

    fn json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write(None, &mut json);
        json
    }

    fn write(&self, words: Option<&Text<'_>>, out: &mut Vec<u8>) {
        let detail = &self.0;
        let is_summary = detail.kind.as_ref().is_some_and(|kind| *kind == *SUMMARY);
        object(out, |out| {
            out.text_if("type", detail.kind.as_ref());
            out.text_if(if is_summary { "summary" } else { "text" }, words);
            out.text_if("signature", detail.signature.as_ref().filter(|signature| !signature.is_empty()));
            out.raw_if("data", detail.data);
            out.text_if("format", detail.format.as_ref());
            out.raw_if("index", detail.index);
            out.extra(&detail.extra, &["text", "summary"]);
        });
    }
}

const SUMMARY: &str = "reasoning.summary";

// ===== impl OpenDetail =====

impl OpenDetail {
    /// Whether an entry is of another thought than the one that is open.
    pub(super) fn is_other(&self, next: &Detail<'_>) -> bool {
        self.told.is_some() && next.0.index.map_or("", RawValue::get) != self.index
    }

    /// Takes up a piece of the thought: what it is signed with stands in one of them.
    pub(super) fn take_up(&mut self, piece: &Detail<'_>) {
        let is_better = |told: &(Vec<u8>, bool)| piece.is_signed() && !told.1;
        if piece.says_more() && self.told.as_ref().is_none_or(is_better) {
            piece.0.index.map_or("", RawValue::get).clone_into(&mut self.index);
            self.told = Some((piece.json(), piece.is_signed()));
        }
    }

    /// The signature of the thought, which is over.
    pub(super) fn end(&mut self) -> Option<Text<'static>> {
        self.told.take().map(|(json, _)| sealed(&json))
    }
}
