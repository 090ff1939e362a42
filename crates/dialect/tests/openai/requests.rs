//! Messages, as Anthropic is asked.

use serde_json::{Value, json};
use ziggurat_core::{Dialect, ParamPolicy};
use ziggurat_dialect::{Refused, decode_request};

use crate::common::{dropping, request};

fn ask(model: &str, messages: &Value) -> Result<Value, Refused> {
    let asked = json!({ "model": "m", "max_tokens": 9, "messages": messages });
    request(Dialect::OpenAi, Dialect::Anthropic, model, &ParamPolicy::default(), &asked)
}

/// System and messages, for a model that takes system messages at the head alone.
fn conversation(messages: &Value) -> Value {
    let body = ask("claude-sonnet-4-5", messages).expect("is not refused");
    assert_eq!((&body["model"], &body["max_tokens"]), (&json!("claude-sonnet-4-5"), &json!(9)));
    json!([body["system"], body["messages"]])
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn malformed(messages: &Value) -> (String, String) {
    let json = json!({ "model": "m", "messages": messages }).to_string();
    let error = decode_request(Dialect::OpenAi, &json).expect_err("is malformed");
    (error.path, error.message)
}

#[test]
fn system_and_developer_messages_join_at_the_head() {
    let messages = json!([
        { "role": "system", "content": "a" },
        { "role": "developer", "content": [text("b")] },
        { "role": "user", "content": "c" },
        { "role": "system", "content": "d" },
        { "role": "user", "content": "e" },
    ]);
    assert_eq!(
        conversation(&messages),
        json!([[text("a"), text("b"), text("d")], [{ "role": "user", "content": [text("c"), text("e")] }]])
    );
}

#[test]
fn a_model_that_takes_system_messages_anywhere_gets_them_in_their_place() {
    let messages = json!([
        { "role": "developer", "content": "a" },
        { "role": "user", "content": "b" },
        { "role": "developer", "content": "c" },
        { "role": "user", "content": "d" },
    ]);
    let body = ask("claude-opus-5", &messages).expect("is not refused");
    assert_eq!(body["system"], json!([text("a")]));
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": [text("b")] },
            { "role": "system", "content": [text("c")] },
            { "role": "user", "content": [text("d")] },
        ])
    );
}

#[test]
fn turns_of_one_side_are_one_turn() {
    let messages = json!([
        { "role": "user", "content": "a" },
        { "role": "user", "content": [text("b"), text("c")] },
        { "role": "assistant", "content": "d" },
        { "role": "assistant", "content": "e" },
        { "role": "user", "content": "f" },
    ]);
    assert_eq!(
        conversation(&messages)[1],
        json!([
            { "role": "user", "content": [text("a"), text("b"), text("c")] },
            { "role": "assistant", "content": [text("d"), text("e")] },
            { "role": "user", "content": [text("f")] },
        ])
    );
}

#[test]
fn blank_text_is_left_out_and_a_prefill_ends_in_no_white_space() {
    let messages = json!([
        { "role": "user", "content": [text("a"), text(""), text(" \n")] },
        { "role": "assistant", "content": "" },
        { "role": "assistant", "content": "so: \n" },
    ]);
    assert_eq!(
        conversation(&messages)[1],
        json!([
            { "role": "user", "content": [text("a")] },
            { "role": "assistant", "content": [text("so:")] },
        ])
    );
}

#[test]
fn a_user_who_says_nothing_says_so() {
    for content in [json!(""), json!(" \n\t"), json!([]), json!(null), json!([text(""), text(" ")])] {
        let messages = json!([
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": "b" },
            { "role": "user", "content": content },
        ]);
        let said = json!({ "role": "user", "content": [text("[empty message]")] });
        assert_eq!(conversation(&messages)[1][2], said, "{content}");
    }
}

#[test]
fn an_operator_who_says_nothing_is_left_out() {
    let messages = json!([
        { "role": "system", "content": "" },
        { "role": "user", "content": "a" },
        { "role": "system", "content": [text(" ")] },
    ]);
    let said = json!([{ "role": "user", "content": [text("a")] }]);
    for model in ["claude-sonnet-4-5", "claude-opus-5"] {
        let body = ask(model, &messages).expect("is not refused");
        assert_eq!((&body["system"], &body["messages"]), (&json!(null), &said));
    }
}

