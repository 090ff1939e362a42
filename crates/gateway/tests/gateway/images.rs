//! Images of providers whose words for them are not OpenAI's.

use serde_json::{Value, json};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::{Answer, post},
    harness::{Gateway, PROVIDER_KEY, Scene, guarded, run},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";

/// Alias, `provider/model`, status and what the upstream answers.
const MODELS: [(&str, &str, u16, &str); 9] = [
    (
        "gemini",
        "gemini/gemini-2.5-flash-image",
        200,
        r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":1290,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290}]}}"#,
    ),
    (
        "imagen",
        "gemini/imagen-3.0-generate-001",
        200,
        r#"{"predictions":[{"mimeType":"image/png","bytesBase64Encoded":"AA=="},{"mimeType":"image/png","bytesBase64Encoded":"AQ=="}]}"#,
    ),
    ("nova", "bedrock/amazon.nova-canvas-v1:0", 200, r#"{"images":["AA=="],"error":null}"#),
    (
        "stability",
        "bedrock/stability.stable-image-core-v1:1",
        200,
        r#"{"seeds":[1],"finish_reasons":[null],"images":["AA=="]}"#,
    ),
    (
        "blocked",
        "gemini/gemini-2.5-flash-image",
        200,
        r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":10}}"#,
    ),
    ("filtered", "gemini/imagen-3.0-generate-001", 200, "{}"),
    (
        "shy",
        "gemini/gemini-2.5-flash-image",
        200,
        r#"{"candidates":[{"content":{"parts":[{"text":"I would rather not."}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":4}}"#,
    ),
    (
        "wrong",
        "bedrock/amazon.nova-canvas-v1:0",
        400,
        r#"{"message":"Malformed input request: width must be a multiple of 16."}"#,
    ),
    ("busy", "bedrock/stability.stable-image-core-v1:1", 429, r#"{"message":"Too many requests"}"#),
];

async fn scene() -> Scene {
    let json = [("content-type", "application/json")];
    let mut all = Recordings::default();
    all.extend(MODELS.map(|(alias, _, status, body)| Recording::synthetic(alias, status, json, body)));
    let scene = Scene::with(all).await;
    MODELS.iter().fold(scene, |scene, (alias, model, ..)| scene.model(alias, model, alias, &[]))
}

async fn draw(gateway: &Gateway, body: &Value) -> Answer {
    post(gateway.addr, "/v1/images/generations", &[BEARER], &body.to_string()).await
}

/// Status, and the error's type, code, parameter and message.
fn told(answer: &Answer) -> (u16, Value, Value, Value, String) {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let error = &body["error"];
    let message = error["message"].as_str().unwrap().to_owned();
    (answer.status, error["type"].clone(), error["code"].clone(), error["param"].clone(), message)
}

#[tokio::test]
async fn each_provider_is_asked_in_its_words_and_answers_in_openais_at_its_price() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let cases = [
        (
            json!({"model": "gemini", "prompt": "a cat", "size": "1536x1024"}),
            "/r/gemini/models/gemini-2.5-flash-image:generateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"a cat"}]}],"generationConfig":{"responseModalities":["IMAGE"],"imageConfig":{"aspectRatio":"3:2"}}}"#,
            r#""data":[{"b64_json":"AA=="}],"output_format":"png","usage":{"input_tokens":10,"input_tokens_details":{"image_tokens":0,"text_tokens":10},"output_tokens":1290,"total_tokens":1300}}"#,
            // 1,290 tokens at 30 dollars a million, and ten of the prompt.
            "0.038703",
        ),
        (
            json!({"model": "imagen", "prompt": "a cat", "n": 2, "response_format": "b64_json"}),
            "/r/imagen/models/imagen-3.0-generate-001:predict",
            r#"{"instances":[{"prompt":"a cat"}],"parameters":{"sampleCount":2,"includeRaiReason":true}}"#,
            r#""data":[{"b64_json":"AA=="},{"b64_json":"AQ=="}],"output_format":"png"}"#,
            "0.08",
        ),
        (
            json!({"model": "nova", "prompt": "a cat", "size": "1280x720", "quality": "high"}),
            "/r/nova/model/amazon.nova-canvas-v1%3A0/invoke",
            r#"{"taskType":"TEXT_IMAGE","textToImageParams":{"text":"a cat"},"imageGenerationConfig":{"numberOfImages":1,"width":1280,"height":720,"quality":"premium"}}"#,
            r#""data":[{"b64_json":"AA=="}]}"#,
            "0.06",
        ),
        (
            json!({"model": "stability", "prompt": "a cat", "size": "1024x1536", "user": "u"}),
            "/r/stability/model/stability.stable-image-core-v1%3A1/invoke",
            r#"{"prompt":"a cat","aspect_ratio":"2:3"}"#,
            r#""data":[{"b64_json":"AA=="}]}"#,
            "0.04",
        ),
    ];
    for (at, (asked, path, body, list, cost)) in cases.iter().enumerate() {
        let answer = draw(&gateway, asked).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.starts_with(r#"{"created":"#) && answer.body.ends_with(list), "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-litellm-response-cost"), Some(*cost));
        let exchange = &scene.exchanges()[at];
        assert_eq!((&*exchange.path, &exchange.body[..]), (*path, body.as_bytes()));
    }
    assert_eq!(scene.exchanges()[0].headers["x-goog-api-key"], PROVIDER_KEY);
    assert_eq!(scene.exchanges()[2].headers["authorization"], format!("Bearer {PROVIDER_KEY}"));
    assert_eq!(scene.exchanges()[2].headers["accept"], "application/json");
}

#[tokio::test]
async fn a_provider_that_draws_one_at_a_time_is_asked_for_each() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let answer = draw(&gateway, &json!({"model": "gemini", "prompt": "a cat", "n": 3})).await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let image = json!({"b64_json": "AA=="});
    assert_eq!((answer.status, &body["data"]), (200, &json!([image, image, image])));
    assert_eq!((&body["usage"]["input_tokens"], &body["usage"]["output_tokens"]), (&json!(30), &json!(3870)));
    assert_eq!((answer.header("x-litellm-response-cost"), scene.asked()), (Some("0.116109"), 3));
}

#[tokio::test]
async fn what_a_provider_lacks_is_refused_by_name_or_dropped() {
    let asked = json!({
        "model": "imagen", "prompt": "a", "n": 2, "response_format": "url", "quality": "hd", "size": "1536x1024"
    });
    let strict = scene().await.section(&guarded());
    let gateway = strict.start(&[]).await;
    let (status, _, code, param, message) = told(&draw(&gateway, &asked).await);
    assert_eq!((status, code, param), (400, json!("unsupported_parameter"), json!("size")));
    assert!(message.contains("does not support `size`, `response_format`, `quality`"), "{message}");
    for (body, param) in [
        (json!({"model": "gemini", "prompt": "a", "stream": true}), "stream"),
        (json!({"model": "gemini", "prompt": "a", "n": 11}), "n"),
        (json!({"model": "gemini", "size": "1024x1024"}), "prompt"),
        (json!({"model": "nova", "prompt": "a", "n": 6}), "n"),
        (json!({"model": "nova", "prompt": "a", "size": "big"}), "size"),
    ] {
        let (status, kind, _, own, _) = told(&draw(&gateway, &body).await);
        assert_eq!((status, kind, own), (400, json!("invalid_request_error"), json!(param)), "{body}");
    }
    assert_eq!(strict.asked(), 0);

    let lenient = scene().await.section(&(guarded() + "litellm_settings: {drop_params: true}\n"));
    let gateway = lenient.start(&[]).await;
    assert_eq!(draw(&gateway, &asked).await.status, 200);
    assert_eq!(
        lenient.exchanges()[0].body,
        r#"{"instances":[{"prompt":"a"}],"parameters":{"sampleCount":2,"includeRaiReason":true}}"#
    );
}

#[tokio::test]
async fn a_failure_is_told_by_its_cause() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let policy = "the provider's content policy forbids the prompt, or what it drew";
    let cases = [
        ("blocked", 400, json!("content_policy_violation"), policy),
        ("filtered", 400, json!("content_policy_violation"), policy),
        ("shy", 502, json!("upstream_error"), "the provider answered without an image"),
        ("wrong", 400, json!(null), "Malformed input request: width must be a multiple of 16."),
        ("busy", 429, json!("rate_limit_exceeded"), "Too many requests"),
    ];
    for (alias, status, code, message) in cases {
        let answer = draw(&gateway, &json!({"model": alias, "prompt": "a cat"})).await;
        let (got, _, told, _, said) = told(&answer);
        assert_eq!((got, told, &*said), (status, code, message), "{alias}");
    }
}

