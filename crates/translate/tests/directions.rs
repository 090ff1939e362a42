//! Each direction, whole and streamed.

mod support;

use proptest::prelude::*;
use serde_json::json;
use ziggurat_core::{Dialect, Target};

use crate::support::*;

#[tokio::test]
async fn requests_are_written_for_the_provider_and_sent_to_its_url() {
    for (caller, provider) in DIRECTIONS {
        for stream in [false, true] {
            let reply =
                if stream { events([Step::data(support::stream(provider))]) } else { json(answer(provider)) };
            let exchange = exchange(target(provider), post(caller, hello(caller, stream)), reply).await;
            let sent = exchange.sent();
            assert_eq!(sent.parts.uri, *target(provider).uri());
            assert_eq!(sent.parts.method, http::Method::POST);
            let accept = if stream { "text/event-stream" } else { "application/json" };
            assert_eq!(sent.header("accept"), Some(accept));
            assert_eq!(sent.header("content-type"), Some("application/json"));
            let json = sent.json();
            assert_eq!(json["model"], target(provider).model());
            let content = &json["messages"][0]["content"];
            let text = content.as_str().or_else(|| content[0]["text"].as_str());
            assert_eq!((text, &json["messages"][0]["role"]), (Some("Hello"), &json!("user")));
            assert_eq!(json.get("stream"), stream.then_some(&json!(true)));
            // Anthropic's callers are told usage, so it is asked for.
            let asked = stream && caller == ANTHROPIC && provider == OPENAI;
            assert_eq!(json.get("stream_options"), asked.then_some(&json!({"include_usage": true})));
            assert!(json.get("max_tokens").is_some() || provider == OPENAI);
        }
    }
}

#[tokio::test]
async fn whole_answers_come_back_in_the_callers_dialect() {
    for (caller, provider) in DIRECTIONS {
        let exchange =
            exchange(target(provider), post(caller, hello(caller, false)), json(answer(provider))).await;
        assert_eq!(
            (exchange.status.as_u16(), exchange.header("content-type")),
            (200, Some("application/json"))
        );
        let json = exchange.json();
        match (caller, provider) {
            (OPENAI, ANTHROPIC) => {
                assert_eq!(json["choices"][0]["message"], json!({"role": "assistant", "content": "Hi"}));
                assert_eq!(json["choices"][0]["finish_reason"], "stop");
                assert_eq!(
                    (&json["id"], &json["created"], &json["model"]),
                    (&json!("m"), &json!(1_000_000), &json!("c"))
                );
                assert_eq!(
                    (&json["usage"]["prompt_tokens"], &json["usage"]["completion_tokens"]),
                    (&json!(3), &json!(5))
                );
            }
            (ANTHROPIC, OPENAI) => {
                assert_eq!(json["content"], json!([{"type": "text", "text": "Hi"}]));
                assert_eq!((&json["stop_reason"], &json["role"]), (&json!("end_turn"), &json!("assistant")));
                assert_eq!(
                    (&json["usage"]["input_tokens"], &json["usage"]["output_tokens"]),
                    (&json!(3), &json!(5))
                );
            }
            _ => assert_eq!(exchange.body, answer(provider)),
        }
    }
}

