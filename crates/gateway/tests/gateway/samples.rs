//! What the upstream answers, and what clients ask.

use std::fmt::Write;

use ziggurat_testkit::{Recording, Recordings};

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const MESSAGES: &str = "/v1/messages";

pub(crate) const OPENAI_WHOLE: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
pub(crate) const ANTHROPIC_WHOLE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}"#;

/// How a dialect's pieces of text look on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    OpenAi,
    Anthropic,
}

/// Client and upstream in all four directions.
pub(crate) const DIRECTIONS: [(Api, Api); 4] = [
    (Api::OpenAi, Api::OpenAi),
    (Api::OpenAi, Api::Anthropic),
    (Api::Anthropic, Api::OpenAi),
    (Api::Anthropic, Api::Anthropic),
];

// ===== impl Api =====

impl Api {
    /// `provider/model` of an upstream that speaks it.
    pub(crate) fn model(self) -> &'static str {
        match self {
            Self::OpenAi => "openai/gpt-4o",
            Self::Anthropic => "anthropic/claude-sonnet-4-5",
        }
    }

    /// Where its clients post to.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::OpenAi => CHAT,
            Self::Anthropic => MESSAGES,
        }
    }

    /// The alias in [`directions`](crate::samples) of an upstream that speaks it.
    pub(crate) fn alias(self) -> &'static str {
        match self {
            Self::OpenAi => "gpt",
            Self::Anthropic => "claude",
        }
    }

    /// The id of the sample that streams.
    pub(crate) fn stream_id(self) -> &'static str {
        match self {
            Self::OpenAi => "openai-stream",
            Self::Anthropic => "anthropic-stream",
        }
    }

    /// The events before the first piece of text, each piece, and those after the last.
    pub(crate) fn opening(self) -> &'static str {
        match self {
            Self::OpenAi => {
                "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
            }
            Self::Anthropic => {
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n\
                 event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
            }
        }
    }

    pub(crate) fn piece(self, text: &str) -> String {
        match self {
            Self::OpenAi => format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
            ),
            Self::Anthropic => format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
            ),
        }
    }

    pub(crate) fn closing(self) -> &'static str {
        match self {
            Self::OpenAi => {
                "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
            }
            Self::Anthropic => {
                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
                 event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":9}}\n\n\
                 event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
            }
        }
    }

    /// A stream of so many bytes and a little more.
    pub(crate) fn long_stream(self, bytes: usize) -> String {
        let mut stream = self.opening().to_owned();
        for number in 0.. {
            if stream.len() > bytes {
                break;
            }
            stream += &self.piece(&format!("word {number} {}", "x".repeat(700)));
        }
        stream + self.closing()
    }

    /// The texts of the pieces in what a client of it got.
    pub(crate) fn text_of(self, events: &str) -> String {
        let data = events.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut text = String::new();
        for event in data.filter(|data| *data != "[DONE]") {
            let event: serde_json::Value = serde_json::from_str(event).unwrap();
            let piece = match self {
                Self::OpenAi => &event["choices"][0]["delta"]["content"],
                Self::Anthropic => &event["delta"]["text"],
            };
            text += piece.as_str().unwrap_or_default();
        }
        text
    }

    /// What ends a stream that is complete.
    pub(crate) fn terminator(self) -> &'static str {
        match self {
            Self::OpenAi => "data: [DONE]\n\n",
            Self::Anthropic => "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        }
    }

    /// An error in its shape.
    pub(crate) fn error(self, error: Error) -> String {
        let Error { kinds: [openai, anthropic], param, code, message } = error;
        let quoted = |text: &str| if text.is_empty() { "null".to_owned() } else { format!("\"{text}\"") };
        match self {
            Self::OpenAi => format!(
                r#"{{"error":{{"message":"{message}","type":"{openai}","param":{},"code":{}}}}}"#,
                quoted(param),
                quoted(code)
            ),
            Self::Anthropic => {
                format!(r#"{{"type":"error","error":{{"type":"{anthropic}","message":"{message}"}}}}"#)
            }
        }
    }

    /// An error as the last event of a stream.
    pub(crate) fn error_event(self, error: Error) -> String {
        match self {
            Self::OpenAi => format!("data: {}\n\n", self.error(error)),
            Self::Anthropic => format!("event: error\ndata: {}\n\n", self.error(error)),
        }
    }
}

/// An error in the words of both dialects; empty is `null`. The message is written as within JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Error {
    /// The type, in OpenAI's and in Anthropic's words.
    pub(crate) kinds: [&'static str; 2],
    pub(crate) param: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
}

/// A request is to blame.
pub(crate) const fn invalid(param: &'static str, code: &'static str, message: &'static str) -> Error {
    Error { kinds: ["invalid_request_error"; 2], param, code, message }
}

/// A server is to blame.
pub(crate) const fn failed(anthropic: &'static str, code: &'static str, message: &'static str) -> Error {
    Error { kinds: ["server_error", anthropic], param: "", code, message }
}

/// A request that every model answers.
pub(crate) fn ask(model: &str, stream: bool) -> String {
    format!(
        r#"{{"model":"{model}","max_tokens":50,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
    )
}

/// A request of so many messages.
pub(crate) fn ask_at_length(model: &str, messages: usize) -> String {
    let mut all = String::new();
    for number in 0..messages {
        let role = if number % 2 == 0 { "user" } else { "assistant" };
        let comma = if number == 0 { "" } else { "," };
        write!(all, r#"{comma}{{"role":"{role}","content":"message {number}"}}"#).unwrap();
    }
    format!(r#"{{"model":"{model}","max_tokens":50,"messages":[{all}]}}"#)
}

/// `openai`, `anthropic`: whole answers; `openai-stream`, `anthropic-stream`: the same as streams, in three pieces.
pub(crate) fn recordings() -> Recordings {
    let json = [("content-type", "application/json")];
    let mut all = Recordings::from_iter([
        Recording::synthetic("openai", 200, json, OPENAI_WHOLE),
        Recording::synthetic("anthropic", 200, json, ANTHROPIC_WHOLE),
    ]);
    all.extend([Api::OpenAi, Api::Anthropic].map(|api| {
        let pieces: String = ["One", "Two", "Three"].iter().map(|text| api.piece(text)).collect();
        stream(api.stream_id(), [api.opening(), &pieces, api.closing()].concat())
    }));
    all
}

pub(crate) fn stream(id: &str, body: String) -> Recording {
    Recording::synthetic(id, 200, [("content-type", "text/event-stream")], body)
}
