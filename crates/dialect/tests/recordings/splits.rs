//! A stream says the same however its bytes are cut.

use bytes::Bytes;
use ziggurat_dialect::sse::{Decoder, Frame};

use crate::{data, decode, difference, frames, over, streams::is_stream};

/// What the decoder says of a body that comes in these pieces.
pub(crate) fn pieces(pieces: impl IntoIterator<Item = Bytes>) -> Vec<Frame> {
    let (mut decoder, mut frames) = (Decoder::new(1 << 24), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        frames.extend(decoder.by_ref().map(|frame| frame.expect("is not too large")));
    }
    frames.extend(decoder.finish());
    frames
}

/// Whether two lists of frames are the same bytes and the same events. Blank and comment lines may be cut differently: they say nothing.
fn same(left: &[Frame], right: &[Frame]) -> bool {
    let bytes = |frames: &[Frame]| frames.iter().map(|frame| frame.raw().len()).sum::<usize>();
    let events = |frames: &[Frame]| frames.iter().filter(|frame| matches!(frame, Frame::Event(_))).count();
    let event = |frame: &Frame| match frame {
        Frame::Event(event) => Some((event.name.clone(), event.data.clone())),
        _ => None,
    };
    bytes(left) == bytes(right)
        && events(left) == events(right)
        && left.iter().filter_map(event).eq(right.iter().filter_map(event))
}

/// Every split in two. What the codec reads is the data of the framed events, so that equal frames are equal answers; and what the framing
/// knows at the end of a frame does not depend on what was in it, so that it is enough to cut a frame with the next behind it; in the short
/// bodies every cut is made in the whole body too, which shows that this is so.
#[test]
fn every_split_in_two_gives_the_same_events() {
    over("streams split in two", is_stream, |case| {
        let body = case.body();
        let whole = frames(body);
        let mut start = 0;
        for (number, frame) in whole.iter().enumerate() {
            let expected = &whole[number..whole.len().min(number + 2)];
            let end = start + expected.iter().map(|frame| frame.raw().len()).sum::<usize>();
            for cut in start..start + frame.raw().len() {
                if !same(&pieces([body.slice(start..cut), body.slice(cut..end)]), expected) {
                    return Err(format!("cut at {cut}"));
                }
            }
            start += frame.raw().len();
        }
        let differs = |cut: &usize| !same(&pieces([body.slice(..*cut), body.slice(*cut..)]), &whole);
        let short = body.len() <= WHOLE;
        match (0..=body.len()).filter(|_| short).find(differs) {
            Some(cut) => Err(format!("cut the whole at {cut}")),
            None => Ok(()),
        }
    });
}

/// Bodies of at most so many bytes are cut whole.
const WHOLE: usize = 2_000;

#[test]
fn byte_by_byte_gives_the_same_answer() {
    over("streams byte by byte", is_stream, |case| {
        let body = case.body();
        let whole = case.events();
        for size in [1, 7] {
            let starts = (0..body.len()).step_by(size);
            let cut = starts.map(|start| body.slice(start..body.len().min(start + size)));
            let found = data(&pieces(cut));
            let said = |data| -> Result<Vec<String>, String> {
                Ok(decode(case.dialect, data)?.iter().map(|event| format!("{event:?}")).collect())
            };
            if let Some(differs) = difference(&said(&whole)?, &said(&found)?) {
                return Err(format!("in pieces of {size}: {differs}"));
            }
        }
        Ok(())
    });
}
