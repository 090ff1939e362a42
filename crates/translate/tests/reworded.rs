//! Embeddings, rankings and images of providers whose words for them are not their callers'.

mod support;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
};

use http::{HeaderName, Request, Response};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use ziggurat_core::{
    Attempt, Body, Dialect, Operation, Outcome, ParamPolicy, Quirks, Rejection, Served, Target, Wording,
};
use ziggurat_testkit::read_body;
use ziggurat_translate::TranslateLayer;

use crate::support::*;

fn request(path: &str, body: &str) -> Request<Body> {
    Request::post(path).body(Body::from(body.to_owned())).expect("is a request")
}

fn embedding(dialect: Dialect, model: &str, wording: Wording) -> Target {
    let target = Target::new("p", dialect, model, "https://p.example/chat").expect("is a URL");
    target.serves_as(Operation::Embeddings, "https://p.example/embed", wording).expect("is a URL")
}

fn ranking(wording: Wording) -> Target {
    let target = Target::new("p", Dialect::Cohere, "rank", "https://p.example/chat").expect("is a URL");
    target.serves_as(Operation::Rerank, "https://p.example/rerank", wording).expect("is a URL")
}

fn drawing(dialect: Dialect, wording: Wording) -> Target {
    let target = Target::new("p", dialect, "imagen-4", "https://p.example/chat").expect("is a URL");
    target.serves_as(Operation::Images, "https://p.example/draw", wording).expect("is a URL")
}

/// What several answers of one upstream came to.
struct Several {
    sent: Vec<(http::HeaderMap, String)>,
    status: u16,
    body: serde_json::Value,
    extensions: http::Extensions,
    attempts: Vec<Attempt>,
}

async fn several(target: Target, body: &str, answers: Vec<Response<Body>>) -> Several {
    several_at("/v1/embeddings", target, body, answers).await
}

async fn several_at(path: &str, target: Target, body: &str, answers: Vec<Response<Body>>) -> Several {
    let recorder: Arc<Recorder> = Arc::default();
    let mut asked = request(path, body);
    let (_meter, end) = recorder.join(&mut asked);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (keep, answers) = (Arc::clone(&sent), Arc::new(Mutex::new(VecDeque::from(answers))));
    let upstream = service_fn(move |request: Request<Body>| {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8(body.as_bytes().expect("is whole").to_vec()).expect("is UTF-8");
        keep.lock().expect("is sound").push((parts.headers, body));
        let answer = answers.lock().expect("is sound").pop_front().expect("has an answer left");
        ready(Ok::<_, Infallible>(answer))
    });
    // That no call is made on a service that is not ready.
    let upstream = tower::limit::ConcurrencyLimit::new(upstream, 1);
    let layer = TranslateLayer::new().target(target);
    let Ok(response) = layer.layer(upstream).oneshot(asked).await;
    let (parts, body) = response.into_parts();
    let body = serde_json::from_str(&read_body(body).await.0).expect("is JSON");
    drop(end);
    let sent = sent.lock().expect("is sound").clone();
    let attempts = recorder.ends()[0].clone();
    Several { sent, status: parts.status.as_u16(), body, extensions: parts.extensions, attempts }
}

#[tokio::test]
async fn vectors_come_back_in_openais_words_and_what_they_used_is_told() {
    let recorder: Arc<Recorder> = Arc::default();
    let mut asked = request("/v1/embeddings", r#"{"model":"alias","input":["a","b"],"user":"u"}"#);
    let (_meter, end) = recorder.join(&mut asked);
    let answer = r#"{"model":"nomic","embeddings":[[0.5],[1e-3]],"prompt_eval_count":4}"#;
    let target = embedding(Dialect::Ollama, "nomic", Wording::OllamaEmbed);
    let exchange = exchange(target, asked, json(answer)).await;
    drop(end);
    assert_eq!(exchange.sent().parts.uri, "https://p.example/embed");
    assert_eq!(exchange.sent().header("accept"), Some("application/json"));
    assert_eq!(exchange.sent().body, r#"{"model":"nomic","input":["a","b"]}"#);
    assert_eq!(exchange.status, 200);
    assert_eq!(exchange.header("content-type"), Some("application/json"));
    assert_eq!(
        exchange.body,
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]},{"object":"embedding","index":1,"embedding":[1e-3]}],"model":"nomic","usage":{"prompt_tokens":4,"total_tokens":4}}"#
    );
    let attempt = &recorder.ends()[0][0];
    assert_eq!(attempt.usage.map(|usage| (usage.input, usage.output)), Some((Some(4), Some(0))));
    assert_eq!((attempt.outcome, attempt.content_begun), (Some(Outcome::Complete), false));
}

