use super::*;

#[tokio::test]
async fn reads_a_chat_call() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":7}"#;
    let request = Request::post("/v1/chat/completions").body(Body::from(body)).expect("valid");
    let (request, call) = Call::read(request, &Limits::default()).await.expect("reads");
    assert_eq!((call.model(), call.stream(), call.output_cap(), call.n()), (Some("m"), true, Some(7), 1));
    assert!(Call::of(&request).is_some());
}
