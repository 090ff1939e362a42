//! Clients that are too slow, with deadlines short enough to wait for; the real ones are tested beside the code, on a clock of its own.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    dawdlers::{Dawdlers, Slow, trickle},
    harness::{Gateway, Scene, room_for, soon},
    samples::{Api, CHAT, MESSAGES, OPENAI_WHOLE, ask, invalid},
};

const FIFTH: Duration = Duration::from_millis(200);
const OFTEN: Duration = Duration::from_millis(20);

async fn scene(args: &[&str]) -> (Scene, Gateway) {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]);
    let gateway = scene.start(args).await;
    (scene, gateway)
}

#[tokio::test]
async fn slow_heads_are_answered_and_closed() {
    let (_scene, gateway) = scene(&["--head-timeout", "0.2"]).await;
    let late = Api::OpenAi.error(invalid("", "request_timeout", "the request head did not arrive in time"));
    let started = Instant::now();
    let mut raw = gateway.connect().await;
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nx: ").await;
    let said = trickle(raw, "y", OFTEN).await;
    assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n") && said.ends_with(&late), "{said}");
    assert!(started.elapsed() >= FIFTH);
    // The same for the second request of a connection, which has time to begin but not to dawdle.
    let mut raw = gateway.connect().await;
    raw.get("/health/liveliness", &[]).await;
    assert_eq!(raw.answer().await.status, 200);
    sleep(2 * FIFTH).await;
    raw.send("GET /").await;
    let said = trickle(raw, "y", OFTEN).await;
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
                let said = if silent { raw.rest().await } else { trickle(raw, " ", OFTEN).await };
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

/// Calls are answered for as long as a thousand others dawdle, each in one of three ways, until their time is up.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_clients_do_not_hinder_the_others() {
    let count = room_for(1000);
    let (_scene, gateway) = scene(&["--head-timeout", "5", "--body-timeout", "5"]).await;
    let dawdlers = Dawdlers::begin(&gateway, count).await;
    let mut raw = gateway.connect().await;
    let mut calls = 0;
    soon(async {
        while !dawdlers.have_ended() {
            raw.post(CHAT, &[], &ask("gpt", false)).await;
            raw.answer().await.is(200, OPENAI_WHOLE);
            calls += 1;
        }
    })
    .await;
    println!("{calls} calls beside {count} slow clients");
    let head = Api::OpenAi.error(invalid("", "request_timeout", "the request head did not arrive in time"));
    let body = Api::OpenAi.error(invalid("", "request_timeout", "the request body did not arrive in time"));
    for (slow, said) in dawdlers.said().await {
        let late = if slow == Slow::Head { &head } else { &body };
        assert!(
            said.starts_with("HTTP/1.1 408 Request Timeout\r\n") && said.ends_with(late),
            "{slow:?}: {said}"
        );
    }
}
