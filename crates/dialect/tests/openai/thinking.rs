//! Reasoning, as Anthropic is asked for it and given it back.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::Refused;

use crate::common::{dropping, request};

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
const OLD: &str = "claude-3-5-haiku-latest";

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
    // An answer wants some tokens too.
    assert_eq!(with_cap(2000), Ok(json!([2000, thinking(1744), null])));
    assert_eq!(with_cap(1280), Ok(json!([1280, thinking(1024), null])));
    let Err(Refused::Invalid { param, message }) = with_cap(1279) else { panic!("is refused") };
    assert_eq!(param, "max_tokens");
    assert_eq!(message, "`reasoning_effort` needs `max_tokens` of at least 1280: thinking counts against it");
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
    let thinking = json!({ "type": "enabled", "budget_tokens": 1024 });
    for (asked, name) in [
        (json!({ "reasoning_effort": "high" }), "reasoning_effort"),
        (json!({ "thinking": thinking }), "thinking"),
    ] {
        assert_eq!(ask(OLD, &asked), refused(&[name]));
        let kept = ask_all(&dropping(), OLD, &asked).expect("drops it");
        assert_eq!(
            json!([kept["max_tokens"], kept["thinking"], kept["output_config"]]),
            json!([8192, null, null])
        );
        let mut passing = ParamPolicy::default();
        passing.allowed_openai_params = [name.to_owned()].into();
        let kept = ask_all(&passing, OLD, &asked).expect("passes it");
        assert_eq!(kept["thinking"].is_null(), name != "thinking");
    }
    for rests in [json!({ "reasoning_effort": "none" }), json!({})] {
        assert_eq!(ask(OLD, &rests), Ok(json!([8192, null, null])));
    }
}

#[test]
fn a_setting_becomes_the_one_that_the_model_knows() {
    let adaptive = json!({ "type": "adaptive", "display": "summarized" });
    let enabled = |budget: u64| json!({ "type": "enabled", "budget_tokens": budget });
    let newer =
        |budget: u64| ask("claude-opus-4-7", &json!({ "thinking": enabled(budget), "max_tokens": 9000 }));
    assert_eq!(newer(8000), Ok(json!([9000, adaptive, { "effort": "high" }])));
    assert_eq!(newer(1024), Ok(json!([9000, adaptive, { "effort": "low" }])));
    assert_eq!(newer(0), Ok(json!([9000, adaptive, { "effort": "low" }])));
    // What the caller says of the effort goes before what a budget says.
    let both = json!({ "thinking": enabled(8000), "reasoning_effort": "low", "max_tokens": 9000 });
    assert_eq!(ask("claude-opus-4-7", &both), Ok(json!([9000, adaptive, { "effort": "low" }])));
    let either = json!({ "thinking": { "type": "adaptive" }, "max_tokens": 9000 });
    assert_eq!(ask(BUDGET, &either), Ok(json!([9000, enabled(2048), null])));
    // A budget says how much; a model that knows budgets alone has no place for an effort beside it.
    assert_eq!(ask(BUDGET, &both), Ok(json!([9000, enabled(8000), null])));
    // A word that a model does not know becomes the nearest that it does, and without a bound it is never unasked.
    let effort = |model: &str| ask(model, &json!({ "reasoning_effort": "xhigh", "max_tokens": 9 }));
    assert_eq!(effort("claude-opus-4-6"), Ok(json!([9, adaptive, { "effort": "high" }])));
    assert_eq!(effort("claude-opus-4-7"), Ok(json!([9, adaptive, { "effort": "xhigh" }])));
    assert_eq!(effort("claude-next"), Ok(json!([9, adaptive, { "effort": "xhigh" }])));
}

#[test]
fn an_effort_stays_where_the_thinking_beside_it_goes() {
    let asked = json!({
        "tools": [{ "type": "function", "function": { "name": "f" } }], "tool_choice": "required",
        "thinking": { "type": "enabled", "budget_tokens": 2048 }, "reasoning_effort": "high", "max_tokens": 9000,
    });
    let body = ask_all(&dropping(), ADAPTIVE, &asked).expect("drops it");
    assert_eq!((&body["thinking"], &body["output_config"]), (&json!(null), &json!({ "effort": "high" })));
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

fn ask_all(policy: &ParamPolicy, model: &str, parameters: &Value) -> Result<Value, Refused> {
    let mut asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
    let members = asked.as_object_mut().expect("is an object");
    members.extend(parameters.as_object().expect("is an object").clone());
    request(Dialect::OpenAi, Dialect::Anthropic, model, policy, &asked)
}

fn refused(names: &[&str]) -> Result<Value, Refused> {
    Err(Refused::Unsupported(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[test]
fn beside_thinking_the_sampling_loses() {
    let enabled = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 }, "max_tokens": 4000 });
    for (model, thinks) in [
        (BUDGET, json!({ "reasoning_effort": "low" })),
        (ADAPTIVE, json!({ "reasoning_effort": "low" })),
        (ADAPTIVE, enabled),
    ] {
        let mut asked = thinks.clone();
        let members = asked.as_object_mut().expect("is an object");
        members.extend(
            json!({ "temperature": 0.5, "top_p": 0.9, "top_k": 5 }).as_object().expect("is one").clone(),
        );
        let policy = ParamPolicy::default();
        assert_eq!(ask_all(&policy, model, &asked), refused(&["temperature", "top_p", "top_k"]));
        let alone = ask_all(&policy, model, &thinks).expect("is not refused");
        assert_ne!(alone["thinking"], json!(null));
        assert_eq!(ask_all(&dropping(), model, &asked), Ok(alone));
    }
}

#[test]
fn sampling_that_thinking_allows_stays() {
    let asked = json!({ "reasoning_effort": "low", "temperature": 1.0, "top_p": 0.95, "top_k": null });
    let body = ask_all(&ParamPolicy::default(), BUDGET, &asked).expect("is not refused");
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(1.0), &json!(0.95)));
    // More than Anthropic's most is its most, which is what thinking wants.
    let asked = json!({ "reasoning_effort": "low", "temperature": 1.5 });
    let body = ask_all(&ParamPolicy::default(), BUDGET, &asked).expect("is not refused");
    assert_eq!(body["temperature"], json!(1));
}

