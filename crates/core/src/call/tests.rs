use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body as HttpBody, Frame};

use super::*;
use crate::BoxError;

mod forms;
mod refusals;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// A body that must not be read.
struct Untouchable;

impl HttpBody for Untouchable {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        panic!("the body was read")
    }
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).expect("valid")
}

async fn read(request: Request<Body>) -> (Request<Body>, Call) {
    Call::read(request, &Limits::default()).await.expect("reads")
}

#[tokio::test]
async fn reads_what_a_chat_call_asks_for() {
    let body = r#" {"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":7,"n":2,
        "user":"ann","metadata":{"tags":["a","b"]},"unknown":[1,{"model":"not this"}]} "#;
    let (request, call) = read(post(CHAT, body)).await;
    assert_eq!((call.operation(), call.dialect()), (Operation::Chat, Dialect::OpenAi));
    assert_eq!((call.model(), call.stream(), call.output_cap(), call.n()), (Some("m"), true, Some(7), 2));
    assert_eq!(
        (call.end_user().as_deref(), call.tags()),
        (Some("ann"), vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(call.field(Field::Messages), Some(r#"[{"role":"user","content":"hi"}]"#));
    assert_eq!((call.text(), call.body()), (body, body.as_bytes()));
    assert_eq!(request.body().as_bytes().map(|b| &b[..]), Some(body.as_bytes()));
    assert_eq!(
        format!("{call:?}"),
        r#"Call { operation: Chat, dialect: OpenAi, model: Some("m"), stream: true, .. }"#
    );
}

#[tokio::test]
async fn what_is_absent_or_null_has_its_default() {
    let body = r#"{"model":"m","messages":[{"role":"user"}],"stream":null,"n":null,"max_tokens":null,"user":null,
        "metadata":null,"temperature":null,"tools":null,"stop":null}"#;
    let (_, call) = read(post(CHAT, body)).await;
    assert_eq!((call.stream(), call.n(), call.output_cap(), call.end_user()), (false, 1, None, None));
    assert_eq!((call.field(Field::Tools), call.field(Field::Seed)), (None, None));
    assert!(call.tags().is_empty());
}

#[tokio::test]
async fn reads_what_a_messages_call_asks_for() {
    let body = r#"{"model":"c","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],
        "metadata":{"user_id":"u1"},"stop_sequences":["x"],"thinking":{"type":"disabled"}}"#;
    let (_, call) = read(post(MESSAGES, body)).await;
    assert_eq!((call.operation(), call.dialect()), (Operation::Messages, Dialect::Anthropic));
    assert_eq!((call.model(), call.output_cap(), call.stream()), (Some("c"), Some(5), false));
    assert_eq!(call.end_user().as_deref(), Some("u1"));
    // An empty name hides no other.
    let body =
        r#"{"model":"c","user":"","metadata":{"user_id":"u1"},"messages":[{"role":"user","content":"hi"}]}"#;
    let (_, call) = read(post(CHAT, body)).await;
    assert_eq!(call.end_user().as_deref(), Some("u1"));
}

#[tokio::test]
async fn escapes_in_the_model_and_in_keys_are_read() {
    let body = r#"{"mod\u0065l":"gpt\u002d4o","mess\u0061ges":[{"r\u006fle":"user"}]}"#;
    let (_, call) = read(post(CHAT, body)).await;
    assert_eq!(call.model(), Some("gpt-4o"));
    assert_eq!(call.field(Field::Model), Some(r#""gpt\u002d4o""#));
}

#[tokio::test]
async fn surrogate_pairs_and_other_scripts_pass() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"\ud83d\ude00 größer 日本"}]}"#;
    assert_eq!(read(post(CHAT, body)).await.1.text(), body);
}

#[tokio::test]
async fn every_known_type_is_accepted_where_it_belongs() {
    for field in [
        r#""temperature":0"#,
        r#""temperature":-0.5e1"#,
        r#""seed":-3"#,
        r#""stop":"x""#,
        r#""stop":["x"]"#,
        r#""tool_choice":"auto""#,
        r#""tool_choice":{"type":"function"}"#,
        r#""logprobs":true"#,
        r#""n":128"#,
        r#""max_tokens":4294967295"#,
        r#""max_completion_tokens":1"#,
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],{field}}}"#);
        assert_eq!(read(post(CHAT, body.clone())).await.1.text(), body);
    }
    let completions = r#"{"model":"m","prompt":"a","logprobs":3}"#;
    assert_eq!(read(post("/v1/completions", completions)).await.1.field(Field::Logprobs), Some("3"));
}

