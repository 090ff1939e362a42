//! The betas that an Anthropic caller asks for, wherever Claude is.

mod support;

use http::HeaderValue;
use serde_json::json;
use ziggurat_core::{Dialect, ParamPolicy, Target};

use crate::support::*;

/// Claude, invoked on Bedrock.
fn invoked() -> Target {
    let version = ("anthropic_version".to_owned(), "\"bedrock-2023-05-31\"".to_owned());
    target(ANTHROPIC).names_model_in_url().adds([version]).wraps_events()
}

/// An Anthropic caller's request with betas in headers and `member` in its body, as the target is sent it.
async fn with_betas(target: Target, betas: &[&'static str], member: &str) -> Sent {
    let body = hello(ANTHROPIC, false).replacen('{', &format!("{{{member}"), 1);
    let mut request = post(ANTHROPIC, body);
    request.headers_mut().insert("anthropic-version", HeaderValue::from_static("2024-01-01"));
    for betas in betas {
        request.headers_mut().append("anthropic-beta", HeaderValue::from_static(betas));
    }
    exchange(target, request, json("{}")).await.sent.expect("it was sent")
}

#[tokio::test]
async fn betas_of_the_head_are_asked_for_in_the_body_on_bedrock() {
    let in_body = async |betas: &[&'static str], member: &str| {
        let sent = with_betas(invoked(), betas, member).await;
        assert_eq!((sent.header("anthropic-beta"), sent.header("anthropic-version")), (None, None));
        let body = sent.json();
        assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
        body.get("anthropic_beta").cloned()
    };
    assert_eq!(in_body(&[], "").await, None);
    assert_eq!(in_body(&["", " , "], "").await, None);
    assert_eq!(in_body(&["a,b", " c ,a,"], "").await, Some(json!(["a", "b", "c"])));
    let own = r#""anthropic_beta": ["b\u002d1", "z"] ,"#;
    assert_eq!(in_body(&["a,b-1"], own).await, Some(json!(["b-1", "z", "a"])));
    assert_eq!(in_body(&["z"], own).await, Some(json!(["b-1", "z"])));
    assert_eq!(in_body(&["a"], r#""anthropic_beta":null,"#).await, Some(json!(["a"])));
    let twice = r#""anthropic_beta":["x"],"anthropic_beta":["y"],"#;
    assert_eq!(in_body(&["a"], twice).await, Some(json!(["y", "a"])));
    // What is no list is for Bedrock to refuse.
    assert_eq!(in_body(&["a"], r#""anthropic_beta":"x","#).await, Some(json!("x")));
    // What stands there already is sent byte for byte.
    let sent = with_betas(invoked(), &["z"], own).await;
    assert!(sent.body.contains(own.trim_end_matches(" ,")), "{}", sent.body);
}

#[tokio::test]
async fn betas_that_bedrock_does_not_know_are_left_out_by_policy() {
    let of = async |change: fn(&mut ParamPolicy)| {
        let mut policy = ParamPolicy::default();
        change(&mut policy);
        let betas = ["claude-code-20250219,context-1m-2025-08-07"];
        let sent = with_betas(invoked().policy(policy), &betas, r#""anthropic_beta":["own"],"#).await;
        sent.json().get("anthropic_beta").cloned()
    };
    let all = Some(json!(["own", "claude-code-20250219", "context-1m-2025-08-07"]));
    assert_eq!(of(|_| {}).await, all);
    assert_eq!(of(|policy| policy.drop_params = true).await, Some(json!(["own", "context-1m-2025-08-07"])));
    let allowed = of(|policy| {
        policy.drop_params = true;
        policy.allowed_openai_params = ["anthropic_beta".to_owned()].into();
    });
    assert_eq!(allowed.await, all);
    assert_eq!(of(|policy| policy.additional_drop_params = ["anthropic_beta".to_owned()].into()).await, None);
}

#[tokio::test]
async fn betas_reach_claude_wherever_it_is_asked() {
    let converse =
        |model| Target::new("bedrock", Dialect::Converse, model, "https://b.example/c").expect("is a URL");
    let fields = async |model, member| {
        let sent = with_betas(converse(model), &["a,b"], member).await;
        assert_eq!(sent.header("anthropic-beta"), None);
        sent.json().get("additionalModelRequestFields").cloned()
    };
    let claude = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    assert_eq!(fields(claude, "").await, Some(json!({"anthropic_beta": ["a", "b"]})));
    assert_eq!(
        fields(claude, r#""anthropic_beta":["b"],"#).await,
        Some(json!({"anthropic_beta": ["b", "a"]}))
    );
    assert_eq!(fields("amazon.nova-pro-v1:0", "").await, None);
    // Vertex AI takes the header, and a version of its own in the body.
    let version = ("anthropic_version".to_owned(), "\"vertex-2023-10-16\"".to_owned());
    let sent = with_betas(target(ANTHROPIC).names_model_in_url().adds([version]), &["a", "b"], "").await;
    let betas: Vec<_> = sent.parts.headers.get_all("anthropic-beta").iter().collect();
    assert_eq!(betas, ["a", "b"]);
    assert_eq!(sent.header("anthropic-version"), None);
    let body = sent.json();
    assert_eq!((&body["anthropic_version"], body.get("anthropic_beta")), (&json!("vertex-2023-10-16"), None));
}

#[tokio::test]
async fn betas_that_are_no_text_are_refused() {
    let mut request = post(ANTHROPIC, hello(ANTHROPIC, false));
    let bytes = HeaderValue::from_bytes(b"a,\xff").expect("is a value");
    request.headers_mut().insert("anthropic-beta", bytes);
    let refused = exchange(invoked(), request, json("{}")).await;
    assert_eq!((refused.status.as_u16(), refused.sent.is_some()), (400, false));
    assert_eq!(refused.json()["error"]["message"], "`anthropic-beta` is not a list of names");
}
