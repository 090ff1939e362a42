//! What Vertex AI does that is no conversation, with tokens of a service account.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use ziggurat_testkit::{Exchange, Recording, Recordings};

use crate::{
    client::{Answer, post},
    harness::{Gateway, Scene, guarded},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";
const TOKEN: &str = r#"{"access_token":"ya29.of-the-account","expires_in":3600,"token_type":"Bearer"}"#;

/// Alias, model and what the upstream answers.
const MODELS: [(&str, &str, &str); 4] = [
    (
        "imagen",
        "vertex_ai/imagen-4.0-generate-001",
        r#"{"predictions":[{"mimeType":"image/png","bytesBase64Encoded":"AA=="}]}"#,
    ),
    (
        "gemini",
        "vertex_ai/gemini-2.5-flash-image",
        r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":1290}}"#,
    ),
    (
        "rank",
        "vertex_ai/semantic-ranker-default@latest",
        r#"{"records":[{"id":"1","score":0.98},{"id":"0","score":0.12}]}"#,
    ),
    (
        "embed",
        "vertex_ai/text-embedding-005",
        r#"{"predictions":[{"embeddings":{"values":[0.5],"statistics":{"token_count":15000}}}]}"#,
    ),
];

async fn scene() -> Scene {
    let kind = [("content-type", "application/json")];
    let mut all = Recordings::default();
    all.extend(MODELS.map(|(alias, _, body)| Recording::synthetic(alias, 200, kind, body)));
    all.extend([Recording::synthetic("token", 200, kind, TOKEN)]);
    let scene = Scene::with(all).await;
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let file = json!({
        "type": "service_account", "project_id": "acme", "private_key_id": "k1",
        "client_email": "robot@acme.example", "token_uri": scene.replay.url("token"),
        "private_key": format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref())
        ),
    });
    let params = [format!("vertex_credentials: '{file}'"), "vertex_location: europe-west1".to_owned()];
    let params = params.each_ref().map(String::as_str);
    let scene =
        MODELS.iter().fold(scene, |scene, (alias, model, _)| scene.model(alias, model, alias, &params));
    scene.section(&guarded())
}

async fn ask(gateway: &Gateway, path: &str, body: &Value) -> Answer {
    post(gateway.addr, path, &[BEARER], &body.to_string()).await
}

/// The calls but those for tokens.
fn calls(scene: &Scene) -> Vec<Exchange> {
    scene.exchanges().into_iter().filter(|exchange| exchange.path != "/r/token").collect()
}

const MODELS_AT: &str = "v1/projects/acme/locations/europe-west1/publishers/google/models";

#[tokio::test]
async fn images_are_drawn_by_predict_and_by_gemini() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let cases = [
        (
            "imagen",
            format!("/r/imagen/{MODELS_AT}/imagen-4.0-generate-001:predict"),
            r#"{"instances":[{"prompt":"a cat"}],"parameters":{"sampleCount":1,"includeRaiReason":true}}"#,
        ),
        (
            "gemini",
            format!("/r/gemini/{MODELS_AT}/gemini-2.5-flash-image:generateContent"),
            r#"{"contents":[{"role":"user","parts":[{"text":"a cat"}]}],"generationConfig":{"responseModalities":["IMAGE"]}}"#,
        ),
    ];
    for (at, (alias, path, body)) in cases.iter().enumerate() {
        let asked = json!({"model": alias, "prompt": "a cat"});
        let answer = ask(&gateway, "/v1/images/generations", &asked).await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &told["data"]), (200, &json!([{"b64_json": "AA=="}])), "{}", answer.body);
        let exchange = &calls(&scene)[at];
        assert_eq!((&exchange.path, &exchange.body[..]), (path, body.as_bytes()));
        assert_eq!(exchange.headers["authorization"], "Bearer ya29.of-the-account");
    }
}

#[tokio::test]
async fn documents_are_ranked_as_records_and_nobody_talks_with_a_ranker() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let asked = json!({
        "model": "rank", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": true
    });
    let answer = ask(&gateway, "/v1/rerank", &asked).await;
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let results = json!([{"index": 1, "relevance_score": 0.98, "document": {"text": "b"}}]);
    assert_eq!((answer.status, &told["results"]), (200, &results), "{}", answer.body);
    // A query, at a dollar for a thousand.
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.001"));
    let exchange = &calls(&scene)[0];
    assert_eq!(
        (&*exchange.path, &exchange.body[..]),
        (
            "/r/rank/v1/projects/acme/locations/global/rankingConfigs/default_ranking_config:rank",
            &br#"{"model":"semantic-ranker-default@latest","query":"q","records":[{"id":"0","content":"a"},{"id":"1","content":"b"}],"topN":1,"ignoreRecordDetailsInResponse":true}"#[..]
        )
    );
    let chat = json!({"model": "rank", "messages": [{"role": "user", "content": "Hi"}]});
    let refused = ask(&gateway, "/v1/chat/completions", &chat).await;
    assert_eq!(refused.status, 404);
    assert!(refused.body.contains("cannot be asked for chat completions"), "{}", refused.body);
    assert_eq!(calls(&scene).len(), 1);
}

#[tokio::test]
async fn texts_that_are_long_together_are_embedded_in_several_calls() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let text = "a".repeat(45_000);
    let answer = ask(&gateway, "/v1/embeddings", &json!({"model": "embed", "input": [text, text]})).await;
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, told["data"].as_array().map(Vec::len)), (200, Some(2)), "{}", answer.body);
    assert_eq!(told["usage"]["prompt_tokens"], 30_000);
    let each: Vec<_> = calls(&scene).iter().map(|call| call.body.len()).collect();
    assert_eq!(each, [45_000 + r#"{"instances":[{"content":""}]}"#.len(); 2]);
}
