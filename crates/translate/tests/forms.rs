//! Forms of answers that a model is asked for by way of a tool.

mod support;

use http::Request;
use serde_json::{Value, json};
use ziggurat_core::{Body, Capabilities, Dialect, Feature, ParamPolicy, Target};

use crate::support::*;

const SCHEMA: &str = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;

/// A model of Anthropic's that knows no schemas.
fn old() -> Target {
    let url = "https://a.example/v1/messages";
    Target::new("anthropic", ANTHROPIC, "claude-sonnet-4-20250514", url).expect("is a URL")
}

fn dropping(target: Target) -> Target {
    let mut policy = ParamPolicy::default();
    policy.drop_params = true;
    target.policy(policy)
}

/// Asks for a schema in the words of a caller.
fn asking(caller: Dialect, stream: bool) -> Request<Body> {
    let schema: Value = serde_json::from_str(SCHEMA).expect("is JSON");
    let user = json!([{ "role": "user", "content": "a" }]);
    let (path, body) = match caller {
        Dialect::Anthropic => unreachable!("asks Anthropic itself"),
        Dialect::Responses => (
            "/v1/responses",
            json!({ "model": "m", "input": "a", "stream": stream, "text": { "format": { "type": "json_schema", "name": "x", "schema": schema } } }),
        ),
        Dialect::Gemini => (
            if stream {
                "/v1beta/models/m:streamGenerateContent?alt=sse"
            } else {
                "/v1beta/models/m:generateContent"
            },
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }] }],
                "generationConfig": { "responseMimeType": "application/json", "responseJsonSchema": schema } }),
        ),
        _ => (
            "/v1/chat/completions",
            chat(&json!({ "messages": user, "stream": stream, "response_format": format(&schema) })),
        ),
    };
    Request::post(path).body(Body::from(body.to_string())).expect("is a request")
}

fn format(schema: &Value) -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "x", "description": "A number.", "schema": schema } })
}

fn chat(members: &Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
    body.as_object_mut().expect("is one").extend(members.as_object().expect("is one").clone());
    body
}

async fn ask(target: Target, members: &Value, answer: &str) -> Exchange {
    exchange(target, post(OPENAI, chat(members).to_string()), support::json(answer.to_owned())).await
}

/// An answer of Anthropic's with these blocks.
fn message(content: &Value, reason: &str) -> String {
    json!({
        "id": "m", "type": "message", "role": "assistant", "model": "c", "content": content, "stop_reason": reason,
        "stop_sequence": null, "usage": { "input_tokens": 3, "output_tokens": 5 },
    })
    .to_string()
}

fn answered() -> Value {
    json!({ "type": "tool_use", "id": "t", "name": "json_tool_call", "input": { "n": 7 } })
}

/// A stream that says something, and answers by the tool.
fn streamed() -> String {
    let events = [
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Here:" } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "tool_use", "id": "t", "name": "json_tool_call", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"n\":" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": " 7, \"s\":\"\u{e9}\\n\"}" } }),
        json!({ "type": "content_block_stop", "index": 1 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use", "stop_sequence": null }, "usage": { "output_tokens": 5 } }),
    ];
    let written = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("has one")));
    format!("{MESSAGE_START}{}{MESSAGE_STOP}", written.collect::<String>())
}

const STREAMED: &str = "{\"n\": 7, \"s\":\"\u{e9}\\n\"}";

/// What a stream says, and how it ends, in the words of its caller.
fn told(caller: Dialect, body: &str) -> (String, String) {
    let (mut said, mut ended) = (String::new(), String::new());
    let events =
        body.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    for event in events {
        assert!(!event.to_string().contains("json_tool_call"), "{event}");
        let (text, end) = match caller {
            Dialect::Responses if event["type"] == "response.output_text.delta" => {
                (&event["delta"], &Value::Null)
            }
            Dialect::Responses => (&Value::Null, &event["response"]["status"]),
            Dialect::Gemini => {
                let candidate = &event["candidates"][0];
                (&candidate["content"]["parts"][0]["text"], &candidate["finishReason"])
            }
            _ => (&event["choices"][0]["delta"]["content"], &event["choices"][0]["finish_reason"]),
        };
        said += text.as_str().unwrap_or_default();
        ended = end.as_str().map_or(ended, str::to_owned);
    }
    (said, ended)
}

