//! What OpenAI's relatives make of its streams and answers, as the decoder says it.

use ziggurat_core::Dialect;
use ziggurat_dialect::{Event, StreamDecoder, decode_response};

use crate::common::{data, events, stream};

fn decode(chunks: &[&str]) -> Vec<String> {
    events(Dialect::OpenAi, chunks)
}

/// What an OpenAI caller gets.
fn translate(chunks: &[&str]) -> String {
    stream(Dialect::OpenAi, Dialect::OpenAi, chunks)
}

const FINISH: &str = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn azures_first_chunk_has_no_id_and_does_not_count_as_the_beginning() {
    let events = decode(&[
        r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}"#,
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"created":5,"id":"chatcmpl-1","model":"gpt"}"#,
        FINISH,
    ]);
    assert_eq!(
        events[..2],
        [
            r#"Extra { choice: None, scope: Answer, name: "prompt_filter_results", raw: RawValue([{"prompt_index":0}]) }"#,
            r#"Start { id: Some("chatcmpl-1"), model: Some("gpt"), created: Some(5) }"#,
        ]
    );
}

#[test]
fn members_are_news_when_they_change() {
    let chunk = |fingerprint: &str| {
        format!(
            r#"{{"id":"c","system_fingerprint":{fingerprint},"choices":[{{"index":0,"content_filter_results":{{}}}}]}}"#
        )
    };
    let chunks = [chunk("\"a\""), chunk("\"a\""), chunk("null"), chunk("\"b\"")];
    let events = decode(&chunks.each_ref().map(String::as_str));
    let extras: Vec<_> = events.iter().filter(|event| event.starts_with("Extra")).collect();
    assert_eq!(
        extras,
        [
            r#"Extra { choice: None, scope: Answer, name: "system_fingerprint", raw: RawValue("a") }"#,
            r#"Extra { choice: Some(0), scope: Choice, name: "content_filter_results", raw: RawValue({}) }"#,
            r#"Extra { choice: None, scope: Answer, name: "system_fingerprint", raw: RawValue("b") }"#,
        ]
    );
}

#[test]
fn a_finish_that_is_repeated_is_one() {
    let again = r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let events = decode(&[FINISH, again, "[DONE]"]);
    assert_eq!(events.iter().filter(|event| event.starts_with("Finish")).count(), 1);
    assert!(events[2].starts_with("Usage"), "{}", events[2]);
    assert_eq!(events[3], "End");
}

#[test]
fn a_terminator_before_any_choice_ends_no_whole_answer() {
    let usage = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}"#;
    for chunks in [&["[DONE]"][..], &[usage, "[DONE]", "[DONE]"]] {
        let events = decode(chunks);
        let errors: Vec<_> = events.iter().filter(|event| event.starts_with("Error")).collect();
        assert!(matches!(errors[..], [error] if error.contains("upstream_truncated")), "{events:?}");
        assert!(!events.contains(&"End".to_owned()), "{events:?}");
    }
    assert_eq!(decode(&[FINISH, "[DONE]"]).last().map(String::as_str), Some("End"));
}

#[test]
fn groqs_usage_stands_in_its_own_member() {
    let chunk = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":3,"completion_tokens":4}}}"#;
    let events = decode(&[chunk, "[DONE]"]);
    assert_eq!(
        events[1],
        r#"Extra { choice: None, scope: Answer, name: "x_groq", raw: RawValue({"id":"r","usage":{"prompt_tokens":3,"completion_tokens":4}}) }"#
    );
    assert!(events[3].contains("input: Some(3), output: Some(4)"), "{}", events[3]);
}

