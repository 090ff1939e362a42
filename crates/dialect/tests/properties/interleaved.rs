//! Calls of tools whose pieces interleave, with one another and with text.

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use ziggurat_core::Dialect;

use crate::{
    common::{answer, data, stream},
    documents::text,
};

const CALLERS: [Dialect; 4] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Responses, Dialect::Gemini];

/// The arguments of a call: none, or an object.
fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just(String::new()),
        1 => Just("{}".to_owned()),
        4 => (text(), any::<i32>()).prop_map(|(text, number)| json!({ "a": { "b": [text, null] }, "n": number }).to_string()),
    ]
}

/// Cuts a text where its letters begin.
fn cut(text: &str, cuts: &[Index]) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(letters.len() + 1)).collect();
    places.extend([0, letters.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| letters[ends[0]..ends[1]].iter().collect()).collect()
}

/// What comes next in a stream: a piece of a call, or of the text.
#[derive(Clone, Debug)]
enum Piece {
    Call(usize, String),
    Text(String),
}

/// Chunks of a stream of OpenAI's.
fn openai(calls: &[String], pieces: &[Piece], together: bool) -> Vec<String> {
    let chunk = |delta: Value, finish: Option<&str>| {
        json!({ "id": "x", "created": 5, "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] }).to_string()
    };
    let open = |index: usize| json!({ "index": index, "id": format!("c{index}"), "type": "function", "function": { "name": format!("f{index}"), "arguments": "" } });
    let mut begun = vec![together; calls.len()];
    let mut chunks = vec![];
    if together {
        chunks.push(chunk(json!({ "tool_calls": (0..calls.len()).map(open).collect::<Vec<_>>() }), None));
    }
    for piece in pieces {
        match piece {
            Piece::Text(text) => chunks.push(chunk(json!({ "content": text }), None)),
            Piece::Call(index, arguments) => {
                if !std::mem::replace(&mut begun[*index], true) {
                    chunks.push(chunk(json!({ "tool_calls": [open(*index)] }), None));
                }
                let piece = json!({ "index": index, "function": { "arguments": arguments } });
                chunks.push(chunk(json!({ "tool_calls": [piece] }), None));
            }
        }
    }
    chunks.extend([chunk(json!({}), Some("tool_calls")), "[DONE]".to_owned()]);
    chunks
}

/// The calls by name, with their ids and arguments, and the text of a stream; what no strict client takes is not read.
fn read(caller: Dialect, stream: &str) -> (Vec<[String; 3]>, String) {
    let events: Vec<Value> = data(stream).iter().filter_map(|data| serde_json::from_str(data).ok()).collect();
    let (mut calls, mut said): (Vec<[String; 3]>, _) = (Vec::new(), String::new());
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // What Anthropic's block at the end of the list is, and whether it goes on.
    let mut open: Option<Option<usize>> = None;
    for event in &events {
        match caller {
            Dialect::OpenAi => {
                let delta = &event["choices"][0]["delta"];
                said.push_str(delta["content"].as_str().unwrap_or_default());
                for call in delta["tool_calls"].as_array().into_iter().flatten() {
                    let index = usize::try_from(call["index"].as_u64().expect("has an index")).expect("fits");
                    if index == calls.len() {
                        calls.push([string(&call["function"]["name"]), string(&call["id"]), String::new()]);
                    }
                    calls[index][2].push_str(&string(&call["function"]["arguments"]));
                }
            }
            Dialect::Anthropic => match event["type"].as_str() {
                Some("content_block_start") => {
                    assert_eq!(open, None, "blocks stand one after another");
                    let block = &event["content_block"];
                    let is_call = block["type"] == "tool_use";
                    if is_call {
                        calls.push([string(&block["name"]), string(&block["id"]), String::new()]);
                    }
                    open = Some(is_call.then(|| calls.len() - 1));
                }
                Some("content_block_delta") => {
                    said.push_str(event["delta"]["text"].as_str().unwrap_or_default());
                    if let Some(json) = event["delta"]["partial_json"].as_str() {
                        calls[open.flatten().expect("in a call")][2].push_str(json);
                    }
                }
                Some("content_block_stop") => assert!(open.take().is_some()),
                _ => {}
            },
            Dialect::Responses if event["type"] == "response.completed" => {
                for item in event["response"]["output"].as_array().expect("is a list") {
                    match item["type"].as_str() {
                        Some("function_call") => {
                            calls.push([
                                string(&item["name"]),
                                string(&item["call_id"]),
                                string(&item["arguments"]),
                            ]);
                        }
                        _ => said.extend(
                            item["content"]
                                .as_array()
                                .into_iter()
                                .flatten()
                                .map(|part| string(&part["text"])),
                        ),
                    }
                }
            }
            Dialect::Responses if event["type"] == "response.output_item.done" => {
                // Its pieces are what its end repeats.
                let pieces = events.iter().filter(|piece| {
                    piece["output_index"] == event["output_index"]
                        && piece["type"] == "response.function_call_arguments.delta"
                });
                let pieces: String = pieces.map(|piece| string(&piece["delta"])).collect();
                let whole = string(&event["item"]["arguments"]);
                assert!(pieces == whole || (pieces.is_empty() && matches!(&*whole, "" | "{}")), "{event}");
            }
            Dialect::Responses => {}
            _ => {
                for part in event["candidates"][0]["content"]["parts"].as_array().into_iter().flatten() {
                    said.push_str(part["text"].as_str().unwrap_or_default());
                    if let Some(call) = part.get("functionCall") {
                        calls.push([string(&call["name"]), string(&call["id"]), call["args"].to_string()]);
                    }
                }
            }
        }
    }
    assert_eq!(open, None);
    for call in &mut calls {
        // A call without arguments has an empty object, or nothing at all in Anthropic's stream.
        let json: Value =
            serde_json::from_str(if call[2].is_empty() { "{}" } else { &call[2] }).expect("is JSON");
        call[2] = json.to_string();
    }
    calls.sort();
    (calls, said)
}

proptest! {
    #[test]
    fn calls_that_interleave_reach_every_caller_whole(
        calls in vec((arguments(), vec(any::<Index>(), 0..4)), 1..4),
        said in "[a-z ]{0,6}",
        order in vec(any::<Index>(), 0..24),
        together in any::<bool>(),
    ) {
        let arguments: Vec<String> = calls.iter().map(|(arguments, _)| arguments.clone()).collect();
        // Each call's pieces stay in their order; whose turn it is, chance says.
        let mut rest: Vec<Vec<Piece>> = calls.iter().enumerate().map(|(index, (arguments, cuts))| {
            cut(arguments, cuts).into_iter().rev().map(|piece| Piece::Call(index, piece)).collect()
        }).collect();
        rest.push(said.chars().rev().map(|letter| Piece::Text(letter.into())).collect());
        let mut turns = order.iter();
        let mut pieces = Vec::new();
        while rest.iter().any(|pieces| !pieces.is_empty()) {
            let left: Vec<usize> = (0..rest.len()).filter(|whose| !rest[*whose].is_empty()).collect();
            let whose = left[turns.next().map_or(0, |turn| turn.index(left.len()))];
            pieces.extend(rest[whose].pop());
        }
        let chunks = openai(&arguments, &pieces, together);
        let lines: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let tool_calls: Vec<Value> = arguments.iter().enumerate().map(|(index, arguments)| {
            json!({ "id": format!("c{index}"), "type": "function", "function": { "name": format!("f{index}"), "arguments": arguments } })
        }).collect();
        let whole = json!({ "id": "x", "created": 5, "model": "m", "choices": [{ "index": 0, "finish_reason": "tool_calls",
            "message": { "role": "assistant", "content": said, "tool_calls": tool_calls } }] });
        for caller in CALLERS {
            let (found, text) = read(caller, &stream(Dialect::OpenAi, caller, &lines));
            prop_assert_eq!(&text, &said, "{:?}", caller);
            prop_assert_eq!(found, calls_of(caller, &answer(Dialect::OpenAi, caller, &whole)), "{:?}", caller);
        }
    }
}

/// The calls of a whole answer, as [`read`] gives them.
fn calls_of(caller: Dialect, answer: &Value) -> Vec<[String; 3]> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = |json: &str| serde_json::from_str::<Value>(json).expect("is JSON").to_string();
    let mut calls: Vec<[String; 3]> = match caller {
        Dialect::OpenAi => list(&answer["choices"][0]["message"]["tool_calls"])
            .iter()
            .map(|call| {
                let arguments = string(&call["function"]["arguments"]);
                let arguments = if arguments.is_empty() { "{}" } else { &arguments };
                [string(&call["function"]["name"]), string(&call["id"]), object(arguments)]
            })
            .collect(),
        Dialect::Anthropic => list(&answer["content"])
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .map(|block| [string(&block["name"]), string(&block["id"]), block["input"].to_string()])
            .collect(),
        Dialect::Responses => list(&answer["output"])
            .iter()
            .filter(|item| item["type"] == "function_call")
            .map(|item| {
                [string(&item["name"]), string(&item["call_id"]), object(&string(&item["arguments"]))]
            })
            .collect(),
        _ => list(&answer["candidates"][0]["content"]["parts"])
            .iter()
            .filter_map(|part| part.get("functionCall"))
            .map(|call| [string(&call["name"]), string(&call["id"]), call["args"].to_string()])
            .collect(),
    };
    calls.sort();
    calls
}
