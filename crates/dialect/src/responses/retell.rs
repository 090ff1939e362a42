//! A whole response, told as a stream: every object in it as it is, ids and unknown members included.

use serde_json::{Map, Value, json};

use crate::{Malformed, sse};

/// Appends the events of a whole response.
///
/// # Errors
/// [`Malformed`], when it is none.
pub(crate) fn stream_of(json: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let malformed = || Malformed::new("expected a whole response", "");
    let whole: Map<String, Value> = serde_json::from_str(json).map_err(|_| malformed())?;
    let ends = match whole.get("status").and_then(Value::as_str) {
        Some("completed") => "response.completed",
        Some("incomplete") => "response.incomplete",
        _ => return Err(malformed()),
    };
    let output = whole.get("output").and_then(Value::as_array).ok_or_else(malformed)?;
    let mut telling = Telling { out, sequence: 0 };
    let mut begun = whole.clone();
    begun.extend(
        [("status", json!("in_progress")), ("output", json!([])), ("usage", Value::Null)]
            .map(|(k, v)| (k.to_owned(), v)),
    );
    begun.remove("output_text");
    telling.tell("response.created", json!({"response": begun}));
    telling.tell("response.in_progress", json!({"response": begun}));
    for (index, item) in output.iter().enumerate() {
        telling.item(index, item);
    }
    // As it came, number by number.
    let (sequence, json) = (telling.sequence, json.trim_ascii());
    let last = format!("{{\"type\":\"{ends}\",\"sequence_number\":{sequence},\"response\":{json}}}");
    sse::encode(out, Some(ends), last.as_bytes());
    Ok(())
}

struct Telling<'o> {
    out: &'o mut Vec<u8>,
    sequence: u64,
}

// ===== impl Telling =====

impl Telling<'_> {
    fn tell(&mut self, kind: &str, members: Value) {
        let mut event = json!({"type": kind, "sequence_number": self.sequence});
        if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
            event.extend(members);
        }
        self.sequence += 1;
        sse::encode(self.out, Some(kind), event.to_string().as_bytes());
    }

    fn item(&mut self, index: usize, item: &Value) {
        let id = item.get("id").cloned().unwrap_or_default();
        let kind = item.get("type").and_then(Value::as_str);
        // What comes in pieces is not there at first.
        let mut begun = item.clone();
        for (member, empty) in [
            ("content", json!([])),
            ("summary", json!([])),
            ("arguments", json!("")),
            ("status", json!("in_progress")),
        ] {
            if let Some(value) = begun.get_mut(member) {
                *value = empty;
            }
        }
        self.tell("response.output_item.added", json!({"output_index": index, "item": begun}));
        let at = |part: &str, of: usize| json!({"item_id": id, "output_index": index, part: of});
        match kind {
            Some("message") => self.parts(
                item.get("content"),
                "response.content_part",
                |kind| match kind {
                    Some("output_text") => Some(("response.output_text", "text")),
                    Some("refusal") => Some(("response.refusal", "refusal")),
                    _ => None,
                },
                |of| at("content_index", of),
            ),
            Some("reasoning") => {
                self.parts(
                    item.get("summary"),
                    "response.reasoning_summary_part",
                    |_| Some(("response.reasoning_summary_text", "text")),
                    |of| at("summary_index", of),
                );
                self.parts(
                    item.get("content"),
                    "response.content_part",
                    |_| Some(("response.reasoning_text", "text")),
                    |of| at("content_index", of),
                );
            }
            Some("function_call") => {
                let arguments = item.get("arguments").cloned().unwrap_or_default();
                self.tell(
                    "response.function_call_arguments.delta",
                    json!({"item_id": id, "output_index": index, "delta": arguments}),
                );
                self.tell("response.function_call_arguments.done", json!({"item_id": id, "output_index": index, "name": item.get("name"), "arguments": arguments}));
            }
            _ => {}
        }
        self.tell("response.output_item.done", json!({"output_index": index, "item": item}));
    }

    /// The parts of an item: each begins, grows by all of its text, and is done.
    fn parts(
        &mut self,
        parts: Option<&Value>,
        event: &str,
        grows: impl Fn(Option<&str>) -> Option<(&'static str, &'static str)>,
        at: impl Fn(usize) -> Value,
    ) {
        for (of, part) in parts.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let with = |members: Value| {
                let mut all = at(of);
                if let (Value::Object(all), Value::Object(members)) = (&mut all, members) {
                    all.extend(members);
                }
                all
            };
            let grows = grows(part.get("type").and_then(Value::as_str));
            let mut begun = part.clone();
            if let Some(text) = grows.and_then(|(_, member)| begun.get_mut(member)) {
                *text = json!("");
            }
            if let Some(annotations) = begun.get_mut("annotations") {
                *annotations = json!([]);
            }
            self.tell(&format!("{event}.added"), with(json!({"part": begun})));
            if let Some((growth, member)) = grows {
                let text = part.get(member).cloned().unwrap_or_default();
                let logprobs = part.get("logprobs").cloned().unwrap_or_else(|| json!([]));
                let of_text = growth == "response.output_text";
                let mut delta = json!({"delta": text});
                let mut done = json!({member: text});
                if let (true, Value::Object(delta), Value::Object(done)) = (of_text, &mut delta, &mut done) {
                    delta.insert("logprobs".to_owned(), logprobs.clone());
                    done.insert("logprobs".to_owned(), logprobs);
                }
                self.tell(&format!("{growth}.delta"), with(delta));
                let annotations = part.get("annotations").and_then(Value::as_array);
                for (number, annotation) in annotations.into_iter().flatten().enumerate() {
                    let members = json!({"annotation_index": number, "annotation": annotation});
                    self.tell("response.output_text.annotation.added", with(members));
                }
                self.tell(&format!("{growth}.done"), with(done));
            }
            self.tell(&format!("{event}.done"), with(json!({"part": part})));
        }
    }
}
