//! From decoded events into the record of an attempt.

use std::any::Any;

use ziggurat_core::{AttemptHandle, BoxError, Outcome, Rejection, Unsent};
use ziggurat_dialect::{Arguments, BlockKind, Delta, Event, FinishReason, Opening, Response, Scope};

/// Feeds one decoded event of a stream into the attempt it belongs to. Where the event ends the answer, it gives how: to be recorded
/// once the subscribers were asked about what came with it.
pub fn feed(handle: &mut AttemptHandle, event: &Event<'_>, refused: &mut bool) -> Option<Outcome> {
    match event {
        Event::Open {
            opening: Opening::ToolCall { .. } | Opening::RedactedThinking { .. } | Opening::Native { .. },
            ..
        }
        | Event::Delta { delta: Delta::Native { .. }, .. } => handle.content(0),
        Event::Delta { delta, .. } if !delta.is_empty() => handle.content(delta.len()),
        Event::Extra { scope: Scope::Delta, name, raw, .. } => match &*name.decode() {
            "function_call" => handle.content(raw.get().len()),
            "audio" => handle.content(0),
            // Calls of other kinds than a function's; the codec may add a mark to the name.
            name if name.starts_with("tool_calls") => handle.content(raw.get().len()),
            _ => {}
        },
        // Of a text completion.
        Event::Extra { scope: Scope::Choice, name, raw, .. } if *name == *"text" => {
            handle.content(raw.get().len().saturating_sub(2));
        }
        Event::Usage(spent) => handle.usage(&spent.counts),
        Event::Finish { finish, .. } => *refused |= finish.reason == FinishReason::ContentFilter,
        Event::Error(problem) => {
            handle.failed(problem);
            return Some(match problem.code.as_deref() {
                Some("upstream_truncated") => Outcome::Truncated,
                _ => Outcome::Failed,
            });
        }
        Event::End => return Some(whole(*refused)),
        _ => {}
    }
    None
}

/// Feeds a whole answer and gives how it ended: to be recorded once the subscribers were asked.
pub fn feed_response(handle: &mut AttemptHandle, response: &Response<'_>) -> Outcome {
    let mut refused = false;
    for choice in &response.choices {
        for block in &choice.content {
            handle.content(match &block.kind {
                BlockKind::Text { text, .. }
                | BlockKind::Thinking { text, .. }
                | BlockKind::Refusal(text) => text.len(),
                BlockKind::ToolCall(call) => match &call.arguments {
                    Arguments::Json(raw) => raw.get().len(),
                    Arguments::String(text) => text.len(),
                },
                _ => 0,
            });
        }
        refused |= choice.finish.as_ref().is_some_and(|finish| finish.reason == FinishReason::ContentFilter);
    }
    if let Some(spent) = &response.usage {
        handle.usage(&spent.counts);
    }
    whole(refused)
}

/// Records that there is no answer but an error of the service inside: [`Outcome::Stopped`] where a [`Rejection`] is in its chain of
/// sources, else [`Outcome::Failed`]; and not sent where [`Unsent`] is.
///
/// Only a [`BoxError`] is looked into, and an `Unsent` or a `Rejection` that is the error itself: of all others nothing is known, not
/// even that they are errors.
pub fn feed_error<E: 'static>(handle: &mut AttemptHandle, error: &E) {
    if is_unsent(error) {
        handle.unsent();
    }
    let error: &dyn Any = error;
    let refused = match error.downcast_ref::<BoxError>() {
        Some(error) => Rejection::find_in(error.as_ref()).is_some(),
        None => error.is::<Rejection>(),
    };
    handle.end(if refused { Outcome::Stopped } else { Outcome::Failed });
}

/// Whether an error of the service inside says that nothing reached the provider, as far as [`feed_error`] looks into it.
pub fn is_unsent<E: 'static>(error: &E) -> bool {
    let error: &dyn Any = error;
    match error.downcast_ref::<BoxError>() {
        Some(error) => Unsent::is_in(error.as_ref()),
        None => error.is::<Unsent>(),
    }
}

pub(crate) const fn whole(refused: bool) -> Outcome {
    if refused { Outcome::Refused } else { Outcome::Complete }
}
