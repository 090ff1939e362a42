//! Whole answers of a Google provider.

use serde_json::{Value, json};
use ziggurat_core::Dialect;
use ziggurat_dialect::{FinishReason, decode_response};

use crate::common::answer;

fn given(candidate: &Value) -> Value {
    json!({ "candidates": [candidate], "responseId": "r", "modelVersion": "m" })
}

#[test]
fn every_reason_is_known_or_handed_on() {
    let reason = |word: Value| {
        let json = given(&json!({ "content": {}, "finishReason": word })).to_string();
        decode_response(Dialect::Gemini, &json).expect("reads").choices[0]
            .finish
            .clone()
            .expect("has one")
            .reason
    };
    assert_eq!(reason(json!("STOP")), FinishReason::Stop);
    assert_eq!((reason(json!(1)), reason(json!(2))), (FinishReason::Stop, FinishReason::Length));
    for word in [
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "MODEL_ARMOR",
        "LANGUAGE",
    ] {
        assert_eq!(reason(json!(word)), FinishReason::ContentFilter, "{word}");
    }
    for word in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NOVEL"] {
        assert_eq!(reason(json!(word)), FinishReason::Other, "{word}");
    }
    let openai = answer(
        Dialect::Gemini,
        Dialect::OpenAi,
        &given(&json!({ "finishReason": "MALFORMED_FUNCTION_CALL" })),
    );
    assert_eq!(openai["choices"][0]["native_finish_reason"], "MALFORMED_FUNCTION_CALL");
}

#[test]
fn an_answer_has_content_thoughts_calls_and_images() {
    let parts = json!([
        { "text": "why", "thought": true },
        { "text": "a" },
        { "inlineData": { "mimeType": "image/png", "data": "AA" } },
        { "functionCall": { "name": "f" } },
    ]);
    let given = given(&json!({ "content": { "parts": parts }, "finishReason": "STOP", "avgLogprobs": -0.5 }));
    let openai = answer(Dialect::Gemini, Dialect::OpenAi, &given);
    let choice = &openai["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["avgLogprobs"]), (&json!("tool_calls"), &json!(-0.5)));
    let message = &choice["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("a"), &json!("why")));
    assert_eq!(message["images"][0]["image_url"]["url"], "data:image/png;base64,AA==");
    assert_eq!(message["tool_calls"][0]["function"], json!({ "name": "f", "arguments": "{}" }));
    let anthropic = answer(Dialect::Gemini, Dialect::Anthropic, &given);
    let kinds: Vec<_> =
        anthropic["content"].as_array().into_iter().flatten().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["thinking", "text", "image", "tool_use"]);
    assert_eq!(anthropic["stop_reason"], "tool_use");
}

#[test]
fn a_blocked_prompt_is_an_answer_that_was_filtered() {
    let given = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "modelVersion": "m" });
    let openai = answer(Dialect::Gemini, Dialect::OpenAi, &given);
    assert_eq!(openai["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(answer(Dialect::Gemini, Dialect::Gemini, &given), given);
    assert!(decode_response(Dialect::Gemini, "{}").is_err());
}

#[test]
fn usage_is_told_in_the_callers_way() {
    let mut given = given(&json!({ "content": { "parts": [{ "text": "a" }] }, "finishReason": "STOP" }));
    given["usageMetadata"] = json!({
        "promptTokenCount": 100, "cachedContentTokenCount": 60, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 7,
        "thoughtsTokenCount": 11, "totalTokenCount": 123,
    });
    let usage = &answer(Dialect::Gemini, Dialect::OpenAi, &given)["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(105), &json!(18), &json!(123))
    );
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 11);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 60);
    let usage = &answer(Dialect::Gemini, Dialect::Anthropic, &given)["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["output_tokens"]),
        (&json!(45), &json!(60), &json!(18))
    );
}

#[test]
fn what_an_answer_rests_on_is_annotated_by_characters() {
    let grounding = json!({
        "webSearchQueries": ["p", "q"],
        "groundingChunks": [{ "web": { "uri": "https://e.com", "title": "e" } }],
        "groundingSupports": [{ "segment": { "startIndex": 3, "endIndex": 5, "text": "bc" }, "groundingChunkIndices": [0, 9] }],
    });
    // The first letter has two bytes.
    let given = given(
        &json!({ "content": { "parts": [{ "text": "é bc" }] }, "finishReason": "STOP", "groundingMetadata": grounding }),
    );
    let openai = answer(Dialect::Gemini, Dialect::OpenAi, &given);
    let expected = json!([{ "type": "url_citation", "url_citation": { "start_index": 2, "end_index": 4, "url": "https://e.com", "title": "e" } }]);
    assert_eq!(openai["choices"][0]["message"]["annotations"], expected);
    assert_eq!(openai["choices"][0]["groundingMetadata"], grounding);
}
