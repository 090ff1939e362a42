//! Images and files at URLs, for providers that take only their bytes.

mod support;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Extensions;
use serde_json::json;
use ziggurat_core::{Cause, Dialect, Principal, Rejection, Target};
use ziggurat_translate::{FetchMedia, Fetched, Fetching, NotFetched, TranslateLayer, Wanted};

use crate::support::*;

/// Gives what it was told, and keeps what it was asked for.
#[derive(Clone)]
struct Fetch {
    answer: Result<Vec<Fetched>, NotFetched>,
    asked: Arc<Mutex<Vec<Vec<Wanted>>>>,
    caller: Arc<Mutex<Option<Principal>>>,
}

impl Fetch {
    fn of(answer: Result<Vec<Fetched>, NotFetched>) -> Self {
        Self { answer, asked: Arc::default(), caller: Arc::default() }
    }

    fn asked(&self) -> Vec<Vec<Wanted>> {
        self.asked.lock().expect("is sound").clone()
    }
}

impl FetchMedia for Fetch {
    fn fetch(&self, wanted: Vec<Wanted>, call: &Extensions) -> Fetching {
        self.asked.lock().expect("is sound").push(wanted);
        *self.caller.lock().expect("is sound") = call.get().cloned();
        let answer = self.answer.clone();
        Box::pin(async { answer })
    }
}

fn fetched(media_type: &str, bytes: &'static [u8]) -> Fetched {
    Fetched { media_type: media_type.to_owned(), bytes: Bytes::from_static(bytes) }
}

fn wanted(url: &str, times: usize) -> Wanted {
    Wanted { url: url.to_owned(), times }
}

fn converse() -> Target {
    Target::new("bedrock", Dialect::Converse, "amazon.nova-lite-v1:0", "https://b.example/converse")
        .expect("is a URL")
}

fn ollama() -> Target {
    Target::new("ollama", Dialect::Ollama, "llava", "https://o.example/api/chat").expect("is a URL")
}

/// An OpenAI caller's message with images at these URLs.
fn images(urls: &[&str]) -> String {
    let images: Vec<_> =
        urls.iter().map(|url| json!({"type": "image_url", "image_url": {"url": url}})).collect();
    json!({"model": "alias", "messages": [{"role": "user", "content": images}]}).to_string()
}

async fn ask(target: Target, fetch: Option<&Fetch>, caller: Dialect, body: String) -> Exchange {
    let layer = TranslateLayer::new().target(target);
    let layer = match fetch {
        Some(fetch) => layer.fetch_media(fetch.clone()),
        None => layer,
    };
    let answer =
        r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn"}"#;
    exchange_through(layer, post(caller, body), json(answer)).await
}

#[tokio::test]
async fn a_provider_that_fetches_nothing_is_given_the_bytes() {
    let fetch = Fetch::of(Ok(vec![fetched("image/png", b"one"), fetched("image/gif", b"two")]));
    let body = images(&["https://h/1", "https://h/2", "https://h/1", "data:image/png;base64,AAAA"]);
    let exchange = ask(converse(), Some(&fetch), OPENAI, body.clone()).await;
    let image = |format: &str, bytes: &str| json!({"image": {"format": format, "source": {"bytes": bytes}}});
    assert_eq!(
        exchange.sent().json()["messages"][0]["content"],
        json!([image("png", "b25l"), image("gif", "dHdv"), image("png", "b25l"), image("png", "AAAA")])
    );
    // One that stands there twice is fetched once, and who fetches knows that it is written twice.
    assert_eq!(fetch.asked(), [[wanted("https://h/1", 2), wanted("https://h/2", 1)]]);
    let exchange = ask(ollama(), Some(&fetch), OPENAI, body).await;
    assert_eq!(exchange.sent().json()["messages"][0]["images"], json!(["b25l", "dHdv", "b25l", "AAAA"]));
}

