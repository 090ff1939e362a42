//! Parameters that a target drops, gives, or does not take.

mod support;

use serde_json::json;
use ziggurat_core::{Dialect, ParamPolicy, Target};

use crate::support::*;

fn policy(change: impl FnOnce(&mut ParamPolicy)) -> ParamPolicy {
    let mut policy = ParamPolicy::default();
    change(&mut policy);
    policy
}

fn chat_with(members: &str) -> String {
    format!(r#"{{"model":"alias",{members}"messages":[{{"role":"user","content":"Hi"}}]}}"#)
}

async fn ask(target: Target, body: String) -> Exchange {
    let reply = support::json(answer(target.dialect()));
    exchange(target, post(OPENAI, body), reply).await
}

#[tokio::test]
async fn what_the_target_does_not_take_is_named_in_a_400() {
    let exchange = ask(target(ANTHROPIC), chat_with(r#""logit_bias":{"1":2},"seed":7,"#)).await;
    assert!(exchange.sent.is_none());
    assert_eq!(exchange.status, 400);
    let error = &exchange.json()["error"];
    assert_eq!(
        (&error["param"], &error["code"], &error["type"]),
        (&json!("logit_bias"), &json!("unsupported_parameter"), &json!("invalid_request_error"))
    );
    assert_eq!(
        error["message"],
        "this model does not support `logit_bias`, `seed`; set `drop_params` to leave out what can be left out, or name it in `allowed_openai_params` to pass it on"
    );
}

#[tokio::test]
async fn drop_params_leaves_out_and_allowed_openai_params_passes_on() {
    let body = || chat_with(r#""logit_bias":{"1":2},"seed":7,"#);
    let dropping = target(ANTHROPIC).policy(policy(|policy| policy.drop_params = true));
    let sent = ask(dropping, body()).await.sent().json();
    assert_eq!((sent.get("logit_bias"), sent.get("seed")), (None, None));

    let passing = target(ANTHROPIC).policy(policy(|policy| {
        policy.drop_params = true;
        policy.allowed_openai_params = ["seed".to_owned()].into();
    }));
    let sent = ask(passing, body()).await.sent().json();
    assert_eq!((sent.get("logit_bias"), sent.get("seed")), (None, Some(&json!(7))));
}

#[tokio::test]
async fn additional_drop_params_go_from_any_depth_in_both_ways_of_writing() {
    let drops = ["seed".to_owned(), "metadata.trace".to_owned(), "not.there".to_owned()];
    for dialect in DIALECTS {
        let target =
            target(dialect).policy(policy(|policy| policy.additional_drop_params = drops.clone().into()));
        let body = chat_with(r#""seed":7,"metadata":{"user_id":"u","trace":{"a":1}},"#);
        let sent = ask(target, body).await.sent().clone();
        assert!(!sent.body.contains("seed") && !sent.body.contains("trace"), "{}", sent.body);
        if dialect == OPENAI {
            assert_eq!(sent.body, chat_with(r#""metadata":{"user_id":"u"},"#).replace("alias", "gpt"));
        }
    }
}

#[tokio::test]
async fn defaults_stand_in_for_what_the_caller_does_not_give() {
    let defaults = || [("temperature".to_owned(), "0.5".to_owned()), ("top_p".to_owned(), "0.25".to_owned())];
    for dialect in DIALECTS {
        let sent =
            ask(target(dialect).defaults(defaults()), chat_with(r#""temperature":1,"#)).await.sent().json();
        assert_eq!((&sent["temperature"], &sent["top_p"]), (&json!(1), &json!(0.25)), "{dialect:?}");
    }
    // What the caller says is null is said; what is dropped is dropped from the caller's words.
    let sent =
        ask(target(OPENAI).defaults(defaults()), chat_with(r#""temperature":null,"#)).await.sent().json();
    assert_eq!((&sent["temperature"], &sent["top_p"]), (&json!(null), &json!(0.25)));
}

#[tokio::test]
async fn usage_is_asked_for_when_somebody_listens_and_never_twice() {
    let cases = [
        ("", r#"{"include_usage":true}"#, true),
        (r#""stream_options":null,"#, r#"{"include_usage":true}"#, true),
        (r#""stream_options":{ },"#, r#"{"include_usage":true}"#, true),
        (r#""stream_options":{"include_usage":false},"#, r#"{"include_usage":true}"#, true),
        (r#""stream_options":{"include_usage":false,"x":[1 ]},"#, r#"{"x":[1 ],"include_usage":true}"#, true),
        (r#""stream_options":{"x":1, "include_usage" : false},"#, r#"{"x":1,"include_usage":true}"#, true),
        (r#""stream_options":{"include_usage":true},"#, r#"{"include_usage":true}"#, false),
    ];
    for (members, options, hidden) in cases {
        for listened in [false, true] {
            let mut request = post(OPENAI, chat_with(&format!("\"stream\":true,{members}")));
            let recorder: std::sync::Arc<Recorder> = Default::default();
            let end = listened.then(|| recorder.join(&mut request));
            let reply = events([Step::data(stream(OPENAI))]);
            let exchange = exchange(target(OPENAI), request, reply).await;
            drop(end);
            let sent = &exchange.sent().body;
            if !listened {
                assert_eq!(*sent, chat_with(&format!("\"stream\":true,{members}")).replace("alias", "gpt"));
                assert_eq!(exchange.body, stream(OPENAI));
                continue;
            }
            assert!(sent.contains(&format!("\"stream_options\":{options}")), "{members}: {sent}");
            assert_eq!(sent.matches("stream_options").count(), 1);
            let visible = if hidden { stream(OPENAI).replace(CHAT_USAGE, "") } else { stream(OPENAI) };
            assert_eq!(exchange.body, visible, "{members}");
            assert_eq!(recorder.ends()[0][0].usage.and_then(|usage| usage.output), Some(5));
        }
    }
}

#[tokio::test]
async fn the_target_has_the_last_word_on_stream_options() {
    let ask = async |target: Target| {
        let mut request = post(OPENAI, chat_with(r#""stream":true,"#));
        let _listened = std::sync::Arc::<Recorder>::default().join(&mut request);
        exchange(target, request, events([Step::data(stream(OPENAI))])).await.sent().body.clone()
    };
    let defaults = [("stream_options".to_owned(), r#"{"include_usage":true}"#.to_owned())];
    let sent = ask(target(OPENAI).defaults(defaults)).await;
    assert_eq!(sent.matches("stream_options").count(), 1, "{sent}");
    let dropping = policy(|policy| policy.additional_drop_params = ["stream_options".to_owned()].into());
    let sent = ask(target(OPENAI).policy(dropping)).await;
    assert_eq!(sent, chat_with(r#""stream":true,"#).replace("alias", "gpt"));
}

#[tokio::test]
async fn a_bad_request_is_refused_in_the_callers_dialect_and_not_sent() {
    for (caller, provider) in DIRECTIONS {
        for (body, words) in [
            ("no JSON".to_owned(), "the request body is not valid JSON"),
            (r#"{"model":"m"}"#.to_owned(), "missing required field `messages`"),
            (
                hello(caller, false).replace("alias\",", "alias\",\"model\":\"m\","),
                "the field `model` stands twice",
            ),
        ] {
            let exchange = exchange(target(provider), post(caller, body), support::json("")).await;
            assert!(exchange.sent.is_none() && exchange.status == 400);
            assert!(exchange.json()["error"]["message"].to_string().contains(words), "{}", exchange.body);
            assert_eq!(exchange.json().get("type").is_some(), caller == ANTHROPIC);
        }
    }
    let exchange =
        ask(target(ANTHROPIC), r#"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#.to_owned())
            .await;
    assert_eq!((exchange.status.as_u16(), exchange.sent.is_none()), (400, true));
    assert!(exchange.json()["error"]["param"].as_str().is_some_and(|param| param.starts_with("messages")));
}

#[tokio::test]
async fn only_chat_and_messages_are_translated() {
    let mut request = post(OPENAI, r#"{"model":"m","input":"x"}"#);
    *request.uri_mut() = "/v1/embeddings".parse().expect("is a path");
    let exchange = exchange(target(OPENAI), request, support::json("")).await;
    assert_eq!((exchange.status.as_u16(), exchange.sent.is_none()), (404, true));
}

/// The dialects of providers, and a model of each.
const PROVIDERS: [(Dialect, &str); 7] = [
    (Dialect::OpenAi, "gpt-4o"),
    (Dialect::Anthropic, "claude-sonnet-4-5"),
    (Dialect::Responses, "gpt-4o"),
    (Dialect::Gemini, "gemini-2.5-flash"),
    (Dialect::Converse, "amazon.nova-pro-v1:0"),
    (Dialect::Ollama, "llama3"),
    (Dialect::Cohere, "command-a"),
];

/// What a target is asked, and what its caller is told, where it is refused.
async fn sent_by(path: &str, body: &str, target: Target) -> Result<String, (String, String)> {
    let asked =
        http::Request::post(path).body(ziggurat_core::Body::from(body.to_owned())).expect("is a request");
    let exchange = exchange(target, asked, support::json("{}")).await;
    match &exchange.sent {
        Some(sent) => Ok(sent.body.clone()),
        None => {
            assert_eq!(exchange.status, 400);
            let error = &exchange.json()["error"];
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            Err((text("param"), text("message")))
        }
    }
}

#[tokio::test]
async fn context_that_only_anthropic_manages_goes_by_the_policy_elsewhere() {
    let body = r#"{"model":"alias","max_tokens":9,"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},"messages":[{"role":"user","content":"Hi"}]}"#;
    for (dialect, model) in PROVIDERS {
        let target = || Target::new("p", dialect, model, "https://p.example/x").expect("is a URL");
        let dropping = target().policy(policy(|policy| policy.drop_params = true));
        let (refused, dropped) =
            (sent_by("/v1/messages", body, target()).await, sent_by("/v1/messages", body, dropping).await);
        if dialect == Dialect::Anthropic {
            assert_eq!(refused, Ok(body.replace("alias", model)));
            continue;
        }
        let (_, message) = refused.expect_err("is refused");
        assert!(
            message.starts_with("this model does not support `context_management`;"),
            "{dialect:?}: {message}"
        );
        let sent = dropped.expect("is sent");
        assert!(!sent.contains("context_management") && sent.contains("Hi"), "{dialect:?}: {sent}");
    }
    // On Bedrock, too, it is Claude's own.
    let claude = Target::new("p", Dialect::Converse, "anthropic.claude-sonnet-4-5", "https://p.example/x");
    let sent = sent_by("/v1/messages", body, claude.expect("is a URL")).await.expect("is sent");
    let field = r#""additionalModelRequestFields":{"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]}}"#;
    assert!(sent.contains(field), "{sent}");
}

#[tokio::test]
async fn an_item_that_refers_to_another_is_refused_by_its_place_where_nobody_holds_that() {
    for item in [r#"{"type":"item_reference","id":"msg_0"}"#, r#"{"id":"msg_0"}"#] {
        let body = format!(r#"{{"model":"alias","input":[{{"role":"user","content":"Hi"}},{item}]}}"#);
        for (dialect, model) in PROVIDERS {
            let target = Target::new("p", dialect, model, "https://p.example/x").expect("is a URL");
            let target = target.policy(policy(|policy| policy.drop_params = true));
            let sent = sent_by("/v1/responses", &body, target).await;
            if dialect == Dialect::Responses {
                assert_eq!(sent, Ok(body.replace("alias", model)));
                continue;
            }
            let (param, message) = sent.expect_err("is refused");
            let why = "an `item_reference` names an item that another provider holds: send the item itself";
            assert_eq!((&*param, &*message), ("input[1]", why), "{dialect:?}");
        }
    }
}
