//! A client that shows what is on the wire.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};

use crate::harness::soon;

/// A TCP connection on which a test writes and reads HTTP/1.1 by hand.
pub(crate) struct Raw(BufReader<TcpStream>);

/// A response, its body without its framing.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

// ===== impl Raw =====

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// A connection with a receive buffer so small that the sender soon feels a reader who does not read.
    pub(crate) async fn narrow(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        Self(BufReader::new(soon(socket.connect(addr)).await.unwrap()))
    }

    /// Writes bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Writes bytes to a peer that may have closed already.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        soon(self.0.write_all(bytes.as_ref())).await.is_ok()
    }

    /// Writes a POST with a JSON body and further header lines, each without its line end.
    pub(crate) async fn post(&mut self, path: &str, headers: &[&str], body: &str) {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        ))
        .await;
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &[&str]) {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        self.send(format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n{headers}\r\n")).await;
    }

    /// Reads a status line and headers, names in lower case; the body is empty.
    pub(crate) async fn head(&mut self) -> Answer {
        let line = self.line().await;
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else {
                assert_eq!(line, "");
                return Answer { status, headers, body: String::new() };
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads a whole response whose body has a length or chunks.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        self.body(head).await
    }

    /// Reads the body behind a head.
    pub(crate) async fn body(&mut self, head: Answer) -> Answer {
        let mut answer = head;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                answer.body += &chunk;
            }
        } else {
            let length = answer.header("content-length").expect("has a length").parse().unwrap();
            let mut body = vec![0; length];
            soon(self.0.read_exact(&mut body)).await.unwrap();
            answer.body = String::from_utf8(body).unwrap();
        }
        answer
    }

    /// Reads a chunk of the body as it was sent; `None` after the last.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let line = self.line().await;
        let length = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk: {line:?}"));
        let mut chunk = vec![0; length + 2];
        soon(self.0.read_exact(&mut chunk)).await.unwrap();
        assert_eq!(chunk.split_off(length), b"\r\n");
        (length > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// Waits until there is something to read, or the end.
    pub(crate) async fn peek(&mut self) {
        // Whatever it is, the next read tells.
        let _ = self.0.fill_buf().await;
    }

    /// Reads so many bytes.
    pub(crate) async fn some(&mut self, bytes: usize) {
        soon(self.0.read_exact(&mut vec![0; bytes])).await.unwrap();
    }

    /// Reads to the end of the bytes.
    pub(crate) async fn rest(mut self) -> String {
        let mut rest = String::new();
        soon(self.0.read_to_string(&mut rest)).await.unwrap();
        rest
    }

    /// Whether the peer ends or resets the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !matches!(soon(self.0.read(&mut [0; 1])).await, Ok(1..))
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.0.read_line(&mut line)).await.unwrap();
        let end = line.strip_suffix("\r\n");
        end.unwrap_or_else(|| panic!("the bytes end with {line:?}")).to_owned()
    }
}

// ===== impl Answer =====

impl Answer {
    /// The value of a header that comes once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        value
    }

    pub(crate) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
    }
}

/// Posts on a connection of its own.
pub(crate) async fn post(addr: SocketAddr, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut raw = Raw::connect(addr).await;
    raw.post(path, headers, body).await;
    raw.answer().await
}

/// Gets on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    let mut raw = Raw::connect(addr).await;
    raw.get(path, headers).await;
    raw.answer().await
}
