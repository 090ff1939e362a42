//! Parameters, as Anthropic is asked.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, decode_request};

use crate::common::{dropping, request};

fn ask_with(policy: &ParamPolicy, parameters: &Value) -> Result<Value, Refused> {
    let mut asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
    let members = asked.as_object_mut().expect("is an object");
    members.extend(parameters.as_object().expect("is an object").clone());
    let mut body = request(Dialect::OpenAi, Dialect::Anthropic, "claude-sonnet-4-5", policy, &asked)?;
    let members = body.as_object_mut().expect("is an object");
    assert_eq!(members.remove("model"), Some(json!("claude-sonnet-4-5")));
    members.remove("messages");
    Ok(body)
}

fn ask(parameters: &Value) -> Value {
    ask_with(&ParamPolicy::default(), parameters).expect("is not refused")
}

fn refused(names: &[&str]) -> Result<Value, Refused> {
    Err(Refused::Unsupported(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[test]
fn without_a_cap_the_models_maximum_is_asked_for() {
    assert_eq!(ask(&json!({})), json!({ "max_tokens": 64_000 }));
    assert_eq!(ask(&json!({ "max_tokens": 7.0 })), json!({ "max_tokens": 7 }));
    assert_eq!(ask(&json!({ "max_tokens": 7, "max_completion_tokens": 8 })), json!({ "max_tokens": 8 }));
}

#[test]
fn a_cap_that_is_no_whole_number_is_named() {
    for cap in [json!(-1), json!(7.5), json!("7"), json!(1e300)] {
        let json = json!({ "messages": [], "max_tokens": cap }).to_string();
        let error = decode_request(Dialect::OpenAi, &json).expect_err("is malformed");
        assert_eq!((&*error.path, &*error.message), ("max_tokens", "expected a whole number of at least 0"));
    }
}

#[test]
fn sampling_stop_user_and_stream_have_other_names() {
    let parameters = json!({
        "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": "END", "user": "u", "stream": true,
        "stream_options": { "include_usage": true }, "n": 1,
    });
    let expected = json!({
        "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["END"],
        "metadata": { "user_id": "u" }, "stream": true,
    });
    assert_eq!(ask(&parameters), expected);
    assert_eq!(ask(&json!({ "stop": ["a", "b"], "temperature": 1.7 }))["stop_sequences"], json!(["a", "b"]));
    assert_eq!(ask(&json!({ "temperature": 1.7 }))["temperature"], json!(1));
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } })
}

#[test]
fn tools_are_carried_with_all_that_is_said_of_them() {
    let tools = json!([
        { "type": "function", "function": { "name": "f", "description": "d", "strict": true,
          "parameters": { "type": "object", "properties": { "a": { "$ref": "#/$defs/A" } } } },
          "cache_control": { "type": "ephemeral" }, "defer_loading": true },
        { "type": "function", "function": { "name": "g" } },
    ]);
    assert_eq!(
        ask(&json!({ "tools": tools }))["tools"],
        json!([
            { "type": "custom", "name": "f", "description": "d", "strict": true,
              "input_schema": { "type": "object", "properties": { "a": { "$ref": "#/$defs/A" } } },
              "cache_control": { "type": "ephemeral" }, "defer_loading": true },
            { "type": "custom", "name": "g", "input_schema": { "type": "object", "properties": {} } },
        ])
    );
}

#[test]
fn every_tool_choice_has_its_counterpart() {
    let of =
        |choice: Value| ask(&json!({ "tools": [tool("f")], "tool_choice": choice }))["tool_choice"].clone();
    assert_eq!(of(json!("auto")), json!({ "type": "auto" }));
    assert_eq!(of(json!("none")), json!({ "type": "none" }));
    assert_eq!(of(json!("required")), json!({ "type": "any" }));
    assert_eq!(of(json!("any")), json!({ "type": "any" }));
    assert_eq!(
        of(json!({ "type": "function", "function": { "name": "f" } })),
        json!({ "type": "tool", "name": "f" })
    );
    let allowed =
        json!({ "tools": [tool("f")], "tool_choice": { "type": "allowed_tools", "allowed_tools": {} } });
    assert_eq!(ask_with(&dropping(), &allowed), refused(&["tool_choice"]));
}

