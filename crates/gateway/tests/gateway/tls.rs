//! Upstreams behind TLS.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    client::post,
    harness::{Gateway, deployment},
    samples::{Api, CHAT, OPENAI_WHOLE, ask},
};

/// Made for 127.0.0.1 by an authority of our own, whose key was thrown away.
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server-key.pem");
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/tls/ca.pem");

/// Answers every request on a port of its own, for as long as the test's process lives.
fn serve() -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // Fails where the client does not trust us.
            let _ = answer(StreamOwned::new(connection, stream.unwrap()));
        }
    });
    addr
}

fn answer(mut stream: StreamOwned<ServerConnection, std::net::TcpStream>) -> std::io::Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(b"}]}") {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece)?;
        read.extend_from_slice(&piece[..length]);
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{OPENAI_WHOLE}",
        OPENAI_WHOLE.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[tokio::test]
async fn an_upstream_is_called_over_tls_and_only_if_it_is_who_it_says() {
    let addr = serve();
    let config = format!(
        "model_list:\n{}{}",
        deployment("gpt", "openai/gpt-4o", &format!("https://{addr}"), &[]),
        deployment("other-name", "openai/gpt-4o", &format!("https://localhost:{}", addr.port()), &[])
    );
    let unreachable = r#"{"error":{"message":"the upstream could not be reached or closed without an answer","type":"server_error","param":null,"code":"upstream_error"}}"#;
    let trusting = Gateway::start(&config, &[], &[("SSL_CERT_FILE", AUTHORITY)]).await;
    post(trusting.addr, CHAT, &[], &ask("gpt", false)).await.is(200, OPENAI_WHOLE);
    // A certificate for another name.
    post(trusting.addr, CHAT, &[], &ask("other-name", false)).await.is(502, unreachable);
    // An authority that the system does not know.
    let wary = Gateway::start(&config, &[], &[]).await;
    post(wary.addr, Api::OpenAi.path(), &[], &ask("gpt", false)).await.is(502, unreachable);
    let ended = wary.stop().await;
    assert!(ended.stderr.contains("invalid peer certificate: UnknownIssuer"), "{}", ended.stderr);
}
