//! What a call asks of a cache, and whether an answer to it may be given again.

use bytes::Bytes;
use serde_json::value::RawValue;
use ziggurat_core::{Call, Dialect, Operation, json::find_member};
use ziggurat_dialect::{
    BlockKind, Event, Finish, FinishReason, Opening, StreamDecoder, decode_response, sse,
};

use crate::Form;

/// What of a call decides how its answer is read and handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    pub(crate) dialect: Dialect,
    /// The form in which its caller wants the answer.
    pub(crate) form: Form,
    /// Whether its caller says how long the answer may be: one that ends there is whole.
    capped: bool,
    /// Whether a stream of OpenAI's is to end with its usage.
    pub(crate) usage: bool,
}

/// What an answer that may be given again is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Good {
    /// Whether it calls tools, or holds what nobody here knows.
    pub(crate) calls: bool,
}

// ===== impl Asked =====

impl Asked {
    pub(crate) fn of(call: &Call) -> Self {
        Self {
            operation: call.operation(),
            dialect: call.dialect(),
            form: if call.stream() { Form::Events } else { Form::Whole },
            capped: call.output_cap().is_some(),
            usage: ziggurat_meter::asks_for_usage(call),
        }
    }

    /// Whether it is answered by a model that writes text, and so by a stream or as a whole.
    pub(crate) const fn generates_text(&self) -> bool {
        self.operation.generates_text()
    }

    /// Whether an answer of success may be given again: it is whole, and neither an error, nor refused, nor cut short by what the caller did
    /// not ask for.
    pub(crate) fn judge(&self, form: Form, body: &Bytes) -> Option<Good> {
        let text = std::str::from_utf8(body).ok()?;
        if !self.generates_text() {
            let whole = match form {
                Form::Whole => is_whole(self.operation, text),
                Form::Events => {
                    last_event(body).is_some_and(|data| data.contains("\"transcript.text.done\""))
                }
            };
            return whole.then_some(Good { calls: false });
        }
        match form {
            Form::Whole => self.judge_whole(text),
            Form::Events => self.judge_events(body),
        }
    }

    fn judge_whole(&self, text: &str) -> Option<Good> {
        let response = decode_response(self.dialect, text).ok()?;
        let mut good = Good { calls: false };
        if response.choices.is_empty() {
            return None;
        }
        for choice in &response.choices {
            let finish = choice.finish.as_ref()?;
            self.accepts(finish)?;
            good.calls |= finish.reason == FinishReason::ToolCalls;
            for block in &choice.content {
                match &block.kind {
                    BlockKind::Refusal(_) => return None,
                    BlockKind::ToolCall(_) | BlockKind::Native { .. } => good.calls = true,
                    _ => {}
                }
            }
        }
        Some(good)
    }

    fn judge_events(&self, body: &Bytes) -> Option<Good> {
        let mut decoder = StreamDecoder::new(self.dialect);
        let (mut fine, mut ended, mut good) = (true, false, Good { calls: false });
        let mut finished: Vec<bool> = Vec::new();
        let mut sink = |event: Event<'_>| match event {
            Event::Open { choice, opening, .. } => {
                note(&mut finished, choice, false);
                good.calls |= matches!(opening, Opening::ToolCall { .. } | Opening::Native { .. });
                fine &= !matches!(opening, Opening::Refusal);
            }
            Event::Finish { choice, finish } => {
                note(&mut finished, choice, true);
                fine &= self.accepts(&finish).is_some();
                good.calls |= finish.reason == FinishReason::ToolCalls;
            }
            Event::Error(_) => fine = false,
            Event::End => ended = true,
            _ => {}
        };
        for data in events(body)? {
            let data = std::str::from_utf8(&data).ok()?.to_owned();
            decoder.decode(&data, &mut sink).ok()?;
        }
        decoder.finish(&mut sink);
        let all = !finished.is_empty() && finished.iter().all(|finished| *finished);
        (fine && ended && all).then_some(good)
    }

    fn accepts(&self, finish: &Finish<'_>) -> Option<()> {
        let good = match finish.reason {
            FinishReason::Stop | FinishReason::ToolCalls => true,
            FinishReason::Length => self.capped,
            _ => false,
        };
        good.then_some(())
    }
}

/// Notes that there is a choice, and whether it has ended.
fn note(finished: &mut Vec<bool>, choice: u64, ended: bool) {
    let at = usize::try_from(choice).unwrap_or(usize::MAX).min(MAX_CHOICES);
    if finished.len() <= at {
        finished.resize(at + 1, false);
    }
    finished[at] |= ended;
}

/// More answers than any API lets be asked for.
const MAX_CHOICES: usize = 256;

/// Whether an answer that is no conversation's is one: JSON that tells of no error; a transcription may be text.
fn is_whole(operation: Operation, text: &str) -> bool {
    match text.trim_ascii_start().starts_with(['{', '[']) {
        true => serde_json::from_str::<&RawValue>(text).is_ok() && find_member(text, &["error"]).is_none(),
        false => operation == Operation::Transcription && !text.is_empty(),
    }
}

/// The data of a stream's events; `None` where one of them is too long or was cut off.
pub(crate) fn events(body: &Bytes) -> Option<Vec<Bytes>> {
    let mut decoder = sse::Decoder::new(MAX_EVENT);
    decoder.push(body.clone());
    let mut all = Vec::new();
    for frame in &mut decoder {
        if let sse::Frame::Event(event) = frame.ok()? {
            all.push(event.data);
        }
    }
    match decoder.finish() {
        Some(sse::Frame::Event(event)) => all.push(event.data),
        Some(sse::Frame::Other(_)) => return None,
        Some(sse::Frame::Idle(_)) | None => {}
    }
    Some(all)
}

fn last_event(body: &Bytes) -> Option<String> {
    String::from_utf8(events(body)?.pop()?.into()).ok()
}

/// As long as an event of Responses, which holds the whole answer, may be.
const MAX_EVENT: usize = 16 << 20;
