//! Requests, as OpenAI is asked.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, ToolNames, decode_request};

use crate::common::{dropping, request};

fn ask_with(policy: &ParamPolicy, model: &str, parameters: &Value) -> Result<Value, Refused> {
    let mut asked = json!({ "model": "m", "max_tokens": 9, "messages": [] });
    asked
        .as_object_mut()
        .expect("is an object")
        .extend(parameters.as_object().expect("is an object").clone());
    let mut body = request(Dialect::Anthropic, Dialect::OpenAi, model, policy, &asked)?;
    let members = body.as_object_mut().expect("is an object");
    assert_eq!(members.remove("model"), Some(json!(model)));
    Ok(body)
}

fn ask(parameters: &Value) -> Value {
    ask_with(&ParamPolicy::default(), "gpt-4o", parameters).expect("is not refused")
}

fn messages(messages: &Value) -> Value {
    ask(&json!({ "messages": messages }))["messages"].clone()
}

fn refused(names: &[&str]) -> Result<Value, Refused> {
    Err(Refused::Unsupported(names.iter().map(|name| (*name).to_owned()).collect()))
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn user(content: &Value) -> Value {
    json!({ "role": "user", "content": content })
}

#[test]
fn the_system_prompt_is_the_first_message() {
    let hint = json!({ "type": "ephemeral" });
    let body = ask(&json!({ "system": "s", "messages": [user(&json!("a"))] }));
    assert_eq!(body["messages"], json!([{ "role": "system", "content": "s" }, user(&json!("a"))]));
    let blocks = json!([{ "type": "text", "text": "s", "cache_control": hint }, text("t")]);
    let body = ask(
        &json!({ "system": blocks, "messages": [user(&json!([text("a")])), { "role": "system", "content": "u" }] }),
    );
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": [text("s"), text("t")] },
            user(&json!([text("a")])),
            { "role": "system", "content": "u" },
        ])
    );
}

#[test]
fn media_are_parts() {
    let here = |kind: &str, media: &str| json!({ "type": kind, "source": { "type": "base64", "media_type": media, "data": "AA==" } });
    let mut named = here("document", "application/pdf");
    named["title"] = json!("a.pdf");
    let content = json!([
        here("image", "image/png"),
        { "type": "image", "source": { "type": "url", "url": "https://example.com/a" } },
        named,
        { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "plain" } },
        { "type": "document", "source": { "type": "file", "file_id": "file_1" } },
    ]);
    assert_eq!(
        messages(&json!([user(&content)]))[0]["content"],
        json!([
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } },
            { "type": "image_url", "image_url": { "url": "https://example.com/a" } },
            { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" } },
            text("plain"),
            { "type": "file", "file": { "file_id": "file_1" } },
        ])
    );
}

#[test]
fn media_without_a_place_are_named() {
    let content = json!([
        text("a"),
        { "type": "image", "source": { "type": "file", "file_id": "f" } },
        { "type": "document", "source": { "type": "url", "url": "https://example.com/a.pdf" } },
        { "type": "document", "source": { "type": "content", "content": [text("b")] } },
        { "type": "search_result", "content": [] },
    ]);
    let names: Vec<_> = (1..5).map(|part| format!("messages[0].content[{part}]")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let asked = json!({ "messages": [user(&content)] });
    assert_eq!(ask_with(&dropping(), "gpt-4o", &asked), refused(&names));
}

#[test]
fn results_are_messages_ahead_of_what_else_the_user_says() {
    let asked = json!([
        user(&json!("a")),
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "S" },
            text("b"), text("c"),
            { "type": "tool_use", "id": "toolu_3", "name": "h", "input": {} },
            { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "x": 1.50 }, "caller": { "type": "direct" } },
            { "type": "tool_use", "id": "toolu_2", "name": "g", "input": {} },
        ] },
        user(&json!([
            text("d"),
            { "type": "tool_result", "tool_use_id": "toolu_1", "content": "one", "is_error": true },
            { "type": "tool_result", "tool_use_id": "toolu_2", "content": [
                text("two"), { "type": "image", "source": { "type": "url", "url": "https://example.com/a" } },
            ] },
            { "type": "tool_result", "tool_use_id": "toolu_3" },
        ])),
    ]);
    assert_eq!(
        messages(&asked),
        json!([
            user(&json!("a")),
            { "role": "assistant", "content": [text("b"), text("c")], "tool_calls": [
                { "id": "toolu_3", "type": "function", "function": { "name": "h", "arguments": "{}" } },
                { "id": "toolu_1", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1.5}" } },
                { "id": "toolu_2", "type": "function", "function": { "name": "g", "arguments": "{}" } },
            ] },
            { "role": "tool", "tool_call_id": "toolu_1", "content": "one" },
            { "role": "tool", "tool_call_id": "toolu_2", "content": "two" },
            { "role": "tool", "tool_call_id": "toolu_3", "content": "" },
            user(&json!([
                { "type": "image_url", "image_url": { "url": "https://example.com/a" } },
                text("d"),
            ])),
        ])
    );
}

