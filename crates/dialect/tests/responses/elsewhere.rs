//! A Responses caller in front of providers of other dialects.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::Refused;

use crate::common::{answer, dropping, request};

const OWN: Dialect = Dialect::Responses;
const OTHERS: [(Dialect, &str); 2] = [(Dialect::OpenAi, "gpt-4o"), (Dialect::Anthropic, "claude-sonnet-4-5")];

fn ask(to: (Dialect, &str), asked: &Value) -> Value {
    request(OWN, to.0, to.1, &ParamPolicy::default(), asked).expect("is not refused")
}

fn refusal(to: (Dialect, &str), policy: &ParamPolicy, asked: &Value) -> Refused {
    request(OWN, to.0, to.1, policy, asked).expect_err("is refused")
}

/// Two turns with calls, the second answer's items as the first answer gave them.
fn conversation() -> Value {
    json!({
        "model": "x", "instructions": "Be brief.",
        "input": [
            { "role": "user", "content": [
                { "type": "input_text", "text": "hi" },
                { "type": "input_image", "image_url": "https://e.com/a.png", "detail": "low" },
            ] },
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "t" }], "encrypted_content": "zigguratOfClaudesig", "status": "completed" },
            { "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
              "content": [{ "type": "output_text", "text": "Look", "annotations": [], "logprobs": [] }] },
            { "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"x\":1}", "status": "completed" },
            { "type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "f", "arguments": "{}", "status": "completed" },
            { "type": "function_call_output", "call_id": "call_1", "output": "one" },
            { "type": "function_call_output", "call_id": "call_2", "output": [
                { "type": "input_text", "text": "two" },
                { "type": "input_image", "image_url": "data:image/png;base64,AAAA" },
            ] },
            { "role": "user", "content": "and?" },
        ],
        "tools": [{ "type": "function", "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true }],
        "tool_choice": "auto", "max_output_tokens": 50, "store": true, "include": ["reasoning.encrypted_content"],
        "metadata": { "a": "b" }, "prompt_cache_key": "k", "truncation": "disabled", "previous_response_id": null,
        "background": false, "text": { "format": { "type": "text" } }, "reasoning": { "summary": "auto" }, "user": "u",
    })
}

#[test]
fn a_conversation_with_calls_reaches_a_chat() {
    assert_eq!(
        ask(OTHERS[0], &conversation()),
        json!({
            "model": "gpt-4o",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [
                    { "type": "text", "text": "hi" },
                    { "type": "image_url", "image_url": { "url": "https://e.com/a.png", "detail": "low" } },
                ] },
                { "role": "assistant", "content": "Look", "tool_calls": [
                    { "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } },
                    { "id": "call_2", "type": "function", "function": { "name": "f", "arguments": "{}" } },
                ] },
                { "role": "tool", "tool_call_id": "call_1", "content": "one" },
                { "role": "tool", "tool_call_id": "call_2", "content": "two" },
                { "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] },
                { "role": "user", "content": "and?" },
            ],
            "max_tokens": 50,
            "tools": [{ "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true } }],
            "tool_choice": "auto", "response_format": { "type": "text" }, "user": "u", "prompt_cache_key": "k",
        })
    );
}

#[test]
fn a_conversation_with_calls_reaches_anthropic() {
    let sent = ask(OTHERS[1], &conversation());
    assert_eq!(sent["system"], json!([{ "type": "text", "text": "Be brief." }]));
    assert_eq!(
        sent["messages"],
        json!([
            { "role": "user", "content": [
                { "type": "text", "text": "hi" },
                { "type": "image", "source": { "type": "url", "url": "https://e.com/a.png" } },
            ] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "t", "signature": "sig" },
                { "type": "text", "text": "Look" },
                { "type": "tool_use", "id": "call_1", "name": "f", "input": { "x": 1 } },
                { "type": "tool_use", "id": "call_2", "name": "f", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_1", "content": "one" },
                { "type": "tool_result", "tool_use_id": "call_2", "content": [
                    { "type": "text", "text": "two" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
                ] },
                { "type": "text", "text": "and?" },
            ] },
        ])
    );
    for name in [
        "store",
        "include",
        "metadata_",
        "prompt_cache_key",
        "truncation",
        "background",
        "text",
        "previous_response_id",
    ] {
        assert!(sent[name].is_null(), "{name}");
    }
}

#[test]
fn anthropics_thinking_comes_back_as_it_was() {
    let content = json!([
        { "type": "thinking", "thinking": "Hm.", "signature": "sig" },
        { "type": "thinking", "thinking": "", "signature": "sig2" },
        { "type": "redacted_thinking", "data": "opaque" },
        { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "x": 1 } },
    ]);
    let read = answer(
        Dialect::Anthropic,
        OWN,
        &json!({
            "id": "msg_1", "model": "claude", "content": content, "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 1 },
        }),
    );
    let mut input = vec![json!({ "role": "user", "content": "hi" })];
    input.extend(read["output"].as_array().expect("has output").clone());
    input.push(json!({ "type": "function_call_output", "call_id": "toolu_1", "output": "r" }));
    let sent = ask(OTHERS[1], &json!({ "model": "x", "input": input }));
    assert_eq!(sent["messages"][1]["content"], content);
}

#[test]
fn what_is_stored_elsewhere_is_refused_by_name() {
    for to in OTHERS {
        for (name, value) in [
            ("previous_response_id", json!("resp_1")),
            ("conversation", json!({ "id": "conv_1" })),
            ("prompt", json!({ "id": "pmpt_1" })),
            ("background", json!(true)),
        ] {
            // An output of a call that is stored too.
            let output = json!({ "type": "function_call_output", "call_id": "c", "output": "r" });
            let mut asked = json!({ "model": "x", "input": [output] });
            asked[name] = value;
            // No policy drops it: the answer would be one to something else.
            assert_eq!(refusal(to, &dropping(), &asked), Refused::Unsupported(vec![name.to_owned()]));
            assert_eq!(
                request(OWN, OWN, "x", &ParamPolicy::default(), &asked).expect("is kept")[name],
                asked[name]
            );
        }
    }
}

#[test]
fn items_that_only_responses_has_are_refused_by_their_place() {
    let asked = json!({
        "model": "x", "instructions": "s",
        "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "x" }, { "type": "input_audio", "input_audio": {} }] },
            { "type": "custom_tool_call", "call_id": "c", "name": "n", "input": "x" },
        ],
        "tools": [{ "type": "mcp" }], "tool_choice": { "type": "mcp", "server_label": "s" }, "text": { "format": { "type": "grammar" } },
    });
    for to in OTHERS {
        assert_eq!(
            refusal(to, &dropping(), &asked),
            Refused::Unsupported(
                [
                    "tools[0] (mcp)",
                    "tool_choice",
                    "text.format",
                    "input[0].content[1]",
                    "input[1] (custom_tool_call)"
                ]
                .map(str::to_owned)
                .into()
            )
        );
    }
}

