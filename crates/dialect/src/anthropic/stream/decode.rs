//! Reading a stream of Messages events.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::super::{
    finish, read_usage,
    response::{WireBlock, strays},
};
use crate::{
    Delta, Event, Finish, Malformed, Opening, Scope, Text, decode_error,
    openai::truncated,
    read::{Count, Extra, document, stated, wire_object},
};

wire_object! {
    struct WireEvent {
        kind: Text<'a> = "type",
        message: WireMessage<'a> = "message",
        index: Count = "index",
        content_block: &'a RawValue = "content_block",
        delta: &'a RawValue = "delta",
        usage: &'a RawValue = "usage",
        error: &'a RawValue = "error",
    }
    struct WireMessage {
        id: Text<'a> = "id",
        kind: Text<'a> = "type",
        role: Text<'a> = "role",
        model: Text<'a> = "model",
        content: &'a RawValue = "content",
        stop_reason: &'a RawValue = "stop_reason",
        stop_sequence: &'a RawValue = "stop_sequence",
        usage: &'a RawValue = "usage",
    }
    struct WireDelta {
        kind: Text<'a> = "type",
        text: Text<'a> = "text",
        thinking: Text<'a> = "thinking",
        signature: Text<'a> = "signature",
        partial_json: Text<'a> = "partial_json",
        citation: &'a RawValue = "citation",
    }
    struct WireEnd { stop_reason: Text<'a> = "stop_reason", stop_sequence: Text<'a> = "stop_sequence", }
}

/// Turns the data of a stream's events into [`Event`]s, one at a time.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    /// There may be several `message_delta`s: the last one's word holds.
    finish: Option<Finish<'static>>,
    over: bool,
}

// ===== impl StreamDecoder =====

impl StreamDecoder {
    /// Reads the data of one event; types that are not known are passed over, as Anthropic's documentation asks.
    ///
    /// # Errors
    /// [`Malformed`], when it is not an event.
    pub fn decode<'a>(&mut self, data: &'a str, sink: &mut impl FnMut(Event<'a>)) -> Result<(), Malformed> {
        if self.over {
            return Ok(());
        }
        let event: WireEvent<'a> = document(data)?;
        let kind = event.kind.as_ref().map(Text::decode).unwrap_or_default();
        let block = stated(event.index).unwrap_or(0);
        if kind != "message_start" && kind != "error" {
            extras(event.extra, sink);
        }
        match &*kind {
            "content_block_delta" => delta(block, event.delta, sink)?,
            "content_block_start" => open(block, event.content_block, sink)?,
            "content_block_stop" => sink(Event::Close { choice: 0, block }),
            "ping" => sink(Event::Ping),
            "message_start" => start(event.message.unwrap_or_default(), sink),
            "message_delta" => {
                if let Some(raw) = event.delta {
                    let end: WireEnd<'a> = document(raw.get()).map_err(|error| error.within("delta"))?;
                    let stop_sequence = end.stop_sequence.map(Text::into_owned);
                    if let Some(reason) = end.stop_reason {
                        self.finish = Some(finish(reason.into_owned(), stop_sequence));
                    }
                    extras(end.extra, sink);
                }
                if let Some(spent) = event.usage.and_then(read_usage) {
                    sink(Event::Usage(spent));
                }
            }
            "message_stop" => {
                self.over = true;
                if let Some(finish) = self.finish.take() {
                    sink(Event::Finish { choice: 0, finish });
                }
                sink(Event::End);
            }
            "error" => self.fail(data, sink),
            // A gateway's own error, in its own shape.
            "" if event.error.is_some() => self.fail(data, sink),
            "" => return Err(Malformed::new("missing field", "type")),
            _ => {}
        }
        Ok(())
    }

    /// Ends the stream where the provider's bytes end: without `message_stop` the answer was cut.
    pub fn finish<'a>(&mut self, sink: &mut impl FnMut(Event<'a>)) {
        if !std::mem::replace(&mut self.over, true) {
            sink(Event::Error(truncated()));
        }
    }

    fn fail<'a>(&mut self, data: &str, sink: &mut impl FnMut(Event<'a>)) {
        self.over = true;
        sink(Event::Error(decode_error(None, data.as_bytes())));
    }
}

fn start<'a>(message: WireMessage<'a>, sink: &mut impl FnMut(Event<'a>)) {
    // Ahead of the start, so that an encoder that states usage at the start can.
    if let Some(spent) = message.usage.and_then(read_usage) {
        sink(Event::Usage(spent));
    }
    sink(Event::Start { id: message.id, model: message.model, created: None });
    extras(message.extra, sink);
}

