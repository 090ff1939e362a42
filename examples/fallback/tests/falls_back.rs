//! The example, against an upstream that replays what two providers say.

use example_fallback::{ask, caller};
use http::{HeaderName, header};
use ziggurat_core::{Dialect, Served, Target};
use ziggurat_testkit::{Recording, Recordings, Replay, samples};

#[tokio::test]
async fn the_second_provider_answers_where_the_first_fails() {
    let json = [("content-type", "application/json")];
    let error = r#"{"error":{"message":"The server is overloaded","type":"server_error"}}"#;
    let upstream = Replay::start(Recordings::from_iter([
        Recording::synthetic("down", 401, json, error),
        Recording::synthetic("up", 200, json, samples::answer(Dialect::Anthropic)),
    ]))
    .await
    .expect("listens");
    let first = Target::openai("gpt-x", "unused")
        .and_then(|target| target.url(&format!("{}/v1/chat/completions", upstream.url("down"))))
        .and_then(|target| target.key(header::AUTHORIZATION, "Bearer sk-example"))
        .expect("is a target");
    let second = Target::anthropic("claude-x", "unused")
        .and_then(|target| target.url(&format!("{}/v1/messages", upstream.url("up"))))
        .and_then(|target| target.key(HeaderName::from_static("x-api-key"), "sk-ant-example"))
        .expect("is a target");
    let caller = caller([first, second]).expect("has roots");
    let response = ask(&caller, "Hello").await.expect("is asked");
    assert_eq!(response.status(), 200);
    let served = response.extensions().get::<Served>().expect("was answered");
    assert_eq!((served.attempts, served.fallbacks), (2, 1));
    assert_eq!(served.target.as_ref().map(Target::model), Some("claude-x"));
    let bytes = response.into_body().collect_within(1 << 20).await.expect("is whole");
    let answer: serde_json::Value = serde_json::from_slice(&bytes).expect("is JSON");
    assert_eq!(answer["choices"][0]["message"]["content"], "Hi");
    assert_eq!(upstream.exchanges().len(), 2);
}