#[test]
fn blank_text_of_a_tool_is_left_out() {
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } });
    let messages = json!([
        { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": [text(""), text("a"), text(" ")] },
    ]);
    assert_eq!(conversation(&messages)[1][1]["content"][0]["content"], json!([text("a")]));
}

#[test]
fn images_are_carried_here_and_by_url() {
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url, "detail": "low" } });
    let messages = json!([{ "role": "user", "content": [
        image("data:image/jpeg;base64,AA+/=="),
        image("https://example.com/a.png?b=c"),
        { "type": "image_url", "image_url": "HTTPS://example.com/b.png" },
    ] }]);
    assert_eq!(
        conversation(&messages)[1][0]["content"],
        json!([
            { "type": "image", "source": { "type": "base64", "media_type": "image/jpeg", "data": "AA+/==" } },
            { "type": "image", "source": { "type": "url", "url": "https://example.com/a.png?b=c" } },
            { "type": "image", "source": { "type": "url", "url": "HTTPS://example.com/b.png" } },
        ])
    );
}

#[test]
fn an_image_url_that_is_none_is_named() {
    let expected = "expected an http(s) URL or a base64 data URL";
    for url in
        ["cat.png", "", "ftp://example.com/a", "https://", "https:///a", "data:image/png,AA", "http://a b"]
    {
        let part = json!({ "type": "image_url", "image_url": { "url": url } });
        let messages = json!([{ "role": "user", "content": [text("a"), part] }]);
        let place = "messages[0].content[1].image_url.url".to_owned();
        assert_eq!(malformed(&messages), (place, expected.to_owned()), "{url}");
    }
}

#[test]
fn files_are_documents() {
    let messages = json!([{ "role": "user", "content": [
        { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" } },
        { "type": "file", "file": { "file_data": "AA==" } },
    ] }]);
    let source = json!({ "type": "base64", "media_type": "application/pdf", "data": "AA==" });
    assert_eq!(
        conversation(&messages)[1][0]["content"],
        json!([
            { "type": "document", "source": source, "title": "a.pdf" },
            { "type": "document", "source": source },
        ])
    );
}

#[test]
fn a_file_of_openais_is_named_and_not_dropped_by_any_policy() {
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } });
    let file = json!({ "type": "file", "file": { "file_id": "file-1", "filename": "a.pdf" } });
    let messages = json!([
        { "role": "user", "content": [text("a"), file] },
        { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": [file] },
    ]);
    let asked = json!({ "model": "m", "messages": messages });
    let refused = request(Dialect::OpenAi, Dialect::Anthropic, "claude-sonnet-4-5", &dropping(), &asked);
    let names = ["messages[0].content[1].file.file_id", "messages[2].content[0].file.file_id"];
    assert_eq!(refused, Err(Refused::Unsupported(names.map(str::to_owned).to_vec())));
}

#[test]
fn what_the_bytes_are_their_type_says_in_any_case_and_before_the_part() {
    let messages = |url: &str| {
        json!([{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": url } },
            { "type": "file", "file": { "filename": "a", "file_data": url } },
        ] }])
    };
    for (url, media_type) in [
        ("DATA:image/png;base64,AA==", "image/png"),
        ("data:image/png;charset=utf-8;base64,AA==", "image/png"),
        ("data:IMAGE/GIF;a=b;c=\"d\";BASE64,AA==", "image/gif"),
        ("data:image/jpg;base64,AA==", "image/jpeg"),
        ("data:image/webp;base64,AA==", "image/webp"),
    ] {
        let source = json!({ "type": "base64", "media_type": media_type, "data": "AA==" });
        let image = json!({ "type": "image", "source": source });
        assert_eq!(conversation(&messages(url))[1][0]["content"], json!([image, image]), "{url}");
    }
    let source = json!({ "type": "base64", "media_type": "application/pdf", "data": "AA==" });
    let document = json!({ "type": "document", "source": source });
    let mut named = document.clone();
    named["title"] = json!("a");
    let url = "data:application/pdf;base64,AA==";
    assert_eq!(conversation(&messages(url))[1][0]["content"], json!([document, named]));
}

