//! Streams.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Problem};
use ziggurat_dialect::{
    Delta, Event, Finish, FinishReason, Opening, StreamDecoder, StreamEncoder, Text, anthropic, openai,
    sse::{Decoder, Frame},
};

use crate::{
    common::strict,
    documents::{text, word},
};

/// A block of an answer, in pieces.
#[derive(Clone, Debug)]
enum Block {
    Text(Vec<String>),
    Thinking(Vec<String>, String),
    Redacted(String),
    Call(String, String, Vec<String>),
}

fn piece() -> impl Strategy<Value = String> {
    text().prop_filter("is not empty", |text| !text.is_empty())
}

fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        vec(piece(), 1..4).prop_map(Block::Text),
        (vec(piece(), 1..4), piece()).prop_map(|(pieces, signature)| Block::Thinking(pieces, signature)),
        text().prop_map(Block::Redacted),
        (word(), word(), vec(piece(), 1..4)).prop_map(|(id, name, texts)| Block::Call(
            id,
            name,
            list(&texts)
        )),
    ]
}

/// Arguments in pieces, which are JSON when all have come.
fn list(texts: &[String]) -> Vec<String> {
    let mut pieces = vec!["{\"a\":[null".to_owned()];
    pieces.extend(texts.iter().map(|text| format!(",{}", serde_json::to_string(text).expect("serialises"))));
    pieces.push("]}".to_owned());
    pieces
}

fn opening(block: &Block) -> Opening<'_> {
    match block {
        Block::Text(_) => Opening::Text,
        Block::Thinking(..) => Opening::Thinking,
        Block::Redacted(data) => Opening::RedactedThinking { data: data.as_str().into() },
        Block::Call(id, name, _) => Opening::ToolCall { id: id.as_str().into(), name: name.as_str().into() },
    }
}

fn deltas(block: &Block) -> Vec<Delta<'_>> {
    let each = |pieces: &'_ [String], delta: fn(Text<'static>) -> Delta<'static>| -> Vec<Delta<'static>> {
        pieces.iter().map(|piece| delta(piece.clone().into())).collect()
    };
    match block {
        Block::Text(pieces) => each(pieces, Delta::Text),
        Block::Thinking(pieces, signature) => {
            let mut deltas = each(pieces, Delta::Thinking);
            deltas.push(Delta::Signature(signature.as_str().into()));
            deltas
        }
        Block::Redacted(_) => Vec::new(),
        Block::Call(_, _, pieces) => each(pieces, Delta::Arguments),
    }
}

/// A stream as a decoder of `dialect` would say it: usage stands where its encoder states it, and two texts in a row are one in OpenAI's.
fn events<'a>(dialect: Dialect, blocks: &'a [Block], usage: &'a RawValue) -> Vec<Event<'a>> {
    let is_openai = dialect == Dialect::OpenAi;
    let spent = || {
        let read = if is_openai { openai::read_usage } else { anthropic::read_usage };
        Event::Usage(read(usage).expect("is usage"))
    };
    let mut events = Vec::new();
    if !is_openai {
        events.push(spent());
    }
    events.push(Event::Start {
        id: Some("c".into()),
        model: Some("m".into()),
        created: is_openai.then_some(5),
    });
    for (number, block) in blocks.iter().enumerate() {
        let (choice, block_number) = (0, number as u64);
        events.push(Event::Open { choice, block: block_number, opening: opening(block) });
        let deltas = deltas(block).into_iter();
        events.extend(deltas.map(|delta| Event::Delta { choice, block: block_number, delta }));
        events.push(Event::Close { choice, block: block_number });
    }
    let native = if is_openai { "length" } else { "max_tokens" };
    let finish = Finish { reason: FinishReason::Length, native: native.into(), dialect, stop_sequence: None };
    let finish = Event::Finish { choice: 0, finish };
    match is_openai {
        true => events.extend([finish, spent()]),
        false => events.extend([spent(), finish]),
    }
    events.push(Event::End);
    events
}

fn write(dialect: Dialect, events: &[Event<'_>]) -> Vec<u8> {
    let (mut encoder, mut out) = (StreamEncoder::new(dialect, 5, true), Vec::new());
    events.iter().for_each(|event| encoder.encode(event, &mut out));
    out
}

/// Reads a stream that comes in pieces; every event's data has to be JSON in which no name stands twice.
fn read(dialect: Dialect, bytes: &[u8], cuts: &[Index]) -> Vec<String> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let (mut frames, mut decoder, mut said) =
        (Decoder::new(1 << 20), StreamDecoder::new(dialect), Vec::new());
    let mut take = |frame: Frame| {
        let Frame::Event(event) = frame else { return };
        let data = std::str::from_utf8(&event.data).expect("is UTF-8");
        if data != "[DONE]" {
            strict(data);
        }
        decoder.decode(data, &mut |event| said.push(format!("{event:?}"))).expect("reads");
    };
    for piece in places.windows(2) {
        frames.push(Bytes::copy_from_slice(&bytes[piece[0]..piece[1]]));
        frames.by_ref().for_each(|frame| take(frame.expect("is not too large")));
    }
    frames.finish().into_iter().for_each(&mut take);
    decoder.finish(&mut |event| said.push(format!("{event:?}")));
    said
}

proptest! {
    #[test]
    fn a_stream_is_the_same_when_it_is_written_cut_and_read_again(blocks in vec(block(), 0..6), cuts in vec(any::<Index>(), 0..8)) {
        let usages = [r#"{"prompt_tokens":3,"completion_tokens":4}"#, r#"{"input_tokens":3,"output_tokens":4}"#];
        for (dialect, usage) in [Dialect::OpenAi, Dialect::Anthropic].into_iter().zip(usages) {
            let usage: &RawValue = serde_json::from_str(usage).expect("is JSON");
            let mut blocks = blocks.clone();
            if dialect == Dialect::OpenAi {
                // In OpenAI's chunks nothing stands between two of a kind, but between calls.
                blocks.dedup_by(|next, block| {
                    matches!((block, next), (Block::Text(_), Block::Text(_)) | (Block::Thinking(..), Block::Thinking(..)))
                });
            }
            let events = events(dialect, &blocks, usage);
            let bytes = write(dialect, &events);
            let expected: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
            let found = read(dialect, &bytes, &cuts);
            prop_assert_eq!(&found, &expected);
            // Across and back: the same, but for what each writes of usage and of why it ended.
            let other = if dialect == Dialect::OpenAi { Dialect::Anthropic } else { Dialect::OpenAi };
            let crossed = read(other, &write(other, &events), &cuts);
            let said = |events: &[String]| -> Vec<String> {
                events.iter().filter(|event| event.starts_with("Delta") || event.starts_with("Open")).cloned().collect()
            };
            if dialect == Dialect::OpenAi {
                prop_assert_eq!(said(&crossed), said(&found));
            }
        }
    }

    #[test]
    fn an_error_ends_a_stream_and_is_read_again(message in "[a-zA-Z \"\\\\é]{1,20}", start in any::<bool>()) {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let mut events = vec![Event::Error(Problem::new(ziggurat_core::Cause::Overloaded, message.clone()))];
            if start {
                events.insert(0, Event::Start { id: Some("c".into()), model: None, created: None });
            }
            let said = read(dialect, &write(dialect, &events), &[]);
            let errors = said.iter().filter(|event| event.starts_with("Error(")).count();
            prop_assert_eq!(errors, 1);
            prop_assert!(said.last().is_some_and(|event| event.contains(&format!("message: {message:?}"))), "{said:?}");
        }
    }
}