#[tokio::test]
async fn the_output_cap_is_that_of_the_callers_own_api() {
    let cap = async |path: &str, fields: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],{fields}}}"#);
        read(post(path, body)).await.1.output_cap()
    };
    let all = r#""max_tokens":4,"max_completion_tokens":5,"max_output_tokens":6"#;
    let (completions, responses) = ("/v1/completions", "/v1/responses");
    for (path, expected) in [(CHAT, 5), (completions, 5), (MESSAGES, 4), (responses, 6)] {
        assert_eq!(cap(path, all).await, Some(expected), "{path}");
    }
    assert_eq!(cap(CHAT, r#""max_tokens":9,"max_completion_tokens":5"#).await, Some(9));
    assert_eq!(cap(CHAT, r#""max_tokens":9,"max_completion_tokens":null"#).await, Some(9));
    assert_eq!(cap(CHAT, r#""max_completion_tokens":5"#).await, Some(5));
    assert_eq!(cap(CHAT, r#""max_output_tokens":6"#).await, None);
    assert_eq!(cap(MESSAGES, r#""max_completion_tokens":5,"max_output_tokens":6"#).await, None);
    assert_eq!(cap(responses, r#""max_completion_tokens":5,"max_tokens":4"#).await, None);
}

#[tokio::test]
async fn number_and_end_user_are_those_of_the_callers_own_api() {
    let ask = async |path: &str, fields: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"n":3,{fields}}}"#);
        let call = read(post(path, body)).await.1;
        (call.n(), call.end_user())
    };
    let (ann, bob) = (Some("ann".to_owned()), Some("bob".to_owned()));
    let both = r#""user":"ann","metadata":{"user_id":"bob"}"#;
    assert_eq!(ask(CHAT, both).await, (3, ann));
    assert_eq!(ask(CHAT, r#""metadata":{"user_id":"bob"}"#).await, (3, bob.clone()));
    assert_eq!(ask(MESSAGES, both).await, (1, bob));
    assert_eq!(ask(MESSAGES, r#""user":"ann""#).await, (1, None));
}

#[tokio::test]
async fn a_model_in_the_path_is_percent_decoded() {
    for (raw, model) in [
        ("gpt%2D4o", "gpt-4o"),
        ("a%2fb%2Fc", "a/b/c"),
        ("gr%C3%B6%C3%9Fer", "größer"),
        ("a%20b%25", "a b%"),
        ("%252d", "%2d"),
        ("50%", "50%"),
        ("%4", "%4"),
        ("%zz%+1%2d", "%zz%+1-"),
        ("%%2d", "%-"),
        ("a%2d%ff", "a%2d%ff"),
    ] {
        for path in ["openai/deployments", "engines"] {
            let path = format!("/{path}/{raw}/chat/completions");
            let (request, call) = read(post(&path, r#"{"messages":[{"role":"user"}]}"#)).await;
            assert_eq!((call.operation(), call.model()), (Operation::Chat, Some(model)), "{raw}");
            assert_eq!(Call::of(&request).and_then(Call::model), Some(model));
        }
    }
}

#[tokio::test]
async fn the_model_in_the_path_is_the_one_that_counts() {
    let azure = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    let (_, call) = read(post(azure, r#"{"messages":[{"role":"user","content":"hi"}]}"#)).await;
    assert_eq!((call.operation(), call.model()), (Operation::Chat, Some("gpt-4o")));
    let (_, call) = read(post(azure, r#"{"model":null,"messages":[{"role":"user"}]}"#)).await;
    assert_eq!(call.model(), Some("gpt-4o"));
    let (_, call) = read(post(azure, r#"{"model":"m","messages":[{"role":"user"}]}"#)).await;
    assert_eq!(call.model(), Some("gpt-4o"));
}

#[tokio::test]
async fn a_host_says_what_its_own_path_means() {
    let mut request = post("/ask", r#"{"model":"m","messages":[{"role":"user"}]}"#);
    request.extensions_mut().insert(Operation::Messages);
    request.extensions_mut().insert(Dialect::Anthropic);
    let (request, call) = read(request).await;
    assert_eq!((call.operation(), call.dialect()), (Operation::Messages, Dialect::Anthropic));
    assert_eq!(Call::dialect_of(&request.into_parts().0), Dialect::Anthropic);
}

#[tokio::test]
async fn other_operations_are_neither_read_nor_checked_nor_bounded() {
    let unread = Request::post("/v1/files")
        .header("content-type", "multipart/form-data; boundary=x")
        .header("content-encoding", "gzip")
        .header("content-length", u64::MAX)
        .body(Untouchable)
        .expect("valid");
    let (request, call) = Call::read(unread, &Limits::default()).await.expect("passes");
    assert_eq!((call.operation(), call.model(), call.stream(), call.n()), (Operation::Other, None, false, 1));
    assert_eq!((call.text(), call.body()), ("", &b""[..]));
    assert!(Call::of(&request).is_some());
    let models = Request::get("/v1/models").body(Untouchable).expect("valid");
    let (_, call) = Call::read(models, &Limits::default()).await.expect("passes");
    assert_eq!(call.operation(), Operation::Models);
}

#[tokio::test]
async fn a_second_read_takes_the_call_as_it_is() {
    let (request, first) = read(post(CHAT, r#"{"model":"m","messages":[{"role":"user"}]}"#)).await;
    let (_, second) = Call::read(request, &Limits::default().body(1)).await.expect("was read");
    assert!(Arc::ptr_eq(&first.0, &second.0));
}

#[tokio::test]
async fn clones_share_one_reading_and_the_request_keeps_its_bytes() {
    let bytes = Bytes::from(r#"{"model":"m","messages":[{"role":"user"}]}"#);
    let (request, call) = read(post(CHAT, bytes.clone())).await;
    assert!(Arc::ptr_eq(&call.0, &call.clone().0));
    assert_eq!(request.body().as_bytes().map(|b| b.as_ptr()), Some(bytes.as_ptr()));
    assert_eq!(call.body().as_ptr(), bytes.as_ptr());
    assert_eq!(call.model().map(str::as_ptr), Some(bytes[10..].as_ptr()));
}

#[tokio::test]
async fn a_stale_call_is_not_believed() {
    let (mut request, _) = read(post(CHAT, r#"{"model":"a","messages":[{"role":"user"}]}"#)).await;
    *request.body_mut() = Body::from(r#"{"model":"b","messages":[{"role":"user"}]}"#);
    assert!(Call::of(&request).is_none());
    let (mut request, call) = read(request).await;
    assert_eq!(call.model(), Some("b"));
    // The same bytes elsewhere, and a shorter slice of the same bytes.
    *request.body_mut() = Body::from(call.text().to_owned());
    assert!(Call::of(&request).is_none());
    let (mut request, _) = read(request).await;
    let whole = request.body().as_bytes().expect("is whole").clone();
    *request.body_mut() = Body::from(whole.slice(..whole.len() - 1));
    assert!(Call::of(&request).is_none());
    *request.body_mut() = Body::from(whole);
    assert!(Call::of(&request).is_some());
    *request.body_mut() = Body::new(Untouchable);
    assert!(Call::of(&request).is_none());
}

#[tokio::test]
async fn a_call_of_a_path_that_has_changed_is_not_believed() {
    // As axum's `nest` does: the inner layers see a path without the prefix.
    let (mut request, outer) =
        read(post("/llm/chat/completions", r#"{"model":"m","messages":[{"role":"user"}]}"#)).await;
    assert_eq!(outer.operation(), Operation::Other);
    *request.uri_mut() = CHAT.parse().expect("valid");
    assert!(Call::of(&request).is_none());
    let (mut request, inner) = read(request).await;
    assert_eq!((inner.operation(), inner.model()), (Operation::Chat, Some("m")));
    request.extensions_mut().insert(Dialect::Anthropic);
    assert!(Call::of(&request).is_none());
}

#[tokio::test]
async fn replace_updates_body_length_and_call() {
    let body = r#"{"model":"a","messages":[{"role":"user"}]}"#;
    let mut request = post(CHAT, body);
    request.headers_mut().insert("content-length", body.len().into());
    let (mut request, call) = read(request).await;
    let longer = call.edit().set_string(Field::Model, "longer").finish();
    let replaced = Call::replace(&mut request, longer.clone()).expect("is a call");
    assert_eq!((call.model(), replaced.model()), (Some("a"), Some("longer")));
    assert_eq!(Call::of(&request).and_then(Call::model), Some("longer"));
    assert_eq!(request.headers()["content-length"], longer.len().to_string());
    assert_eq!(request.body().as_bytes(), Some(&longer));
}

#[tokio::test]
async fn replace_adds_no_length_that_was_not_there() {
    let (mut request, call) = read(post(CHAT, r#"{"model":"a","messages":[{"role":"user"}]}"#)).await;
    Call::replace(&mut request, call.edit().set(Field::Stream, &b"true"[..]).finish()).expect("is a call");
    assert!(request.headers().is_empty());
}

#[tokio::test]
async fn a_refused_replacement_leaves_the_old_body_without_a_call() {
    let (mut request, call) = read(post(CHAT, r#"{"model":"a","messages":[{"role":"user"}]}"#)).await;
    let refused = Call::replace(&mut request, Bytes::from("{")).expect_err("is no call");
    assert_eq!(refused.problem().cause, Cause::InvalidRequest);
    assert_eq!(request.body().as_bytes().map(|b| &b[..]), Some(call.body()));
    assert!(Call::of(&request).is_none());
}

#[tokio::test]
async fn a_body_that_is_not_json_is_replaced_unread_and_not_edited() {
    let (mut request, call) = read(post("/v1/files", "old")).await;
    let edit = call.edit().set_string(Field::Model, "m").replace(5..9, &b"x"[..]).remove(&["model"]);
    assert!(edit.is_empty());
    assert_eq!(edit.finish(), "");
    let call = Call::replace(&mut request, Bytes::from("not json")).expect("is not read");
    assert_eq!((call.operation(), call.text()), (Operation::Other, ""));
    assert_eq!(request.body().as_bytes().map(|b| &b[..]), Some(&b"not json"[..]));
}

#[tokio::test]
async fn content_types_of_json_and_none_at_all_are_read() {
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/problem+json",
        "application/json;charset=\"utf8\"; x=y",
    ] {
        let mut request = post(CHAT, r#"{"model":"m","messages":[{"role":"user"}]}"#);
        request.headers_mut().insert("content-type", kind.parse().expect("valid"));
        request.headers_mut().insert("content-encoding", "Identity".parse().expect("valid"));
        assert_eq!(read(request).await.1.model(), Some("m"));
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let body = r#"{"model":"m","messages":[{"role":"user"}]}"#;
    let mut request = post(CHAT, body);
    request.headers_mut().insert("content-length", body.len().into());
    assert!(Call::read(request, &Limits::default().body(body.len())).await.is_ok());
}

#[tokio::test]
async fn fifty_thousand_messages_are_read() {
    let messages = vec![r#"{"role":"user","content":"hello there, all of you"}"#; 50_000].join(",");
    let body = format!(r#"{{"messages":[{messages}],"model":"m"}}"#);
    assert_eq!(read(post(CHAT, body)).await.1.model(), Some("m"));
}

#[tokio::test]
async fn the_input_is_counted_once_by_each_name_and_anew_for_another_body() {
    let (mut request, call) = read(post(CHAT, r#"{"model":"m","messages":[{"role":"user"}]}"#)).await;
    assert_eq!(call.input_tokens("a", || (3, true)), (3, true));
    assert_eq!(call.input_tokens("a", || panic!("it is known")), (3, true));
    // The first name's is kept, and nobody is told another's.
    assert_eq!(call.input_tokens("b", || (5, false)), (5, false));
    assert_eq!(call.input_tokens("a", || panic!("it is known")), (3, true));
    let bytes = call.edit().set(Field::N, b"2".to_vec()).finish();
    let call = Call::replace(&mut request, bytes).expect("is a call");
    assert_eq!(call.input_tokens("a", || (7, true)), (7, true));
}

#[tokio::test]
async fn a_request_that_is_refused_in_place_keeps_its_head() {
    let mut request = post(MESSAGES, "{");
    assert!(Call::attach(&mut request, &Limits::default()).await.is_err());
    assert_eq!(Call::dialect_of_request(&request), Dialect::Anthropic);
    assert_eq!(Call::operation_of_request(&request), Operation::Messages);
    assert!(Call::of(&request).is_none());
}
