//! As whom Vertex AI is asked: a person, or a workload that another platform vouches for.

use serde_json::{Value, json};
use ziggurat_testkit::{Exchange, Recording, Recordings};

use crate::{
    client::post,
    harness::{Dir, Gateway, Scene, guarded, run},
    samples::{CHAT, ask},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";
const TOKEN: &str = r#"{"access_token":"ya29.of-the-account","expires_in":3600}"#;
const GEMINI: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP","index":0}]}"#;

/// A chat with Gemini, and as whom it is asked: whoever `gcloud` says, unless `params` say otherwise.
async fn chatting(params: &[&str]) -> Scene {
    let kind = [("content-type", "application/json")];
    let mut all = Recordings::default();
    all.extend([
        Recording::synthetic("chat", 200, kind, GEMINI),
        Recording::synthetic("token", 200, kind, TOKEN),
        Recording::synthetic(
            "bot",
            200,
            kind,
            r#"{"accessToken":"ya29.of-the-bot","expireTime":"2099-01-01T00:00:00Z"}"#,
        ),
        Recording::synthetic("platform", 200, kind, r#"{"id_token":"jwt.canary"}"#),
        Recording::synthetic("refusing", 400, kind, r#"{"error":"canary"}"#),
    ]);
    let scene = Scene::with(all).await;
    let scene = scene.model("chat", "vertex_ai/gemini-2.5-flash", "chat", params);
    scene.section(&guarded())
}

async fn chat(gateway: &Gateway) -> u16 {
    post(gateway.addr, CHAT, &[BEARER], &ask("chat", false)).await.status
}

/// Where a folder is.
fn folder(dir: &Dir) -> String {
    dir.file("x", "").strip_suffix("/x").unwrap().to_owned()
}

fn texts(exchanges: &[Exchange]) -> Vec<(String, String)> {
    let text = |it: &Exchange| (it.path.clone(), String::from_utf8(it.body.to_vec()).unwrap());
    exchanges.iter().map(text).collect()
}

#[tokio::test]
async fn whoever_has_logged_in_with_gcloud_is_the_account() {
    let scene = chatting(&[]).await;
    let dir = Dir::new("");
    let file = json!({
        "type": "authorized_user", "client_id": "i", "client_secret": "canary", "refresh_token": "r",
        "quota_project_id": "acme", "token_uri": scene.replay.url("token"),
    });
    dir.file("application_default_credentials.json", &file.to_string());
    let gateway = scene.start_with(&[], &[("CLOUDSDK_CONFIG", &folder(&dir))]).await;
    assert_eq!(chat(&gateway).await, 200);
    let exchanges = scene.exchanges();
    let form = "grant_type=refresh_token&client_id=i&client_secret=canary&refresh_token=r";
    assert_eq!(texts(&exchanges)[0], ("/r/token".to_owned(), form.to_owned()));
    let call = &exchanges[1];
    assert_eq!(
        call.path,
        "/r/chat/v1/projects/acme/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent"
    );
    assert_eq!(call.headers["authorization"], "Bearer ya29.of-the-account");
    assert_eq!(call.headers["x-goog-user-project"], "acme");
    // In the home folder, where nothing says where `gcloud` keeps it.
    let home = Dir::new("");
    std::fs::create_dir_all(format!("{}/.config/gcloud", &folder(&home))).unwrap();
    home.file(".config/gcloud/application_default_credentials.json", &file.to_string());
    let gateway = scene.start_with(&[], &[("HOME", &folder(&home))]).await;
    assert_eq!((chat(&gateway).await, scene.exchanges().len()), (200, 4));
}

#[tokio::test]
async fn a_workload_elsewhere_is_known_by_its_platforms_token() {
    let params = |scene: &Scene, source: Value, sts: &str, more: Value| {
        let mut file = json!({
            "type": "external_account", "audience": "//iam/p", "subject_token_type": "urn:jwt",
            "token_url": scene.replay.url(sts), "credential_source": source,
        });
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        file.to_string()
    };
    let scene = chatting(&["vertex_project: acme", "num_retries: 0"]).await;
    let dir = Dir::new("");
    let at_url = json!({
        "url": scene.replay.url("platform"), "format": {"type": "json", "subject_token_field_name": "id_token"},
    });
    let bot = json!({"service_account_impersonation_url": scene.replay.url("bot")});
    let path = dir.file("credentials", &params(&scene, at_url, "token", bot));
    let gateway = scene.start_with(&[], &[("GOOGLE_APPLICATION_CREDENTIALS", &path)]).await;
    assert_eq!(chat(&gateway).await, 200);
    let exchanges = scene.exchanges();
    let paths: Vec<&str> = exchanges.iter().map(|it| it.path.split('/').nth(2).unwrap()).collect();
    assert_eq!(paths, ["platform", "token", "bot", "chat"]);
    assert!(texts(&exchanges)[1].1.ends_with("&subject_token_type=urn%3Ajwt&subject_token=jwt.canary"));
    assert_eq!(exchanges[2].headers["authorization"], "Bearer ya29.of-the-account");
    assert_eq!(exchanges[3].headers["authorization"], "Bearer ya29.of-the-bot");
    assert!(exchanges[3].headers.get("x-goog-user-project").is_none());

    // A file is read when its token is shown.
    let token = dir.file("token", "one\n");
    dir.file("credentials", &params(&scene, json!({"file": token}), "token", json!({})));
    let gateway = scene.start_with(&[], &[("GOOGLE_APPLICATION_CREDENTIALS", &path)]).await;
    dir.file("token", "two\n");
    assert_eq!(chat(&gateway).await, 200);
    assert!(texts(&scene.exchanges())[4].1.ends_with("&subject_token=two"));

    // What is said of a refusal is told to nobody.
    dir.file("token", "canary");
    dir.file("credentials", &params(&scene, json!({"file": token}), "refusing", json!({})));
    let gateway = scene.start_with(&[], &[("GOOGLE_APPLICATION_CREDENTIALS", &path)]).await;
    assert_eq!(chat(&gateway).await, 500);
    let ended = gateway.stop().await;
    let why = "an access token cannot be fetched: the exchange of the workload's token: it answers with 400";
    assert!(ended.stderr.contains(why) && !ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_told_with_their_place() {
    let checked = async |credentials: &str| {
        let config = format!(
            "model_list:\n  - model_name: m\n    litellm_params: {{model: vertex_ai/gemini-2.5-flash, vertex_project: p, \
             vertex_credentials: {credentials}}}\n"
        );
        let ended = run(&config, &["check", "--config", "config.yaml"], &[]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stdout);
        format!("{}{}", ended.stdout, ended.stderr)
    };
    let at = "config.yaml:3:96: error: model_list[0].litellm_params.vertex_credentials: ";
    let lost = r#"{type: external_account, audience: a, subject_token_type: t, token_url: 'https://sts.test', credential_source: {file: /nowhere/canary}}"#;
    for (credentials, why) in [
        ("/nowhere/canary", "names a file of credentials that cannot be read: entity not found\n"),
        (lost, "names a file of a token that cannot be read: entity not found\n"),
        (
            "'{\"type\":\"canary\"}'",
            "not a file of Google's credentials: its `type` is none of `service_account`, `authorized_user` and `external_account`\n",
        ),
    ] {
        let told = checked(credentials).await;
        assert!(told.contains(&format!("{at}{why}")), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
}
