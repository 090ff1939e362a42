//! Streams that are long or have much in them: what is held of them, and that none of it is searched from one end to the other for each
//! event. Sizes are such that doing so would not end.

#[path = "common/mod.rs"]
mod common;

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::{Delta, Event, OpenBlocks, Opening, SignatureMarks, StreamDecoder, StreamEncoder};

use crate::common::strict;

const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];
const PROVIDERS: [Dialect; 7] = [
    Dialect::OpenAi,
    Dialect::Anthropic,
    Dialect::Responses,
    Dialect::Gemini,
    Dialect::Converse,
    Dialect::Ollama,
    Dialect::Cohere,
];
/// Blocks of a stream that would not end.
const MANY: u64 = 20_000;

/// What comes of an answer, in its order.
enum Piece {
    Text,
    Open(u64),
    Arguments(u64, &'static str),
    Close(u64),
}

/// So many pieces of text, and so many calls: side by side where the dialect has that, and closed from the last to the first.
fn pieces(provider: Dialect, texts: u64, calls: u64) -> Vec<Piece> {
    let text = (0..texts).map(|_| Piece::Text);
    let at_once = |call| [Piece::Open(call), Piece::Arguments(call, r#"{"a":1}"#), Piece::Close(call)];
    let beside = match provider {
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Responses | Dialect::Cohere => {
            let begin = (0..calls).flat_map(|call| [Piece::Open(call), Piece::Arguments(call, r#"{"a":"#)]);
            let end = (0..calls).rev().flat_map(|call| [Piece::Arguments(call, "1}"), Piece::Close(call)]);
            begin.chain(end).collect()
        }
        _ => (0..calls).flat_map(at_once).collect::<Vec<_>>(),
    };
    text.chain(beside).collect()
}

/// The events of such a stream, in a provider's words.
fn told(provider: Dialect, texts: u64, calls: u64) -> Vec<String> {
    let body = pieces(provider, texts, calls).into_iter().filter_map(|piece| event(provider, &piece));
    let (ahead, behind) = ends(provider);
    ahead.into_iter().chain(body).chain(behind).map(|event| event.to_string()).collect()
}

fn event(provider: Dialect, piece: &Piece) -> Option<Value> {
    let id = |call: &u64| format!("call_{call}");
    Some(match provider {
        Dialect::Anthropic => match piece {
            Piece::Text => {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}})
            }
            Piece::Open(call) => {
                json!({"type": "content_block_start", "index": call + 1, "content_block": {"type": "tool_use", "id": id(call), "name": "f", "input": {}}})
            }
            Piece::Arguments(call, json) => {
                json!({"type": "content_block_delta", "index": call + 1, "delta": {"type": "input_json_delta", "partial_json": json}})
            }
            Piece::Close(call) => json!({"type": "content_block_stop", "index": call + 1}),
        },
        Dialect::Responses => match piece {
            Piece::Text => {
                json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": " word"})
            }
            Piece::Open(call) => {
                json!({"type": "response.output_item.added", "output_index": call + 1, "item": {"type": "function_call", "call_id": id(call), "name": "f", "arguments": ""}})
            }
            Piece::Arguments(call, json) => {
                json!({"type": "response.function_call_arguments.delta", "output_index": call + 1, "delta": json})
            }
            Piece::Close(call) => {
                json!({"type": "response.output_item.done", "output_index": call + 1, "item": {"type": "function_call", "call_id": id(call), "name": "f", "arguments": "{\"a\":1}"}})
            }
        },
        Dialect::Gemini => {
            let part = match piece {
                Piece::Text => json!({"text": " word"}),
                Piece::Arguments(call, _) => {
                    json!({"functionCall": {"id": id(call), "name": "f", "args": {"a": 1}}})
                }
                _ => return None,
            };
            json!({"candidates": [{"index": 0, "content": {"parts": [part]}}], "responseId": "r"})
        }
        Dialect::Converse => match piece {
            Piece::Text => json!({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": " word"}}}),
            Piece::Open(call) => {
                json!({"contentBlockStart": {"contentBlockIndex": call + 1, "start": {"toolUse": {"toolUseId": id(call), "name": "f"}}}})
            }
            Piece::Arguments(call, json) => {
                json!({"contentBlockDelta": {"contentBlockIndex": call + 1, "delta": {"toolUse": {"input": json}}}})
            }
            Piece::Close(call) => json!({"contentBlockStop": {"contentBlockIndex": call + 1}}),
        },
        Dialect::Ollama => {
            let message = match piece {
                Piece::Text => json!({"content": " word"}),
                Piece::Arguments(..) => {
                    json!({"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]})
                }
                _ => return None,
            };
            json!({"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": false})
        }
        Dialect::Cohere => match piece {
            Piece::Text => {
                json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " word"}}}})
            }
            Piece::Open(call) => {
                json!({"type": "tool-call-start", "index": call, "delta": {"message": {"tool_calls": {"id": id(call), "type": "function", "function": {"name": "f", "arguments": ""}}}}})
            }
            Piece::Arguments(call, json) => {
                json!({"type": "tool-call-delta", "index": call, "delta": {"message": {"tool_calls": {"function": {"arguments": json}}}}})
            }
            Piece::Close(call) => json!({"type": "tool-call-end", "index": call}),
        },
        _ => {
            let delta = match piece {
                Piece::Text => json!({"content": " word"}),
                Piece::Open(call) => {
                    json!({"tool_calls": [{"index": call, "id": id(call), "function": {"name": "f", "arguments": ""}}]})
                }
                Piece::Arguments(call, json) => {
                    json!({"tool_calls": [{"index": call, "function": {"arguments": json}}]})
                }
                Piece::Close(_) => return None,
            };
            json!({"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta}]})
        }
    })
}

/// What stands ahead of the pieces, and behind them.
fn ends(provider: Dialect) -> (Vec<Value>, Vec<Value>) {
    let json = |list: Value| list.as_array().expect("is a list").clone();
    let (ahead, behind) = match provider {
        Dialect::Anthropic => (
            json!([
                {"type": "message_start", "message": {"id": "i", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 1}}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            ]),
            json!([
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
                {"type": "message_stop"},
            ]),
        ),
        Dialect::Responses => (
            json!([{"type": "response.created", "response": {"id": "i", "model": "m"}}]),
            json!([{"type": "response.completed", "response": {"status": "completed"}}]),
        ),
        Dialect::Gemini => (
            json!([]),
            json!([{"candidates": [{"index": 0, "content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}], "responseId": "r"}]),
        ),
        Dialect::Converse => (
            json!([{"messageStart": {"role": "assistant"}}]),
            json!([{"messageStop": {"stopReason": "end_turn"}}, {"metadata": {}}]),
        ),
        Dialect::Ollama => (
            json!([]),
            json!([{"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"content": ""}, "done": true, "done_reason": "stop"}]),
        ),
        Dialect::Cohere => (
            json!([{"type": "message-start", "id": "i"}]),
            json!([{"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}]),
        ),
        _ => (
            json!([]),
            json!([{"id": "i", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]),
        ),
    };
    (json(ahead), json(behind))
}

/// What the codecs of a stream held at most, in bytes beside an event's own, and how many they allocated in all.
struct Held {
    most: u64,
    total: u64,
}

/// Tells a stream to a caller who takes each event's bytes as they come.
fn hold(from: Dialect, to: Dialect, events: &[String]) -> Held {
    let (mut out, mut ended) = (Vec::with_capacity(1 << 22), false);
    let counted = allocation_counter::measure(|| {
        let (mut decoder, mut encoder) = (StreamDecoder::new(from), StreamEncoder::new(to, 7, true));
        let (mut marks, mut blocks) = (SignatureMarks::new(from, to), OpenBlocks::new(to));
        let mut write = |event: Event<'_>| {
            blocks.event(&event).expect("fits");
            encoder.encode(marks.event(&event).as_ref().unwrap_or(&event), &mut out);
            ended |= matches!(event, Event::End);
        };
        events.iter().for_each(|event| decoder.decode(event, &mut write).expect("reads"));
        decoder.finish(&mut write);
    });
    assert!(ended, "{from:?} to {to:?}");
    Held { most: counted.bytes_max, total: counted.bytes_total }
}

fn length(events: &[String]) -> u64 {
    events.iter().map(|event| event.len() as u64).sum()
}

#[test]
fn nothing_of_a_text_is_held_but_what_responses_repeats() {
    for (from, to) in pairs() {
        let [half, whole] = [500, 1_000].map(|texts| hold(from, to, &told(from, texts, 1)).most);
        let more = whole - half;
        match to {
            // The last event has all of the text: it is held once, in room that doubles, and once more for a moment.
            Dialect::Responses => assert!(more <= 3 * 500 * 5, "{from:?} to {to:?}: {more}"),
            _ => assert_eq!(more, 0, "{from:?} to {to:?}"),
        }
    }
}

#[test]
fn what_is_held_of_calls_is_within_a_multiple_of_what_came() {
    for (from, to) in pairs() {
        for calls in [500, 2_000] {
            let events = told(from, 0, calls);
            let (held, came) = (hold(from, to, &events), length(&events));
            assert!(held.most <= 4 * came, "{from:?} to {to:?}: {} of {came} held", held.most);
            assert!(held.total <= 20 * came, "{from:?} to {to:?}: {} of {came} allocated", held.total);
        }
    }
}

fn pairs() -> impl Iterator<Item = (Dialect, Dialect)> {
    let with = |from| CALLERS.into_iter().filter(move |to| *to != from).map(move |to| (from, to));
    PROVIDERS.into_iter().flat_map(with)
}

#[test]
fn many_open_calls_are_not_searched_by_a_decoder() {
    // The others have one at a time, or none in their state.
    for from in [Dialect::OpenAi, Dialect::Responses, Dialect::Cohere] {
        let (mut decoder, mut opened, mut told_of) = (StreamDecoder::new(from), 0, 0);
        let mut count = |event: Event<'_>| match event {
            Event::Open { opening: Opening::ToolCall { .. }, .. } => opened += 1,
            Event::Delta { delta: Delta::Arguments(text), .. } => told_of += text.decode().len(),
            _ => {}
        };
        for event in told(from, 0, MANY) {
            decoder.decode(&event, &mut count).expect("reads");
        }
        decoder.finish(&mut count);
        assert_eq!((opened, told_of), (MANY, 7 * MANY as usize), "{from:?}");
    }
}

#[test]
fn many_calls_counted_as_the_first_are_not_searched() {
    let call = |id: u64, name: Value, arguments: &str| {
        let call =
            json!({"index": 0, "id": format!("c{id}"), "function": {"name": name, "arguments": arguments}});
        json!({"id": "i", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}).to_string()
    };
    let (mut decoder, mut ends) = (StreamDecoder::new(Dialect::OpenAi), Vec::new());
    let mut write = |event: Event<'_>| {
        if let Event::Close { block, .. } = event {
            ends.push(block);
        }
    };
    for id in 0..MANY {
        decoder.decode(&call(id, json!("f"), "{"), &mut write).expect("reads");
    }
    for id in 0..MANY - 1 {
        decoder.decode(&call(id, Value::Null, "}"), &mut write).expect("reads");
    }
    assert!(ends.into_iter().eq(0..MANY - 1));
}

#[test]
fn many_open_blocks_are_not_searched_by_an_encoder() {
    for to in CALLERS {
        let (mut encoder, mut blocks) = (StreamEncoder::new(to, 7, true), OpenBlocks::new(to));
        let mut last = Vec::new();
        let mut write = |event: &Event<'_>| {
            last.clear();
            blocks.event(event).expect("fits");
            encoder.encode(event, &mut last);
        };
        let opening = || Opening::ToolCall { id: "c".into(), name: "f".into() };
        let delta = |block, text: &'static str| Event::Delta {
            choice: 0,
            block,
            delta: Delta::Arguments(text.into()),
        };
        write(&Event::Start { id: None, model: None, created: None });
        for block in 0..MANY {
            write(&Event::Open { choice: 0, block, opening: opening() });
        }
        for block in 0..MANY {
            write(&delta(block, "[]"));
        }
        (1..MANY).rev().for_each(|block| write(&Event::Close { choice: 0, block }));
        write(&Event::Close { choice: 0, block: 0 });
        write(&Event::End);
        let said = String::from_utf8(last).expect("is UTF-8");
        match to {
            Dialect::Responses => {
                let json = said.trim_end().rsplit("data: ").next().expect("has data");
                let output = strict(json)["response"]["output"].as_array().expect("is a list").len();
                assert_eq!(output as u64, MANY);
            }
            Dialect::Anthropic => assert!(said.contains("message_stop")),
            Dialect::Gemini => assert!(said.contains("candidates")),
            _ => assert_eq!(said, "data: [DONE]\n\n"),
        }
    }
}

#[test]
fn many_members_of_a_call_are_written_once_each() {
    let mut call = json!({"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}).to_string();
    call.pop();
    for member in 0..MANY {
        call.push_str(&format!(",\"m{}\":{member}", member % (MANY / 2)));
    }
    let chunk = format!(r#"{{"id":"i","choices":[{{"index":0,"delta":{{"tool_calls":[{call}}}]}}}}]}}"#);
    let (mut decoder, mut encoder) =
        (StreamDecoder::new(Dialect::OpenAi), StreamEncoder::new(Dialect::OpenAi, 7, true));
    let mut out = Vec::new();
    decoder.decode(&chunk, &mut |event| encoder.encode(&event, &mut out)).expect("reads");
    let said = String::from_utf8(out).expect("is UTF-8");
    let begun = said.lines().find(|line| line.contains("\"m0\"")).expect("begins");
    let begun = strict(begun.strip_prefix("data: ").expect("has data"));
    let members = begun["choices"][0]["delta"]["tool_calls"][0].as_object().expect("is an object");
    assert_eq!(members.len() as u64, MANY / 2 + 4);
    assert_eq!(members["m0"], MANY / 2);
}
