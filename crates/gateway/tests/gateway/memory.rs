//! Clients that do not read: they slow their upstream down, and cost next to nothing.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    client::Raw,
    harness::{SOON, Scene, soon, until},
    samples::{Api, DIRECTIONS, ask, recordings, stream},
};

const CLIENTS: usize = 200;
const STREAM: usize = 10 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_slow_streams_cost_little() {
    let mut known = recordings();
    known.extend([Api::OpenAi, Api::Anthropic].map(|api| stream(api.alias(), api.long_stream(STREAM))));
    known.extend([stream("short", Api::Anthropic.long_stream(1 << 20))]);
    let scene = Scene::with(known).await;
    let mut scene = scene.model("short", Api::Anthropic.model(), "short", &[]);
    for api in [Api::OpenAi, Api::Anthropic] {
        scene = scene.model(api.alias(), api.model(), api.alias(), &[]);
    }
    let gateway = scene.start(&[]).await;
    // One that is read to its end, so that what is made once is there.
    let answer = crate::client::post(gateway.addr, Api::OpenAi.path(), &[], &ask("short", true)).await;
    assert!(answer.body.len() > 1 << 20 && answer.body.ends_with(Api::OpenAi.terminator()));
    let (idle, _) = gateway.memory();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let (caller, provider) = DIRECTIONS[number % 4];
        let mut raw = Raw::narrow(gateway.addr).await;
        raw.post(caller.path(), &[], &ask(provider.alias(), true)).await;
        clients.push(raw);
    }
    soon(scene.replay.wait_for(|log| log.in_flight() == CLIENTS)).await;
    // Half of them read a little, now and then.
    for _ in 0..5 {
        for raw in clients.iter_mut().step_by(2) {
            raw.some(4096).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let written =
        || scene.replay.exchanges()[1..].iter().map(|exchange| exchange.written).collect::<Vec<_>>();
    // Until nothing moves any more, which no event tells.
    let mut before = Vec::new();
    let deadline = tokio::time::Instant::now() + SOON;
    while before != written() {
        assert!(tokio::time::Instant::now() < deadline);
        before = written();
        sleep(Duration::from_millis(300)).await;
    }
    let (now, highest) = gateway.memory();
    let most = before.iter().max().unwrap();
    let mean = before.iter().sum::<u64>() / CLIENTS as u64;
    println!(
        "{CLIENTS} slow streams: {} KiB above idle ({} KiB), {} KiB at most; the upstream wrote {} KiB each, {} KiB at most",
        (now - idle) >> 10,
        idle >> 10,
        (highest - idle) >> 10,
        mean >> 10,
        most >> 10
    );
    assert!(highest - idle < 64 << 20, "{idle} {now} {highest}");
    // Most of it is in the upstream's own send buffer, which Linux lets grow to 4 MiB.
    assert!(*most < STREAM as u64 / 4 * 3, "{mean} {most}");
    assert_eq!(scene.replay.log().in_flight(), CLIENTS);
    drop(clients);
    until(|| scene.replay.log().in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_given_up() {
    let mut known = recordings();
    known.extend([stream("long", Api::OpenAi.long_stream(STREAM))]);
    let scene = Scene::with(known).await.model("gpt", Api::OpenAi.model(), "long", &[]);
    let gateway = scene.start(&["--write-timeout", "0.3"]).await;
    let mut raw = Raw::narrow(gateway.addr).await;
    raw.post(Api::OpenAi.path(), &[], &ask("gpt", true)).await;
    let log = soon(scene.replay.wait_for(|log| !log.exchanges().is_empty() && log.in_flight() == 0)).await;
    assert!(matches!(log.exchanges()[0].ending, Some(ziggurat_testkit::Ending::PeerClosed { .. })));
}
