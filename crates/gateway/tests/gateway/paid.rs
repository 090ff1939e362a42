//! An upstream whose every answer costs the same, and that counts what it serves.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use ziggurat_core::Usd;

use crate::{
    client::{Answer, Raw, post},
    harness::{Gateway, guarded, soon},
    samples::CHAT,
};

/// The upstream: each answer costs $0.02, and comes in ten pieces where it streams. Three bytes are a
/// token, as budgets estimate.
pub(crate) struct Paid {
    pub(crate) addr: SocketAddr,
    /// Tokens of a piece.
    tokens: usize,
    counts: Arc<Counts>,
    gate: watch::Sender<Gate>,
}

#[derive(Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
    /// Answers begun.
    begun: AtomicUsize,
    /// Pieces written.
    pieces: AtomicUsize,
    /// Answers that were written to their end.
    served: AtomicUsize,
    bodies: Mutex<Vec<String>>,
    /// The service tier that answers name.
    tier: Mutex<Option<&'static str>>,
}

/// How far answers may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// No byte.
    Shut,
    /// So many pieces of a stream; nothing of a whole answer.
    Pieces(usize),
    /// To their end.
    Open,
}

// ===== impl Gate =====

impl Gate {
    /// A stream's first half.
    pub(crate) const HALF: Self = Self::Pieces(PIECES / 2);
}

// ===== impl Paid =====

impl Paid {
    /// With answers of 100 output tokens.
    pub(crate) async fn start(gate: Gate) -> Self {
        Self::with(10, gate).await
    }

    /// With pieces of so many tokens.
    pub(crate) async fn with(tokens: usize, gate: Gate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (gate, opened) = watch::channel(gate);
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counts, opened) = (Arc::clone(&counting), opened.clone());
                tokio::spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    connection(stream, &counts, tokens, opened).await;
                });
            }
        });
        Self { addr, tokens, counts, gate }
    }

    pub(crate) fn open(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }

    /// Has answers name this service tier from now on.
    pub(crate) fn serve_at(&self, tier: Option<&'static str>) {
        *self.counts.tier.lock().unwrap() = tier;
    }

    /// Most requests at a time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.counts.most.load(Ordering::SeqCst)
    }

    pub(crate) fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn now(&self) -> usize {
        self.counts.now.load(Ordering::SeqCst)
    }

    /// How many pieces it has written to streams.
    pub(crate) fn pieces(&self) -> usize {
        self.counts.pieces.load(Ordering::SeqCst)
    }

    /// What a piece says.
    pub(crate) fn piece(&self) -> String {
        content(self.tokens)
    }

    pub(crate) fn served(&self) -> usize {
        self.counts.served.load(Ordering::SeqCst)
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.counts.bodies.lock().unwrap().clone()
    }

    /// A config in which a call of `paid` costs $0.02, and one of `free` nothing; further lines of `model_info`, and sections.
    pub(crate) fn config(&self, info: &[&str], sections: &str) -> String {
        let entry = |alias: &str, cost: &str, info: &[&str]| {
            let info: String = info.iter().map(|line| format!("      {line}\n")).collect();
            format!(
                "  - model_name: {alias}\n    litellm_params:\n      model: openai/my-{alias}\n      api_base: http://{}/v1\n      \
                 api_key: sk-provider-canary\n    model_info:\n      id: id-{alias}\n      input_cost_per_token: 0\n      \
                 output_cost_per_token: {cost}\n{info}",
                self.addr
            )
        };
        let cost = Usd::pico(PIECE.as_pico() / self.tokens as u128).to_string();
        let models = entry("paid", &cost, info) + &entry("free", "0", &["max_output_tokens: 100"]);
        format!("model_list:\n{models}{}{sections}", guarded())
    }
}

/// Answers one request after another until its client leaves.
async fn connection(mut stream: TcpStream, counts: &Counts, tokens: usize, mut gate: watch::Receiver<Gate>) {
    let mut read = Vec::new();
    while let Some(body) = request(&mut stream, &mut read).await {
        let streams = body.contains(r#""stream":true"#);
        counts.bodies.lock().unwrap().push(body);
        counts.begun.fetch_add(1, Ordering::SeqCst);
        let tier = *counts.tier.lock().unwrap();
        let tier = tier.map_or_else(String::new, |tier| format!(r#","service_tier":"{tier}""#));
        let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(now, Ordering::SeqCst);
        let left = {
            let (mut input, mut output) = stream.split();
            let mut byte = [0];
            tokio::select! {
                done = answer(&mut output, streams, (tokens, &tier), counts, &mut gate) => done.is_err(),
                // Bytes of a next request are not expected before this answer.
                _ = input.read(&mut byte) => true,
            }
        };
        counts.now.fetch_sub(1, Ordering::SeqCst);
        if left {
            return;
        }
        counts.served.fetch_add(1, Ordering::SeqCst);
    }
}

async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.unwrap().trim().parse::<usize>().unwrap();
            if read.len() >= whole {
                let rest = read.split_off(whole);
                let body = String::from_utf8(read.split_off(end + 4)).unwrap();
                *read = rest;
                return Some(body);
            }
        }
        let mut piece = [0; 8192];
        match stream.read(&mut piece).await {
            Ok(length @ 1..) => read.extend_from_slice(&piece[..length]),
            _ => return None,
        }
    }
}

