//! Reasoning, as Anthropic is asked for it and given it back.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::Refused;

use crate::common::request;

fn ask(model: &str, parameters: &Value) -> Result<Value, Refused> {
    let mut asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
    asked
        .as_object_mut()
        .expect("is an object")
        .extend(parameters.as_object().expect("is an object").clone());
    let body = request(Dialect::OpenAi, Dialect::Anthropic, model, &ParamPolicy::default(), &asked)?;
    Ok(json!([body["max_tokens"], body["thinking"], body["output_config"]]))
}

const BUDGET: &str = "claude-sonnet-4-5";
const ADAPTIVE: &str = "claude-opus-4-6";

#[test]
fn effort_is_a_budget_where_the_model_wants_one() {
    for (effort, budget) in
        [("minimal", 1024), ("low", 1024), ("medium", 2048), ("high", 4096), ("xhigh", 8192), ("max", 16_384)]
    {
        let thinking = json!({ "type": "enabled", "budget_tokens": budget });
        // The cap leaves room for an answer.
        let expected = json!([budget + 4096, thinking, null]);
        assert_eq!(ask(BUDGET, &json!({ "reasoning_effort": effort })), Ok(expected), "{effort}");
    }
}

#[test]
fn a_budget_stays_below_the_callers_cap() {
    let with_cap = |cap: u64| ask(BUDGET, &json!({ "reasoning_effort": "high", "max_tokens": cap }));
    let thinking = |budget: u64| json!({ "type": "enabled", "budget_tokens": budget });
    assert_eq!(with_cap(8000), Ok(json!([8000, thinking(4096), null])));
    assert_eq!(with_cap(2000), Ok(json!([2000, thinking(1999), null])));
    assert_eq!(with_cap(1025), Ok(json!([1025, thinking(1024), null])));
    let Err(Refused::Invalid { param, message }) = with_cap(1024) else { panic!("is refused") };
    assert_eq!(param, "max_tokens");
    assert_eq!(message, "`reasoning_effort` needs `max_tokens` above 1024: thinking counts against it");
}

#[test]
fn effort_is_effort_where_the_model_wants_that() {
    let thinking = json!({ "type": "adaptive", "display": "summarized" });
    let of = |effort: &str| ask(ADAPTIVE, &json!({ "reasoning_effort": effort, "max_tokens": 5 }));
    assert_eq!(of("high"), Ok(json!([5, thinking, { "effort": "high" }])));
    assert_eq!(of("minimal"), Ok(json!([5, thinking, { "effort": "low" }])));
    assert_eq!(of("none"), Ok(json!([5, null, null])));
    assert_eq!(
        ask(ADAPTIVE, &json!({ "reasoning_effort": "low" })),
        Ok(json!([128_000, thinking, { "effort": "low" }]))
    );
}

#[test]
fn a_model_that_does_not_think_is_not_told_to() {
    let body = ask("claude-3-5-haiku-latest", &json!({ "reasoning_effort": "high" }));
    assert_eq!(body, Ok(json!([8192, null, null])));
}

#[test]
fn an_effort_that_is_none_is_named() {
    let Err(Refused::Invalid { param, .. }) = ask(BUDGET, &json!({ "reasoning_effort": "huge" })) else {
        panic!("is refused")
    };
    assert_eq!(param, "reasoning_effort");
}

#[test]
fn anthropics_own_setting_is_carried_as_it_is() {
    let thinking = json!({ "type": "enabled", "budget_tokens": 2048, "new": true });
    let asked = json!({ "thinking": thinking, "max_tokens": 4000 });
    assert_eq!(ask(ADAPTIVE, &asked), Ok(json!([4000, thinking, null])));
}

#[test]
fn signed_thoughts_go_back_as_they_came_and_unsigned_ones_do_not() {
    let messages = json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": "b", "reasoning_content": "hm", "thinking_blocks": [
            { "type": "thinking", "thinking": "hm", "signature": "S" },
            { "type": "redacted_thinking", "data": "R" },
            { "type": "thinking", "thinking": "unsigned", "signature": "" },
        ], "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c", "content": "d" },
    ]);
    let asked = json!({ "model": "m", "messages": messages });
    let body = request(Dialect::OpenAi, Dialect::Anthropic, BUDGET, &ParamPolicy::default(), &asked);
    assert_eq!(
        body.expect("is not refused")["messages"][1]["content"],
        json!([
            { "type": "thinking", "thinking": "hm", "signature": "S" },
            { "type": "redacted_thinking", "data": "R" },
            { "type": "text", "text": "b" },
            { "type": "tool_use", "id": "c", "name": "f", "input": {} },
        ])
    );
}
