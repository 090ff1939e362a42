//! OpenAI's answers, as an Anthropic caller gets them.

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::decode_response;

use crate::common::answer;

fn translate(body: &Value) -> Value {
    answer(Dialect::OpenAi, Dialect::Anthropic, body)
}

/// The content and the reason to stop of an answer with this message.
fn message(message: &Value, finish_reason: &str) -> Value {
    let body =
        json!({ "id": "c", "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }] });
    let body = translate(&body);
    json!([body["content"], body["stop_reason"]])
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[test]
fn a_whole_answer_has_the_frame_of_a_message() {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000.75, "model": "m", "system_fingerprint": "fp",
        "choices": [
            { "index": 0, "message": { "role": "assistant", "content": "a\u{0}\u{1F600}", "refusal": null }, "finish_reason": "stop", "logprobs": null },
            { "index": 1, "message": { "role": "assistant", "content": "b" }, "finish_reason": "stop" },
        ],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": { "cached_tokens": 4 } },
    });
    assert_eq!(
        translate(&body),
        json!({
            "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m", "content": [text("a\u{0}\u{1F600}")],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": { "input_tokens": 6, "output_tokens": 5, "cache_read_input_tokens": 4 },
        })
    );
}

#[test]
fn calls_are_blocks_and_decide_why_it_stopped() {
    let call = |id: &str, arguments: Value| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } });
    let block = |id: &str, input: Value| json!({ "type": "tool_use", "id": id, "name": "f", "input": input });
    let asked = json!({ "content": "", "tool_calls": [call("a", json!("{\"x\":1}")), call("b:1", json!("")), call("c", json!({ "y": 2 }))] });
    let blocks = json!([
        block("a", json!({ "x": 1 })),
        block("b_1_34340f0e", json!({})),
        block("c", json!({ "y": 2 }))
    ]);
    // OpenAI says `stop` when the call was forced.
    for reason in ["tool_calls", "stop"] {
        assert_eq!(message(&asked, reason), json!([blocks, "tool_use"]));
    }
    let cut = json!({ "content": null, "tool_calls": [call("a", json!("{\"x\":"))] });
    assert_eq!(
        message(&cut, "length"),
        json!([[block("a", json!({ "partial_json": "{\"x\":" }))], "max_tokens"])
    );
}

#[test]
fn a_legacy_call_is_a_block_with_an_id_of_its_own() {
    let function = json!({ "name": "f", "arguments": "{\"x\":1}" });
    let asked = json!({ "content": null, "function_call": function });
    let block = json!({ "type": "tool_use", "id": "call_ef734621", "name": "f", "input": { "x": 1 } });
    assert_eq!(message(&asked, "function_call"), json!([[block], "tool_use"]));
    // Some say `stop` of it.
    assert_eq!(message(&asked, "stop")[1], "tool_use");
    let with_text = json!({ "content": "a", "function_call": function });
    assert_eq!(message(&with_text, "function_call")[0], json!([text("a"), block]));
    let next = json!({ "id": "d", "choices": [{ "message": asked, "finish_reason": "function_call" }] });
    assert_ne!(translate(&next)["content"][0]["id"], block["id"]);
}

#[test]
fn a_legacy_call_that_is_none_or_is_said_twice_is_no_block() {
    let call = json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": "" } });
    let function = json!({ "name": "f", "arguments": "" });
    let twice = json!({ "content": null, "tool_calls": [call], "function_call": function });
    assert_eq!(
        message(&twice, "tool_calls")[0],
        json!([{ "type": "tool_use", "id": "a", "name": "f", "input": {} }])
    );
    // Snowflake's answers without a call.
    for none in [json!({ "name": "", "arguments": "" }), json!({}), json!("f"), json!(null)] {
        let asked = json!({ "content": "a", "function_call": none });
        assert_eq!(message(&asked, "stop"), json!([[text("a")], "end_turn"]), "{none}");
    }
}

#[test]
fn a_legacy_call_stays_as_it_is_for_an_openai_caller() {
    let call = json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": "" } });
    let function = json!({ "name": "f", "arguments": "{}", "new": 1 });
    for message in [
        json!({ "role": "assistant", "content": null, "function_call": function }),
        json!({ "role": "assistant", "content": null, "tool_calls": [call], "function_call": function }),
        json!({ "role": "assistant", "content": "a", "function_call": { "name": "", "arguments": "" } }),
    ] {
        let body = json!({
            "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{ "index": 0, "message": message, "finish_reason": "function_call" }],
        });
        assert_eq!(answer(Dialect::OpenAi, Dialect::OpenAi, &body), body);
    }
}

