//! From one dialect into the other: the answer stays the same answer.

use serde_json::Value;
use ziggurat_core::Dialect;
use ziggurat_dialect::{
    Arguments, BlockKind, Choice, Delta, Event, Finish, FinishReason, Opening, Spent, decode_response,
    encode_response,
};

use crate::{Case, decode, encode, over, streams::is_stream};

/// What an answer says, whoever says it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    text: String,
    thoughts: String,
    /// Name and arguments.
    calls: Vec<(String, Value)>,
    finish: Option<FinishReason>,
    /// Input, output and cached input (of which there is no more than of input).
    usage: [u64; 3],
    failed: bool,
}

impl Answer {
    pub(crate) fn of(choice: Option<&Choice<'_>>, usage: Option<&Spent<'_>>) -> Self {
        let mut answer = Self::default();
        for block in choice.into_iter().flat_map(|choice| &choice.content) {
            match &block.kind {
                // Anthropic has no refusal of its own: it is text there.
                BlockKind::Text { text, .. } | BlockKind::Refusal(text) => answer.text += &text.decode(),
                BlockKind::Thinking { text, .. } => answer.thoughts += &text.decode(),
                BlockKind::ToolCall(call) => {
                    let json = match &call.arguments {
                        Arguments::Json(raw) => raw.get().to_owned(),
                        Arguments::String(text) => text.decode().into_owned(),
                    };
                    answer.calls.push((call.name.decode().into_owned(), parsed(&json)));
                }
                _ => {}
            }
        }
        answer.finish(choice.and_then(|choice| choice.finish.as_ref()));
        answer.count(usage);
        answer
    }

    pub(crate) fn streamed(events: &[Event<'_>]) -> Self {
        let mut answer = Self::default();
        let mut calls: Vec<(u64, String, String)> = Vec::new();
        for event in events {
            match event {
                Event::Open { choice: 0, block, opening: Opening::ToolCall { name, .. } } => {
                    calls.push((*block, name.decode().into_owned(), String::new()));
                }
                Event::Delta { choice: 0, block, delta } => match delta {
                    Delta::Text(text) | Delta::Refusal(text) => answer.text += &text.decode(),
                    Delta::Thinking(text) => answer.thoughts += &text.decode(),
                    Delta::Arguments(text) => {
                        let call = calls.iter_mut().find(|(of, ..)| of == block);
                        // What a provider's own tool is given is no call of the caller's.
                        call.into_iter().for_each(|(_, _, arguments)| *arguments += &text.decode());
                    }
                    _ => {}
                },
                Event::Finish { choice: 0, finish } => answer.finish = Some(finish.reason),
                Event::Usage(spent) => answer.count(Some(spent)),
                Event::Error(_) => answer.failed = true,
                _ => {}
            }
        }
        answer.calls = calls.into_iter().map(|(_, name, json)| (name, parsed(&json))).collect();
        if answer.failed {
            // The caller of a stream that failed learns neither what it used nor how it might have ended.
            (answer.usage, answer.finish) = ([0; 3], None);
        }
        let reason = answer.finish;
        answer.finish = reason.map(|reason| plain(reason, !answer.calls.is_empty()));
        answer
    }

    fn finish(&mut self, finish: Option<&Finish<'_>>) {
        self.finish = finish.map(|finish| plain(finish.reason, !self.calls.is_empty()));
    }

    fn count(&mut self, usage: Option<&Spent<'_>>) {
        let Some(counts) = usage.map(|spent| spent.counts) else { return };
        let counts = [counts.input_total(), counts.output_total(), counts.cached_read];
        for (slot, count) in self.usage.iter_mut().zip(counts) {
            *slot = count.unwrap_or(*slot);
        }
        self.usage[2] = self.usage[2].min(self.usage[0]);
    }
}

/// The reasons that both dialects have: a pause is a stop with a note in OpenAI's, as is a word that nobody knows; and OpenAI says `stop`
/// where a call was forced.
fn plain(reason: FinishReason, calls: bool) -> FinishReason {
    match reason {
        FinishReason::Stop | FinishReason::Other | FinishReason::Pause if calls => FinishReason::ToolCalls,
        FinishReason::Other | FinishReason::Pause => FinishReason::Stop,
        reason => reason,
    }
}

/// Arguments that are no JSON, cut at a cap, are carried as text.
fn parsed(json: &str) -> Value {
    match serde_json::from_str(json) {
        Ok(Value::Object(members)) if members.len() == 1 && members.contains_key("partial_json") => {
            members["partial_json"].clone()
        }
        Ok(value) => value,
        Err(_) if json.is_empty() => Value::Object(serde_json::Map::default()),
        Err(_) => json.into(),
    }
}

pub(crate) fn compare(left: &Answer, right: &Answer) -> Result<(), String> {
    match left == right {
        true => Ok(()),
        false => Err(format!("\n  {left:?}\n  {right:?}")),
    }
}

#[test]
fn an_answer_crosses_to_the_other_dialect() {
    over(
        "answers crossed",
        |case: &Case| case.succeeded() && !case.is_stream(),
        |case| {
            let response = decode_response(case.dialect, case.text()).map_err(|error| error.to_string())?;
            let mut out = Vec::new();
            encode_response(case.other_dialect(), &response, 7, &mut out);
            let json = String::from_utf8(out).expect("is UTF-8");
            let crossed = decode_response(case.other_dialect(), &json).map_err(|error| error.to_string())?;
            compare(
                &Answer::of(response.choices.first(), response.usage.as_ref()),
                &Answer::of(crossed.choices.first(), crossed.usage.as_ref()),
            )
        },
    );
}

#[test]
fn a_stream_crosses_to_the_other_dialect() {
    over("streams crossed", is_stream, |case| {
        let data = case.events();
        let events = decode(case.dialect, &data)?;
        let written = encode(case.other_dialect(), &events);
        let crossed = decode(case.other_dialect(), &written)?;
        if case.other_dialect() == Dialect::Anthropic {
            well_formed(&written)?;
        }
        compare(&Answer::streamed(&events), &Answer::streamed(&crossed))
    });
}

/// Anthropic's clients rely on the order of events: one block at a time, numbered from 0, within one message.
pub(crate) fn well_formed(data: &[String]) -> Result<(), String> {
    let (mut open, mut next) = (None, 0);
    for (position, data) in data.iter().enumerate() {
        let event: Value = serde_json::from_str(data).expect("is JSON");
        let index = event["index"].as_u64();
        let fits = match event["type"].as_str() {
            Some("message_start") => position == 0,
            Some("content_block_start") => {
                next += 1;
                open.replace(next - 1).is_none() && index == Some(next - 1)
            }
            Some("content_block_delta") => index.is_some() && index == open,
            Some("content_block_stop") => index.is_some() && index == open.take(),
            Some("message_delta" | "message_stop") => open.is_none(),
            Some("ping" | "error") => true,
            _ => false,
        };
        if !fits {
            return Err(format!("out of order: {data}"));
        }
    }
    Ok(())
}
