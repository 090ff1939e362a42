//! Anthropic's streams, as an OpenAI caller gets them.

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::StreamDecoder;

use crate::common::{data, events, stream, strict};

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn open(index: u64, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

fn delta(index: u64, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}  "#)
}

fn close(index: u64) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

fn end(reason: &str, output: u64) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":{output}}}}}"#
    )
}

fn translate(events: &[String]) -> String {
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    stream(Dialect::Anthropic, Dialect::OpenAi, &events)
}

#[test]
fn a_long_id_is_told_by_its_hash_and_a_short_one_as_it_is() {
    for (length, told) in [(256, "m".repeat(256)), (257, "b5dfbe8f".to_owned())] {
        let start = START.replace("msg_1", &"m".repeat(length));
        let chunks = translate(&[
            start,
            open(0, r#"{"type":"text","text":""}"#),
            delta(0, r#"{"type":"text_delta","text":"a"}"#),
        ]);
        assert_eq!(strict(&data(&chunks)[0])["id"], told);
    }
}

#[test]
fn more_choices_than_can_be_asked_for_are_no_answer() {
    for (dialect, list) in [(Dialect::OpenAi, "choices"), (Dialect::Gemini, "candidates")] {
        for (count, reads) in [(128, true), (129, false)] {
            let choices: Vec<Value> = (0..count).map(|index| json!({ "index": index })).collect();
            let mut decoder = StreamDecoder::new(dialect);
            let read = decoder.decode(&json!({ "id": "c", list: choices }).to_string(), &mut |_| {}).is_ok();
            assert_eq!(read, reads, "{dialect:?}");
        }
    }
}

/// The deltas and what stands beside them, chunk by chunk.
fn choices(stream: &str) -> Vec<Value> {
    let chunks = data(stream).into_iter().filter(|data| data != "[DONE]").map(|data| strict(&data));
    chunks.flat_map(|chunk| chunk["choices"].as_array().cloned().unwrap_or_default()).collect()
}

fn plain(delta: &Value) -> Value {
    json!({ "index": 0, "delta": delta, "finish_reason": null })
}

#[test]
fn text_comes_byte_for_byte_as_chunks() {
    let stream = translate(&[
        START.into(),
        open(0, r#"{"type":"text","text":""}"#),
        r#"{"type":"ping"}"#.into(),
        delta(0, r#"{"type":"text_delta","text":"Hé\n\u0000"}"#),
        delta(0, r#"{"type":"text_delta","text":""}"#),
        close(0),
        end("end_turn", 15),
        STOP.into(),
    ]);
    let head =
        r#"data: {"id":"msg_1","object":"chat.completion.chunk","created":7,"model":"claude-x","choices":"#;
    assert_eq!(
        stream,
        [
            ": ping\n\n",
            &format!("{head}[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]}}\n\n"),
            &format!("{head}[{{\"index\":0,\"delta\":{{\"content\":\"Hé\\n\\u0000\"}},\"finish_reason\":null}}]}}\n\n"),
            &format!("{head}[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n"),
            &format!(
                "{head}[],\"usage\":{{\"prompt_tokens\":13,\"completion_tokens\":15,\"total_tokens\":28,\"prompt_tokens_details\":{{\"cached_tokens\":3}},\"cache_read_input_tokens\":3}}}}\n\n"
            ),
            "data: [DONE]\n\n",
        ]
        .concat()
    );
}

#[test]
fn calls_have_numbers_of_their_own_and_always_arguments() {
    let stream = translate(&[
        START.into(),
        open(0, r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{}}"#),
        delta(0, r#"{"type":"input_json_delta","partial_json":"{}"}"#),
        close(0),
        open(1, r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#),
        delta(1, r#"{"type":"input_json_delta","partial_json":""}"#),
        delta(1, r#"{"type":"input_json_delta","partial_json":"{\"a\":"}"#),
        delta(1, r#"{"type":"input_json_delta","partial_json":"1}"}"#),
        close(1),
        open(2, r#"{"type":"tool_use","id":"toolu_2","name":"g","input":{}}"#),
        delta(2, r#"{"type":"input_json_delta","partial_json":""}"#),
        close(2),
        // Called by a program: whole at once.
        open(
            3,
            r#"{"type":"tool_use","id":"toolu_3","name":"h","input":{"b": 2},"caller":{"type":"direct"}}"#,
        ),
        close(3),
        end("tool_use", 5),
        STOP.into(),
    ]);
    let begin = |index: u64, id: &str, name: &str| {
        let function = json!({ "name": name, "arguments": "" });
        plain(
            &json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": function }] }),
        )
    };
    let more = |index: u64, json: &str| {
        plain(&json!({ "tool_calls": [{ "index": index, "function": { "arguments": json } }] }))
    };
    let mut third = begin(2, "toolu_3", "h");
    third["delta"]["tool_calls"][0]["caller"] = json!({ "type": "direct" });
    assert_eq!(
        choices(&stream),
        [
            plain(&json!({ "role": "assistant", "content": "" })),
            begin(0, "toolu_1", "f"),
            more(0, "{\"a\":"),
            more(0, "1}"),
            begin(1, "toolu_2", "g"),
            more(1, "{}"),
            third,
            more(2, "{\"b\": 2}"),
            json!({ "index": 0, "delta": {}, "finish_reason": "tool_calls" }),
        ]
    );
}

#[test]
fn arguments_that_a_cap_cuts_stay_cut() {
    let stream = translate(&[
        START.into(),
        open(0, r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#),
        delta(0, r#"{"type":"input_json_delta","partial_json":"{\"a\": \"x"}"#),
        close(0),
        end("max_tokens", 5),
        STOP.into(),
    ]);
    let choices = choices(&stream);
    assert_eq!(choices[2]["delta"]["tool_calls"][0]["function"]["arguments"], "{\"a\": \"x");
    assert_eq!(choices[3]["finish_reason"], "length");
}

#[test]
fn thoughts_come_with_their_signature() {
    let stream = translate(&[
        START.into(),
        open(0, r#"{"type":"thinking","thinking":"","signature":""}"#),
        delta(0, r#"{"type":"thinking_delta","thinking":"hm"}"#),
        delta(0, r#"{"type":"signature_delta","signature":"S"}"#),
        close(0),
        open(1, r#"{"type":"redacted_thinking","data":"R"}"#),
        close(1),
        end("end_turn", 5),
        STOP.into(),
    ]);
    assert_eq!(
        choices(&stream)[1..4],
        [
            plain(
                &json!({ "reasoning_content": "hm", "thinking_blocks": [{ "index": 0, "type": "thinking", "thinking": "hm" }] })
            ),
            plain(
                &json!({ "thinking_blocks": [{ "index": 0, "type": "thinking", "thinking": "", "signature": "S" }] })
            ),
            plain(&json!({ "thinking_blocks": [{ "index": 1, "type": "redacted_thinking", "data": "R" }] })),
        ]
    );
}

#[test]
fn what_a_block_begins_with_is_not_lost() {
    let stream = translate(&[
        START.into(),
        open(0, r#"{"type":"thinking","thinking":"hm","signature":"S"}"#),
        close(0),
        open(1, r#"{"type":"text","text":"a","citations":[{"cited_text":"b"}]}"#),
        close(1),
        end("end_turn", 5),
        STOP.into(),
    ]);
    let choices = choices(&stream);
    assert_eq!(choices[1]["delta"]["reasoning_content"], "hm");
    assert_eq!(choices[2]["delta"]["thinking_blocks"][0]["signature"], "S");
    assert_eq!(choices[3]["delta"], json!({ "content": "a" }));
    assert_eq!(
        choices[4]["delta"],
        json!({ "provider_specific_fields": { "citation": { "cited_text": "b" } } })
    );
}

#[test]
fn the_last_of_several_message_deltas_holds_and_counts_replace() {
    let stream = translate(&[START.into(), end("pause_turn", 5), end("refusal", 9), STOP.into()]);
    assert_eq!(
        choices(&stream).last(),
        Some(&json!({ "index": 0, "delta": {}, "finish_reason": "content_filter" }))
    );
    let last = data(&stream).into_iter().rfind(|data| data != "[DONE]").expect("is there");
    assert_eq!(strict(&last)["usage"]["completion_tokens"], 9);
    assert_eq!(strict(&last)["usage"]["prompt_tokens"], 13);
}

#[test]
fn an_error_in_mid_stream_ends_it_without_done() {
    let error =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;
    let stream =
        translate(&[START.into(), open(0, r#"{"type":"text","text":"He"}"#), error.into(), STOP.into()]);
    assert!(
        stream.ends_with(
            "data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":\"overloaded\"}}\n\n"
        ),
        "{stream}"
    );
    assert!(!stream.contains(r#""finish_reason":""#));
}

#[test]
fn an_early_end_is_an_error_and_no_stop() {
    let stream = translate(&[START.into(), open(0, r#"{"type":"text","text":"He"}"#), end("end_turn", 3)]);
    let last = data(&stream).pop().expect("is there");
    assert_eq!(strict(&last)["error"]["code"], "upstream_truncated");
    assert!(!stream.contains("[DONE]") && !stream.contains(r#""finish_reason":""#));
}

#[test]
fn types_that_nobody_knows_are_passed_over() {
    let stream = translate(&[
        START.into(),
        r#"{"type":"news","content_block":5,"delta":[]}"#.into(),
        open(0, r#"{"type":"hologram","text":5}"#),
        delta(0, r#"{"type":"hologram_delta","text":5}"#),
        close(0),
        end("end_turn", 1),
        STOP.into(),
    ]);
    assert_eq!(
        choices(&stream),
        [
            json!({ "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null }),
            json!({ "index": 0, "delta": {}, "finish_reason": "stop" })
        ]
    );
}

#[test]
fn hostile_numbers_do_no_harm() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":-5,"output_tokens":1e300,"cache_read_input_tokens":"7"}}}"#;
    let events = events(Dialect::Anthropic, &[start, r#"{"type":"content_block_stop","index":-1}"#, STOP]);
    // Nothing that can be was stated, and that is said.
    assert!(events[0].contains("input: None, output: None, cached_read: None"), "{}", events[0]);
    assert!(events[0].contains("invalid: true"), "{}", events[0]);
    assert_eq!(events[1], "Start { id: None, model: None, created: None }");
    assert_eq!(events[2], "Close { choice: 0, block: 0 }");
}
