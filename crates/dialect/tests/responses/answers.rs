//! Whole answers: of other providers in front of a Responses caller, and of a Responses provider in front of others.

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::decode_response;

use crate::common::answer;

const OWN: Dialect = Dialect::Responses;

fn chat(message: &Value, finish: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m", "service_tier": "default",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": {
            "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
            "prompt_tokens_details": { "cached_tokens": 3 },
            "completion_tokens_details": { "reasoning_tokens": 2 },
        },
    })
}

#[test]
fn a_chats_answer_is_a_response_with_all_that_sdks_need() {
    let message = json!({ "role": "assistant", "content": "Hello", "reasoning_content": "Hm." });
    assert_eq!(
        answer(Dialect::OpenAi, OWN, &chat(&message, "stop")),
        json!({
            "id": "resp_chatcmpl-1", "object": "response", "created_at": 5, "status": "completed",
            "incomplete_details": null, "model": "m",
            "output": [
                {
                    "id": "rs_chatcmpl-1_0", "type": "reasoning", "status": "completed",
                    "summary": [{ "type": "summary_text", "text": "Hm." }],
                },
                {
                    "id": "msg_chatcmpl-1_1", "type": "message", "status": "completed", "role": "assistant",
                    "content": [{ "type": "output_text", "text": "Hello", "annotations": [], "logprobs": [] }],
                },
            ],
            "usage": {
                "input_tokens": 10, "input_tokens_details": { "cached_tokens": 3, "cache_write_tokens": 0 },
                "output_tokens": 4, "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 14,
            },
            "background": false, "error": null, "instructions": null, "max_output_tokens": null,
            "metadata": {}, "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null }, "store": false, "temperature": null,
            "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [], "top_p": null,
            "truncation": "disabled", "user": null, "service_tier": "default",
        })
    );
}

#[test]
fn parallel_calls_are_items_with_two_ids_each() {
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } });
    let message = json!({ "role": "assistant", "content": "", "tool_calls": [call("call_a", "{\"x\":1}"), call("call_b", "")] });
    let read = answer(Dialect::OpenAi, OWN, &chat(&message, "tool_calls"));
    assert_eq!(
        read["output"],
        json!([
            { "type": "function_call", "id": "fc_chatcmpl-1_0", "call_id": "call_a", "name": "f", "arguments": "{\"x\":1}", "status": "completed" },
            { "type": "function_call", "id": "fc_chatcmpl-1_1", "call_id": "call_b", "name": "f", "arguments": "{}", "status": "completed" },
        ])
    );
    assert_eq!(read["status"], "completed");
}

#[test]
fn a_refusal_is_a_part_and_a_cut_is_incomplete() {
    let message = json!({ "role": "assistant", "content": null, "refusal": "No." });
    let read = answer(Dialect::OpenAi, OWN, &chat(&message, "stop"));
    assert_eq!(read["output"][0]["content"], json!([{ "type": "refusal", "refusal": "No." }]));
    let message = json!({ "role": "assistant", "content": "Half" });
    for (finish, reason) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let read = answer(Dialect::OpenAi, OWN, &chat(&message, finish));
        assert_eq!(
            (&read["status"], &read["incomplete_details"]["reason"]),
            (&json!("incomplete"), &json!(reason))
        );
        assert_eq!(read["output"][0]["status"], "incomplete");
    }
}

#[test]
fn an_answer_without_an_id_gets_the_same_one_each_time() {
    let mut chat = chat(&json!({ "role": "assistant", "content": "x" }), "stop");
    chat["id"].take();
    let id = |chat: &Value| answer(Dialect::OpenAi, OWN, chat)["id"].as_str().expect("is text").to_owned();
    assert!(id(&chat).starts_with("resp_") && id(&chat).len() > 5 && id(&chat) == id(&chat));
    chat["id"] = json!("x".repeat(100));
    let read = answer(Dialect::OpenAi, OWN, &chat);
    assert_eq!(read["id"].as_str().map(str::len), Some(105));
    let item = read["output"][0]["id"].as_str().expect("has an id");
    assert!(item.starts_with("msg_") && item.len() < 64, "{item}");
}

#[test]
fn anthropics_thinking_and_citations_have_their_places() {
    let read = answer(
        Dialect::Anthropic,
        OWN,
        &json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [
                { "type": "thinking", "thinking": "Hm.", "signature": "sig" },
                { "type": "redacted_thinking", "data": "opaque" },
                { "type": "text", "text": "Äpfel" , "citations": [
                    { "type": "web_search_result_location", "url": "https://e.com", "title": "T", "cited_text": "x" },
                    { "type": "char_location", "document_index": 0 },
                ] },
                { "type": "text", "text": "more" },
                { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "x": [1] } },
            ],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": { "input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1, "output_tokens": 2 },
        }),
    );
    let output = read["output"].as_array().expect("has output");
    let kinds: Vec<_> = output.iter().map(|item| item["type"].as_str().expect("has a type")).collect();
    assert_eq!(kinds, ["reasoning", "reasoning", "message", "function_call"]);
    assert_eq!(
        (&output[0]["encrypted_content"], &output[0]["summary"][0]["text"]),
        (&json!("zigguratOfClaudesig"), &json!("Hm."))
    );
    assert_eq!(
        (&output[1]["encrypted_content"], &output[1]["summary"]),
        (&json!("redacted_thinking:zigguratOfClaudeopaque"), &json!([]))
    );
    assert_eq!(
        output[2]["content"],
        json!([
            {
                "type": "output_text", "text": "Äpfel", "logprobs": [],
                "annotations": [{ "type": "url_citation", "start_index": 0, "end_index": 5, "title": "T", "url": "https://e.com" }],
            },
            { "type": "output_text", "text": "more", "annotations": [], "logprobs": [] },
        ])
    );
    assert_eq!(output[3]["arguments"], "{\"x\":[1]}".replace(' ', ""));
    assert_eq!(
        (
            &read["usage"]["input_tokens"],
            &read["usage"]["input_tokens_details"],
            &read["usage"]["total_tokens"]
        ),
        (&json!(10), &json!({ "cached_tokens": 4, "cache_write_tokens": 1 }), &json!(12))
    );
}

