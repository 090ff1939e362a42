//! The request, in Google's words: one text, or a batch of them.

use std::collections::HashSet;

use ziggurat_core::Operation;

use super::{Input, Request};
use crate::{
    Malformed, Text,
    read::{Extra, Whole, document, wire_object},
};

wire_object! {
    struct Batch { requests: Vec<One<'a>> = "requests", }
    struct One {
        model: Text<'a> = "model",
        content: Content<'a> = "content",
        dimensions: Whole = "outputDimensionality",
        // Proto's JSON may have the names of its fields as they stand in its schema.
        dimensions_too: Whole = "output_dimensionality",
    }
    struct Content { parts: Vec<Part<'a>> = "parts", }
    struct Part { text: Text<'a> = "text", }
}

/// A request of a batch: its text, and what it asks for beside that.
struct Asked<'a> {
    text: Text<'a>,
    dimensions: Option<u64>,
    extra: Extra<'a>,
}

/// Reads a request in Google's words, `EmbedContent` or `BatchEmbedContents`, for a provider that has others: such a provider is told once for
/// all texts what is wanted of them, so that all have to want the same. The model is the path's to name.
///
/// # Errors
/// [`Malformed`], with the field that is to blame.
pub fn decode_content(operation: Operation, json: &str) -> Result<Request<'_>, Malformed> {
    let mut all = match operation {
        Operation::EmbedContent => vec![document::<One<'_>>(json)?.read()?],
        _ => {
            let batch: Batch<'_> = document(json)?;
            let requests = batch.requests.unwrap_or_default().into_iter().enumerate();
            let read = requests
                .map(|(index, one)| one.read().map_err(|error| error.within(&format!("requests[{index}]"))));
            read.collect::<Result<_, _>>()?
        }
    };
    if let Some((first, others)) = all.split_first() {
        let wanted = first.members();
        for (index, asked) in others.iter().enumerate() {
            if let Some(name) = first.difference(&wanted, asked) {
                let message = "must be the same in all requests for this model's provider";
                return Err(Malformed::new(message, format!("requests[{}].{name}", index + 1)));
            }
        }
    }
    let texts: Vec<_> = all.iter().map(|asked| asked.text.clone()).collect();
    if texts.is_empty() {
        return Err(Malformed::new("expected at least one request", "requests"));
    }
    let Asked { dimensions, extra, .. } = all.swap_remove(0);
    let given = extra.len();
    Ok(Request { operation, input: Input::Texts(texts), dimensions, base64: false, extra, given })
}

/// How Google's callers say how many numbers a vector is to have.
pub(super) const DIMENSIONS: &str = "outputDimensionality";

// ===== impl Asked =====

impl Asked<'_> {
    /// What it asks for, each once.
    fn members(&self) -> HashSet<(&str, &str)> {
        self.extra.iter().map(|(name, raw)| (&**name, raw.get())).collect()
    }

    /// In what another request of the batch differs from this one, which asks for these, texts aside.
    fn difference<'r>(&'r self, wanted: &HashSet<(&str, &str)>, other: &'r Self) -> Option<&'r str> {
        if self.dimensions != other.dimensions {
            return Some(DIMENSIONS);
        }
        let others = other.members();
        if others == *wanted {
            return None;
        }
        let lacking = |one: &'r Self, all: &HashSet<(&str, &str)>| {
            let mut members = one.extra.iter();
            members.find(|(name, raw)| !all.contains(&(&**name, raw.get()))).map(|(name, _)| &**name)
        };
        lacking(other, wanted).or_else(|| lacking(self, &others))
    }
}

// ===== impl One =====