#[test]
fn an_assistants_turn_without_text_has_none() {
    let call = json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} });
    let turn = &messages(&json!([{ "role": "assistant", "content": [call] }]))[0];
    assert_eq!(turn["content"], json!(null));
    // Without a call there has to be something.
    let thought = json!({ "type": "thinking", "thinking": "hm", "signature": "S" });
    let turns = messages(
        &json!([{ "role": "assistant", "content": [thought] }, { "role": "assistant", "content": [] }]),
    );
    let empty = json!({ "role": "assistant", "content": "" });
    assert_eq!(turns, json!([empty, empty]));
}

#[test]
fn a_result_without_a_call_is_named_where_the_caller_has_it() {
    let call = json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} });
    let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": "r" });
    let mut asked = json!({ "messages": [
        { "role": "assistant", "content": [call] }, user(&json!([result("t"), result("u")])),
    ] });
    for system in [json!(null), json!("s"), json!([text("s")])] {
        asked["system"] = system;
        let Err(Refused::Invalid { message, param }) = ask_with(&dropping(), "gpt-4o", &asked) else {
            panic!("is refused")
        };
        assert_eq!(param, "messages[1].content[1].tool_use_id");
        assert_eq!(message, r#"no earlier assistant message makes the call "u" that this result answers"#);
    }
    // To a provider of the caller's own dialect it goes as it is.
    let own = request(Dialect::Anthropic, Dialect::Anthropic, "claude-x", &ParamPolicy::default(), &asked);
    assert_eq!(own.expect("is not refused")["messages"], asked["messages"]);
}

#[test]
fn places_are_the_callers_own() {
    let call = json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} });
    let file = json!({ "type": "image", "source": { "type": "file", "file_id": "f" } });
    let result = json!({ "type": "tool_result", "tool_use_id": "t", "content": [text("r"), file] });
    let asked = json!({
        "system": [text("s"), { "type": "text", "text": "s", "new": 1 }],
        "messages": [
            { "role": "assistant", "content": [call, { "type": "server_tool_use", "id": "s" }] },
            { "role": "user", "content": [result, text("a"), file], "new": 1 },
        ],
    });
    let names = [
        "system[1].new",
        "messages[0].content[1]",
        "messages[1].new",
        "messages[1].content[0].content[1]",
        "messages[1].content[2]",
    ];
    assert_eq!(ask_with(&ParamPolicy::default(), "gpt-4o", &asked), refused(&names));
}

#[test]
fn a_system_message_ahead_of_all_others_counts_as_one() {
    let file = json!({ "type": "image", "source": { "type": "file", "file_id": "f" } });
    let result = json!({ "type": "tool_result", "tool_use_id": "u", "content": "r" });
    let mut asked = json!({ "messages": [
        { "role": "system", "content": [{ "type": "text", "text": "s", "new": 1 }] },
        user(&json!([text("a"), file])),
    ] });
    let names = ["messages[0].content[0].new", "messages[1].content[1]"];
    assert_eq!(ask_with(&ParamPolicy::default(), "gpt-4o", &asked), refused(&names));
    asked["messages"][1]["content"][1] = result;
    let Err(Refused::Invalid { param, .. }) = ask_with(&dropping(), "gpt-4o", &asked) else {
        panic!("is refused")
    };
    assert_eq!(param, "messages[1].content[1].tool_use_id");
}

#[test]
fn parameters_have_other_names() {
    let parameters = json!({
        "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["a"], "stream": true, "metadata": { "user_id": "u" },
        "service_tier": "standard_only", "new_thing": 1,
    });
    assert_eq!(
        ask(&parameters),
        json!({
            "messages": [], "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ["a"], "stream": true, "user": "u",
            "service_tier": "default", "new_thing": 1,
        })
    );
}

