//! Streams of a Responses provider whose items come in no order, or whose events leave something out.

use serde_json::{Value, json};
use ziggurat_core::Dialect;

use crate::{
    common::{data, events, stream},
    streams::{COMPLETED, CREATED},
};

/// What is told of a stream between its start and its usage: openings, pieces and ends.
fn told(data: &[&str]) -> Vec<String> {
    let events = events(Dialect::Responses, &[&[CREATED], data].concat());
    events
        .into_iter()
        .filter(|event| ["Open", "Delta", "Close"].iter().any(|kind| event.starts_with(kind)))
        .collect()
}

/// A block with one piece, as it is told.
fn block(number: u64, opening: &str, piece: &str) -> [String; 3] {
    [
        format!("Open {{ choice: 0, block: {number}, opening: {opening} }}"),
        format!("Delta {{ choice: 0, block: {number}, delta: {piece} }}"),
        format!("Close {{ choice: 0, block: {number} }}"),
    ]
}

const TEXT: &str = r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"m","role":"assistant","content":[]}}"#;
const PART: &str = r#"{"type":"response.content_part.added","output_index":1,"content_index":0,"part":{"type":"output_text","text":""}}"#;
const SAID: &str = r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"Hi"}"#;
const TEXT_DONE: &str = r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","id":"m","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}}"#;

#[test]
fn a_part_whose_text_no_piece_told_is_told_by_its_end() {
    let part_done = r#"{"type":"response.content_part.done","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Hi"}}"#;
    let bare = r#"{"type":"response.content_part.done","output_index":1,"content_index":0}"#;
    for data in [
        &[TEXT, PART, part_done, TEXT_DONE, COMPLETED][..],
        &[TEXT, PART, bare, TEXT_DONE, COMPLETED],
        &[TEXT, PART, TEXT_DONE, COMPLETED],
    ] {
        assert_eq!(told(data), block(0, "Text", "Text(\"Hi\")"), "{data:?}");
    }
    // A part that was told, and one that was not.
    let two = r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"Hi"},{"type":"refusal","refusal":"No"}]}}"#;
    let expected = [block(0, "Text", "Text(\"Hi\")"), block(1, "Refusal", "Refusal(\"No\")")].concat();
    assert_eq!(told(&[TEXT, PART, SAID, two, COMPLETED]), expected);
}

#[test]
fn thoughts_go_on_in_another_block_where_theirs_has_ended() {
    let think = |piece: &str| {
        json!({ "type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": piece })
            .to_string()
    };
    let done = json!({ "type": "response.output_item.done", "output_index": 0, "item": {
        "type": "reasoning", "id": "r", "encrypted_content": "E",
        "summary": [{ "type": "summary_text", "text": "onetwo" }],
    } });
    let (one, two, done) = (think("one"), think("two"), done.to_string());
    let thought = |number: u64, text: &str| block(number, "Thinking", &format!("Thinking({text:?})"));
    let text = block(1, "Text", "Text(\"Hi\")");
    // Its signature comes when it has ended.
    let expected = [thought(0, "one"), text.clone()].concat();
    assert_eq!(told(&[&one, TEXT, SAID, &done, TEXT_DONE, COMPLETED]), expected);
    let mut last = thought(2, "two").to_vec();
    last.insert(2, "Delta { choice: 0, block: 2, delta: Signature(\"E\") }".to_owned());
    let expected = [thought(0, "one").to_vec(), text.to_vec(), last].concat();
    assert_eq!(told(&[&one, TEXT, SAID, &two, &done, TEXT_DONE, COMPLETED]), expected);
}

#[test]
fn an_index_tells_an_item_whatever_came_before_it() {
    let added = |index: u64| {
        format!(
            r#"{{"type":"response.output_item.added","output_index":{index},"item":{{"type":"function_call","call_id":"c{index}","name":"f","arguments":""}}}}"#
        )
    };
    let piece = |index: u64, piece: &str| {
        json!({ "type": "response.function_call_arguments.delta", "output_index": index, "delta": piece })
            .to_string()
    };
    let done = |index: u64| {
        format!(
            r#"{{"type":"response.output_item.done","output_index":{index},"item":{{"type":"function_call","call_id":"c{index}","name":"f","arguments":"{{\"x\":{index}}}"}}}}"#
        )
    };
    let data = [
        added(1),
        added(0),
        piece(0, "{\"x\":"),
        piece(1, "{\"x\":"),
        piece(0, "0}"),
        piece(1, "1}"),
        done(0),
        done(1),
        COMPLETED.to_owned(),
    ];
    let told = told(&data.iter().map(String::as_str).collect::<Vec<_>>());
    let delta = |block: u64, piece: &str| {
        format!("Delta {{ choice: 0, block: {block}, delta: Arguments({piece:?}) }}")
    };
    assert_eq!(
        told,
        [
            r#"Open { choice: 0, block: 0, opening: ToolCall { id: "c1", name: "f" } }"#.to_owned(),
            r#"Open { choice: 0, block: 1, opening: ToolCall { id: "c0", name: "f" } }"#.to_owned(),
            delta(1, "{\"x\":"),
            delta(0, "{\"x\":"),
            delta(1, "0}"),
            delta(0, "1}"),
            "Close { choice: 0, block: 1 }".to_owned(),
            "Close { choice: 0, block: 0 }".to_owned(),
        ]
    );
}

