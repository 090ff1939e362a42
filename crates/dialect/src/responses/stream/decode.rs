//! Reading a stream of Responses events.

mod output;

use serde_json::value::RawValue;
use ziggurat_core::{Dialect, Problem};

use self::output::{Output, Source};
use super::super::{finish, items::member, response::usage};
use crate::{
    Delta, Event, Malformed, Opening, Scope, Text, decode_error,
    openai::truncated,
    read::{Count, TIER, document, stated, wire_object},
};

wire_object! {
    struct WireEvent {
        kind: Text<'a> = "type",
        response: &'a RawValue = "response",
        item: &'a RawValue = "item",
        part: &'a RawValue = "part",
        output_index: Count = "output_index",
        content_index: Count = "content_index",
        summary_index: Count = "summary_index",
        delta: &'a RawValue = "delta",
        text: &'a RawValue = "text",
        refusal: &'a RawValue = "refusal",
        arguments: &'a RawValue = "arguments",
        annotation: &'a RawValue = "annotation",
        error: &'a RawValue = "error",
    }
    struct WireResponse {
        id: Text<'a> = "id",
        model: Text<'a> = "model",
        created_at: Count = "created_at",
        status: Text<'a> = "status",
        incomplete_details: WireIncomplete<'a> = "incomplete_details",
        output: Vec<&'a RawValue> = "output",
        usage: &'a RawValue = "usage",
        error: &'a RawValue = "error",
    }
    struct WireIncomplete { reason: Text<'a> = "reason", }
    struct WirePart { kind: Text<'a> = "type", }
    struct WireError {
        kind: Text<'a> = "type",
        code: Text<'a> = "code",
        message: Text<'a> = "message",
        param: Text<'a> = "param",
    }
}

/// Turns the events of a Responses stream into [`Event`]s. It holds a few numbers per item and part of the output. Log probabilities and the
/// steps of tools that the provider runs are not told; such a tool's item is, when it is whole.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    started: bool,
    over: bool,
    output: Output,
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// Reads the data of one event and gives what it says to `sink`.
    ///
    /// # Errors
    /// [`Malformed`], when it is not one.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        // OpenRouter sends a terminator of the chat's behind the end; a failure is told twice.
        if self.over {
            return Ok(());
        }
        if data.trim_ascii() == "[DONE]" {
            self.finish(sink);
            return Ok(());
        }
        let event: WireEvent<'a> = document(data)?;
        match event.kind.as_ref().map(Text::decode).as_deref() {
            Some("response.created" | "response.in_progress" | "response.queued") => {
                self.start(event.response, sink);
            }
            Some("response.completed" | "response.incomplete" | "response.cancelled") => {
                self.end(event.response, sink);
            }
            Some("response.failed") => {
                let response: WireResponse<'a> = read(event.response);
                if let Some(spent) = usage(response.usage, &response.extra) {
                    sink(Event::Usage(spent));
                }
                self.fail(problem(response.error, data), sink);
            }
            // Older ones have all on the event itself.
            Some("error") if event.error.is_none() => self.fail(said(data), sink),
            Some("error") => self.fail(problem(event.error, data), sink),
            Some(kind) => self.output_event(kind, &event, sink),
            // A gateway's own error, in its own shape.
            None if event.error.is_some() => self.fail(decode_error(None, data.as_bytes()), sink),
            None => return Err(Malformed::new("missing field", "type")),
        }
        Ok(())
    }

    /// Ends the stream where the provider's bytes end: without its last event the answer was cut.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if !self.over {
            self.fail(truncated(), sink);
        }
    }

    fn fail<'a>(&mut self, problem: Problem, sink: &mut impl FnMut(Event<'a>)) {
        self.over = true;
        sink(Event::Error(problem));
    }

    fn start<'a>(&mut self, raw: Option<&'a RawValue>, sink: &mut impl FnMut(Event<'a>)) {
        if !std::mem::replace(&mut self.started, true) {
            let response: WireResponse<'a> = read(raw);
            let (id, model) = (response.id, response.model);
            sink(Event::Start { id, model, created: stated(response.created_at) });
        }
    }

    /// An event of an item of the output, or one that is not known and says nothing.
    fn output_event<'a>(&mut self, kind: &str, event: &WireEvent<'a>, sink: &mut impl FnMut(Event<'a>)) {
        let Some(index) = stated(event.output_index) else { return };
        self.start(None, sink);
        let output = &mut self.output;
        let string = |raw: Option<&'a RawValue>| raw.and_then(|raw| Text::from_json(raw.get()));
        let at = (index, stated(event.content_index).unwrap_or(0));
        let summary = (Source::Summary, stated(event.summary_index).unwrap_or(0));
        let content = (Source::Content, at.1);
        let delta = string(event.delta);
        match kind {
            "response.output_item.added" => output.added(index, event.item, sink),
            "response.output_item.done" => {
                if let Some(raw) = event.item {
                    output.done(index, raw, sink);
                }
            }
            "response.content_part.added" => {
                let part: WirePart<'_> = read(event.part);
                match part.kind.as_ref().map(Text::decode).as_deref() {
                    Some("output_text") => output.say(at, Opening::Text, None, sink),
                    Some("refusal") => output.say(at, Opening::Refusal, None, sink),
                    _ => {}
                }
            }
            "response.content_part.done" => {
                if let Some(raw) = event.part {
                    output.complete_part(at, raw, sink);
                }
                output.close_part(at, sink);
            }
            "response.output_text.delta" => output.say(at, Opening::Text, delta.map(Delta::Text), sink),
            "response.output_text.done" => {
                output.complete(at, Opening::Text, string(event.text).map(Delta::Text), sink);
            }
            "response.output_text.annotation.added" => {
                let delta = event.annotation.map(|raw| Delta::Native { dialect: Dialect::Responses, raw });
                output.say(at, Opening::Text, delta, sink);
            }
            "response.refusal.delta" => output.say(at, Opening::Refusal, delta.map(Delta::Refusal), sink),
            "response.refusal.done" => {
                output.complete(at, Opening::Refusal, string(event.refusal).map(Delta::Refusal), sink);
            }
            "response.reasoning_summary_text.delta" => output.think(index, summary, delta, false, sink),
            "response.reasoning_summary_text.done" => {
                output.think(index, summary, string(event.text), true, sink);
            }
            "response.reasoning_text.delta" => output.think(index, content, delta, false, sink),
            "response.reasoning_text.done" => output.think(index, content, string(event.text), true, sink),
            "response.function_call_arguments.delta" => output.argue(index, delta, false, sink),
            "response.function_call_arguments.done" => {
                output.argue(index, string(event.arguments), true, sink);
            }
            _ => {}
        }
    }

    fn end<'a>(&mut self, raw: Option<&'a RawValue>, sink: &mut impl FnMut(Event<'a>)) {
        self.start(raw, sink);
        self.over = true;
        let response: WireResponse<'a> = read(raw);
        self.output.end(response.output.unwrap_or_default(), sink);
        if let Some(raw) = member(&response.extra, TIER).filter(|raw| raw.get() != "null") {
            sink(Event::Extra { choice: None, scope: Scope::Answer, name: TIER.into(), raw });
        }
        if let Some(spent) = usage(response.usage, &response.extra) {
            sink(Event::Usage(spent));
        }
        let status = response.status.unwrap_or_else(|| "completed".into());
        let incomplete = response.incomplete_details.and_then(|details| details.reason);
        sink(Event::Finish { choice: 0, finish: finish(status, incomplete, self.output.has_calls()) });
        sink(Event::End);
    }
}

pub(super) fn read<'a, T: serde::Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| document(raw.get()).ok()).unwrap_or_default()
}

/// The problem that an error object tells of. Its code is all that a failed answer has of a type.
fn problem(error: Option<&RawValue>, data: &str) -> Problem {
    match error {
        Some(raw) => said(raw.get()),
        None => decode_error(None, data.as_bytes()),
    }
}

fn said(json: &str) -> Problem {
    let wire: WireError<'_> = document(json).unwrap_or_default();
    // Where all is on the event itself, the type is the event's.
    let kind = wire.kind.filter(|kind| *kind != *"error").or_else(|| wire.code.clone());
    let mut out = Vec::new();
    crate::write::object(&mut out, |error| {
        error.text_if("message", wire.message.as_ref());
        error.text_if("type", kind.as_ref());
        error.text_if("code", wire.code.as_ref());
        error.text_if("param", wire.param.as_ref());
    });
    decode_error(None, &out)
}