#[test]
fn bytes_that_are_neither_image_nor_document_are_named() {
    let expected = "this model takes JPEG, PNG, GIF and WebP images and PDF documents, not";
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    let file = |data: &str| json!({ "type": "file", "file": { "file_data": data } });
    for (part, place, found) in [
        (image("data:application/zip;base64,AA"), "image_url.url", "application/zip"),
        (image("data:image/svg+xml;base64,AA"), "image_url.url", "image/svg+xml"),
        (image("data:;base64,AA"), "image_url.url", ""),
        (file("data:text/plain;charset=x;base64,AA"), "file.file_data", "text/plain;charset=x"),
    ] {
        let messages = json!([{ "role": "user", "content": [text("a"), part] }]);
        let refused = ask("claude-sonnet-4-5", &messages).expect_err("is refused");
        let Refused::Invalid { message, param } = refused else { panic!("{refused}") };
        assert_eq!(
            (message, param),
            (format!("{expected} {found:?}"), format!("messages[0].content[1].{place}"))
        );
    }
    // What another provider of OpenAI's dialect takes is not ours to say.
    let asked = json!({ "model": "m", "messages": [{ "role": "user", "content": [file("data:a/b;x=y;base64,AA")] }] });
    let own = request(Dialect::OpenAi, Dialect::OpenAi, "m", &ParamPolicy::default(), &asked);
    assert_eq!(own, Ok(asked));
}

#[test]
fn parallel_calls_are_one_turn_and_their_results_one_turn_ahead_of_the_user() {
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let messages = json!([
        { "role": "user", "content": "a" },
        { "role": "assistant", "content": "b", "tool_calls": [call("call_1", "f", "{\"x\":1}"), call("call.2", "g", "")] },
        { "role": "tool", "tool_call_id": "call.2", "content": "two" },
        { "role": "user", "content": "c" },
        { "role": "tool", "tool_call_id": "call_1", "content": [text("one"), { "type": "image_url", "image_url": { "url": "https://example.com/a" } }] },
    ]);
    assert_eq!(
        conversation(&messages)[1],
        json!([
            { "role": "user", "content": [text("a")] },
            { "role": "assistant", "content": [
                text("b"),
                { "type": "tool_use", "id": "call_1", "name": "f", "input": { "x": 1 } },
                { "type": "tool_use", "id": "call_2_bf9fb854", "name": "g", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_2_bf9fb854", "content": "two" },
                { "type": "tool_result", "tool_use_id": "call_1", "content": [
                    text("one"),
                    { "type": "image", "source": { "type": "url", "url": "https://example.com/a" } },
                ] },
                text("c"),
            ] },
        ])
    );
}

#[test]
fn arguments_that_are_no_object_are_carried_as_they_are() {
    let of = |arguments: &str| {
        let call =
            json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } });
        let body = conversation(&json!([{ "role": "assistant", "content": null, "tool_calls": [call] }]));
        body[1][0]["content"][0]["input"].clone()
    };
    assert_eq!(of("{\"city\":\"Par"), json!({ "partial_json": "{\"city\":\"Par" }));
    assert_eq!(of("[1]"), json!({ "partial_json": "[1]" }));
    assert_eq!(of("null"), json!({}));
    assert_eq!(of(" {\"a\":\"\u{1F600}\\u0000\"} "), json!({ "a": "\u{1F600}\u{0}" }));
}

#[test]
fn a_result_without_its_call_is_named() {
    let messages = json!([
        { "role": "user", "content": "a" },
        { "role": "tool", "tool_call_id": "call_9", "content": "b" },
    ]);
    let refused = ask("claude-sonnet-4-5", &messages).expect_err("is refused");
    let Refused::Invalid { message, param } = refused else { panic!("{refused}") };
    assert_eq!(param, "messages[1].tool_call_id");
    assert_eq!(message, "no earlier assistant message makes the call \"call_9\" that this result answers");
}