#[test]
fn text_that_goes_on_behind_another_item_is_another_block() {
    let other = r#"{"type":"response.output_text.delta","output_index":2,"content_index":0,"delta":"No"}"#;
    let texts = ["Text(\"Hi\")", "Text(\"No\")", "Text(\"Hi\")"];
    let expected: Vec<String> =
        (0..).zip(texts).flat_map(|(number, piece)| block(number, "Text", piece)).collect();
    assert_eq!(told(&[TEXT, PART, SAID, other, SAID, COMPLETED]), expected);
}

#[test]
fn the_last_event_tells_of_items_that_nobody_told_of_alone() {
    let completed = |output: &Value| {
        json!({ "type": "response.completed", "response": { "id": "resp_1", "status": "completed", "output": output } }).to_string()
    };
    let message =
        |text: &str| json!({ "type": "message", "content": [{ "type": "output_text", "text": text }] });
    let (hi, no) = (block(0, "Text", "Text(\"Hi\")"), block(1, "Text", "Text(\"No\")"));
    let spoken = [TEXT, PART, SAID, TEXT_DONE];
    // The index 1 stands at the place 0, or where the first item was never told of, at its own.
    for (output, expected) in [
        (json!([message("Hi")]), hi.to_vec()),
        (json!([message("No"), message("Hi")]), [hi.clone(), no].concat()),
        (json!([]), hi.to_vec()),
    ] {
        let last = completed(&output);
        assert_eq!(told(&[&spoken[..], &[&last]].concat()), expected, "{output}");
    }
    // What two items were told of, of which the list has one.
    let search = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"web_search_call","id":"ws"}}"#;
    let last = completed(&json!([message("Hi")]));
    let said = told(&[&[search], &spoken[..], &[&last]].concat());
    assert_eq!(said.iter().filter(|event| event.contains("Text(")).count(), 1, "{said:?}");
}

#[test]
fn calls_side_by_side_reach_every_caller_whole() {
    let added = |index: u64| {
        json!({ "type": "response.output_item.added", "output_index": index, "item": { "type": "function_call", "call_id": format!("c{index}"), "name": "f", "arguments": "" } }).to_string()
    };
    let piece = |index: u64, piece: &str| {
        json!({ "type": "response.function_call_arguments.delta", "output_index": index, "delta": piece })
            .to_string()
    };
    let done = |index: u64| {
        json!({ "type": "response.function_call_arguments.done", "output_index": index, "arguments": format!("{{\"x\":{index}}}") }).to_string()
    };
    let lines = [
        CREATED.to_owned(),
        added(0),
        added(1),
        piece(1, "{\"x\":"),
        piece(0, "{\"x\":"),
        piece(1, "1}"),
        done(1),
        piece(0, "0}"),
        done(0),
        COMPLETED.to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let told = |caller: Dialect| -> Vec<Value> {
        let data = data(&stream(Dialect::Responses, caller, &lines));
        data.iter().filter_map(|data| serde_json::from_str(data).ok()).collect()
    };
    let pieces = |events: &[Value], index: &str, piece: &str| {
        let mut arguments = [String::new(), String::new()];
        for event in events {
            let index = event.pointer(index).and_then(Value::as_u64);
            if let (Some(index), Some(piece)) = (index, event.pointer(piece).and_then(Value::as_str)) {
                arguments[usize::from(index == 1)].push_str(piece);
            }
        }
        arguments
    };
    let whole = ["{\"x\":0}", "{\"x\":1}"];
    let call = "/choices/0/delta/tool_calls/0";
    assert_eq!(
        pieces(&told(Dialect::OpenAi), &format!("{call}/index"), &format!("{call}/function/arguments")),
        whole
    );
    let own = told(Dialect::Responses);
    assert_eq!(pieces(&own, "/output_index", "/delta"), whole);
    let output = &own.last().expect("has an end")["response"]["output"];
    assert_eq!([&output[0]["arguments"], &output[1]["arguments"]], whole);
    let anthropic = told(Dialect::Anthropic);
    assert_eq!(pieces(&anthropic, "/index", "/delta/partial_json"), whole);
    let order: Vec<_> = anthropic.iter().filter_map(|event| event["index"].as_u64()).collect();
    assert!(order.is_sorted(), "blocks stand one after another: {order:?}");
    let gemini = told(Dialect::Gemini);
    let calls: Vec<_> = gemini
        .iter()
        .filter_map(|chunk| chunk.pointer("/candidates/0/content/parts/0/functionCall/args"))
        .collect();
    assert_eq!(calls, [&json!({ "x": 0 }), &json!({ "x": 1 })]);
}
