//! Streams: of other providers in front of a Responses caller, and of a Responses provider in front of others.

use serde_json::{Value, json};
use ziggurat_core::Dialect;

use crate::common::{data, events, stream, strict};

const OWN: Dialect = Dialect::Responses;

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
    })
    .to_string()
}

const USAGE: &str =
    r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

/// The events that a Responses caller of a chat provider gets; their names and numbers are checked here.
fn from_chat(chunks: &[String]) -> Vec<Value> {
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    let text = stream(Dialect::OpenAi, OWN, &chunks);
    assert!(!text.contains("[DONE]"));
    let named: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let events: Vec<Value> = data(&text).iter().map(|data| strict(data)).collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["type"], named[number]);
        if event["type"] != "error" {
            assert_eq!(event["sequence_number"], number);
        }
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().expect("has a type").trim_start_matches("response."))
        .collect()
}

#[test]
fn a_chats_stream_is_the_events_of_a_response() {
    let events = from_chat(&[
        chunk(&json!({ "role": "assistant", "content": "" }), None),
        chunk(&json!({ "reasoning_content": "H" }), None),
        chunk(&json!({ "reasoning_content": "m\n" }), None),
        chunk(&json!({ "content": "He" }), None),
        chunk(&json!({ "content": "llo" }), None),
        chunk(&json!({}), Some("stop")),
        USAGE.to_owned(),
        "[DONE]".to_owned(),
    ]);
    assert_eq!(
        kinds(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    assert_eq!(
        events[11],
        json!({
            "type": "response.output_text.delta", "sequence_number": 11, "item_id": "msg_chatcmpl-1_1",
            "output_index": 1, "content_index": 0, "delta": "He", "logprobs": [],
        })
    );
    assert_eq!(events[0]["response"]["status"], "in_progress");
    assert_eq!(events[13]["text"], "Hello");
    let last = &events[16]["response"];
    assert_eq!(last["output"], json!([events[8]["item"], events[15]["item"]]));
    assert_eq!(last["output"][0]["summary"][0]["text"], "Hm\n");
    assert_eq!(last["output"][1]["content"][0]["text"], "Hello");
    assert_eq!((&last["id"], &last["usage"]["total_tokens"]), (&json!("resp_chatcmpl-1"), &json!(5)));
    // The same as when it came whole.
    let whole = crate::common::answer(
        Dialect::OpenAi,
        OWN,
        &json!({
            "id": "chatcmpl-1", "created": 5, "model": "m",
            "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "Hello", "reasoning_content": "Hm\n" } }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 },
        }),
    );
    assert_eq!(*last, whole);
}

#[test]
fn parallel_calls_stream_as_items() {
    let call = |index: u64, id: &str, arguments: &str| match id {
        "" => json!({ "tool_calls": [{ "index": index, "function": { "arguments": arguments } }] }),
        id => {
            json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } }] })
        }
    };
    let events = from_chat(&[
        chunk(&call(0, "call_a", ""), None),
        chunk(&call(0, "", "{\"x\":"), None),
        chunk(&call(0, "", "\"ä\\n\"}"), None),
        chunk(&call(1, "call_b", ""), None),
        chunk(&json!({}), Some("tool_calls")),
        "[DONE]".to_owned(),
    ]);
    assert_eq!(
        kinds(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    assert_eq!(
        events[10]["response"]["output"],
        json!([
            { "id": "fc_chatcmpl-1_0", "type": "function_call", "status": "completed", "call_id": "call_a", "name": "f", "arguments": "{\"x\":\"ä\\n\"}" },
            { "id": "fc_chatcmpl-1_1", "type": "function_call", "status": "completed", "call_id": "call_b", "name": "f", "arguments": "{}" },
        ])
    );
    assert_eq!(events[2]["item"]["status"], "in_progress");
    assert_eq!(events[5]["item_id"], events[2]["item"]["id"]);
}

#[test]
fn a_refusal_a_cut_and_an_error_end_as_they_should() {
    let events = from_chat(&[
        chunk(&json!({ "refusal": "No" }), None),
        chunk(&json!({ "refusal": "." }), Some("stop")),
        "[DONE]".to_owned(),
    ]);
    assert_eq!(
        kinds(&events)[2..],
        [
            "output_item.added",
            "content_part.added",
            "refusal.delta",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
            "completed"
        ]
    );
    assert_eq!(
        events[9]["response"]["output"][0]["content"],
        json!([{ "type": "refusal", "refusal": "No." }])
    );

    let events = from_chat(&[chunk(&json!({ "content": "Ha" }), Some("length")), "[DONE]".to_owned()]);
    let last = events.last().expect("has an end");
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    assert_eq!(last["response"]["usage"], Value::Null);

    let broken = [
        chunk(&json!({ "content": "Ha" }), None),
        r#"{"error":{"message":"Busy","type":"server_error"}}"#.to_owned(),
    ];
    for chunks in [&broken[..], &broken[..1]] {
        let events = from_chat(chunks);
        let last = events.last().expect("has an end");
        assert_eq!(
            kinds(&events),
            [
                "created",
                "in_progress",
                "output_item.added",
                "content_part.added",
                "output_text.delta",
                "error"
            ]
        );
        assert!(last["error"]["message"].is_string() && last["error"]["type"].is_string());
    }
}

#[test]
fn log_probabilities_stand_beside_the_text_that_is_whole() {
    let mut chunks: Vec<String> = Vec::new();
    for token in ["a", "b"] {
        let mut chunk: Value =
            serde_json::from_str(&chunk(&json!({ "content": token }), None)).expect("is JSON");
        chunk["choices"][0]["logprobs"] =
            json!({ "content": [{ "token": token, "logprob": -1 }], "refusal": null });
        chunks.push(chunk.to_string());
    }
    chunks.extend([chunk(&json!({}), Some("stop")), "[DONE]".to_owned()]);
    let events = from_chat(&chunks);
    let expected = json!([{ "token": "a", "logprob": -1 }, { "token": "b", "logprob": -1 }]);
    let done = events.iter().find(|event| event["type"] == "response.output_text.done").expect("is there");
    assert_eq!(done["logprobs"], expected);
    let last = &events.last().expect("has an end")["response"];
    assert_eq!(last["output"][0]["content"][0]["logprobs"], expected);
}

#[test]
fn anthropics_stream_keeps_what_its_thinking_is_known_by() {
    let said = stream(
        Dialect::Anthropic,
        OWN,
        &[
            r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"opaque"}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://e.com","title":"T"}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"One"}}"#,
            r#"{"type":"content_block_stop","index":2}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"Two"}}"#,
            r#"{"type":"content_block_stop","index":3}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}"#,
            r#"{"type":"message_stop"}"#,
        ],
    );
    let last = strict(data(&said).last().expect("has an end"));
    let output = &last["response"]["output"];
    assert_eq!(output[0]["encrypted_content"], "zigguratOfClaudesig");
    assert_eq!(output[1]["encrypted_content"], "redacted_thinking:zigguratOfClaudeopaque");
    assert_eq!(
        output[2]["content"],
        json!([
            {
                "type": "output_text", "text": "One", "logprobs": [],
                "annotations": [{ "type": "url_citation", "start_index": 0, "end_index": 3, "title": "T", "url": "https://e.com" }],
            },
            { "type": "output_text", "text": "Two", "annotations": [], "logprobs": [] },
        ])
    );
    assert_eq!(output.as_array().map(Vec::len), Some(3));
    assert_eq!(last["response"]["usage"]["output_tokens"], 7);
    let told = data(&said)
        .iter()
        .map(|data| strict(data))
        .find(|event| event["type"] == "response.output_text.annotation.added");
    assert_eq!(told.expect("is told")["annotation"], output[2]["content"][0]["annotations"][0]);
}