#[tokio::test]
async fn a_budget_sets_aside_no_less_than_is_charged() {
    let budget =
        |most: &str| guarded() + &format!("litellm_settings: {{max_budget: {most}, budget_duration: 1d}}\n");
    // Two images cost 0.08 dollars.
    let two = json!({"model": "imagen", "prompt": "a", "n": 2});
    let scene = scene().await.section(&budget("0.15"));
    let gateway = scene.start(&[]).await;
    assert_eq!(draw(&gateway, &two).await.status, 200);
    let refused = draw(&gateway, &two).await;
    assert_eq!((refused.status, scene.asked()), (429, 1), "{}", refused.body);
    // Whatever the caller says of the quality, which nobody asks the provider for.
    let lenient = budget("0.05").replace("{max_budget", "{drop_params: true, max_budget");
    let scene = self::scene().await.section(&lenient);
    let gateway = scene.start(&[]).await;
    let low = json!({"model": "gemini", "prompt": "a", "quality": "low"});
    assert_eq!((draw(&gateway, &low).await.status, scene.asked()), (429, 0));
}

#[tokio::test]
async fn models_that_do_not_draw_are_not_asked() {
    let scene = scene().await.model("chat", "gemini/gemini-2.5-flash", "gemini", &[]);
    let scene = scene.model("paint", "bedrock/stability.stable-image-inpaint-v1:0", "stability", &[]);
    let scene = scene.section(&guarded());
    let gateway = scene.start(&[]).await;
    for alias in ["chat", "paint"] {
        let (status, _, _, _, message) = told(&draw(&gateway, &json!({"model": alias, "prompt": "a"})).await);
        assert_eq!((status, &*message), (404, "the model's provider cannot be asked for images"), "{alias}");
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn a_check_tells_how_they_are_asked() {
    let entry = |alias: &str, model: &str| {
        format!("  - model_name: {alias}\n    litellm_params: {{model: {model}, api_key: k}}\n")
    };
    let config = [
        "model_list:\n".to_owned(),
        entry("g", "gemini/gemini-2.5-flash-image"),
        entry("i", "gemini/imagen-3.0-generate-001"),
        entry("a", "bedrock/amazon.nova-canvas-v1:0"),
        entry("s", "bedrock/stability.stable-image-ultra-v1:1"),
        entry("o", "openai/gpt-image-1"),
    ];
    let checked = run(&config.concat(), &["check", "--config", "config.yaml"], &[]).await;
    for line in [
        "g: gemini/gemini-2.5-flash-image by Google's generateContent, an image a call; images; key set;",
        "i: gemini/imagen-3.0-generate-001 by Google's predict; images; key set;",
        "a: bedrock/amazon.nova-canvas-v1:0 by Bedrock's InvokeModel; images; key set;",
        "s: bedrock/stability.stable-image-ultra-v1:1 by Bedrock's InvokeModel, an image a call; images; key set;",
        "o: openai/gpt-image-1 by OpenAI's images; images; key set;",
    ] {
        assert!(checked.stdout.contains(line), "{line}\n{}", checked.stdout);
    }
}
