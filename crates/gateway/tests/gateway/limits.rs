//! Requests that are much: they cost their sender, not the others.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    client::{get, post},
    harness::{Gateway, Scene, until},
    samples::{Api, CHAT, DIRECTIONS, ask, ask_at_length, failed},
};

async fn scene(args: &[&str]) -> (Scene, Gateway) {
    let scene = Scene::new().await.model("gpt", Api::OpenAi.model(), "openai", &[]).model(
        "claude",
        Api::Anthropic.model(),
        "anthropic",
        &[],
    );
    let gateway = scene.start(args).await;
    (scene, gateway)
}

/// The longest that a prober waits while something else is done.
async fn liveness_beside<T>(gateway: &Gateway, something: impl Future<Output = T>) -> (Duration, T) {
    let addr = gateway.addr;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let prober = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        while stopped.try_recv().is_err() {
            let started = Instant::now();
            assert_eq!(get(addr, "/health/liveliness", &[]).await.status, 200);
            longest = longest.max(started.elapsed());
        }
        longest
    });
    let done = something.await;
    stop.send(()).unwrap();
    (prober.await.unwrap(), done)
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_long_requests_leave_the_gateway_awake() {
    let (scene, gateway) = scene(&[]).await;
    let deep = format!(
        r#"{{"model":"gpt","messages":[{{"role":"user","content":[{{"x":{}{}}}]}}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let mut longest = Duration::ZERO;
    for (caller, provider) in DIRECTIONS {
        let long = ask_at_length(provider.alias(), 50_000);
        let (waited, ()) = liveness_beside(&gateway, async {
            let calls = (0..4).map(|number| {
                let (body, status) = if number % 2 == 0 { (deep.clone(), 400) } else { (long.clone(), 200) };
                let addr = gateway.addr;
                tokio::spawn(async move {
                    let answer = post(addr, caller.path(), &[], &body).await;
                    assert_eq!(answer.status, status, "{}", answer.body);
                })
            });
            for call in calls.collect::<Vec<_>>() {
                call.await.unwrap();
            }
        })
        .await;
        longest = longest.max(waited);
    }
    println!("liveness beside deep and long requests: {longest:?} at most");
    // Generous, as this may be a debug build on a machine that does more than this.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert_eq!(scene.asked(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_costs_little_more_than_the_limit() {
    let (scene, gateway) = scene(&["--max-request", "32"]).await;
    let limit = 32 << 20;
    assert_eq!(post(gateway.addr, CHAT, &[], &ask("gpt", false)).await.status, 200);
    let (idle, _) = gateway.memory();
    let too_large = format!("{{{}", " ".repeat(limit));
    // With its length: refused by its word.
    let mut raw = gateway.connect().await;
    raw.send(format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n", too_large.len())).await;
    assert_eq!(raw.answer().await.status, 413);
    let (_, by_word) = gateway.memory();
    // In chunks: refused when it is one byte too many.
    let mut raw = gateway.connect().await;
    raw.send(format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    raw.send(format!("{:x}\r\n{too_large}", too_large.len())).await;
    assert_eq!(raw.answer().await.status, 413);
    let (_, by_count) = gateway.memory();
    println!(
        "a body over 32 MiB: {} KiB above idle by its word, {} KiB by count",
        by_word.saturating_sub(idle) >> 10,
        by_count.saturating_sub(idle) >> 10
    );
    assert!(by_word.saturating_sub(idle) < 4 << 20, "{idle} {by_word}");
    assert!(by_count - idle < 2 * limit as u64, "{idle} {by_count}");
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn all_requests_together_hold_so_many_bytes() {
    let (scene, gateway) = scene(&["--max-in-flight", "1", "--max-request", "1"]).await;
    let head = |length: usize| format!("POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
    let error = Api::OpenAi.error(failed("", "overloaded", "the gateway holds too many requests at once"));
    let body = ask("gpt", false);
    // When the first one's bytes have been read, and so counted, no event tells: a second one in between may get its share instead.
    let deadline = Instant::now() + crate::harness::SOON;
    let first = loop {
        assert!(Instant::now() < deadline);
        let mut first = gateway.connect().await;
        first.send(head(1 << 20)).await;
        first.send(" ".repeat((1 << 20) - 10)).await;
        let answer = post(gateway.addr, CHAT, &[], &body).await;
        if answer.status == 503 {
            answer.is(503, &error);
            break first;
        }
    };
    drop(first);
    let before = scene.asked();
    for _ in 0..100 {
        let answer = post(gateway.addr, CHAT, &[], &body).await;
        if answer.status == 200 {
            break;
        }
    }
    until(|| scene.asked() > before).await;
}
