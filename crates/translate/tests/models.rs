//! What a model does not take of its own dialect.

mod support;

use serde_json::{Value, json};
use ziggurat_core::{Body, Capabilities, Dialect, Feature, Operation, ParamPolicy, Target};

use crate::support::*;

fn model(provider: &str, name: &str, drop_params: bool) -> Target {
    let mut policy = ParamPolicy::default();
    policy.drop_params = drop_params;
    let target = Target::new(provider, Dialect::OpenAi, name, "https://h.example/v1/chat/completions");
    target.expect("is a URL").policy(policy)
}

/// A body whose spaces show whether it was spliced or written anew.
fn chat(model: &str, members: &str) -> String {
    format!(
        "{{ \"model\" : \"{model}\",{members}\"messages\" : [ {{\"role\":\"user\",\"content\":\"temperature\"}} ] }}"
    )
}

async fn ask(target: Target, members: &str) -> Exchange {
    let body = chat(target.model(), members);
    exchange(target, post(OPENAI, body), support::json(answer(OPENAI))).await
}

async fn sent(target: Target, members: &str) -> String {
    ask(target, members).await.sent().body.clone()
}

async fn refused(target: Target, members: &str) -> String {
    let exchange = ask(target, members).await;
    assert!(exchange.sent.is_none(), "{members}");
    let error = exchange.json()["error"].clone();
    assert_eq!((exchange.status.as_u16(), &error["code"]), (400, &json!("unsupported_parameter")));
    error["param"].as_str().expect("names one").to_owned()
}

#[tokio::test]
async fn a_model_that_does_not_think_is_told_nothing_of_it() {
    let effort = "\"reasoning_effort\" : \"high\",";
    assert_eq!(refused(model("openai", "gpt-4o", false), effort).await, "reasoning_effort");
    assert_eq!(sent(model("openai", "gpt-4o", true), effort).await, chat("gpt-4o", ""));
    // To be told not to think is as unknown a word, and asks for nothing.
    let off = "\"reasoning_effort\":\"none\",";
    assert_eq!(sent(model("azure", "gpt-4.1-mini", false), off).await, chat("gpt-4.1-mini", ""));
    for (provider, name) in [("openai", "o3"), ("openai", "gpt-next"), ("openrouter", "openai/gpt-4o")] {
        assert_eq!(sent(model(provider, name, false), effort).await, chat(name, effort), "{name}");
    }
}

#[tokio::test]
async fn a_model_that_thinks_takes_no_sampling() {
    let sampling = "\"temperature\":0.2,\"top_p\":1,\"n\":2,";
    assert_eq!(refused(model("openai", "o3-mini", false), sampling).await, "temperature");
    assert_eq!(
        sent(model("openai", "o3-mini", true), sampling).await,
        chat("o3-mini", "\"top_p\":1,\"n\":2,")
    );
    assert_eq!(sent(model("groq", "o3-mini", false), sampling).await, chat("o3-mini", sampling));
    // It depends on whether it thinks, where that can be turned off.
    let with = |effort: &str| format!("\"temperature\":0.2,\"reasoning_effort\":\"{effort}\",");
    assert_eq!(
        sent(model("openai", "gpt-5.1", false), "\"temperature\":0.2,").await,
        chat("gpt-5.1", "\"temperature\":0.2,")
    );
    assert_eq!(sent(model("openai", "gpt-5.2", false), &with("none")).await, chat("gpt-5.2", &with("none")));
    assert_eq!(refused(model("openai", "gpt-5.2", false), &with("low")).await, "temperature");
    let allowed = || {
        let mut policy = ParamPolicy::default();
        policy.allowed_openai_params = ["temperature".to_owned()].into();
        model("openai", "o3", false).policy(policy)
    };
    assert_eq!(sent(allowed(), "\"temperature\":0.2,").await, chat("o3", "\"temperature\":0.2,"));
}

#[tokio::test]
async fn a_cap_goes_by_the_name_that_the_model_knows() {
    let older = |cap: u8| format!("\"max_tokens\" : {cap},");
    let newer = |cap: u8| format!("\"max_completion_tokens\" : {cap},");
    assert_eq!(sent(model("openai", "o4-mini", false), &older(7)).await, chat("o4-mini", &newer(7)));
    assert_eq!(sent(model("openai", "gpt-4o", false), &older(7)).await, chat("gpt-4o", &older(7)));
    assert_eq!(sent(model("openrouter", "openai/o3", false), &older(7)).await, chat("openai/o3", &older(7)));
    let both = ask(model("openai", "o3", false), &(older(7) + &newer(8))).await;
    assert_eq!((both.status.as_u16(), &both.json()["error"]["param"]), (400, &json!("max_tokens")));
    // A default is no second one.
    for name in ["max_tokens", "max_completion_tokens"] {
        let target = model("openai", "o3", false).defaults([(name.to_owned(), "100".to_owned())]);
        assert_eq!(sent(target.clone(), &older(7)).await, chat("o3", &newer(7)));
        let body: Value = serde_json::from_str(&sent(target, "").await).expect("is JSON");
        assert_eq!((&body["max_completion_tokens"], &body["max_tokens"]), (&json!(100), &json!(null)));
    }
}