#[test]
fn cache_hints_stand_where_the_caller_put_them() {
    let hint = json!({ "type": "ephemeral" });
    let messages = json!([
        { "role": "system", "content": [{ "type": "text", "text": "a", "cache_control": hint }] },
        { "role": "user", "content": "b", "cache_control": hint },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" }, "cache_control": hint },
        ] },
        { "role": "tool", "tool_call_id": "c", "content": "d", "cache_control": hint },
    ]);
    let [system, messages] = &conversation(&messages).as_array().cloned().expect("are two")[..] else {
        panic!()
    };
    assert_eq!(system[0]["cache_control"], hint);
    for place in 0..3 {
        assert_eq!(messages[place]["content"][0]["cache_control"], hint, "{place}");
    }
    assert_eq!(messages[2]["content"][0]["content"], "d");
}

#[test]
fn what_has_no_place_is_named_and_not_dropped_by_any_policy() {
    let messages = json!([
        { "role": "user", "content": [text("a"), { "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }] },
        { "role": "assistant", "content": "b", "function_call": { "name": "f", "arguments": "{}" } },
        { "role": "assistant", "tool_calls": [{ "id": "c", "type": "custom", "custom": { "name": "f", "input": "x" } }] },
    ]);
    let asked = json!({ "model": "m", "messages": messages });
    let refused = request(Dialect::OpenAi, Dialect::Anthropic, "claude-sonnet-4-5", &dropping(), &asked);
    let names = ["messages[1].function_call", "messages[0].content[1]", "messages[2].tool_calls[0]"];
    assert_eq!(refused, Err(Refused::Unsupported(names.map(str::to_owned).to_vec())));
}

#[test]
fn members_that_anthropic_does_not_know_are_named_or_dropped_by_policy() {
    let messages = json!([{ "role": "user", "name": "ann", "weight": 1, "content": [
        { "type": "text", "text": "a", "x": 1, "y": null, "citations": { "enabled": true } },
        { "type": "image_url", "image_url": { "url": "https://example.com/a", "fps": 2 } },
    ] }]);
    let names = [
        "messages[0].weight",
        "messages[0].name",
        "messages[0].content[0].x",
        "messages[0].content[1].image_url.fps",
    ];
    let refused = Refused::Unsupported(names.map(str::to_owned).to_vec());
    assert_eq!(ask("claude-sonnet-4-5", &messages), Err(refused));
    let asked = json!({ "model": "m", "messages": messages });
    let body = request(Dialect::OpenAi, Dialect::Anthropic, "claude-sonnet-4-5", &dropping(), &asked);
    let body = body.expect("is not refused");
    assert_eq!(
        body["messages"][0]["content"],
        json!([
            { "type": "text", "text": "a", "citations": { "enabled": true } },
            { "type": "image", "source": { "type": "url", "url": "https://example.com/a" } },
        ])
    );
}

#[test]
fn malformed_messages_name_the_place() {
    let place = |messages: Value| malformed(&messages).0;
    assert_eq!(place(json!([{ "role": "user", "content": 5 }])), "messages[0].content");
    assert_eq!(place(json!([{ "role": "bard", "content": "a" }])), "messages[0].role");
    assert_eq!(place(json!([{ "role": "function", "name": "f", "content": "a" }])), "messages[0].role");
    assert_eq!(place(json!([{ "role": "tool", "content": "a" }])), "messages[0].tool_call_id");
    assert_eq!(
        place(json!([{ "role": "user", "content": [{ "type": "text", "text": 5 }] }])),
        "messages[0].content[0].text"
    );
    assert_eq!(place(json!([{ "role": "user", "content": ["a"] }])), "messages[0].content[0]");
    assert_eq!(
        place(json!([{ "role": "user", "content": [{ "text": "a" }] }])),
        "messages[0].content[0].type"
    );
    let call = json!({ "id": "c", "type": "function", "function": { "arguments": "" } });
    let assistant =
        json!([{ "role": "user", "content": "a" }, { "role": "assistant", "tool_calls": [call] }]);
    assert_eq!(place(assistant), "messages[1].tool_calls[0].function.name");
    assert_eq!(
        malformed(&json!("hi")),
        ("messages".to_owned(), "invalid type: string \"hi\", expected a sequence".to_owned())
    );
}
