//! Answers of Converse.

use serde_json::value::RawValue;
use ziggurat_core::Dialect;

use super::{
    finish, read_usage,
    usage::{complete, reasoning, was_asked},
};
use crate::{
    Arguments, Block, BlockKind, Choice, Malformed, Response, Text, ToolCall,
    read::{document, wire_object},
};

wire_object! {
    struct WireResponse {
        output: WireOutput<'a> = "output",
        stop_reason: Text<'a> = "stopReason",
        usage: &'a RawValue = "usage",
        metrics: &'a RawValue = "metrics",
        tier: &'a RawValue = "serviceTier",
        fields: &'a RawValue = "additionalModelResponseFields",
    }
    struct WireOutput { message: WireMessage<'a> = "message", }
    struct WireMessage { role: &'a RawValue = "role", content: Vec<&'a RawValue> = "content", }
    /// A block says what it is by its one member's name.
    struct WireBlock {
        text: Text<'a> = "text",
        call: WireCall<'a> = "toolUse",
        reasoning: WireReasoning<'a> = "reasoningContent",
        cited: WireCited<'a> = "citationsContent",
    }
    struct WireCall {
        id: Text<'a> = "toolUseId",
        name: Text<'a> = "name",
        input: &'a RawValue = "input",
        kind: Text<'a> = "type",
    }
    struct WireReasoning {
        text: WireReasoningText<'a> = "reasoningText",
        redacted: Text<'a> = "redactedContent",
    }
    struct WireReasoningText { text: Text<'a> = "text", signature: Text<'a> = "signature", }
    struct WireCited { content: Vec<WireText<'a>> = "content", citations: &'a RawValue = "citations", }
    struct WireText { text: Text<'a> = "text", }
    struct WireFields { stop_sequence: Text<'a> = "stop_sequence", delta: WireFieldsDelta<'a> = "delta", }
    struct WireFieldsDelta { stop_sequence: Text<'a> = "stop_sequence", }
}

/// Reads an answer.
///
/// # Errors
/// [`Malformed`], when it is not one.
pub fn decode_response(json: &str) -> Result<Response<'_>, Malformed> {
    let wire: WireResponse<'_> = document(json)?;
    let message = wire.output.and_then(|output| output.message);
    let list = message.and_then(|message| message.content);
    let list = list.ok_or_else(|| Malformed::new("missing field", "output.message.content"))?;
    let mut content = Vec::with_capacity(list.len());
    for (index, raw) in list.into_iter().enumerate() {
        let at = || format!("output.message.content[{index}]");
        decode_block(raw, &mut content).map_err(|error| error.within(&at()))?;
    }
    let tokens = wire.fields.and_then(reasoning);
    let sequence = wire.fields.and_then(stop_sequence);
    let finish = wire.stop_reason.map(|reason| finish(reason, sequence));
    let usage = wire.usage.and_then(read_usage).map(|spent| complete(spent, tokens, wire.tier));
    // What is left out is the latency, which is the operator's business.
    let mut extra = wire.extra;
    let fields = wire.fields.filter(|fields| was_asked(fields));
    extra.extend(fields.map(|fields| ("additionalModelResponseFields".into(), fields)));
    Ok(Response {
        dialect: Dialect::Converse,
        choices: vec![Choice { content, finish, ..Choice::default() }],
        usage,
        extra,
        ..Response::default()
    })
}

/// The stop sequence among `additionalModelResponseFields`, where the caller asked for it.
pub(super) fn stop_sequence(fields: &RawValue) -> Option<Text<'_>> {
    let wire: WireFields<'_> = document(fields.get()).ok()?;
    wire.stop_sequence.or(wire.delta.and_then(|delta| delta.stop_sequence))
}

fn decode_block<'a>(raw: &'a RawValue, content: &mut Vec<Block<'a>>) -> Result<(), Malformed> {
    let wire: WireBlock<'a> = document(raw.get())?;
    let missing = |field: &str| Malformed::new("missing field", field);
    let native = |kind: Text<'a>| Block::new(BlockKind::Native { dialect: Dialect::Converse, kind, raw });
    let block = match (wire.text, wire.call, wire.reasoning, wire.cited) {
        (Some(text), ..) => Block::text(text),
        // A call of the provider's own tool is none of the caller's.
        (_, Some(WireCall { kind: Some(kind), .. }), ..) if is_server_call(&kind) => native(kind),
        (_, Some(call), ..) => Block::new(BlockKind::ToolCall(ToolCall {
            id: call.id.ok_or_else(|| missing("toolUse.toolUseId"))?,
            name: call.name.ok_or_else(|| missing("toolUse.name"))?,
            arguments: call.input.map_or_else(|| Arguments::String("{}".into()), Arguments::Json),
        })),
        (_, _, Some(WireReasoning { text: Some(thought), .. }), _) => Block::new(BlockKind::Thinking {
            text: thought.text.unwrap_or_else(|| "".into()),
            signature: thought.signature,
        }),
        (_, _, Some(WireReasoning { redacted: Some(data), .. }), _) => {
            Block::new(BlockKind::RedactedThinking { data })
        }
        (.., Some(WireCited { content: Some(texts), citations, .. })) => {
            let text = Text::joined(texts.into_iter().filter_map(|text| text.text), "");
            let mut block = Block::text(text.unwrap_or_else(|| "".into()));
            block.extra.extend(citations.map(|raw| (CITATIONS.into(), raw)));
            block
        }
        (.., Some(_)) => native(CITATIONS.into()),
        _ => {
            native(wire.extra.first().map_or_else(|| "".into(), |(name, _)| name.clone().into_owned().into()))
        }
    };
    content.push(block);
    Ok(())
}

const CITATIONS: &str = "citationsContent";

pub(super) fn is_server_call(kind: &Text<'_>) -> bool {
    *kind != *"tool_use"
}
