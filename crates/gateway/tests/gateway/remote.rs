//! Images at URLs, for a provider that takes only their bytes.

use serde_json::{Value, json};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::{Answer, post},
    harness::{Gateway, Scene},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const ANSWER: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"A dot."}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}"#;

/// A model of Bedrock's, and a site with an image.
async fn scene(section: &str) -> Scene {
    scene_with(section, PNG.to_vec()).await
}

async fn scene_with(section: &str, image: Vec<u8>) -> Scene {
    let mut all = Recordings::default();
    all.extend([
        Recording::synthetic("nova", 200, [("content-type", "application/json")], ANSWER),
        Recording::synthetic("image", 200, [("content-type", "image/png")], image),
    ]);
    Scene::with(all).await.model("nova", "bedrock/amazon.nova-lite-v1:0", "nova", &[]).section(section)
}

async fn ask(gateway: &Gateway, url: &str) -> Answer {
    ask_of(gateway, &[url]).await
}

async fn ask_of(gateway: &Gateway, urls: &[&str]) -> Answer {
    let mut content = vec![json!({"type": "text", "text": "What is it?"})];
    content.extend(urls.iter().map(|url| json!({"type": "image_url", "image_url": {"url": url}})));
    let call = json!({"model": "nova", "messages": [{"role": "user", "content": content}]});
    post(gateway.addr, "/v1/chat/completions", &[], &call.to_string()).await
}

fn error(message: &str, code: &Value) -> String {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": "messages[0].content[1].image_url.url", "code": code}}).to_string()
}

#[tokio::test]
async fn the_bytes_of_an_image_reach_bedrock() {
    let scene = scene("ziggurat_settings: {media: {fetch: true, private_hosts: [127.0.0.1]}}\n").await;
    let gateway = scene.start(&[]).await;
    let answer = ask(&gateway, &scene.replay.url("image")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let [site, bedrock] = &scene.exchanges()[..] else { panic!("two were asked") };
    assert_eq!((site.method.as_str(), site.path.as_str()), ("GET", "/r/image"));
    assert!(!site.headers.contains_key("authorization"));
    let sent: Value = serde_json::from_slice(&bedrock.body).unwrap();
    let image = json!({"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}});
    assert_eq!(sent["messages"][0]["content"], json!([{"text": "What is it?"}, image]));
}

#[tokio::test]
async fn what_is_fetched_counts_among_the_bytes_of_all_calls_as_often_as_it_is_named() {
    let image = [PNG, &[0; 400_000]].concat();
    let media = "ziggurat_settings: {media: {fetch: true, private_hosts: [127.0.0.1]}}\n";
    let scene = scene_with(media, image).await;
    let gateway = scene.start(&["--max-in-flight", "1", "--max-request", "1"]).await;
    let url = &*scene.replay.url("image");
    assert_eq!(ask_of(&gateway, &[url]).await.status, 200);
    let answer = ask_of(&gateway, &[url, url]).await;
    let message = "the gateway holds too many requests at once";
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &told["error"]["message"]), (503, &json!(message)));
    // Nothing is held once it was answered.
    assert_eq!(ask_of(&gateway, &[url]).await.status, 200);
    assert_eq!(scene.asked(), 5);
}

#[tokio::test]
async fn nobodys_own_network_is_asked_for_a_caller() {
    let scene = scene("ziggurat_settings: {media: {fetch: true}}\n").await;
    let gateway = scene.start(&[]).await;
    let cases = [
        (scene.replay.url("image"), "it is no https URL"),
        (scene.replay.url("image").replace("http:", "https:"), "its port is not 443"),
        (
            "https://169.254.169.254/latest/meta-data".to_owned(),
            "its host is none that anything is fetched from",
        ),
        ("https://[::ffff:127.0.0.1]/".to_owned(), "its host is none that anything is fetched from"),
    ];
    for (url, reason) in cases {
        let answer = ask(&gateway, &url).await;
        let expected = error(&format!("this URL cannot be used: {reason}"), &json!("invalid_image_url"));
        assert_eq!((answer.status, answer.body), (400, expected), "{url}");
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn nothing_is_fetched_unless_the_config_says_so() {
    let scene = scene("").await;
    let gateway = scene.start(&[]).await;
    let answer = ask(&gateway, &scene.replay.url("image")).await;
    let expected = error("this provider fetches no URLs: send the bytes, in base64", &Value::Null);
    assert_eq!((answer.status, answer.body), (400, expected));
    assert_eq!(scene.asked(), 0);
}