#[test]
fn without_thinking_nothing_loses() {
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    for (model, thinks_not) in [
        (BUDGET, json!({})),
        (BUDGET, json!({ "reasoning_effort": "none" })),
        (BUDGET, json!({ "thinking": { "type": "disabled" } })),
        (OLD, json!({ "reasoning_effort": "none" })),
    ] {
        let mut asked = json!({ "temperature": 0.5, "top_p": 0.5, "top_k": 5, "tools": tools, "tool_choice": "required" });
        let members = asked.as_object_mut().expect("is an object");
        members.extend(thinks_not.as_object().expect("is an object").clone());
        let body = ask_all(&ParamPolicy::default(), model, &asked).expect("is not refused");
        let found = json!([body["temperature"], body["top_p"], body["top_k"], body["tool_choice"]]);
        assert_eq!(found, json!([0.5, 0.5, 5, { "type": "any" }]), "{thinks_not}");
    }
}

#[test]
fn where_a_tool_is_forced_the_thinking_loses() {
    let named = json!({ "type": "function", "function": { "name": "f" } });
    for choice in [json!("required"), named] {
        let mut asked = json!({
            "tools": [{ "type": "function", "function": { "name": "f" } }], "tool_choice": choice, "temperature": 0.5,
        });
        let alone = ask_all(&ParamPolicy::default(), BUDGET, &asked);
        asked["reasoning_effort"] = json!("low");
        assert_eq!(ask_all(&ParamPolicy::default(), BUDGET, &asked), refused(&["reasoning_effort"]));
        assert_eq!(ask_all(&dropping(), BUDGET, &asked), alone);
        asked["reasoning_effort"].take();
        asked["thinking"] = json!({ "type": "adaptive" });
        assert_eq!(ask_all(&ParamPolicy::default(), BUDGET, &asked), refused(&["thinking"]));
        assert_eq!(ask_all(&dropping(), BUDGET, &asked), alone);
    }
    let asked = json!({
        "tools": [{ "type": "function", "function": { "name": "f" } }], "tool_choice": "auto", "reasoning_effort": "low",
    });
    let body = ask_all(&ParamPolicy::default(), BUDGET, &asked).expect("is not refused");
    assert_ne!(body["thinking"], json!(null));
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

#[test]
fn a_turn_that_called_a_tool_goes_on_without_thinking_where_its_thoughts_are_not_signed() {
    let of = |model: &str, effort: Value, thoughts: Value| {
        let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let mut turn = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
        turn.as_object_mut().expect("is an object").extend(thoughts.as_object().cloned().expect("is one"));
        let mut messages = vec![json!({ "role": "user", "content": "a" }), turn];
        messages.push(json!({ "role": "tool", "tool_call_id": "c", "content": "r" }));
        let mut asked = json!({ "messages": messages, "max_tokens": 9_000 });
        asked.as_object_mut().expect("is an object").extend(effort.as_object().cloned().expect("is one"));
        ask(model, &asked).expect("is not refused")[1]["type"].clone()
    };
    let high = || json!({ "reasoning_effort": "high" });
    let raw = || json!({ "thinking": { "type": "enabled", "budget_tokens": 2_000 } });
    let signed = json!({ "thinking_blocks": [{ "type": "thinking", "thinking": "t", "signature": "s" }] });
    assert_eq!(of(BUDGET, high(), json!({})), Value::Null);
    assert_eq!(of(BUDGET, raw(), json!({ "reasoning_content": "t" })), Value::Null);
    assert_eq!(of(BUDGET, high(), signed), "enabled");
    // A turn that thought at its start need not think again behind each tool.
    let call =
        |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let thought = json!([{ "type": "thinking", "thinking": "t", "signature": "s" }]);
    let history = json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": null, "tool_calls": [call("c")], "thinking_blocks": thought },
        { "role": "tool", "tool_call_id": "c", "content": "r" },
        { "role": "assistant", "content": null, "tool_calls": [call("d")] },
        { "role": "tool", "tool_call_id": "d", "content": "r" },
    ]);
    let body = ask(BUDGET, &json!({ "messages": history, "reasoning_effort": "high" }));
    assert_eq!(body.expect("is not refused")[1]["type"], "enabled");
    // Where the model thinks as it likes, it need not have thought.
    assert_eq!(of(ADAPTIVE, high(), json!({})), "adaptive");
}