#[test]
fn a_choice_without_tools_says_nothing_or_is_named() {
    for choice in ["auto", "none"] {
        assert_eq!(ask(&json!({ "tool_choice": choice })), json!({ "max_tokens": 64_000 }));
    }
    let named = json!({ "type": "function", "function": { "name": "f" } });
    for (choice, tools) in [(json!("required"), json!(null)), (named, json!([]))] {
        let refused = ask_with(&dropping(), &json!({ "tool_choice": choice, "tools": tools }));
        let Err(Refused::Invalid { message, param }) = refused else { panic!("is refused") };
        assert_eq!(param, "tool_choice");
        assert_eq!(message, "`tool_choice` asks for a call, and there are no `tools`");
    }
    // A search is a tool.
    let search = json!({ "tool_choice": "required", "web_search_options": {} });
    assert_eq!(ask(&search)["tool_choice"], json!({ "type": "any" }));
}

#[test]
fn one_call_at_a_time_is_asked_for() {
    let serial = json!({ "tools": [tool("f")], "parallel_tool_calls": false });
    assert_eq!(ask(&serial)["tool_choice"], json!({ "type": "auto", "disable_parallel_tool_use": true }));
    let required = json!({ "tools": [tool("f")], "parallel_tool_calls": false, "tool_choice": "required" });
    assert_eq!(ask(&required)["tool_choice"], json!({ "type": "any", "disable_parallel_tool_use": true }));
    let parallel = json!({ "tools": [tool("f")], "parallel_tool_calls": true });
    assert_eq!(ask(&parallel)["tool_choice"], json!(null));
    assert_eq!(
        ask(&json!({ "tool_choice": "auto", "parallel_tool_calls": false })),
        json!({ "max_tokens": 64_000 })
    );
}

#[test]
fn tools_and_members_that_only_openai_has_are_named() {
    let tools = json!([
        { "type": "custom", "custom": { "name": "f" } },
        { "type": "function", "function": { "name": "g", "x": 1 }, "y": 1 },
    ]);
    assert_eq!(
        ask_with(&ParamPolicy::default(), &json!({ "tools": tools })),
        refused(&["tools[0] (custom)", "tools[1].y", "tools[1].function.x"])
    );
}

#[test]
fn web_search_keeps_the_place() {
    let place = json!({ "city": "Ur", "country": "IQ" });
    let options = json!({ "search_context_size": "low", "user_location": { "type": "approximate", "approximate": place } });
    assert_eq!(
        ask(&json!({ "web_search_options": options }))["tools"],
        json!([{
            "type": "web_search_20250305", "name": "web_search",
            "user_location": { "type": "approximate", "city": "Ur", "country": "IQ" },
        }])
    );
}

#[test]
fn a_schema_for_the_answer_is_carried_and_just_any_json_is_not() {
    let schema = json!({ "type": "object", "additionalProperties": false });
    let format =
        json!({ "type": "json_schema", "json_schema": { "name": "n", "strict": true, "schema": schema } });
    assert_eq!(
        ask(&json!({ "response_format": format })),
        json!({ "max_tokens": 64_000, "output_config": { "format": { "type": "json_schema", "schema": schema } } })
    );
    // Anthropic takes no object that is open, and the order of the properties is that in which a model writes.
    let open = r#"{"type":"object","properties":{"why":{"type":"string"},"a":{"anyOf":[{"properties":{}},{"type":"null"}]},"o":{"type":"object","additionalProperties":true},"p":{"properties":{"k":{}},"oneOf":[{"properties":{}}]}}}"#;
    let closed = r#"{"type":"object","properties":{"why":{"type":"string"},"a":{"anyOf":[{"properties":{},"additionalProperties":false},{"type":"null"}]},"o":{"type":"object","additionalProperties":true},"p":{"properties":{"k":{}},"oneOf":[{"properties":{}}]}},"additionalProperties":false}"#;
    let parsed: Value = serde_json::from_str(open).expect("is JSON");
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": parsed } });
    let body = ask(&json!({ "response_format": format }));
    assert_eq!(body["output_config"]["format"]["schema"].to_string(), closed);
    assert_eq!(ask(&json!({ "response_format": { "type": "text" } })), json!({ "max_tokens": 64_000 }));
    let any = json!({ "response_format": { "type": "json_object" } });
    let without = json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "n" } } });
    for format in [any, without] {
        assert_eq!(ask_with(&ParamPolicy::default(), &format), refused(&["response_format"]));
        assert_eq!(ask_with(&dropping(), &format), Ok(json!({ "max_tokens": 64_000 })));
    }
}

