//! Claude on Bedrock, invoked in Anthropic's words.

use serde_json::{Value, json};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::post,
    harness::{PROVIDER_KEY, Scene, guarded, run},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";
const MODEL: &str = "bedrock/invoke/us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const WHOLE: &str = r#"{"id":"msg_bdrk_1","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":4}}"#;

async fn scene() -> Scene {
    let json = [("content-type", "application/json")];
    let mut all = Recordings::default();
    all.extend([
        Recording::synthetic("whole", 200, json, WHOLE),
        Recording::synthetic("busy", 429, json, r#"{"message":"Too many requests, wait."}"#),
    ]);
    let scene = Scene::with(all).await.model("claude", MODEL, "whole", &[]);
    scene.model("busy", MODEL, "busy", &[]).section(&guarded())
}

#[tokio::test]
async fn both_callers_reach_it_and_its_url_says_what_its_body_does_not() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let asked = |alias: &str, stream: bool| json!({"model": alias, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stream": stream});
    let sent = |path: &str| {
        let exchanges = scene.exchanges();
        let last = exchanges.last().unwrap();
        assert_eq!(last.path, path);
        assert_eq!(last.headers["authorization"], format!("Bearer {PROVIDER_KEY}"));
        let body: Value = serde_json::from_slice(&last.body).unwrap();
        assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
        assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
        body
    };
    let at = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0";
    let own = post(gateway.addr, "/v1/messages", &[BEARER], &asked("claude", false).to_string()).await;
    own.is(200, WHOLE);
    // At what Bedrock takes for it in the States: a tenth more than elsewhere.
    assert_eq!(own.header("x-litellm-response-cost"), Some("0.000099"));
    let body = sent(&format!("/r/whole{at}/invoke"));
    assert_eq!(body["messages"], json!([{"role": "user", "content": "Hi"}]));
    let chat =
        post(gateway.addr, "/v1/chat/completions", &[BEARER], &asked("claude", false).to_string()).await;
    let told: Value = serde_json::from_str(&chat.body).unwrap();
    assert_eq!((chat.status, &told["choices"][0]["message"]["content"]), (200, &json!("Hi")));
    sent(&format!("/r/whole{at}/invoke"));
    let busy = post(gateway.addr, "/v1/messages", &[BEARER], &asked("busy", true).to_string()).await;
    let told: Value = serde_json::from_str(&busy.body).unwrap();
    assert_eq!((busy.status, &told["error"]["type"]), (429, &json!("rate_limit_error")));
    sent(&format!("/r/busy{at}/invoke-with-response-stream"));
    assert_eq!(scene.exchanges().last().unwrap().headers["accept"], "application/vnd.amazon.eventstream");
}

#[tokio::test]
async fn other_models_are_not_invoked_in_its_words() {
    let config = "model_list:\n  - model_name: nova\n    litellm_params: {model: bedrock/invoke/amazon.nova-pro-v1:0, api_key: k}\n";
    let checked = run(config, &["check", "--config", "config.yaml"], &[]).await;
    assert_eq!(checked.code, Some(1), "{}", checked.stdout);
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("`invoke/` is for Anthropic's models: leave it out"), "{said}");
}
