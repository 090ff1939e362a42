//! What is asked for beside chats and messages.

use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::{Answer, post},
    harness::{Gateway, PROVIDER_KEY, Scene, guarded},
    samples::{Api, recordings},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";
const EMBEDDED: &str = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.25,-1e-3]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":1000,"total_tokens":1000}}"#;
const COUNTED: &str = r#"{"input_tokens":14}"#;
const RESPONSE: &str = r#"{"id":"resp_1","object":"response","created_at":7,"status":"completed","model":"gpt-4o","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[]}]}],"usage":{"input_tokens":3,"output_tokens":5,"total_tokens":8}}"#;

fn scene_of(more: [(&str, u16, &'static str); 4]) -> Recordings {
    let json = [("content-type", "application/json")];
    let mut all = recordings();
    all.extend(more.map(|(id, status, body)| Recording::synthetic(id, status, json, body)));
    all
}

async fn scene() -> Scene {
    let recordings = scene_of([
        ("embedded", 200, EMBEDDED),
        ("counted", 200, COUNTED),
        ("response", 200, RESPONSE),
        (
            "unknown",
            404,
            r#"{"error":{"message":"no such model","type":"invalid_request_error","code":"model_not_found"}}"#,
        ),
    ]);
    Scene::with(recordings)
        .await
        .model("embed", "openai/text-embedding-3-small", "embedded", &[])
        .model("lost", "openai/text-embedding-9", "unknown", &[])
        .model("gpt", Api::OpenAi.model(), "response", &[])
        .model("claude", Api::Anthropic.model(), "counted", &[])
        .section(&guarded())
}

async fn ask(gateway: &Gateway, path: &str, body: &str) -> Answer {
    post(gateway.addr, path, &[BEARER], body).await
}

#[tokio::test]
async fn embeddings_pass_and_cost_what_they_cost() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let answer = ask(&gateway, "/v1/embeddings", r#"{"model":"embed","input":"a"}"#).await;
    answer.is(200, EMBEDDED);
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.00002"));
    assert_eq!(answer.header("x-litellm-model-group"), Some("embed"));
    let exchanges = scene.exchanges();
    assert_eq!(exchanges[0].path, "/r/embedded/v1/embeddings");
    assert_eq!(exchanges[0].headers["authorization"], format!("Bearer {PROVIDER_KEY}"));
    assert_eq!(exchanges[0].body, r#"{"model":"text-embedding-3-small","input":"a"}"#);
}

#[tokio::test]
async fn an_error_of_an_embedding_is_told_and_names_no_model_of_the_providers() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let answer = ask(&gateway, "/v1/embeddings", r#"{"model":"lost","input":"a"}"#).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert!(answer.body.contains(r#""code":"model_not_found""#), "{}", answer.body);
}

#[tokio::test]
async fn what_a_provider_does_not_do_is_told_and_it_is_not_asked() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let answer = ask(&gateway, "/v1/embeddings", r#"{"model":"claude","input":"a"}"#).await;
    let message = "the model's provider cannot be asked for embeddings";
    answer.is(
        404,
        &format!(
            r#"{{"error":{{"message":"{message}","type":"invalid_request_error","param":null,"code":"not_found"}}}}"#
        ),
    );
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_where_it_counts_and_else_here() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let body = |model: &str| {
        format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hello there"}}]}}"#)
    };
    let counted = ask(&gateway, "/v1/messages/count_tokens", &body("claude")).await;
    counted.is(200, COUNTED);
    assert_eq!(counted.header("x-ziggurat-token-count"), None);
    assert_eq!(scene.exchanges()[0].path, "/r/counted/v1/messages/count_tokens");
    let own = ask(&gateway, "/v1/messages/count_tokens", &body("gpt")).await;
    let counted: serde_json::Value = serde_json::from_str(&own.body).unwrap();
    // Eleven bytes, and what frames a message.
    assert!((4..20).contains(&counted["input_tokens"].as_u64().unwrap()), "{}", own.body);
    assert_eq!((own.status, scene.asked()), (200, 1));
    assert_eq!(own.header("x-ziggurat-token-count"), Some("estimate"));
    let nobody = ask(&gateway, "/v1/messages/count_tokens", &body("nobody")).await;
    assert_eq!(nobody.status, 404);
}

#[tokio::test]
async fn counting_is_within_its_callers_limits() {
    let scene = scene().await.section("ziggurat_settings: {rpm: 2}\n");
    let gateway = scene.start(&[]).await;
    let body = r#"{"model":"gpt","messages":[{"role":"user","content":"Hello there"}]}"#;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(&gateway, "/v1/messages/count_tokens", body).await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn responses_pass_to_a_provider_that_serves_them() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let answer = ask(&gateway, "/v1/responses", r#"{"model":"gpt","input":"Hello","store":true}"#).await;
    answer.is(200, RESPONSE);
    assert_eq!(scene.exchanges()[0].path, "/r/response/v1/responses");
    assert!(answer.header("x-litellm-response-cost").is_some());
}