impl<'a> One<'a> {
    fn read(self) -> Result<Asked<'a>, Malformed> {
        let parts = self.content.and_then(|content| content.parts).unwrap_or_default();
        let texts = parts.into_iter().enumerate().map(|(index, part)| match part {
            Part { text: Some(text), extra } if extra.is_empty() => Ok(text),
            _ => {
                let message = "expected a text: this model's provider embeds nothing else";
                Err(Malformed::new(message, format!("content.parts[{index}]")))
            }
        });
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let text = Text::joined(texts.into_iter(), "")
            .ok_or_else(|| Malformed::new("expected at least one part", "content.parts"))?;
        let dimensions = self.dimensions.or(self.dimensions_too).map(|dimensions| dimensions.0);
        if dimensions == Some(0) {
            return Err(Malformed::new("expected a whole number of at least 1", DIMENSIONS));
        }
        let mut extra = self.extra;
        extra.retain(|(_, raw)| !matches!(raw.get(), "null" | r#""TASK_TYPE_UNSPECIFIED""#));
        Ok(Asked { text, dimensions, extra })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(operation: Operation, json: &str) -> (String, String) {
        let error = decode_content(operation, json).expect_err(json);
        (error.path, error.message)
    }

    #[test]
    fn one_text_is_read_with_what_is_wanted_of_it() {
        let json = r#"{"model":"models/x","content":{"role":"user","parts":[{"text":"a\n"},{"text":"b"}]},"taskType":"CLUSTERING","title":null,"outputDimensionality":8}"#;
        let request = decode_content(Operation::EmbedContent, json).expect("reads");
        assert_eq!(request.input, Input::Texts(vec!["a\nb".into()]));
        assert_eq!((request.operation, request.dimensions), (Operation::EmbedContent, Some(8)));
        let extra: Vec<_> = request.extra.iter().map(|(name, raw)| (&**name, raw.get())).collect();
        assert_eq!(extra, [("taskType", r#""CLUSTERING""#)]);
    }

    #[test]
    fn a_batch_is_its_texts() {
        let json = r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"output_dimensionality":2,"taskType":"TASK_TYPE_UNSPECIFIED"},{"content":{"parts":[{"text":"b"}]},"outputDimensionality":2}]}"#;
        let request = decode_content(Operation::BatchEmbedContents, json).expect("reads");
        assert_eq!(request.input, Input::Texts(vec!["a".into(), "b".into()]));
        assert_eq!((request.dimensions, request.extra.len()), (Some(2), 0));
    }

    #[test]
    fn many_parts_and_members_are_read_in_a_moment() {
        // Copied again for each part, or compared one by one, these would be 10^11 steps.
        let parts = format!(r#"{{"text":"{}"}}"#, "a".repeat(1 << 20)) + &r#",{"text":""}"#.repeat(300_000);
        let members: String = (0..300_000).map(|number| format!(r#","m{number}":0"#)).collect();
        let json = format!(r#"{{"content":{{"parts":[{parts}]}}}}"#);
        let request = decode_content(Operation::EmbedContent, &json).expect("reads");
        assert_eq!(request.input, Input::Texts(vec![Text::from("a".repeat(1 << 20))]));
        let one = format!(r#"{{"content":{{"parts":[{{"text":"a"}}]}}{members}}}"#);
        let json = format!(r#"{{"requests":[{one},{one}]}}"#);
        let request = decode_content(Operation::BatchEmbedContents, &json).expect("reads");
        assert_eq!(request.extra.len(), 300_000);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let one = |json: &str| error(Operation::EmbedContent, json);
        let is = |path: &str, message: &str| (path.to_owned(), message.to_owned());
        assert_eq!(one("{}"), is("content.parts", "expected at least one part"));
        let text_only = "expected a text: this model's provider embeds nothing else";
        assert_eq!(
            one(r#"{"content":{"parts":[{"text":"a"},{"inlineData":{}}]}}"#),
            is("content.parts[1]", text_only)
        );
        assert_eq!(one(r#"{"content":{"parts":[{"text":7}]}}"#).0, "content.parts[0].text");
        assert_eq!(
            one(r#"{"content":{"parts":[{"text":"a"}]},"outputDimensionality":0}"#),
            is("outputDimensionality", "expected a whole number of at least 1")
        );
        let batch = |json: &str| error(Operation::BatchEmbedContents, json);
        assert_eq!(batch("{}"), is("requests", "expected at least one request"));
        assert_eq!(batch(r#"{"requests":[]}"#), is("requests", "expected at least one request"));
        assert_eq!(batch(r#"{"requests":[{}]}"#).0, "requests[0].content.parts");
        let two = |first: &str, second: &str| {
            let one = |more: &str| format!(r#"{{"content":{{"parts":[{{"text":"a"}}]}}{more}}}"#);
            batch(&format!(r#"{{"requests":[{},{}]}}"#, one(first), one(second)))
        };
        let same = "must be the same in all requests for this model's provider";
        assert_eq!(two("", r#","outputDimensionality":8"#), is("requests[1].outputDimensionality", same));
        assert_eq!(two(r#","taskType":"A""#, r#","taskType":"B""#), is("requests[1].taskType", same));
        assert_eq!(two(r#","title":"t""#, ""), is("requests[1].title", same));
    }
}
