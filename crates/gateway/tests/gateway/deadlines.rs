//! Clients that are too slow, with deadlines short enough to wait for; the real ones are tested beside the code, on a clock of its own.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{
    client::Raw,
    harness::{Gateway, Scene, soon},
    samples::{Api, CHAT, MESSAGES, OPENAI_WHOLE, ask, invalid},
};

const FIFTH: Duration = Duration::from_millis(200);

async fn scene(args: &[&str]) -> (Scene, Gateway) {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]);
    let gateway = scene.start(args).await;
    (scene, gateway)
}

/// Sends a byte now and then until the other side has had enough, and gives what it says.
async fn trickle(mut raw: Raw, byte: &str) -> String {
    while timeout(Duration::from_millis(20), raw.peek()).await.is_err() {
        if !raw.try_send(byte).await {
            break;
        }
    }
    raw.rest().await
}

#[tokio::test]
async fn slow_heads_are_answered_and_closed() {
    let (_scene, gateway) = scene(&["--head-timeout", "0.2"]).await;
    let late = Api::OpenAi.error(invalid("", "request_timeout", "the request head did not arrive in time"));
    let started = Instant::now();
    let mut raw = gateway.connect().await;
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nx: ").await;
    let said = trickle(raw, "y").await;
    assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n") && said.ends_with(&late), "{said}");
    assert!(started.elapsed() >= FIFTH);
    // The same for the second request of a connection, which has time to begin but not to dawdle.
    let mut raw = gateway.connect().await;
    raw.get("/health/liveliness", &[]).await;
    assert_eq!(raw.answer().await.status, 200);
    sleep(2 * FIFTH).await;
    raw.send("GET /").await;
    let said = trickle(raw, "y").await;
    assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n") && said.ends_with(&late), "{said}");
    // Nothing asked, nothing said.
    assert_eq!(gateway.connect().await.rest().await, "");
}

#[tokio::test]
async fn slow_bodies_are_answered_and_closed() {
    let (scene, gateway) = scene(&["--body-timeout", "0.2"]).await;
    for (api, path) in [(Api::OpenAi, CHAT), (Api::Anthropic, MESSAGES)] {
        let late = api.error(invalid("", "request_timeout", "the request body did not arrive in time"));
        for framing in ["content-length: 5000\r\n\r\n", "transfer-encoding: chunked\r\n\r\nfff\r\n"] {
            for silent in [true, false] {
                let mut raw = gateway.connect().await;
                raw.send(format!("POST {path} HTTP/1.1\r\nhost: h\r\n{framing}{{")).await;
                let said = if silent { raw.rest().await } else { trickle(raw, " ").await };
                assert!(
                    said.starts_with("HTTP/1.1 408 Request Timeout\r\n") && said.ends_with(&late),
                    "{said}"
                );
                assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
            }
        }
    }
    assert_eq!(scene.asked(), 0);
}

#[tokio::test]
async fn connections_without_a_request_are_closed_after_a_while() {
    let (_scene, gateway) = scene(&["--keep-alive-timeout", "0.3", "--head-timeout", "0.2"]).await;
    let mut raw = gateway.connect().await;
    for _ in 0..2 {
        raw.post(CHAT, &[], &ask("gpt", false)).await;
        raw.answer().await.is(200, OPENAI_WHOLE);
    }
    let idle = Instant::now();
    assert_eq!(raw.rest().await, "");
    // Its patience with a head does not count here.
    assert!(idle.elapsed() >= Duration::from_millis(290), "{:?}", idle.elapsed());
}

/// A thousand connections that never come to a point do not slow down the others.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_do_not_slow_the_others() {
    let (_scene, gateway) = scene(&[]).await;
    let mut dawdlers = Vec::new();
    for number in 0..300 {
        let mut raw = gateway.connect().await;
        let begun = match number % 3 {
            0 => "P".to_owned(),
            1 => "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n".to_owned(),
            _ => format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{{"),
        };
        raw.send(begun).await;
        dawdlers.push(raw);
    }
    let mut raw = gateway.connect().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let started = Instant::now();
        raw.post(CHAT, &[], &ask("gpt", false)).await;
        raw.answer().await.is(200, OPENAI_WHOLE);
        slowest = slowest.max(started.elapsed());
    }
    println!("50 calls beside 300 slow clients took {slowest:?} at most");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    soon(async { drop(dawdlers) }).await;
}