const CALLERS: [(Dialect, &str); 3] =
    [(Dialect::OpenAi, "stop"), (Dialect::Responses, "completed"), (Dialect::Gemini, "STOP")];

#[tokio::test]
async fn the_tool_is_the_only_one_and_has_to_be_called() {
    for (caller, _) in CALLERS {
        let sent =
            exchange(old(), asking(caller, false), support::json(message(&json!([answered()]), "tool_use")))
                .await;
        let sent = sent.sent().json();
        let tool = &sent["tools"][0];
        assert_eq!(sent["tools"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            (&tool["name"], tool["input_schema"].to_string()),
            (&json!("json_tool_call"), SCHEMA.to_owned())
        );
        assert_eq!(sent["tool_choice"], json!({ "type": "tool", "name": "json_tool_call" }));
        assert_eq!(sent["output_config"], json!(null));
    }
}

#[tokio::test]
async fn a_whole_answer_is_the_tools_arguments() {
    let content = json!([{ "type": "text", "text": "Here:" }, answered()]);
    for (caller, ended) in CALLERS {
        let body =
            exchange(old(), asking(caller, false), support::json(message(&content, "tool_use"))).await.json();
        let (text, end) = match caller {
            Dialect::Responses => (&body["output"][0]["content"][0]["text"], &body["status"]),
            Dialect::Gemini => (
                &body["candidates"][0]["content"]["parts"][0]["text"],
                &body["candidates"][0]["finishReason"],
            ),
            _ => (&body["choices"][0]["message"]["content"], &body["choices"][0]["finish_reason"]),
        };
        assert_eq!((text, end), (&json!("{\"n\":7}"), &json!(ended)), "{caller:?}");
        assert!(!body.to_string().contains("json_tool_call"), "{body}");
    }
}

#[tokio::test]
async fn a_stream_is_the_tools_arguments_wherever_it_is_cut() {
    let stream = streamed();
    for (caller, ended) in CALLERS {
        let of = async |steps: Vec<Step>| {
            let told = exchange(old(), asking(caller, true), events(steps)).await;
            self::told(caller, &told.body)
        };
        let expected = (STREAMED.to_owned(), ended.to_owned());
        for cut in 0..=stream.len() {
            let pieces = [&stream.as_bytes()[..cut], &stream.as_bytes()[cut..]];
            let steps = pieces.map(|piece| Step::data(piece.to_vec())).into_iter().collect();
            assert_eq!(of(steps).await, expected, "{caller:?} at {cut}");
        }
        let bytes = stream.bytes().map(|byte| Step::data(vec![byte])).collect();
        assert_eq!(of(bytes).await, expected, "{caller:?} byte by byte");
    }
}

#[tokio::test]
async fn a_model_that_answers_otherwise_is_told_as_it_is() {
    let refusal = message(&json!([{ "type": "text", "text": "No." }]), "refusal");
    let body = exchange(old(), asking(OPENAI, false), support::json(refusal)).await.json();
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("No."), &json!("content_filter"))
    );
    let stream = format!("{MESSAGE_START}{MESSAGE_TEXT}{MESSAGE_END}{MESSAGE_STOP}");
    let told = exchange(old(), asking(OPENAI, true), events([Step::data(stream)])).await;
    assert_eq!(self::told(OPENAI, &told.body), ("Hi".to_owned(), "stop".to_owned()));
    let cut = message(
        &json!([{ "type": "tool_use", "id": "t", "name": "json_tool_call", "input": { "n": 1 } }]),
        "max_tokens",
    );
    let body = exchange(old(), asking(OPENAI, false), support::json(cut)).await.json();
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    // A stream that breaks off is no answer.
    let broken = streamed();
    let broken = &broken[..broken.find("message_delta").expect("has one")];
    let told = exchange(old(), asking(OPENAI, true), events([Step::data(broken.to_owned())])).await;
    assert!(told.body.contains("\"error\"") && !told.body.contains("[DONE]"), "{}", told.body);
}

