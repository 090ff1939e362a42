//! Connections with the real deadlines, on a clock of their own.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Duration, Instant, sleep},
};
use ziggurat_catalog::Catalog;
use ziggurat_core::Limits;

use super::{Deadlines, connection, connection::Shared};
use crate::{
    app::{App, Door},
    demo, drain,
    groups::Groups,
    guards::Guards,
    stores::Stores,
    upstream::{Timeouts, Upstream},
};

/// A connection to the demo.
fn connect() -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    serve(theirs);
    ours
}

/// Serves the demo; the stop never comes.
fn serve(theirs: DuplexStream) {
    let config = Arc::new(demo::config());
    let groups = Groups::new(&config, &Catalog::empty(), Timeouts::default(), None).expect("one model");
    let (drainer, drain) = drain::channel();
    tokio::spawn(async move {
        let stores = Arc::new(Stores::open(&config).await.expect("needs nothing"));
        let guards = Guards::new(&config, Catalog::empty(), &stores);
        let app =
            App::new(config, groups, guards, stores, (Upstream::demo(), None), Limits::default(), drain);
        let shared = Arc::new(Shared::new(Arc::new(app), Door::All, Deadlines::default(), 1 << 30));
        connection::run(theirs, shared).await;
        drop(drainer);
    });
}

async fn rest(mut client: impl AsyncReadExt + Unpin) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.expect("ends");
    rest
}

/// Sends a byte a second until the other side has had enough.
fn trickle(mut to: impl AsyncWriteExt + Unpin + Send + 'static) {
    tokio::spawn(async move {
        while to.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_answered_and_closed_after_ten_seconds() {
    let started = Instant::now();
    let (read, mut write) = tokio::io::split(connect());
    write.write_all(b"GET / HTTP/1.1\r\nx: ").await.expect("fits");
    trickle(write);
    let said = rest(read).await;
    assert_eq!(started.elapsed().as_secs(), 10);
    let expected = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: 132\r\nconnection: close\r\n\r\n\
        {\"error\":{\"message\":\"the request head did not arrive in time\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"request_timeout\"}}";
    assert_eq!(said, expected);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_byte_is_closed_after_ten_seconds_without_a_word() {
    let started = Instant::now();
    assert_eq!(rest(connect()).await, "");
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_answered_and_closed_after_thirty_seconds() {
    for trickles in [true, false] {
        let started = Instant::now();
        let (read, mut write) = tokio::io::split(connect());
        let head = "POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 999\r\n\r\n{";
        write.write_all(head.as_bytes()).await.expect("fits");
        if trickles {
            trickle(write);
        }
        let said = rest(read).await;
        assert_eq!(started.elapsed().as_secs(), 30);
        assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{said}");
        assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
        assert!(
            said.ends_with("\r\n\r\n{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"the request body did not arrive in time\"}}"),
            "{said}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_75_seconds_after_an_answer() {
    let mut client = connect();
    for _ in 0..2 {
        client.write_all(b"GET /health/liveliness HTTP/1.1\r\nhost: h\r\n\r\n").await.expect("fits");
        let mut answer = [0; 4096];
        let read = client.read(&mut answer).await.expect("answers");
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
        sleep(Duration::from_secs(74)).await;
    }
    let started = Instant::now();
    assert_eq!(rest(client).await, "");
    assert_eq!(started.elapsed().as_millis(), 1000);
}

/// The last bytes of an answer are with hyper when the call has ended; who takes them slowly still gets them all.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_an_answer_slowly_is_not_idle() {
    let (mut client, theirs) = tokio::io::duplex(64);
    serve(theirs);
    client.write_all(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n").await.expect("fits");
    let mut said = Vec::new();
    while !said.ends_with(b"}") {
        sleep(Duration::from_secs(50)).await;
        let mut piece = [0; 64];
        let read = client.read(&mut piece).await.expect("goes on");
        assert!(read > 0, "ends after {} bytes", said.len());
        said.extend_from_slice(&piece[..read]);
    }
    assert!(said.len() > 250, "{}", said.len());
}
