//! Redis behind TLS, as `rediss://` says.

use std::net::TcpListener;

use ziggurat_core::Usd;
use ziggurat_testkit::redis::RedisServer;

use super::{Standing, on_redis};
use crate::{
    harness::Gateway,
    paid::{Gate, Paid, body, call},
};

/// Of the upstreams' tests: for 127.0.0.1, by an authority of our own.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/tls");

#[tokio::test(flavor = "multi_thread")]
async fn redis_behind_tls_is_used_by_who_trusts_its_authority_and_by_nobody_else() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let [certificate, key, authority] =
        ["server.pem", "server-key.pem", "ca.pem"].map(|name| format!("{FOLDER}/{name}"));
    let options = [
        ["--tls-port", &port],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &authority],
        ["--tls-auth-clients", "no"],
    ];
    let Some(server) = RedisServer::start_with(&options.concat()) else { return };
    let upstream = Paid::start(Gate::Open).await;
    let sections = format!(
        "litellm_settings: {{max_budget: 1.00}}\nziggurat_settings:\n  store_deadline: 10\n  redis: rediss://127.0.0.1:{port}\n"
    );
    let config = upstream.config(&[], &sections);
    let body = body("paid", false, Some(100));
    let stranger = Gateway::start(&config, &[], &[]).await;
    assert_eq!(call(stranger.addr, &body).await.status, 503);
    assert_eq!(upstream.served(), 0);
    let gateway = Gateway::start(&config, &[], &[("SSL_CERT_FILE", &authority)]).await;
    assert_eq!(call(gateway.addr, &body).await.status, 200);
    assert_eq!(gateway.stop().await.code, Some(0));
    assert_eq!(on_redis(&server).await, Standing::spent(Usd::cents(2)));
}