#[tokio::test]
async fn beside_the_callers_own_tools_the_model_chooses_among_them() {
    let tools = json!([{ "type": "function", "function": { "name": "json_tool_call" } }]);
    let schema: Value = serde_json::from_str(SCHEMA).expect("is JSON");
    let asked = json!({ "tools": tools, "response_format": format(&schema) });
    let own = json!({ "type": "tool_use", "id": "t", "name": "json_tool_call", "input": {} });
    let sent = ask(old(), &asked, &message(&json!([own]), "tool_use")).await;
    // Its name gives way to the caller's.
    let names = sent.sent().json()["tools"]
        .as_array()
        .map(|tools| tools.iter().map(|tool| tool["name"].clone()).collect());
    assert_eq!(names, Some(vec![json!("json_tool_call"), json!("json_tool_call_")]));
    assert_eq!(sent.sent().json()["tool_choice"], json!({ "type": "any" }));
    let choice = &sent.json()["choices"][0];
    assert_eq!(
        (&choice["message"]["tool_calls"][0]["function"]["name"], &choice["finish_reason"]),
        (&json!("json_tool_call"), &json!("tool_calls"))
    );
    let answer = json!({ "type": "tool_use", "id": "u", "name": "json_tool_call_", "input": { "n": 1 } });
    let twice = json!([{ "type": "text", "text": "" }, answer, answer]);
    let choice = &ask(old(), &asked, &message(&twice, "tool_use")).await.json()["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("{\"n\":1}"), &json!("stop"))
    );
    let both = ask(old(), &asked, &message(&json!([answer, own]), "tool_use")).await.json();
    let choice = &both["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("{\"n\":1}"), &json!("tool_calls"))
    );
    // What is forced is a call, which has its own form.
    for tool_choice in
        [json!("required"), json!({ "type": "function", "function": { "name": "json_tool_call" } })]
    {
        let mut forced = asked.clone();
        forced["tool_choice"] = tool_choice;
        let sent = ask(old(), &forced, &message(&json!([own]), "tool_use")).await.sent().json();
        assert_eq!((sent["tools"].as_array().map(Vec::len), &sent["output_config"]), (Some(1), &json!(null)));
    }
    let mut none = asked.clone();
    none["tool_choice"] = json!("none");
    let sent = ask(old(), &none, &message(&json!([answer]), "tool_use")).await.sent().json();
    assert_eq!(sent["tool_choice"], json!({ "type": "tool", "name": "json_tool_call_" }));
}

#[tokio::test]
async fn some_json_is_an_object_of_any_members() {
    let object = json!({ "response_format": { "type": "json_object" } });
    let newest = "https://a.example/v1/messages";
    let newest = Target::new("anthropic", ANTHROPIC, "claude-opus-5", newest).expect("is a URL");
    for target in [old(), newest] {
        let told = ask(target, &object, &message(&json!([answered()]), "tool_use")).await;
        let sent = told.sent().json();
        assert_eq!(
            sent["tools"][0]["input_schema"],
            json!({ "type": "object", "additionalProperties": true })
        );
        assert_eq!(told.json()["choices"][0]["message"]["content"], "{\"n\":7}");
    }
}

#[tokio::test]
async fn what_no_tool_can_ask_for_goes_by_the_policy() {
    let list = json!({ "response_format": format(&json!({ "type": "array" })) });
    let answer = message(&json!([{ "type": "text", "text": "[]" }]), "end_turn");
    let told = ask(old(), &list, &answer).await;
    assert_eq!((told.status.as_u16(), &told.json()["error"]["param"]), (400, &json!("response_format")));
    let kept = ask(dropping(old()), &list, &answer).await;
    assert_eq!(
        (&kept.sent().json()["tools"], &kept.json()["choices"][0]["message"]["content"]),
        (&json!(null), &json!("[]"))
    );
    // Thinking and a forced call exclude each other.
    let mut thinks = chat(&json!({ "reasoning_effort": "low" }));
    thinks["response_format"] = format(&serde_json::from_str(SCHEMA).expect("is JSON"));
    let told = ask(old(), &thinks, &message(&json!([answered()]), "tool_use")).await;
    assert_eq!((told.status.as_u16(), &told.json()["error"]["param"]), (400, &json!("reasoning_effort")));
    let kept = ask(dropping(old()), &thinks, &message(&json!([answered()]), "tool_use")).await;
    assert_eq!(
        (&kept.sent().json()["thinking"], &kept.json()["choices"][0]["message"]["content"]),
        (&json!(null), &json!("{\"n\":7}"))
    );
    let forced = old().capabilities(
        Capabilities::default().with(Feature::JsonSchema, false).with(Feature::ForcedTool, false),
    );
    let told =
        ask(forced, &json!({ "response_format": format(&json!({ "type": "object" })) }), &answer).await;
    assert_eq!((told.status.as_u16(), &told.json()["error"]["param"]), (400, &json!("response_format")));
}