async fn answer(
    to: &mut (impl AsyncWriteExt + Unpin),
    streams: bool,
    (tokens, tier): (usize, &str),
    counts: &Counts,
    gate: &mut watch::Receiver<Gate>,
) -> std::io::Result<()> {
    let usage = {
        let output = PIECES * tokens;
        let total = 10 + output;
        format!(r#","usage":{{"prompt_tokens":10,"completion_tokens":{output},"total_tokens":{total}}}"#)
    };
    if !streams {
        gate.wait_for(|gate| *gate == Gate::Open).await.unwrap();
        let body = format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hello"}},"finish_reason":"stop"}}]{usage}{tier}}}"#
        );
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        return to.write_all((head + &body).as_bytes()).await;
    }
    gate.wait_for(|gate| *gate >= Gate::Pieces(0)).await.unwrap();
    to.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    let event = |delta: &str, finish: &str, usage: &str| {
        let event = format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]{tier}{usage}}}\n\n"
        );
        format!("{:x}\r\n{event}\r\n", event.len())
    };
    let piece = event(&format!(r#"{{"content":"{}"}}"#, content(tokens)), "null", "");
    for before in 0..PIECES {
        gate.wait_for(|gate| *gate > Gate::Pieces(before)).await.unwrap();
        counts.pieces.fetch_add(1, Ordering::SeqCst);
        to.write_all(piece.as_bytes()).await?;
    }
    gate.wait_for(|gate| *gate == Gate::Open).await.unwrap();
    to.write_all(event("{}", "\"stop\"", &usage).as_bytes()).await?;
    let done = "data: [DONE]\n\n";
    to.write_all(format!("{:x}\r\n{done}\r\n0\r\n\r\n", done.len()).as_bytes()).await
}

/// Text of so many tokens.
fn content(tokens: usize) -> String {
    "abc".repeat(tokens)
}

/// Pieces of a stream.
pub(crate) const PIECES: usize = 10;

/// What each of them costs.
pub(crate) const PIECE: Usd = Usd::pico(2_000_000_000);

// ===== calls =====

/// The header with the master key.
pub(crate) fn key() -> String {
    format!("authorization: Bearer {}", crate::harness::MASTER_KEY)
}

pub(crate) fn body(alias: &str, stream: bool, cap: Option<u64>) -> String {
    let cap = cap.map_or_else(String::new, |cap| format!(r#""max_tokens":{cap},"#));
    format!(r#"{{"model":"{alias}",{cap}"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#)
}

/// One call, to its end.
pub(crate) async fn call(addr: SocketAddr, body: &str) -> Answer {
    post(addr, CHAT, &[&key()], body).await
}

/// So many calls at once, each to its end.
pub(crate) async fn calls(addr: SocketAddr, count: usize, body: &str) -> Vec<Answer> {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let body = body.to_owned();
            tokio::spawn(async move { call(addr, &body).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// Begins so many streams, and reads the head and so many pieces of each.
pub(crate) async fn begin(addr: SocketAddr, count: usize, pieces: usize, body: &str) -> Vec<Raw> {
    let mut begun = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::connect(addr).await;
        raw.post(CHAT, &[&key()], body).await;
        assert_eq!(raw.head().await.status, 200);
        let mut read = String::new();
        while read.matches("content\":").count() < pieces {
            read += &soon(raw.chunk()).await.unwrap();
        }
        begun.push(raw);
    }
    begun
}

/// Reads the rest of a stream.
pub(crate) async fn finish(mut raw: Raw) -> String {
    let mut rest = String::new();
    while let Some(chunk) = raw.chunk().await {
        rest += &chunk;
    }
    rest
}

pub(crate) fn statuses(answers: &[Answer]) -> Vec<(u16, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// What is spent, as a call that costs nothing is told.
pub(crate) async fn spent(gateway: &Gateway) -> String {
    let answer = call(gateway.addr, &body("free", false, Some(1))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.header("x-litellm-key-spend").unwrap().to_owned()
}