#[test]
fn mistrals_lists_are_thoughts_and_text_and_its_calls_need_no_index() {
    let events = decode(&[
        r#"{"id":"c","p":"abc","choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"h"}],"closed":false}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"m"}],"closed":true}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":[{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"id":"D681PevKs","function":{"name":"f","arguments":"{}"}},{"id":"E681PevKs","function":{"name":"g","arguments":{"x":1}}}]},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ]);
    assert_eq!(
        events[1..],
        [
            "Open { choice: 0, block: 0, opening: Thinking }",
            r#"Delta { choice: 0, block: 0, delta: Thinking("h") }"#,
            r#"Delta { choice: 0, block: 0, delta: Thinking("m") }"#,
            "Close { choice: 0, block: 0 }",
            "Open { choice: 0, block: 1, opening: Text }",
            r#"Delta { choice: 0, block: 1, delta: Text("a") }"#,
            "Close { choice: 0, block: 1 }",
            r#"Open { choice: 0, block: 2, opening: Native { dialect: OpenAi, raw: RawValue({"type":"reference","reference_ids":[1]}) } }"#,
            "Close { choice: 0, block: 2 }",
            r#"Open { choice: 0, block: 3, opening: ToolCall { id: "D681PevKs", name: "f" } }"#,
            r#"Delta { choice: 0, block: 3, delta: Arguments("{}") }"#,
            "Close { choice: 0, block: 3 }",
            r#"Open { choice: 0, block: 4, opening: ToolCall { id: "E681PevKs", name: "g" } }"#,
            r#"Delta { choice: 0, block: 4, delta: Arguments("{\"x\":1}") }"#,
            "Close { choice: 0, block: 4 }",
            r#"Finish { choice: 0, finish: Finish { reason: ToolCalls, native: "tool_calls", dialect: OpenAi, stop_sequence: None } }"#,
            "End",
        ]
    );
}

#[test]
fn openrouters_error_comes_with_its_usage_and_done_says_no_more() {
    let error = r#"{"id":"c","error":{"code":502,"message":"Upstream failed"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let events = decode(&[r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}"#, error, "[DONE]"]);
    assert_eq!(events.len(), 5);
    assert!(events[3].contains("input: Some(3), output: Some(4)"), "{}", events[3]);
    assert!(
        events[4].starts_with("Error(Problem { cause: Upstream, message: \"Upstream failed\""),
        "{}",
        events[4]
    );
}

#[test]
fn nothing_behind_the_terminator_is_read() {
    let events = decode(&[FINISH, " [DONE] ", r#"{"choices":[],"cost":"0.1"}"#, "not even JSON"]);
    assert_eq!(events.last().map(String::as_str), Some("End"));
    assert_eq!(events.iter().filter(|event| *event == "End").count(), 1);
}

#[test]
fn what_is_neither_chunk_nor_error_is_malformed_or_a_failure() {
    let mut decoder = StreamDecoder::new(Dialect::OpenAi);
    let error = decoder
        .decode("{\"choices\": [{\"index\":0, \"delta\": 5}]}", &mut |_| {})
        .expect_err("is malformed");
    assert_eq!(error.path, "choices[0].delta");
    let mut failed = false;
    decoder
        .decode("{\"detail\":\"gone\"}", &mut |event| failed = matches!(event, Event::Error(_)))
        .expect("reads");
    assert!(failed);
}

#[test]
fn legacy_function_calls_are_handed_on_as_they_are() {
    let chunks = [
        r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":""}}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"function_call":{"arguments":"{}"}}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"function_call"}]}"#,
        "[DONE]",
    ];
    let stream = translate(&chunks);
    assert!(stream.contains(r#""delta":{"function_call":{"name":"f","arguments":""}}"#), "{stream}");
    assert!(stream.contains(r#""delta":{"function_call":{"arguments":"{}"}}"#), "{stream}");
    assert!(stream.contains(r#""finish_reason":"function_call""#), "{stream}");
    assert!(!stream.contains("tool_calls"), "{stream}");
    // What is no call is handed on too.
    let empty = r#"{"id":"c","choices":[{"index":0,"delta":{"function_call":{"name":"","arguments":""}}}]}"#;
    let stream = translate(&[empty, FINISH, "[DONE]"]);
    assert!(stream.contains(r#""delta":{"function_call":{"name":"","arguments":""}}"#), "{stream}");
}

#[test]
fn calls_that_are_no_functions_are_handed_on_as_they_are() {
    let chunks = [
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","type":"custom","custom":{"name":"f","input":""}}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"custom":{"input":"a"}}]}}]}"#,
        FINISH,
        "[DONE]",
    ];
    let stream = translate(&chunks);
    assert!(stream.contains(r#""delta":{"tool_calls":[{"index":0,"id":"x","type":"custom","custom":{"name":"f","input":""}}]}"#), "{stream}");
    assert!(stream.contains(r#""delta":{"tool_calls":[{"index":0,"custom":{"input":"a"}}]}"#), "{stream}");
    let whole = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"x","type":"custom","custom":{"name":"f","input":"a"}}]},"finish_reason":"tool_calls"}]}"#;
    let mut out = Vec::new();
    ziggurat_dialect::encode_response(
        Dialect::OpenAi,
        &decode_response(Dialect::OpenAi, whole).expect("reads"),
        7,
        &mut out,
    );
    assert_eq!(String::from_utf8(out).expect("is UTF-8"), whole);
}

#[test]
fn a_calls_own_members_stay_with_it() {
    let chunks = [
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"S"}}}]}}]}"#,
        FINISH,
        "[DONE]",
    ];
    let stream = translate(&chunks);
    assert!(
        stream.contains(r#"{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":""},"extra_content":{"google":{"thought_signature":"S"}}}"#),
        "{stream}"
    );
}

#[test]
fn signed_thoughts_of_a_gateway_are_told_once() {
    let chunks = [
        r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm"}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"thinking_blocks":[{"type":"thinking","thinking":"","signature":"S"},{"type":"redacted_thinking","data":"R"}]}}]}"#,
        FINISH,
        "[DONE]",
    ];
    let events = decode(&chunks);
    assert_eq!(
        events[1..7],
        [
            "Open { choice: 0, block: 0, opening: Thinking }",
            r#"Delta { choice: 0, block: 0, delta: Thinking("hm") }"#,
            r#"Delta { choice: 0, block: 0, delta: Signature("S") }"#,
            "Close { choice: 0, block: 0 }",
            r#"Open { choice: 0, block: 1, opening: RedactedThinking { data: "R" } }"#,
            "Close { choice: 0, block: 1 }",
        ]
    );
}

#[test]
fn logprobs_and_several_answers_stay_apart() {
    let chunk = |index: u64| {
        format!(
            r#"{{"id":"c","choices":[{{"index":{index},"delta":{{"content":"a{index}"}},"logprobs":{{"content":[{{"token":"a{index}","logprob":-0.50}}]}}}}]}}"#
        )
    };
    let finish = |index: u64| {
        format!(r#"{{"id":"c","choices":[{{"index":{index},"delta":{{}},"finish_reason":"length"}}]}}"#)
    };
    let chunks = [chunk(1), chunk(0), finish(0), finish(1), "[DONE]".to_owned()];
    let stream = translate(&chunks.each_ref().map(String::as_str));
    let data = data(&stream);
    for index in [0, 1] {
        let logprobs = format!(
            r#"{{"index":{index},"delta":{{}},"finish_reason":null,"logprobs":{{"content":[{{"token":"a{index}","logprob":-0.50}}]}}}}"#
        );
        assert_eq!(data.iter().filter(|data| data.contains(&logprobs)).count(), 1, "{stream}");
        let content = format!(r#"{{"index":{index},"delta":{{"content":"a{index}"}},"finish_reason":null}}"#);
        assert_eq!(data.iter().filter(|data| data.contains(&content)).count(), 1, "{stream}");
    }
    assert_eq!(data.iter().filter(|data| data.contains(r#""role":"assistant""#)).count(), 2);
}

#[test]
fn hostile_numbers_do_no_harm() {
    let chunk = r#"{"id":"c","created":1e400,"choices":[{"index":-1,"delta":{"tool_calls":[{"index":99999999999999999999,"id":"x","function":{"name":"f"}}]}}]}"#;
    assert_eq!(decode(&[chunk])[0], r#"Start { id: Some("c"), model: None, created: None }"#);
    assert_eq!(
        decode(&[chunk])[1],
        r#"Open { choice: 0, block: 0, opening: ToolCall { id: "x", name: "f" } }"#
    );
    let body = r#"{"created":99999999999999999999999,"choices":[{"index":7.0,"message":{"content":"a"}}]}"#;
    let response = decode_response(Dialect::OpenAi, body).expect("reads");
    assert_eq!((response.created, response.choices[0].index), (None, 7));
}

#[test]
fn a_value_that_was_written_over_several_lines_breaks_no_stream() {
    let chunk = "{\"id\":\"c\",\n\"choices\":[],\n\"extra\":{\n\r\n  \"a\": 1\n}}";
    let stream = translate(&[chunk, FINISH, "[DONE]"]);
    assert!(stream.contains(r#""extra":{     "a": 1 }}"#), "{stream}");
    let start = "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\n\"input_tokens\":1\n}}}";
    let stream =
        crate::common::stream(Dialect::Anthropic, Dialect::Anthropic, &[start, r#"{"type":"message_stop"}"#]);
    assert!(stream.contains(r#""usage":{ "input_tokens":1 }}}"#), "{stream}");
}