#[tokio::test]
async fn a_model_of_the_callers_dialect_is_asked_alike() {
    let lacking = target(OPENAI).capabilities(Capabilities::default().with(Feature::JsonSchema, false));
    let schema: Value = serde_json::from_str(SCHEMA).expect("is JSON");
    let call = json!({ "id": "t", "type": "function", "function": { "name": "json_tool_call", "arguments": "{\"n\":7}" } });
    let answer = json!({
        "id": "c", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": null, "tool_calls": [call] }, "finish_reason": "tool_calls" }],
    });
    let told =
        ask(lacking.clone(), &json!({ "response_format": format(&schema), "seed": 1 }), &answer.to_string())
            .await;
    let sent = told.sent().json();
    assert_eq!((&sent["response_format"], &sent["seed"]), (&json!(null), &json!(1)));
    assert_eq!(sent["tools"][0]["function"]["parameters"], schema);
    assert_eq!(sent["tools"][0]["function"]["description"], "A number.");
    assert_eq!(sent["tool_choice"], json!({ "type": "function", "function": { "name": "json_tool_call" } }));
    let choice = &told.json()["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["message"]["tool_calls"], &choice["finish_reason"]),
        (&json!("{\"n\":7}"), &json!(null), &json!("stop"))
    );
    // All else of such a model's passes as it is.
    let body =
        r#"{ "model":"gpt","messages":[ {"role":"user","content":"a"}] ,"response_format":{"type":"text"}}"#;
    let plain = exchange(lacking, post(OPENAI, body), support::json(CHAT_ANSWER)).await;
    assert_eq!((&*plain.sent().body, &*plain.body), (body, CHAT_ANSWER));
}

#[tokio::test]
async fn a_long_name_comes_back_as_it_was_offered_beside_the_tool_of_the_form() {
    let lacking = || target(OPENAI).capabilities(Capabilities::default().with(Feature::JsonSchema, false));
    let schema: Value = serde_json::from_str(SCHEMA).expect("is JSON");
    let long = "very_long_".repeat(7);
    let tools = json!([{ "type": "function", "function": { "name": long, "parameters": schema } }]);
    let asked =
        |stream: bool| json!({ "response_format": format(&schema), "tools": tools, "stream": stream });
    let sent = ask(lacking(), &asked(false), CHAT_ANSWER).await.sent().json();
    let short = sent["tools"][0]["function"]["name"].as_str().expect("is a name").to_owned();
    assert!(short.len() <= 64, "{short}");
    let call = json!({ "index": 0, "id": "t", "type": "function", "function": { "name": short, "arguments": "{}" } });
    let choice = |of: &str| json!({ "index": 0, of: { "role": "assistant", "content": null, "tool_calls": [call] }, "finish_reason": "tool_calls" });
    let whole = json!({ "id": "c", "object": "chat.completion", "created": 7, "model": "m", "choices": [choice("message")] });
    let told = ask(lacking(), &asked(false), &whole.to_string()).await;
    let name = &told.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"];
    assert_eq!(*name, *long, "{}", told.body);
    let request = post(OPENAI, chat(&asked(true)).to_string());
    let told = exchange(lacking(), request, events([Step::data(chunks(&[choice("delta")]))])).await;
    assert!(told.body.contains(&format!("\"name\":\"{long}\"")), "{}", told.body);
    assert!(!told.body.contains(&short), "{}", told.body);
}

