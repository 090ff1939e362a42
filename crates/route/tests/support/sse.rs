//! Streams of both dialects, cut as one likes, and what a caller sees of them.

use serde_json::Value;
use ziggurat_core::Dialect;

use super::{chunk, role, says};

/// The events of a whole stream that says `Hel` and `lo`.
pub(crate) fn events(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Anthropic => vec![
            message_start(),
            event(r#"{"type":"ping"}"#),
            block_start(r#"{"type":"text","text":""}"#),
            delta(r#"{"type":"text_delta","text":"Hel"}"#),
            delta(r#"{"type":"text_delta","text":"lo"}"#),
            event(r#"{"type":"content_block_stop","index":0}"#),
            event(
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}"#,
            ),
            event(r#"{"type":"message_stop"}"#),
        ],
        _ => {
            let finish = chunk("{}", Some("stop"));
            vec![role(), says("Hel"), says("lo"), finish, "data: [DONE]\n\n".to_owned()]
        }
    }
}

/// How many events there are up to the first content, that one included; up to the second; up to the reason why it ends.
pub(crate) const fn marks(dialect: Dialect) -> [usize; 3] {
    match dialect {
        Dialect::Anthropic => [4, 5, 7],
        _ => [2, 3, 4],
    }
}

/// Events of an answer without a word.
pub(crate) fn empty(dialect: Dialect) -> Vec<String> {
    let mut events = events(dialect);
    match dialect {
        Dialect::Anthropic => drop(events.drain(2..6)),
        _ => drop(events.drain(1..3)),
    }
    events
}

pub(crate) fn message_start() -> String {
    event(
        r#"{"type":"message_start","message":{"id":"msg","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}"#,
    )
}

pub(crate) fn block_start(block: &str) -> String {
    event(&format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#))
}

pub(crate) fn delta(delta: &str) -> String {
    event(&format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#))
}

/// An event of Anthropic's.
pub(crate) fn event(data: &str) -> String {
    let json: Value = serde_json::from_str(data).expect("is JSON");
    format!("event: {}\ndata: {data}\n\n", json["type"].as_str().expect("has a type"))
}

/// The event in which a provider says that it has no capacity.
pub(crate) fn overloaded(dialect: Dialect) -> String {
    match dialect {
        Dialect::Anthropic => {
            event(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#)
        }
        _ => "data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"}}\n\n".to_owned(),
    }
}

/// The same bytes in pieces of so many; 0 leaves the events whole.
pub(crate) fn cut(events: &[String], size: usize) -> Vec<String> {
    if size == 0 {
        return events.to_vec();
    }
    let all = events.concat().into_bytes();
    all.chunks(size).map(|piece| String::from_utf8(piece.to_vec()).expect("is ASCII")).collect()
}

/// What a stream says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) text: String,
    /// Beginnings of a message: a role, or `message_start`.
    pub(crate) preambles: usize,
    pub(crate) errors: usize,
    /// `[DONE]`, or `message_stop`.
    pub(crate) terminators: usize,
    /// Whether the last event is an error.
    pub(crate) ends_in_error: bool,
}

impl Seen {
    /// Reads a stream of the caller's dialect.
    pub(crate) fn of(dialect: Dialect, body: &str) -> Self {
        let mut seen = Self::default();
        assert!(body.is_empty() || body.ends_with("\n\n"), "the last event is whole: {body:?}");
        for data in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
            seen.ends_in_error = false;
            if data == "[DONE]" {
                assert_eq!(dialect, Dialect::OpenAi);
                seen.terminators += 1;
                continue;
            }
            let json: Value = serde_json::from_str(data).expect("is JSON");
            if json["error"].is_object() {
                assert_eq!(json["type"] == "error", dialect == Dialect::Anthropic, "{data}");
                seen.errors += 1;
                seen.ends_in_error = true;
            }
            match dialect {
                Dialect::Anthropic => seen.message(&json),
                _ => seen.chunk(&json),
            }
        }
        seen
    }

    fn chunk(&mut self, json: &Value) {
        let delta = &json["choices"][0]["delta"];
        self.preambles += usize::from(delta["role"].is_string());
        self.text.push_str(delta["content"].as_str().unwrap_or_default());
    }

    fn message(&mut self, json: &Value) {
        match json["type"].as_str() {
            Some("message_start") => self.preambles += 1,
            Some("message_stop") => self.terminators += 1,
            _ => self.text.push_str(json["delta"]["text"].as_str().unwrap_or_default()),
        }
    }

    /// One that is whole and says this.
    pub(crate) fn whole(text: &str) -> Self {
        Self { text: text.to_owned(), preambles: 1, terminators: 1, ..Self::default() }
    }

    /// One that breaks off behind this.
    pub(crate) fn broken(text: &str) -> Self {
        Self { text: text.to_owned(), preambles: 1, errors: 1, terminators: 0, ends_in_error: true }
    }
}
