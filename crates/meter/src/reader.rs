//! What a passing event means, read as cheaply as the question allows.

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use ziggurat_core::{AttemptHandle, Dialect, Problem};
use ziggurat_dialect::{Event, StreamDecoder, decode_error};

use crate::feed;

/// Reads the events of a stream that passes through unchanged.
///
/// Without a listener an event is searched for the few words that matter and parsed only where one of them stands; with one, every event
/// is decoded.
#[derive(Debug)]
pub(crate) struct Reader {
    dialect: Dialect,
    /// Decodes for a listener.
    decoder: Option<StreamDecoder>,
    refused: bool,
    /// How many answers must end.
    choices: u64,
    /// Which have.
    finished: Vec<u64>,
    pub(crate) state: State,
}

/// How far the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// The terminator was seen.
    Done,
    /// An error was seen.
    Failed,
}

/// What is to be done with an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Forward,
    /// Nothing but usage, in a chunk that was asked for by us.
    UsageOnly,
    /// A terminator behind an error.
    Withhold,
    /// The bytes are no event of this dialect.
    Broken(Box<Problem>),
}

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Vec<ProbeChoice<'a>>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ProbeChoice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

// ===== impl Reader =====

impl Reader {
    pub(crate) fn new(dialect: Dialect, listened: bool, choices: u64) -> Self {
        Self {
            dialect,
            decoder: listened.then(|| StreamDecoder::new(dialect)),
            refused: false,
            choices,
            finished: Vec::new(),
            state: State::Running,
        }
    }

    /// Reads one event's data.
    pub(crate) fn event(
        &mut self,
        data: &[u8],
        hide_usage: bool,
        handle: Option<&mut AttemptHandle>,
    ) -> Verdict {
        let terminator = self.dialect == Dialect::OpenAi && data.trim_ascii() == b"[DONE]";
        if self.state == State::Failed && terminator {
            return Verdict::Withhold;
        }
        let Ok(text) = std::str::from_utf8(data) else { return broken() };
        if let (Some(decoder), Some(handle)) = (&mut self.decoder, handle) {
            let refused = &mut self.refused;
            let read = decoder.decode(text, &mut |event| {
                // The end is fed when the bytes have ended: a terminator alone does not say what follows it.
                if !matches!(event, Event::End) {
                    feed(handle, &event, refused);
                }
            });
            if read.is_err() {
                return broken();
            }
        }
        match self.dialect {
            _ if terminator => {
                self.state = State::Done;
                Verdict::Forward
            }
            Dialect::Anthropic => self.anthropic(text),
            _ => self.openai(text, hide_usage),
        }
    }

    /// Whether all that was asked for has ended, though the terminator is missing.
    pub(crate) fn all_finished(&self) -> bool {
        self.dialect == Dialect::OpenAi && self.finished.len() as u64 >= self.choices
    }

    pub(crate) const fn refused(&self) -> bool {
        self.refused
    }

    fn anthropic(&mut self, text: &str) -> Verdict {
        let holds = |word: &str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
        if holds("\"message_stop\"") || holds("\"error\"") {
            let Ok(probe) = serde_json::from_str::<Probe<'_>>(text) else { return broken() };
            match probe.kind.map(RawValue::get) {
                Some("\"message_stop\"") => self.state = State::Done,
                Some("\"error\"") => self.state = State::Failed,
                None if probe.error.is_some() => self.state = State::Failed,
                _ => {}
            }
        }
        Verdict::Forward
    }

    fn openai(&mut self, text: &str, hide_usage: bool) -> Verdict {
        let bytes = text.as_bytes();
        let usage = hide_usage && memmem::find(bytes, b"\"usage\"").is_some();
        let error = memmem::find(bytes, b"\"error\"").is_some();
        if !usage && !error && !names_finish(bytes) {
            return Verdict::Forward;
        }
        let Ok(probe) = serde_json::from_str::<Probe<'_>>(text) else { return broken() };
        if probe.error.is_some_and(|error| error.get() != "null") {
            self.state = State::Failed;
        }
        let choices = probe.choices.unwrap_or_default();
        for choice in &choices {
            let ended = choice.finish_reason.is_some_and(|reason| reason.get() != "null");
            if ended && !self.finished.contains(&choice.index) {
                self.finished.push(choice.index);
            }
        }
        match usage && choices.is_empty() && probe.usage.is_some() {
            true => Verdict::UsageOnly,
            false => Verdict::Forward,
        }
    }
}

/// Whether some `finish_reason` is said; the usual `null` is not.
fn names_finish(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"\"finish_reason\"";
    memmem::find_iter(bytes, NAME).any(|at| {
        let rest = bytes[at + NAME.len()..].trim_ascii_start();
        !rest.strip_prefix(b":").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"null"))
    })
}

fn broken() -> Verdict {
    Verdict::Broken(Box::new(decode_error(None, b"")))
}