/// Pieces of several answers, as OpenAI's streams have them.
fn chunks(choices: &[Value]) -> String {
    let chunk = |choice: &Value| json!({ "id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice] });
    let written: String = choices.iter().map(|choice| format!("data: {}\n\n", chunk(choice))).collect();
    written + "data: [DONE]\n\n"
}

#[tokio::test]
async fn each_of_several_answers_is_the_arguments_of_its_own_call() {
    let lacking = || target(OPENAI).capabilities(Capabilities::default().with(Feature::JsonSchema, false));
    let schema: Value = serde_json::from_str(SCHEMA).expect("is JSON");
    let asked = |stream: bool| json!({ "response_format": format(&schema), "n": 3, "stream": stream });
    let call = |arguments: &str| json!({ "index": 0, "id": "t", "type": "function", "function": { "name": "json_tool_call", "arguments": arguments } });
    let whole = |index: u8, message: Value, ended: &str| json!({ "index": index, "message": message, "finish_reason": ended });
    let answer = json!({
        "id": "c", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [
            whole(0, json!({ "role": "assistant", "content": "Here:", "tool_calls": [call("{\"n\":0}")] }), "tool_calls"),
            whole(1, json!({ "role": "assistant", "content": null, "tool_calls": [call("{\"n\":1}")] }), "tool_calls"),
            whole(2, json!({ "role": "assistant", "content": "No." }), "stop"),
        ],
    });
    let expected = [("{\"n\":0}", "stop"), ("{\"n\":1}", "stop"), ("No.", "stop")];
    let told = ask(lacking(), &asked(false), &answer.to_string()).await.json();
    for (index, (said, ended)) in expected.into_iter().enumerate() {
        let choice = &told["choices"][index];
        assert_eq!(
            (&choice["message"]["content"], &choice["message"]["tool_calls"], &choice["finish_reason"]),
            (&json!(said), &json!(null), &json!(ended))
        );
    }

    let piece = |index: u8, delta: Value| json!({ "index": index, "delta": delta, "finish_reason": null });
    let more =
        |arguments: &str| json!({ "tool_calls": [{ "index": 0, "function": { "arguments": arguments } }] });
    let end = |index: u8, ended: &str| json!({ "index": index, "delta": {}, "finish_reason": ended });
    let stream = chunks(&[
        piece(0, json!({ "role": "assistant", "content": "Here:" })),
        piece(2, json!({ "role": "assistant", "content": "N" })),
        piece(0, json!({ "tool_calls": [call("")] })),
        piece(1, json!({ "role": "assistant", "tool_calls": [call("")] })),
        piece(0, more("{\"n\"")),
        piece(1, more("{\"n\":1")),
        piece(2, json!({ "content": "o." })),
        piece(0, more(":0}")),
        piece(1, more("}")),
        end(1, "tool_calls"),
        end(0, "tool_calls"),
        end(2, "stop"),
    ]);
    let expected = expected.map(|(said, ended)| (said.to_owned(), ended.to_owned()));
    for cut in 0..=stream.len() {
        let pieces = [&stream.as_bytes()[..cut], &stream.as_bytes()[cut..]];
        let steps = pieces.map(|piece| Step::data(piece.to_vec()));
        let told = exchange(lacking(), post(OPENAI, chat(&asked(true)).to_string()), events(steps)).await;
        assert_eq!(several(&told.body), expected, "at {cut}");
    }
}

/// What each of three answers of a stream says, and how it ends.
fn several(body: &str) -> [(String, String); 3] {
    let mut all: [(String, String); 3] = Default::default();
    for event in
        body.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
    {
        for choice in event["choices"].as_array().into_iter().flatten() {
            assert_eq!(choice["delta"]["tool_calls"], json!(null), "{choice}");
            let (said, ended) = &mut all[choice["index"].as_u64().expect("has one") as usize];
            *said += choice["delta"]["content"].as_str().unwrap_or_default();
            *ended += choice["finish_reason"].as_str().unwrap_or_default();
        }
    }
    all
}
