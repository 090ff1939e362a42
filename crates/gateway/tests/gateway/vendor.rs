//! An upstream that does well until a test says otherwise: it fails, hangs, breaks off, or is gone.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{harness::PROVIDER_KEY, samples::Api};

/// A provider of one dialect. Its answers say who it is, and are of 10 and 100 tokens.
pub(crate) struct Vendor {
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

struct State {
    words: Words,
    name: &'static str,
    says: watch::Sender<Says>,
    seen: Mutex<Vec<Seen>>,
    /// Requests whose answer has not ended.
    open: AtomicUsize,
}

/// In whose words a vendor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    Of(Api),
    /// Those of Ollama's `/api/chat`, in which nobody calls.
    Ollama,
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// What a vendor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// That it is well.
    Hello,
    /// Nothing, until it says something else.
    Nothing,
    /// That it fails.
    Failure {
        status: u16,
        /// Whole lines, each with its end.
        headers: String,
        body: String,
    },
    /// So far, and then this.
    Stream(String, Then),
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// As it should, on the wire.
    Ends,
    /// With its connection, in the middle.
    Breaks,
    /// Not at all, until the vendor says something else.
    Hangs,
}

// ===== impl Says =====

impl Says {
    /// A failure in the words of a dialect: a status, and OpenAI's code, else Anthropic's type; Ollama has only the message.
    pub(crate) fn failure(words: impl Into<Words>, status: u16, code: &str, message: &str) -> Self {
        let body = match words.into() {
            Words::Of(Api::OpenAi) => {
                json!({"error": {"message": message, "type": "error", "param": null, "code": code}})
            }
            Words::Of(Api::Anthropic) => {
                json!({"type": "error", "error": {"type": code, "message": message}})
            }
            Words::Ollama => json!({"error": message}),
        };
        Self::Failure { status, headers: String::new(), body: body.to_string() }
    }

    /// A failure of the provider's own.
    pub(crate) fn down(words: impl Into<Words>) -> Self {
        let words = words.into();
        let code = if words == Words::Of(Api::OpenAi) { "server_error" } else { "api_error" };
        Self::failure(words, 500, code, "out of order")
    }

    /// That there was too much.
    pub(crate) fn busy(api: Api, retry_after: &str) -> Self {
        let code = if api == Api::OpenAi { "rate_limit_exceeded" } else { "rate_limit_error" };
        Self::failure(api, 429, code, "too much").header("retry-after", retry_after)
    }

    /// Adds a header to a failure.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Failure { headers, .. } = &mut self {
            *headers += &format!("{name}: {value}\r\n");
        }
        self
    }
}

// ===== impl Words =====

impl From<Api> for Words {
    fn from(api: Api) -> Self {
        Self::Of(api)
    }
}

// ===== impl Vendor =====