#[test]
fn a_chats_annotations_and_log_probabilities_are_the_texts() {
    let citation = json!({ "url": "https://e.com", "title": "T", "start_index": 1, "end_index": 3 });
    let mut chat = chat(
        &json!({ "role": "assistant", "content": "abc", "annotations": [{ "type": "url_citation", "url_citation": citation }] }),
        "stop",
    );
    chat["choices"][0]["logprobs"] =
        json!({ "content": [{ "token": "a", "logprob": -1, "bytes": [97], "top_logprobs": [] }] });
    let read = answer(Dialect::OpenAi, OWN, &chat);
    let part = &read["output"][0]["content"][0];
    assert_eq!(part["annotations"][0]["start_index"], 1);
    assert_eq!(part["annotations"][0]["type"], "url_citation");
    assert_eq!(part["logprobs"], chat["choices"][0]["logprobs"]["content"]);
    // And back.
    let again = answer(OWN, Dialect::OpenAi, &read);
    assert_eq!(again["choices"][0]["message"]["annotations"], chat["choices"][0]["message"]["annotations"]);
    assert_eq!(again["choices"][0]["logprobs"]["content"], chat["choices"][0]["logprobs"]["content"]);
}

fn response(output: &Value) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 5, "status": "completed", "incomplete_details": null,
        "error": null, "model": "m", "output": output, "tools": [{ "type": "function", "name": "f" }], "instructions": "secret",
        "service_tier": "flex", "tool_usage": { "web_search": { "num_requests": 2 } },
        "usage": {
            "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4 }, "output_tokens": 6,
            "output_tokens_details": { "reasoning_tokens": 5 }, "total_tokens": 16,
        },
    })
}

#[test]
fn a_responses_provider_answers_callers_of_other_dialects() {
    let read = response(&json!([
        { "type": "reasoning", "id": "rs_0", "summary": [] },
        { "type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
          "summary": [{ "type": "summary_text", "text": "One." }, { "type": "summary_text", "text": "Two." }] },
        { "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "type": "search", "query": "q" } },
        { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
          "content": [{ "type": "output_text", "text": "Hi", "annotations": [], "logprobs": [] }] },
        { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"x\":1}", "status": "completed" },
    ]));
    let thought = "One.\n\nTwo.";
    assert_eq!(
        answer(OWN, Dialect::OpenAi, &read),
        json!({
            "id": "resp_1", "object": "chat.completion", "created": 5, "model": "m", "service_tier": "flex",
            "choices": [{
                "index": 0, "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant", "content": "Hi", "reasoning_content": thought,
                    "thinking_blocks": [{ "type": "thinking", "thinking": thought, "signature": "zigguratOfOpenaigAAA" }],
                    "tool_calls": [{ "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } }],
                },
            }],
            "usage": {
                "prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16,
                "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 5 },
                "cache_read_input_tokens": 4, "server_tool_use": { "web_search_requests": 2 },
            },
        })
    );
    let message = answer(OWN, Dialect::Anthropic, &read);
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(
        message["content"],
        json!([
            { "type": "thinking", "thinking": thought, "signature": "zigguratOfOpenaigAAA" },
            { "type": "text", "text": "Hi" },
            { "type": "tool_use", "id": "call_1", "name": "f", "input": { "x": 1 } },
        ])
    );
}

#[test]
fn what_is_missing_in_a_response_is_why_it_ended() {
    let mut read = response(&json!([
        { "type": "message", "id": "msg_1", "role": "assistant", "status": "incomplete",
          "content": [{ "type": "output_text", "text": "Ha", "annotations": [] }] },
    ]));
    read["status"] = json!("incomplete");
    for (reason, chat, messages) in
        [("max_output_tokens", "length", "max_tokens"), ("content_filter", "content_filter", "refusal")]
    {
        read["incomplete_details"] = json!({ "reason": reason });
        assert_eq!(answer(OWN, Dialect::OpenAi, &read)["choices"][0]["finish_reason"], chat);
        assert_eq!(answer(OWN, Dialect::Anthropic, &read)["stop_reason"], messages);
        assert_eq!(answer(OWN, OWN, &read)["incomplete_details"]["reason"], reason);
    }
}

#[test]
fn messages_that_follow_each_other_stay_apart() {
    let message = |id: &str, phase: &str| {
        let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [] });
        json!({ "type": "message", "id": id, "role": "assistant", "phase": phase, "content": [part("a"), part("b")] })
    };
    let read = response(&json!([message("msg_1", "commentary"), message("msg_2", "final_answer")]));
    assert_eq!(answer(OWN, OWN, &read), read);
}

#[test]
fn an_answer_without_output_is_none() {
    let error = decode_response(OWN, r#"{"id":"resp_1"}"#).expect_err("is none");
    assert_eq!(error.path, "output");
    let error =
        decode_response(OWN, r#"{"output":[{"type":"function_call","call_id":"c"}]}"#).expect_err("is none");
    assert_eq!(error.path, "output[0].name");
}