#[test]
fn what_anthropic_has_nothing_for_is_named_all_at_once() {
    let parameters = json!({ "seed": 1, "logprobs": true, "top_logprobs": 2, "n": 2, "logit_bias": { "1": 1 }, "functions": [] });
    let names = ["seed", "logprobs", "top_logprobs", "logit_bias", "functions", "n"];
    let Err(Refused::Unsupported(mut found)) = ask_with(&ParamPolicy::default(), &parameters) else {
        panic!()
    };
    found.sort();
    let mut names = names.map(str::to_owned);
    names.sort();
    assert_eq!(found, names);
    assert_eq!(ask_with(&dropping(), &parameters), Ok(json!({ "max_tokens": 64_000 })));
}

#[test]
fn values_that_say_nothing_are_no_reason_to_refuse() {
    let parameters = json!({
        "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": false, "store": false, "logit_bias": {},
        "modalities": ["text"], "seed": null, "metadata": { "a": "b" },
    });
    assert_eq!(ask(&parameters), json!({ "max_tokens": 64_000 }));
}

#[test]
fn metadata_is_left_out_with_a_user_and_without() {
    let with_user = json!({ "user": "u", "metadata": { "a": "b" } });
    assert_eq!(ask(&with_user), json!({ "max_tokens": 64_000, "metadata": { "user_id": "u" } }));
    assert_eq!(ask(&json!({ "metadata": { "a": "b" } })), json!({ "max_tokens": 64_000 }));
}

#[test]
fn the_operator_may_pass_a_parameter_on() {
    let mut policy = ParamPolicy::default();
    policy.allowed_openai_params = vec!["seed".to_owned(), "n".to_owned(), "max_tokens".to_owned()].into();
    let body = ask_with(&policy, &json!({ "seed": 5, "n": 2, "logprobs": true }));
    assert_eq!(body, refused(&["logprobs"]));
    let body = ask_with(&policy, &json!({ "seed": 5, "n": 2, "max_tokens": 3 }));
    assert_eq!(body, Ok(json!({ "max_tokens": 3, "seed": 5, "n": 2 })));
}

#[test]
fn what_nobody_knows_is_handed_on() {
    let parameters = json!({ "container": "c", "betas": ["x"], "new_thing": { "a": [1.50, null] } });
    let mut expected = parameters.clone();
    expected["max_tokens"] = json!(64_000);
    assert_eq!(ask(&parameters), expected);
}

#[test]
fn a_parameter_never_stands_twice() {
    // In Anthropic's words, beside the same in OpenAI's.
    let parameters = json!({
        "stop": "a", "stop_sequences": ["b"], "reasoning_effort": "low", "output_config": {}, "system": "s",
        "response_format": { "type": "json_schema", "json_schema": { "schema": {} } }, "user": "u",
    });
    assert_eq!(ask_with(&ParamPolicy::default(), &parameters), refused(&["stop_sequences", "output_config"]));
    let body = ask_with(&dropping(), &parameters).expect("is not refused");
    assert_eq!((&body["stop_sequences"], &body["system"]), (&json!(["a"]), &json!("s")));
    // Twice in the caller's own document: the last one counts.
    let json = r#"{"messages":[],"x":1,"temperature":0.1,"x":2,"temperature":0.2}"#;
    let request = decode_request(Dialect::OpenAi, json).expect("reads");
    let (policy, mut out) = (ParamPolicy::default(), Vec::new());
    let encoding = ziggurat_dialect::Encoding::new("claude-x", &policy);
    ziggurat_dialect::encode_request(Dialect::Anthropic, &request, &encoding, &mut out)
        .expect("is not refused");
    assert_eq!(
        String::from_utf8(out).expect("is UTF-8"),
        r#"{"model":"claude-x","messages":[],"max_tokens":4096,"temperature":0.2,"x":2}"#
    );
}
