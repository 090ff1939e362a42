//! Embeddings and rankings of providers whose words for them are not their callers'.

use serde_json::{Value, json};
use ziggurat_testkit::{Recording, Recordings};

use crate::{
    client::{Answer, post},
    harness::{Gateway, PROVIDER_KEY, Scene, guarded, run},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";

/// Alias, recording, `provider/model` and what the upstream answers.
const MODELS: [(&str, &str, &str); 11] = [
    ("google", "gemini/text-embedding-004", r#"{"embeddings":[{"values":[0.5]},{"values":[-1e-3]}]}"#),
    (
        "cohere",
        "cohere/embed-v4.0",
        r#"{"id":"c","embeddings":{"float":[[0.5],[-1e-3]]},"meta":{"billed_units":{"input_tokens":1000}}}"#,
    ),
    (
        "local",
        "ollama/nomic-embed-text",
        r#"{"model":"nomic-embed-text","embeddings":[[0.5],[-1e-3]],"prompt_eval_count":6}"#,
    ),
    ("titan", "bedrock/amazon.titan-embed-text-v2:0", r#"{"embedding":[0.5],"inputTextTokenCount":500}"#),
    ("aws-cohere", "bedrock/cohere.embed-english-v3", r#"{"embeddings":[[0.5],[-1e-3]]}"#),
    (
        "voyage",
        "voyage/voyage-3.5",
        r#"{"data":[{"index":0,"embedding":[0.5]},{"index":1,"embedding":[-1e-3]}],"usage":{"total_tokens":1000}}"#,
    ),
    (
        "mistral",
        "mistral/mistral-embed",
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":1000,"total_tokens":1000}}"#,
    ),
    (
        "rank",
        "cohere/rerank-v3.5",
        r#"{"id":"r","results":[{"index":1,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1}}}"#,
    ),
    (
        "rank-jina",
        "jina_ai/jina-reranker-v2-base-multilingual",
        r#"{"results":[{"index":1,"relevance_score":0.9}],"usage":{"total_tokens":1000}}"#,
    ),
    (
        "rank-voyage",
        "voyage/rerank-2.5",
        r#"{"data":[{"index":1,"relevance_score":0.9}],"usage":{"total_tokens":1000}}"#,
    ),
    ("rank-own", "huggingface/bge-reranker", r#"[{"index":1,"score":0.9},{"index":0,"score":0.1}]"#),
];

async fn scene() -> Scene {
    let json = [("content-type", "application/json")];
    let recordings = MODELS.map(|(alias, _, body)| Recording::synthetic(alias, 200, json, body));
    let mut all = Recordings::default();
    all.extend(recordings);
    let scene = Scene::with(all).await;
    MODELS.iter().fold(scene, |scene, (alias, model, _)| scene.model(alias, model, alias, &[]))
}

async fn ask(gateway: &Gateway, path: &str, body: &Value) -> Answer {
    post(gateway.addr, path, &[BEARER], &body.to_string()).await
}

fn two(alias: &str) -> Value {
    json!({"model": alias, "input": ["a", "b"]})
}

fn list(model: &str, tokens: u64) -> String {
    format!(
        r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":[0.5]}},{{"object":"embedding","index":1,"embedding":[-1e-3]}}],"model":"{model}","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#
    )
}

#[tokio::test]
async fn each_provider_is_asked_in_its_words_and_answers_in_openais() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let google = r#"{"requests":[{"model":"models/text-embedding-004","content":{"parts":[{"text":"a"}]}},{"model":"models/text-embedding-004","content":{"parts":[{"text":"b"}]}}]}"#;
    let cases = [
        // What AI Studio does not say is told as an estimate.
        (
            "google",
            "/r/google/models/text-embedding-004:batchEmbedContents",
            google,
            list("text-embedding-004", 2),
        ),
        (
            "cohere",
            "/r/cohere/v2/embed",
            r#"{"model":"embed-v4.0","texts":["a","b"],"input_type":"search_document","embedding_types":["float"]}"#,
            list("embed-v4.0", 1000),
        ),
        (
            "local",
            "/r/local/api/embed",
            r#"{"model":"nomic-embed-text","input":["a","b"]}"#,
            list("nomic-embed-text", 6),
        ),
        (
            "aws-cohere",
            "/r/aws-cohere/model/cohere.embed-english-v3/invoke",
            r#"{"texts":["a","b"],"input_type":"search_document"}"#,
            list("cohere.embed-english-v3", 2),
        ),
        (
            "voyage",
            "/r/voyage/v1/embeddings",
            r#"{"model":"voyage-3.5","input":["a","b"]}"#,
            list("voyage-3.5", 1000),
        ),
    ];
    for (at, (alias, path, body, answer)) in cases.iter().enumerate() {
        ask(&gateway, "/v1/embeddings", &two(alias)).await.is(200, answer);
        let exchange = &scene.exchanges()[at];
        assert_eq!((&*exchange.path, &exchange.body[..]), (*path, body.as_bytes()), "{alias}");
    }
    assert_eq!(scene.exchanges()[0].headers["x-goog-api-key"], PROVIDER_KEY);
    assert_eq!(scene.exchanges()[3].headers["authorization"], format!("Bearer {PROVIDER_KEY}"));
}

#[tokio::test]
async fn what_they_use_is_charged_for() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let cost = async |path: &str, body: Value| {
        let answer = ask(&gateway, path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.header("x-litellm-response-cost").map(str::to_owned)
    };
    let told = |cost: &str| Some(cost.to_owned());
    assert_eq!(cost("/v1/embeddings", two("cohere")).await, told("0.00012"));
    assert_eq!(cost("/v1/embeddings", two("voyage")).await, told("0.00006"));
    // Twice 500 tokens, of which a million cost two cents.
    assert_eq!(cost("/v1/embeddings", two("titan")).await, told("0.00002"));
    let ranked = |alias: &str| json!({"model": alias, "query": "q", "documents": ["a", "b"], "top_n": 1});
    assert_eq!(cost("/v1/rerank", ranked("rank")).await, told("0.002"));
    assert_eq!(cost("/v1/rerank", ranked("rank-jina")).await, told("0.00005"));
    assert_eq!(cost("/v1/rerank", ranked("rank-voyage")).await, told("0.00005"));
}

#[tokio::test]
async fn a_model_of_one_text_a_call_is_called_for_each() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let body = json!({"model": "titan", "input": ["a", "b"], "encoding_format": "base64"});
    let answer = ask(&gateway, "/v1/embeddings", &body).await;
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let vectors: Vec<_> = told["data"].as_array().unwrap().iter().map(|item| &item["embedding"]).collect();
    // 0.5 as a 32-bit float, the lowest byte first.
    assert_eq!((answer.status, vectors), (200, vec![&json!("AAAAPw=="), &json!("AAAAPw==")]));
    let sent: Vec<_> = scene.exchanges().iter().map(|it| (it.path.clone(), it.body.clone())).collect();
    let path = "/r/titan/model/amazon.titan-embed-text-v2%3A0/invoke".to_owned();
    let body = |text: &str| format!(r#"{{"inputText":"{text}"}}"#);
    assert_eq!(sent, [(path.clone(), body("a").into()), (path, body("b").into())]);
}

#[tokio::test]
async fn rankings_answer_at_three_paths_in_coheres_words() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let asked = |alias: &str| json!({"model": alias, "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": true});
    let cohere = r#"{"id":"r","results":[{"index":1,"relevance_score":0.9,"document":{"text":"b"}}],"meta":{"billed_units":{"search_units":1}}}"#;
    for path in ["/v1/rerank", "/v2/rerank", "/rerank"] {
        ask(&gateway, path, &asked("rank")).await.is(200, cohere);
    }
    for (alias, path, body) in [
        (
            "rank-jina",
            "/r/rank-jina/v1/rerank",
            r#"{"model":"jina-reranker-v2-base-multilingual","query":"q","documents":["a","b"],"top_n":1}"#,
        ),
        (
            "rank-voyage",
            "/r/rank-voyage/v1/rerank",
            r#"{"model":"rerank-2.5","query":"q","documents":["a","b"],"top_k":1}"#,
        ),
        ("rank-own", "/r/rank-own/rerank", r#"{"query":"q","texts":["a","b"]}"#),
    ] {
        let answer = ask(&gateway, "/v1/rerank", &asked(alias)).await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        let result = json!([{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}]);
        assert_eq!((answer.status, &told["results"]), (200, &result), "{alias}");
        let exchanges = scene.exchanges();
        let last = exchanges.last().unwrap();
        assert_eq!((&*last.path, &last.body[..]), (path, body.as_bytes()));
    }
    assert_eq!(scene.exchanges()[0].path, "/r/rank/v2/rerank");
}

#[tokio::test]
async fn a_budget_bounds_searches() {
    let budget = "litellm_settings: {max_budget: 0.003, budget_duration: 1d}\n";
    let scene = scene().await.section(&(guarded() + budget));
    let gateway = scene.start(&[]).await;
    let asked = json!({"model": "rank", "query": "q", "documents": ["a", "b"], "top_n": 1});
    assert_eq!(ask(&gateway, "/v1/rerank", &asked).await.status, 200);
    // One more search would be 0.004 dollars.
    let refused = ask(&gateway, "/v1/rerank", &asked).await;
    assert!(matches!(refused.status, 400 | 402 | 429), "{} {}", refused.status, refused.body);
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_by_name_and_nobody_is_asked() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    for (body, param) in [
        (json!({"model": "google", "input": [1, 2]}), "input"),
        (json!({"model": "google", "input": []}), "input"),
        (json!({"model": "local", "input": "a", "input_type": "query"}), "input_type"),
    ] {
        let answer = ask(&gateway, "/v1/embeddings", &body).await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &told["error"]["param"]), (400, &json!(param)), "{body}");
    }
    let chat = json!({"model": "voyage", "messages": [{"role": "user", "content": "Hi"}]});
    let answer = ask(&gateway, "/v1/chat/completions", &chat).await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.body.contains("the model's provider cannot be asked for chat completions"),
        "{}",
        answer.body
    );
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn mistrals_dimensions_have_its_name() {
    let scene = scene().await.section(&guarded());
    let gateway = scene.start(&[]).await;
    let asked = json!({"model": "mistral", "input": ["a"], "dimensions": 256});
    assert_eq!(ask(&gateway, "/v1/embeddings", &asked).await.status, 200);
    assert_eq!(
        scene.exchanges()[0].body,
        r#"{"model":"mistral-embed","input":["a"],"output_dimension":256}"#
    );
}

#[tokio::test]
async fn a_check_tells_how_they_are_asked() {
    let entry = |alias: &str, model: &str, more: &str| {
        format!("  - model_name: {alias}\n    litellm_params: {{model: {model}, api_key: k{more}}}\n")
    };
    let config = [
        "model_list:\n".to_owned(),
        entry("c", "cohere/embed-v4.0", ", input_type: search_query") + "    model_info: {mode: embedding}\n",
        entry("t", "bedrock/amazon.titan-embed-text-v2:0", ""),
        entry("o", "openai/text-embedding-3-small", ""),
        entry("r", "cohere/rerank-v3.5", ""),
        entry("h", "huggingface/own", ", api_base: 'http://127.0.0.1:8080'"),
    ];
    let checked = run(&config.concat(), &["check", "--config", "config.yaml"], &[]).await;
    let rest = "key set; parameters it does not take are refused";
    for line in [
        format!(
            "c: cohere/embed-v4.0 by Cohere's embed; embeddings; {rest}; input $0.12, output $0 per million tokens\n"
        ),
        format!(
            "t: bedrock/amazon.titan-embed-text-v2:0 by Bedrock's InvokeModel, a text a call; embeddings; {rest}; input $0.02, output $0 per million tokens\n"
        ),
        format!(
            "o: openai/text-embedding-3-small by OpenAI's embeddings; embeddings; {rest}; input $0.02, output $0 per million tokens\n"
        ),
        format!(
            "r: cohere/rerank-v3.5 by a rerank API; rerankings; {rest}; input $0, output $0 per million tokens, $0.002 a search\n"
        ),
        format!(
            "h: huggingface/own embeddings and rankings alone; {rest}; no price: refused where a budget applies\n"
        ),
    ] {
        assert!(checked.stdout.contains(&line), "{line}{}", checked.stdout);
    }
    // Nothing in it deserves a warning.
    assert_eq!(
        (checked.code, checked.stdout.matches(": warning: ").count()),
        (Some(0), 0),
        "{}",
        checked.stdout
    );
}
