//! From decoded events into the record of an attempt.

use ziggurat_core::{AttemptHandle, Outcome};
use ziggurat_dialect::{BlockKind, Event, FinishReason, Opening, Response};

/// Feeds one decoded event of a stream into the attempt it belongs to. The end is fed with [`Event::End`] and [`Event::Error`].
pub fn feed(handle: &mut AttemptHandle, event: &Event<'_>, refused: &mut bool) {
    match event {
        Event::Open { opening: Opening::ToolCall { .. } | Opening::RedactedThinking { .. }, .. } => {
            handle.content(0)
        }
        Event::Delta { delta, .. } if !delta.is_empty() => handle.content(delta.len()),
        Event::Usage(spent) => handle.usage(&spent.counts),
        Event::Finish { finish, .. } => *refused |= finish.reason == FinishReason::ContentFilter,
        Event::Error(problem) => handle.end(match problem.code.as_deref() {
            Some("upstream_truncated") => Outcome::Truncated,
            _ => Outcome::Failed,
        }),
        Event::End => handle.end(if *refused { Outcome::Refused } else { Outcome::Complete }),
        _ => {}
    }
}

/// Feeds a whole answer; the caller ends the attempt once the subscribers were asked.
pub fn feed_response(handle: &mut AttemptHandle, response: &Response<'_>) -> Outcome {
    let mut refused = false;
    for choice in &response.choices {
        for block in &choice.content {
            handle.content(match &block.kind {
                BlockKind::Text { text, .. }
                | BlockKind::Thinking { text, .. }
                | BlockKind::Refusal(text) => text.len(),
                BlockKind::ToolCall(call) => match &call.arguments {
                    ziggurat_dialect::Arguments::Json(raw) => raw.get().len(),
                    ziggurat_dialect::Arguments::String(text) => text.len(),
                },
                _ => 0,
            });
        }
        refused |= choice.finish.as_ref().is_some_and(|finish| finish.reason == FinishReason::ContentFilter);
    }
    if let Some(spent) = &response.usage {
        handle.usage(&spent.counts);
    }
    if refused { Outcome::Refused } else { Outcome::Complete }
}
