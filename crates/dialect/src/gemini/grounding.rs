//! What an answer rests on, as OpenAI's callers know it.

use crate::{
    BlockKind, Choice, Text,
    read::{Count, document, stated, wire_object},
    write::{Array, Object},
};

wire_object! {
    struct WireGrounding {
        chunks: Vec<WireChunk<'a>> = "groundingChunks",
        supports: Vec<WireSupport<'a>> = "groundingSupports",
    }
    struct WireChunk { web: WireWeb<'a> = "web", }
    struct WireWeb { uri: Text<'a> = "uri", title: Text<'a> = "title", }
    struct WireSupport { segment: WireSegment<'a> = "segment", chunks: Vec<Count> = "groundingChunkIndices", }
    struct WireSegment { start: Count = "startIndex", end: Count = "endIndex", text: Text<'a> = "text", }
}

/// The member of a candidate.
pub(super) const GROUNDING: &str = "groundingMetadata";

/// Writes the web pages that an answer of Google's rests on as OpenAI's `annotations`; nothing where it rests on none. A page is named for each
/// segment that rests on it, and no answer is to become many times as long by that: what goes beyond is left out.
pub(crate) fn write_annotations(message: &mut Object<'_>, choice: &Choice<'_>) {
    let Some((_, raw)) = choice.extra.iter().find(|(name, _)| name == GROUNDING) else { return };
    let Ok(grounding) = document::<WireGrounding<'_>>(raw.get()) else { return };
    let (Some(chunks), Some(supports)) = (grounding.chunks, grounding.supports) else { return };
    let text: String = choice.content.iter().filter_map(of_text).map(|text| text.decode()).collect();
    let mut left = raw.get().len().saturating_add(MOST_REPEATED);
    message.array("annotations", |list| {
        for support in supports.iter().take(MOST_SUPPORTS) {
            let Some((start, end)) = support.segment.as_ref().and_then(|segment| place(segment, &text))
            else {
                continue;
            };
            for chunk in support.chunks.iter().flatten().filter_map(|index| stated(Some(*index))) {
                let web = usize::try_from(chunk).ok().and_then(|index| chunks.get(index)?.web.as_ref());
                let Some(web) = web else { continue };
                let Some(rest) = left.checked_sub(size(web)) else { return };
                left = rest;
                write_annotation(list, web, start, end);
            }
        }
    });
}

/// How many segments are looked for in an answer.
const MOST_SUPPORTS: usize = 1_024;
/// Bytes that annotations may take beyond those of what they are made of.
const MOST_REPEATED: usize = 256 << 10;

/// About as many bytes as an annotation takes.
fn size(web: &WireWeb<'_>) -> usize {
    let text = |text: &Option<Text<'_>>| text.as_ref().map_or(0, Text::len);
    100 + text(&web.uri) + text(&web.title)
}

const fn of_text<'b, 'a>(block: &'b crate::Block<'a>) -> Option<&'b Text<'a>> {
    match &block.kind {
        BlockKind::Text { text, .. } => Some(text),
        _ => None,
    }
}

/// Where a segment stands: Google counts bytes of a part, OpenAI characters of the whole.
fn place(segment: &WireSegment<'_>, text: &str) -> Option<(usize, usize)> {
    let words = segment.text.as_ref()?.decode();
    let stated = (stated(segment.start).unwrap_or(0), stated(segment.end)?);
    let (start, end) = (usize::try_from(stated.0).ok()?, usize::try_from(stated.1).ok()?);
    let start = match text.get(start..end) == Some(&*words) {
        true => start,
        false => text.find(&*words)?,
    };
    let before = text[..start].chars().count();
    Some((before, before + words.chars().count()))
}

fn write_annotation(list: &mut Array<'_>, web: &WireWeb<'_>, start: usize, end: usize) {
    list.object(|annotation| {
        annotation.str("type", "url_citation");
        annotation.object("url_citation", |citation| {
            citation.number("start_index", start as u64);
            citation.number("end_index", end as u64);
            citation.text_if("url", web.uri.as_ref());
            citation.text_if("title", web.title.as_ref());
        });
    });
}