#[test]
fn reasoning_models_have_another_name_for_the_cap() {
    let of = |model: &str| ask_with(&ParamPolicy::default(), model, &json!({})).expect("is not refused");
    for model in ["o1", "o3-mini", "o4-mini", "gpt-5-mini", "openai/gpt-5"] {
        assert_eq!(of(model), json!({ "messages": [], "max_completion_tokens": 9 }), "{model}");
    }
    assert_eq!(of("gpt-4o"), json!({ "messages": [], "max_tokens": 9 }));
}

#[test]
fn a_thinking_budget_is_an_effort() {
    for (thinking, effort) in [
        (json!({ "type": "enabled", "budget_tokens": 5000 }), json!("high")),
        (json!({ "type": "enabled", "budget_tokens": 2048 }), json!("medium")),
        (json!({ "type": "enabled", "budget_tokens": 1024 }), json!("low")),
        (json!({ "type": "enabled", "budget_tokens": -1 }), json!("minimal")),
        (json!({ "type": "disabled" }), json!(null)),
        (json!({ "type": "adaptive" }), json!(null)),
    ] {
        let body = ask_with(&ParamPolicy::default(), "m", &json!({ "thinking": thinking }));
        assert_eq!(body.expect("is not refused")["reasoning_effort"], effort, "{thinking}");
    }
    let both = json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "low" } });
    let body = ask_with(&ParamPolicy::default(), "m", &both).expect("is not refused");
    assert_eq!(body["reasoning_effort"], "low");
    // As little as can be is a word that not every model knows.
    let least = json!({ "thinking": { "type": "enabled", "budget_tokens": 0 } });
    let of = |model| ask_with(&ParamPolicy::default(), model, &least).expect("is not refused");
    assert_eq!(
        (&of("gpt-5")["reasoning_effort"], &of("o3")["reasoning_effort"]),
        (&json!("minimal"), &json!("low"))
    );
}