impl Vendor {
    pub(crate) async fn start(words: impl Into<Words>, name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            words: words.into(),
            name,
            says: watch::Sender::new(Says::Hello),
            seen: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        let own = Arc::clone(&state);
        let server = tokio::spawn(async move {
            // All connections end with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&own);
                connections.spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    // Whoever leaves in the middle has left.
                    let _ = state.serve(stream).await;
                });
            }
        });
        Self { addr, state, server }
    }

    /// Several of OpenAI's dialect.
    pub(crate) async fn several<const N: usize>(names: [&'static str; N]) -> [Self; N] {
        let mut all = Vec::new();
        for name in names {
            all.push(Self::start(Api::OpenAi, name).await);
        }
        all.try_into().ok().unwrap()
    }

    /// Changes what it answers, from the next request on, and to those that it has not answered.
    pub(crate) fn says(&self, says: Says) {
        self.state.says.send_replace(says);
    }

    pub(crate) fn fails(&self) {
        self.says(Says::down(self.state.words));
    }

    /// Closes its port and all connections: nobody is there any more.
    pub(crate) async fn leaves(&mut self) {
        self.server.abort();
        // It was told to.
        let _ = (&mut self.server).await;
    }

    /// What it says when it is well.
    pub(crate) fn hello(&self) -> String {
        format!("Hello from {}", self.state.name)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many requests have come.
    pub(crate) fn asked(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// How many requests are there whose answer has not ended.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// An entry of `model_list`: a deployment here, with the id `alias@name`.
    pub(crate) fn entry(&self, alias: &str, model: &str, params: &[&str], info: &[&str]) -> String {
        let (addr, name, id) = (self.addr, self.state.name, alias.trim_matches('\''));
        let version = if self.state.words == Words::Of(Api::OpenAi) { "/v1" } else { "" };
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("      {line}\n")).collect::<String>();
        format!(
            "  - model_name: {alias}\n    litellm_params:\n      model: {model}\n      api_base: http://{addr}{version}\n      \
             api_key: {PROVIDER_KEY}\n{}    model_info:\n      id: {id}@{name}\n{}",
            lines(params),
            lines(info)
        )
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// ===== impl State =====

impl State {
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut read = Vec::new();
        while let Some(seen) = request(&mut stream, &mut read).await? {
            let body = seen.body.clone();
            self.open.fetch_add(1, Ordering::SeqCst);
            self.seen.lock().unwrap().push(seen);
            let mut says = self.says.subscribe();
            let (mut input, mut output) = stream.split();
            let stays = tokio::select! {
                answered = self.answer(&mut output, &body, &mut says) => answered.unwrap_or(false),
                // Nothing is sent ahead of the answer: this is the end.
                _ = input.read_u8() => false,
            };
            self.open.fetch_sub(1, Ordering::SeqCst);
            if !stays {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives whether the connection stays.
    async fn answer(
        &self,
        to: &mut (impl AsyncWriteExt + Unpin),
        body: &Value,
        says: &mut watch::Receiver<Says>,
    ) -> io::Result<bool> {
        let says_something = says.wait_for(|says| *says != Says::Nothing).await;
        let now = says_something.map_err(io::Error::other)?.clone();
        let streams = body["stream"] == true;
        let (events, then) = match now {
            Says::Failure { status, headers, body } => {
                return whole(to, status, &headers, &body).await.map(|()| true);
            }
            Says::Hello if !streams => return whole(to, 200, "", &self.hello()).await.map(|()| true),
            Says::Hello => (self.hello_stream(body), Then::Ends),
            Says::Stream(events, then) => (events, then),
            Says::Nothing => return Ok(false),
        };
        let kind = if self.words == Words::Ollama { "application/x-ndjson" } else { "text/event-stream" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        to.write_all(head.as_bytes()).await?;
        if !events.is_empty() {
            to.write_all(format!("{:x}\r\n{events}\r\n", events.len()).as_bytes()).await?;
        }
        match then {
            Then::Ends => to.write_all(b"0\r\n\r\n").await.map(|()| true),
            Then::Breaks => Ok(false),
            Then::Hangs => says.changed().await.map(|()| false).map_err(io::Error::other),
        }
    }

    fn hello(&self) -> String {
        let text = format!("Hello from {}", self.name);
        match self.words {
            Words::Of(Api::OpenAi) => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110},
            }),
            Words::Of(Api::Anthropic) => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": 10, "output_tokens": 100},
            }),
            Words::Ollama => json!({
                "model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": text},
                "done": true, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 100,
            }),
        }
        .to_string()
    }

    fn hello_stream(&self, body: &Value) -> String {
        let pieces = ["Hello", " from ", self.name];
        let Words::Of(api) = self.words else {
            let line = |text: &str, more: &str| {
                let message = json!({"role": "assistant", "content": text});
                format!(
                    "{{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{message},{more}}}\n"
                )
            };
            let end = r#""done":true,"done_reason":"stop","prompt_eval_count":10,"eval_count":100"#;
            return pieces.map(|piece| line(piece, "\"done\":false")).concat() + &line("", end);
        };
        let pieces = pieces.map(|piece| api.piece(piece)).concat();
        let (opening, closing) = (api.opening(), api.closing());
        let closing = match api {
            Api::OpenAi if body["stream_options"]["include_usage"] == true => {
                let usage = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":100,\"total_tokens\":110}}\n\ndata: [DONE]";
                closing.replace("data: [DONE]", usage)
            }
            Api::OpenAi => closing.to_owned(),
            Api::Anthropic => closing.replace("\"output_tokens\":9", "\"output_tokens\":100"),
        };
        [opening.replace("\"input_tokens\":9", "\"input_tokens\":10"), pieces, closing].concat()
    }
}

async fn whole(
    to: &mut (impl AsyncWriteExt + Unpin),
    status: u16,
    headers: &str,
    body: &str,
) -> io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    to.write_all((head + body).as_bytes()).await
}

/// The next request; `None` where its client has left.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.unwrap().trim().parse::<usize>().unwrap();
            if read.len() >= whole {
                let rest = read.split_off(whole);
                let body = serde_json::from_slice(&read[end + 4..]).unwrap();
                *read = rest;
                return Ok(Some(Seen { head, body }));
            }
        }
        let mut piece = [0; 8192];
        match stream.read(&mut piece).await? {
            0 => return Ok(None),
            length => read.extend_from_slice(&piece[..length]),
        }
    }
}
