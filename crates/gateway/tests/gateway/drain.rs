//! The end: what is open ends well, and nothing new begins.

use std::net::TcpStream;

use ziggurat_testkit::Ending;

use crate::{
    client::Raw,
    harness::{Ended, Gateway, Scene, soon, until},
    samples::{Api, CHAT, DIRECTIONS, Error, ask, failed},
    scripted::{Call, Scripted, read_text},
};

const STOPPING: Error = failed("overloaded_error", "shutting_down", "the gateway is shutting down");

/// A stream of which the client has the first word.
async fn open(upstream: &Scripted, gateway: &Gateway, caller: Api, provider: Api) -> (Raw, Call) {
    let mut raw = gateway.connect().await;
    raw.post(caller.path(), &[], &ask(provider.alias(), true)).await;
    let mut call = upstream.accept().await;
    call.begin().await;
    call.chunk(provider.opening()).await;
    call.chunk(&provider.piece("first")).await;
    assert_eq!(raw.head().await.status, 200);
    read_text(&mut raw, caller, "first").await;
    (raw, call)
}

async fn finish(mut raw: Raw, mut call: Call, caller: Api, provider: Api) {
    call.chunk(&provider.piece("last")).await;
    read_text(&mut raw, caller, "last").await;
    call.chunk(provider.closing()).await;
    call.finish().await;
    let mut rest = String::new();
    while let Some(chunk) = raw.chunk().await {
        rest += &chunk;
    }
    assert!(rest.ends_with(caller.terminator()), "{rest}");
    assert!(raw.is_closed().await);
}

fn ended_well(ended: &Ended) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    assert!(!ended.stderr.contains("WARN") && !ended.stderr.contains("ERROR"), "{}", ended.stderr);
}

#[tokio::test]
async fn open_streams_end_while_nothing_new_begins() {
    let upstream = Scripted::bind().await;
    let gateway = upstream.start(&[]).await;
    let mut prober = gateway.connect().await;
    prober.get("/health/readiness", &[]).await;
    assert_eq!(prober.answer().await.status, 200);
    let mut streams = Vec::new();
    for (caller, provider) in DIRECTIONS {
        streams.push((open(&upstream, &gateway, caller, provider).await, caller, provider));
    }
    gateway.signal("TERM");
    // When the signal has come through, which no event tells, the open connection says so.
    let answer = loop {
        prober.get("/health/readiness", &[]).await;
        let answer = prober.answer().await;
        if answer.status != 200 {
            break answer;
        }
    };
    answer.is(503, r#"{"status":"draining"}"#);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(prober.is_closed().await);
    until(|| TcpStream::connect(gateway.addr).is_err()).await;
    for ((raw, call), caller, provider) in streams {
        finish(raw, call, caller, provider).await;
    }
    ended_well(&gateway.ended().await);
}

#[tokio::test]
async fn a_request_that_was_on_its_way_is_answered() {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]);
    let gateway = scene.start(&[]).await;
    let mut raw = gateway.connect().await;
    let body = ask("gpt", false);
    raw.send(format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n", body.len())).await;
    // The head is being read: a later connection is answered.
    assert_eq!(crate::client::get(gateway.addr, "/health/liveliness", &[]).await.status, 200);
    gateway.signal("TERM");
    let addr = gateway.addr;
    until(|| TcpStream::connect(addr).is_err()).await;
    raw.send(format!("\r\n{body}")).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(raw.is_closed().await);
    ended_well(&gateway.ended().await);
}

#[tokio::test]
async fn what_is_still_open_at_the_limit_is_cut_with_an_error() {
    let upstream = Scripted::bind().await;
    let gateway = upstream.start(&["--drain-timeout", "0.2"]).await;
    let mut streams = Vec::new();
    for (caller, provider) in DIRECTIONS {
        streams.push((open(&upstream, &gateway, caller, provider).await, caller));
    }
    let mut waiting = gateway.connect().await;
    waiting.post(CHAT, &[], &ask("gpt", false)).await;
    let mut unanswered = upstream.accept().await;
    gateway.signal("TERM");
    for ((mut raw, mut call), caller) in streams {
        let mut rest = String::new();
        while let Some(chunk) = raw.chunk().await {
            rest += &chunk;
        }
        assert_eq!(rest, caller.error_event(STOPPING));
        assert!(call.is_left().await);
    }
    waiting.answer().await.is(503, &Api::OpenAi.error(STOPPING));
    assert!(unanswered.is_left().await);
    let ended = gateway.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("WARN 5 connections were still open after 200ms: their calls are cut"),
        "{}",
        ended.stderr
    );
}

/// Who does not read cannot be told, and does not hold up the end.
#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let mut known = crate::samples::recordings();
    known.extend([crate::samples::stream("long", Api::OpenAi.long_stream(10 << 20))]);
    let scene = Scene::with(known).await.model("gpt", Api::OpenAi.model(), "long", &[]);
    let gateway = scene.start(&["--drain-timeout", "0"]).await;
    let mut raw = Raw::narrow(gateway.addr).await;
    raw.post(CHAT, &[], &ask("gpt", true)).await;
    raw.some(1000).await;
    let ended = gateway.stop().await;
    assert_eq!(ended.code, Some(0));
    let log = soon(scene.replay.wait_for(|log| log.in_flight() == 0)).await;
    assert!(matches!(log.exchanges()[0].ending, Some(Ending::PeerClosed { .. })));
}

#[tokio::test]
async fn asked_twice_it_ends_at_once() {
    let upstream = Scripted::bind().await;
    // Far longer than this test waits for anything.
    let gateway = upstream.start(&["--drain-timeout", "1000"]).await;
    let (mut raw, mut call) = open(&upstream, &gateway, Api::OpenAi, Api::OpenAi).await;
    gateway.signal("TERM");
    let addr = gateway.addr;
    until(|| TcpStream::connect(addr).is_err()).await;
    gateway.signal("TERM");
    let ended = gateway.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("WARN asked a second time to stop: open calls are lost"),
        "{}",
        ended.stderr
    );
    assert!(raw.is_closed().await && call.is_left().await);
}

#[tokio::test]
async fn idle_it_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]);
        let gateway = scene.start(&["--drain-timeout", "1000"]).await;
        // One that has been used, and one that has not.
        let mut used = gateway.connect().await;
        used.post(CHAT, &[], &ask("gpt", false)).await;
        assert_eq!(used.answer().await.status, 200);
        let unused = gateway.connect().await;
        gateway.signal(signal);
        ended_well(&gateway.ended().await);
        assert!(used.is_closed().await);
        assert_eq!(unused.rest().await, "");
    }
}