#[test]
fn tools_and_choices_have_their_counterparts() {
    let tools = json!([
        { "name": "f", "description": "d", "input_schema": { "type": "object" }, "strict": true },
        { "type": "custom", "name": "g", "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } },
    ]);
    assert_eq!(
        ask(&json!({ "tools": tools }))["tools"],
        json!([
            { "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true } },
            { "type": "function", "function": { "name": "g", "parameters": { "type": "object" } } },
        ])
    );
    let of = |choice: Value| {
        let body = ask(&json!({ "tools": tools, "tool_choice": choice }));
        json!([body["tool_choice"], body["parallel_tool_calls"]])
    };
    assert_eq!(of(json!({ "type": "auto" })), json!(["auto", null]));
    assert_eq!(of(json!({ "type": "none" })), json!(["none", null]));
    assert_eq!(of(json!({ "type": "any", "disable_parallel_tool_use": true })), json!(["required", false]));
    let function = json!({ "type": "function", "function": { "name": "f" } });
    assert_eq!(
        of(json!({ "type": "tool", "name": "f", "disable_parallel_tool_use": false })),
        json!([function, true])
    );
}

#[test]
fn a_schema_for_the_answer_is_carried() {
    let schema = json!({ "type": "object" });
    let json_schema = json!({ "name": "structured_output", "schema": schema });
    let expected = json!({ "type": "json_schema", "json_schema": json_schema });
    let format = json!({ "type": "json_schema", "schema": schema });
    for parameters in [json!({ "output_format": format }), json!({ "output_config": { "format": format } })] {
        assert_eq!(ask(&parameters)["response_format"], expected);
    }
}

#[test]
fn web_search_keeps_the_place_and_names_domains() {
    let mut tool = json!({
        "type": "web_search_20250305", "name": "web_search", "max_uses": 2,
        "user_location": { "type": "approximate", "city": "Ur" },
    });
    let location = json!({ "type": "approximate", "approximate": { "city": "Ur" } });
    let body = ask(&json!({ "tools": [tool] }));
    assert_eq!(
        (&body["web_search_options"], &body["tools"]),
        (&json!({ "user_location": location }), &json!(null))
    );
    tool["allowed_domains"] = json!(["example.com"]);
    assert_eq!(
        ask_with(&ParamPolicy::default(), "gpt-4o", &json!({ "tools": [tool] })),
        refused(&["tools[0].allowed_domains"])
    );
}

#[test]
fn what_openai_has_nothing_for_is_named() {
    let parameters = json!({
        "top_k": 5, "mcp_servers": [], "container": "c", "metadata": { "user_id": "u", "team": "t" },
        "output_config": { "new": 1 }, "stop": ["x"],
        "messages": [user(&json!([{ "type": "text", "text": "a", "new": 1 }]))],
        "tools": [{ "name": "f", "input_schema": {}, "defer_loading": true }],
    });
    let Err(Refused::Unsupported(mut names)) = ask_with(&ParamPolicy::default(), "gpt-4o", &parameters)
    else {
        panic!("is refused")
    };
    names.sort();
    assert_eq!(
        names,
        [
            "container",
            "mcp_servers",
            "messages[0].content[0].new",
            "metadata.team",
            "output_config.new",
            "stop",
            "tools[0].defer_loading",
            "top_k",
        ]
    );
    let dropped = ask_with(&dropping(), "gpt-4o", &parameters).expect("is not refused");
    assert_eq!(
        dropped,
        json!({
            "messages": [user(&json!([text("a")]))], "max_tokens": 9, "user": "u",
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": {} } }],
        })
    );
    let mut policy = ParamPolicy::default();
    policy.allowed_openai_params = vec!["top_k".to_owned()].into();
    let body = ask_with(&policy, "gpt-4o", &json!({ "top_k": 5 })).expect("is not refused");
    assert_eq!(body["top_k"], 5);
}

#[test]
fn tools_that_only_anthropic_has_are_named_by_no_policy_dropped() {
    let parameters = json!({ "tools": [{ "type": "bash_20250124", "name": "bash" }], "tool_choice": { "type": "auto", "new": 1 } });
    assert_eq!(
        ask_with(&dropping(), "gpt-4o", &parameters),
        refused(&["tools[0] (bash_20250124)", "tool_choice"])
    );
}

#[test]
fn long_names_of_tools_are_shortened_and_put_back() {
    let (long, other) = ("t".repeat(80), format!("{}u", "t".repeat(79)));
    let tools = json!([{ "name": long, "input_schema": {} }, { "name": other, "input_schema": {} }, { "name": "f", "input_schema": {} }]);
    let history = json!([{ "role": "assistant", "content": [{ "type": "tool_use", "id": "i", "name": long, "input": {} }] }]);
    let choice = json!({ "type": "tool", "name": long });
    let asked = json!({ "max_tokens": 1, "tools": tools, "tool_choice": choice, "messages": history });
    let body = ask(&asked);
    let short = body["tools"][0]["function"]["name"].as_str().expect("is a name").to_owned();
    assert_eq!(short.len(), 64);
    assert_eq!(&short[..56], &format!("{}_", "t".repeat(55)));
    assert_ne!(body["tools"][1]["function"]["name"], *short);
    assert_eq!(body["tools"][2]["function"]["name"], "f");
    assert_eq!(body["tool_choice"]["function"]["name"], *short);
    assert_eq!(body["messages"][0]["tool_calls"][0]["function"]["name"], *short);
    let json = asked.to_string();
    let names = ToolNames::of(Dialect::OpenAi, &decode_request(Dialect::Anthropic, &json).expect("reads"));
    assert_eq!(names.restore(&short.as_str().into()), Some(long.as_str().into()));
    assert_eq!(names.restore(&"f".into()), None);
}

#[test]
fn malformed_requests_name_the_place() {
    let place = |request: Value| {
        decode_request(Dialect::Anthropic, &request.to_string()).expect_err("is malformed").path
    };
    let content = |block: Value| json!({ "messages": [user(&json!([text("a"), block]))] });
    assert_eq!(place(json!({ "max_tokens": "9" })), "max_tokens");
    assert_eq!(place(json!({ "messages": [{ "role": "tool", "content": "a" }] })), "messages[0].role");
    assert_eq!(place(json!({ "messages": [{ "role": "user" }] })), "messages[0].content");
    assert_eq!(place(content(json!({ "text": "a" }))), "messages[0].content[1].type");
    assert_eq!(place(content(json!({ "type": "text", "text": 1 }))), "messages[0].content[1].text");
    assert_eq!(
        place(content(json!({ "type": "image", "source": { "type": "url", "url": "cat" } }))),
        "messages[0].content[1].source.url"
    );
    assert_eq!(
        place(content(json!({ "type": "image", "source": { "type": "base64", "data": "" } }))),
        "messages[0].content[1].source.media_type"
    );
    let result = json!({ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text" }] });
    assert_eq!(place(content(result)), "messages[0].content[1].content[0].text");
    assert_eq!(place(json!({ "system": [{ "type": "text", "text": [] }] })), "system[0].text");
    assert_eq!(place(json!({ "tools": [{ "input_schema": {} }] })), "tools[0].name");
    assert_eq!(place(json!({ "tool_choice": { "type": "tool" } })), "tool_choice.name");
}
