//! The replay upstream: what it answers with, how it fails on request, and what it remembers. Read off the socket,
//! as HTTP clients would hide the borders of chunks and the way a connection ends.

#![expect(clippy::unwrap_used, reason = "clippy does not see that helpers of tests are tests")]

use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ziggurat_testkit::{Ending, Exchange, Log, Recording, Recordings, Replay};

const EVENTS: [&str; 3] = ["data: {\"a\":1}\n\n", "data: {\"b\":2}\n\n", "data: [DONE]\n\n"];
const JSON: &str = "{\"id\":\"1\"}";

/// What came back on a connection until its end.
#[derive(Debug, PartialEq)]
struct Answer {
    /// The status line and the headers, without `date`, each followed by a newline.
    head: String,
    body: Vec<u8>,
    /// `None` where the connection was closed.
    error: Option<ErrorKind>,
}

impl Answer {
    fn body(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn start() -> Replay {
    let stream =
        Recording::synthetic("stream", 200, [("content-type", "text/event-stream")], EVENTS.concat());
    let json = [("Content-Type", "application/json"), ("x-request-id", "req_1"), ("content-length", "999")];
    let json = Recording::synthetic("json", 201, json, JSON);
    Replay::start(Recordings::from_iter([stream, json])).await.unwrap()
}

async fn open(addr: SocketAddr, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("{head}\r\nhost: replay\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).await.err().map(|error| error.kind());
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let lines = head.lines().filter(|line| !line.is_empty() && !line.starts_with("date: "));
    Answer { head: lines.flat_map(|line| [line, "\n"]).collect(), body: bytes[split..].to_vec(), error }
}

async fn ask(replay: &Replay, head: &str, body: &str) -> Answer {
    within(read(open(replay.addr(), &format!("{head}\r\nconnection: close"), body).await)).await
}

/// Asks for a recording with faults by its path.
async fn get(replay: &Replay, name: &str) -> Answer {
    ask(replay, &format!("GET /r/{name}/v1 HTTP/1.1"), "").await
}

/// Reads a stream that stays open up to the end of this text.
async fn read_up_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// Fails instead of hanging; nothing here takes that long.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("happens in time")
}

async fn settled(replay: &Replay, exchanges: usize) -> Log {
    within(replay.wait_for(|log| log.exchanges().len() == exchanges && log.in_flight() == 0)).await
}

async fn settled_one(replay: &Replay) -> Exchange {
    settled(replay, 1).await.exchanges()[0].clone()
}

fn chunked(pieces: &[&str]) -> String {
    unended(pieces) + "0\r\n\r\n"
}

fn unended(pieces: &[&str]) -> String {
    pieces.iter().map(|piece| format!("{:X}\r\n{piece}\r\n", piece.len())).collect()
}

// ===== what it answers with =====

#[tokio::test]
async fn answers_with_the_recorded_status_headers_and_body() {
    let replay = start().await;
    let answer = get(&replay, "json").await;
    let head = "HTTP/1.1 201 Created\ncontent-type: application/json\nx-request-id: req_1\ncontent-length: 10\n\
                connection: close\n";
    assert_eq!(answer, Answer { head: head.to_owned(), body: JSON.into(), error: None });
    let exchange = settled_one(&replay).await;
    assert_eq!((exchange.written, exchange.ending), (10, Some(Ending::Completed)));
}

#[tokio::test]
async fn answers_with_streams_in_chunks() {
    let replay = start().await;
    let answer = get(&replay, "stream").await;
    let head =
        "HTTP/1.1 200 OK\ncontent-type: text/event-stream\nconnection: close\ntransfer-encoding: chunked\n";
    assert_eq!(answer.head, head);
    assert_eq!(answer.body(), chunked(&[&EVENTS.concat()]));
    let exchange = settled_one(&replay).await;
    assert_eq!((exchange.written, exchange.ending), (44, Some(Ending::Completed)));
}

#[tokio::test]
async fn answers_many_requests_on_one_connection() {
    let replay = start().await;
    let mut stream = open(replay.addr(), "GET /r/json HTTP/1.1", "").await;
    read_up_to(&mut stream, JSON).await;
    let again = "HEAD /r/json HTTP/1.1\r\nhost: replay\r\nconnection: close\r\n\r\n";
    stream.write_all(again.as_bytes()).await.unwrap();
    assert_eq!(within(read(stream)).await.body(), "");
    let log = settled(&replay, 2).await;
    assert_eq!(log.connections(), 1);
    assert!(log.exchanges().iter().all(|exchange| exchange.ending == Some(Ending::Completed)));
}

#[tokio::test]
async fn finds_recordings_by_path_then_header_then_endpoint_and_model() {
    let of = |id: &str| Recording::synthetic(id, 200, [], id.to_owned());
    let mut streaming = of("e").answering("chat.completions", "m1");
    streaming.format = "sse".to_owned();
    let refused = Recording::synthetic("c", 400, [], "c").answering("chat.completions", "m1");
    let chat = of("d").answering("chat.completions", "m1");
    let other = of("f").answering("chat.completions", "m2");
    let gemini = of("g").answering("generateContent", "gemini-pro");
    let recordings = [of("a"), of("b"), refused, chat, streaming, other, gemini];
    let replay = Replay::start(Recordings::from_iter(recordings)).await.unwrap();

    let m1 = r#"{"model":"m1"}"#;
    for (head, body, expected) in [
        ("POST /r/a/v1/chat/completions?x=1 HTTP/1.1\r\nx-replay: b", m1, "a"),
        ("POST /r/a HTTP/1.1", m1, "a"),
        ("POST /r/a%2Crepeat%3D1/v1 HTTP/1.1", m1, "a"),
        ("POST /v1/chat/completions HTTP/1.1\r\nx-replay: b", m1, "b"),
        ("POST /v1/chat/completions HTTP/1.1", m1, "d"),
        ("POST /v1/chat/completions HTTP/1.1", r#"{"stream":true,"model":"m1"}"#, "e"),
        ("POST /openai/deployments/m2/chat/completions?api-version=1 HTTP/1.1", "{}", "f"),
        ("POST /v1beta/models/gemini-pro:generateContent HTTP/1.1", "{}", "g"),
    ] {
        let answer = ask(&replay, head, body).await;
        let id = replay.exchanges().last().unwrap().recording.clone();
        assert_eq!(
            (id.as_deref(), answer.body.ends_with(expected.as_bytes())),
            (Some(expected), true),
            "{head}"
        );
    }
}

#[tokio::test]
async fn says_what_it_has_no_recording_for() {
    let replay = start().await;
    for (head, status, message) in [
        ("GET /r/nothing/v1 HTTP/1.1", "404 Not Found", "no recording `nothing`"),
        ("GET /v1 HTTP/1.1\r\nx-replay: none", "404 Not Found", "no recording `none`"),
        (
            "POST /v1/messages HTTP/1.1",
            "404 Not Found",
            "no recording of endpoint `messages`, model `m`, stream true (POST /v1/messages)",
        ),
        (
            "GET /r/json,cut=x HTTP/1.1",
            "400 Bad Request",
            "invalid fault `cut=x`: expected a number of bytes",
        ),
    ] {
        let answer = ask(&replay, head, r#"{"model":"m","stream":true}"#).await;
        assert_eq!(answer.head.lines().next().unwrap(), format!("HTTP/1.1 {status}"));
        let error = json!({ "error": { "type": "replay_upstream", "message": message } });
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), error);
    }
    assert!(settled(&replay, 4).await.exchanges().iter().all(|exchange| exchange.recording.is_none()));
}

// ===== faults =====

#[tokio::test]
async fn rechunk_divides_the_body_by_size() {
    let replay = start().await;
    assert_eq!(get(&replay, "json,rechunk=4").await.body(), chunked(&["{\"id", "\":\"1", "\"}"]));
    let bytes = JSON.char_indices().map(|(at, _)| &JSON[at..=at]).collect::<Vec<_>>();
    assert_eq!(get(&replay, "json,rechunk=1").await.body(), chunked(&bytes));
}

#[tokio::test]
async fn events_divides_the_body_by_event() {
    let replay = start().await;
    assert_eq!(get(&replay, "stream,events").await.body(), chunked(&EVENTS));
}

#[tokio::test]
async fn repeat_sends_the_body_many_times() {
    let replay = start().await;
    let answer = get(&replay, "json,repeat=3").await;
    assert!(answer.head.contains("content-length: 30\n"));
    assert_eq!(answer.body(), JSON.repeat(3));
    assert_eq!(
        get(&replay, "json,repeat=2,rechunk=15").await.body(),
        chunked(&["{\"id\":\"1\"}{\"id\"", ":\"1\"}"])
    );
    let answer = get(&replay, "json,repeat=1000000,rechunk=1000000").await;
    assert_eq!(answer.body.len(), 10_000_000 + 10 * "F4240\r\n\r\n".len() + "0\r\n\r\n".len());
    assert_eq!(settled(&replay, 3).await.exchanges()[2].written, 10_000_000);
}

#[tokio::test]
async fn pace_pauses_between_chunks() {
    let replay = start().await;
    let begin = Instant::now();
    assert_eq!(get(&replay, "stream,events,pace=2ms").await.body(), chunked(&EVENTS));
    assert!(begin.elapsed() >= Duration::from_millis(4));
}

#[tokio::test]
async fn each_chunk_is_flushed_before_the_pause() {
    let replay = start().await;
    let mut stream = open(replay.addr(), "GET /r/stream,events,pace=3600s HTTP/1.1", "").await;
    let text = read_up_to(&mut stream, "\n\n\r\n").await;
    assert!(text.ends_with(&format!("\r\n\r\n{}", unended(&EVENTS[..1]))));
    let log = within(replay.wait_for(|log| log.exchanges()[0].written > 0)).await;
    assert_eq!((log.exchanges()[0].written, log.exchanges()[0].ending, log.in_flight()), (15, None, 1));
}

#[tokio::test]
async fn cut_ends_the_body_early_but_properly() {
    let replay = start().await;
    let answer = get(&replay, "json,rechunk=4,cut=6").await;
    assert_eq!((answer.body(), answer.error), (&*chunked(&["{\"id", "\":"]), None));
    let exchange = settled_one(&replay).await;
    assert_eq!((exchange.written, exchange.ending), (6, Some(Ending::Faulted)));

    assert_eq!(get(&replay, "json,cut=0").await.body(), chunked(&[]));
    assert_eq!(get(&replay, "json,cut=10").await.body(), chunked(&[JSON]));
    let endings = settled(&replay, 3)
        .await
        .exchanges()
        .iter()
        .map(|exchange| exchange.ending.unwrap())
        .collect::<Vec<_>>();
    assert_eq!(endings, [Ending::Faulted, Ending::Faulted, Ending::Completed]);
}

#[tokio::test]
async fn close_at_a_byte_leaves_the_body_unended() {
    let replay = start().await;
    let answer = get(&replay, "json,close=6").await;
    assert_eq!((answer.body(), answer.error), (&*unended(&["{\"id\":"]), None));
    let exchange = settled_one(&replay).await;
    assert_eq!((exchange.written, exchange.ending), (6, Some(Ending::Faulted)));
}

#[tokio::test]
async fn reset_sends_what_it_says_and_then_resets_the_connection() {
    let replay = start().await;
    for (name, body) in [
        ("json,reset=6", unended(&["{\"id\":"])),
        ("json,rechunk=4,reset=6", unended(&["{\"id", "\":"])),
        ("json,reset=0", String::new()),
        ("json,reset=999", unended(&[JSON])),
    ] {
        let answer = get(&replay, name).await;
        assert!(answer.head.starts_with("HTTP/1.1 201 Created\n"), "{name}");
        assert_eq!((answer.body(), answer.error), (&*body, Some(ErrorKind::ConnectionReset)), "{name}");
    }
    let log = settled(&replay, 4).await;
    assert_eq!(log.exchanges().iter().map(|exchange| exchange.written).collect::<Vec<_>>(), [6, 6, 0, 10]);
    assert!(log.exchanges().iter().all(|exchange| exchange.ending == Some(Ending::Faulted)));
}

#[tokio::test]
async fn stall_sends_what_it_says_and_keeps_the_connection_until_the_peer_leaves() {
    let replay = start().await;
    for (name, end, written) in [("json,stall=6", "6\r\n{\"id\":\r\n", 6), ("json,stall=0", "\r\n\r\n", 0)] {
        let mut stream = open(replay.addr(), &format!("GET /r/{name} HTTP/1.1"), "").await;
        read_up_to(&mut stream, end).await;
        let running = within(replay.wait_for(|log| log.exchanges().back().unwrap().written == written)).await;
        assert_eq!((running.in_flight(), running.open_connections()), (1, 1));
        drop(stream);
        let log = within(replay.wait_for(|log| log.open_connections() == 0)).await;
        assert_eq!(log.exchanges().back().unwrap().ending, Some(Ending::PeerClosed { after_bytes: written }));
    }
}

#[tokio::test]
async fn hang_answers_nothing_until_the_peer_leaves() {
    let replay = start().await;
    let mut stream = open(replay.addr(), "GET /r/json,hang HTTP/1.1", "").await;
    within(replay.wait_for(|log| log.in_flight() == 1)).await;
    assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // A peer that only ends its side has left too.
    stream.shutdown().await.unwrap();
    assert_eq!(settled_one(&replay).await.ending, Some(Ending::PeerClosed { after_bytes: 0 }));
}

#[tokio::test]
async fn close_gives_no_answer() {
    let replay = start().await;
    let answer = get(&replay, "json,close").await;
    assert_eq!(answer, Answer { head: String::new(), body: Vec::new(), error: None });
    assert_eq!(settled_one(&replay).await.ending, Some(Ending::Faulted));
}

#[tokio::test]
async fn status_and_retry_hints_replace_the_recorded_ones() {
    let replay = start().await;
    let answer = get(&replay, "json,status=429,retry-after=3,retry-after-ms=2500").await;
    let head = "HTTP/1.1 429 Too Many Requests\ncontent-type: application/json\nx-request-id: req_1\nretry-after: 3\n\
                retry-after-ms: 2500\ncontent-length: 10\nconnection: close\n";
    assert_eq!(answer, Answer { head: head.to_owned(), body: JSON.into(), error: None });
}

#[tokio::test]
async fn html_answers_with_a_page() {
    let replay = start().await;
    let answer = get(&replay, "stream,html,status=502").await;
    assert!(answer.head.starts_with("HTTP/1.1 502 Bad Gateway\ncontent-type: text/html\ncontent-length: "));
    assert!(answer.body().starts_with("<!doctype html>\n") && answer.body().ends_with("</html>\n"));
}

// ===== the log =====

#[tokio::test]
async fn logs_what_was_asked_as_it_came() {
    let replay = start().await;
    ask(&replay, "POST /r/json/v1/chat/completions?a=%20b HTTP/1.1\r\nX-Key: k1\r\nx-key: k2", "{\"n\": 1}")
        .await;
    let exchange = settled_one(&replay).await;
    assert_eq!((exchange.method.as_str(), &*exchange.path), ("POST", "/r/json/v1/chat/completions?a=%20b"));
    assert_eq!(exchange.headers.get_all("x-key").iter().collect::<Vec<_>>(), ["k1", "k2"]);
    assert_eq!(exchange.body, "{\"n\": 1}");
    assert_eq!(exchange.recording.as_deref(), Some("json"));
    assert_eq!(replay.exchanges().len(), replay.log().exchanges().len());
}

#[tokio::test]
async fn notices_a_peer_that_leaves_during_a_pause() {
    let replay = start().await;
    let mut stream = open(replay.addr(), "GET /r/stream,events,pace=3600s HTTP/1.1", "").await;
    read_up_to(&mut stream, "\n\n").await;
    drop(stream);
    let exchange = settled_one(&replay).await;
    assert_eq!((exchange.written, exchange.ending), (15, Some(Ending::PeerClosed { after_bytes: 15 })));
}

#[tokio::test]
async fn notices_a_peer_that_leaves_while_it_does_not_read() {
    let replay = start().await;
    for name in ["json,repeat=100000000,rechunk=65536", "json,repeat=100000000"] {
        let mut stream = open(replay.addr(), &format!("GET /r/{name} HTTP/1.1"), "").await;
        read_up_to(&mut stream, "\r\n\r\n").await;
        within(replay.wait_for(|log| log.exchanges().back().unwrap().written > 0)).await;
        drop(stream);
        let log = within(replay.wait_for(|log| log.in_flight() == 0)).await;
        let exchange = log.exchanges().back().unwrap();
        assert!(exchange.written < 1_000_000_000);
        assert_eq!(exchange.ending, Some(Ending::PeerClosed { after_bytes: exchange.written }));
    }
}

#[tokio::test]
async fn does_not_log_a_request_that_never_arrived_whole() {
    let replay = start().await;
    let mut stream = TcpStream::connect(replay.addr()).await.unwrap();
    stream.write_all(b"POST /r/json HTTP/1.1\r\nhost: replay\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    drop(stream);
    let log = within(replay.wait_for(|log| log.connections() == 1 && log.open_connections() == 0)).await;
    assert!(log.exchanges().is_empty());
}

#[tokio::test]
async fn counts_connections_and_closes_them_when_dropped() {
    let replay = start().await;
    let mut first = open(replay.addr(), "GET /r/json,hang HTTP/1.1", "").await;
    let mut second = open(replay.addr(), "GET /r/json,hang HTTP/1.1", "").await;
    let log = within(replay.wait_for(|log| log.in_flight() == 2)).await;
    assert_eq!((log.connections(), log.open_connections()), (2, 2));
    drop(replay);
    for stream in [&mut first, &mut second] {
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0);
    }
}

// ===== over HTTP and as a process =====

#[tokio::test]
async fn shows_and_forgets_its_log_over_http() {
    let replay = start().await;
    ask(&replay, "POST /r/json HTTP/1.1\r\nx-key: k1\r\nx-key: k2", "hi").await;
    get(&replay, "stream,cut=1").await;
    settled(&replay, 2).await;
    let log = ask(&replay, "GET /_exchanges HTTP/1.1", "").await;
    let expected = json!([
        {
            "method": "POST", "path": "/r/json", "body": "hi", "recording": "json", "written": 10,
            "ending": "completed",
            "headers": { "host": "replay", "connection": "close", "content-length": "2", "x-key": "k1, k2" },
        },
        {
            "method": "GET", "path": "/r/stream,cut=1/v1", "body": "", "recording": "stream", "written": 1,
            "ending": "faulted",
            "headers": { "host": "replay", "connection": "close", "content-length": "0" },
        },
    ]);
    assert_eq!(serde_json::from_slice::<Value>(&log.body).unwrap(), expected);
    assert!(ask(&replay, "DELETE /_exchanges HTTP/1.1", "").await.head.starts_with("HTTP/1.1 204 "));
    assert_eq!(ask(&replay, "GET /_exchanges HTTP/1.1", "").await.body(), "[]");
    assert!(ask(&replay, "PUT /_exchanges HTTP/1.1", "").await.head.starts_with("HTTP/1.1 405 "));
}

/// Ends the process also when a test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn temporary_file(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

#[tokio::test]
async fn serves_as_a_process() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("recordings");
    std::fs::create_dir_all(&dir).unwrap();
    temporary_file("recordings/one.json", r#"{"id":"one","response":{"status":200,"body":"from a folder"}}"#);
    let base64 = r#"[{"id":"two","response":{"status":503,"body":"/wA=","body_base64":true}}]"#;
    let synthetic = [
        temporary_file("two.json", base64),
        temporary_file("three.json", r#"[{"id":"three","response":{"status":200}}]"#),
    ];
    let mut process = Command::new(env!("CARGO_BIN_EXE_replay-upstream"));
    process.arg("--recordings").arg(&dir).arg("--synthetic").args(&synthetic).args(["--port", "0"]);
    let mut process = Process(process.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.strip_prefix("listening on ").unwrap().trim_end().parse::<SocketAddr>().unwrap();

    for (id, status, body) in
        [("one", 200, &b"from a folder"[..]), ("two", 503, b"\xff\0"), ("three", 200, b"")]
    {
        let answer =
            within(read(open(addr, &format!("GET /r/{id} HTTP/1.1\r\nconnection: close"), "").await)).await;
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {status} ")));
        assert_eq!(answer.body, body);
    }
}

#[test]
fn the_process_refuses_what_it_does_not_understand() {
    for (args, code, message) in [
        (&["--port", "x"][..], 2, "replay-upstream: --port: invalid digit found in string\n"),
        (&["--synthetic"], 2, "replay-upstream: --synthetic needs a value\n"),
        (&["--flood"], 2, "replay-upstream: unknown argument `--flood`\n"),
        (
            &["--recordings", "nowhere"],
            1,
            "replay-upstream: cannot read recordings from nowhere: No such file",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_replay-upstream")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(String::from_utf8(output.stderr).unwrap().starts_with(message), "{args:?}");
    }
}

// ===== recordings =====

#[test]
fn reads_a_recording_with_its_request() {
    let file = temporary_file(
        "whole.json",
        r#"[{"id": "a", "provider": "openai", "endpoint": "responses", "model": null, "format": "sse",
             "fidelity": "exact", "tags": ["tools"], "license": "MIT",
             "request": {"method": "POST", "path": "/v1/responses?x=1", "headers": {"Accept": "*/*"},
                         "body": {"b": 1, "a": 1.0}},
             "response": {"status": 200, "headers": {"content-type": "text/event-stream"}, "body": "data: 1\n\n",
                          "body_base64": false}},
            {"id": "b", "provider": "groq", "endpoint": "responses", "request": null, "response": {"status": 404}}]"#,
    );
    let recordings = Recordings::load_array(file).unwrap();
    let a = recordings.get("a").unwrap();
    let request = a.request.as_ref().unwrap();
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("POST", "/v1/responses?x=1")
    );
    assert_eq!(request.headers()["accept"], "*/*");
    assert_eq!(request.body(), r#"{"b": 1, "a": 1.0}"#);
    assert_eq!((a.response.status().as_u16(), &a.response.body()[..]), (200, &b"data: 1\n\n"[..]));
    assert_eq!(
        (&*a.format, &*a.fidelity, a.has_tag("tools"), a.has_tag("tool")),
        ("sse", "exact", true, false)
    );
    let b = recordings.get("b").unwrap();
    assert_eq!((b.request.is_none(), &*b.format, &*b.fidelity), (true, "json", "synthetic"));

    let ids =
        |provider, endpoint| recordings.filter(provider, endpoint).map(|r| r.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(None, "responses".into()), ["a", "b"]);
    assert_eq!(ids("groq".into(), None), ["b"]);
    assert_eq!(ids(Some("groq"), Some("messages")), [""; 0]);
    assert_eq!(recordings.filter("openai", "responses").count(), 1);
}

#[test]
fn says_which_file_is_unreadable_and_why() {
    let file = temporary_file("broken.json", r#"[{"id": "a", "response": {"status": 99}}]"#);
    let error = Recordings::load_array(&file).unwrap_err();
    assert_eq!(error.path, file);
    assert_eq!(error.source.to_string(), "invalid status code at line 1 column 41");
}

#[tokio::test]
async fn serves_every_recording_of_the_shared_folder() {
    let Some(recordings) = Recordings::shared() else { return };
    assert_eq!(recordings.filter("anthropic", "messages").count(), 39);
    let replay = Replay::start(recordings.clone()).await.unwrap();
    for recording in recordings.iter() {
        let mut answer = get(&replay, &recording.id).await;
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {} ", recording.response.status().as_u16())));
        if answer.head.contains("transfer-encoding: chunked\n") {
            answer.body = unchunked(&answer.body);
        }
        assert!(answer.body == *recording.response.body(), "{}", recording.id);
    }
}

#[tokio::test]
async fn finds_shared_recordings_by_what_their_requests_asked() {
    let Some(recordings) = Recordings::shared() else { return };
    let replay = Replay::start(recordings.clone()).await.unwrap();
    for recording in recordings.iter() {
        let Some(request) = &recording.request else { continue };
        let body = std::str::from_utf8(request.body()).unwrap();
        ask(&replay, &format!("{} {} HTTP/1.1", request.method(), request.uri()), body).await;
        let id = replay.exchanges().last().unwrap().recording.clone();
        let found =
            recordings.get(&id.unwrap_or_else(|| panic!("nothing found for {}", recording.id))).unwrap();
        assert_eq!(
            (&found.endpoint, &found.provider),
            (&recording.endpoint, &recording.provider),
            "{}",
            recording.id
        );
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        body.extend_from_slice(&bytes[line + 2..line + 2 + length]);
        bytes = bytes[line + 2 + length..].strip_prefix(b"\r\n").unwrap();
        if length == 0 {
            return body;
        }
    }
}
