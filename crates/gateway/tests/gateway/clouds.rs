//! Credentials that are fetched from clouds: tokens of Entra's for Azure.

use ziggurat_testkit::Recording;

use crate::{
    client::post,
    harness::{Dir, Scene},
    samples::{CHAT, ask, recordings},
};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const TOKEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJ.token-canary"}"#;
const REFUSED: &str = r#"{"error":"invalid_client","error_description":"secret-canary is wrong"}"#;

async fn scene() -> Scene {
    let mut all = recordings();
    all.extend([
        Recording::synthetic("entra", 200, JSON, TOKEN),
        Recording::synthetic("refusing", 401, JSON, REFUSED),
    ]);
    Scene::with(all).await
}

/// A deployment on Azure without a key.
fn on_azure(scene: Scene, alias: &str, params: &str) -> Scene {
    let base = scene.replay.url("openai");
    scene.section(&format!(
        "  - model_name: {alias}\n    litellm_params: {{model: azure/gpt, api_base: '{base}', num_retries: 0, {params}}}\n"
    ))
}

const APP: &str = "tenant_id: t, client_id: app, client_secret: secret-canary";

#[tokio::test]
async fn deployments_of_an_application_on_azure_share_its_token() {
    let scene = on_azure(on_azure(scene().await, "one", APP), "other", APP);
    let gateway = scene.start_with(&[], &[("AZURE_AUTHORITY_HOST", &scene.replay.url("entra"))]).await;
    for alias in ["one", "other", "one"] {
        assert_eq!(post(gateway.addr, CHAT, &[], &ask(alias, false)).await.status, 200, "{alias}");
    }
    let exchanges = scene.exchanges();
    let [token, calls @ ..] = &exchanges[..] else { panic!("nothing was asked") };
    assert_eq!(token.path, "/r/entra/t/oauth2/v2.0/token");
    assert_eq!(
        token.body,
        "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&client_secret=secret-canary"
    );
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!(call.headers["authorization"], "Bearer eyJ.token-canary");
        assert!(call.headers.get("api-key").is_none() && call.path.contains("/openai/deployments/gpt/"));
    }
    let ended = gateway.stop().await;
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_workloads_token_is_read_when_it_is_shown() {
    let dir = Dir::new("");
    let file = dir.file("token", "workload.1\n");
    let scene = on_azure(scene().await, "one", "azure_scope: 'https://own/.default'");
    let env = [
        ("AZURE_AUTHORITY_HOST", &*scene.replay.url("entra")),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_FEDERATED_TOKEN_FILE", &file),
    ];
    let gateway = scene.start_with(&[], &env).await;
    dir.file("token", "workload.2\n");
    assert_eq!(post(gateway.addr, CHAT, &[], &ask("one", false)).await.status, 200);
    assert_eq!(
        scene.exchanges()[0].body,
        "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fown%2F.default&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=workload.2"
    );
}

#[tokio::test]
async fn a_refusal_of_entras_is_the_operators_to_know() {
    let scene = on_azure(scene().await, "one", APP);
    let gateway = scene.start_with(&[], &[("AZURE_AUTHORITY_HOST", &scene.replay.url("refusing"))]).await;
    let answer = post(gateway.addr, CHAT, &[], &ask("one", false)).await;
    answer.is(
        500,
        r#"{"error":{"message":"the deployment has no usable credential","type":"server_error","param":null,"code":"server_error"}}"#,
    );
    let ended = gateway.stop().await;
    assert!(
        ended.stderr.contains("an access token cannot be fetched: it answers with 401"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}
