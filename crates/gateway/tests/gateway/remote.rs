//! Images at URLs, for a provider that takes only their bytes.

use serde_json::{Value, json};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::{Answer, post},
    harness::{Gateway, Scene, guarded},
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
        Recording::synthetic("hop", 302, [("location", "https://169.254.169.254/latest/meta-data")], ""),
    ]);
    Scene::with(all).await.model("nova", "bedrock/amazon.nova-lite-v1:0", "nova", &[]).section(section)
}

const BEARER: &str = "authorization: Bearer sk-master-canary";

/// As in `scene`, with keys, and one site in its own network from which anything is fetched.
async fn keyed() -> (Scene, Gateway) {
    let section = format!(
        "{}  database_url: 'sqlite:keys.db'\nziggurat_settings: {{media: {{fetch: true, private_hosts: [127.0.0.1]}}}}\n",
        guarded()
    );
    let scene = scene(&section).await;
    let gateway = scene.start(&[]).await;
    (scene, gateway)
}

/// The header of a new key.
async fn key(gateway: &Gateway, settings: &Value) -> String {
    let made = post(gateway.addr, "/key/generate", &[BEARER], &settings.to_string()).await;
    let made: Value = serde_json::from_str(&made.body).unwrap();
    format!("authorization: Bearer {}", made["key"].as_str().unwrap())
}

/// A call with an image, in each caller's dialect: its path and body, and where the image stands in it.
fn calls(url: &str) -> [(&'static str, Value, &'static str); 4] {
    let chat = json!([{"type": "image_url", "image_url": {"url": url}}]);
    let message = json!([{"type": "image", "source": {"type": "url", "url": url}}]);
    let input = json!([{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]);
    let parts = json!([{"fileData": {"mimeType": "image/png", "fileUri": url}}]);
    let messages = |content: Value| json!([{"role": "user", "content": content}]);
    [
        (
            "/v1/chat/completions",
            json!({"model": "nova", "messages": messages(chat)}),
            "messages[0].content[0].image_url.url",
        ),
        (
            "/v1/messages",
            json!({"model": "nova", "max_tokens": 9, "messages": messages(message)}),
            "messages[0].content[0].source.url",
        ),
        ("/v1/responses", json!({"model": "nova", "input": input}), "input[0].content[0].image_url"),
        (
            "/v1beta/models/nova:generateContent",
            json!({"contents": [{"role": "user", "parts": parts}]}),
            "contents[0].parts[0].fileData.fileUri",
        ),
    ]
}

/// The refusal of an image, in the dialect of the path.
fn refusal(path: &str, reason: &str, param: &str) -> Value {
    let message = format!("this URL cannot be used: {reason}");
    match path {
        "/v1/messages" => {
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}})
        }
        path if path.starts_with("/v1beta") => {
            json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})
        }
        _ => {
            json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": "invalid_image_url"}})
        }
    }
}

#[tokio::test]
async fn whoever_has_a_key_is_fetched_an_image_and_nobody_is_shown_the_key() {
    let (scene, gateway) = keyed().await;
    let low = key(&gateway, &json!({})).await;
    let calls = calls(&scene.replay.url("image"));
    for (at, (path, body, _)) in calls.iter().enumerate() {
        let headers = [&*low, "cookie: canary", "x-canary: canary"];
        let answer = post(gateway.addr, path, &headers, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let exchanges = scene.exchanges();
        let [site, bedrock] = &exchanges[2 * at..] else { panic!("two were asked") };
        assert_eq!((site.method.as_str(), site.path.as_str()), ("GET", "/r/image"));
        let mut names: Vec<_> = site.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"], "{path}");
        let sent: Value = serde_json::from_slice(&bedrock.body).unwrap();
        let image = json!({"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}});
        assert_eq!(sent["messages"][0]["content"], json!([image]), "{path}");
    }
}

#[tokio::test]
async fn no_key_opens_the_own_network_and_each_caller_is_told_in_its_words() {
    let (scene, gateway) = keyed().await;
    let low = key(&gateway, &json!({})).await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let is_none = "its host is none that anything is fetched from";
    let cases = [
        ("https://169.254.169.254/latest/meta-data".to_owned(), is_none),
        ("https://169.254.170.2/v2/credentials".to_owned(), is_none),
        ("https://[fd00:ec2::254]/latest/meta-data".to_owned(), is_none),
        ("https://10.0.0.1/a.png".to_owned(), is_none),
        ("https://172.16.0.1/a.png".to_owned(), is_none),
        ("https://192.168.0.1/a.png".to_owned(), is_none),
        ("https://100.64.0.1/a.png".to_owned(), is_none),
        ("https://127.0.0.2/a.png".to_owned(), is_none),
        ("https://2130706434/a.png".to_owned(), is_none),
        ("https://0x7f000002/a.png".to_owned(), is_none),
        ("https://[::1]/a.png".to_owned(), is_none),
        ("https://[::ffff:169.254.169.254]/a.png".to_owned(), is_none),
        ("https://user:word@127.0.0.2/a.png".to_owned(), "it holds a user's name or a password"),
        (format!("http://{}/a.png", elsewhere.local_addr().unwrap()), "it is no https URL"),
    ];
    for (url, reason) in cases {
        for (path, body, param) in calls(&url) {
            for key in [BEARER, &low] {
                let answer = post(gateway.addr, path, &[key], &body.to_string()).await;
                let told: Value = serde_json::from_str(&answer.body).unwrap();
                assert_eq!((answer.status, told), (400, refusal(path, reason, param)), "{path} {url}");
            }
        }
    }
    assert_eq!(scene.asked(), 0);
    let hop = scene.replay.url("hop");
    for (at, (path, body, param)) in calls(&hop).into_iter().enumerate() {
        let answer = post(gateway.addr, path, &[&low], &body.to_string()).await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, told), (400, refusal(path, is_none, param)), "{path}");
        assert_eq!(scene.asked(), at + 1);
    }
    assert!(tokio::time::timeout(std::time::Duration::ZERO, elsewhere.accept()).await.is_err());
}

#[tokio::test]
async fn nothing_is_fetched_for_whoever_may_not_call() {
    let (scene, gateway) = keyed().await;
    let url = scene.replay.url("image");
    let stranger = "authorization: Bearer sk-nobody".to_owned();
    let other = key(&gateway, &json!({"models": ["other"]})).await;
    let slow = key(&gateway, &json!({"rpm_limit": 1})).await;
    let (path, body, _) = &calls(&url)[0];
    let body = body.to_string();
    assert_eq!(post(gateway.addr, path, &[&slow], &body).await.status, 200);
    assert_eq!(scene.asked(), 2);
    for (key, status) in [(stranger, 401), (other, 403), (slow, 429)] {
        let answer = post(gateway.addr, path, &[&key], &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert_eq!(scene.asked(), 2);
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
