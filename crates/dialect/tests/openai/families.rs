//! What OpenAI's models do not take, as callers of every dialect are told of it.

use serde_json::{Value, json};
use ziggurat_core::{Capabilities, Dialect, Feature, Param, ParamPolicy, Thinking, ThinkingForm};
use ziggurat_dialect::{Encoding, Refused, capabilities, decode_request, encode_request};

use crate::common::{dropping, request, strict};

fn from_anthropic(model: &str, policy: &ParamPolicy, members: &Value) -> Result<Value, Refused> {
    let mut asked = json!({ "model": "m", "max_tokens": 9, "messages": [] });
    asked.as_object_mut().expect("is one").extend(members.as_object().expect("is one").clone());
    request(Dialect::Anthropic, Dialect::OpenAi, model, policy, &asked)
}

fn refused(names: &[&str]) -> Result<Value, Refused> {
    Err(Refused::Unsupported(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[test]
fn a_model_that_does_not_think_is_told_nothing_of_it() {
    let thinking = json!({ "type": "enabled", "budget_tokens": 2048 });
    let plain = json!({ "model": "gpt-4o", "messages": [], "max_tokens": 9 });
    for (asked, name) in [
        (json!({ "thinking": thinking }), "thinking"),
        (json!({ "output_config": { "effort": "low" } }), "output_config.effort"),
    ] {
        assert_eq!(from_anthropic("gpt-4o", &ParamPolicy::default(), &asked), refused(&[name]));
        assert_eq!(from_anthropic("gpt-4o", &dropping(), &asked), Ok(plain.clone()));
    }
    let rests = json!({ "thinking": { "type": "disabled" } });
    assert_eq!(from_anthropic("gpt-4o", &ParamPolicy::default(), &rests), Ok(plain));
    let asked = json!({ "model": "m", "input": "a", "reasoning": { "effort": "low" } });
    let of = |model, policy: &_| request(Dialect::Responses, Dialect::OpenAi, model, policy, &asked);
    assert_eq!(of("gpt-4o", &ParamPolicy::default()), refused(&["reasoning.effort"]));
    assert_eq!(of("gpt-4o", &dropping()).expect("drops it")["reasoning_effort"], json!(null));
    assert_eq!(of("o3", &ParamPolicy::default()).expect("is taken")["reasoning_effort"], "low");
}

#[test]
fn a_model_that_thinks_takes_no_sampling() {
    let asked = json!({ "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["x"], "thinking": { "type": "enabled", "budget_tokens": 2048 } });
    let names = ["temperature", "top_p", "stop"];
    assert_eq!(from_anthropic("o3", &ParamPolicy::default(), &asked), refused(&names));
    let kept =
        json!({ "model": "o3", "messages": [], "max_completion_tokens": 9, "reasoning_effort": "medium" });
    assert_eq!(from_anthropic("o3", &dropping(), &asked), Ok(kept));
    let mut passing = dropping();
    passing.allowed_openai_params = ["temperature".to_owned()].into();
    assert_eq!(from_anthropic("o3", &passing, &asked).expect("passes")["temperature"], json!(0.5));
    let usual = json!({ "temperature": 1, "top_p": 1.0 });
    let body = from_anthropic("o3", &ParamPolicy::default(), &usual).expect("is the usual");
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(1), &json!(1.0)));
    // Where thinking is off unasked, sampling is taken, unless thinking is asked for.
    let sampling = json!({ "temperature": 0.5 });
    let body = from_anthropic("gpt-5.1", &ParamPolicy::default(), &sampling).expect("is taken");
    assert_eq!(body["temperature"], json!(0.5));
    let both = json!({ "temperature": 0.5, "output_config": { "effort": "low" } });
    assert_eq!(from_anthropic("gpt-5.1", &ParamPolicy::default(), &both), refused(&["temperature"]));
}

#[test]
fn all_that_is_not_taken_is_told_at_once() {
    let asked = json!({ "model": "m", "messages": [{ "role": "user", "name": "n", "content": "a" }], "temperature": 0.5 });
    let told = request(Dialect::OpenAi, Dialect::Responses, "o3", &ParamPolicy::default(), &asked);
    assert_eq!(told, refused(&["temperature", "messages[0].name"]));
}

fn with(known: Capabilities, policy: &ParamPolicy, to: Dialect, asked: &Value) -> Result<Value, Refused> {
    let json = asked.to_string();
    let request = decode_request(Dialect::OpenAi, &json).expect("reads");
    let mut out = Vec::new();
    encode_request(to, &request, &Encoding::new("m", policy).capabilities(known), &mut out)?;
    Ok(strict(std::str::from_utf8(&out).expect("is UTF-8")))
}

#[test]
fn whoever_knows_more_of_a_model_says_so() {
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let asked = json!({ "model": "m", "max_tokens": 9, "messages": [], "tools": tools, "tool_choice": "auto", "parallel_tool_calls": false });
    let known = Capabilities::default().with(Feature::Tools, false);
    for to in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini, Dialect::Ollama, Dialect::Cohere] {
        assert_eq!(with(known, &ParamPolicy::default(), to, &asked), refused(&["tools"]), "{to:?}");
        let kept = with(known, &dropping(), to, &asked).expect("drops them");
        assert_eq!((&kept["tools"], &kept["tool_choice"]), (&json!(null), &json!(null)), "{to:?}");
    }
    let mut known = Capabilities::default();
    known.refuses = [Param::N].into_iter().collect();
    let asked = json!({ "model": "m", "messages": [], "n": 2 });
    assert_eq!(with(known, &ParamPolicy::default(), Dialect::OpenAi, &asked), refused(&["n"]));
    known.thinking = Some(Thinking::new(ThinkingForm::None));
    let asked = json!({ "model": "m", "messages": [], "reasoning_effort": "low" });
    assert_eq!(with(known, &ParamPolicy::default(), Dialect::OpenAi, &asked), refused(&["reasoning_effort"]));
}

#[test]
fn only_so_many_strings_end_an_answer() {
    let asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }], "stop": ["1", "2", "3", "4", "5", "6"] });
    let known = capabilities("gemini-2.5-flash");
    let Err(Refused::Invalid { message, param }) =
        with(known, &ParamPolicy::default(), Dialect::Gemini, &asked)
    else {
        panic!("is refused")
    };
    assert_eq!((&*message, &*param), ("this model takes at most 5 strings in `stop`", "stop"));
    let kept = with(known, &dropping(), Dialect::Gemini, &asked).expect("drops the last");
    assert_eq!(kept["generationConfig"]["stopSequences"], json!(["1", "2", "3", "4", "5"]));
}