fn extras<'a>(extra: Extra<'a>, sink: &mut impl FnMut(Event<'a>)) {
    for (name, raw) in extra {
        if raw.get() != "null" {
            sink(Event::Extra { choice: None, scope: Scope::Answer, name: name.into_owned().into(), raw });
        }
    }
}

fn open<'a>(
    block: u64,
    raw: Option<&'a RawValue>,
    sink: &mut impl FnMut(Event<'a>),
) -> Result<(), Malformed> {
    let raw = raw.ok_or_else(|| Malformed::new("missing field", "content_block"))?;
    // Blocks that are not known may use the same names for other things: what does not read is kept whole.
    let mut wire: WireBlock<'a> = document(raw.get()).unwrap_or_default();
    let kind = wire.kind.as_ref().map(Text::decode).unwrap_or_default();
    let choice = 0;
    let mut deltas: Vec<Delta<'a>> = Vec::new();
    let full = |text: &mut Option<Text<'a>>| text.take().filter(|text| !text.is_empty());
    let opening = match &*kind {
        "text" => {
            deltas.extend(full(&mut wire.text).map(Delta::Text));
            let citations = wire.citations.take().map(|raw| document::<Vec<&'a RawValue>>(raw.get()));
            deltas.extend(citations.into_iter().flatten().flatten().map(Delta::Citation));
            Opening::Text
        }
        "thinking" => {
            deltas.extend(full(&mut wire.thinking).map(Delta::Thinking));
            deltas.extend(full(&mut wire.signature).map(Delta::Signature));
            Opening::Thinking
        }
        "redacted_thinking" => {
            Opening::RedactedThinking { data: wire.data.take().unwrap_or_else(|| "".into()) }
        }
        "tool_use" => {
            // Calls that were made by a program come whole, without deltas.
            let input =
                wire.input.take().filter(|input| !input.get().trim_matches(['{', '}', ' ']).is_empty());
            deltas.extend(input.map(|input| Delta::Arguments(input.get().into())));
            let id = wire.id.take().unwrap_or_else(|| "".into());
            Opening::ToolCall { id, name: wire.name.take().unwrap_or_else(|| "".into()) }
        }
        _ => {
            let opening = Opening::Native { dialect: Dialect::Anthropic, raw };
            sink(Event::Open { choice, block, opening });
            return Ok(());
        }
    };
    for (name, raw) in strays(wire, raw) {
        let name = name.into_owned().into();
        sink(Event::Extra { choice: Some(choice), scope: Scope::Block, name, raw });
    }
    sink(Event::Open { choice, block, opening });
    deltas.into_iter().for_each(|delta| sink(Event::Delta { choice, block, delta }));
    Ok(())
}

fn delta<'a>(
    block: u64,
    raw: Option<&'a RawValue>,
    sink: &mut impl FnMut(Event<'a>),
) -> Result<(), Malformed> {
    let raw = raw.ok_or_else(|| Malformed::new("missing field", "delta"))?;
    let wire: WireDelta<'a> = document(raw.get()).unwrap_or_default();
    let kind = wire.kind.as_ref().map(Text::decode).unwrap_or_default();
    let delta = match (&*kind, wire.text, wire.thinking, wire.signature, wire.partial_json, wire.citation) {
        ("text_delta", Some(text), ..) => Delta::Text(text),
        ("thinking_delta", _, Some(text), ..) => Delta::Thinking(text),
        ("signature_delta", _, _, Some(signature), ..) => Delta::Signature(signature),
        ("input_json_delta", _, _, _, Some(json), _) => Delta::Arguments(json),
        ("citations_delta", .., Some(citation)) => Delta::Citation(citation),
        _ => Delta::Native { dialect: Dialect::Anthropic, raw },
    };
    let is_native = matches!(delta, Delta::Native { .. });
    let says_nothing =
        matches!(&delta, Delta::Text(t) | Delta::Thinking(t) | Delta::Arguments(t) if t.is_empty());
    if !says_nothing {
        sink(Event::Delta { choice: 0, block, delta });
    }
    if !is_native {
        for (name, raw) in wire.extra {
            let name = name.into_owned().into();
            sink(Event::Extra { choice: Some(0), scope: Scope::Delta, name, raw });
        }
    }
    Ok(())
}
