//! Streams as they pass: at once, and no longer than somebody wants them.

use ziggurat_testkit::Ending;

use crate::{
    harness::{Scene, soon},
    samples::{Api, DIRECTIONS, ask, recordings, stream},
    scripted::{Scripted, read_text},
};

/// The upstream sends a piece only when the client has the one before: whatever waited for more would wait for ever.
#[tokio::test]
async fn each_piece_is_given_on_when_it_comes() {
    let upstream = Scripted::bind().await;
    let gateway = upstream.start(&[]).await;
    for (caller, provider) in DIRECTIONS {
        let mut raw = gateway.connect().await;
        raw.post(caller.path(), &[], &ask(provider.alias(), true)).await;
        let mut call = upstream.accept().await;
        call.begin().await;
        call.chunk(provider.opening()).await;
        let head = raw.head().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        for number in 0..20 {
            let text = format!("word {number}");
            let event = provider.piece(&text);
            // In one, and in two.
            let split = if number % 2 == 0 { event.len() } else { event.len() / 2 };
            call.chunk(&event[..split]).await;
            if split < event.len() {
                call.chunk(&event[split..]).await;
            }
            let chunks = read_text(&mut raw, caller, &text).await;
            assert!(chunks.last().unwrap().contains(&text));
        }
        call.chunk(provider.closing()).await;
        call.finish().await;
        let mut rest = String::new();
        while let Some(chunk) = raw.chunk().await {
            rest += &chunk;
        }
        assert!(rest.ends_with(caller.terminator()), "{caller:?} {provider:?}: {rest}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_upstreams_stream() {
    let mut known = recordings();
    known.extend([Api::OpenAi, Api::Anthropic].map(|api| stream(api.alias(), api.long_stream(1 << 20))));
    let mut scene = Scene::with(known).await;
    for api in [Api::OpenAi, Api::Anthropic] {
        scene = scene.model(api.alias(), api.model(), &format!("{},events,pace=50ms", api.alias()), &[]);
    }
    let gateway = scene.start(&[]).await;
    for (number, (caller, provider)) in DIRECTIONS.into_iter().enumerate() {
        let mut raw = gateway.connect().await;
        raw.post(caller.path(), &[], &ask(provider.alias(), true)).await;
        raw.head().await;
        let mut events = String::new();
        while !events.contains("word 2 ") {
            events += &raw.chunk().await.unwrap();
        }
        drop(raw);
        let log = soon(scene.replay.wait_for(|log| log.in_flight() == 0)).await;
        let Some(Ending::PeerClosed { after_bytes }) = log.exchanges()[number].ending else {
            panic!("{caller:?} {provider:?}: {:?}", log.exchanges()[number].ending)
        };
        // What came after the third word fits into one event, and one more that was on its way.
        let third = provider.long_stream(1 << 20).find("word 3 ").unwrap();
        assert!(after_bytes < (third + 2 * 1000) as u64, "{after_bytes}, {third}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_stream_that_is_silent() {
    let upstream = Scripted::bind().await;
    let gateway = upstream.start(&[]).await;
    for (caller, provider) in DIRECTIONS {
        // Before the head, before the first event, and after it.
        for pieces in 0..3 {
            let mut raw = gateway.connect().await;
            raw.post(caller.path(), &[], &ask(provider.alias(), true)).await;
            let mut call = upstream.accept().await;
            if pieces > 0 {
                call.begin().await;
            }
            if pieces > 1 {
                call.chunk(provider.opening()).await;
                call.chunk(&provider.piece("word")).await;
                raw.head().await;
                read_text(&mut raw, caller, "word").await;
            }
            drop(raw);
            assert!(call.is_left().await, "{caller:?} {provider:?} {pieces}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_its_request_costs_no_call() {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]);
    let gateway = scene.start(&[]).await;
    for framing in ["content-length: 500\r\n\r\n{\"model\":", "transfer-encoding: chunked\r\n\r\n5\r\n{\"mod"]
    {
        let mut raw = gateway.connect().await;
        raw.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n{framing}")).await;
        drop(raw);
    }
    // A call after them, which is answered when they have been dealt with or can no longer be.
    let answer = crate::client::post(gateway.addr, Api::OpenAi.path(), &[], &ask("gpt", false)).await;
    assert_eq!((answer.status, scene.asked()), (200, 1));
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept_and_used_again() {
    let scene = Scene::new()
        .await
        .model("gpt", Api::OpenAi.model(), "openai", &[])
        .model("stream", Api::OpenAi.model(), "openai-stream", &[])
        .model("claude", Api::Anthropic.model(), "anthropic-stream", &[]);
    let gateway = scene.start(&[]).await;
    for number in 0..30 {
        let alias = ["gpt", "stream", "claude"][number % 3];
        let answer =
            crate::client::post(gateway.addr, Api::OpenAi.path(), &[], &ask(alias, alias != "gpt")).await;
        assert_eq!(answer.status, 200);
        soon(scene.replay.wait_for(|log| log.in_flight() == 0)).await;
    }
    // One is free again a moment after its answer has ended, which is a moment too late for some calls.
    let connections = scene.replay.log().connections();
    assert!(connections < 15, "{connections}");
}