#[tokio::test]
async fn tools_go_with_all_that_is_said_of_them() {
    let tools = "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"auto\",\"parallel_tool_calls\":false,";
    assert_eq!(refused(model("openai", "o1-mini", false), tools).await, "parallel_tool_calls");
    assert_eq!(sent(model("openai", "o1-mini", true), tools).await, chat("o1-mini", ""));
    let lacking = || model("p", "m", false).capabilities(Capabilities::default().with(Feature::Tools, false));
    assert_eq!(refused(lacking(), tools).await, "tools");
    assert_eq!(refused(lacking(), "\"functions\":[{}],").await, "functions");
    assert_eq!(sent(lacking(), "\"tools\":[],\"seed\":1,").await, chat("m", "\"tools\":[],\"seed\":1,"));
}

#[tokio::test]
async fn what_a_deployment_says_of_its_model_goes_before_its_family() {
    let target = model("openai", "gpt-4o", false).capabilities(Capabilities::default());
    let effort = "\"reasoning_effort\":\"high\",";
    assert_eq!(sent(target, effort).await, chat("gpt-4o", effort));
}

#[tokio::test]
async fn callers_of_responses_are_served_alike() {
    let url = "https://h.example/v1/responses";
    let target =
        |name, drops| model("openai", name, drops).serves(Operation::Responses, url).expect("is a URL");
    let body = |model: &str, members: &str| format!("{{\"model\":\"{model}\",{members}\"input\":\"a\"}}");
    let of = async |target: Target, members: &str| {
        let asked = body(target.model(), members);
        let request = http::Request::post("/v1/responses").body(Body::from(asked)).expect("is a request");
        exchange(target, request, support::json(r#"{"object":"response","output":[]}"#)).await
    };
    let thinks = "\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},";
    let told = of(target("gpt-4o", false), thinks).await;
    assert_eq!((told.status.as_u16(), &told.json()["error"]["param"]), (400, &json!("reasoning")));
    assert_eq!(of(target("gpt-4o", true), thinks).await.sent().body, body("gpt-4o", ""));
    assert_eq!(of(target("o3", false), thinks).await.sent().body, body("o3", thinks));
    let hot = "\"temperature\":0.3,";
    assert_eq!(of(target("o3", true), hot).await.sent().body, body("o3", ""));
    let cool = "\"temperature\":0.3,\"reasoning\":{\"effort\":\"none\"},";
    assert_eq!(of(target("gpt-5.1", false), cool).await.sent().body, body("gpt-5.1", cool));
}

#[tokio::test]
async fn who_has_the_models_of_others_is_asked_as_the_caller_asks() {
    for name in ["anthropic/claude-3-haiku", "anthropic/claude-opus-4.5", "google/gemini-2.0-flash-001"] {
        for members in [
            "\"response_format\" : {\"type\":\"json_object\"},",
            "\"reasoning_effort\" : \"high\",\"temperature\":0.2,",
            "\"reasoning\" : {\"max_tokens\":1000},\"max_tokens\":2000,",
        ] {
            assert_eq!(sent(model("openrouter", name, false), members).await, chat(name, members), "{name}");
        }
    }
}

#[tokio::test]
async fn reasoning_is_off_only_where_it_asks_for_none() {
    let chats = |value: &str| format!("\"reasoning\" : {value},");
    for off in ["null", "{}", r#"{"effort":"none","summary":"auto"}"#, r#"{"effort":null,"summary":null}"#] {
        assert_eq!(sent(model("openai", "gpt-4o", false), &chats(off)).await, chat("gpt-4o", ""), "{off}");
    }
    for on in [
        r#"{"max_tokens":1000}"#,
        r#"{"enabled":true}"#,
        r#"{"effort":"low"}"#,
        r#"{"summary":"auto"}"#,
        "true",
    ] {
        assert_eq!(refused(model("openai", "gpt-4o", false), &chats(on)).await, "reasoning", "{on}");
        assert_eq!(sent(model("openai", "gpt-4o", true), &chats(on)).await, chat("gpt-4o", ""), "{on}");
    }
}