#[tokio::test]
async fn a_provider_of_one_text_a_call_is_asked_for_each_and_it_is_one_attempt() {
    let target = embedding(Dialect::Converse, "amazon.titan-embed-text-v2:0", Wording::TitanEmbed)
        .key(HeaderName::from_static("x-key"), "secret-of-ours")
        .expect("is a header");
    let body = r#"{"model":"alias","input":["a","b","c"]}"#;
    let answer = |n: u32| json(format!(r#"{{"embedding":[{n}],"inputTextTokenCount":{n}}}"#));
    let done = several(target, body, vec![answer(1), answer(2), answer(3)]).await;
    let bodies: Vec<_> = done.sent.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(bodies, [r#"{"inputText":"a"}"#, r#"{"inputText":"b"}"#, r#"{"inputText":"c"}"#]);
    assert!(done.sent.iter().all(|(headers, _)| headers["x-key"] == "secret-of-ours"));
    assert_eq!(done.status, 200);
    let vectors: Vec<_> = done.body["data"]
        .as_array()
        .expect("is a list")
        .iter()
        .map(|item| item["embedding"][0].clone())
        .collect();
    assert_eq!(vectors, [json!(1), json!(2), json!(3)]);
    assert_eq!(done.body["usage"], json!({"prompt_tokens": 6, "total_tokens": 6}));
    assert_eq!(done.body["model"], "amazon.titan-embed-text-v2:0");
    assert!(done.extensions.get::<Served>().is_some());
    let [attempt] = &done.attempts[..] else { panic!("one attempt") };
    assert_eq!(attempt.usage.and_then(|usage| usage.input), Some(6));
    assert_eq!(attempt.outcome, Some(Outcome::Complete));
}

#[tokio::test]
async fn more_texts_than_a_provider_takes_are_several_calls_and_one_answer() {
    let mut quirks = Quirks::default();
    quirks.refuses = ["truncate".to_owned()].into();
    let mut policy = ParamPolicy::default();
    policy.drop_params = true;
    // A provider whose chats are OpenAI's, and which takes no `truncate`.
    let target = embedding(Dialect::OpenAi, "embed", Wording::CohereEmbed).quirks(quirks).policy(policy);
    let texts: Vec<_> = (0..193).map(|n| format!("{n}.")).collect();
    let body = json!({"model": "alias", "input": texts, "truncate": "END"}).to_string();
    let answer = |numbers: std::ops::Range<usize>| {
        let vectors: Vec<_> = numbers.map(|n| [n]).collect();
        json(
            json!({"embeddings": {"float": vectors}, "meta": {"billed_units": {"input_tokens": 5}}})
                .to_string(),
        )
    };
    let done = several(target, &body, vec![answer(0..96), answer(96..192), answer(192..193)]).await;
    let sent = |texts: &[String]| {
        let texts = json!(texts);
        format!(
            r#"{{"model":"embed","texts":{texts},"input_type":"search_document","embedding_types":["float"]}}"#
        )
    };
    let bodies: Vec<_> = done.sent.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(bodies, [sent(&texts[..96]), sent(&texts[96..192]), sent(&texts[192..])]);
    assert_eq!(done.status, 200);
    let data = done.body["data"].as_array().expect("is a list");
    let vectors: Vec<_> = data.iter().map(|item| item["embedding"][0].as_u64()).collect();
    assert_eq!(vectors, (0..193).map(Some).collect::<Vec<_>>());
    assert_eq!(done.body["usage"], json!({"prompt_tokens": 15, "total_tokens": 15}));
    let [attempt] = &done.attempts[..] else { panic!("one attempt") };
    assert_eq!(attempt.usage.and_then(|usage| usage.input), Some(15));
}

#[tokio::test]
async fn a_failure_among_several_is_the_answer_and_what_came_before_is_paid_for() {
    let target = || embedding(Dialect::Converse, "amazon.titan-embed-text-v1", Wording::TitanEmbed);
    let body = r#"{"model":"alias","input":["a","b","c"]}"#;
    let first = || json(r#"{"embedding":[1],"inputTextTokenCount":5}"#);
    let slow = || answering(429, "application/json", r#"{"message":"slow down"}"#);
    let bad = || json(r#"{"embedding":[],"inputTextTokenCount":5}"#);
    let refusal =
        || Rejection::new(ziggurat_core::Cause::Overloaded, "no more").into_response(Dialect::OpenAi);
    for (second, status, outcome) in
        [(slow(), 429, Outcome::Failed), (bad(), 502, Outcome::Truncated), (refusal(), 503, Outcome::Stopped)]
    {
        let done = several(target(), body, vec![first(), second]).await;
        assert_eq!((done.status, done.sent.len()), (status, 2), "{}", done.body);
        let [attempt] = &done.attempts[..] else { panic!("one attempt") };
        assert_eq!(attempt.usage.and_then(|usage| usage.input), Some(5));
        assert_eq!((attempt.sent, attempt.outcome), (true, Some(outcome)));
    }
    let done = several(target(), body, vec![slow()]).await;
    assert_eq!((done.status, done.sent.len(), done.attempts[0].usage), (429, 1, None));
}

#[tokio::test]
async fn what_some_of_several_answers_state_is_no_statement_for_all() {
    let target = || embedding(Dialect::Converse, "amazon.titan-embed-text-v1", Wording::TitanEmbed);
    let body = r#"{"model":"alias","input":["abc","abcdef"]}"#;
    let (stated, silent) = (r#"{"embedding":[1],"inputTextTokenCount":5}"#, r#"{"embedding":[1]}"#);
    for answers in [[stated, silent], [silent, stated]] {
        let done = several(target(), body, answers.map(json).into()).await;
        // The caller is told an estimate, as clients need a number there.
        assert_eq!((done.status, &done.body["usage"]["prompt_tokens"]), (200, &json!(3)));
        assert_eq!(done.attempts[0].usage, None, "{answers:?}");
    }
    let done = several(target(), body, vec![json(stated), json(stated)]).await;
    assert_eq!(done.attempts[0].usage.and_then(|usage| usage.input), Some(10));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_also_with_a_good_status() {
    for (answer, message) in [
        (r#"{"embeddings":[[1]]}"#, "the provider answered with JSON that is no answer"),
        (
            r#"{"error":"model 'nomic' not found, try pulling it first"}"#,
            "model 'alias' not found, try pulling it first",
        ),
        ("<html>", "the provider answered with HTML"),
        ("", "the provider answered with nothing"),
    ] {
        let asked = request("/v1/embeddings", r#"{"input":["a","b"],"model":"alias"}"#);
        let target = embedding(Dialect::Ollama, "nomic", Wording::OllamaEmbed);
        let exchange = exchange(target, asked, json(answer)).await;
        assert!(!exchange.status.is_success(), "{answer}");
        assert_eq!(exchange.json()["error"]["message"], message);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_by_name_and_nobody_is_asked() {
    for (body, param) in [
        (r#"{"model":"alias","input":[]}"#, "input"),
        (r#"{"model":"alias","input":7}"#, "input"),
        (r#"{"model":"alias","input":[1,2]}"#, "input"),
        (r#"{"model":"alias","input":["a",[1]]}"#, "input[1]"),
        (r#"{"model":"alias","input":"a","input_type":"search_query"}"#, "input_type"),
    ] {
        let target = embedding(Dialect::Ollama, "nomic", Wording::OllamaEmbed);
        let exchange = exchange(target, request("/v1/embeddings", body), json("{}")).await;
        assert!(exchange.sent.is_none(), "{body}");
        assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["param"]), (400, &json!(param)));
    }
}

#[tokio::test]
async fn an_operators_words_and_policy_hold_for_embeddings() {
    let mut policy = ParamPolicy::default();
    policy.drop_params = true;
    policy.additional_drop_params = ["dimensions".to_owned()].into();
    let defaults = [("input_type", r#""search_query""#), ("temperature", "1")];
    let target = embedding(Dialect::Cohere, "embed-v4.0", Wording::CohereEmbed)
        .policy(policy)
        .defaults(defaults.map(|(name, json)| (name.to_owned(), json.to_owned())));
    let asked = request("/v1/embeddings", r#"{"model":"alias","input":"a","dimensions":9,"title":"t"}"#);
    let exchange = exchange(target, asked, json(r#"{"embeddings":{"float":[[1]]}}"#)).await;
    assert_eq!(
        exchange.sent().body,
        r#"{"model":"embed-v4.0","texts":["a"],"input_type":"search_query","embedding_types":["float"]}"#
    );
    assert_eq!(exchange.status, 200);
}

#[tokio::test]
async fn a_row_renames_what_plain_vectors_are_asked_for_with() {
    let mut quirks = Quirks::default();
    quirks.renames = [("dimensions".to_owned(), "output_dimension".to_owned())].into();
    let target = embedding(OPENAI, "voyage-3.5", Wording::PlainEmbed).quirks(quirks);
    let asked = request(
        "/v1/embeddings",
        r#"{"model":"alias","input":"a","dimensions":1,"encoding_format":"base64"}"#,
    );
    let answer = r#"{"data":[{"embedding":[1],"index":0}],"model":"voyage-3.5","usage":{"total_tokens":3}}"#;
    let exchange = exchange(target, asked, json(answer)).await;
    assert_eq!(exchange.sent().body, r#"{"model":"voyage-3.5","input":["a"],"output_dimension":1}"#);
    assert_eq!(exchange.json()["data"][0]["embedding"], "AACAPw==");
    assert_eq!(exchange.json()["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
}

#[tokio::test]
async fn rankings_come_back_in_coheres_words() {
    let recorder: Arc<Recorder> = Arc::default();
    let body =
        r#"{"model":"alias","query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true}"#;
    let mut asked = request("/v2/rerank", body);
    let (_meter, end) = recorder.join(&mut asked);
    let answer = r#"{"id":"c","results":[{"index":1,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1}}}"#;
    let exchange = exchange(ranking(Wording::Rerank), asked, json(answer)).await;
    drop(end);
    assert_eq!(exchange.sent().parts.uri, "https://p.example/rerank");
    assert_eq!(exchange.sent().body, r#"{"model":"rank","query":"q","documents":["a","b"],"top_n":1}"#);
    assert_eq!(
        (exchange.status.as_u16(), &*exchange.body),
        (
            200,
            r#"{"id":"c","results":[{"index":1,"relevance_score":0.9,"document":{"text":"b"}}],"meta":{"billed_units":{"search_units":1}}}"#
        )
    );
    let attempt = &recorder.ends()[0][0];
    assert_eq!(attempt.usage.and_then(|usage| usage.search_units), Some(1));
    assert_eq!(attempt.outcome, Some(Outcome::Complete));
}

#[tokio::test]
async fn a_ranking_without_an_id_is_given_one_and_a_short_one_is_an_error() {
    let body = r#"{"model":"alias","query":"q","documents":["a","b"]}"#;
    let whole = r#"[{"index":1,"score":0.9},{"index":0,"score":0.1}]"#;
    let answered = exchange(ranking(Wording::RerankTexts), request("/v1/rerank", body), json(whole)).await;
    assert_eq!(answered.sent().body, r#"{"query":"q","texts":["a","b"]}"#);
    assert!(answered.json()["id"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(answered.json()["results"].as_array().map(Vec::len), Some(2));
    let short = r#"[{"index":1,"score":0.9}]"#;
    let answered = exchange(ranking(Wording::RerankTexts), request("/v1/rerank", body), json(short)).await;
    assert_eq!(answered.status, 502);
}

#[tokio::test]
async fn an_error_of_a_reranker_is_told_in_the_callers_dialect() {
    let body = r#"{"model":"alias","query":"q","documents":["a"]}"#;
    let answer = answering(401, "application/json", r#"{"message":"invalid api token"}"#);
    let exchange = exchange(ranking(Wording::Rerank), request("/v1/rerank", body), answer).await;
    assert_eq!(
        (exchange.status.as_u16(), &exchange.json()["error"]["code"]),
        (401, &json!("invalid_api_key"))
    );
}

#[tokio::test]
async fn images_come_back_in_openais_words_and_are_counted() {
    let body = r#"{"model":"alias","prompt":"a","n":6,"user":"u"}"#;
    let answer = |count: usize| {
        let image = json!({"mimeType": "image/png", "bytesBase64Encoded": "AA=="});
        json(json!({"predictions": vec![image; count]}).to_string())
    };
    let target = || drawing(Dialect::Gemini, Wording::PredictImages);
    let path = "/v1/images/generations";
    let done = several_at(path, target(), body, vec![answer(4), answer(2)]).await;
    let sent = |count: usize| {
        format!(
            r#"{{"instances":[{{"prompt":"a"}}],"parameters":{{"sampleCount":{count},"includeRaiReason":true}}}}"#
        )
    };
    let bodies: Vec<_> = done.sent.iter().map(|(_, body)| body.clone()).collect();
    assert_eq!((done.status, bodies), (200, vec![sent(4), sent(2)]));
    assert_eq!(done.body["data"], json!(vec![json!({"b64_json": "AA=="}); 6]));
    assert!(done.body["created"].is_u64() && done.body["output_format"] == "png");
    let [attempt] = &done.attempts[..] else { panic!("one attempt") };
    let usage = attempt.usage.expect("is told");
    assert_eq!((usage.images, usage.input, attempt.outcome), (Some(6), None, Some(Outcome::Complete)));
    // Of what was kept back the rest is told; of all of it, why.
    let none = || json("{}");
    let fewer = several_at(path, target(), body, vec![none(), answer(1)]).await;
    assert_eq!((fewer.status, fewer.body["data"].as_array().map(Vec::len)), (200, Some(1)));
    let nothing = several_at(path, target(), body, vec![none(), none()]).await;
    assert_eq!((nothing.status, &nothing.body["error"]["code"]), (400, &json!("content_policy_violation")));
    let [attempt] = &nothing.attempts[..] else { panic!("one attempt") };
    assert_eq!(
        (attempt.usage.and_then(|usage| usage.images), attempt.outcome),
        (Some(0), Some(Outcome::Failed))
    );
    let problem = attempt.problem.as_ref().map(|problem| problem.cause);
    assert_eq!(problem, Some(ziggurat_core::Cause::ContentPolicy));
}

#[tokio::test]
async fn a_provider_that_draws_nothing_has_failed() {
    let body = r#"{"model":"alias","prompt":"a"}"#;
    let target = || drawing(Dialect::Gemini, Wording::GenerateImages);
    for (answer, message) in [
        (r#"{"candidates":[{"finishReason":"STOP"}]}"#, "the provider answered without an image"),
        ("{}", "the provider answered with JSON that is no answer"),
        ("<html>", "the provider answered with HTML"),
    ] {
        let exchange = exchange(target(), request("/v1/images/generations", body), json(answer)).await;
        assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["message"]), (502, &json!(message)));
    }
}

#[tokio::test]
async fn a_target_that_only_embeds_has_no_conversations() {
    let target = embedding(OPENAI, "m", Wording::PlainEmbed).without_conversations();
    let exchange = exchange(target, post(OPENAI, hello(OPENAI, false)), json("{}")).await;
    assert!(exchange.sent.is_none());
    assert_eq!(exchange.status, 404);
    assert_eq!(
        exchange.json()["error"]["message"],
        "the model's provider cannot be asked for chat completions"
    );
}

const GOOGLE: Dialect = Dialect::Gemini;

#[tokio::test]
async fn googles_callers_are_given_the_embeddings_of_a_provider_with_openais_words() {
    let target = Target::new("p", OPENAI, "small", "https://p.example/chat").expect("is a URL");
    let target = target.serves(Operation::Embeddings, "https://p.example/embed").expect("is a URL");
    let body = r#"{"model":"models/alias","content":{"parts":[{"text":"a"}]},"outputDimensionality":1}"#;
    let asked = request("/v1beta/models/alias:embedContent?key=sk-caller", body);
    let answer = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"small","usage":{"prompt_tokens":1,"total_tokens":1}}"#;
    let done = exchange(target.clone(), asked, json(answer)).await;
    assert_eq!(done.sent().parts.uri, "https://p.example/embed");
    assert_eq!(done.sent().body, r#"{"model":"small","input":["a"],"dimensions":1}"#);
    assert_eq!(
        (done.status.as_u16(), &*done.body),
        (200, r#"{"embedding":{"values":[0.5]},"usageMetadata":{"promptTokenCount":1}}"#)
    );
    // What the operator drops and gives is said in OpenAI's words.
    let mut policy = ParamPolicy::default();
    policy.additional_drop_params = ["dimensions".to_owned(), "task_type".to_owned()].into();
    let given = [("normalize".to_owned(), "true".to_owned()), ("temperature".to_owned(), "1".to_owned())];
    let body = r#"{"content":{"parts":[{"text":"a"}]},"outputDimensionality":1,"taskType":"CLUSTERING"}"#;
    let asked = request("/v1beta/models/alias:embedContent", body);
    let done = exchange(target.clone().policy(policy).defaults(given), asked, json(answer)).await;
    assert_eq!(done.sent().body, r#"{"model":"small","input":["a"],"normalize":true}"#);
    // What the provider does not take, and what goes wrong there, is told in Google's shape.
    let body = r#"{"content":{"parts":[{"text":"a"}]},"taskType":"CLUSTERING"}"#;
    let refused =
        exchange(target.clone(), request("/v1beta/models/a:embedContent", body), json(answer)).await;
    assert_eq!((refused.status.as_u16(), refused.sent.is_none()), (400, true));
    let error = serde_json::from_str::<serde_json::Value>(&refused.body).expect("is JSON");
    assert_eq!(error["error"]["status"], "INVALID_ARGUMENT", "{error}");
    let message = error["error"]["message"].as_str().expect("is a string");
    assert!(message.contains("`taskType`"), "{message}");
    let mut failed =
        json(r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#);
    *failed.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
    let body = r#"{"requests":[{"content":{"parts":[{"text":"a"}]}}]}"#;
    let failed = exchange(target, request("/v1beta/models/a:batchEmbedContents", body), failed).await;
    let error = serde_json::from_str::<serde_json::Value>(&failed.body).expect("is JSON");
    assert_eq!((failed.status.as_u16(), &error["error"]["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
}

#[tokio::test]
async fn googles_own_words_pass_with_the_models_name_alone_changed() {
    let target = Target::new("p", GOOGLE, "embed-1", "https://p.example/chat").expect("is a URL");
    let target = target
        .names_model_in_url()
        .serves(Operation::EmbedContent, "https://p.example/one")
        .and_then(|it| it.serves(Operation::BatchEmbedContents, "https://p.example/batch"))
        .and_then(|it| it.serves(Operation::CountContent, "https://p.example/count"))
        .and_then(|it| {
            it.serves_as(Operation::Embeddings, "https://p.example/batch", Wording::BatchEmbedContents)
        })
        .expect("are URLs");
    let recorder: Arc<Recorder> = Arc::default();
    let cases = [
        (
            "embedContent",
            r#"{ "model":"models/alias", "content":{"parts":[{"inlineData":{}}]}, "newer":1 }"#,
            ("one", r#"{ "content":{"parts":[{"inlineData":{}}]}, "newer":1 }"#),
            r#"{"embedding": {"values":[ 1 ]}, "usageMetadata": {"promptTokenCount": 7}}"#,
        ),
        (
            "batchEmbedContents",
            r#"{"requests":[ {"model":"models/alias","content":{"parts":[{"text":"model"}]}}, {"content":{},"model":"x"}]}"#,
            (
                "batch",
                r#"{"requests":[ {"model":"models/embed-1","content":{"parts":[{"text":"model"}]}}, {"content":{},"model":"models/embed-1"}]}"#,
            ),
            r#"{"embeddings":[{"values":[1]}]}"#,
        ),
        (
            "countTokens",
            r#"{"generateContentRequest":{"model":"models/alias","contents":[{"parts":[{"text":"a"}]}]}}"#,
            (
                "count",
                r#"{"generateContentRequest":{"model":"models/embed-1","contents":[{"parts":[{"text":"a"}]}]}}"#,
            ),
            r#"{"totalTokens":3}"#,
        ),
        (
            "countTokens",
            r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
            ("count", r#"{"contents":[{"parts":[{"text":"a"}]}]}"#),
            r#"{"totalTokens":3}"#,
        ),
    ];
    for (verb, body, (path, sent), answer) in cases {
        let mut asked = request(&format!("/v1beta/models/alias:{verb}"), body);
        let (_meter, end) = recorder.join(&mut asked);
        let done = exchange(target.clone(), asked, json(answer)).await;
        drop(end);
        assert_eq!(
            (done.sent().parts.uri.path(), &*done.sent().body),
            (&*format!("/{path}"), sent),
            "{verb}"
        );
        assert_eq!((done.status.as_u16(), &*done.body), (200, answer), "{verb}");
    }
    let ends = recorder.ends();
    let usage: Vec<_> = ends.iter().map(|all| all[0].usage.map(|it| (it.input, it.output))).collect();
    assert_eq!(usage, [Some((Some(7), Some(0))), None, None, None]);
}
