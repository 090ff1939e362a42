//! Providers that are nothing but a row: what they are sent.

use serde_json::{Value, json};

use crate::{
    client::post,
    harness::Scene,
    samples::{CHAT, MESSAGES},
};

fn body(model: &str, members: &str) -> String {
    format!(r#"{{"model":"{model}",{members}"messages":[{{"role":"user","content":"Hi"}}]}}"#)
}

fn sent(scene: &Scene) -> Vec<String> {
    let exchanges = scene.replay.exchanges();
    exchanges.iter().map(|exchange| String::from_utf8(exchange.body.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_rows_renames_reach_the_provider() {
    let scene = Scene::new().await.model("poe", "poe/m", "openai", &["max_tokens: 50"]).model(
        "plain",
        "custom_openai/m",
        "openai",
        &[],
    );
    let gateway = scene.start(&[]).await;
    let cap = r#" "max_completion_tokens" : 7 ,"#;
    let calls = [
        ("poe", CHAT, cap),
        ("plain", CHAT, cap),
        ("poe", CHAT, ""),
        ("poe", MESSAGES, r#""max_tokens":8,"#),
    ];
    for (alias, path, members) in calls {
        let answer = post(gateway.addr, path, &[], &body(alias, members)).await;
        assert_eq!(answer.status, 200, "{alias} {members}");
    }
    let sent = sent(&scene);
    assert_eq!(sent[0], body("m", r#" "max_tokens" : 7 ,"#));
    assert_eq!(sent[1], body("m", cap));
    let caps = |text: &str| {
        let sent: Value = serde_json::from_str(text).unwrap();
        (sent["max_tokens"].clone(), sent["max_completion_tokens"].clone())
    };
    assert_eq!(caps(&sent[2]), (json!(50), Value::Null));
    assert_eq!(caps(&sent[3]), (json!(8), Value::Null));
}

#[tokio::test]
async fn a_rows_drops_are_refused_dropped_or_passed() {
    let scene = Scene::new()
        .await
        .model("strict", "groq/m", "openai", &[])
        .model("lax", "groq/m", "openai", &["drop_params: true"])
        .model("open", "groq/m", "openai", &["allowed_openai_params: [logprobs]"]);
    let gateway = scene.start(&[]).await;
    let logprobs = r#""logprobs":true,"#;
    let refused = post(gateway.addr, CHAT, &[], &body("strict", logprobs)).await;
    let error: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!((refused.status, &error["error"]["param"]), (400, &json!("logprobs")));
    assert_eq!(error["error"]["code"], "unsupported_parameter");
    for alias in ["lax", "open"] {
        assert_eq!(post(gateway.addr, CHAT, &[], &body(alias, logprobs)).await.status, 200, "{alias}");
    }
    assert_eq!(sent(&scene), [body("m", ""), body("m", logprobs)]);
}

#[tokio::test]
async fn keys_go_into_the_header_that_a_row_or_a_token_asks_for() {
    let scene = Scene::new()
        .await
        .model("sarvam", "sarvam/m", "openai", &["headers: {x-team: blue}"])
        .model("entra", "azure_ai/m", "openai", &["azure_ad_token: sk-token-canary"])
        .model("runner", "docker_model_runner/m", "openai", &[]);
    let gateway = scene.start(&[]).await;
    for alias in ["sarvam", "entra", "runner"] {
        assert_eq!(post(gateway.addr, CHAT, &[], &body(alias, "")).await.status, 200, "{alias}");
    }
    let exchanges = scene.replay.exchanges();
    let [sarvam, entra, runner] = &exchanges[..] else { panic!("{}", exchanges.len()) };
    assert_eq!(sarvam.headers["api-subscription-key"], "sk-provider-canary");
    assert_eq!(
        (sarvam.headers.get("authorization"), &sarvam.headers["x-team"]),
        (None, &"blue".parse().unwrap())
    );
    assert_eq!(entra.headers["authorization"], "Bearer sk-token-canary");
    assert_eq!(entra.headers.get("api-key"), None);
    assert_eq!(runner.headers["authorization"], "Bearer sk-provider-canary");
    assert_eq!(runner.path, "/r/openai/v1/chat/completions");
    let ended = gateway.stop().await;
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}