pub(crate) const CREATED: &str = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","created_at":5,"model":"m","output":[]}}"#;
pub(crate) const COMPLETED: &str = r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}}"#;

#[test]
fn items_are_told_by_index_and_what_no_piece_said_by_their_end() {
    let said = events(
        OWN,
        &[
            CREATED,
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"a","summary":[]}}"#,
            r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"item_id":"b","delta":"One"}"#,
            r#"{"type":"response.reasoning_summary_text.done","output_index":0,"summary_index":0,"item_id":"c","text":"One"}"#,
            r#"{"type":"response.reasoning_summary_text.done","output_index":0,"summary_index":1,"item_id":"d","text":"Two"}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"e","summary":[],"encrypted_content":"enc"}}"#,
            r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"f","call_id":"call_1","name":"f","arguments":""}}"#,
            r#"{"type":"response.function_call_arguments.done","output_index":1,"item_id":"g","arguments":"{}"}"#,
            r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","id":"h","call_id":"call_1","name":"f","arguments":"{}"}}"#,
            r#"{"type":"response.something_new","output_index":9}"#,
            r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"web_search_call","id":"ws"}}"#,
            r#"{"type":"response.output_item.done","output_index":3,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}}"#,
            COMPLETED,
            "[DONE]",
            r#"{"type":"error","error":{"message":"late"}}"#,
        ],
    );
    let expected = [
        "Start",
        "Open { choice: 0, block: 0, opening: Thinking }",
        "Thinking(\"One\")",
        "Thinking(\"\\n\\n\")",
        "Thinking(\"Two\")",
        "Signature(\"enc\")",
        "Close { choice: 0, block: 0 }",
        "Open { choice: 0, block: 1, opening: ToolCall { id: \"call_1\", name: \"f\" }",
        "Arguments(\"{}\")",
        "Close { choice: 0, block: 1 }",
        "Open { choice: 0, block: 2, opening: Native",
        "Close { choice: 0, block: 2 }",
        "Open { choice: 0, block: 3, opening: Text }",
        "Text(\"Hi\")",
        "Close { choice: 0, block: 3 }",
        "Usage",
        "reason: ToolCalls",
        "End",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn an_answer_in_one_piece_is_told_too() {
    let said = stream(
        OWN,
        Dialect::OpenAi,
        &[
            r#"{"type":"response.completed","response":{"id":"resp_1","created_at":5,"model":"m","status":"completed","output":[
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"},{"type":"refusal","refusal":"No"}]}]}}"#,
        ],
    );
    assert!(
        said.contains(r#""content":"Hi""#)
            && said.contains(r#""refusal":"No""#)
            && said.ends_with("[DONE]\n\n"),
        "{said}"
    );
}

#[test]
fn a_failure_is_told_once() {
    let nested = r#"{"type":"error","sequence_number":2,"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"Pay","param":null}}"#;
    let flat = r#"{"type":"error","code":"rate_limit_exceeded","message":"Slow down","param":null,"sequence_number":2}"#;
    let failed = r#"{"type":"response.failed","response":{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"Oops"},"output":[]}}"#;
    for (events_, expected) in [
        (&[CREATED, nested, failed][..], "Quota"),
        (&[CREATED, flat, failed], "RateLimit"),
        (&[CREATED, failed], "Internal"),
        (&[CREATED, r#"{"error":{"message":"x","type":"overloaded_error"}}"#], "Overloaded"),
        (&[CREATED], "upstream_truncated"),
        (&[CREATED, "[DONE]"], "upstream_truncated"),
    ] {
        let said = events(OWN, events_);
        let errors: Vec<_> = said.iter().filter(|event| event.starts_with("Error")).collect();
        assert!(errors.len() == 1 && said.len() == 2 && errors[0].contains(expected), "{expected}: {said:?}");
    }
}

#[test]
fn other_callers_see_no_tool_that_the_provider_ran() {
    let said = [
        CREATED,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"web_search_call","id":"ws","status":"in_progress"}}"#,
        r#"{"type":"response.web_search_call.searching","output_index":0,"item_id":"ws"}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"web_search_call","id":"ws","status":"completed"}}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"m","role":"assistant","content":[]}}"#,
        r#"{"type":"response.content_part.added","output_index":1,"content_index":0,"part":{"type":"output_text","text":""}}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"Hi"}"#,
        r#"{"type":"response.output_text.annotation.added","output_index":1,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://e.com"}}"#,
        COMPLETED,
    ];
    for caller in [Dialect::OpenAi, Dialect::Anthropic] {
        let written = stream(OWN, caller, &said);
        assert!(
            written.contains("Hi") && !written.contains("web_search") && !written.contains("tool"),
            "{written}"
        );
    }
    let own = stream(OWN, OWN, &said);
    let last = strict(data(&own).last().expect("has an end"));
    assert_eq!(
        last["response"]["output"][0],
        json!({ "type": "web_search_call", "id": "ws", "status": "completed" })
    );
    assert_eq!(
        last["response"]["output"][1]["content"][0]["annotations"],
        json!([{ "type": "url_citation", "url": "https://e.com" }])
    );
}
