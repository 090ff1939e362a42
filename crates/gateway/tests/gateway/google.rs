//! What Google's callers ask for beside content: embeddings and counts of tokens; and the key in the query, where their SDKs put it.

use serde_json::{Value, json};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::{Answer, post},
    harness::{Gateway, MASTER_KEY, Scene, guarded},
};

const KEY: &str = "x-goog-api-key: sk-master-canary";

/// Alias, `provider/model` and what the upstream answers.
const MODELS: [(&str, &str, &str); 5] = [
    (
        "small",
        "openai/text-embedding-3-small",
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]},{"object":"embedding","index":1,"embedding":[-1e-3]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":1000,"total_tokens":1000}}"#,
    ),
    (
        "cohere",
        "cohere/embed-v4.0",
        r#"{"id":"c","embeddings":{"float":[[0.5],[-1e-3]]},"meta":{"billed_units":{"input_tokens":1000}}}"#,
    ),
    ("google", "gemini/gemini-embedding-001", r#"{"embeddings":[ {"values":[0.5]}, {"values":[-1e-3]} ]}"#),
    ("titan", "bedrock/amazon.titan-embed-text-v2:0", r#"{"embedding":[0.5],"inputTextTokenCount":500}"#),
    ("flash", "gemini/gemini-2.5-flash", r#"{"totalTokens":14,"promptTokensDetails":[]}"#),
];

async fn scene() -> Scene {
    let json = [("content-type", "application/json")];
    let mut all = Recordings::default();
    all.extend(MODELS.map(|(alias, _, body)| Recording::synthetic(alias, 200, json, body)));
    let scene = Scene::with(all).await;
    let scene = MODELS.iter().fold(scene, |scene, (alias, model, _)| scene.model(alias, model, alias, &[]));
    scene.model("claude", "anthropic/claude-sonnet-4-5", "small", &[]).section(&guarded())
}

async fn ask(gateway: &Gateway, call: &str, body: &Value) -> Answer {
    post(gateway.addr, &format!("/v1beta/models/{call}"), &[KEY], &body.to_string()).await
}

fn two(alias: &str) -> Value {
    let one =
        |text: &str| json!({"model": format!("models/{alias}"), "content": {"parts": [{"text": text}]}});
    json!({"requests": [one("a"), one("b")]})
}

/// The status and the words of an error in Google's shape.
fn error(answer: &Answer) -> (u16, String, String) {
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let text = |name: &str| told["error"][name].as_str().unwrap().to_owned();
    assert_eq!(told["error"]["code"], answer.status);
    (answer.status, text("status"), text("message"))
}

#[tokio::test]
async fn googles_callers_are_given_everybodys_embeddings() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let vectors =
        r#"{"embeddings":[{"values":[0.5]},{"values":[-1e-3]}],"usageMetadata":{"promptTokenCount":1000}}"#;
    let twice =
        r#"{"embeddings":[{"values":[0.5]},{"values":[0.5]}],"usageMetadata":{"promptTokenCount":1000}}"#;
    let (small, cohere, google) = (
        r#"{"model":"text-embedding-3-small","input":["a","b"]}"#,
        r#"{"model":"embed-v4.0","texts":["a","b"],"input_type":"search_document","embedding_types":["float"]}"#,
        // Google's own words pass, and its answer.
        r#"{"requests":[{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]}},{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"b"}]}}]}"#,
    );
    let cases = [
        ("small", "/r/small/v1/embeddings", small, vectors, Some("0.00002")),
        ("cohere", "/r/cohere/v2/embed", cohere, vectors, Some("0.00012")),
        ("google", "/r/google/models/gemini-embedding-001:batchEmbedContents", google, MODELS[2].2, None),
        (
            "titan",
            "/r/titan/model/amazon.titan-embed-text-v2%3A0/invoke",
            r#"{"inputText":"b"}"#,
            twice,
            Some("0.00002"),
        ),
    ];
    for (alias, path, sent, told, cost) in cases {
        let answer = ask(&gateway, &format!("{alias}:batchEmbedContents"), &two(alias)).await;
        answer.is(200, told);
        let last = scene.exchanges().pop().unwrap();
        assert_eq!((&*last.path, &last.body[..]), (path, sent.as_bytes()), "{alias}");
        if let Some(cost) = cost {
            assert_eq!(answer.header("x-litellm-response-cost"), Some(cost), "{alias}");
        }
    }
    let body = json!({"content": {"parts": [{"text": "a"}]}});
    let one = ask(&gateway, "titan:embedContent", &body).await;
    one.is(200, r#"{"embedding":{"values":[0.5]},"usageMetadata":{"promptTokenCount":500}}"#);
    let own = ask(&gateway, "google:embedContent", &body).await;
    assert_eq!(own.status, 200);
    assert_eq!(scene.exchanges().pop().unwrap().path, "/r/google/models/gemini-embedding-001:embedContent");
}

#[tokio::test]
async fn what_cannot_be_embedded_is_refused_in_googles_shape() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let body = json!({"content": {"parts": [{"text": "a"}]}, "taskType": "CLUSTERING"});
    let (status, name, message) = error(&ask(&gateway, "small:embedContent", &body).await);
    assert_eq!((status, &*name), (400, "INVALID_ARGUMENT"));
    assert!(message.contains("does not support `taskType`"), "{message}");
    let body = json!({"content": {"parts": [{"text": "a"}, {"inlineData": {}}]}});
    let (status, name, message) = error(&ask(&gateway, "small:embedContent", &body).await);
    assert_eq!((status, &*name), (400, "INVALID_ARGUMENT"));
    assert!(message.contains("`content.parts[1]`"), "{message}");
    let body = json!({"content": {"parts": [{"text": "a"}]}});
    let (status, name, message) = error(&ask(&gateway, "claude:embedContent", &body).await);
    assert_eq!((status, &*name), (404, "NOT_FOUND"));
    assert_eq!(message, "the model's provider cannot be asked for embeddings");
    let (status, name, _) = error(&ask(&gateway, "nobody:embedContent", &body).await);
    assert_eq!((status, &*name), (404, "NOT_FOUND"));
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn tokens_are_counted_by_google_where_it_answers_and_else_here() {
    let scene = scene().await;
    let gateway = scene.start(&[]).await;
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]});
    let own = ask(&gateway, "flash:countTokens", &body).await;
    own.is(200, r#"{"totalTokens":14,"promptTokensDetails":[]}"#);
    assert_eq!(own.header("x-ziggurat-token-count"), None);
    assert_eq!(scene.exchanges()[0].path, "/r/flash/models/gemini-2.5-flash:countTokens");
    for body in [
        body.clone(),
        json!({"generateContentRequest": {"model": "models/claude", "contents": body["contents"]}}),
    ] {
        let ours = ask(&gateway, "claude:countTokens", &body).await;
        // 3 for the answer's beginning, 3 for the turn, 1 for its role and 4 for its eleven bytes.
        ours.is(200, r#"{"totalTokens":11}"#);
        assert_eq!(ours.header("x-ziggurat-token-count"), Some("estimate"));
    }
    assert_eq!(scene.asked(), 1);
    assert_eq!(error(&ask(&gateway, "nobody:countTokens", &body).await).0, 404);
}

#[tokio::test]
async fn a_key_in_the_query_is_one_and_is_seen_nowhere() {
    let scene = scene().await;
    let gateway = scene.start_with(&[], &[("ZIGGURAT_LOG", "trace")]).await;
    let body = two("small").to_string();
    let path = "/v1beta/models/small:batchEmbedContents";
    let with = async |query: &str, headers: &[&str]| {
        post(gateway.addr, &format!("{path}?{query}"), headers, &body).await
    };
    let escaped = MASTER_KEY.replace('-', "%2D");
    for query in [format!("key={MASTER_KEY}"), format!("alt=json&key={escaped}&x=1")] {
        assert_eq!(with(&query, &[]).await.status, 200, "{query}");
        assert_eq!(with(&query, &[KEY]).await.status, 200, "{query}");
    }
    assert_eq!(scene.asked(), 4);
    for (query, headers) in [
        ("key=sk-query-canary", &[][..]),
        ("key=sk-query-canary", &[KEY]),
        (&*format!("key={MASTER_KEY}"), &["x-goog-api-key: sk-other"]),
        (&*format!("key={MASTER_KEY}&key=sk-query-canary"), &[]),
        ("api_key=sk-master-canary", &[]),
    ] {
        let refused = with(query, headers).await;
        let (status, name, message) = error(&refused);
        assert_eq!(
            (status, &*name, &*message),
            (401, "UNAUTHENTICATED", "missing or invalid API key"),
            "{query}"
        );
    }
    let elsewhere = post(gateway.addr, &format!("/v1/embeddings?key={MASTER_KEY}"), &[], &body).await;
    assert_eq!(elsewhere.status, 401);
    assert_eq!(scene.asked(), 4);
    for exchange in scene.exchanges() {
        assert_eq!(exchange.path, "/r/small/v1/embeddings");
        assert!(!format!("{:?}", exchange.headers).contains(MASTER_KEY));
    }
    let ended = gateway.stop().await;
    assert!(ended.stderr.contains("call"), "{}", ended.stderr);
    for secret in [MASTER_KEY, "sk-query-canary", &escaped] {
        assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn streams_are_one_array_unless_events_are_asked_for() {
    let claude = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude\",\"usage\":{\"input_tokens\":1}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
    );
    let end = concat!(
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    let part = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP","index":0}]}"#;
    let kind = [("content-type", "text/event-stream")];
    let mut all = Recordings::default();
    all.extend([
        Recording::synthetic("claude", 200, kind, format!("{claude}{end}")),
        Recording::synthetic("cut", 200, kind, claude),
        Recording::synthetic("flash", 200, kind, format!("data: {part}\r\n\r\n")),
    ]);
    let scene = Scene::with(all).await.model("claude", "anthropic/claude-sonnet-4-5", "claude", &[]);
    let scene = scene.model("cut", "anthropic/claude-sonnet-4-5", "cut", &[]);
    let scene = scene.model("flash", "gemini/gemini-2.5-flash", "flash", &[]).section(&guarded());
    let gateway = scene.start(&[]).await;
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]});
    let own = ask(&gateway, "flash:streamGenerateContent", &body).await;
    assert_eq!(own.header("content-type"), Some("application/json"));
    own.is(200, &format!("[{part}]"));
    let events = ask(&gateway, "flash:streamGenerateContent?alt=sse", &body).await;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    events.is(200, &format!("data: {part}\r\n\r\n"));
    let elements = async |alias: &str| {
        let answer = ask(&gateway, &format!("{alias}:streamGenerateContent"), &body).await;
        let told: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
        (answer.status, told)
    };
    let (status, told) = elements("claude").await;
    assert_eq!((status, &told[0]["candidates"][0]["content"]["parts"][0]["text"]), (200, &json!("Hi")));
    assert_eq!(told.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    let (status, told) = elements("cut").await;
    assert_eq!((status, &told[0]["candidates"][0]["content"]["parts"][0]["text"]), (200, &json!("Hi")));
    let error = &told.last().unwrap()["error"];
    assert_eq!((&error["code"], &error["status"]), (&json!(502), &json!("INTERNAL")));
    let (status, told) = elements("nobody").await;
    assert_eq!((status, told.len(), &told[0]["error"]["status"]), (404, 1, &json!("NOT_FOUND")));
    // Who calls is told before all else, and in the same form.
    let path = "/v1beta/models/flash:streamGenerateContent";
    let unknown = post(gateway.addr, path, &["x-goog-api-key: sk-x"], &body.to_string()).await;
    let told: Vec<Value> = serde_json::from_str(&unknown.body).unwrap();
    assert_eq!((unknown.status, &told[0]["error"]["status"]), (401, &json!("UNAUTHENTICATED")));
}