#[tokio::test]
async fn streams_come_back_in_the_callers_dialect() {
    for (caller, provider) in DIRECTIONS {
        let exchange = through(caller, provider, [Step::data(stream(provider))]).await;
        assert_eq!(exchange.header("content-type"), Some("text/event-stream"));
        assert_eq!(exchange.header("cache-control"), Some("no-cache"));
        if caller == provider {
            assert_eq!(exchange.body, stream(provider));
            continue;
        }
        let data: Vec<_> = exchange.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let json = |at: usize| serde_json::from_str::<serde_json::Value>(data[at]).expect("is JSON");
        if caller == OPENAI {
            assert_eq!(data.len(), 4, "{}", exchange.body);
            assert_eq!(json(0)["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
            assert_eq!(json(1)["choices"][0]["delta"], json!({"content": "Hi"}));
            assert_eq!(json(2)["choices"][0]["finish_reason"], "stop");
            assert_eq!(data[3], "[DONE]");
            assert!((0..3).all(|at| json(at)["created"] == 1_000_000 && json(at)["id"] == "m"));
        } else {
            let kinds: Vec<_> = (0..data.len()).map(|at| json(at)["type"].clone()).collect();
            let expected = [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
            ];
            assert_eq!(kinds, expected, "{}", exchange.body);
            assert_eq!(json(2)["delta"], json!({"type": "text_delta", "text": "Hi"}));
            assert_eq!(json(4)["delta"]["stop_reason"], "end_turn");
            assert_eq!(json(4)["usage"]["output_tokens"], 5);
        }
    }
}

#[tokio::test]
async fn usage_ends_a_translated_stream_only_when_the_caller_asked() {
    let asks = hello(OPENAI, true)
        .replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let reply = || events([Step::data(stream(ANTHROPIC))]);
    let asked = exchange(target(ANTHROPIC), post(OPENAI, asks), reply()).await;
    let not = exchange(target(ANTHROPIC), post(OPENAI, hello(OPENAI, true)), reply()).await;
    let last = |body: &str| body.trim_end().rsplit("\n\n").nth(1).expect("has chunks").to_owned();
    assert!(
        last(&asked.body).contains("\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5")
    );
    assert!(!not.body.contains("\"usage\""), "{}", not.body);
    assert_eq!(asked.body.replace(&(last(&asked.body) + "\n\n"), ""), not.body);
}

#[tokio::test]
async fn comments_of_the_provider_are_signs_of_life_for_the_caller() {
    let text = [": OPENROUTER PROCESSING\n\n", &stream(OPENAI)].concat();
    let exchange = through(ANTHROPIC, OPENAI, [Step::data(text), Step::data(": bye\n\n")]).await;
    assert!(
        exchange.body.starts_with("event: ping\ndata: {\"type\":\"ping\"}\n\nevent: message_start\n"),
        "{}",
        exchange.body
    );
    assert!(exchange.body.ends_with(MESSAGE_STOP));
}

#[tokio::test]
async fn long_tool_names_are_shortened_for_openai_and_restored() {
    let long = "mcp__".to_owned() + &"very_long_".repeat(8) + "name";
    let tools = json!([{"name": long, "input_schema": {"type": "object"}}, {"name": "short", "input_schema": {"type": "object"}}]);
    let body = |stream: bool| {
        json!({"model": "alias", "max_tokens": 9, "stream": stream, "tools": tools, "messages": [{"role": "user", "content": "Hi"}]}).to_string()
    };
    let whole = exchange(target(OPENAI), post(ANTHROPIC, body(false)), json(CHAT_ANSWER)).await;
    let sent = whole.sent().json();
    let short = sent["tools"][0]["function"]["name"].as_str().expect("is a name").to_owned();
    assert!(short.len() <= 64 && short != long);
    assert_eq!(sent["tools"][1]["function"]["name"], "short");

    let reply = json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": short, "arguments": "{}"}}]}, "finish_reason": "tool_calls"}]});
    let whole =
        exchange(target(OPENAI), post(ANTHROPIC, body(false)), support::json(reply.to_string())).await;
    assert_eq!(whole.json()["content"][0]["name"], *long);

    let delta = format!(
        "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{{\"name\":\"{short}\",\"arguments\":\"{{}}\"}}}}]}}}}]}}\n\n"
    );
    let text = [&*delta, &CHAT_FINISH.replace("stop", "tool_calls"), DONE].concat();
    let streamed = exchange(target(OPENAI), post(ANTHROPIC, body(true)), events([Step::data(text)])).await;
    assert!(
        streamed.body.contains(&format!("\"name\":\"{long}\"")) && !streamed.body.contains(&short),
        "{}",
        streamed.body
    );
}

proptest! {
    #[test]
    fn any_cut_of_any_stream_gives_the_same(
        direction in 0usize..4,
        cuts in prop::collection::vec(1usize..120, 1..12),
        truncate in 0usize..1200,
        crlf: bool,
    ) {
        let (caller, provider) = DIRECTIONS[direction];
        let mut text = stream(provider);
        text.truncate(text.len().min(truncate));
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        let text = bytes::Bytes::from(text);
        let mut at = 0;
        let steps: Vec<_> = cuts.iter().cycle().map_while(|cut| {
            let start = at;
            at = text.len().min(at + cut);
            (start < text.len()).then(|| Step::data(text.slice(start..at)))
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        let (cut, whole) = runtime.block_on(async {
            (through(caller, provider, steps).await, through(caller, provider, [Step::data(text.clone())]).await)
        });
        prop_assert_eq!(cut.status, whole.status);
        prop_assert_eq!(cut.body, whole.body);
    }
}

#[tokio::test]
async fn a_streamed_signature_tells_a_caller_of_another_dialect_whose_it_is() {
    let gemini = Target::new("gemini", Dialect::Gemini, "gemini-3-pro-preview", "https://g.example/stream");
    let chunk = r#"data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hi","thoughtSignature":"Uw=="}]},"finishReason":"STOP"}],"responseId":"r","modelVersion":"m"}"#;
    for caller in DIALECTS {
        let answer = events([Step::data(format!("{chunk}\n\n"))]);
        let target = gemini.clone().expect("is a URL");
        let exchange = exchange(target, post(caller, hello(caller, true)), answer).await;
        assert!(exchange.body.contains(r#""signature":"zigguratOfGeminiUw==""#), "{}", exchange.body);
    }
}
