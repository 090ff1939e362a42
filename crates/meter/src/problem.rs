//! What goes wrong with a provider's answer on its way, in words for the caller.

use std::{error::Error, io};

use serde_json::Value;
use ziggurat_core::{BoxError, Cause, CollectError, Dialect, Problem};
use ziggurat_dialect::scrub;

/// Whether an error of a provider's may pass as it is to a caller of its dialect: it has the dialect's shape, and not a word that is the
/// operator's alone.
#[must_use]
pub fn is_presentable(error: &[u8], dialect: Dialect) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(error) else { return false };
    let message = value.pointer("/error/message").and_then(Value::as_str);
    let typed = value.get("type").is_some_and(|kind| kind == "error");
    typed == (dialect == Dialect::Anthropic)
        && message.is_some_and(|message| !message.is_empty())
        && is_clean(&value)
}

fn is_clean(value: &Value) -> bool {
    match value {
        Value::String(text) => scrub(text) == *text,
        Value::Array(list) => list.iter().all(is_clean),
        Value::Object(members) => members.values().all(is_clean),
        _ => true,
    }
}

/// The problem of a stream that ends before its terminator.
#[must_use]
pub fn truncated() -> Problem {
    Problem::new(Cause::Upstream, "the provider's stream ended before the answer was complete")
        .code("upstream_truncated")
}

/// The problem of an event over the limit.
#[must_use]
pub fn too_long(limit: usize) -> Problem {
    Problem::new(Cause::Upstream, format!("the provider sent an event of more than {limit} bytes"))
}

/// The problem of an event that cannot be read.
#[must_use]
pub fn not_an_event() -> Problem {
    Problem::new(Cause::Upstream, "the provider sent an event that is no JSON of its dialect")
}

/// The problem of a stream whose transport failed.
#[must_use]
pub fn broke_off(error: &BoxError) -> Problem {
    match timed_out(error) {
        true => Problem::new(Cause::Timeout, "the provider's stream stalled"),
        false => truncated(),
    }
}

/// The problem of an answer that could not be collected.
#[must_use]
pub fn unreadable(error: &CollectError) -> Problem {
    match error {
        CollectError::TooLarge { limit } => {
            Problem::new(Cause::Upstream, format!("the provider's answer is larger than {limit} bytes"))
        }
        CollectError::Failed(source) if timed_out(source) => {
            Problem::new(Cause::Timeout, "the provider's answer did not come in time")
        }
        _ => Problem::new(Cause::Upstream, "the provider's answer ended before it was complete"),
    }
}

/// Whether an [`io::Error`] of that kind is the cause, or one of tower's or tokio's errors named `Elapsed`.
fn timed_out(error: &BoxError) -> bool {
    let source: &(dyn Error + 'static) = error.as_ref();
    std::iter::successors(Some(source), |error: &&(dyn Error + 'static)| (*error).source()).any(|error| {
        match error.downcast_ref::<io::Error>() {
            Some(error) => error.kind() == io::ErrorKind::TimedOut,
            None => format!("{error:?}").starts_with("Elapsed"),
        }
    })
}