#[test]
fn an_item_that_refers_to_another_is_refused_as_what_it_is() {
    let message = "an `item_reference` names an item that another provider holds: send the item itself";
    for item in [json!({ "type": "item_reference", "id": "msg_1" }), json!({ "id": "msg_1" })] {
        let asked = json!({ "model": "x", "input": [{ "role": "user", "content": "x" }, item], "tools": [{ "type": "mcp" }] });
        for to in OTHERS {
            let refused = Refused::Invalid { message: message.to_owned(), param: "input[1]".to_owned() };
            assert_eq!(refusal(to, &dropping(), &asked), refused);
        }
    }
}

#[test]
fn parameters_are_named_in_the_callers_words() {
    let orphan = json!({ "model": "x", "instructions": "s", "input": [{ "type": "function_call_output", "call_id": "c", "output": "r" }] });
    let media = json!({ "model": "x", "input": [
        { "type": "reasoning", "summary": [] },
        { "role": "user", "content": [{ "type": "input_image", "image_url": "data:image/tiff;base64,AAAA" }] },
    ] });
    let effort = json!({ "model": "x", "input": "hi", "reasoning": { "effort": "wild" } });
    for (asked, expected) in
        [(orphan, "input[0].call_id"), (media, "input[1].content[0].image_url"), (effort, "reasoning.effort")]
    {
        match refusal(OTHERS[1], &dropping(), &asked) {
            Refused::Invalid { param, .. } => assert_eq!(param, expected),
            refused => panic!("{refused:?}"),
        }
    }
    let asked = json!({ "model": "x", "input": "hi", "text": { "verbosity": "low", "format": { "type": "json_object" } }, "max_tool_calls": 3, "top_logprobs": 2 });
    let Refused::Unsupported(names) = refusal(OTHERS[1], &ParamPolicy::default(), &asked) else {
        panic!("is unsupported")
    };
    assert_eq!(names, ["max_tool_calls"]);
    let mut asked = asked;
    asked["max_tool_calls"].take();
    let Refused::Unsupported(mut names) = refusal(OTHERS[1], &ParamPolicy::default(), &asked) else {
        panic!("is unsupported")
    };
    names.sort();
    assert_eq!(names, ["logprobs", "text.format", "text.verbosity", "top_logprobs"]);
    let sent = ask(OTHERS[0], &asked);
    assert_eq!(
        (&sent["logprobs"], &sent["top_logprobs"], &sent["verbosity"]),
        (&json!(true), &json!(2), &json!("low"))
    );
}

#[test]
fn stored_images_and_no_input_are_refused() {
    let stored = json!({ "model": "x", "input": [{ "role": "user", "content": [{ "type": "input_image", "file_id": "file_1" }] }] });
    let document = json!({ "model": "x", "input": [{ "role": "user", "content": [{ "type": "input_file", "file_id": "file_1" }] }] });
    for to in OTHERS {
        let name = "input[0].content[0].file_id".to_owned();
        assert_eq!(refusal(to, &dropping(), &stored), Refused::Unsupported(vec![name.clone()]));
        match to.0 {
            Dialect::OpenAi => {
                assert_eq!(ask(to, &document)["messages"][0]["content"][0]["file"]["file_id"], "file_1")
            }
            _ => assert_eq!(refusal(to, &dropping(), &document), Refused::Unsupported(vec![name])),
        }
        match refusal(to, &dropping(), &json!({ "model": "x", "instructions": "s", "input": [] })) {
            Refused::Invalid { param, .. } => assert_eq!(param, "input"),
            refused => panic!("{refused:?}"),
        }
    }
}

#[test]
fn a_web_search_is_the_other_dialects() {
    let asked = json!({ "model": "x", "input": "hi", "tools": [{
        "type": "web_search", "search_context_size": "low", "user_location": { "type": "approximate", "city": "Ur" },
    }] });
    assert_eq!(
        ask(OTHERS[0], &asked)["web_search_options"],
        json!({ "search_context_size": "low", "user_location": { "type": "approximate", "approximate": { "city": "Ur" } } })
    );
    assert_eq!(
        ask(OTHERS[1], &asked)["tools"][0]["user_location"],
        json!({ "type": "approximate", "city": "Ur" })
    );
    let mut asked = asked;
    asked["tools"][0]["filters"] = json!({ "allowed_domains": ["e.com"] });
    assert_eq!(
        refusal(OTHERS[0], &ParamPolicy::default(), &asked),
        Refused::Unsupported(vec!["tools[0].filters".to_owned()])
    );
}
