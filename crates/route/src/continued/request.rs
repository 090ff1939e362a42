//! What the deployment is asked that goes on.

use std::sync::atomic::AtomicU32;

use http::Request;
use ziggurat_core::{
    Body, Call, Dialect, Field,
    json::{Cursor, Fault, key_is, write_string},
};

use crate::{Deployment, attempt::Asked};

/// The same call, with the beginning of its answer.
pub(crate) struct Prefixed {
    pub(crate) asked: Asked,
    /// White space at the end of the text that is not sent.
    pub(crate) held: String,
}

// ===== impl Prefixed =====

impl Prefixed {
    /// `None` where the request cannot be made.
    pub(crate) fn new(asked: &Asked, deployment: &Deployment, text: &str) -> Option<Self> {
        // Anthropic's API refuses a beginning that ends in white space
        // (https://docs.anthropic.com/en/docs/build-with-claude/prompt-engineering/prefill-claudes-response).
        let kept = match deployment.target().dialect() {
            Dialect::Anthropic => text.trim_end(),
            _ => text,
        };
        let call = &asked.call;
        let mut edit = call.edit();
        if !kept.is_empty() {
            let messages = call.field(Field::Messages)?.trim_end().strip_suffix(']')?;
            let mut json = messages.as_bytes().to_vec();
            json.extend_from_slice(br#",{"role":"assistant","content":"#);
            write_string(&mut json, kept);
            if deployment.marks_prefix() {
                json.extend_from_slice(br#","prefix":true"#);
            }
            json.extend_from_slice(b"}]");
            edit = edit.set(Field::Messages, json);
        }
        let written = asked.config.counter.count(call.model().unwrap_or_default(), text).tokens;
        for field in [Field::MaxTokens, Field::MaxCompletionTokens] {
            if let Some(cap) = call.field(field).and_then(|cap| cap.parse::<u64>().ok()) {
                edit = edit.set(field, cap.saturating_sub(written).max(1).to_string().into_bytes());
            }
        }
        let mut request = Request::from_parts(asked.parts.clone(), Body::empty());
        let call = Call::replace(&mut request, edit.finish()).ok()?;
        let (parts, body) = request.into_parts();
        let (bytes, meter, config) =
            (body.as_bytes()?.clone(), asked.meter.clone(), std::sync::Arc::clone(&asked.config));
        let asked = Asked { parts, body: bytes.into(), call, meter, config, made: AtomicU32::new(0) };
        Some(Self { asked, held: text[kept.len()..].to_owned() })
    }
}

/// Whether somebody else could go on with the answer to this call: one choice, and a conversation that does not end with the beginning of
/// an answer already.
pub(crate) fn can_continue(call: &Call) -> bool {
    let Some(messages) = call.field(Field::Messages) else { return false };
    let mut last = "";
    let mut cursor = Cursor::new(messages);
    let walked: Result<(), Fault> = cursor.array(|_, cursor| {
        last = cursor.value()?;
        Ok(())
    });
    let mut role = "";
    let mut cursor = Cursor::new(last);
    let found: Result<(), Fault> = cursor.object(|key, cursor| {
        let value = cursor.value()?;
        if key_is(key, "role") {
            role = value;
        }
        Ok(())
    });
    walked.is_ok() && found.is_ok() && call.n() == 1 && role != "\"assistant\""
}
