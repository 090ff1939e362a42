//! An upstream that sends a piece when the test says so.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    client::Raw,
    harness::{Gateway, deployment, soon},
    samples::Api,
};

/// A port where a test answers by hand.
pub(crate) struct Scripted {
    listener: TcpListener,
    pub(crate) addr: SocketAddr,
}

/// A request that has come, and whose answer is to be written.
pub(crate) struct Call(TcpStream);

// ===== impl Scripted =====

impl Scripted {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        Self { listener, addr }
    }

    /// A config in which `gpt` and `claude` lead here.
    pub(crate) fn config(&self) -> String {
        let base = format!("http://{}", self.addr);
        let entries =
            [Api::OpenAi, Api::Anthropic].map(|api| deployment(api.alias(), api.model(), &base, &[]));
        format!("model_list:\n{}", entries.concat())
    }

    pub(crate) async fn start(&self, args: &[&str]) -> Gateway {
        Gateway::start(&self.config(), args, &[]).await
    }

    /// The next request, whole.
    pub(crate) async fn accept(&self) -> Call {
        let (mut stream, _) = soon(self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut read = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let length = soon(stream.read(&mut piece)).await.unwrap();
            assert!(length > 0, "left before its request was whole");
            read.extend_from_slice(&piece[..length]);
            let text = String::from_utf8_lossy(&read);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == announced.unwrap().parse::<usize>().unwrap() {
                return Call(stream);
            }
        }
    }
}

// ===== impl Call =====

impl Call {
    /// Begins to answer with a stream.
    pub(crate) async fn begin(&mut self) {
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    }

    /// Sends bytes as one HTTP chunk.
    pub(crate) async fn chunk(&mut self, bytes: &str) {
        self.write(&format!("{:x}\r\n{bytes}\r\n", bytes.len())).await;
    }

    pub(crate) async fn finish(&mut self) {
        self.write("0\r\n\r\n").await;
    }

    /// Whether the gateway closes the connection, without another byte.
    pub(crate) async fn is_left(&mut self) -> bool {
        !matches!(soon(self.0.read(&mut [0; 1])).await, Ok(1..))
    }

    /// Sends these now and then until the gateway closes the connection.
    pub(crate) async fn drip(&mut self, pieces: impl IntoIterator<Item = String>) {
        for piece in pieces {
            if timeout(PAUSE, self.is_left()).await.is_ok()
                || self.0.write_all(piece.as_bytes()).await.is_err()
            {
                return;
            }
        }
        panic!("the gateway has waited for all of it");
    }

    async fn write(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.unwrap();
    }
}

/// Reads until the client has got all of this text; gives all chunks up to there.
pub(crate) async fn read_text(raw: &mut Raw, api: Api, text: &str) -> Vec<String> {
    let mut chunks: Vec<String> = Vec::new();
    loop {
        let so_far = chunks.concat();
        if api.text_of(&so_far) == text {
            return chunks;
        }
        chunks.push(raw.chunk().await.unwrap_or_else(|| panic!("ends without {text:?}: {so_far}")));
    }
}

const PAUSE: Duration = Duration::from_millis(20);
