//! Answers that several gateways give again.

use ziggurat_testkit::redis::RedisServer;

use super::gateways;
use crate::{
    client::{get, post},
    harness::until,
    paid::{Gate, Paid, body, key},
    samples::CHAT,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_was_told_the_other_gives_again() {
    let Some(server) = RedisServer::start() else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = format!(
        "litellm_settings: {{cache: true, cache_params: {{type: redis, url: '{}'}}}}\nziggurat_settings: {{store_deadline: 2}}\n",
        server.url()
    );
    let gateways = gateways(2, &upstream, &sections).await;
    let [one, other] = [gateways[0].addr, gateways[1].addr];
    let ask = async |addr, cap| post(addr, CHAT, &[&key()], &body("paid", false, Some(cap))).await;
    let first = ask(one, 100).await;
    assert_eq!(first.header("x-litellm-cache-hit"), Some("False"));
    // What both are asked at once is one call.
    let begun = upstream.begun();
    let (both, too) = tokio::join!(ask(one, 50), ask(other, 50));
    assert_eq!((both.status, &both.body, upstream.begun()), (200, &too.body, begun + 1));
    // It is on its way to Redis.
    let again = loop {
        let again = ask(other, 100).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
        if again.header("x-litellm-cache-hit") == Some("True") {
            break again;
        }
    };
    assert_eq!(again.header("x-litellm-response-cost"), Some("0"));
    assert_eq!(again.header("x-litellm-cache-key"), first.header("x-litellm-cache-key"));
    let ping = get(one, "/cache/ping", &[&key()]).await;
    ping.is(200, r#"{"status":"healthy","cache_type":"redis","ping_response":true}"#);
    assert_eq!(post(one, "/cache/flushall", &[&key()], "{}").await.status, 200);
    let begun = upstream.begun();
    assert_eq!(ask(other, 100).await.header("x-litellm-cache-hit"), Some("False"));
    // Without it, calls are made.
    drop(server);
    for cap in 1..4 {
        assert_eq!(ask(one, cap).await.status, 200);
    }
    until(|| upstream.begun() == begun + 4).await;
}