#[test]
fn every_reason_to_finish_has_its_word() {
    for (reason, word) in [
        ("stop", "end_turn"),
        ("eos", "end_turn"),
        ("length", "max_tokens"),
        ("model_length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("of a later version", "end_turn"),
    ] {
        assert_eq!(message(&json!({ "content": "a" }), reason)[1], word, "{reason}");
    }
    let filtered = json!({ "choices": [{ "message": {}, "finish_reason": "content_filter" }] });
    let filtered = translate(&filtered);
    assert_eq!(filtered["content"], json!([]));
    assert_eq!(filtered["stop_details"], json!({ "type": "refusal", "category": null, "explanation": null }));
    assert_eq!(
        translate(&json!({ "choices": [{ "message": { "content": "a" } }] }))["stop_reason"],
        json!(null)
    );
}

#[test]
fn a_refusal_is_text_and_reasoning_a_thought() {
    assert_eq!(
        message(&json!({ "content": null, "refusal": "no" }), "stop"),
        json!([[text("no")], "end_turn"])
    );
    let thought = json!({ "type": "thinking", "thinking": "hm", "signature": "" });
    for name in ["reasoning_content", "reasoning"] {
        assert_eq!(message(&json!({ "content": "a", name: "hm" }), "stop")[0], json!([thought, text("a")]));
    }
    let both = json!({ "content": "a", "reasoning": "hm", "reasoning_content": "hm" });
    assert_eq!(message(&both, "stop")[0], json!([thought, text("a")]));
    let signed = json!({ "type": "thinking", "thinking": "hm", "signature": "S" });
    let blocks = json!({ "content": "a", "reasoning_content": "hm", "thinking_blocks": [signed] });
    assert_eq!(message(&blocks, "stop")[0], json!([signed, text("a")]));
}

#[test]
fn no_choice_is_an_empty_message_and_none_at_all_no_answer() {
    assert_eq!(translate(&json!({ "choices": [] }))["content"], json!([]));
    for body in [r#"{"choices":null}"#, "{}", r#"{"error":{"message":"x"}}"#] {
        let error = decode_response(Dialect::OpenAi, body).expect_err("is no answer");
        assert_eq!((&*error.path, &*error.message), ("choices", "missing field"));
    }
    let error = decode_response(Dialect::Anthropic, r#"{"id":"m"}"#).expect_err("is no answer");
    assert_eq!((&*error.path, &*error.message), ("content", "missing field"));
}

#[test]
fn usage_is_never_below_zero_and_never_invented() {
    let usage = |usage: Value| translate(&json!({ "choices": [], "usage": usage }))["usage"].clone();
    assert_eq!(
        usage(json!({ "prompt_tokens": -5, "completion_tokens": 2.0 })),
        json!({ "input_tokens": 0, "output_tokens": 2 })
    );
    // Anthropic's clients need the counts; what was not stated is 0.
    for nothing in [json!(null), json!({}), json!("many"), json!([1]), json!({ "prompt_tokens": "x" })] {
        assert_eq!(usage(nothing), json!({ "input_tokens": 0, "output_tokens": 0 }));
    }
    // More cached than there was.
    let cached = json!({ "prompt_tokens": 293, "completion_tokens": 1, "prompt_tokens_details": { "cached_tokens": 387 } });
    assert_eq!(
        usage(cached),
        json!({ "input_tokens": 0, "output_tokens": 1, "cache_read_input_tokens": 293 })
    );
    let huge = json!({ "prompt_tokens": u64::MAX, "completion_tokens": u64::MAX, "completion_tokens_details": { "reasoning_tokens": u64::MAX }, "total_tokens": u64::MAX });
    assert_eq!(usage(huge), json!({ "input_tokens": u64::MAX, "output_tokens": u64::MAX }));
}

#[test]
fn xais_reasoning_is_counted_as_output() {
    let usage = json!({
        "prompt_tokens": 468, "completion_tokens": 77, "total_tokens": 1127,
        "completion_tokens_details": { "reasoning_tokens": 582 },
    });
    let body = translate(&json!({ "choices": [], "usage": usage }));
    assert_eq!(body["usage"], json!({ "input_tokens": 468, "output_tokens": 659 }));
}

#[test]
fn provider_members_never_take_the_place_of_ours() {
    let body = json!({
        "id": "c", "type": "x", "role": "x", "content": "x", "stop_reason": "x", "usage": null, "choices": [
            { "index": 0, "type": "x", "message": { "content": "a", "type": "x" }, "finish_reason": "stop" },
        ],
    });
    let body = translate(&body);
    assert_eq!(
        (&body["type"], &body["role"], &body["stop_reason"]),
        (&json!("message"), &json!("assistant"), &json!("end_turn"))
    );
    assert_eq!(body["content"], json!([text("a")]));
}