#[tokio::test]
async fn documents_of_an_anthropic_caller_are_fetched_too() {
    let fetch = Fetch::of(Ok(vec![fetched("application/pdf", b"%PDF-")]));
    let body = r#"{"model":"alias","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","title":"a.pdf","source":{"type":"url","url":"https://h/a"}}]}]}"#;
    let exchange = ask(converse(), Some(&fetch), ANTHROPIC, body.to_owned()).await;
    let document = json!({"document": {"format": "pdf", "name": "a", "source": {"bytes": "JVBERi0="}}});
    assert_eq!(exchange.sent().json()["messages"][0]["content"], json!([document]));
}

#[tokio::test]
async fn who_fetches_by_itself_is_given_the_url() {
    let fetch = Fetch::of(Ok(Vec::new()));
    let exchange = ask(target(ANTHROPIC), Some(&fetch), OPENAI, images(&["https://h/1"])).await;
    let source = &exchange.sent().json()["messages"][0]["content"][0]["source"];
    assert_eq!(*source, json!({"type": "url", "url": "https://h/1"}));
    // Nor is anybody asked where there is nothing to fetch.
    ask(converse(), Some(&fetch), OPENAI, hello(OPENAI, false)).await;
    assert_eq!(fetch.asked(), Vec::<Vec<Wanted>>::new());
}

#[tokio::test]
async fn what_is_not_fetched_is_refused_by_the_name_of_its_field() {
    let refused = Fetch::of(Err(NotFetched::Useless { index: 1, reason: "it is no https URL".into() }));
    let pdf = Fetch::of(Ok(vec![fetched("image/png", b"one"), fetched("application/pdf", b"%PDF-")]));
    let cases = [
        (Some(&refused), "this URL cannot be used: it is no https URL", json!("invalid_image_url")),
        (Some(&pdf), "this URL cannot be used: no image stands there", json!("invalid_image_url")),
        // As without anybody who fetches.
        (Some(&Fetch::of(Ok(vec![fetched("image/png", b"one")]))), BYTES, json!(null)),
    ];
    for (fetch, message, code) in cases {
        let exchange = ask(converse(), fetch, OPENAI, images(&["https://h/1", "http://h/2"])).await;
        assert!(exchange.sent.is_none());
        assert_eq!(exchange.status, 400);
        let error = json!({"message": message, "type": "invalid_request_error", "param": "messages[0].content[1].image_url.url", "code": code});
        assert_eq!(exchange.json()["error"], error);
    }
    let exchange = ask(converse(), None, OPENAI, images(&["https://h/1"])).await;
    assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["message"]), (400, &json!(BYTES)));
}

#[tokio::test]
async fn who_fetches_knows_the_caller_and_may_refuse_the_call() {
    let fetch = Fetch::of(Err(NotFetched::Refused(Rejection::new(Cause::Overloaded, "later"))));
    let mut principal = Principal::default();
    principal.key = Some("k".into());
    let mut request = post(OPENAI, images(&["https://h/1"]));
    request.extensions_mut().insert(principal.clone());
    let layer = TranslateLayer::new().target(converse()).fetch_media(fetch.clone());
    let exchange = exchange_through(layer, request, json("{}")).await;
    assert!(exchange.sent.is_none());
    assert_eq!((exchange.status.as_u16(), &exchange.json()["error"]["message"]), (503, &json!("later")));
    assert_eq!(*fetch.caller.lock().expect("is sound"), Some(principal));
}

const BYTES: &str = "this provider fetches no URLs: send the bytes, in base64";

#[tokio::test]
async fn no_more_than_ten_are_fetched_for_one_call() {
    let urls: Vec<_> = (0..11).map(|index| format!("https://h/{index}")).collect();
    let mut urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let fetch = Fetch::of(Ok((0..10).map(|_| fetched("image/png", b"one")).collect()));
    let exchange = ask(converse(), Some(&fetch), OPENAI, images(&urls)).await;
    assert_eq!(exchange.status, 400);
    let error = &exchange.json()["error"];
    assert_eq!(error["message"], "no more than 10 images and files are fetched from URLs for one call");
    assert_eq!(error["param"], "messages[0].content[10].image_url.url");
    assert_eq!(fetch.asked(), Vec::<Vec<Wanted>>::new());
    urls[10] = urls[0];
    assert_eq!(ask(converse(), Some(&fetch), OPENAI, images(&urls)).await.status, 200);
}
