//! Requests that front and back could read differently, and heads that are too much.
//!
//! The gateway reads HTTP as hyper and httparse do. Where that is not the strictest reading:
//!
//! - `content-length` beside `transfer-encoding: chunked` is not refused: the chunks count, as RFC 9112 (6.3) wants of who accepts it, the
//!   answer says `connection: close`, and nothing behind the body is read as a request.
//! - Several `content-length` of one value count as one (RFC 9112, 6.3, allows it); `5, 5` in one line is refused.
//! - A bare LF ends a line (RFC 9112, 2.2, allows it).
//! - `transfer-encoding: gzip, chunked` is read as chunks; the bytes in them are then no JSON, which is a 400 and no 501.
//! - Answers to what is no HTTP have no body: no dialect is known yet.

use crate::{
    client::{Raw, get, post},
    harness::{Gateway, Scene, guarded},
    samples::{Api, CHAT, OPENAI_WHOLE, ask},
};

const BEARER: &str = "authorization: Bearer sk-master-canary";

async fn scene() -> (Scene, Gateway) {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]).section(&guarded());
    let gateway = scene.start(&["--max-request", "1"]).await;
    (scene, gateway)
}

/// A second request that must never be run.
fn smuggled() -> String {
    let body = ask("gpt", false);
    format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// All that comes back until the connection ends, and how many requests reached the upstream.
async fn exchange(bytes: &str) -> (String, usize) {
    let (scene, gateway) = scene().await;
    let mut raw = gateway.connect().await;
    raw.send(bytes).await;
    let said = raw.rest().await;
    (said, scene.asked())
}

#[tokio::test]
async fn heads_that_are_ambiguous_are_refused_and_what_follows_is_not_run() {
    let lines = [
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2, 2",
        "content-length: -1",
        "content-length: +2",
        "content-length: 0x2",
        "content-length: 2 2",
        "content-length: 99999999999999999999",
        "content-length: 2\r\nx-folded: a\r\n b",
        "content-length: 2\r\nx-nul: a\0b",
        "content-length: 2\r\nx-cr: a\rb",
        "content-length : 2",
        "content-length: 2\r\n: no name",
        "content-length: 2\r\nno colon",
        "content-length: 2\r\nx y: z",
    ];
    for line in lines {
        let bytes =
            format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\n{line}\r\n\r\n{{}}{}", smuggled());
        let (said, asked) = exchange(&bytes).await;
        assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{line:?}: {said}");
        assert_eq!((said.matches("HTTP/1.1 ").count(), asked), (1, 0), "{line:?}: {said}");
    }
}

#[tokio::test]
async fn chunks_win_over_a_length_and_the_connection_ends_with_them() {
    let body = ask("gpt", false);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let orders = [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
    ];
    for lines in orders {
        let head = format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\n{lines}\r\n\r\n");
        let (said, asked) = exchange(&format!("{head}{chunked}{}", smuggled())).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
        assert!(said.ends_with(OPENAI_WHOLE), "{said}");
        assert_eq!(asked, 1);
    }
}

#[tokio::test]
async fn what_hyper_reads_leniently() {
    let body = ask("gpt", false);
    let length = body.len();
    let lenient = [
        format!(
            "POST {CHAT} HTTP/1.1\nhost: h\n{BEARER}\nconnection: close\ncontent-length: {length}\n\n{body}"
        ),
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\nconnection: close\r\ncontent-length: {length}\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
    ];
    for bytes in lenient {
        let (said, asked) = exchange(&bytes).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert_eq!(asked, 1);
    }
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\n{BEARER}\r\ntransfer-encoding: gzip, chunked\r\n");
    let (said, asked) = exchange(&format!("{head}connection: close\r\n\r\n2\r\n\x1f\x0b\r\n0\r\n\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}");
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn a_request_behind_a_refused_one_is_not_run() {
    let (scene, gateway) = scene().await;
    for head in ["authorization: Bearer sk-wrong".to_owned(), format!("{BEARER}\r\ncontent-type: text/plain")]
    {
        let mut raw = gateway.connect().await;
        // The length covers the second request: whoever skipped the body would run it.
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: h\r\n{head}\r\ncontent-length: 20\r\n\r\n{}",
            smuggled()
        ))
        .await;
        let said = raw.rest().await;
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_turn() {
    let (scene, gateway) = scene().await;
    let mut raw = gateway.connect().await;
    let probe = "GET /health/liveliness HTTP/1.1\r\nhost: h\r\n\r\n";
    raw.send(format!("{}{probe}{}", smuggled(), smuggled())).await;
    raw.answer().await.is(200, OPENAI_WHOLE);
    raw.answer().await.is(200, r#""I'm alive!""#);
    raw.answer().await.is(200, OPENAI_WHOLE);
    assert_eq!(scene.asked(), 2);
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let (scene, gateway) = scene().await;
    let many = |count: usize| "x: y\r\n".repeat(count);
    let long = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    let cases = [
        (many(100), 431),
        (many(99), 200),
        (long(65 << 10), 431),
        (long(60 << 10), 200),
        (long(300 << 10), 431),
    ];
    for (lines, status) in cases {
        let mut raw = gateway.connect().await;
        raw.send(format!("GET /health/liveliness HTTP/1.1\r\nhost: h\r\n{lines}\r\n")).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status, "{} bytes", lines.len());
        if status == 431 {
            assert_eq!(answer.body, "");
            assert!(raw.is_closed().await);
        }
    }
    let mut raw = gateway.connect().await;
    raw.send(format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(70 << 10))).await;
    assert_eq!(raw.answer().await.status, 431);
    assert_eq!(scene.asked(), 0);
}

const EXPECT: &str = "expect: 100-continue";

async fn expecting(gateway: &Gateway, headers: &str, length: usize) -> Raw {
    let mut raw = gateway.connect().await;
    raw.send(format!(
        "POST {CHAT} HTTP/1.1\r\nhost: h\r\n{headers}\r\n{EXPECT}\r\ncontent-length: {length}\r\n\r\n"
    ))
    .await;
    raw
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_it_will_be_read() {
    let (scene, gateway) = scene().await;
    let body = ask("gpt", false);
    let refusals = [("authorization: Bearer sk-wrong", 20, 401), (BEARER, (1 << 20) + 1, 413)];
    for (headers, length, status) in refusals {
        let mut raw = expecting(&gateway, headers, length).await;
        // The first status line is the last.
        assert_eq!(raw.answer().await.status, status);
        assert!(raw.is_closed().await);
    }
    assert_eq!(scene.asked(), 0);
    let mut raw = expecting(&gateway, BEARER, body.len()).await;
    let asked = raw.head().await;
    assert_eq!((asked.status, asked.headers.len()), (100, 0));
    raw.send(&body).await;
    raw.answer().await.is(200, OPENAI_WHOLE);
}

#[tokio::test]
async fn older_http_and_other_forms_of_the_target() {
    let (_scene, gateway) = scene().await;
    let body = ask("gpt", false);
    let length = body.len();
    let mut raw = gateway.connect().await;
    raw.send(format!("POST {CHAT} HTTP/1.0\r\n{BEARER}\r\ncontent-length: {length}\r\n\r\n{body}")).await;
    let said = raw.rest().await;
    assert!(said.starts_with("HTTP/1.0 200 OK\r\n") && said.ends_with(OPENAI_WHOLE), "{said}");
    for target in [
        "http://elsewhere.example/v1/chat/completions",
        "/v1/chat/completions?beta=true",
        "/v1/chat/completions/",
        "/chat/completions",
    ] {
        assert_eq!(post(gateway.addr, target, &[BEARER], &body).await.status, 200, "{target}");
    }
    for target in ["/v1/chat%2Fcompletions", "/v1/chat/../chat/completions", "/V1/Chat/Completions"] {
        assert_eq!(post(gateway.addr, target, &[BEARER], &body).await.status, 404, "{target}");
    }
    assert_eq!(get(gateway.addr, "/health/liveliness?x=y", &[]).await.status, 200);
}

#[tokio::test]
async fn a_stream_for_older_http_ends_with_the_connection() {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai-stream", &[]);
    let gateway = scene.start(&[]).await;
    let body = ask("gpt", true);
    let mut raw = gateway.connect().await;
    raw.send(format!("POST {CHAT} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let said = raw.rest().await;
    assert!(!said.contains("transfer-encoding") && said.ends_with("data: [DONE]\n\n"), "{said}");
}
